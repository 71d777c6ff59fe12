// A channel processor for WhatsApp: sends the messages of a queue with the credentials that each refers to.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"
)

var (
	client = &http.Client{Timeout: 10 * time.Second}
	port   = firstOf("SIDEKEY_PORT", "2773")
	token  = firstOf("AWS_SESSION_TOKEN", os.Getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN"))
)

type message struct {
	To            string `json:"to"`
	ChannelConfig struct {
		WhatsApp struct {
			CredentialsID string `json:"credentials_id"`
		} `json:"whatsapp"`
	} `json:"channel_config"`
	AIConfig struct {
		APIKeyReference string `json:"ai_api_key_reference"`
	} `json:"ai_config"`
}

type twilio struct {
	AccountSID string `json:"twilio_account_sid"`
	AuthToken  string `json:"twilio_auth_token"`
}

type openAI struct {
	APIKey string `json:"ai_api_key"`
}

func firstOf(variable, fallback string) string {
	if value := os.Getenv(variable); value != "" {
		return value
	}
	return fallback
}

// credential reads what a reference means. Sidekey holds it, so there is nothing to keep here.
func credential(ctx context.Context, reference string, into any) error {
	query := url.Values{"secretId": {reference}}
	target := "http://127.0.0.1:" + port + "/secretsmanager/get?" + query.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return err
	}
	request.Header.Set("X-Aws-Parameters-Secrets-Token", token)
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s", reference, answer.Status, body)
	}
	var secret struct{ SecretString string }
	if err := json.Unmarshal(body, &secret); err != nil {
		return err
	}
	return json.Unmarshal([]byte(secret.SecretString), into)
}

// send stands for the calls to OpenAI and Twilio. A key is used, and never logged.
func send(to string, account twilio, ai openAI) error {
	if ai.APIKey == "" || account.AuthToken == "" {
		return errors.New("a key is empty")
	}
	log.Printf("sent to %s by account %s", to, account.AccountSID)
	return nil
}

func process(ctx context.Context, body string) error {
	var what message
	if err := json.Unmarshal([]byte(body), &what); err != nil {
		return err
	}
	var account twilio
	if err := credential(ctx, what.ChannelConfig.WhatsApp.CredentialsID, &account); err != nil {
		return err
	}
	var ai openAI
	if err := credential(ctx, what.AIConfig.APIKeyReference, &ai); err != nil {
		return err
	}
	return send(what.To, account, ai)
}

// handle takes a batch of SQS. What failed comes again, and nothing else does.
func handle(ctx context.Context, event events.SQSEvent) (events.SQSEventResponse, error) {
	response := events.SQSEventResponse{BatchItemFailures: []events.SQSBatchItemFailure{}}
	for _, record := range event.Records {
		if err := process(ctx, record.Body); err != nil {
			log.Printf("failed %s: %v", record.MessageId, err)
			failure := events.SQSBatchItemFailure{ItemIdentifier: record.MessageId}
			response.BatchItemFailures = append(response.BatchItemFailures, failure)
		}
	}
	return response, nil
}

func main() {
	lambda.Start(handle)
}

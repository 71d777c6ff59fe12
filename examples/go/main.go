// A Lambda function that sends e-mails from an SQS queue. It reads the credentials for each message from
// Sidekey.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"log"
	"strings"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"
)

// errRefused means that the e-mail provider rejected the credential.
var errRefused = errors.New("the provider answers 401")

// message contains the fields of a queue message that this function uses.
type message struct {
	ChannelConfig struct {
		Email struct {
			CredentialsID string `json:"credentials_id"`
		} `json:"email"`
	} `json:"channel_config"`
	AIConfig struct {
		APIKeyReference string `json:"ai_api_key_reference"`
	} `json:"ai_config"`
	RevokedSuffix string `json:"revoked_suffix"`
}

// sent describes an e-mail, without secrets.
type sent struct {
	MessageID string `json:"messageId"`
	Account   string `json:"account"`
	TokenEnds string `json:"token_ends"`
	AIKeyEnds string `json:"ai_key_ends"`
}

type answer struct {
	events.SQSEventResponse
	Sent []sent `json:"sent"`
}

// send imitates the API of an e-mail provider in this example. It returns a description of the e-mail.
func send(m message, id string, sendgrid, ai map[string]string) (sent, error) {
	key := sendgrid["sendgrid_auth_value"]
	if m.RevokedSuffix != "" && strings.HasSuffix(key, m.RevokedSuffix) {
		return sent{}, errRefused
	}
	return sent{id, sendgrid["sendgrid_from_email"], end(key), end(ai["ai_api_key"])}, nil
}

func end(secret string) string { return secret[max(0, len(secret)-4):] }

// process sends one e-mail. If the provider rejects the credential, process reads the current credential and
// tries again.
func process(ctx context.Context, record events.SQSMessage) (sent, error) {
	var m message
	if err := json.Unmarshal([]byte(record.Body), &m); err != nil {
		return sent{}, err
	}
	ai, err := credentials(ctx, m.AIConfig.APIKeyReference, false)
	if err != nil {
		return sent{}, err
	}
	for _, refresh := range []bool{false, true} {
		sendgrid, err := credentials(ctx, m.ChannelConfig.Email.CredentialsID, refresh)
		if err != nil {
			return sent{}, err
		}
		done, err := send(m, record.MessageId, sendgrid, ai)
		if !errors.Is(err, errRefused) {
			return done, err
		}
	}
	return sent{}, errRefused
}

// handle sends the messages of an SQS event. It returns the failed messages, so that SQS delivers them again.
func handle(ctx context.Context, event events.SQSEvent) (answer, error) {
	batch := answer{Sent: []sent{}}
	batch.BatchItemFailures = []events.SQSBatchItemFailure{}
	for _, record := range event.Records {
		done, err := process(ctx, record)
		if err != nil {
			log.Printf("%s failed: %v", record.MessageId, err)
			failure := events.SQSBatchItemFailure{ItemIdentifier: record.MessageId}
			batch.BatchItemFailures = append(batch.BatchItemFailures, failure)
			continue
		}
		batch.Sent = append(batch.Sent, done)
	}
	return batch, nil
}

func main() { lambda.Start(handle) }

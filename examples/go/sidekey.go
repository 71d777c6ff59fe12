package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"time"
)

var (
	agent  = "http://127.0.0.1:" + cmp.Or(os.Getenv("SIDEKEY_PORT"), "2773")
	token  = cmp.Or(os.Getenv("AWS_SESSION_TOKEN"), os.Getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN"))
	client = &http.Client{Timeout: 10 * time.Second}
)

// credentials returns the fields of a secret. If refresh is set, Sidekey first fetches the current value from
// AWS.
func credentials(ctx context.Context, reference string, refresh bool) (map[string]string, error) {
	query := url.Values{"secretId": {reference}, "refreshNow": {fmt.Sprint(refresh)}}
	target := agent + "/secretsmanager/get?" + query.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("X-Aws-Parameters-Secrets-Token", token)
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s: %s", reference, response.Status, body)
	}
	var secret struct{ SecretString string }
	var fields map[string]string
	err = json.Unmarshal(body, &secret)
	if err != nil || json.Unmarshal([]byte(secret.SecretString), &fields) != nil {
		// The error of the JSON parser could contain a part of the secret.
		return nil, fmt.Errorf("%s: the secret is not a JSON object of strings", reference)
	}
	return fields, nil
}

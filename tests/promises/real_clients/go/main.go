// Calls Sidekey with the clients of Go functions: AWS's SDK, and plain HTTP with net/http. As in a
// function, environment variables set the address and the token.
//
// The program reads steps from its standard input and prints one line of JSON for each step. See
// tests/promises/real_clients.rs.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/aws/smithy-go"
)

type result map[string]any

// clients are the clients that execute the steps.
type clients struct {
	sdk *secretsmanager.Client
	ssm *ssm.Client
}

func value(text *string, bytes []byte) result {
	if text == nil {
		return result{"base64": bytes}
	}
	return result{"text": *text}
}

// named returns the value of an option, or nil if the option is missing.
func named(options map[string]string, name string) *string {
	if value, ok := options[name]; ok {
		return &value
	}
	return nil
}

func (a clients) get(id string, options map[string]string) (result, error) {
	answer, err := a.sdk.GetSecretValue(context.Background(), &secretsmanager.GetSecretValueInput{
		SecretId:     &id,
		VersionId:    named(options, "versionId"),
		VersionStage: named(options, "versionStage"),
	})
	if err != nil {
		return nil, err
	}
	return value(answer.SecretString, answer.SecretBinary), nil
}

func (a clients) batch(ids string) (result, error) {
	input := secretsmanager.BatchGetSecretValueInput{SecretIdList: strings.Split(ids, ",")}
	answer, err := a.sdk.BatchGetSecretValue(context.Background(), &input)
	if err != nil {
		return nil, err
	}
	values, failed := []result{}, [][]*string{}
	for _, entry := range answer.SecretValues {
		values = append(values, value(entry.SecretString, entry.SecretBinary))
	}
	for _, entry := range answer.Errors {
		failed = append(failed, []*string{entry.SecretId, entry.ErrorCode})
	}
	return result{"values": values, "errors": failed}, nil
}

func (a clients) put(id string) (result, error) {
	text := "new"
	input := secretsmanager.PutSecretValueInput{SecretId: &id, SecretString: &text}
	_, err := a.sdk.PutSecretValue(context.Background(), &input)
	return result{}, err
}

func parameter(answer types.Parameter) result {
	selector := ""
	if answer.Selector != nil {
		selector = *answer.Selector
	}
	return result{
		"arn":      answer.ARN,
		"name":     answer.Name,
		"type":     answer.Type,
		"value":    *answer.Value,
		"version":  answer.Version,
		"selector": selector,
		"date":     answer.LastModifiedDate.UnixMilli(),
	}
}

func parameters(answers []types.Parameter) []result {
	values := []result{}
	for _, entry := range answers {
		values = append(values, parameter(entry))
	}
	return values
}

func (a clients) getParameter(name string, options map[string]string) (result, error) {
	decrypt := options["decrypt"] != "false"
	input := ssm.GetParameterInput{Name: &name, WithDecryption: &decrypt}
	answer, err := a.ssm.GetParameter(context.Background(), &input)
	if err != nil {
		return nil, err
	}
	return parameter(*answer.Parameter), nil
}

func (a clients) getParameters(names string) (result, error) {
	decrypt := true
	input := ssm.GetParametersInput{Names: strings.Split(names, ","), WithDecryption: &decrypt}
	answer, err := a.ssm.GetParameters(context.Background(), &input)
	if err != nil {
		return nil, err
	}
	return result{"values": parameters(answer.Parameters), "invalid": answer.InvalidParameters}, nil
}

func (a clients) listPath(path string, options map[string]string) (result, error) {
	recursive, decrypt := options["recursive"] == "true", true
	input := ssm.GetParametersByPathInput{Path: &path, Recursive: &recursive, WithDecryption: &decrypt}
	pages := ssm.NewGetParametersByPathPaginator(a.ssm, &input)
	values := []result{}
	for pages.HasMorePages() {
		page, err := pages.NextPage(context.Background())
		if err != nil {
			return nil, err
		}
		values = append(values, parameters(page.Parameters)...)
	}
	return result{"values": values}, nil
}

func (a clients) putParameter(name string) (result, error) {
	text := "new"
	_, err := a.ssm.PutParameter(context.Background(), &ssm.PutParameterInput{Name: &name, Value: &text})
	return result{}, err
}

func fetched(path string) (result, error) {
	target := "http://127.0.0.1:" + os.Getenv("PARAMETERS_SECRETS_EXTENSION_HTTP_PORT") + path
	request, err := http.NewRequest(http.MethodGet, target, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("X-Aws-Parameters-Secrets-Token", os.Getenv("AWS_SESSION_TOKEN"))
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, err
	}
	kind := answer.Header.Get("Content-Type")
	return result{"status": answer.StatusCode, "type": kind, "body": string(body)}, nil
}

// repeated calls ask the given number of times, at most atOnce in parallel, and returns the distinct
// answers.
func repeated(ask func() (result, error), times string, atOnce int) (result, error) {
	count, err := strconv.Atoi(times)
	if err != nil {
		return nil, err
	}
	var group sync.WaitGroup
	places := make(chan struct{}, atOnce)
	answers := make([]result, count)
	failures := make([]error, count)
	for n := range count {
		places <- struct{}{}
		group.Go(func() {
			answers[n], failures[n] = ask()
			<-places
		})
	}
	group.Wait()
	distinct := []any{}
	seen := map[any]bool{}
	for _, answer := range answers {
		text := answer["body"]
		for _, name := range []string{"text", "value"} {
			if value, ok := answer[name]; ok {
				text = value
			}
		}
		if !seen[text] {
			seen[text] = true
			distinct = append(distinct, text)
		}
	}
	return result{"distinct": distinct}, errors.Join(failures...)
}

func (a clients) step(client, act, target string, options map[string]string) (result, error) {
	get := func() (result, error) { return a.get(target, nil) }
	getParameter := func() (result, error) { return a.getParameter(target, options) }
	fetch := func() (result, error) { return fetched(target) }
	switch client + " " + act {
	case "sdk get":
		return a.get(target, options)
	case "sdk batch":
		return a.batch(target)
	case "sdk put":
		return a.put(target)
	case "sdk many":
		return repeated(get, options["times"], 100)
	case "ssm get":
		return getParameter()
	case "ssm all":
		return a.getParameters(target)
	case "ssm path":
		return a.listPath(target, options)
	case "ssm put":
		return a.putParameter(target)
	case "ssm many":
		return repeated(getParameter, options["times"], 100)
	case "http get":
		return fetch()
	case "http kept":
		return repeated(fetch, options["times"], 1)
	case "http many":
		return repeated(fetch, options["times"], 100)
	}
	return nil, fmt.Errorf("no step: %s %s", client, act)
}

func failure(err error) result {
	var typed smithy.APIError
	if errors.As(err, &typed) {
		class := strings.TrimPrefix(fmt.Sprintf("%T", typed), "*")
		return result{"error": class, "code": typed.ErrorCode(), "message": typed.ErrorMessage()}
	}
	return result{"error": fmt.Sprintf("%T", err), "message": err.Error()}
}

func main() {
	settings, err := config.LoadDefaultConfig(context.Background())
	if err != nil {
		panic(err)
	}
	a := clients{sdk: secretsmanager.NewFromConfig(settings), ssm: ssm.NewFromConfig(settings)}
	lines := bufio.NewScanner(os.Stdin)
	answers := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		words := strings.Split(lines.Text(), " ")
		options := map[string]string{}
		for _, option := range words[3:] {
			name, value, _ := strings.Cut(option, "=")
			options[name] = value
		}
		answer, err := a.step(words[0], words[1], words[2], options)
		if err != nil {
			answer = failure(err)
		}
		if err := answers.Encode(answer); err != nil {
			panic(err)
		}
	}
}

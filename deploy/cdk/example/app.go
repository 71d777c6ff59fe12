// The same application as app.js, in Go. The argument is the root of the clone.
package main

import (
	"os"
	"path/filepath"

	sidekeycdk "example.com/sidekey/cdk/sidekeycdk"
	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslambda"
	"github.com/aws/jsii-runtime-go"
)

func main() {
	defer jsii.Close()
	repository := os.Args[1]

	app := awscdk.NewApp(nil)
	stack := awscdk.NewStack(app, jsii.String("SidekeyExample"), nil)

	fn := awslambda.NewFunction(stack, jsii.String("Processor"), &awslambda.FunctionProps{
		FunctionName: jsii.String("sidekey-example"),
		Runtime:      awslambda.Runtime_PYTHON_3_13(),
		Architecture: awslambda.Architecture_ARM_64(),
		Handler:      jsii.String("handler.handle"),
		Code:         awslambda.Code_FromAsset(jsii.String(filepath.Join(repository, "examples/python")), nil),
		Timeout:      awscdk.Duration_Seconds(jsii.Number(30)),
	})

	sidekey := sidekeycdk.NewSidekey(stack, jsii.String("Sidekey"), &sidekeycdk.SidekeyProps{
		Layer:   sidekeycdk.SidekeyLayer_FromFolder(jsii.String(filepath.Join(repository, "target/lambda"))),
		Secrets: jsii.Strings("openai-api-key/whatsapp", "ssm:/app/url"),
		Allow:   jsii.Strings("whatsapp-credentials/*/*/twilio", "openai-api-key/whatsapp", "ssm:/app/*"),
		Ttl:     awscdk.Duration_Minutes(jsii.Number(10)),
	})
	sidekey.AttachTo(fn)

	app.Synth(nil)
}

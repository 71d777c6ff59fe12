"""The same application as app.js, in Python."""

from pathlib import Path

from aws_cdk import App, Duration, Stack
from aws_cdk import aws_lambda as lambda_
from sidekey_cdk import Sidekey, SidekeyLayer

REPOSITORY = Path(__file__).resolve().parents[3]

app = App()
stack = Stack(app, "SidekeyExample")

fn = lambda_.Function(
    stack,
    "Processor",
    runtime=lambda_.Runtime.PYTHON_3_13,
    architecture=lambda_.Architecture.ARM_64,
    handler="handler.handle",
    code=lambda_.Code.from_asset(str(REPOSITORY / "examples/python")),
    timeout=Duration.seconds(30),
)

sidekey = Sidekey(
    stack,
    "Sidekey",
    layer=SidekeyLayer.from_folder(str(REPOSITORY / "target/lambda")),
    secrets=["openai-api-key/whatsapp", "ssm:/app/url"],
    allow=["whatsapp-credentials/*/*/twilio", "openai-api-key/whatsapp", "ssm:/app/*"],
    ttl=Duration.minutes(10),
)
sidekey.attach_to(fn)

app.synth()

"""Calls OpenAI, SendGrid and Twilio through Sidekey with their own libraries.

Executes one step per line of standard input, and prints the result as a line of JSON.
"""

import io
import json
import os
import sys
import urllib.request

import sendgrid
from openai import OpenAI
from sendgrid.helpers.mail import Mail
from twilio.rest import Client as Twilio

MESSAGES = [{"role": "user", "content": "Hello"}]


def plain():
    answer = OpenAI().chat.completions.create(model="gpt-4o", messages=MESSAGES)
    return answer.choices[0].message.content


def stream():
    pieces = OpenAI().chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=True)
    return "".join(piece.choices[0].delta.content or "" for piece in pieces)


def upload():
    file = io.BytesIO(b"x" * 2_000_000)
    return OpenAI().files.create(file=("data.jsonl", file), purpose="batch").bytes


def mail():
    client = sendgrid.SendGridAPIClient(host=os.environ["SENDGRID_URL"])
    message = Mail("from@acme.example", "to@acme.example", "Subject", "Text")
    return client.send(message).status_code


def message():
    client = Twilio("{twilio_account_sid}", os.environ["TWILIO_AUTH_TOKEN"])
    client.api.base_url = os.environ["TWILIO_URL"]
    return client.messages.create(to="+1", from_="+2", body="Hello").sid


def read():
    """Reads the key of OpenAI in the ordinary way, so that the key is in this process."""
    global KEY
    port = os.environ["SIDEKEY_PORT"]
    url = f"http://127.0.0.1:{port}/secretsmanager/get?secretId=openai-api-key/sms&field=ai_api_key"
    token = {"X-Aws-Parameters-Secrets-Token": os.environ["ORDINARY_TOKEN"]}
    with urllib.request.urlopen(urllib.request.Request(url, headers=token)) as answer:
        KEY = answer.read()
    return len(KEY)


for line in sys.stdin:
    try:
        print(json.dumps(globals()[line.strip()]()), flush=True)
    except Exception as error:
        print(json.dumps(f"{type(error).__name__}: {error}"), flush=True)

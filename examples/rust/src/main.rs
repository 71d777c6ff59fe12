//! A Lambda function that sends SMS messages from an SQS queue. It reads the credentials for each
//! message from Sidekey.

mod credentials;
mod runtime;

use credentials::Credentials;
use serde_json::{Value, json};

/// The reason why a message was not sent.
pub enum Failure {
    /// The message provider rejected the credential.
    Refused,
    /// Another error, with its error message.
    Other(String),
}

/// Imitates the API of a message provider in this example. Returns a description of the message,
/// without secrets.
fn send(context: &Value, account: &str, token: &str, ai_key: &str) -> Result<Value, Failure> {
    if context["revoked_suffix"].as_str().is_some_and(|revoked| token.ends_with(revoked)) {
        return Err(Failure::Refused);
    }
    let end = |secret: &str| secret.get(secret.len().saturating_sub(4)..).map(str::to_owned);
    Ok(json!({"account": account, "token_ends": end(token), "ai_key_ends": end(ai_key)}))
}

/// Sends one message. If the message provider rejects the credential, reads the current credential
/// and tries again.
fn process(credentials: &Credentials, body: &str) -> Result<Value, Failure> {
    let context: Value =
        serde_json::from_str(body).map_err(|error| Failure::Other(error.to_string()))?;
    let named = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let reference = named(&context["channel_config"]["sms"]["credentials_id"]);
    let ai_reference = named(&context["ai_config"]["ai_api_key_reference"]);
    let ai_key = credentials.field(&ai_reference, "ai_api_key", false)?;
    let account = credentials.field(&reference, "twilio_account_sid", false)?;
    let token = credentials.field(&reference, "twilio_auth_token", false)?;
    match send(&context, &account, &token, &ai_key) {
        Err(Failure::Refused) => {
            let token = credentials.field(&reference, "twilio_auth_token", true)?;
            send(&context, &account, &token, &ai_key)
        }
        done => done,
    }
}

/// Sends the messages of an SQS event. Returns the failed messages, so that SQS delivers them
/// again.
fn handle(credentials: &Credentials, event: &Value) -> Value {
    let (mut sent, mut failures) = (Vec::new(), Vec::new());
    for record in event["Records"].as_array().into_iter().flatten() {
        let id = &record["messageId"];
        match process(credentials, record["body"].as_str().unwrap_or_default()) {
            Ok(mut message) => {
                message["messageId"] = id.clone();
                sent.push(message);
            }
            Err(failure) => {
                let why = match failure {
                    Failure::Refused => "the provider answers 401".to_owned(),
                    Failure::Other(why) => why,
                };
                println!("{}", json!({"failed": id, "error": why}));
                failures.push(json!({"itemIdentifier": id}));
            }
        }
    }
    json!({"batchItemFailures": failures, "sent": sent})
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let credentials = Credentials::new();
    runtime::serve(|event| handle(&credentials, event))
}

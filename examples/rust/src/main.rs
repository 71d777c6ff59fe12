//! A channel processor for WhatsApp: sends the messages of a queue with the credentials that each refers to.

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::env;
use std::time::Duration;

/// A Context Object, or what of it is used here.
#[derive(Deserialize)]
struct Message {
    to: String,
    channel_config: ChannelConfig,
    ai_config: AiConfig,
}

#[derive(Deserialize)]
struct ChannelConfig {
    whatsapp: Channel,
}

#[derive(Deserialize)]
struct Channel {
    credentials_id: String,
}

#[derive(Deserialize)]
struct AiConfig {
    ai_api_key_reference: String,
}

#[derive(Deserialize)]
struct Twilio {
    twilio_account_sid: String,
    twilio_auth_token: String,
}

#[derive(Deserialize)]
struct OpenAi {
    ai_api_key: String,
}

#[derive(Deserialize)]
struct Secret {
    #[serde(rename = "SecretString")]
    text: String,
}

/// Where Sidekey is asked, and with what.
struct Sidekey {
    http: reqwest::Client,
    url: String,
    token: String,
}

impl Sidekey {
    fn beside_this_function() -> Result<Self, Error> {
        let port = env::var("SIDEKEY_PORT").unwrap_or_else(|_| "2773".to_owned());
        let token = env::var("AWS_SESSION_TOKEN")
            .or_else(|_| env::var("AWS_CONTAINER_AUTHORIZATION_TOKEN"))?;
        let http = reqwest::Client::builder().timeout(Duration::from_secs(10)).build()?;
        Ok(Self { http, url: format!("http://127.0.0.1:{port}/secretsmanager/get"), token })
    }

    /// Reads what a reference means. Sidekey holds it, so there is nothing to keep here.
    async fn credential<T: DeserializeOwned>(&self, reference: &str) -> Result<T, Error> {
        let asked = self.http.get(&self.url).query(&[("secretId", reference)]);
        let answer = asked.header("X-Aws-Parameters-Secrets-Token", &self.token).send().await?;
        let status = answer.status();
        let body = answer.text().await?;
        if !status.is_success() {
            return Err(format!("{reference}: {status} {body}").into());
        }
        let secret: Secret = serde_json::from_str(&body)?;
        Ok(serde_json::from_str(&secret.text)?)
    }
}

/// Stands for the calls to OpenAI and Twilio. A key is used, and never logged.
fn send(to: &str, twilio: &Twilio, openai: &OpenAi) -> Result<(), Error> {
    if openai.ai_api_key.is_empty() || twilio.twilio_auth_token.is_empty() {
        return Err("a key is empty".into());
    }
    println!("sent to {to} by account {}", twilio.twilio_account_sid);
    Ok(())
}

async fn process(sidekey: &Sidekey, body: &str) -> Result<(), Error> {
    let message: Message = serde_json::from_str(body)?;
    let twilio = sidekey.credential(&message.channel_config.whatsapp.credentials_id).await?;
    let openai = sidekey.credential(&message.ai_config.ai_api_key_reference).await?;
    send(&message.to, &twilio, &openai)
}

/// Takes a batch of SQS. What failed comes again, and nothing else does.
async fn handle(
    sidekey: &Sidekey,
    event: LambdaEvent<SqsEvent>,
) -> Result<SqsBatchResponse, Error> {
    let mut response = SqsBatchResponse::default();
    for record in event.payload.records {
        let id = record.message_id.unwrap_or_default();
        if let Err(error) = process(sidekey, &record.body.unwrap_or_default()).await {
            println!("failed {id}: {error}");
            response.add_failure(id);
        }
    }
    Ok(response)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let sidekey = Sidekey::beside_this_function()?;
    run(service_fn(async |event| handle(&sidekey, event).await)).await
}

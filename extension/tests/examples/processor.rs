//! Tests an example function that gets batches of SQS messages and sends a message to a customer
//! for each of them. The SQS messages refer to secrets, of which one is missing and one is rotated.

use crate::clients::{Clients, MissingTool, until};
use crate::emulator::{Emulator, Environment, Mode};
use crate::language::Language;
use fake_aws::Fake;
use fake_aws::Operation::GetSecretValue;
use serde_json::{Value, json};
use sidekey::clock::{Clock, SystemClock};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// A text that is part of each secret's value, and that must never appear in an answer or a log.
/// Some of its characters need escaping in JSON.
const SECRET: &str = "hunter2 \"<&>ä\" ";

/// The tenants (customers) whose credentials are in Secrets Manager.
const TENANTS: [&str; 3] = ["acme", "birch", "cedar"];

/// The channel through which the example function sends messages to customers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Channel {
    Whatsapp,
    Sms,
    Email,
}

impl Channel {
    fn name(self) -> &'static str {
        match self {
            Self::Whatsapp => "whatsapp",
            Self::Sms => "sms",
            Self::Email => "email",
        }
    }

    fn reference(self, tenant: &str) -> String {
        let provider = if self == Self::Email { "sendgrid" } else { "twilio" };
        format!("{}-credentials/{tenant}/support/{provider}", self.name())
    }

    fn ai_reference(self) -> String {
        format!("openai-api-key/{}", self.name())
    }

    /// Returns the value of a secret with the credentials of a tenant (a customer). The account id
    /// equals the tenant's name, and the token ends in `end`.
    fn value(self, tenant: &str, end: &str) -> String {
        let token = format!("{SECRET}{end}");
        let fields = match self {
            Self::Email => json!({"sendgrid_from_email": tenant, "sendgrid_auth_value": token}),
            _ => json!({"twilio_account_sid": tenant, "twilio_auth_token": token}),
        };
        fields.to_string()
    }

    /// Returns an SQS message that refers to the credentials of a tenant (a customer). The function
    /// acts as if the provider, such as Twilio, had revoked tokens that end in `revoked`.
    fn record(self, id: &str, tenant: &str, revoked: Option<&str>) -> Value {
        let context = json!({
            "channel_config": {self.name(): {"credentials_id": self.reference(tenant)}},
            "ai_config": {"ai_api_key_reference": self.ai_reference()},
            "revoked_suffix": revoked,
        });
        let context = match context {
            Value::Object(members) => members.into_iter().filter(|(_, value)| !value.is_null()),
            _ => unreachable!("the text of the message must be a JSON object"),
        };
        let context: serde_json::Map<String, Value> = context.collect();
        record(id, &Value::Object(context).to_string())
    }
}

fn record(id: &str, body: &str) -> Value {
    json!({"messageId": id, "body": body, "eventSource": "aws:sqs", "attributes": {}})
}

/// An example function that runs in Lambda's emulator, with Sidekey's extension and a fake of
/// Secrets Manager.
struct Processor {
    channel: Channel,
    fake: Fake,
    emulator: Emulator,
}

impl Processor {
    async fn start(language: Language, channel: Channel) -> Result<Self, MissingTool> {
        let clients = Clients::install()?;
        let function = language.build()?;
        #[expect(
            clippy::disallowed_methods,
            reason = "the fake of AWS needs the current time for the dates of secret versions"
        )]
        let fake =
            Fake::start(Arc::new(SystemTime::now)).await.expect("a free port must be available");
        let secrets = fake.secrets();
        for tenant in TENANTS {
            let value = channel.value(tenant, &first_end(tenant));
            secrets
                .create(&channel.reference(tenant), value)
                .expect("the fake of AWS must not contain this secret yet");
        }
        let ai_key = json!({"ai_api_key": format!("{SECRET}-key")}).to_string();
        secrets
            .create(&channel.ai_reference(), ai_key)
            .expect("the fake of AWS must not contain this secret yet");
        secrets
            .create(&channel.reference("plain"), SECRET)
            .expect("the fake of AWS must not contain this secret yet");

        let extension = Path::new(env!("CARGO_BIN_EXE_sidekey-extension"));
        let environment = Environment::new(Mode::OnDemand, extension, &function)
            .env("SIDEKEY_ENDPOINT", fake.url())
            .env("SIDEKEY_SECRETS", channel.ai_reference());
        let emulator = Emulator::start(&clients, &environment).await?;
        Ok(Self { channel, fake, emulator })
    }

    /// Gives the function a batch of SQS messages. Returns the messages that the function sent to
    /// customers, and the ids of the SQS messages that failed.
    async fn invoke(&self, records: &[Value]) -> (Vec<Value>, Vec<String>) {
        let (status, answer) = self.emulator.invoke(&json!({"Records": records})).await;
        let log = self.emulator.log();
        assert_eq!(status, 200, "{answer}\n{log}");
        assert!(!answer.to_string().contains("hunter2"), "{answer}");
        let sent = answer["sent"].as_array().unwrap_or_else(|| panic!("{answer}\n{log}")).clone();
        let failures = answer["batchItemFailures"]
            .as_array()
            .expect("the function's answer must have the array `batchItemFailures`");
        let id = |failure: &Value| {
            failure["itemIdentifier"].as_str().expect("the value must be a string").to_owned()
        };
        (sent, failures.iter().map(id).collect())
    }

    /// Makes the function send one message for the first tenant (a customer). Returns the last
    /// characters of the token that the function used.
    async fn send(&self, revoked: Option<&str>) -> String {
        let (sent, failed) = self.invoke(&[self.channel.record("m", TENANTS[0], revoked)]).await;
        assert!(failed.is_empty(), "{}", self.emulator.log());
        sent[0]["token_ends"].as_str().expect("the value must be a string").to_owned()
    }

    /// Returns the number of reads of secrets that the agent has answered, from the agent's
    /// metrics.
    async fn reads(&self) -> u64 {
        let page = self.emulator.ask_sidekey("/metrics", &[]).await.text();
        let counts = page.lines().filter_map(|line| line.strip_prefix("sidekey_reads_total{"));
        counts.filter_map(|line| line.split_once(' ')?.1.parse::<u64>().ok()).sum()
    }

    /// Returns how many calls to AWS have read the credentials of one tenant (a customer).
    fn calls_for(&self, tenant: &str) -> u64 {
        self.fake.calls().count_for(GetSecretValue, &self.channel.reference(tenant))
    }
}

/// Returns the last characters of a tenant's (a customer's) token before the first rotation.
fn first_end(tenant: &str) -> String {
    tenant[..2].to_owned() + "-1"
}

/// Runs an example function with ten SQS messages, of which one refers to a missing secret. The
/// function must report only this message as failed. Afterwards, checks that the function handles
/// rotated secrets.
pub(crate) async fn check_processor(language: Language, channel: Channel) {
    let mut processor = match Processor::start(language, channel).await {
        Ok(processor) => processor,
        Err(missing) => return missing.skip_or_fail(),
    };
    let ids: Vec<String> = (0..10).map(|number| format!("m-{number}")).collect();
    let tenants: Vec<&str> = TENANTS.iter().copied().cycle().take(10).collect();
    let mut records: Vec<Value> =
        ids.iter().zip(&tenants).map(|(id, tenant)| channel.record(id, tenant, None)).collect();
    records[6] = channel.record("m-6", "nobody", None);
    let (sent, failed) = processor.invoke(&records).await;
    assert_eq!(failed, ["m-6"], "{}", processor.emulator.log());
    let messages = ids.iter().zip(&tenants).filter(|(id, _)| *id != "m-6");
    let expected: Vec<Value> = messages
        .map(|(id, tenant)| {
            let end = first_end(tenant);
            json!({"messageId": id, "account": tenant, "token_ends": end, "ai_key_ends": "-key"})
        })
        .collect();
    assert_eq!(sent, expected);
    assert_eq!(
        processor.calls_for(TENANTS[0]),
        1,
        "the agent must call AWS only once for the credentials of several messages"
    );

    check_rotation(&processor).await;
    check_isolated_failures(&processor).await;
    check_single_refresh(&processor).await;
    let log = processor.emulator.log();
    assert!(!log.contains("hunter2"), "the log must not contain a part of a secret:\n{log}");
    assert_eq!(processor.emulator.shutdown().await.exit_code, Some(0), "{log}");
    processor.fake.stop().await;
}

/// Waits for one second, because `refreshNow` may call AWS only once a second.
async fn refresh_now_is_unlimited() {
    let clock = SystemClock::new();
    let is_over = || (clock.now().steady > Duration::from_secs(1)).then_some(());
    until("one second must pass", Duration::from_secs(20), is_over).await;
}

/// Rotates a tenant's token, and checks that the function uses the new token after the provider has
/// refused the old token.
async fn check_rotation(processor: &Processor) {
    let [tenant, ..] = TENANTS;
    let old = first_end(tenant);
    refresh_now_is_unlimited().await;
    let value = processor.channel.value(tenant, "ac-2");
    processor
        .fake
        .secrets()
        .put(&processor.channel.reference(tenant), value)
        .expect("the secret must exist");
    assert_eq!(
        processor.send(None).await,
        old,
        "the function must use the cached token until the provider refuses the token"
    );
    assert_eq!(processor.calls_for(tenant), 1);
    assert_eq!(processor.send(Some(&old)).await, "ac-2");
    assert_eq!(
        processor.calls_for(tenant),
        2,
        "a refused token must cause exactly one call to AWS"
    );
    assert_eq!(processor.send(None).await, "ac-2");
    assert_eq!(
        processor.calls_for(tenant),
        2,
        "the agent must cache the new token for later messages"
    );
}

/// Checks that a message that cannot be sent does not make other messages of its batch fail.
async fn check_isolated_failures(processor: &Processor) {
    let channel = processor.channel;
    let records = [
        channel.record("refused", TENANTS[1], Some(&first_end(TENANTS[1]))),
        channel.record("plain", "plain", None),
        record("broken", "{"),
        channel.record("good", TENANTS[2], None),
    ];
    let (sent, failed) = processor.invoke(&records).await;
    assert_eq!(failed, ["refused", "plain", "broken"], "{}", processor.emulator.log());
    assert_eq!((sent.len(), &sent[0]["account"]), (1, &json!(TENANTS[2])));
    assert_eq!(
        processor.calls_for(TENANTS[1]),
        2,
        "a refused token must cause exactly one call to AWS"
    );
}

/// Checks that after a provider refuses the token in a secret, the function reads the secret only
/// once or twice more, so that no endless loop is possible.
async fn check_single_refresh(processor: &Processor) {
    let end = first_end(TENANTS[1]);
    let mut reads = Vec::new();
    for revoked in [None, Some(&*end)] {
        let before = processor.reads().await;
        let (_, failed) =
            processor.invoke(&[processor.channel.record("m", TENANTS[1], revoked)]).await;
        assert_eq!(failed.is_empty(), revoked.is_none(), "{}", processor.emulator.log());
        reads.push(processor.reads().await - before);
    }
    assert!((1..=2).contains(&(reads[1] - reads[0])), "{reads:?}");
}

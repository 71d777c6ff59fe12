//! A channel processor check_processor SQS batches with references. One secret is missing, and one is
//! rotated.

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

/// A part of every secret value. This text must never appear in an answer or a log. Some of its
/// characters need escaping in JSON.
const SECRET: &str = "hunter2 \"<&>ä\" ";

/// The tenants whose credentials exist.
const TENANTS: [&str; 3] = ["acme", "birch", "cedar"];

/// The channel of a processor.
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

    /// Returns a secret's value. Its account id is the tenant, and its token ends in `end`.
    fn value(self, tenant: &str, end: &str) -> String {
        let token = format!("{SECRET}{end}");
        let fields = match self {
            Self::Email => json!({"sendgrid_from_email": tenant, "sendgrid_auth_value": token}),
            _ => json!({"twilio_account_sid": tenant, "twilio_auth_token": token}),
        };
        fields.to_string()
    }

    /// Returns an SQS record that names a tenant's credentials. The provider in the example refuses
    /// tokens that end in `revoked`.
    fn record(self, id: &str, tenant: &str, revoked: Option<&str>) -> Value {
        let context = json!({
            "channel_config": {self.name(): {"credentials_id": self.reference(tenant)}},
            "ai_config": {"ai_api_key_reference": self.ai_reference()},
            "revoked_suffix": revoked,
        });
        let context = match context {
            Value::Object(members) => members.into_iter().filter(|(_, value)| !value.is_null()),
            _ => unreachable!("the context is a JSON object"),
        };
        let context: serde_json::Map<String, Value> = context.collect();
        record(id, &Value::Object(context).to_string())
    }
}

fn record(id: &str, body: &str) -> Value {
    json!({"messageId": id, "body": body, "eventSource": "aws:sqs", "attributes": {}})
}

/// A running function of one language.
struct Processor {
    channel: Channel,
    fake: Fake,
    emulator: Emulator,
}

impl Processor {
    async fn start(language: Language, channel: Channel) -> Result<Self, MissingTool> {
        let clients = Clients::install()?;
        let function = language.build()?;
        #[expect(clippy::disallowed_methods, reason = "the fake needs the time for its versions")]
        let fake = Fake::start(Arc::new(SystemTime::now)).await.expect("a free port can be bound");
        let secrets = fake.secrets();
        for tenant in TENANTS {
            let value = channel.value(tenant, &first_end(tenant));
            secrets.create(&channel.reference(tenant), value).expect("the secret name is unused");
        }
        let ai_key = json!({"ai_api_key": format!("{SECRET}-key")}).to_string();
        secrets.create(&channel.ai_reference(), ai_key).expect("the secret name is unused");
        secrets.create(&channel.reference("plain"), SECRET).expect("the secret name is unused");

        let extension = Path::new(env!("CARGO_BIN_EXE_sidekey-extension"));
        let environment = Environment::new(Mode::OnDemand, extension, &function)
            .env("SIDEKEY_ENDPOINT", fake.url())
            .env("SIDEKEY_SECRETS", channel.ai_reference());
        let emulator = Emulator::start(&clients, &environment).await?;
        Ok(Self { channel, fake, emulator })
    }

    /// Lets the function process a batch. Returns the messages that it sent, and the ids of the
    /// messages that failed.
    async fn invoke(&self, records: &[Value]) -> (Vec<Value>, Vec<String>) {
        let (status, answer) = self.emulator.invoke(&json!({"Records": records})).await;
        let log = self.emulator.log();
        assert_eq!(status, 200, "{answer}\n{log}");
        assert!(!answer.to_string().contains("hunter2"), "{answer}");
        let sent = answer["sent"].as_array().unwrap_or_else(|| panic!("{answer}\n{log}")).clone();
        let failures = answer["batchItemFailures"].as_array().expect("the value is a JSON array");
        let id = |failure: &Value| {
            failure["itemIdentifier"].as_str().expect("the value is a string").to_owned()
        };
        (sent, failures.iter().map(id).collect())
    }

    /// Lets the function send one message of the first tenant. Returns the end of the token that
    /// was used.
    async fn send(&self, revoked: Option<&str>) -> String {
        let (sent, failed) = self.invoke(&[self.channel.record("m", TENANTS[0], revoked)]).await;
        assert!(failed.is_empty(), "{}", self.emulator.log());
        sent[0]["token_ends"].as_str().expect("the value is a string").to_owned()
    }

    /// Returns the number of reads that Sidekey has answered.
    async fn reads(&self) -> u64 {
        let page = self.emulator.ask_sidekey("/metrics", &[]).await.text();
        let counts = page.lines().filter_map(|line| line.strip_prefix("sidekey_reads_total{"));
        counts.filter_map(|line| line.split_once(' ')?.1.parse::<u64>().ok()).sum()
    }

    /// Returns the number of calls to AWS for the credentials of one tenant.
    fn calls_for(&self, tenant: &str) -> u64 {
        self.fake.calls().count_for(GetSecretValue, &self.channel.reference(tenant))
    }
}

/// Returns the end of a tenant's token before the rotation.
fn first_end(tenant: &str) -> String {
    tenant[..2].to_owned() + "-1"
}

/// Runs the example of one language. Nine of ten messages are sent with the right credentials, and
/// the one with a missing secret is reported as failed. After a rotation, the provider refuses the
/// old token, and the function gets the new one by `refreshNow`.
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
        "the credentials are cached after the first message"
    );

    check_rotation(&processor).await;
    check_isolated_failures(&processor).await;
    check_single_refresh(&processor).await;
    let log = processor.emulator.log();
    assert!(!log.contains("hunter2"), "the log contains a secret:\n{log}");
    assert_eq!(processor.emulator.shutdown().await.exit_code, Some(0), "{log}");
    processor.fake.stop().await;
}

/// Waits until `refreshNow` may call AWS again, which is allowed once a second.
async fn refresh_now_is_unlimited() {
    let clock = SystemClock::new();
    let is_over = || (clock.now().steady > Duration::from_secs(1)).then_some(());
    until("a second has passed", Duration::from_secs(20), is_over).await;
}

/// After a rotation, the provider refuses the cached token. The function then uses the new token,
/// also for all later messages.
async fn check_rotation(processor: &Processor) {
    let [tenant, ..] = TENANTS;
    let old = first_end(tenant);
    refresh_now_is_unlimited().await;
    let value = processor.channel.value(tenant, "ac-2");
    processor
        .fake
        .secrets()
        .put(&processor.channel.reference(tenant), value)
        .expect("the secret exists");
    assert_eq!(
        processor.send(None).await,
        old,
        "the cached token is used until the provider refuses it"
    );
    assert_eq!(processor.calls_for(tenant), 1);
    assert_eq!(processor.send(Some(&old)).await, "ac-2");
    assert_eq!(processor.calls_for(tenant), 2, "one refusal causes one call");
    assert_eq!(processor.send(None).await, "ac-2");
    assert_eq!(processor.calls_for(tenant), 2, "the new token is cached for the next message");
}

/// A message that cannot be sent fails alone: a new token that the provider refuses, a secret
/// without fields, and a body that is not JSON.
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
    assert_eq!(processor.calls_for(TENANTS[1]), 2, "one refusal causes one refresh");
}

/// A token that is refused twice causes one refresh, not a loop. With an SDK, one more read returns
/// the refreshed value.
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

//! A channel processor at work: batches from SQS with references in them, a secret that is missing,
//! and one that is rotated.

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

/// In every secret, and never in what a function tells. A value needs escaping, too.
const SECRET: &str = "hunter2 \"<&>ä\" ";

/// Whose credentials there are.
const TENANTS: [&str; 3] = ["acme", "birch", "cedar"];

/// The channel that a function is for.
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

    /// A secret whose account is the tenant's, and whose token ends in `end`.
    fn value(self, tenant: &str, end: &str) -> String {
        let token = format!("{SECRET}{end}");
        let fields = match self {
            Self::Email => json!({"sendgrid_from_email": tenant, "sendgrid_auth_value": token}),
            _ => json!({"twilio_account_sid": tenant, "twilio_auth_token": token}),
        };
        fields.to_string()
    }

    /// A record of SQS that names a tenant's credentials. The provider refuses a token that ends in
    /// what is `revoked`.
    fn record(self, id: &str, tenant: &str, revoked: Option<&str>) -> Value {
        let context = json!({
            "channel_config": {self.name(): {"credentials_id": self.reference(tenant)}},
            "ai_config": {"ai_api_key_reference": self.ai_reference()},
            "revoked_suffix": revoked,
        });
        let context = match context {
            Value::Object(members) => members.into_iter().filter(|(_, value)| !value.is_null()),
            _ => unreachable!("it is written as an object"),
        };
        let context: serde_json::Map<String, Value> = context.collect();
        record(id, &Value::Object(context).to_string())
    }
}

fn record(id: &str, body: &str) -> Value {
    json!({"messageId": id, "body": body, "eventSource": "aws:sqs", "attributes": {}})
}

/// A function of one language, at work.
struct Processor {
    channel: Channel,
    fake: Fake,
    emulator: Emulator,
}

impl Processor {
    async fn start(language: Language, channel: Channel) -> Result<Self, MissingTool> {
        let clients = Clients::install()?;
        let function = language.build()?;
        #[expect(clippy::disallowed_methods, reason = "the fake dates its versions")]
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

    /// Has the function process a batch, and returns what it sent and the ids of what failed.
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

    /// Has it send one message of the first tenant, and returns how the token ended.
    async fn send(&self, revoked: Option<&str>) -> String {
        let (sent, failed) = self.invoke(&[self.channel.record("m", TENANTS[0], revoked)]).await;
        assert!(failed.is_empty(), "{}", self.emulator.log());
        sent[0]["token_ends"].as_str().expect("the value is a string").to_owned()
    }

    /// Returns how many reads Sidekey has answered.
    async fn reads(&self) -> u64 {
        let page = self.emulator.ask_sidekey("/metrics", &[]).await.text();
        let counts = page.lines().filter_map(|line| line.strip_prefix("sidekey_reads_total{"));
        counts.filter_map(|line| line.split_once(' ')?.1.parse::<u64>().ok()).sum()
    }

    /// Returns how often upstream was asked for the credentials of one tenant.
    fn calls_for(&self, tenant: &str) -> u64 {
        self.fake.calls().count_for(GetSecretValue, &self.channel.reference(tenant))
    }
}

/// How the token of a tenant ends before it is rotated.
fn first_end(tenant: &str) -> String {
    tenant[..2].to_owned() + "-1"
}

/// Runs the example of one language. Of ten messages nine are sent with the credentials that each
/// names, and the one whose secret is missing goes back. A rotated credential is had by `refreshNow`,
/// once the provider refuses the old one, and by every later message.
pub(crate) async fn processes(language: Language, channel: Channel) {
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
    assert_eq!(processor.calls_for(TENANTS[0]), 1, "held from the first message on");

    rotates(&processor).await;
    fails_alone(&processor).await;
    asks_once_more(&processor).await;
    let log = processor.emulator.log();
    assert!(!log.contains("hunter2"), "a secret in the log:\n{log}");
    assert_eq!(processor.emulator.shutdown().await.exit_code, Some(0), "{log}");
    processor.fake.stop().await;
}

/// Waits until `refreshNow` may go upstream for what was fetched before: it does once a second.
async fn refresh_now_is_unlimited() {
    let clock = SystemClock::new();
    let is_over = || (clock.now().steady > Duration::from_secs(1)).then_some(());
    until("a second passes", Duration::from_secs(20), is_over).await;
}

/// A rotation shows once the provider refuses what is held, and in every message from then on.
async fn rotates(processor: &Processor) {
    let [tenant, ..] = TENANTS;
    let old = first_end(tenant);
    refresh_now_is_unlimited().await;
    let value = processor.channel.value(tenant, "ac-2");
    processor.fake.secrets().put(&processor.channel.reference(tenant), value).expect("there");
    assert_eq!(processor.send(None).await, old, "held, and not refused yet");
    assert_eq!(processor.calls_for(tenant), 1);
    assert_eq!(processor.send(Some(&old)).await, "ac-2");
    assert_eq!(processor.calls_for(tenant), 2, "one call for the one refusal");
    assert_eq!(processor.send(None).await, "ac-2");
    assert_eq!(processor.calls_for(tenant), 2, "held for the next");
}

/// What cannot be sent is one message's failure: a credential that is refused when it is new, too, a
/// secret without fields, a body that is not JSON.
async fn fails_alone(processor: &Processor) {
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
    assert_eq!(processor.calls_for(TENANTS[1]), 2, "refreshed for the one refusal");
}

/// What is refused again is not asked for without an end: a refresh, and with an SDK the read of
/// what it brought.
async fn asks_once_more(processor: &Processor) {
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

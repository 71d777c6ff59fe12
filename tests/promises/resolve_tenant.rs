//! Where the configuration ties what a secret's name says to what its message says, a message gets its
//! own tenant's secrets and nobody else's; and what is refused is logged without harm.

use crate::support::agent::{REGION, Setup, Sidekey, TOKEN_HEADER};
use crate::support::client::{Connection, request};
use crate::support::clock::ManualClock;
use crate::support::program::Program;
use crate::support::{Folder, fake};
use fake_aws::Fake;
use rustix::process::Signal;
use serde_json::{Value, json};
use sidekey::config::{self, Host};
use std::collections::BTreeMap;
use std::sync::Arc;

const TIED: &str = "[resolve.tenant]\ncompany_name = \"company_data.company_name\"\n";
const PATH: &str = "channel_config.sms.credentials_id";

async fn upstream(clock: &Arc<ManualClock>) -> Fake {
    let fake = fake(clock).await;
    for name in ["sms-credentials/acme/x/twilio", "sms-credentials/other/x/twilio"] {
        fake.secrets().create(name, json!({ "of": name }).to_string()).expect("a new name");
    }
    for name in ["openai-api-key/sms", "prod/db", "sms-credentials/acme/x/twilio-AbC123"] {
        fake.secrets().create(name, "hunter2").expect("a new name");
    }
    fake
}

fn setup(fake: &Fake, clock: &Arc<ManualClock>, folder: &Folder) -> Setup {
    let file = folder.write("sidekey.toml", TIED);
    Setup::of(fake, clock).with("SIDEKEY_CONFIG", file.display())
}

fn message(company: &Value, reference: &str) -> Value {
    json!({
        "company_data": {"company_name": company},
        "channel_config": {"sms": {"credentials_id": reference}},
    })
}

async fn resolve(sidekey: &Sidekey, body: &Value) -> Value {
    let asked = request("POST", "/resolve", &[TOKEN_HEADER], &body.to_string());
    let answer = sidekey.connect().await.exchange(asked).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["results"].take()
}

/// A message gets secrets that are named after its own tenant, and shared ones. Another tenant's, by
/// name or by ARN, one whose tenant the message does not say, and one of which no convention says whose
/// it is, call nobody. The refusal names placeholder and path, and nothing of the message.
#[tokio::test]
async fn message_gets_secrets_of_its_own_tenant_only() {
    let clock = ManualClock::new();
    let fake = upstream(&clock).await;
    let folder = Folder::new();
    let sidekey = setup(&fake, &clock, &folder).start().await;
    let own = "sms-credentials/acme/x/twilio";
    let other = "sms-credentials/other/x/twilio";
    let other_arn = fake.secrets().arn(other).expect("it is there");
    let acme = json!("acme");
    let secretive = json!("hunter2-company");
    for (company, reference, words) in [
        (&acme, other, "the company_name in the secret's name differs from company_data"),
        (&acme, &*other_arn, "differs from company_data.company_name"),
        (&acme, "sms-credentials/other/x/twilio#of", "differs from"),
        (&secretive, own, "differs from"),
        (&json!(null), own, "no string at company_data.company_name"),
        (&json!(["acme"]), own, "no string at company_data.company_name"),
        (&acme, "prod/db", "no convention matches"),
        (&acme, "sms-credentials/acme/twilio", "no convention matches"),
    ] {
        let results = resolve(&sidekey, &message(company, reference)).await;
        let error = &results[0]["credentials"][PATH]["error"];
        assert_eq!(error["__type"], "AccessDeniedException", "{reference}");
        let text = error["message"].as_str().expect("a text");
        assert!(text.contains(words), "{text}");
        assert!(!results.to_string().contains("hunter2"), "{results}");
    }
    assert_eq!(fake.calls().total(), 0);

    let own_arn = fake.secrets().arn(own).expect("it is there");
    for reference in [own, &own_arn, "openai-api-key/sms"] {
        let results = resolve(&sidekey, &message(&acme, reference)).await;
        assert_eq!(results[0]["ok"], true, "{results}");
    }
}

/// What an ARN turns out to mean is judged once more: it may be that of a secret whose name only ends
/// like an ARN of the tenant's.
#[tokio::test]
async fn answer_is_checked_against_the_tenant() {
    let clock = ManualClock::new();
    let fake = upstream(&clock).await;
    let folder = Folder::new();
    let sidekey = setup(&fake, &clock, &folder).start().await;
    let partial = format!(
        "arn:aws:secretsmanager:{REGION}:123456789012:secret:sms-credentials/acme/x/twilio-AbC123"
    );
    for reference in [&partial, &format!("{partial}#none")] {
        let results = resolve(&sidekey, &message(&json!("acme"), reference)).await;
        let found = &results[0]["credentials"][PATH];
        assert_eq!(found["error"]["__type"], "AccessDeniedException", "{found}");
        assert!(!results.to_string().contains("hunter2"));
    }
    assert_eq!(fake.calls().total(), 1, "only the answer tells");
}

/// In one event a secret is its own tenant's to have and refused to the others, also where it is held.
#[tokio::test]
async fn each_message_is_checked_against_its_own_tenant() {
    let clock = ManualClock::new();
    let fake = upstream(&clock).await;
    let folder = Folder::new();
    let sidekey = setup(&fake, &clock, &folder).start().await;
    let reference = "sms-credentials/acme/x/twilio";
    let record = |id, company| {
        let body = message(&json!(company), reference).to_string();
        json!({"messageId": id, "body": body})
    };
    for _ in 0..2 {
        let event = json!({"Records": [record("m-1", "other"), record("m-2", "acme")]});
        let results = resolve(&sidekey, &event).await;
        assert_eq!((&results[0]["ok"], &results[1]["ok"]), (&json!(false), &json!(true)));
        assert_eq!(results[1]["credentials"][PATH]["value"]["of"], reference);
        assert_eq!(results[0]["credentials"][PATH].get("value"), None);
    }
    assert_eq!(fake.calls().total(), 1);
}

/// A list has no message to compare with: what is named after a tenant is refused, so that nobody gets
/// round the tie by sending one.
#[tokio::test]
async fn list_of_references_cannot_bypass_the_tenant_check() {
    let clock = ManualClock::new();
    let fake = upstream(&clock).await;
    let folder = Folder::new();
    let sidekey = setup(&fake, &clock, &folder).start().await;
    let references = ["sms-credentials/acme/x/twilio", "prod/db", "openai-api-key/sms"];
    let results = resolve(&sidekey, &json!({ "references": references })).await;
    let credentials = &results[0]["credentials"];
    for reference in &references[..2] {
        assert_eq!(credentials[reference]["error"]["__type"], "AccessDeniedException");
    }
    assert_eq!(credentials["openai-api-key/sms"]["value"], "hunter2");
    assert_eq!(fake.calls().total(), 1);
}

/// A mistake in the tie is told with all others, and never ties nothing without a word: not on Lambda
/// either, where other unknown keys are only warned of.
#[test]
fn mistaken_tenant_binding_is_never_ignored() {
    let folder = Folder::new();
    for (text, words) in [
        ("[resolve.tenant]\ncompany = \"a\"\n", "did you mean company_name?"),
        ("[resolve.tenant]\ncompany_name = \"a.*\"\n", "without '*'"),
        ("[resolve.tenants]\ncompany_name = \"a\"\n", "[resolve.tenant]?"),
        ("[resolv.tenant]\ncompany_name = \"a\"\n", "did you mean resolve?"),
    ] {
        let path = folder.write("bad.toml", text);
        let vars: BTreeMap<String, String> =
            [("AWS_SESSION_TOKEN", "t".to_owned()), ("SIDEKEY_CONFIG", path.display().to_string())]
                .map(|(name, value)| (name.to_owned(), value))
                .into();
        for host in [Host::Standalone, Host::Lambda] {
            let mistakes = config::load(&vars, host).mistakes.to_string();
            assert!(mistakes.contains(words), "{text}: {mistakes}");
        }
    }
}

/// What is refused is logged in one line for a request, cut and without control characters; nothing
/// else of a message is, not even at the most talkative level.
#[tokio::test]
async fn refused_references_are_logged_escaped() {
    let clock = ManualClock::new();
    let fake = upstream(&clock).await;
    let folder = Folder::new();
    let setup = setup(&fake, &clock, &folder).with("SIDEKEY_LOG", "trace");
    let program = Program::start(&["serve"], setup.vars());
    let mut connection = Connection::open(program.address().await).await;
    let long = "\u{1b}[31m\r\n{\"level\":\"ERROR\"}".to_owned() + &"x".repeat(10_000);
    let mut forged = message(&json!("canary-company"), &long);
    forged["conversation"] = json!("canary-text");
    let body = "canary-body";
    let event = json!({"Records": [
        {"messageId": "canary-id", "body": forged.to_string()},
        {"messageId": "m", "body": forged.to_string()},
        {"messageId": "m", "body": body},
    ]});
    for body in [event.to_string(), forged.to_string(), body.to_owned(), "{\"canary-".to_owned()] {
        connection.exchange(request("POST", "/resolve", &[TOKEN_HEADER], &body)).await;
    }
    let line = program.line("refused to resolve a reference").await;
    let line: Value = serde_json::from_str(&line).expect("JSON");
    let shown = line.pointer("/fields/reference").or_else(|| line.get("reference"));
    let shown = shown.and_then(Value::as_str).expect("the reference is shown");
    assert!(shown.starts_with("?[31m??{\"level\":\"ERROR\"}xxx"), "{shown}");
    assert!(shown.len() < 150, "{shown}");
    program.signal(Signal::TERM);
    let (_, log) = program.ended().await;
    assert!(!log.contains("canary"), "{log}");
    assert_eq!(log.matches("refused to resolve a reference").count(), 1, "one line a second");
}

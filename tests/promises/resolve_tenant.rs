//! Tests of the tenant check of `/resolve`: a message gets only secrets whose names contain the
//! message's own tenant (customer).

use crate::support::agent::{REGION, Setup, Sidekey, TOKEN_HEADER};
use crate::support::client::{Connection, request};
use crate::support::clock::ManualClock;
use crate::support::program::Program;
use crate::support::{TempFolder, fake};
use fake_aws::Fake;
use rustix::process::Signal;
use serde_json::{Value, json};
use sidekey::config::{self, Host};
use std::collections::BTreeMap;
use std::sync::Arc;

const BINDING: &str = "[resolve.tenant]\ncompany_name = \"company_data.company_name\"\n";
const PATH: &str = "channel_config.sms.credentials_id";

async fn start_fake(clock: &Arc<ManualClock>) -> Fake {
    let fake = fake(clock).await;
    for name in ["sms-credentials/acme/x/twilio", "sms-credentials/other/x/twilio"] {
        fake.secrets()
            .create(name, json!({ "of": name }).to_string())
            .expect("the fake AWS server must create the secret");
    }
    for name in ["openai-api-key/sms", "prod/db", "sms-credentials/acme/x/twilio-AbC123"] {
        fake.secrets().create(name, "hunter2").expect("the fake AWS server must create the secret");
    }
    fake
}

fn setup(fake: &Fake, clock: &Arc<ManualClock>, folder: &TempFolder) -> Setup {
    let file = folder.write("sidekey.toml", BINDING);
    Setup::for_fake(fake, clock).with("SIDEKEY_CONFIG", file.display())
}

fn message(company: &Value, reference: &str) -> Value {
    json!({
        "company_data": {"company_name": company},
        "channel_config": {"sms": {"credentials_id": reference}},
    })
}

async fn resolve(sidekey: &Sidekey, body: &Value) -> Value {
    let sent = request("POST", "/resolve", &[TOKEN_HEADER], &body.to_string());
    let answer = sidekey.connect().await.exchange(sent).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["results"].take()
}

/// A message gets the secrets of its own tenant (customer), and shared secrets. The agent refuses
/// the secrets of other tenants without a call to AWS.
#[tokio::test]
async fn message_gets_secrets_of_its_own_tenant_only() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock).await;
    let folder = TempFolder::new();
    let sidekey = setup(&fake, &clock, &folder).start().await;
    let own = "sms-credentials/acme/x/twilio";
    let other = "sms-credentials/other/x/twilio";
    let other_arn = fake.secrets().arn(other).expect("the secret exists");
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
        (&acme, "ssm:/sms-credentials/acme/x/twilio", "no convention matches"),
    ] {
        let results = resolve(&sidekey, &message(company, reference)).await;
        let error = &results[0]["credentials"][PATH]["error"];
        assert_eq!(error["__type"], "AccessDeniedException", "{reference}");
        let text = error["message"].as_str().expect("the JSON value must be a string");
        assert!(text.contains(words), "{text}");
        assert!(!results.to_string().contains("hunter2"), "{results}");
    }
    assert_eq!(fake.calls().total(), 0);

    let own_arn = fake.secrets().arn(own).expect("the secret exists");
    for reference in [own, &own_arn, "openai-api-key/sms"] {
        let results = resolve(&sidekey, &message(&acme, reference)).await;
        assert_eq!(results[0]["ok"], true, "{results}");
    }
}

/// The agent also checks the name in AWS's response, because another secret may have a name that
/// looks like the ARN of an allowed secret.
#[tokio::test]
async fn answer_is_checked_against_the_tenant() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock).await;
    let folder = TempFolder::new();
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
    assert_eq!(fake.calls().total(), 1, "only the response of AWS contains the real name");
}

/// In one event, the agent serves each secret only to messages of the secret's own tenant
/// (customer), even if the secret is cached.
#[tokio::test]
async fn each_message_is_checked_against_its_own_tenant() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock).await;
    let folder = TempFolder::new();
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

/// A list of references contains no tenant (customer). The agent refuses secrets of tenants in a
/// list, so that a list cannot bypass the check.
#[tokio::test]
async fn list_of_references_cannot_bypass_the_tenant_check() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock).await;
    let folder = TempFolder::new();
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

/// A mistake in the `[resolve.tenant]` table prevents the start of the agent, even on Lambda. A
/// typing error can therefore never disable the check.
#[test]
fn mistaken_tenant_binding_is_never_ignored() {
    let folder = TempFolder::new();
    for (text, words) in [
        ("[resolve.tenant]\ncompany = \"a\"\n", "did you mean company_name?"),
        ("[resolve.tenant]\ncompany_name = \"a.*\"\n", "must not contain '*'"),
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

/// The agent logs all refused references of a request in one escaped and truncated line. It logs
/// nothing else of a message.
#[tokio::test]
async fn refused_references_are_logged_escaped() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock).await;
    let folder = TempFolder::new();
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
    let line = program.line("refused to read a secret for a /resolve request").await;
    let line: Value = serde_json::from_str(&line).expect("the text is JSON");
    let logged = line.pointer("/fields/reference").or_else(|| line.get("reference"));
    let logged =
        logged.and_then(Value::as_str).expect("the log line must contain the refused reference");
    assert!(logged.starts_with("?[31m??{\"level\":\"ERROR\"}xxx"), "{logged}");
    assert!(logged.len() < 150, "{logged}");
    program.signal(Signal::TERM);
    let (_, log) = program.ended().await;
    assert!(!log.contains("canary"), "{log}");
    assert_eq!(
        log.matches("refused to read a secret for a /resolve request").count(),
        1,
        "the agent must log at most one line per second"
    );
}

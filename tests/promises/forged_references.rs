//! Tests with forged names of secrets. The agent refuses such a request without a call to AWS,
//! counts the refusal, and logs the name in escaped form.

use crate::support::agent::{REGION, Setup, TOKEN, TOKEN_HEADER, read_path};
use crate::support::client::{Connection, get, request};
use crate::support::clock::ManualClock;
use crate::support::fake;
use crate::support::metrics::Metrics;
use crate::support::program::Program;
use fake_aws::{Fake, Location, Seed};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::sync::Arc;

/// The patterns of the secret names that the agent may serve in these tests.
const ALLOW: &str = "whatsapp-credentials/*/*/twilio,openai-api-key/whatsapp";

/// The maximum length of a log line in bytes. Of a text from a caller, the agent logs at most 80
/// characters.
const LINE_BYTES_MAX: usize = 800;

/// The part of an HTTP request that contains the name or ARN of a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RequestPart {
    /// The query of the URL, with percent-encoded characters.
    Query,
    /// The path of the URL. Only characters that a path cannot contain are percent-encoded.
    Path,
    /// The JSON body of a request to the AWS API that Sidekey serves.
    AwsApi,
}

/// Percent-encodes every byte that must not appear in a path.
fn percent_encode(text: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/_.:*-".contains(byte);
    let encode = |byte: u8| match plain(&byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

impl RequestPart {
    fn request(self, reference: &str) -> String {
        match self {
            Self::Query => get(&read_path(&percent_encode(reference)), &[TOKEN_HEADER]),
            Self::Path => get(&format!("/v1/{}", percent_encode(reference)), &[TOKEN_HEADER]),
            Self::AwsApi => {
                let target = ("X-Amz-Target", "secretsmanager.GetSecretValue");
                let body = json!({ "SecretId": reference }).to_string();
                request("POST", "/", &[target, ("X-Amz-Security-Token", TOKEN)], &body)
            }
        }
    }
}

/// Starts a fake AWS server with several secrets. One of the secrets belongs to another account.
async fn start_fake(clock: &Arc<ManualClock>) -> Fake {
    let fake = fake(clock).await;
    fake.apply(&Seed::built_in());
    let neighbour = Location::new("210987654321", REGION);
    let name = "whatsapp-credentials/acme/support/twilio";
    fake.secrets()
        .create_in(&neighbour, name, "{}")
        .expect("the fake AWS server must create the secret");
    fake
}

/// Requests a secret with a forged name. Checks that the agent refuses the request, and counts and
/// logs the refusal.
async fn check_refusal(fake: &Fake, setup: &Setup, part: RequestPart, forged: &str) {
    let program = Program::start(&["serve"], setup.vars());
    let address = program.address().await;
    let mut connection = Connection::open(address).await;
    fake.calls().clear();
    let answer = connection.exchange(part.request(forged)).await;
    let excerpt: String = forged.chars().take(60).collect();
    let context = format!("{part:?} {excerpt:?}");
    assert_eq!(answer.status, 400, "{context}: {}", answer.text());
    let kind = answer.kind();
    assert!(
        ["AccessDeniedException", "ValidationException"].contains(&&*kind),
        "{context}: {kind}"
    );
    assert!(answer.body.len() < 400, "{context}: the response must not repeat the reference");
    assert_eq!(fake.calls().total(), 0, "{context}: the agent must not call AWS");
    let page = connection.exchange(get("/metrics", &[])).await;
    let metrics = Metrics::parse(page.text());
    assert_eq!(metrics.get("sidekey_reads_total{result=\"refused\"}"), 1.0, "{context}");
    assert_eq!(metrics.sum("sidekey_upstream_requests_total"), 0.0, "{context}");

    let line = program.line("refused a request").await;
    program.signal(Signal::TERM);
    let (code, log) = program.ended().await;
    assert_eq!(code, Some(0));
    let line: Value = serde_json::from_str(&line).expect("every line must be JSON");
    assert_eq!((&line["level"], &line["error"]), (&json!("WARN"), &json!(kind)), "{context}");
    for line in log.lines() {
        let parsed: Value = serde_json::from_str(line).expect("every log line must be JSON");
        assert!(parsed["target"].as_str().is_some_and(|target| target.starts_with("sidekey")));
        assert!(line.len() < LINE_BYTES_MAX, "{context}: {} bytes", line.len());
        let texts = parsed
            .as_object()
            .expect("the JSON value must be an object")
            .values()
            .filter_map(Value::as_str);
        let is_safe = |c: char| c.is_ascii_graphic() || c == ' ' || c == '…';
        for text in texts {
            assert!(text.chars().all(is_safe), "{context}: {text:?}");
        }
    }
}

/// The forged names contain path traversals, wildcards, names of other accounts, very long text,
/// control characters and escapes.
#[tokio::test]
async fn forged_references_are_refused_without_a_call_and_logged_escaped() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock).await;
    let setup =
        Setup::for_fake(&fake, &clock).with("SIDEKEY_ALLOW", ALLOW).with("SIDEKEY_LOG", "debug");
    let secret = |account: &str, region: &str, name: &str| {
        format!("arn:aws:secretsmanager:{region}:{account}:secret:{name}")
    };
    let name = "whatsapp-credentials/acme/support/twilio";
    let forged = [
        "../openai-api-key/sms".to_owned(),
        "openai-api-key/whatsapp/../sms".to_owned(),
        "whatsapp-credentials/../../twilio".to_owned(),
        "whatsapp-credentials/acme/./twilio".to_owned(),
        "whatsapp-credentials/*/*/twilio".to_owned(),
        "openai-api-key/sms".to_owned(),
        "OPENAI-API-KEY/WHATSAPP".to_owned(),
        "openai-api-key/whatsapp ".to_owned(),
        "email-credentials/cucumber-recruitment/cv-analysis/sendgrid".to_owned(),
        secret("210987654321", REGION, name),
        secret("210987654321", REGION, &format!("{name}-AbC123")),
        secret("123456789012", "us-east-1", name),
        secret("123456789012", "evil.example", name),
        "arn:aws:s3:::whatsapp-credentials/acme/support/twilio".to_owned(),
        "x".repeat(10_000),
        format!("whatsapp-credentials/{}/support/twilio", "é".repeat(5_000)),
        "whatsapp-credentials/acme/a\nlevel=ERROR forged/twilio".to_owned(),
        "openai-api-key/whatsapp\r\n{\"level\":\"ERROR\",\"message\":\"forged\"}".to_owned(),
        "whatsapp-credentials/\u{1b}[2J\u{1b}[31m/x/twilio".to_owned(),
        "whatsapp-credentials/acme/\u{9b}31m/twilio".to_owned(),
        "whatsapp-credentials/acme/\u{202e}\u{2066}x/twilio".to_owned(),
        "openai-api-key/whatsapp\0".to_owned(),
    ];
    for forged in &forged {
        for part in [RequestPart::Query, RequestPart::Path, RequestPart::AwsApi] {
            check_refusal(&fake, &setup, part, forged).await;
        }
    }
}

/// Sends requests that are allowed. The agent answers them, which shows that other requests in this
/// file fail because of their names.
#[tokio::test]
async fn allowed_references_are_answered_in_every_form() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock).await;
    let sidekey = Setup::for_fake(&fake, &clock).with("SIDEKEY_ALLOW", ALLOW).start().await;
    let twilio = "whatsapp-credentials/cucumber-recruitment/cv-analysis/twilio";
    for reference in [twilio, "openai-api-key/whatsapp"] {
        for part in [RequestPart::Query, RequestPart::Path, RequestPart::AwsApi] {
            let answer = sidekey.connect().await.exchange(part.request(reference)).await;
            assert_eq!(answer.status, 200, "{part:?} {reference}: {}", answer.text());
        }
    }
}

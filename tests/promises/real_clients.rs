//! Tests that AWS's SDKs, popular libraries and plain HTTP clients can call Sidekey without a
//! change, in five languages.
//!
//! Each language has a small client program. A test writes steps to its standard input, one step
//! per line: `CLIENT ACT TARGET` and options `NAME=VALUE`, separated by blanks. For each step, the
//! program prints one line of JSON.
//!
//! In this JSON, `text` or `base64` is a secret value. An HTTP response has `status`, `type` and
//! `body`. An exception has `error`, `code` and `message`. Many reads have their `distinct`
//! results. Steps of the client `ssm` read parameters with AWS's SDK.
//!
//! The steps are the same for all languages. [`language`] lists the differences.

mod cdk;
mod client_program;
mod language;
mod parameters;

use crate::clients::MissingTool;
use crate::support::agent::{Setup, Sidekey, TOKEN};
use crate::support::clock::ManualClock;
use crate::support::fake;
use crate::support::metrics::Metrics;
use crate::support::relay::Relay;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use client_program::ClientProgram;
use fake_aws::Operation::{DescribeSecret, GetSecretValue};
use fake_aws::{Fake, Fault, Match};
use language::{GO, JAVA, Language, NODE, PYTHON, SHELL};
use serde_json::{Value, json};
use std::time::{Duration, UNIX_EPOCH};

const TEXT: &str = "a \"quoted\" <b>&ä🦀\n\u{1}";
const OBJECT: &str = r#"{"user":"<ann> & co"}"#;
const BYTES: [u8; 4] = [0, 255, 16, 251];
const REFUSED_AT_THE_GATE: &str = r#"sidekey_gate_refusals_total{reason="token"}"#;

/// A fake AWS server with several secrets, an agent that calls this server, and a running client
/// program.
struct Scene {
    language: &'static Language,
    fake: Fake,
    sidekey: Sidekey,
    relay: Relay,
    program: ClientProgram,
}

impl Scene {
    async fn new(
        language: &'static Language,
        dialect: &str,
        session: &str,
    ) -> Result<Self, MissingTool> {
        Self::filled_by(add_secrets, language, dialect, session).await
    }

    /// Starts a scene. `fill` adds secrets or parameters to the fake AWS server.
    async fn filled_by(
        fill: fn(&Fake),
        language: &'static Language,
        dialect: &str,
        session: &str,
    ) -> Result<Self, MissingTool> {
        let command = language.install()?;
        let clock = ManualClock::at(UNIX_EPOCH + Duration::from_millis(1_569_534_789_046));
        let fake = fake(&clock).await;
        fill(&fake);
        let sidekey = Setup::for_fake(&fake, &clock).with("SIDEKEY_DIALECT", dialect).start().await;
        let relay = Relay::to(sidekey.address).await;
        let program = ClientProgram::start(command, relay.address, session)?;
        Ok(Self { language, fake, sidekey, relay, program })
    }

    /// Runs one step of the client program. Returns the result, and the change of Sidekey's
    /// metrics.
    async fn step(&mut self, step: &str) -> (Value, MetricsChange) {
        let before = self.sidekey.metrics().await;
        let reported = self.program.step(step).await;
        (reported, MetricsChange { before, after: self.sidekey.metrics().await })
    }

    /// Runs a step of the client program that makes one request, and checks the result.
    async fn answers(&mut self, step: &str, expected: Value) {
        let (reported, counted) = self.step(step).await;
        let language = self.language.name;
        assert_eq!((reported, counted.requests()), (expected, 1.0), "{language}: {step}");
    }

    /// Runs a step of the client program that raises an exception. Checks the exception and returns
    /// its message.
    async fn raises(&mut self, step: &str, class: &str, code: &str, requests: u32) -> String {
        let (reported, counted) = self.step(step).await;
        let language = self.language.name;
        assert_eq!(
            (&reported["error"], &reported["code"]),
            (&json!(class), &json!(code)),
            "{language}: {reported}"
        );
        assert_eq!(counted.requests(), f64::from(requests), "{language}: {step}");
        reported["message"].as_str().expect("the error must contain a message").to_owned()
    }

    fn arn(&self, name: &str) -> String {
        self.fake.secrets().arn(name).expect("the secret exists")
    }

    fn version(&self, name: &str, stage: &str) -> String {
        self.fake.secrets().version_id(name, stage).expect("the secret exists")
    }
}

/// Adds secrets to the fake AWS server. Some of them cannot be read.
fn add_secrets(fake: &Fake) {
    let secrets = fake.secrets();
    secrets.create("app/text", "the first").expect("the fake AWS server must create the secret");
    secrets.put("app/text", TEXT).expect("the secret exists");
    secrets.create("app/db", OBJECT).expect("the fake AWS server must create the secret");
    secrets
        .create("app/bytes", BYTES.to_vec())
        .expect("the fake AWS server must create the secret");
    secrets.create("app/longest", longest()).expect("the fake AWS server must create the secret");
    for name in ["app/cold", "denied", "throttled"] {
        secrets.create(name, "hunter2").expect("the fake AWS server must create the secret");
    }
    fake.faults().deny_secret("denied");
    fake.faults().deny_operation(DescribeSecret);
    fake.faults().always(Match::secret("throttled"), Fault::Throttle);
}

/// Sidekey's metrics before and after one step of a client program.
struct MetricsChange {
    before: Metrics,
    after: Metrics,
}

impl MetricsChange {
    /// Returns the number of reads during the step, including refused reads.
    fn requests(&self) -> f64 {
        self.after.sum("sidekey_reads_total") - self.before.sum("sidekey_reads_total")
    }

    /// Returns by how much the metric `series` increased during the step.
    fn of(&self, series: &str) -> f64 {
        self.after.get(series) - self.before.get(series)
    }
}

/// Returns a secret value of the maximum size, 64 KiB.
fn longest() -> String {
    "x\"".repeat(32_768)
}

/// Reads secrets with AWS's SDK. The SDK raises its own error types, and retries only temporary
/// errors. Many reads at once cause one call to AWS.
async fn check_aws_api(language: &'static Language) -> Result<(), MissingTool> {
    let mut scene = Scene::new(language, "agent", TOKEN).await?;
    let (arn, first) = (scene.arn("app/text"), scene.version("app/text", "AWSPREVIOUS"));
    let bytes = STANDARD.encode(BYTES);
    for (step, expected) in [
        ("sdk get app/text".to_owned(), json!({"text": TEXT})),
        (format!("sdk get {arn}"), json!({"text": TEXT})),
        (format!("sdk get app/text versionId={first}"), json!({"text": "the first"})),
        ("sdk get app/text versionStage=AWSPREVIOUS".to_owned(), json!({"text": "the first"})),
        ("sdk get app/bytes".to_owned(), json!({"base64": bytes})),
        ("sdk get app/longest".to_owned(), json!({"text": longest()})),
        (
            "sdk batch app/bytes,missing".to_owned(),
            json!({"values": [{"base64": bytes}],
                "errors": [["missing", "ResourceNotFoundException"]]}),
        ),
    ] {
        scene.answers(&step, expected).await;
    }

    let errors = &language.errors;
    for (step, class, code, attempts, words) in [
        (
            "get missing",
            errors.not_found,
            "ResourceNotFoundException",
            1,
            "Secrets Manager can't find",
        ),
        (
            "get app/text versionStage=NONE",
            errors.no_version,
            "ResourceNotFoundException",
            1,
            "Secrets Manager can't find",
        ),
        ("get denied", errors.denied, "AccessDeniedException", 1, "not authorized"),
        (
            "get throttled",
            errors.throttled,
            "ThrottlingException",
            language.attempts,
            "Rate exceeded",
        ),
        (
            "put app/text",
            errors.unsupported,
            "UnsupportedOperationException",
            1,
            "reach AWS directly",
        ),
    ] {
        let message = scene.raises(&format!("sdk {step}"), class, code, attempts).await;
        assert!(message.contains(words), "{}: {step}: {message}", language.name);
    }
    let called = |id| scene.fake.calls().count_for(GetSecretValue, id);
    assert_eq!((called("denied"), called("throttled")), (1, 1), "{}", language.name);

    let many = format!("sdk many app/cold times={}", language.reads);
    let (reported, counted) = scene.step(&many).await;
    assert_eq!(reported, json!({"distinct": ["hunter2"]}), "{}", language.name);
    assert_eq!(counted.requests(), f64::from(language.reads), "{}", language.name);
    assert_eq!(scene.fake.calls().count_for(GetSecretValue, "app/cold"), 1, "{}", language.name);
    Ok(())
}

/// Reads secrets with libraries that use AWS's SDK. They work as with AWS, and need no further
/// permissions.
async fn check_libraries(language: &'static Language) -> Result<(), MissingTool> {
    let mut scene = Scene::new(language, "agent", TOKEN).await?;
    for library in language.libraries {
        let name = library.name;
        let (reported, counted) = scene.step(&format!("{name} get app/db")).await;
        let expected = (json!({"text": OBJECT}), f64::from(library.calls));
        assert_eq!((reported, counted.requests()), expected, "{}: {name}", language.name);
        let (reported, counted) = scene.step(&format!("{name} get missing")).await;
        assert_eq!(reported["error"], library.not_found, "{}: {name}: {reported}", language.name);
        assert_eq!(counted.requests(), 1.0, "{}: {name}", language.name);
    }
    assert_eq!(scene.fake.calls().count(DescribeSecret), 0);
    Ok(())
}

fn answer(status: u16, kind: &str, body: &str) -> Value {
    json!({"status": status, "type": kind, "body": body})
}

/// Plain HTTP clients get the same response bodies as from AWS's agents. `dialect` selects the
/// agent that Sidekey imitates.
async fn check_plain_http(language: &'static Language, dialect: &str) -> Result<(), MissingTool> {
    let mut scene = Scene::new(language, dialect, TOKEN).await?;
    let is_agent = dialect == "agent";
    let body = |name: &str, of_agent: &str, of_extension: &str| {
        let (arn, id) = (scene.arn(name), scene.version(name, "AWSCURRENT"));
        match is_agent {
            true => format!(
                r#"{{"ARN":"{arn}","Name":"{name}","VersionId":"{id}",{of_agent},"VersionStages":["AWSCURRENT"],"CreatedDate":"1569534789.046"}}"#
            ),
            false => format!(
                r#"{{"ARN":"{arn}","CreatedDate":"2019-09-26T21:53:09.046Z","Name":"{name}",{of_extension},"VersionId":"{id}","VersionStages":["AWSCURRENT"],"ResultMetadata":{{}}}}"#
            ),
        }
    };
    let object = body(
        "app/db",
        r#""SecretString":"{\"user\":\"<ann> & co\"}""#,
        r#""SecretBinary":null,"SecretString":"{\"user\":\"\u003cann\u003e \u0026 co\"}""#,
    );
    let bytes = body(
        "app/bytes",
        r#""SecretBinary":"AP8Q+w==""#,
        r#""SecretBinary":"AP8Q+w==","SecretString":null"#,
    );
    let cold = body(
        "app/cold",
        r#""SecretString":"hunter2""#,
        r#""SecretBinary":null,"SecretString":"hunter2""#,
    );
    let by_arn = scene.arn("app/db").replace(':', "%3A").replace('/', "%2F");
    for (id, body) in [("app%2Fdb", &object), (&*by_arn, &object), ("app/bytes", &bytes)] {
        let step = format!("http get /secretsmanager/get?secretId={id}");
        scene.answers(&step, answer(200, "application/json", body)).await;
    }
    let (reported, _) = scene.step("http get /secretsmanager/get?secretId=missing").await;
    let (kind, words) = match is_agent {
        true => ("application/json", r#"{"__type":"ResourceNotFoundException","message":"#),
        false => (
            "text/plain; charset=utf-8",
            "an unexpected error occurred while executing request: ResourceNotFoundException: ",
        ),
    };
    assert_eq!(
        (&reported["status"], &reported["type"]),
        (&json!(400), &json!(kind)),
        "{}",
        language.name
    );
    let text = reported["body"].as_str().expect("the JSON value must be a string");
    assert!(text.starts_with(words), "{}: {text}", language.name);

    for (act, count) in [("many", 100), ("kept", 20)] {
        let opened = scene.relay.opened();
        let step = format!("http {act} /secretsmanager/get?secretId=app/cold times={count}");
        let (reported, counted) = scene.step(&step).await;
        assert_eq!(reported, json!({"distinct": [cold]}), "{}: {act}", language.name);
        assert_eq!(counted.requests(), f64::from(count), "{}: {act}", language.name);
        let opened = scene.relay.opened() - opened;
        match act {
            "kept" if language.reuses_connections => {
                assert!(opened <= 1, "{}: {opened}", language.name)
            }
            "kept" => assert_eq!(opened, 20, "{}", language.name),
            _ => assert!(opened <= 100, "{}: {opened}", language.name),
        }
    }
    assert_eq!(scene.fake.calls().count_for(GetSecretValue, "app/cold"), 1, "{}", language.name);
    Ok(())
}

/// Sidekey refuses requests with a wrong token, and makes no call to AWS. `dialect` selects the
/// agent that Sidekey imitates.
async fn check_wrong_token(language: &'static Language, dialect: &str) -> Result<(), MissingTool> {
    let mut scene = Scene::new(language, dialect, "wrong").await?;
    let (status, words) = match dialect {
        "agent" => (403, "Bad Token"),
        _ => (401, "bad session token or header key"),
    };
    let over_http = "http get /secretsmanager/get?secretId=app/db".to_owned();
    let libraries = language.libraries.iter().map(|library| format!("{} get app/db", library.name));
    let sdks = ["sdk get app/db", "ssm get /app/url"].map(str::to_owned);
    for step in libraries.chain(sdks).chain([over_http]) {
        let (reported, counted) = scene.step(&step).await;
        let refusals = counted.of(REFUSED_AT_THE_GATE);
        assert_eq!((counted.requests(), refusals), (1.0, 1.0), "{}: {step}", language.name);
        if step.starts_with("http") {
            assert_eq!(reported, answer(status, "text/plain; charset=utf-8", words), "{step}");
            continue;
        }
        assert!(reported["error"].is_string(), "{}: {step}: {reported}", language.name);
        if step.starts_with('s') {
            let errors = match step.starts_with("sdk") {
                true => &language.errors,
                false => &language.parameter_errors,
            };
            assert_eq!(reported["error"], errors.wrong_token, "{reported}");
            assert_eq!(reported["code"], "UnrecognizedClientException", "{reported}");
            let message = reported["message"].as_str().expect("the error must contain a message");
            assert!(message.contains("set AWS_SESSION_TOKEN of this client"), "{message}");
        }
    }
    assert_eq!(scene.fake.calls().total(), 0, "{}", language.name);
    Ok(())
}

/// Runs all checks of this file for one language.
async fn check_language(language: &'static Language) -> Result<(), MissingTool> {
    check_aws_api(language).await?;
    check_libraries(language).await?;
    for dialect in ["agent", "extension"] {
        check_plain_http(language, dialect).await?;
        check_wrong_token(language, dialect).await?;
    }
    Ok(())
}

async fn skip_or_check(language: &'static Language) {
    if let Err(missing) = check_language(language).await {
        missing.skip_or_fail();
    }
}

#[tokio::test]
async fn python_is_served() {
    skip_or_check(&PYTHON).await;
}

#[tokio::test]
async fn the_shell_is_served() {
    skip_or_check(&SHELL).await;
}

#[tokio::test]
async fn node_is_served() {
    skip_or_check(&NODE).await;
}

#[tokio::test]
async fn go_is_served() {
    skip_or_check(&GO).await;
}

#[tokio::test]
async fn java_is_served() {
    skip_or_check(&JAVA).await;
}

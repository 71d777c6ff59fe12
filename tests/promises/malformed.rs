//! Tests with malformed secret values, which break the rules (conventions) for their names. The
//! agent reports such values, and in strict mode refuses to serve them.

use crate::clients::pause;
use crate::support::agent::{Setup, Sidekey, TOKEN, TOKEN_HEADER, read_path};
use crate::support::client::{Answer, Connection, get, request};
use crate::support::clock::ManualClock;
use crate::support::program::Program;
use crate::support::{TempFolder, eventually, fake};
use fake_aws::Operation::GetSecretValue;
use fake_aws::{Fake, Plaintext};
use rustix::process::Signal;
use serde_json::{Value, json};
use sidekey::config::{self, Host};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const NAME: &str = "sms-credentials/acme/support/twilio";
const WELL_FORMED: &str =
    r#"{"twilio_account_sid":"AC1","twilio_auth_token":"t0k3n","twilio_template_sid":"HX1"}"#;
const INCOMPLETE: &str =
    r#"{"twilio_account_sid":"AC1","twilio_auth_token":"PLACEHOLDER_AUTH_TOKEN"}"#;
const CODES: &str = "placeholder twilio_auth_token, missing twilio_template_sid";
const MESSAGE: &str = "Sidekey refused this read: 'sms-credentials/acme/support/twilio' breaks the \
     convention for secrets of kind sms-twilio: the field 'twilio_auth_token' is still \
                       a placeholder, the field 'twilio_template_sid' is missing";
const HEADER: &str = "x-sidekey-problem";

/// Starts a fake AWS server with one secret, and an agent that calls this server. The agent is in
/// strict mode if `is_strict` is set.
async fn start_agent(value: impl Into<Plaintext>, is_strict: bool) -> (Fake, Sidekey) {
    let clock = ManualClock::new();
    let (fake, setup) = prepare(value, &clock).await;
    (fake, setup.with("SIDEKEY_STRICT", is_strict).start().await)
}

async fn prepare(value: impl Into<Plaintext>, clock: &Arc<ManualClock>) -> (Fake, Setup) {
    let fake = fake(clock).await;
    fake.secrets().create(NAME, value).expect("the fake AWS server must create the secret");
    let setup = Setup::for_fake(&fake, clock);
    (fake, setup)
}

async fn call(sidekey: &Sidekey, operation: &str, body: Value) -> Answer {
    let target = format!("secretsmanager.{operation}");
    let headers = [("X-Amz-Target", &*target), ("X-Amz-Security-Token", TOKEN)];
    sidekey.connect().await.exchange(request("POST", "/", &headers, &body.to_string())).await
}

/// Reads the secret `id` with the request header `If-None-Match`.
async fn read_if_none(sidekey: &Sidekey, id: &str, tag: &str) -> Answer {
    let headers = [TOKEN_HEADER, ("If-None-Match", tag)];
    sidekey.connect().await.exchange(get(&read_path(id), &headers)).await
}

/// Returns what the status page says about the only cached secret.
async fn status(sidekey: &Sidekey) -> Value {
    sidekey.get("/status").await.json()["entries"][0].clone()
}

/// The agent reports each malformed value in a response header, on the status page and in a metric.
/// Without strict mode, it still serves the value.
#[tokio::test]
async fn each_problem_is_reported_with_code_and_field() {
    let field = |value: &str| {
        let rest = r#""twilio_account_sid":"AC1","twilio_template_sid":"HX1""#;
        Plaintext::from(format!("{{\"twilio_auth_token\":{value},{rest}}}"))
    };
    let named = |code: &str| format!("{code} twilio_auth_token");
    for (value, code, header) in [
        (vec![0, 255].into(), "not-text", "not-text".to_owned()),
        ("t0k3n".into(), "not-json", "not-json".to_owned()),
        (r#"["t0k3n"]"#.into(), "not-an-object", "not-an-object".to_owned()),
        (field("null"), "missing", named("missing")),
        (field("\" \""), "empty", named("empty")),
        (field("1"), "wrong-type", named("wrong-type")),
        (field("\"PLACEHOLDER_TOKEN\""), "placeholder", named("placeholder")),
        (field(r#""t0k3n\n""#), "white-space", named("white-space")),
        (field(r#""t0k3n\nt0k3n""#), "several-lines", named("several-lines")),
        (field(r#""t0k3n\ud83d""#), "lone-surrogate", named("lone-surrogate")),
    ] {
        let (_fake, sidekey) = start_agent(value, false).await;
        for cache in ["miss", "hit"] {
            let answer = sidekey.read(NAME).await;
            assert_eq!((answer.status, answer.cache()), (200, cache), "{code}");
            assert_eq!(answer.header(HEADER), Some(&*header));
        }
        let status = status(&sidekey).await;
        assert_eq!(
            (&status["convention"], &status["withheld"]),
            (&json!("sms-twilio"), &json!(false))
        );
        let problems = status["problems"].as_array().expect("the JSON value must be an array");
        assert_eq!((problems.len(), &problems[0]["code"]), (1, &json!(code)), "{problems:?}");
        assert_eq!(problems[0]["field"].is_string(), header.contains(' '));
        let metrics = sidekey.metrics().await;
        assert_eq!(metrics.sum("sidekey_secret_problems"), 1.0);
        let series = format!("sidekey_secret_problems{{problem=\"{code}\"}}");
        assert_eq!(metrics.get(&series), 1.0, "{code}");
    }
}

/// In strict mode, the agent refuses to serve a credential with white space around it or with
/// several lines. A key in the PEM format may have both.
#[tokio::test]
async fn white_space_and_lines_are_problems_unless_the_convention_allows_them() {
    for (token, text) in [
        (" t0k3n", "the field 'twilio_auth_token' begins or ends with white space"),
        ("t0k3n\r\nt0k3n", "the field 'twilio_auth_token' has several lines"),
    ] {
        let value = json!({
            "twilio_account_sid": "AC1", "twilio_auth_token": token, "twilio_template_sid": "HX1",
        });
        let (_fake, sidekey) = start_agent(value.to_string(), true).await;
        let answer = sidekey.read(NAME).await;
        assert_eq!((answer.status, &*answer.kind()), (400, "MalformedSecretException"));
        assert!(answer.text().contains(text), "{}", answer.text());
    }
    let file = r#"
        [[convention]]
        kind = "signing-key"
        pattern = "keys/{owner}"
        service = "Signer"
        [convention.fields]
        pem = { type = "string", multiline = true }
        id = "string"
    "#;
    let clock = ManualClock::new();
    let folder = TempFolder::new();
    let path = folder.write("conventions.toml", file);
    let (fake, setup) = prepare(WELL_FORMED, &clock).await;
    let setup = setup.with("SIDEKEY_CONVENTIONS", path.display()).with("SIDEKEY_STRICT", true);
    let sidekey = setup.start().await;
    for (name, id, status) in [("keys/a", "1", 200), ("keys/b", "1\n", 400)] {
        let value = json!({"pem": "-----BEGIN KEY-----\nAAAA\n-----END KEY-----\n", "id": id});
        fake.secrets()
            .create(name, value.to_string())
            .expect("the fake AWS server must create the secret");
        assert_eq!(sidekey.read(name).await.status, status, "{name}");
    }
}

/// A field of the secret contains half of a surrogate pair (an incomplete Unicode character). Only
/// reads of this field fail.
#[tokio::test]
async fn lone_surrogate_fails_only_its_own_field() {
    let value = r#"{"twilio_account_sid":"AC1","twilio_auth_token":"t\ud83d","more":"\ude00"}"#;
    let (_fake, sidekey) = start_agent(value, false).await;
    let read = async |field: &str| sidekey.read(&format!("{NAME}&field={field}")).await;
    let good = read("twilio_account_sid").await;
    assert_eq!((good.status, good.text()), (200, "AC1"));
    assert_eq!(
        good.header(HEADER),
        Some("lone-surrogate twilio_auth_token, missing twilio_template_sid")
    );
    let cut = read("twilio_auth_token").await;
    assert_eq!(cut.status, 400);
    assert!(cut.text().contains("'twilio_auth_token' is not valid text"), "{}", cut.text());
    let references =
        ["twilio_account_sid", "twilio_auth_token"].map(|field| format!("{NAME}#{field}"));
    let body = json!({"references": references}).to_string();
    let request = request("POST", "/resolve", &[TOKEN_HEADER], &body);
    let answer = sidekey.connect().await.exchange(request).await.json();
    let credentials = &answer["results"][0]["credentials"];
    assert_eq!(credentials[&references[0]]["value"], "AC1");
    let reported = credentials[&references[1]]["error"]["message"].as_str();
    assert!(reported.is_some_and(|text| text.contains("surrogate")), "{credentials}");
}

#[tokio::test]
async fn well_formed_values_are_served_unchanged() {
    let (fake, sidekey) = start_agent(WELL_FORMED, true).await;
    fake.secrets()
        .create("app/any", "PLACEHOLDER")
        .expect("the fake AWS server must create the secret");
    for (name, convention) in [(NAME, json!("sms-twilio")), ("app/any", Value::Null)] {
        let answer = sidekey.read(name).await;
        assert_eq!((answer.status, answer.header(HEADER)), (200, None), "{name}");
        let status = sidekey.get("/status").await.json();
        let mut entries =
            status["entries"].as_array().expect("the JSON value must be an array").iter();
        let entry = entries.find(|entry| entry["name"] == name).expect("the secret must be cached");
        assert_eq!((&entry["convention"], &entry["problems"]), (&convention, &json!([])));
        assert_eq!(entry["ttl_seconds"], 300.0);
    }
    assert_eq!(sidekey.metrics().await.sum("sidekey_secret_problems"), 0.0);
}

/// All responses about a malformed secret have the header that reports the problem, even responses
/// with status 304.
#[tokio::test]
async fn every_answer_names_the_problem() {
    let (fake, sidekey) = start_agent(INCOMPLETE, false).await;
    let arn = fake.secrets().arn(NAME).expect("the secret exists");
    let version = fake.secrets().version_id(NAME, "AWSCURRENT").expect("the secret exists");
    for id in [
        NAME.to_owned(),
        arn.clone(),
        format!("{NAME}%23twilio_account_sid"),
        format!("{NAME}&field=twilio_auth_token"),
        format!("{NAME}&versionId={version}"),
        format!("{NAME}&refreshNow=true"),
    ] {
        sidekey.advance(SECOND);
        let answer = sidekey.read(&id).await;
        assert_eq!((answer.status, answer.header(HEADER)), (200, Some(CODES)), "{id}");
    }
    let unchanged = read_if_none(&sidekey, NAME, &format!("\"{version}\"")).await;
    assert_eq!((unchanged.status, unchanged.header(HEADER)), (304, Some(CODES)));
    for operation in ["GetSecretValue", "DescribeSecret"] {
        let answer = call(&sidekey, operation, json!({ "SecretId": NAME })).await;
        assert_eq!((answer.status, answer.header(HEADER)), (200, Some(CODES)), "{operation}");
    }
    let clock = ManualClock::new();
    let setup = Setup::for_fake(&fake, &clock).with("SIDEKEY_DIALECT", "extension");
    let answer = setup.start().await.read(NAME).await;
    assert_eq!((answer.status, answer.header(HEADER)), (200, Some(CODES)));
}

/// In strict mode, all reads of a malformed secret get the same error, and none gets the value.
/// Repeated reads cause no further calls to AWS.
#[tokio::test]
async fn withheld_value_is_refused_with_its_problem() {
    let (fake, sidekey) = start_agent(INCOMPLETE, true).await;
    let arn = fake.secrets().arn(NAME).expect("the secret exists");
    let version = fake.secrets().version_id(NAME, "AWSCURRENT").expect("the secret exists");
    for id in [
        NAME.to_owned(),
        format!("{NAME}%23twilio_account_sid"),
        arn,
        format!("{NAME}&field=none"),
        format!("{NAME}&versionId={version}"),
        format!("{NAME}&refreshNow=true"),
    ] {
        if id.contains("refreshNow") {
            assert_eq!(fake.calls().count(GetSecretValue), 1);
            sidekey.advance(SECOND);
        }
        let answer = sidekey.read(&id).await;
        assert_eq!((answer.status, answer.kind()), (400, "MalformedSecretException".to_owned()));
        assert_eq!(answer.json()["message"], MESSAGE, "{id}");
        assert!(
            answer.json()["hint"]
                .as_str()
                .expect("the JSON value must be a string")
                .contains("SIDEKEY_STRICT")
        );
        assert_eq!(answer.header("etag"), None);
    }
    assert_eq!(fake.calls().count(GetSecretValue), 2);
    let condition = read_if_none(&sidekey, NAME, &format!("\"{version}\"")).await;
    assert_eq!(
        condition.kind(),
        "MalformedSecretException",
        "the response for a refused value must not have status 304"
    );

    let got = call(&sidekey, "GetSecretValue", json!({ "SecretId": NAME })).await;
    assert_eq!((got.status, got.kind()), (400, "MalformedSecretException".to_owned()));
    assert!(
        got.json()["message"]
            .as_str()
            .expect("the JSON value must be a string")
            .starts_with(MESSAGE)
    );
    let batch = call(&sidekey, "BatchGetSecretValue", json!({ "SecretIdList": [NAME] })).await;
    assert_eq!(batch.json()["Errors"][0]["ErrorCode"], "MalformedSecretException");
    assert_eq!(batch.json()["SecretValues"], json!([]));
    let described = call(&sidekey, "DescribeSecret", json!({ "SecretId": NAME })).await;
    assert_eq!((described.status, described.header(HEADER)), (200, Some(CODES)));

    let errors = sidekey.metrics().await.get("sidekey_reads_total{result=\"error\"}");
    assert_eq!(errors, 9.0, "the reads must be counted as errors, not as refused requests");
    assert_eq!(status(&sidekey).await["withheld"], true);

    let clock = ManualClock::new();
    let setup = Setup::for_fake(&fake, &clock).with("SIDEKEY_DIALECT", "extension");
    let answer = setup.with("SIDEKEY_STRICT", true).start().await.read(NAME).await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.header("x-amzn-errortype"), Some("MalformedSecretException"));
    assert!(answer.text().contains(MESSAGE), "{}", answer.text());
}

/// In strict mode, the agent serves a corrected value within seconds, or at once if the read has
/// the parameter `refreshNow`.
#[tokio::test]
async fn corrected_value_is_served_within_seconds() {
    let (fake, sidekey) = start_agent(INCOMPLETE, true).await;
    assert_eq!(sidekey.read(NAME).await.status, 400);
    fake.secrets().put(NAME, WELL_FORMED).expect("the secret exists");
    assert_eq!(sidekey.read(NAME).await.status, 400, "the malformed value must still be cached");
    sidekey.advance(5 * SECOND);
    let corrected = sidekey.read(NAME).await;
    assert_eq!((corrected.value(), corrected.header(HEADER)), (WELL_FORMED.to_owned(), None));
    assert_eq!(sidekey.metrics().await.sum("sidekey_secret_problems"), 0.0);

    sidekey.advance(SECOND);
    fake.secrets().put(NAME, INCOMPLETE).expect("the secret exists");
    let malformed = sidekey.read(&format!("{NAME}&refreshNow=true")).await;
    assert_eq!(malformed.kind(), "MalformedSecretException");
    fake.secrets().put(NAME, WELL_FORMED).expect("the secret exists");
    sidekey.advance(SECOND);
    let corrected = sidekey.read(&format!("{NAME}&refreshNow=true")).await;
    assert_eq!((corrected.value(), corrected.cache()), (WELL_FORMED.to_owned(), "refreshed"));
}

/// Without strict mode, the agent refreshes a malformed value like any other value. The response
/// header that reports the problem disappears with the malformed version.
#[tokio::test]
async fn problem_header_disappears_with_the_malformed_version() {
    let (fake, sidekey) = start_agent(INCOMPLETE, false).await;
    assert_eq!(sidekey.read(NAME).await.header(HEADER), Some(CODES));
    fake.secrets().put(NAME, WELL_FORMED).expect("the secret exists");
    sidekey.advance(200 * SECOND);
    assert_eq!(sidekey.read(NAME).await.header(HEADER), Some(CODES), "within the TTL");
    sidekey.advance(101 * SECOND);
    let new = eventually("the agent serves the new version", async || {
        let answer = sidekey.read(NAME).await;
        (answer.value() == WELL_FORMED).then_some(answer)
    });
    assert_eq!(new.await.header(HEADER), None);
}

/// A long poll (a read that waits for a new version) returns the next well-formed version, even if
/// the cached version is malformed.
#[tokio::test]
async fn long_poll_returns_the_well_formed_version() {
    let (fake, sidekey) = start_agent(INCOMPLETE, true).await;
    assert_eq!(sidekey.read(NAME).await.status, 400);
    let waiting = async |wait: u64| {
        let version = fake.secrets().version_id(NAME, "AWSCURRENT").expect("the secret exists");
        let headers = [TOKEN_HEADER, ("If-None-Match", &*format!("\"{version}\""))];
        let mut connection = sidekey.connect().await;
        connection.send(get(&read_path(&format!("{NAME}&wait={wait}")), &headers)).await;
        connection
    };
    let mut waiter = waiting(20).await;
    fake.secrets().put(NAME, WELL_FORMED).expect("the secret exists");
    sidekey.advance(6 * SECOND);
    assert_eq!(sidekey.read(NAME).await.value(), WELL_FORMED);
    assert_eq!(waiter.receive().await.value(), WELL_FORMED);

    let mut waiter = waiting(20).await;
    fake.secrets().put(NAME, INCOMPLETE).expect("the secret exists");
    sidekey.advance(2 * SECOND);
    let malformed = sidekey.read(&format!("{NAME}&refreshNow=true")).await;
    assert_eq!(malformed.kind(), "MalformedSecretException");
    assert_eq!(waiter.receive().await.kind(), "MalformedSecretException");

    let mut waiter = waiting(2).await;
    let passing = async {
        loop {
            sidekey.advance(SECOND);
            pause().await;
        }
    };
    let over = tokio::select! {
        over = waiter.receive() => over,
        () = passing => unreachable!("the test must advance the clock until the response arrives"),
    };
    assert_eq!(over.kind(), "MalformedSecretException");
}

/// A malformed secret does not prevent the agent from becoming ready.
#[tokio::test]
async fn malformed_secret_does_not_delay_the_start() {
    let clock = ManualClock::new();
    for (mode, is_strict) in [("get", true), ("batch", true), ("get", false)] {
        let (_fake, setup) = prepare(INCOMPLETE, &clock).await;
        let setup = setup.with("SIDEKEY_SECRETS", NAME).with("SIDEKEY_PREFETCH", mode);
        let sidekey = setup.with("SIDEKEY_STRICT", is_strict).start().await;
        assert_eq!(sidekey.get("/ready").await.status, 200);
        let status = status(&sidekey).await;
        assert_eq!((&status["withheld"], &status["problem"]), (&json!(is_strict), &Value::Null));
    }
}

/// The agent logs each malformed version only once, and never logs its value.
#[tokio::test]
async fn malformed_version_is_logged_once() {
    for ttl in ["1ms", "0"] {
        let clock = ManualClock::new();
        let (fake, setup) = prepare(INCOMPLETE, &clock).await;
        let program = Program::start(&["serve"], setup.with("SIDEKEY_TTL", ttl).vars());
        let mut connection = Connection::open(program.address().await).await;
        for value in [INCOMPLETE, "t0k3n"] {
            fake.secrets().put(NAME, value).expect("the secret exists");
            fake.calls().clear();
            eventually("the agent fetches the secret five times", async || {
                let answer = connection.exchange(get(&read_path(NAME), &[TOKEN_HEADER])).await;
                assert_eq!(answer.status, 200);
                (fake.calls().count(GetSecretValue) >= 5).then_some(())
            })
            .await;
        }
        program.signal(Signal::TERM);
        let (_, log) = program.ended().await;
        let lines = log.lines().filter(|line| line.contains("breaks the convention"));
        let lines: Vec<Value> = lines
            .map(|line| serde_json::from_str(line).expect("every line must be JSON"))
            .collect();
        let reported: Vec<_> = lines.iter().map(|line| line["problems"].as_str()).collect();
        assert_eq!(
            reported,
            [Some(CODES), Some("not-json")],
            "the log must report both problems with a TTL of {ttl}:\n{log}"
        );
        for line in &lines {
            assert_eq!((&line["level"], &line["kind"]), (&json!("WARN"), &json!("sms-twilio")));
            assert_eq!((&line["secret"], &line["withheld"]), (&json!(NAME), &json!(false)));
            assert!(line["hint"].is_string());
        }
        for text in ["t0k3n", "AC1", "PLACEHOLDER"] {
            assert!(!log.contains(text), "the log must not contain {text}:\n{log}");
        }
    }
}

/// A file can add rules for secret values, replace built-in rules, or disable all built-in rules.
#[tokio::test]
async fn conventions_file_adds_replaces_and_removes() {
    let own = r#"
        [[convention]]
        kind = "database"
        pattern = "app-{stage:dev|prod}/db"
        service = "PostgreSQL"
        placeholders = ["CHANGE_ME"]
        [convention.fields]
        password = "string"
        port = { type = "number", secret = false, optional = true }
    "#;
    let clock = ManualClock::new();
    let folder = TempFolder::new();
    for (file, of_twilio) in
        [(own.to_owned(), Some(CODES)), (format!("built_in = false\n{own}"), None)]
    {
        let (fake, setup) = prepare(INCOMPLETE, &clock).await;
        for (name, value) in [
            ("app-dev/db", r#"{"password":"CHANGE_ME","port":"5432"}"#),
            ("app-prod/db", r#"{"password":"PLACEHOLDER"}"#),
            ("app-test/db", "{}"),
        ] {
            fake.secrets().create(name, value).expect("the fake AWS server must create the secret");
        }
        let path = folder.write("conventions.toml", &file);
        let sidekey = setup.with("SIDEKEY_CONVENTIONS", path.display()).start().await;
        let dev = "placeholder password, wrong-type port";
        for (name, expected) in [
            ("app-dev/db", Some(dev)),
            ("app-prod/db", None),
            ("app-test/db", None),
            (NAME, of_twilio),
        ] {
            assert_eq!(sidekey.read(name).await.header(HEADER), expected, "{name}");
        }
    }
}

/// A mistake in the file with the rules for secret values prevents the start of the agent, except
/// on Lambda.
#[test]
fn convention_mistakes_name_their_table() {
    let folder = TempFolder::new();
    let load = |file: &str, host| {
        let path = folder.write("conventions.toml", file);
        let vars = [
            ("SIDEKEY_CONVENTIONS", &*path.display().to_string()),
            ("AWS_SESSION_TOKEN", "token"),
            ("SIDEKEY_STRICT", "yes"),
        ];
        let vars = vars.map(|(name, value)| (name.to_owned(), value.to_owned()));
        config::load(&BTreeMap::from(vars), host)
    };
    let file = "[[convention]]\nkind = \"a\"\npattern = \"a/{b\"\nservice = \"S\"\nfeilds = 1\n";
    let wrong = [
        "SIDEKEY_STRICT",
        "SIDEKEY_CONVENTIONS: convention[1].pattern",
        "SIDEKEY_CONVENTIONS: convention[1]",
    ];
    let unknown = "SIDEKEY_CONVENTIONS: convention[1].feilds";
    for host in [Host::Standalone, Host::Lambda] {
        let loaded = load(file, host);
        let names: Vec<&str> = loaded.mistakes.0.iter().map(|mistake| &*mistake.name).collect();
        assert_eq!(names[..3], wrong);
        match host {
            Host::Standalone => assert_eq!(names[3..], [unknown]),
            Host::Lambda => {
                let hint = "a convention has no such key; did you mean fields?";
                let path = folder.path().join("conventions.toml");
                let line = format!("({}:5:1)", path.display());
                assert_eq!(loaded.warnings, [format!("{unknown}: {hint} {line}")]);
            }
        }
    }
}

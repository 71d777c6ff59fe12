//! A secret whose value is not as the convention of its name says is told of before it does harm: in
//! the log, a metric, the status page and a header; and where it is to be withheld, its readers get
//! an error that says what is wrong with it, until it is mended.

use crate::clients::pause;
use crate::support::agent::{Setup, Sidekey, TOKEN, TOKEN_HEADER, read_path};
use crate::support::client::{Answer, Connection, get, request};
use crate::support::clock::ManualClock;
use crate::support::program::Program;
use crate::support::{Folder, eventually, fake};
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
const WHOLE: &str =
    r#"{"twilio_account_sid":"AC1","twilio_auth_token":"t0k3n","twilio_template_sid":"HX1"}"#;
const HALF: &str = r#"{"twilio_account_sid":"AC1","twilio_auth_token":"PLACEHOLDER_AUTH_TOKEN"}"#;
const CODES: &str = "placeholder twilio_auth_token, missing twilio_template_sid";
const MESSAGE: &str = "Sidekey refused this read: 'sms-credentials/acme/support/twilio' is not as a \
                       secret of the kind sms-twilio must be: the field 'twilio_auth_token' is still \
                       a placeholder, the field 'twilio_template_sid' is missing";
const HEADER: &str = "x-sidekey-problem";

/// A fake that has one secret, and an agent in front of it.
async fn started(value: impl Into<Plaintext>, is_strict: bool) -> (Fake, Sidekey) {
    let clock = ManualClock::new();
    let (fake, setup) = prepared(value, &clock).await;
    (fake, setup.with("SIDEKEY_STRICT", is_strict).start().await)
}

async fn prepared(value: impl Into<Plaintext>, clock: &Arc<ManualClock>) -> (Fake, Setup) {
    let fake = fake(clock).await;
    fake.secrets().create(NAME, value).expect("a new name");
    let setup = Setup::of(&fake, clock);
    (fake, setup)
}

/// Sends a call of the AWS API.
async fn call(sidekey: &Sidekey, operation: &str, body: Value) -> Answer {
    let target = format!("secretsmanager.{operation}");
    let headers = [("X-Amz-Target", &*target), ("X-Amz-Security-Token", TOKEN)];
    sidekey.connect().await.exchange(request("POST", "/", &headers, &body.to_string())).await
}

/// Reads with a condition.
async fn read_if_none(sidekey: &Sidekey, id: &str, tag: &str) -> Answer {
    let headers = [TOKEN_HEADER, ("If-None-Match", tag)];
    sidekey.connect().await.exchange(get(&read_path(id), &headers)).await
}

/// Returns what `/status` says of the one entry.
async fn status(sidekey: &Sidekey) -> Value {
    sidekey.get("/status").await.json()["entries"][0].clone()
}

/// Each thing that can be wrong is named in the header, on the status page and in the metric, while
/// the value is handed out all the same.
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
    ] {
        let (_fake, sidekey) = started(value, false).await;
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
        let problems = status["problems"].as_array().expect("a list");
        assert_eq!((problems.len(), &problems[0]["code"]), (1, &json!(code)), "{problems:?}");
        assert_eq!(problems[0]["field"].is_string(), header.contains(' '));
        let metrics = sidekey.metrics().await;
        assert_eq!(metrics.sum("sidekey_secret_problems"), 1.0);
        let series = format!("sidekey_secret_problems{{problem=\"{code}\"}}");
        assert_eq!(metrics.get(&series), 1.0, "{code}");
    }
}

/// A whole value, and one whose name has no convention, are answered as ever.
#[tokio::test]
async fn well_formed_values_are_served_unchanged() {
    let (fake, sidekey) = started(WHOLE, true).await;
    fake.secrets().create("app/any", "PLACEHOLDER").expect("a new name");
    for (name, convention) in [(NAME, json!("sms-twilio")), ("app/any", Value::Null)] {
        let answer = sidekey.read(name).await;
        assert_eq!((answer.status, answer.header(HEADER)), (200, None), "{name}");
        let status = sidekey.get("/status").await.json();
        let mut entries = status["entries"].as_array().expect("a list").iter();
        let entry = entries.find(|entry| entry["name"] == name).expect("it is held");
        assert_eq!((&entry["convention"], &entry["problems"]), (&convention, &json!([])));
        assert_eq!(entry["ttl_seconds"], 300.0);
    }
    assert_eq!(sidekey.metrics().await.sum("sidekey_secret_problems"), 0.0);
}

/// The header is on every answer, whichever id and form it was asked by: a field's, an unchanged
/// one's, those of the extension's dialect and of the AWS API.
#[tokio::test]
async fn every_answer_names_the_problem() {
    let (fake, sidekey) = started(HALF, false).await;
    let arn = fake.secrets().arn(NAME).expect("it is there");
    let version = fake.secrets().version_id(NAME, "AWSCURRENT").expect("it is there");
    for id in [
        NAME.to_owned(),
        arn.clone(),
        format!("{NAME}%23twilio_account_sid"),
        format!("{NAME}&field=twilio_auth_token"),
        format!("{NAME}&versionId={version}"),
        format!("{NAME}&refreshNow=true"),
    ] {
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
    let setup = Setup::of(&fake, &clock).with("SIDEKEY_DIALECT", "extension");
    let answer = setup.start().await.read(NAME).await;
    assert_eq!((answer.status, answer.header(HEADER)), (200, Some(CODES)));
}

/// Withheld, it is refused in each dialect with the same words, by name, by ARN and by field, held or
/// not; without its value, and without a call for each read.
#[tokio::test]
async fn withheld_value_is_refused_with_its_problem() {
    let (fake, sidekey) = started(HALF, true).await;
    let arn = fake.secrets().arn(NAME).expect("it is there");
    let version = fake.secrets().version_id(NAME, "AWSCURRENT").expect("it is there");
    for id in [
        NAME.to_owned(),
        format!("{NAME}%23twilio_account_sid"),
        arn,
        format!("{NAME}&field=none"),
        format!("{NAME}&versionId={version}"),
        format!("{NAME}&refreshNow=true"),
    ] {
        let answer = sidekey.read(&id).await;
        assert_eq!((answer.status, answer.kind()), (400, "MalformedSecretException".to_owned()));
        assert_eq!(answer.json()["message"], MESSAGE, "{id}");
        assert!(answer.json()["hint"].as_str().expect("a text").contains("SIDEKEY_STRICT"));
        assert_eq!(answer.header("etag"), None);
    }
    assert_eq!(fake.calls().count(GetSecretValue), 1);
    let condition = read_if_none(&sidekey, NAME, &format!("\"{version}\"")).await;
    assert_eq!(condition.kind(), "MalformedSecretException", "not an unchanged good one");

    let got = call(&sidekey, "GetSecretValue", json!({ "SecretId": NAME })).await;
    assert_eq!((got.status, got.kind()), (400, "MalformedSecretException".to_owned()));
    assert!(got.json()["message"].as_str().expect("a text").starts_with(MESSAGE));
    let batch = call(&sidekey, "BatchGetSecretValue", json!({ "SecretIdList": [NAME] })).await;
    assert_eq!(batch.json()["Errors"][0]["ErrorCode"], "MalformedSecretException");
    assert_eq!(batch.json()["SecretValues"], json!([]));
    let described = call(&sidekey, "DescribeSecret", json!({ "SecretId": NAME })).await;
    assert_eq!((described.status, described.header(HEADER)), (200, Some(CODES)));

    let errors = sidekey.metrics().await.get("sidekey_reads_total{result=\"error\"}");
    assert_eq!(errors, 9.0, "and none of them counts as refused for what was asked");
    assert_eq!(status(&sidekey).await["withheld"], true);

    let clock = ManualClock::new();
    let setup = Setup::of(&fake, &clock).with("SIDEKEY_DIALECT", "extension");
    let answer = setup.with("SIDEKEY_STRICT", true).start().await.read(NAME).await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.header("x-amzn-errortype"), Some("MalformedSecretException"));
    assert!(answer.text().contains(MESSAGE), "{}", answer.text());
}

/// Mended, it is handed out within seconds and not at the end of its TTL, to the first reader who
/// asks then; and at once to who asks with `refreshNow`.
#[tokio::test]
async fn corrected_value_is_served_within_seconds() {
    let (fake, sidekey) = started(HALF, true).await;
    assert_eq!(sidekey.read(NAME).await.status, 400);
    fake.secrets().put(NAME, WHOLE).expect("it is there");
    assert_eq!(sidekey.read(NAME).await.status, 400, "held");
    sidekey.pass(5 * SECOND);
    let mended = sidekey.read(NAME).await;
    assert_eq!((mended.value(), mended.header(HEADER)), (WHOLE.to_owned(), None));
    assert_eq!(sidekey.metrics().await.sum("sidekey_secret_problems"), 0.0);

    sidekey.pass(SECOND);
    fake.secrets().put(NAME, HALF).expect("it is there");
    let spoilt = sidekey.read(&format!("{NAME}&refreshNow=true")).await;
    assert_eq!(spoilt.kind(), "MalformedSecretException");
    fake.secrets().put(NAME, WHOLE).expect("it is there");
    sidekey.pass(SECOND);
    let mended = sidekey.read(&format!("{NAME}&refreshNow=true")).await;
    assert_eq!((mended.value(), mended.cache()), (WHOLE.to_owned(), "refreshed"));
}

/// Where it is not withheld it ages as any other, and the header goes with the version.
#[tokio::test]
async fn problem_header_disappears_with_the_malformed_version() {
    let (fake, sidekey) = started(HALF, false).await;
    assert_eq!(sidekey.read(NAME).await.header(HEADER), Some(CODES));
    fake.secrets().put(NAME, WHOLE).expect("it is there");
    sidekey.pass(200 * SECOND);
    assert_eq!(sidekey.read(NAME).await.header(HEADER), Some(CODES), "within the TTL");
    sidekey.pass(101 * SECOND);
    let new = eventually("the new version", async || {
        let answer = sidekey.read(NAME).await;
        (answer.value() == WHOLE).then_some(answer)
    });
    assert_eq!(new.await.header(HEADER), None);
}

/// Whoever waits for another version gets the whole one when it comes, also where the one that is held
/// is withheld; and the refusal where what comes is no better, or nothing does.
#[tokio::test]
async fn long_poll_returns_the_well_formed_version() {
    let (fake, sidekey) = started(HALF, true).await;
    assert_eq!(sidekey.read(NAME).await.status, 400);
    let waiting = async |wait: u64| {
        let version = fake.secrets().version_id(NAME, "AWSCURRENT").expect("it is there");
        let headers = [TOKEN_HEADER, ("If-None-Match", &*format!("\"{version}\""))];
        let mut connection = sidekey.connect().await;
        connection.send(get(&read_path(&format!("{NAME}&wait={wait}")), &headers)).await;
        connection
    };
    let mut waiter = waiting(20).await;
    fake.secrets().put(NAME, WHOLE).expect("it is there");
    sidekey.pass(6 * SECOND);
    assert_eq!(sidekey.read(NAME).await.value(), WHOLE);
    assert_eq!(waiter.receive().await.value(), WHOLE);

    let mut waiter = waiting(20).await;
    fake.secrets().put(NAME, HALF).expect("it is there");
    sidekey.pass(2 * SECOND);
    let spoilt = sidekey.read(&format!("{NAME}&refreshNow=true")).await;
    assert_eq!(spoilt.kind(), "MalformedSecretException");
    assert_eq!(waiter.receive().await.kind(), "MalformedSecretException");

    let mut waiter = waiting(2).await;
    let passing = async {
        loop {
            sidekey.pass(SECOND);
            pause().await;
        }
    };
    let over = tokio::select! {
        over = waiter.receive() => over,
        () = passing => unreachable!("time does not end"),
    };
    assert_eq!(over.kind(), "MalformedSecretException");
}

/// The prefetch takes it as any other: it is held, and the agent is ready, since it can say what is
/// wrong.
#[tokio::test]
async fn malformed_secret_does_not_delay_the_start() {
    let clock = ManualClock::new();
    for (mode, is_strict) in [("get", true), ("batch", true), ("get", false)] {
        let (_fake, setup) = prepared(HALF, &clock).await;
        let setup = setup.with("SIDEKEY_SECRETS", NAME).with("SIDEKEY_PREFETCH", mode);
        let sidekey = setup.with("SIDEKEY_STRICT", is_strict).start().await;
        assert_eq!(sidekey.get("/ready").await.status, 200);
        let status = status(&sidekey).await;
        assert_eq!((&status["withheld"], &status["problem"]), (&json!(is_strict), &Value::Null));
    }
}

/// A version is told of in the log once, with kind, field and code and without its value, however
/// often it is fetched and whether it is held or not; the next version is told of anew.
#[tokio::test]
async fn malformed_version_is_logged_once() {
    for ttl in ["1ms", "0"] {
        let clock = ManualClock::new();
        let (fake, setup) = prepared(HALF, &clock).await;
        let program = Program::start(&["serve"], setup.with("SIDEKEY_TTL", ttl).vars());
        let mut connection = Connection::open(program.address().await).await;
        for value in [HALF, "t0k3n"] {
            fake.secrets().put(NAME, value).expect("it is there");
            fake.calls().clear();
            eventually("it is fetched again and again", async || {
                let answer = connection.exchange(get(&read_path(NAME), &[TOKEN_HEADER])).await;
                assert_eq!(answer.status, 200);
                (fake.calls().count(GetSecretValue) >= 5).then_some(())
            })
            .await;
        }
        program.signal(Signal::TERM);
        let (_, log) = program.ended().await;
        let lines = log.lines().filter(|line| line.contains("is not as its convention says"));
        let lines: Vec<Value> =
            lines.map(|line| serde_json::from_str(line).expect("a line is JSON")).collect();
        let told: Vec<_> = lines.iter().map(|line| line["problems"].as_str()).collect();
        assert_eq!(told, [Some(CODES), Some("not-json")], "with a TTL of {ttl}:\n{log}");
        for line in &lines {
            assert_eq!((&line["level"], &line["kind"]), (&json!("WARN"), &json!("sms-twilio")));
            assert_eq!((&line["secret"], &line["withheld"]), (&json!(NAME), &json!(false)));
            assert!(line["hint"].is_string());
        }
        for text in ["t0k3n", "AC1", "PLACEHOLDER"] {
            assert!(!log.contains(text), "{text} is in\n{log}");
        }
    }
}

/// A file adds conventions, replaces built-in ones and leaves them out.
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
    let folder = Folder::new();
    for (file, of_twilio) in
        [(own.to_owned(), Some(CODES)), (format!("built_in = false\n{own}"), None)]
    {
        let (fake, setup) = prepared(HALF, &clock).await;
        for (name, value) in [
            ("app-dev/db", r#"{"password":"CHANGE_ME","port":"5432"}"#),
            ("app-prod/db", r#"{"password":"PLACEHOLDER"}"#),
            ("app-test/db", "{}"),
        ] {
            fake.secrets().create(name, value).expect("a new name");
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

/// Mistakes in the file stop a start like any others; on Lambda they never do, and a key that is none
/// only warns.
#[test]
fn convention_mistakes_name_their_table() {
    let folder = Folder::new();
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
                assert_eq!(loaded.warnings, [format!("{unknown}: {hint}")]);
            }
        }
    }
}

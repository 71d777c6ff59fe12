//! Tests that secret values and tokens appear only in responses to authorised reads, never in debug
//! output, errors, log lines, metrics or status pages.

use crate::support::agent::{REGION, Setup, read_path};
use crate::support::client::{Connection, get, request};
use crate::support::clock::ManualClock;
use crate::support::gateway::CannedUpstream;
use crate::support::program::Program;
use crate::support::upstream::{self, Upstream};
use crate::support::{TempFolder, fake};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fake_aws::{Fake, Fault, Match};
use rustix::process::Signal;
use serde_json::{Value, json};
use sidekey::cache;
use sidekey::client::{Address, Client};
use sidekey::config::contact::contact;
use sidekey::config::{self, Host};
use sidekey::secret::key::Key;
use sidekey::secret::reference::SecretId;
use sidekey::secret::scope::Home;
use sidekey::secret::selector::Selector;
use sidekey::source::Source;
use sidekey::source::aws::Aws;
use sidekey::telemetry::metrics::Metrics;
use sidekey::tokens::{Token, Tokens};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const TEXT: &str = "qzx1-plaintext";
const FIELD: &str = "qzx2-of-a-field";
const BINARY: &str = "qzx3-binary-bytes";
const TOKEN: &str = "qzx4-token";
const SESSION: &str = "qzx5-session-token";
const SECRET_KEY: &str = "qzx6-secret-key";

/// Returns `plaintext` in all encodings in which the agent could print it.
fn spellings(plaintext: &str) -> Vec<String> {
    let bytes = plaintext.as_bytes();
    let list = |write: fn(&u8) -> String| bytes.iter().map(write).collect::<Vec<_>>();
    let mut spellings = vec![
        plaintext.to_owned(),
        list(u8::to_string).join(","),
        list(|byte| format!("{byte:02x}")).concat(),
        list(|byte| format!("0x{byte:02x}")).join(","),
    ];
    // Inside a longer byte string, base64 has three possible alignments of the plaintext.
    for before in 0..3 {
        let encoded = STANDARD.encode([&b"\0\0"[..before], bytes].concat());
        spellings.push(encoded[4..encoded.len() - 4].to_owned());
    }
    spellings
}

/// Checks that `text` contains none of the secret values, in any encoding.
#[track_caller]
fn check(what: &str, text: &str) {
    let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let lower = text.to_ascii_lowercase();
    for plaintext in [TEXT, FIELD, BINARY, TOKEN, SESSION, SECRET_KEY] {
        for spelling in spellings(plaintext) {
            let is_there = text.contains(&spelling) || lower.contains(&spelling);
            assert!(!is_there, "{what} contains {plaintext} as {spelling}:\n{text}");
        }
    }
}

#[track_caller]
fn check_debug(what: &str, value: &impl Debug) {
    check(what, &format!("{value:?}"));
    check(what, &format!("{value:#?}"));
}

/// The names of secrets whose values break the rules for these names.
const MALFORMED: [&str; 3] =
    ["openai-api-key/sms", "openai-api-key/email", "sms-credentials/acme/support/twilio"];

/// Starts a fake AWS server with secrets: a text, a JSON object, bytes, and values that break
/// rules.
async fn start_fake(clock: &Arc<ManualClock>) -> Fake {
    let fake = fake(clock).await;
    let secrets = fake.secrets();
    secrets.create("app/text", TEXT).expect("the fake AWS server must create the secret");
    let object = json!({"user": "ann", "password": FIELD}).to_string();
    secrets.create("app/object", object).expect("the fake AWS server must create the secret");
    let bytes = [&[0, 255], BINARY.as_bytes(), &[0]].concat();
    secrets.create("app/binary", bytes).expect("the fake AWS server must create the secret");
    let marked = json!({ "ai_api_key": format!("PLACEHOLDER {FIELD}") }).to_string();
    let odd =
        json!({ "twilio_account_sid": [TEXT], "twilio_auth_token": { "a": FIELD }, "b": TEXT });
    for (name, value) in MALFORMED.into_iter().zip([TEXT.to_owned(), marked, odd.to_string()]) {
        secrets.create(name, value).expect("the fake AWS server must create the secret");
    }
    fake
}

fn setup(endpoint: &str, clock: &Arc<ManualClock>) -> Setup {
    Setup::for_endpoint(endpoint, clock)
        .with("SIDEKEY_TOKEN", TOKEN)
        .with("AWS_SESSION_TOKEN", SESSION)
        .with("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
        .with("AWS_TOKEN", SESSION)
        .with("AWS_CONTAINER_AUTHORIZATION_TOKEN", SESSION)
        .with("SIDEKEY_SECRETS", "app/text,app/object,app/binary")
}

fn key(id: &str) -> Key {
    Key::own(SecretId::parse(id).expect("the id is valid"), Selector::current())
}

/// The function `check` must find a secret value in every encoding. Otherwise, the other tests
/// could never fail.
#[test]
fn planted_leak_is_found() {
    for leak in [
        format!("{TEXT:?}"),
        format!("{:?}", TEXT.as_bytes()),
        format!("{:#?}", TEXT.as_bytes()),
        STANDARD.encode(format!("a{TEXT}b")),
        STANDARD.encode(format!("ab{TEXT}")),
        STANDARD.encode(TEXT),
    ] {
        let text: String = leak.chars().filter(|c| !c.is_whitespace()).collect();
        let lower = text.to_ascii_lowercase();
        let mut found = spellings(TEXT).into_iter();
        assert!(found.any(|it| text.contains(&it) || lower.contains(&it)), "{leak}");
    }
}

/// Reads every secret in every way. Then the debug output of the agent must contain no secret value
/// and no token.
#[tokio::test]
async fn debug_output_shows_no_value() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock).await;
    let setup = setup(&fake.url(), &clock);
    let loaded = setup.load();
    check_debug("the loaded configuration", &loaded);
    let sidekey = setup.clone().start().await;
    let mut connection = sidekey.connect().await;
    let mut problems = 0;
    sidekey.advance(Duration::from_secs(1));
    for path in [refreshing_read()].into_iter().chain(reads(&fake)) {
        let answer = connection.exchange(get(&path, &[("X-Vault-Token", TOKEN)])).await;
        if let Some(reported) = answer.header("x-sidekey-problem") {
            check("a header", reported);
            problems += 1;
        }
    }
    assert!(problems > MALFORMED.len(), "only {problems} responses report a malformed value");
    let withheld = setup.clone().with("SIDEKEY_STRICT", true).start().await;
    for name in MALFORMED {
        let mut connection = withheld.connect().await;
        let refused = connection.exchange(get(&read_path(name), &[("X-Vault-Token", TOKEN)])).await;
        assert_eq!(refused.kind(), "MalformedSecretException");
        check("a refusal", refused.text());
    }
    check_debug("the agent that refuses malformed values", &withheld.agent);
    check_debug("its status", &withheld.agent.status());
    for call in calls().into_iter().chain([resolve(&RESOLVED), resolve(&UNRESOLVED)]) {
        connection.exchange(call).await;
    }
    let printed = format!("{:?}", sidekey.agent);
    assert!(
        printed.contains("app/object"),
        "the debug output must contain the names of cached secrets: {printed}"
    );
    check_debug("the agent", &sidekey.agent);
    let token = Token::new(TOKEN.to_owned()).expect("the token must not be empty");
    let address = Address::Loopback(sidekey.address);
    let mut client = Client::connect(&address, Some(&token)).await.expect("the agent listens");
    check_debug("a client", &client);
    let members = json!({ "SecretId": "app/text" }).to_string();
    let answered =
        client.call("secretsmanager.GetSecretValue", members).await.expect("an answer arrives");
    assert_eq!(answered.status, 200, "{answered:?}");
    check_debug("the response that the agent's client received", &answered);
    let vars = setup.with("SIDEKEY_PORT", 1);
    check_debug(
        "the contact of an agent",
        &contact(vars.vars(), Host::Standalone)
            .expect("the environment variables must name an agent"),
    );
    check_debug("its status", &sidekey.agent.status());
    check_debug("its prefetch", &sidekey.agent.prefetched().await);

    let source = source(loaded.config.source, &clock).await;
    check_debug("the source", &source);
    let version = source.fetch(&key("app/text")).await.expect("the secret exists");
    check_debug("a version", &version);
    let batch = source.fetch_batch(&[key("app/text"), key("app/binary"), key("missing")]).await;
    check_debug("a batch", &batch);
    check_debug("the source after a call", &source);
    check_debug("a token", &Token::new(TOKEN.to_owned()));

    let (cache, _) = cache::open(
        loaded.config.cache,
        Home { region: REGION.into(), account: None },
        Arc::new(source),
        clock,
        Arc::new(Metrics::new()),
        TaskTracker::new(),
        CancellationToken::new(),
    );
    for id in ["app/text", "app/object", "app/binary"].into_iter().chain(MALFORMED) {
        let served = cache.read(key(id)).await.expect("the secret must be cached");
        let _ = served.entry.fields().field("password");
        check_debug("the served value", &served);
        check_debug("a field", &served.entry.fields());
        check_debug("the error about a missing field", &served.entry.fields().field("none"));
    }
    check_debug("an error", &cache.read(key("missing")).await);
    check_debug("the snapshot", &cache.snapshot());
    check_debug("the cache", &cache);
}

async fn source(config: sidekey::source::aws::Config, clock: &Arc<ManualClock>) -> Aws {
    let tokens = Arc::new(Tokens::new(Vec::new()));
    Aws::prepare(config, Vec::new(), tokens, clock.clone())
        .await
        .expect("the configuration must contain a region")
}

/// Returns the URL path of a read that makes the agent call AWS.
fn refreshing_read() -> String {
    read_path("app/text&refreshNow=true")
}

/// Returns the URL paths of many valid and invalid reads of every secret.
fn reads(fake: &Fake) -> Vec<String> {
    let mut paths = Vec::new();
    for name in ["app/text", "app/object", "app/binary", "missing"].into_iter().chain(MALFORMED) {
        let arn = fake.secrets().arn(name).unwrap_or_else(|_| "arn:aws:nothing".to_owned());
        for id in [name, &arn] {
            for rest in ["", "%23password", "%23none", "&versionStage=BLUE"] {
                paths.push(read_path(id) + rest);
            }
            paths.push(format!("/v1/{id}?field=password"));
        }
    }
    paths
}

/// Returns valid and invalid requests for all operations of the AWS API and for every secret.
fn calls() -> Vec<String> {
    let mut calls = Vec::new();
    for name in ["app/text", "app/object#password", "app/object#none", "app/binary", "missing"] {
        for (operation, body) in [
            ("GetSecretValue", json!({ "SecretId": name })),
            ("DescribeSecret", json!({ "SecretId": name })),
            ("BatchGetSecretValue", json!({ "SecretIdList": [name, "app/text"] })),
            ("GetSecretValue", json!({ "SecretId": name, "VersionId": [TEXT] })),
            ("PutSecretValue", json!({ "SecretId": name, "SecretString": TEXT })),
        ] {
            let target = format!("secretsmanager.{operation}");
            let headers = [("X-Amz-Target", &*target), ("X-Amz-Security-Token", TOKEN)];
            calls.push(request("POST", "/", &headers, &body.to_string()));
        }
    }
    calls
}

/// References to secrets (names with an optional field) that have a value.
const RESOLVED: [&str; 4] = ["app/text", "app/object", "app/object#password", "app/binary"];
const UNRESOLVED: [&str; 4] = ["app/text#a", "app/object#none", "app/binary#password", "missing"];

/// Returns a request to `/resolve` with these references to secrets. The request also contains a
/// secret value.
fn resolve(references: &[&str]) -> String {
    let message =
        |reference| json!({"ai_config": {"ai_api_key_reference": reference}, "text": TEXT});
    let records = references.iter().map(|reference| {
        json!({"messageId": "m", "body": message(reference).to_string(), "attributes": TEXT})
    });
    let broken = json!({"messageId": "m", "body": format!("{{\"{TEXT}\"")});
    let records: Vec<Value> = records.chain([broken]).collect();
    let headers = [("X-Vault-Token", TOKEN)];
    request("POST", "/resolve", &headers, &json!({ "Records": records }).to_string())
}

/// AWS returns invalid responses that contain a secret value. The errors must not quote this value.
#[tokio::test]
async fn errors_quote_no_answer() {
    let clock = ManualClock::new();
    let arn = format!("arn:aws:secretsmanager:{REGION}:123456789012:secret:app/text-AbC123");
    let good = json!({"ARN": arn, "Name": "app/text", "VersionId": "v1", "SecretString": TEXT,
        "VersionStages": ["AWSCURRENT"], "CreatedDate": 1_700_000_000.0});
    let changed = |key: &str, value: Value| {
        let mut answer = good.clone();
        answer[key] = value;
        answer.to_string()
    };
    let complete = good.to_string();
    let html = format!("<html>{TEXT}</html>");
    let answers = [
        ("200 OK", complete[..complete.len() - 1].to_owned()),
        ("200 OK", format!("{complete}{complete}")),
        ("200 OK", html.clone()),
        ("200 OK", format!("[{complete}]")),
        ("200 OK", format!("\"{TEXT}\"")),
        ("200 OK", changed("ARN", json!(null))),
        ("200 OK", changed("ARN", json!(TEXT))),
        ("200 OK", changed("VersionId", json!(null))),
        ("200 OK", changed("CreatedDate", json!(TEXT))),
        ("200 OK", changed("VersionStages", json!(TEXT))),
        ("200 OK", changed("SecretString", json!({"a": TEXT}))),
        ("200 OK", changed("SecretBinary", json!(format!("{TEXT}!")))),
        ("203 Odd", complete.clone()),
        ("302 Found", html.clone()),
        ("400 Bad Request", html.clone()),
        ("400 Bad Request", complete.clone()),
        ("403 Forbidden", html.clone()),
        ("500 Internal Server Error", html.clone()),
        ("500 Internal Server Error", complete.clone()),
    ];
    let mut upstreams = Vec::new();
    for (status, body) in &answers {
        upstreams.push((format!("{status} {body}"), CannedUpstream::with_json(status, body).await));
    }
    for raw in [
        format!("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{complete}"),
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{TEXT}\r\n{complete}"),
        format!("HTTP/1.1 200 OK\r\n{TEXT}\r\n\r\n"),
        format!("{TEXT}\r\n\r\n"),
    ] {
        upstreams.push((raw.clone(), CannedUpstream::with_response(raw).await));
    }
    for (answer, upstream) in &upstreams {
        let setup = setup(&upstream.url(), &clock);
        let source = source(setup.load().config.source, &clock).await;
        if let Err(error) = source.fetch(&key("app/text")).await {
            check("the text of an error", &error.to_string());
            check_debug("an error", &error);
        }
        check_debug("a batch", &source.fetch_batch(&[key("app/text")]).await);
        let sidekey = setup.with("SIDEKEY_PREFETCH", "auto").start().await;
        let read = get(&read_path("app/text"), &[("X-Vault-Token", TOKEN)]);
        let read = sidekey.connect().await.exchange(read).await;
        if read.status != 200 {
            check(answer, read.text());
        }
        check_debug("the status", &sidekey.agent.status());
        check_debug("the agent", &sidekey.agent);
        assert!(upstream.calls() > 0, "the agent must call AWS to receive {answer}");
    }
}

#[test]
fn configuration_mistakes_quote_no_token() {
    let folder = TempFolder::new();
    let bad_file = folder.write("bad.toml", &format!("token = \"{TOKEN}\"\nttl = = \"{TEXT}\"\n"));
    let token_file = folder.write("token.toml", &format!("token = \"{TOKEN}\"\n"));
    let (bad_file, token_file) = (bad_file.display(), token_file.display());
    for (name, value) in [
        ("SIDEKEY_TOKEN", format!("file://{}", folder.path().display())),
        ("SIDEKEY_CONFIG", bad_file.to_string()),
        ("SIDEKEY_CONFIG", token_file.to_string()),
        ("SIDEKEY_CONVENTIONS", bad_file.to_string()),
        ("SIDEKEY_TOKENS", TOKEN.to_owned()),
        ("AWS_CA_BUNDLE", bad_file.to_string()),
    ] {
        let mut vars: BTreeMap<String, String> =
            [("AWS_SESSION_TOKEN", SESSION), ("AWS_SECRET_ACCESS_KEY", SECRET_KEY)]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into();
        vars.insert(name.to_owned(), value);
        for host in [Host::Standalone, Host::Lambda] {
            let loaded = config::load(&vars, host);
            assert!(!(loaded.mistakes.is_empty() && loaded.warnings.is_empty()), "{name}");
            check(name, &loaded.mistakes.to_string());
            check_debug(name, &loaded);
        }
    }
}

/// Runs the program at the most verbose log level. Its log, pages and errors must show no secret
/// value and no token.
#[tokio::test]
async fn program_output_shows_no_value() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock).await;
    let setup = setup(&fake.url(), &clock)
        .with("SIDEKEY_LOG", "trace")
        .with("SIDEKEY_PREFETCH", "batch")
        .with("SIDEKEY_UPSTREAM_TIMEOUT", "100ms")
        .with("SIDEKEY_TTL", "30ms")
        .with("SIDEKEY_STRICT", true);
    let program = Program::start(&["serve"], setup.vars());
    let address = program.address().await;
    let mut connection = Connection::open(address).await;
    let header = ("X-Aws-Parameters-Secrets-Token", TOKEN);
    let faults = [
        Fault::Pass,
        Fault::Throttle,
        Fault::InternalError,
        Fault::Reset,
        Fault::Truncated,
        Fault::Garbage,
        Fault::ContentType("text/html".to_owned()),
        Fault::Stall,
        Fault::Pass,
    ];
    for fault in faults {
        fake.faults().clear();
        fake.faults().always(Match::any(), fault.clone());
        let refreshing = matches!(fault, Fault::Throttle).then(refreshing_read);
        for path in refreshing.into_iter().chain(reads(&fake)) {
            let answer = connection.exchange(get(&path, &[header])).await;
            assert_ne!(answer.status, 403, "{path}");
            if answer.status != 200 {
                check(&format!("an error under {fault:?}"), answer.text());
            }
        }
        for call in calls() {
            let answer = connection.exchange(&call).await;
            if answer.status != 200 || call.contains("DescribeSecret") {
                check(&format!("a call under {fault:?}"), answer.text());
            }
        }
        connection.exchange(resolve(&RESOLVED)).await;
        let unresolved = connection.exchange(resolve(&UNRESOLVED)).await;
        assert_eq!(unresolved.status, 200);
        check(
            &format!("the response about unknown secrets, with the fault {fault:?}"),
            unresolved.text(),
        );
        for path in ["/status", "/metrics", "/ready"] {
            let page = connection.exchange(get(path, &[header])).await;
            check(path, page.text());
        }
        fake.secrets().put("app/text", format!("{TEXT}-{fault:?}")).expect("the secret exists");
    }
    for wrong in [(header.0, SECRET_KEY), ("X-Amz-Security-Token", SECRET_KEY)] {
        let ask = async |sent: String| Connection::open(address).await.exchange(sent).await;
        let refused = ask(get(&read_path("app/text"), &[wrong])).await;
        assert_eq!(refused.status, 403);
        let refused = ask(request("POST", "/", &[wrong], TEXT)).await;
        assert_eq!(refused.kind(), "UnrecognizedClientException");
        check("a refused call", refused.text());
    }
    program.signal(Signal::TERM);
    let (code, log) = program.ended().await;
    assert_eq!(code, Some(0));
    for part in [
        "\"level\":\"DEBUG\"",
        "a call to AWS for a secret or parameter failed",
        "refused a request",
        "breaks the convention",
    ] {
        assert!(log.contains(part), "the log does not contain {part}:\n{log}");
    }
    check_log(&log);
}

/// Sends calls through a route to a server that repeats the credential, refuses it, fails, or does not
/// answer. Then no answer, page or log line may contain the credential, a token, or a part of a call.
#[tokio::test]
async fn calls_through_a_route_show_no_value() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock).await;
    let upstream = Upstream::start(|seen| {
        let echo = seen.header("authorization").unwrap_or_default().to_owned();
        let status = if seen.target.contains("refused") { 401 } else { 200 };
        let status = if seen.target.contains("failed") { 500 } else { status };
        upstream::answer(status, &[("x-echo", &echo)], format!("{{\"echo\":\"{echo}\"}}"))
    })
    .await;
    let route = |name: &str, url: &str| {
        format!(
            "[[route]]\nname = \"{name}\"\nupstream = \"{url}\"\nsecret = \"app/object\"\n\
             bearer = \"#password\"\n"
        )
    };
    let folder = TempFolder::new();
    let routes = route("crm", &upstream.url()) + &route("down", "http://127.0.0.1:1");
    let config = folder.write("sidekey.toml", &routes);
    let setup = setup(&fake.url(), &clock)
        .with("SIDEKEY_LOG", "trace")
        .with("SIDEKEY_CONFIG", config.display());
    let program = Program::start(&["serve"], setup.vars());
    let mut connection = Connection::open(program.address().await).await;
    let header = ("X-Aws-Parameters-Secrets-Token", TOKEN);
    let described = connection.exchange(get("/to/crm", &[header])).await.json();
    let phantom = described["token"].as_str().expect("the token is a string").to_owned();
    let bearer = format!("Bearer {phantom}");
    let mut texts = String::new();
    for (path, status) in [
        ("/to/crm/echo", 200),
        ("/to/crm/refused", 401),
        ("/to/crm/failed", 500),
        ("/to/crm//double", 400),
        ("/to/down/x", 502),
        ("/to/unknown/x", 404),
    ] {
        let target = format!("{path}?q={TEXT}");
        let headers = [header, ("X-Own", TEXT), ("Content-Type", TEXT)];
        let answer = connection.exchange(request("POST", &target, &headers, TEXT)).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        texts += &format!("{:?}\n{}\n", answer.header("x-echo"), answer.text());
    }
    let called = connection.exchange(get("/to/crm/echo", &[("Authorization", &bearer)])).await;
    assert_eq!(called.status, 200);
    assert!(called.text().contains("[redacted by sidekey]"), "{}", called.text());
    texts += called.text();
    for path in ["/status", "/metrics", "/ready"] {
        texts += connection.exchange(get(path, &[header])).await.text();
    }
    check("an answer", &texts);
    program.signal(Signal::TERM);
    let (code, log) = program.ended().await;
    assert_eq!(code, Some(0));
    assert!(log.contains("Sidekey did not pass a call on"), "{log}");
    check_log(&log);
    for text in [&texts, &log] {
        assert!(!text.contains(&phantom), "the phantom token must not be displayed: {text}");
    }
    for part in ["/echo", "/refused", "/double"] {
        assert!(!log.contains(part), "the log must not contain the path of a call: {log}");
    }
}

/// Checks that a log contains no secret value, and only lines of Sidekey itself. Libraries could
/// log anything.
#[track_caller]
fn check_log(log: &str) {
    check("the log", log);
    for line in log.lines() {
        let line: Value = serde_json::from_str(line).expect("every line must be JSON");
        let is_own = line["target"].as_str().is_some_and(|target| target.starts_with("sidekey"));
        assert!(is_own, "{line}");
    }
}

/// AWS returns an invalid response with credentials. AWS's SDK would log this response, so Sidekey
/// must not write the SDK's log messages.
#[tokio::test]
async fn unreadable_answers_with_credentials_are_not_quoted() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock).await;
    let folder = TempFolder::new();
    let identity = folder.write("identity", TEXT).display().to_string();
    let sts = format!(
        "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
         <AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>AKIATESTS</AccessKeyId>\
         <SecretAccessKey>{SECRET_KEY}</SecretAccessKey><SessionToken>{SESSION}</SessionToken>\
         <Expiration>soon</Expiration></Credentials></AssumeRoleWithWebIdentityResult>\
         </AssumeRoleWithWebIdentityResponse>"
    );
    let container = format!(
        "{{\"AccessKeyId\":\"AKIATESTS\",\"SecretAccessKey\":\"{SECRET_KEY}\",\
         \"Token\":\"{SESSION}\",\"Expiration\":\"soon\"}}"
    );
    let by_sts: fn(Setup, &str) -> Setup = |setup, url| setup.with("AWS_ENDPOINT_URL_STS", url);
    let by_container: fn(Setup, &str) -> Setup =
        |setup, url| setup.without("AWS_ROLE_ARN").with("AWS_CONTAINER_CREDENTIALS_FULL_URI", url);
    for (answer, asked_at) in [(sts, by_sts), (container, by_container)] {
        let vendor = CannedUpstream::with_json("200 OK", &answer).await;
        let setup = setup(&fake.url(), &clock)
            .without("AWS_ACCESS_KEY_ID")
            .without("AWS_SECRET_ACCESS_KEY")
            .with("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/app")
            .with("AWS_WEB_IDENTITY_TOKEN_FILE", &identity)
            .with("SIDEKEY_LOG", "trace");
        let setup = asked_at(setup, &vendor.url());
        let program = Program::start(&["serve"], setup.vars());
        let mut connection = Connection::open(program.address().await).await;
        let header = ("X-Aws-Parameters-Secrets-Token", TOKEN);
        let read = connection.exchange(get(&read_path("app/text"), &[header])).await;
        assert!(read.text().contains("could not get AWS credentials"), "{}", read.text());
        check("an error", read.text());
        assert!(vendor.calls() > 0, "the agent must call AWS to receive {answer}");
        program.signal(Signal::TERM);
        let (code, log) = program.ended().await;
        assert_eq!(code, Some(0));
        assert!(log.contains("\"kind\":\"credentials\""), "{log}");
        check_log(&log);
    }
}

//! Tests of the limits of `/resolve`. A hostile message fails alone, one request cannot use all
//! calls to AWS, and a request needs little more memory than its size.

use crate::clients::MissingTool;
use crate::support::agent::{Setup, Sidekey, TOKEN_HEADER, read_request};
use crate::support::client::{Answer, Connection, request};
use crate::support::clock::ManualClock;
use crate::support::program::Program;
use crate::support::{TempFolder, eventually, fake};
use fake_aws::Operation::GetSecretValue;
use fake_aws::{Fake, Fault, Match};
use serde::Serialize;
use serde_json::{Value, json};
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

/// The maximum memory in bytes that a request body may need in addition to its own size.
const EXTRA_BYTES: usize = 4 * 1024 * 1024;

async fn start_fake(clock: &Arc<ManualClock>) -> Fake {
    let fake = fake(clock).await;
    for number in 0..10 {
        let value = json!({ "token": number }).to_string();
        fake.secrets()
            .create(&good(number), value)
            .expect("the fake AWS server must create the secret");
    }
    fake
}

fn good(number: usize) -> String {
    format!("app/good-{number}")
}

/// Returns a message that refers to these secrets.
fn message<T: AsRef<str>>(references: impl IntoIterator<Item = T>) -> Value {
    let channels = references.into_iter().map(|one| json!({ "credentials_id": one.as_ref() }));
    json!({ "channel_config": channels.collect::<Vec<_>>() })
}

/// Returns `count` names of secrets that do not exist.
fn invented(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("app/invented-{number}")).collect()
}

fn event(messages: &[Value]) -> Value {
    let records = messages.iter().enumerate();
    let records =
        records.map(|(at, one)| json!({"messageId": format!("m-{at}"), "body": one.to_string()}));
    json!({ "Records": records.collect::<Vec<_>>() })
}

fn resolve_request(body: &str) -> String {
    request("POST", "/resolve", &[TOKEN_HEADER], body)
}

/// Returns a request with a chunked body, so that the agent does not know the body's length in
/// advance.
fn chunked_request(body: &str) -> String {
    let chunked = ("Transfer-Encoding", "chunked");
    let mut text = request("POST", "/resolve", &[TOKEN_HEADER, chunked], "");
    // A buffer that doubles its size from 5,500 bytes is copied for the last time at 5.6 MB.
    for chunk in body.as_bytes().chunks(5_500) {
        let chunk = std::str::from_utf8(chunk).expect("the body is ASCII");
        text.push_str(&format!("{:x}\r\n{chunk}\r\n", chunk.len()));
    }
    text + "0\r\n\r\n"
}

async fn resolve(sidekey: &Sidekey, body: &Value) -> Answer {
    sidekey.connect().await.exchange(resolve_request(&body.to_string())).await
}

/// Sends nine good messages and the message `hostile`. Checks that only `hostile` fails, and
/// returns its result.
async fn fails_alone(sidekey: &Sidekey, hostile: Value) -> Value {
    let mut messages: Vec<Value> = (0..9).map(|number| message([good(number)])).collect();
    messages.insert(4, hostile);
    let answer = resolve(sidekey, &event(&messages)).await;
    let mut json = answer.json();
    assert_eq!(
        (answer.status, &json["batchItemFailures"]),
        (200, &json!([{"itemIdentifier": "m-4"}]))
    );
    for (at, result) in
        json["results"].as_array().expect("the JSON value must be an array").iter().enumerate()
    {
        assert_eq!(result["ok"], at != 4, "{result}");
    }
    json["results"][4].take()
}

#[tokio::test]
async fn message_with_a_thousand_invented_secrets_fails_alone() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock).await;
    let sidekey = Setup::for_fake(&fake, &clock).start().await;
    let result = fails_alone(&sidekey, message(invented(1000))).await;
    assert_eq!(result["error"]["__type"], "ValidationException");
    let reported = result["error"]["message"].as_str().expect("the JSON value must be a string");
    assert!(reported.contains("more than 100 references"), "{reported}");
    assert_eq!(
        fake.calls().count(GetSecretValue),
        9,
        "the agent must fetch only the secrets of the good messages"
    );
    let result = fails_alone(&sidekey, message(invented(100))).await;
    assert_eq!(result["credentials"].as_object().map(|all| all.len()), Some(100));
}

#[tokio::test]
async fn message_with_too_large_credentials_fails_alone() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock).await;
    fake.secrets()
        .create("app/large", "x".repeat(20_000))
        .expect("the fake AWS server must create the secret");
    let sidekey = Setup::for_fake(&fake, &clock).start().await;
    let result = fails_alone(&sidekey, message(vec!["app/large"; 900])).await;
    assert_eq!(result["error"]["__type"], "ValidationException");
    let result = fails_alone(&sidekey, message(vec!["app/large"; 90])).await;
    assert_eq!(
        (&result["error"]["__type"], &result["credentials"]),
        (&json!("ValidationException"), &json!({}))
    );
    let reported = result["error"]["message"].as_str().expect("the JSON value must be a string");
    assert!(reported.contains("more than 1048576 bytes"), "{reported}");
    let answer = resolve(&sidekey, &event(&[message(vec!["app/large"; 50])])).await;
    assert_eq!(
        answer.json()["results"][0]["ok"],
        true,
        "a message with fifty credentials must be within the limit"
    );
}

/// The agent counts the size of a secret once, even if a message refers to many of its fields. If
/// all secrets together exceed the limit, the largest messages fail.
#[tokio::test]
async fn message_with_many_fields_of_a_large_secret_fails_alone() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock).await;
    for number in 0..100 {
        let large = format!("app/large-{number}");
        fake.secrets()
            .create(&large, "x".repeat(60_000))
            .expect("the fake AWS server must create the secret");
    }
    let sidekey = Setup::for_fake(&fake, &clock).start().await;
    let fields = (0..100).map(|number| format!("app/large-0#none-{number}"));
    let sent = sidekey.connect().await.exchange(read_request("app/large-0")).await;
    assert_eq!(sent.status, 200);
    fails_alone(&sidekey, message(fields)).await;
    let large = (0..100).map(|number| format!("app/large-{number}"));
    fails_alone(&sidekey, message(large)).await;
}

/// Secrets that `SIDEKEY_ALLOW` does not include do not count toward the limit of the request.
#[tokio::test]
async fn disallowed_secrets_do_not_count_toward_the_bounds() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock).await;
    let sidekey = Setup::for_fake(&fake, &clock).with("SIDEKEY_ALLOW", "app/good-*").start().await;
    let mut messages: Vec<Value> =
        (0..30).map(|of| message((0..100).map(|number| format!("other/{of}-{number}")))).collect();
    messages.push(message((0..10).map(good)));
    let json = resolve(&sidekey, &event(&messages)).await.json();
    assert_eq!(json["batchItemFailures"].as_array().map(Vec::len), Some(30));
    assert_eq!(json["results"][30]["ok"], true);
    assert_eq!(fake.calls().count(GetSecretValue), 10);
}

/// All messages of a request together refer to too many secrets. The messages with the most
/// references fail.
#[tokio::test]
async fn largest_messages_fail_if_too_many_secrets_are_named() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock).await;
    let sidekey = Setup::for_fake(&fake, &clock).start().await;
    let mut messages: Vec<Value> = (0..12)
        .map(|of| message((0..100).map(|number| format!("app/invented-{of}-{number}"))))
        .collect();
    messages.extend((0..10).map(|number| message([good(number)])));
    let json = resolve(&sidekey, &event(&messages)).await.json();
    let results = json["results"].as_array().expect("the JSON value must be an array");
    assert!(results[12..].iter().all(|result| result["ok"] == true));
    let limited = |result: &&Value| result["error"]["__type"] == "LimitExceededException";
    assert_eq!(
        results.iter().filter(limited).count(),
        3,
        "three messages must exceed the limit of 1,000 references"
    );
    assert_eq!(fake.calls().count(GetSecretValue), 910);
}

/// All secrets of a response together are too large. The messages with the largest secrets fail.
#[tokio::test]
async fn largest_messages_fail_if_the_answer_is_too_large() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock).await;
    fake.secrets()
        .create("app/large", "x".repeat(60_000))
        .expect("the fake AWS server must create the secret");
    let sidekey = Setup::for_fake(&fake, &clock).start().await;
    let mut messages: Vec<Value> = (0..10).map(|number| message([good(number)])).collect();
    messages.extend((0..100).map(|_| message(["app/large"])));
    let answer = resolve(&sidekey, &event(&messages)).await;
    let json = answer.json();
    assert!(answer.status == 200 && answer.body.len() <= 4 * 1024 * 1024 + 64 * 1024);
    let results = json["results"].as_array().expect("the JSON value must be an array");
    assert!(results[..10].iter().all(|result| result["ok"] == true));
    let limited = |result: &&Value| result["error"]["__type"] == "LimitExceededException";
    assert_eq!(results.iter().filter(limited).count(), 31);
    assert_eq!(fake.calls().count(GetSecretValue), 11);
}

/// Several requests wait for secrets that do not exist. The agent must still fetch and refresh
/// other secrets at once.
#[tokio::test]
async fn invented_names_do_not_delay_other_reads() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock).await;
    let names = invented(400);
    for name in &names {
        fake.faults().always(Match::secret(name), Fault::Stall);
    }
    let setup = Setup::for_fake(&fake, &clock).with("SIDEKEY_SECRETS", good(0));
    let sidekey = setup.start().await;
    let mut hostile: Vec<Connection> = Vec::new();
    for (at, names) in (0..).zip(names.chunks(100)) {
        let mut connection = sidekey.connect().await;
        connection.send(resolve_request(&event(&[message(names)]).to_string())).await;
        hostile.push(connection);
        // One request may use a quarter of all calls, and all requests together three quarters.
        let calls = 1 + 8 * (at + 1).min(3);
        eventually("the calls for the invented names have begun", async || {
            (fake.calls().count(GetSecretValue) >= calls + at.min(2)).then_some(())
        })
        .await;
        if at < 2 {
            let cold = sidekey.connect().await.exchange(read_request(&good(hostile.len()))).await;
            assert_eq!((cold.status, cold.cache()), (200, "miss"));
        }
    }
    let calls = fake.calls().count(GetSecretValue);
    assert_eq!(calls, 1 + 24 + 2, "the fourth request must wait for free calls");
    let refreshed = read_request(&format!("{}&refreshNow=true", good(0)));
    clock.advance(std::time::Duration::from_secs(2));
    let known = sidekey.connect().await.exchange(refreshed).await;
    assert_eq!((known.status, known.cache()), (200, "refreshed"));
}

/// Returns the peak resident memory of a process, in bytes.
/// Returns the number of bytes in a line of a process's status, such as `VmHWM`, the peak of its
/// resident memory.
fn memory(process: u32, line: &str) -> usize {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("the process runs");
    let mut lines = status.lines().filter_map(|text| text.split_once(':'));
    let kib = lines.find(|(name, _)| *name == line).and_then(|(_, text)| text.strip_suffix(" kB"));
    1024 * kib
        .and_then(|kib| kib.trim().parse::<usize>().ok())
        .expect("the line must have a number of kibibytes")
}

/// Measures the peak of the memory that a process takes from a certain moment on. Pages of the program's
/// file, which Linux maps when the program first uses them, do not count.
struct Meter {
    process: u32,
    peak: usize,
    of_file: usize,
}

impl Meter {
    /// Begins a measurement. It needs root, because the agent is not dumpable.
    fn start(process: u32) -> io::Result<Self> {
        fs::write(format!("/proc/{process}/clear_refs"), "5")?;
        let (peak, of_file) = (memory(process, "VmHWM"), memory(process, "RssFile"));
        Ok(Self { process, peak, of_file })
    }

    /// Returns the number of bytes that the process has taken since the beginning.
    fn took(&self) -> usize {
        let mapped = memory(self.process, "RssFile").saturating_sub(self.of_file);
        (memory(self.process, "VmHWM") - self.peak).saturating_sub(mapped)
    }
}

async fn send(address: SocketAddr, request: String) -> u16 {
    Connection::open(address).await.exchange(request).await.status
}

/// Starts an agent that has already answered one small request, for a secret that exists and for one
/// that does not exist. So the code that answers such requests is already in memory.
async fn warm_program(setup: &Setup) -> (Program, SocketAddr) {
    let program = Program::start(&["serve"], setup.vars());
    let address = program.address().await;
    let small = event(&[message([good(0)]), message(invented(1))]).to_string();
    assert_eq!(send(address, resolve_request(&small)).await, 200);
    (program, address)
}

/// Sends a request to a new agent. Returns how many bytes of memory the request needed, or an error
/// if the test does not run as root.
///
/// Each request needs a new agent, because memory that an earlier request freed would hide the
/// need.
async fn memory_of(setup: &Setup, request: String) -> io::Result<usize> {
    let (program, address) = warm_program(setup).await;
    let meter = Meter::start(program.id())?;
    let status = send(address, request).await;
    assert!([200, 400].contains(&status), "the status must be 200 or 400, not {status}");
    Ok(meter.took())
}

/// Checks that a request body needs at most [`EXTRA_BYTES`] of memory in addition to its size.
/// Without root, only prints that the check is skipped.
async fn check_memory(setup: &Setup, what: &str, body: &str, request: String) {
    match memory_of(setup, request).await {
        Ok(took) => assert!(
            took <= body.len() + EXTRA_BYTES,
            "{what}: the request took {took} bytes for a body of {} bytes",
            body.len()
        ),
        Err(error) => MissingTool::new(error)
            .context("the permission to read the memory of another process")
            .skip_or_fail(),
    }
}

/// Returns an event of 10,000 messages. `body` returns the text of the message with this number.
fn many_records(body: impl Fn(usize) -> String) -> String {
    let record = |number| json!({"messageId": "m", "body": body(number)}).to_string();
    format!("{{\"Records\":[{}]}}", (0..10_000).map(record).collect::<Vec<_>>().join(","))
}

/// Returns a message with one reference to a secret, in the shortest form that `/resolve` finds.
fn one_reference(reference: impl Serialize) -> String {
    json!({"ai_config": {"ai_api_key_reference": reference}}).to_string()
}

/// Returns a body of 1 MiB that has as many objects as possible.
fn small_objects() -> String {
    format!("{{{}\"\":0}}", r#""":{"":{}},"#.repeat((1024 * 1024 - 20) / 11))
}

/// Returns an event of 6 MB with large records.
fn large_records() -> String {
    let filler = json!({"a": "x".repeat(64 * 1024)}).to_string();
    json!({ "Records": vec![json!({"messageId": "m", "body": filler}); 90] }).to_string()
}

/// Sends bodies for which a simple JSON parser would need much memory: for the first body, 126
/// times its size.
#[tokio::test]
async fn body_takes_at_most_its_size_and_four_mebibytes() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock).await;
    let setup = Setup::for_fake(&fake, &clock);
    let mib = 1024 * 1024;
    let objects_of = |count| format!("{{{}\"\":0}}", r#""":{"":{}},"#.repeat(count));
    let objects = small_objects();
    let nested = format!("{}0{}", r#"{"":"#.repeat(mib / 5 - 10), "}".repeat(mib / 5 - 10));
    let lines = |count| json!({"a": "\n".repeat(count)}).to_string();
    let escapes = lines(mib / 2 - 20);
    let one = |text: &str| json!({"Records": [{"messageId": "m", "body": text}]}).to_string();
    let sns = |message: &str| {
        json!({"Type": "Notification", "TopicArn": "t", "Message": message}).to_string()
    };
    let filled = json!({"a": "x".repeat(mib - 100)}).to_string();
    let cut = format!("{{\"a\":\"{}\"}}", r"\ud83d".repeat(mib / 6 - 10));
    let crowd = vec![json!({"messageId": "m", "body": message(invented(100)).to_string()}); 1000];
    for (what, body) in [
        ("a record with many small JSON objects", one(&objects)),
        ("deep nesting in a record", one(&nested)),
        ("escapes in a record", one(&escapes)),
        ("small objects", objects),
        ("deep nesting", nested),
        ("escapes", escapes),
        ("a notification with many small JSON objects", one(&sns(&objects_of(mib / 15 - 20)))),
        ("a notification with many escaped characters", one(&sns(&lines(mib / 3 - 100)))),
        ("notifications that contain notifications", one(&sns(&sns(&lines(mib / 5 - 100))))),
        ("a large notification", one(&sns(&filled))),
        ("a record with many incomplete Unicode characters", one(&cut)),
        ("lone surrogates", cut),
        ("many references", json!({ "Records": crowd }).to_string()),
        ("a long list", json!({"references": vec!["app/good-1"; 20_000]}).to_string()),
        ("large records", large_records()),
        ("records that refer to no secret", many_records(|_| r#"{"":{"":[]}}"#.to_owned())),
        (
            "records that each refer to another secret",
            many_records(|of| one_reference(format!("a{of}"))),
        ),
        (
            "records that all refer to the same secret",
            many_records(|_| one_reference("app/good-1")),
        ),
        ("records that refer to an unknown secret", many_records(|_| one_reference("a"))),
        ("records with an invalid secret name", many_records(|_| one_reference("a b"))),
        ("records with a number", many_records(|_| one_reference(1))),
        ("records that are not JSON", many_records(|_| "{".to_owned())),
        ("notifications", many_records(|_| sns(r#"{"":{"":[]}}"#))),
        (
            "notifications that each refer to another secret",
            many_records(|of| sns(&one_reference(format!("a{of}")))),
        ),
    ] {
        check_memory(&setup, what, &body, resolve_request(&body)).await;
    }
    let large = large_records();
    check_memory(&setup, "large records in chunks", &large, chunked_request(&large)).await;
}

/// Sends 10,000 messages that refer to a secret of another tenant (customer), which the agent must
/// refuse.
#[tokio::test]
async fn refused_tenants_take_at_most_the_size_of_the_body_and_four_mebibytes() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock).await;
    let folder = TempFolder::new();
    let file = folder.write("sidekey.toml", "[resolve.tenant]\ncompany_name = \"company\"\n");
    let setup = Setup::for_fake(&fake, &clock).with("SIDEKEY_CONFIG", file.display());
    let body = many_records(|_| one_reference("sms-credentials/a/b/twilio"));
    check_memory(
        &setup,
        "records that refer to a secret of another tenant",
        &body,
        resolve_request(&body),
    )
    .await;
}

#[tokio::test]
async fn many_bodies_at_once_take_at_most_twice_the_memory_of_one() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock).await;
    let (program, address) = warm_program(&Setup::for_fake(&fake, &clock)).await;
    let meter = match Meter::start(program.id()) {
        Ok(meter) => meter,
        Err(error) => {
            return MissingTool::new(error)
                .context("the permission to read the memory of another process")
                .skip_or_fail();
        }
    };
    let objects = small_objects();
    let mut connections = Vec::new();
    for _ in 0..20 {
        let mut connection = Connection::open(address).await;
        connection.send(resolve_request(&objects).split_at(1000).0).await;
        connections.push(connection);
    }
    for connection in &mut connections {
        connection.send(resolve_request(&objects).split_at(1000).1).await;
    }
    for connection in &mut connections {
        assert_eq!(connection.receive().await.status, 200);
    }
    let took = meter.took();
    assert!(
        took <= 2 * (objects.len() + EXTRA_BYTES),
        "twenty requests at once took {took} bytes of memory"
    );
}

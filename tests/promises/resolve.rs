//! Tests of `/resolve`, which returns all secrets to which a message or an SQS event refers. A bad
//! message in an event fails alone.

use crate::support::agent::{REGION, Setup, Sidekey, TOKEN_HEADER, read_request};
use crate::support::client::{Answer, request};
use crate::support::clock::ManualClock;
use crate::support::gateway::Gateway;
use crate::support::{eventually, fake};
use fake_aws::Operation::GetSecretValue;
use fake_aws::{Fake, Fault, Location, Match, ParameterValue};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

const AI: &str = "ai_config.ai_api_key_reference";
const WHATSAPP: &str = "channel_config.whatsapp.credentials_id";

/// Starts a fake AWS server with the credentials of five companies, and a key that all companies
/// use.
async fn start_fake(clock: &Arc<ManualClock>) -> Fake {
    let fake = fake(clock).await;
    let secrets = fake.secrets();
    for company in 0..5 {
        secrets
            .create(&twilio(company), well_formed(company).to_string())
            .expect("the fake AWS server must create the secret");
    }
    secrets
        .create("openai-api-key/whatsapp", r#"{"ai_api_key":"sk"}"#)
        .expect("the fake AWS server must create the secret");
    fake
}

/// Returns a well-formed secret value for the company with this number.
fn well_formed(company: usize) -> Value {
    let account = format!("AC{company}");
    json!({"twilio_account_sid": account, "twilio_auth_token": "t", "twilio_template_sid": "HX"})
}

fn twilio(company: usize) -> String {
    format!("whatsapp-credentials/company-{company}/support/twilio")
}

/// Returns a message of the company with this number. The message refers to the company's secrets.
fn context(company: usize) -> Value {
    json!({
        "company_data": {"company_name": format!("company-{company}")},
        "channel_config": {"whatsapp": {"credentials_id": twilio(company), "number": "+46"}},
        "ai_config": {"ai_api_key_reference": "openai-api-key/whatsapp", "model": "any"},
        "conversation": [{"text": "hello"}, null, 7],
    })
}

/// Returns an SQS record with this message id and body.
fn record(id: &str, body: &str) -> Value {
    json!({
        "messageId": id, "receiptHandle": "x", "body": body,
        "attributes": {"ApproximateReceiveCount": "1"}, "messageAttributes": {},
        "eventSource": "aws:sqs", "eventSourceARN": format!("arn:aws:sqs:{REGION}:123456789012:q"),
    })
}

/// Returns a record of an SQS FIFO queue with this message id, message group and body.
fn fifo_record(id: &str, group: &str, body: &str) -> Value {
    let mut record = record(id, body);
    record["attributes"]["MessageGroupId"] = json!(group);
    record["eventSourceARN"] = json!(format!("arn:aws:sqs:{REGION}:123456789012:q.fifo"));
    record
}

fn resolve_request(body: &str) -> String {
    request("POST", "/resolve", &[TOKEN_HEADER], body)
}

/// Sends `body` to `/resolve` with the token, on a new connection.
async fn resolve(sidekey: &Sidekey, body: &Value) -> Answer {
    sidekey.connect().await.exchange(resolve_request(&body.to_string())).await
}

/// Sends `body` to `/resolve`. Returns the results, and the list of failed messages for SQS.
async fn results(sidekey: &Sidekey, body: &Value) -> (Vec<Value>, Value) {
    let answer = resolve(sidekey, body).await;
    let mut json = answer.json();
    assert_eq!(answer.status, 200, "{json}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let results = json["results"]
        .as_array_mut()
        .map(std::mem::take)
        .expect("the JSON value must be an array");
    (results, json["batchItemFailures"].take())
}

/// Sends one reference to a secret to `/resolve`, and returns its result.
async fn resolve_one(sidekey: &Sidekey, reference: &str) -> Value {
    let (mut results, _) = results(sidekey, &json!({ "references": [reference] })).await;
    results[0]["credentials"][reference].take()
}

/// An SQS event has ten messages of five companies, which share one key. The agent makes six calls
/// to AWS, one for each secret.
#[tokio::test]
async fn batch_causes_one_call_per_secret() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock).await;
    let sidekey = Setup::for_fake(&fake, &clock).start().await;
    let records: Vec<Value> = (0..10)
        .map(|number| record(&format!("m-{number}"), &context(number % 5).to_string()))
        .collect();
    let event = json!({ "Records": records });
    for (cache, calls) in [("miss", 6), ("hit", 6)] {
        let (results, failures) = results(&sidekey, &event).await;
        assert_eq!((results.len(), failures), (10, json!([])));
        for (number, result) in results.iter().enumerate() {
            let company = number % 5;
            let version = |name: &str| {
                fake.secrets().version_id(name, "AWSCURRENT").expect("the secret exists")
            };
            assert_eq!(
                *result,
                json!({"messageId": format!("m-{number}"), "ok": true, "credentials": {
                    WHATSAPP: {
                        "reference": twilio(company),
                        "value": well_formed(company),
                        "versionId": version(&twilio(company)), "cache": cache,
                    },
                    AI: {
                        "reference": "openai-api-key/whatsapp", "value": {"ai_api_key": "sk"},
                        "versionId": version("openai-api-key/whatsapp"), "cache": cache,
                    },
                }})
            );
        }
        assert_eq!(fake.calls().count(GetSecretValue), calls);
    }
    let metrics = sidekey.metrics().await;
    assert_eq!(
        metrics.get("sidekey_reads_total{result=\"miss\"}"),
        20.0,
        "each reference must count as a read"
    );
    assert_eq!(metrics.get("sidekey_reads_total{result=\"hit\"}"), 20.0);
    assert_eq!(
        metrics.get("sidekey_read_duration_seconds_count"),
        2.0,
        "the duration of each request must be measured"
    );
}

/// Sends bad messages, for example a message with invalid JSON. Each bad message fails with its own
/// error, and the other messages succeed.
#[tokio::test]
async fn bad_message_fails_alone() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock).await;
    let sidekey = Setup::for_fake(&fake, &clock).start().await;
    let mut missing = context(1);
    missing["channel_config"]["whatsapp"]["credentials_id"] = json!("whatsapp-credentials/none");
    let mut no_string = context(2);
    no_string["channel_config"]["whatsapp"]["credentials_id"] = json!({"id": 7});
    let mut records: Vec<Value> = (0..10)
        .map(|number| record(&format!("m-{number}"), &context(number % 5).to_string()))
        .collect();
    records[1] = record("m-1", &missing.to_string());
    records[3] = record("m-3", "hello");
    records[5] = record("m-5", &no_string.to_string());
    records[7] = record("m-7", r#"{"text": "hello"}"#);
    let (results, failures) = results(&sidekey, &json!({ "Records": records })).await;
    let failed = ["m-1", "m-3", "m-5", "m-7"];
    assert_eq!(failures, json!(failed.map(|id| json!({ "itemIdentifier": id }))));
    for result in &results {
        let id = result["messageId"].as_str().expect("the JSON value must be a string");
        assert_eq!(result["ok"], json!(!failed.contains(&id)), "{id}");
    }
    let absent = &results[1]["credentials"][WHATSAPP];
    assert_eq!(absent["reference"], "whatsapp-credentials/none");
    assert_eq!(absent["error"]["__type"], "ResourceNotFoundException");
    assert_eq!(absent["error"]["message"], "Secrets Manager can't find the specified secret.");
    assert!(absent["error"]["hint"].as_str().is_some_and(|hint| hint.contains("check the name")));
    assert_eq!(absent.get("value"), None);
    assert_eq!(results[1].get("error"), None, "the message itself must have no error");
    assert_eq!(results[1]["credentials"][AI]["value"]["ai_api_key"], "sk");
    for (number, kind, words) in [
        (3, "SerializationException", "line 1, column 1"),
        (5, "ValidationException", WHATSAPP),
        (7, "NoReferenceFound", "no name or ARN"),
    ] {
        let error = &results[number]["error"];
        assert_eq!(error["__type"], kind);
        assert!(error["message"].as_str().is_some_and(|text| text.contains(words)), "{error}");
        assert!(error["hint"].as_str().is_some_and(|hint| !hint.is_empty()));
    }
}

/// A text contains half of a surrogate pair (an incomplete Unicode character). Only a reference to
/// a secret with such a text fails.
#[tokio::test]
async fn lone_surrogate_fails_only_the_reference_that_contains_it() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock).await;
    let sidekey = Setup::for_fake(&fake, &clock).start().await;
    let cut = |reference: &str| {
        let channel = format!(r#"{{"whatsapp": {{"credentials_id": "{reference}"}}}}"#);
        format!(
            r#"{{"text": "see you \ud83d", "\ude00": 1, "channel_config": {channel},
                "ai_config": {{"ai_api_key_reference": "openai-api-key/whatsapp"}}}}"#
        )
    };
    let (good, bad) = (cut(&twilio(0)), cut(r"whatsapp-credentials/company-0\ud83d"));
    // The record itself also contains half of a surrogate pair, which the sender did not escape.
    let records = [&good, &bad].map(|body| {
        let record = record("m-1", &format!("{body} ")).to_string();
        record.replace("see you", r"\udc00 see you").replace("receiptHandle\":\"x", r#"x":"\ud800"#)
    });
    let event = format!(r#"{{"\ud83d": 1, "Records": [{}]}}"#, records.join(","));
    let mut answers = Vec::new();
    for body in [&event, &good, &bad] {
        let answer = sidekey.connect().await.exchange(resolve_request(body)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answers.push(answer.json());
    }
    let of_event = &answers[0]["results"];
    for (result, is_ok) in [
        (&of_event[0], true),
        (&of_event[1], false),
        (&answers[1]["results"][0], true),
        (&answers[2]["results"][0], false),
    ] {
        let credentials = &result["credentials"];
        assert_eq!(result["ok"], is_ok, "{result}");
        assert_eq!(credentials[AI]["value"]["ai_api_key"], "sk");
        let error = &credentials[WHATSAPP]["error"];
        assert_eq!(error["__type"].as_str(), (!is_ok).then_some("ValidationException"));
        assert_eq!(result.get("error"), None, "the message itself must have no error");
    }
    let list = r#"{"references": ["openai-api-key/whatsapp", "a\ud83d"]}"#;
    let answer = sidekey.connect().await.exchange(resolve_request(list)).await;
    let result = &answer.json()["results"][0];
    assert_eq!(result["credentials"]["openai-api-key/whatsapp"]["value"]["ai_api_key"], "sk");
    assert_eq!(result["credentials"]["a\u{fffd}"]["error"]["__type"], "ValidationException");
}

/// Returns an SNS notification that contains `message`.
fn notification(message: &str) -> Value {
    json!({
        "Type": "Notification", "MessageId": "s-1", "Subject": null, "Message": message,
        "TopicArn": format!("arn:aws:sns:{REGION}:123456789012:t"),
        "Timestamp": "2026-01-01T00:00:00.000Z", "SignatureVersion": "1",
    })
}

/// Returns an EventBridge event that contains `detail`.
fn event_bridge(detail: &Value) -> Value {
    json!({
        "version": "0", "id": "e-1", "detail-type": "Message Created", "source": "channels",
        "account": "123456789012", "time": "2026-01-01T00:00:00Z", "region": REGION,
        "resources": [], "detail": detail,
    })
}

/// SNS and EventBridge wrap messages in envelopes. The agent finds the references to secrets in the
/// wrapped messages.
#[tokio::test]
async fn references_in_envelopes_are_found() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock).await;
    let sidekey = Setup::for_fake(&fake, &clock).start().await;
    let in_bridge = event_bridge(&context(2));
    let event = json!({ "Records": [
        record("m-0", &context(0).to_string()),
        record("m-1", &notification(&context(1).to_string()).to_string()),
        record("m-2", &in_bridge.to_string()),
        record("m-3", &notification(&in_bridge.to_string()).to_string()),
        record("m-4", &notification("hello").to_string()),
        record("m-5", &notification("{}").to_string()),
    ]});
    let (of_sqs, failures) = results(&sidekey, &event).await;
    assert_eq!(failures, json!([{"itemIdentifier": "m-4"}, {"itemIdentifier": "m-5"}]));
    for (number, company) in [0, 1, 2, 2].into_iter().enumerate() {
        let credentials = &of_sqs[number]["credentials"];
        assert_eq!(credentials[WHATSAPP]["reference"], twilio(company));
        assert_eq!(credentials[AI]["value"]["ai_api_key"], "sk");
    }
    let kinds = [4, 5].map(|number: usize| &of_sqs[number]["error"]["__type"]);
    assert_eq!(kinds, ["ValidationException", "NoReferenceFound"]);

    let sns_record = |message: &str| json!({"EventSource": "aws:sns", "EventVersion": "1.0", "Sns": notification(message)});
    let event = json!({ "Records": [sns_record(&context(3).to_string()), sns_record("hello")] });
    let (of_sns, failures) = results(&sidekey, &event).await;
    assert_eq!((of_sns.len(), failures), (2, json!([])));
    assert_eq!((of_sns[0].get("messageId"), &of_sns[0]["ok"]), (None, &json!(true)));
    assert_eq!(of_sns[0]["credentials"][WHATSAPP]["reference"], twilio(3));
    assert_eq!(of_sns[1]["error"]["__type"], "ValidationException");

    for message in [in_bridge, notification(&context(2).to_string())] {
        let (single, failures) = results(&sidekey, &message).await;
        assert_eq!((single.len(), failures), (1, json!([])));
        assert_eq!(single[0]["credentials"][WHATSAPP]["reference"], twilio(2));
    }
}

/// In a FIFO queue, a message fails if an earlier message of its group failed, so that SQS keeps
/// the order. Standard queues are not affected.
#[tokio::test]
async fn order_of_a_fifo_queue_is_kept() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock).await;
    let sidekey = Setup::for_fake(&fake, &clock).start().await;
    let good = context(0).to_string();
    let event = json!({ "Records": [
        fifo_record("a-1", "a", &good), fifo_record("a-2", "a", "hello"), fifo_record("b-1", "b", &good),
        fifo_record("a-3", "a", &good), fifo_record("a-4", "a", "hello"), fifo_record("b-2", "b", &good),
    ]});
    let (ordered_results, failures) = results(&sidekey, &event).await;
    let failed = ["a-2", "a-3", "a-4"].map(|id| json!({ "itemIdentifier": id }));
    assert_eq!(failures, json!(failed));
    let kinds: Vec<&Value> = ordered_results.iter().map(|one| &one["error"]["__type"]).collect();
    let (bad, skipped) = (json!("SerializationException"), json!("EarlierMessageFailed"));
    let none = &Value::Null;
    assert_eq!(kinds, [none, &bad, none, &skipped, &bad, none]);
    assert_eq!(
        ordered_results[3]["credentials"],
        json!({}),
        "a skipped message must get no credentials"
    );
    let reported =
        ordered_results[3]["error"]["message"].as_str().expect("the JSON value must be a string");
    assert!(reported.contains("this message was skipped"), "{reported}");

    let mut fair = [record("m-1", "hello"), record("m-2", &good)];
    for record in &mut fair {
        record["attributes"]["MessageGroupId"] = json!("tenant");
    }
    let (_, failures) = results(&sidekey, &json!({ "Records": fair })).await;
    assert_eq!(failures, json!([{ "itemIdentifier": "m-1" }]));
}

/// A list of references and a single message get one result, without a message id and without a
/// list of failed messages.
#[tokio::test]
async fn list_and_single_message_give_one_result() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock).await;
    let sidekey = Setup::for_fake(&fake, &clock).start().await;
    let list =
        json!({"references": ["openai-api-key/whatsapp", "none", "openai-api-key/whatsapp"]});
    let (list, failures) = results(&sidekey, &list).await;
    assert_eq!((list.len(), failures), (1, json!([])));
    assert_eq!((list[0].get("messageId"), &list[0]["ok"]), (None, &json!(false)));
    let credentials = list[0]["credentials"].as_object().expect("the JSON value must be an object");
    assert_eq!(credentials.keys().collect::<Vec<_>>(), ["none", "openai-api-key/whatsapp"]);
    assert_eq!(credentials["openai-api-key/whatsapp"]["value"], json!({"ai_api_key": "sk"}));

    let (message, failures) = results(&sidekey, &context(3)).await;
    assert_eq!((message.len(), failures), (1, json!([])));
    assert_eq!((message[0].get("messageId"), &message[0]["ok"]), (None, &json!(true)));
    assert_eq!(message[0]["credentials"][WHATSAPP]["reference"], twilio(3));
    for nothing in [json!({"references": []}), json!({}), json!({"a": 1})] {
        let (result, failures) = results(&sidekey, &nothing).await;
        assert_eq!((&result[0]["ok"], failures), (&json!(false), json!([])));
        assert_eq!(result[0]["error"]["__type"], "NoReferenceFound");
    }
    let (none, failures) = results(&sidekey, &json!({"Records": []})).await;
    assert_eq!((none, failures), (vec![], json!([])));
}

/// The configuration sets where messages contain references to secrets. The paths may contain
/// indexes of lists.
#[tokio::test]
async fn reference_paths_are_configurable() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock).await;
    let paths = "jobs.*.secret, other.0";
    let sidekey = Setup::for_fake(&fake, &clock).with("SIDEKEY_RESOLVE_PATHS", paths).start().await;
    let message = json!({"jobs": [{"secret": twilio(0)}, {"secret": twilio(1)}], "other": ["x"]});
    let (results, _) = results(&sidekey, &message).await;
    let credentials =
        results[0]["credentials"].as_object().expect("the JSON value must be an object");
    let mut keys: Vec<&String> = credentials.keys().collect();
    keys.sort();
    assert_eq!(keys, ["jobs.0.secret", "jobs.1.secret", "other.0"]);
    assert_eq!(credentials["jobs.1.secret"]["value"]["twilio_account_sid"], "AC1");
}

/// Values keep their types: JSON objects stay objects, text is a string, and bytes become base64. A
/// reference may name a version.
#[tokio::test]
async fn values_keep_their_type() {
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    let secrets = fake.secrets();
    let object = "{\"user\": \"<ann>\\n\", \"port\": 5432, \"n\": 12345678901234567890123}\n";
    let arn = secrets.create("object", object).expect("the fake AWS server must create the secret");
    secrets
        .create("text", "hunter2 \"&\" ünter")
        .expect("the fake AWS server must create the secret");
    secrets.create("digits", "0012e5").expect("the fake AWS server must create the secret");
    secrets
        .create("number", "12345678901234567890123")
        .expect("the fake AWS server must create the secret");
    secrets.create("binary", vec![0, 255, 16]).expect("the fake AWS server must create the secret");
    secrets.create("null", r#"{"user":null}"#).expect("the fake AWS server must create the secret");
    let first = secrets.version_id("object", "AWSCURRENT").expect("the secret exists");
    let sidekey = Setup::for_fake(&fake, &clock).start().await;
    let exact = resolve(&sidekey, &json!({"references": ["object"]})).await;
    assert!(
        exact.text().contains(
            r#""value":{"user": "<ann>\n", "port": 5432, "n": 12345678901234567890123},"#
        )
    );
    for (reference, value) in [
        ("object#user", json!("<ann>\n")),
        ("object#port", json!(5432)),
        ("text", json!("hunter2 \"&\" ünter")),
        ("digits", json!("0012e5")),
        ("number", json!("12345678901234567890123")),
    ] {
        let found = resolve_one(&sidekey, reference).await;
        assert_eq!((&found["value"], &found["reference"]), (&value, &json!(reference)));
        assert_eq!(found.get("valueBase64"), None);
    }
    let binary = resolve_one(&sidekey, "binary").await;
    assert_eq!((&binary["valueBase64"], binary.get("value")), (&json!("AP8Q"), None));
    for (reference, words) in [
        ("binary#user", "is binary"),
        ("text#user", "not a JSON object"),
        ("object#none", "no field 'none'"),
        ("null#user", "the field 'user' of the secret is null"),
    ] {
        let found = resolve_one(&sidekey, reference).await;
        let error = &found["error"];
        assert_eq!(
            (&error["__type"], found.get("value")),
            (&json!("FieldNotFoundException"), None)
        );
        assert!(error["message"].as_str().is_some_and(|text| text.contains(words)), "{error}");
    }
    let second = secrets.put("object", r#"{"user":"bob"}"#).expect("the secret exists");
    for (reference, user, version) in [
        (format!("{arn}:user:AWSPREVIOUS:"), "<ann>\n", &first),
        (format!("{arn}:user::{second}"), "bob", &second),
    ] {
        let found = resolve_one(&sidekey, &reference).await;
        assert_eq!((&found["value"], &found["versionId"]), (&json!(user), &json!(version)));
    }
}

/// A message can refer to parameters. Several parameters share one call.
#[tokio::test]
async fn references_to_parameters_are_resolved() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock).await;
    let parameters = fake.parameters();
    let secure = ParameterValue::secure(r#"{"user":"ann"}"#);
    parameters.put("/app/db", secure).expect("the fake AWS server must accept the parameter");
    parameters.put("/app/url", "x").expect("the fake AWS server must accept the parameter");
    let sidekey = Setup::for_fake(&fake, &clock).start().await;
    let message = json!({
        "channel_config": {"whatsapp": {"credentials_id": "ssm:/app/db#user"}},
        "ai_config": {"ai_api_key_reference": "ssm:/app/url"},
    });
    let (results, _) = results(&sidekey, &message).await;
    let credentials = &results[0]["credentials"];
    assert_eq!(credentials[WHATSAPP]["value"], "ann", "{credentials}");
    assert_eq!(
        (&credentials[AI]["value"], &credentials[AI]["versionId"]),
        (&json!("x"), &json!("1"))
    );
    assert_eq!(fake.calls().total(), 1);
    let absent = resolve_one(&sidekey, "ssm:/app/no").await;
    assert_eq!(absent["error"]["__type"], "ParameterNotFound", "{absent}");
}

#[tokio::test]
async fn concurrent_requests_share_a_call() {
    const REQUESTS: usize = 64;
    let clock = ManualClock::new();
    let fake = start_fake(&clock).await;
    let gateway = Gateway::start(&fake).await;
    let sidekey = Setup::for_endpoint(&gateway.url(), &clock).start().await;
    gateway.hold();
    let body = json!({"references": ["openai-api-key/whatsapp"]}).to_string();
    let mut readers = Vec::new();
    for _ in 0..REQUESTS {
        let mut reader = sidekey.connect().await;
        reader.send(resolve_request(&body)).await;
        readers.push(reader);
    }
    eventually("all requests wait for the call to AWS", async || {
        let joined = sidekey.metrics().await.get("sidekey_flights_joined_total");
        (joined == (REQUESTS - 1) as f64).then_some(())
    })
    .await;
    gateway.release();
    for reader in &mut readers {
        assert_eq!(reader.receive().await.json()["results"][0]["ok"], true);
    }
    assert_eq!(fake.calls().count(GetSecretValue), 1);
}

/// `/resolve` fetches all uncached secrets concurrently. Secrets that do not arrive before the
/// timeout get an error.
#[tokio::test]
async fn request_waits_no_longer_than_one_reader() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock).await;
    let sidekey = Setup::for_fake(&fake, &clock).start().await;
    let stalled: Vec<String> = (0..4).map(twilio).collect();
    for name in &stalled {
        fake.faults().always(Match::secret(name), Fault::Stall);
    }
    let references: Vec<&str> =
        stalled.iter().map(String::as_str).chain(["openai-api-key/whatsapp"]).collect();
    let mut reader = sidekey.connect().await;
    reader.send(resolve_request(&json!({ "references": references }).to_string())).await;
    fake.calls().wait_for(GetSecretValue, 5).await;
    eventually("the good secret has arrived", async || {
        (sidekey.agent.status().entries.len() == 1).then_some(())
    })
    .await;
    sidekey.advance(Duration::from_secs(600));
    let answer = reader.receive().await.json();
    let credentials = &answer["results"][0]["credentials"];
    assert_eq!(credentials["openai-api-key/whatsapp"]["cache"], "miss");
    for name in &stalled {
        assert_eq!(credentials[name]["error"]["__type"], "TimeoutError", "{name}");
    }
}

/// `/resolve` returns cached secrets during an outage of AWS, and counts them as stale.
#[tokio::test]
async fn cached_secrets_are_served_during_an_outage() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock).await;
    let name = "openai-api-key/whatsapp";
    let setup = Setup::for_fake(&fake, &clock).with("SIDEKEY_SECRETS", name);
    let sidekey = setup.with("SIDEKEY_TTL", "1m").start().await;
    assert_eq!(
        resolve_one(&sidekey, name).await["cache"],
        "hit",
        "the prefetch must have cached the secret"
    );
    fake.pause().await.expect("the listener must stop without an error");
    sidekey.advance(Duration::from_secs(61));
    let stale = resolve_one(&sidekey, name).await;
    assert_eq!((&stale["cache"], &stale["value"]["ai_api_key"]), (&json!("stale"), &json!("sk")));
    let metrics = sidekey.metrics().await;
    assert_eq!(metrics.get("sidekey_reads_total{result=\"stale\"}"), 1.0);
    assert_eq!(metrics.get("sidekey_stale_reads_total{reason=\"failing\"}"), 1.0);
    let missing = resolve_one(&sidekey, "openai-api-key/none").await;
    assert_eq!(missing["error"]["__type"], "ConnectionError");
    assert_eq!(sidekey.metrics().await.get("sidekey_reads_total{result=\"error\"}"), 1.0);
}

/// The agent fetches a secret of another region from that region. If `SIDEKEY_REGION_ONLY` is set,
/// it refuses the secret without a call.
#[tokio::test]
async fn other_regions_are_called_only_if_allowed() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock).await;
    let abroad = Location::new("123456789012", "us-east-1");
    let abroad = fake
        .secrets()
        .create_in(&abroad, "abroad", "far")
        .expect("the fake AWS server must create the secret");
    let gateway = Gateway::start(&fake).await;
    let setup = Setup::for_endpoint(&gateway.regional_url(), &clock);
    let only = setup.clone().with("SIDEKEY_REGION_ONLY", true).start().await;
    let refused = resolve_one(&only, &abroad).await;
    assert_eq!(refused["error"]["__type"], "InvalidParameterException");
    let reported = refused["error"]["message"].as_str().expect("the JSON value must be a string");
    assert!(reported.contains("SIDEKEY_REGION_ONLY"), "{reported}");
    assert_eq!(gateway.regions(), [""; 0]);

    let sidekey = setup.start().await;
    let body = json!({"references": [abroad, "openai-api-key/whatsapp"]});
    let (results, _) = results(&sidekey, &body).await;
    assert_eq!(results[0]["credentials"][&abroad]["value"], "far");
    let mut regions = gateway.regions();
    regions.sort();
    assert_eq!(regions, [REGION, "us-east-1"]);
}

/// The agent refuses unauthorised requests to `/resolve` with the same errors as unauthorised
/// reads.
#[tokio::test]
async fn gate_applies_as_to_every_read() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock).await;
    let body = json!({"references": ["openai-api-key/whatsapp"]}).to_string();
    for (dialect, token) in
        [("agent", (403, "Bad Token")), ("extension", (401, "bad session token or header key"))]
    {
        let sidekey = Setup::for_fake(&fake, &clock).with("SIDEKEY_DIALECT", dialect).start().await;
        for headers in [vec![], vec![(TOKEN_HEADER.0, "wrong")]] {
            let sent = request("POST", "/resolve", &headers, &body);
            let answer = sidekey.connect().await.exchange(sent).await;
            assert_eq!((answer.status, answer.text()), token);
        }
        for header in
            [("X-Forwarded-For", "10.0.0.1"), ("Origin", "http://a"), ("Host", "a.example")]
        {
            let sent = request("POST", "/resolve", &[TOKEN_HEADER, header], &body);
            let answer = sidekey.connect().await.exchange(sent).await;
            assert_eq!(answer.status, 400, "{}", answer.text());
        }
        for method in ["GET", "PUT", "DELETE"] {
            let sent = request(method, "/resolve", &[TOKEN_HEADER], "");
            let answer = sidekey.connect().await.exchange(sent).await;
            assert_eq!(answer.status, 405);
            assert!(dialect == "agent" || answer.text().contains("only POST"), "{}", answer.text());
        }
        let metrics = sidekey.metrics().await;
        assert_eq!(metrics.get("sidekey_reads_total{result=\"refused\"}"), 8.0);
        assert_eq!(metrics.get("sidekey_gate_refusals_total{reason=\"token\"}"), 2.0);
    }
    assert_eq!(fake.calls().total(), 0);
}

#[tokio::test]
async fn answers_do_not_depend_on_the_dialect() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock).await;
    let name = "openai-api-key/whatsapp";
    let mut answers = Vec::new();
    for dialect in ["agent", "extension"] {
        let setup = Setup::for_fake(&fake, &clock).with("SIDEKEY_SECRETS", name);
        let sidekey = setup.with("SIDEKEY_DIALECT", dialect).start().await;
        let mut reported = Vec::new();
        for body in ["hello", "[]", &"x".repeat(6 * 1024 * 1024 + 1), &context(0).to_string()] {
            let answer = sidekey.connect().await.exchange(resolve_request(body)).await;
            assert_eq!(answer.header("content-type"), Some("application/json"));
            reported.push((answer.status, answer.json()));
        }
        assert_eq!(
            reported.iter().map(|(status, _)| *status).collect::<Vec<_>>(),
            [400, 400, 400, 200]
        );
        answers.push(reported);
    }
    assert_eq!(answers[0], answers[1]);
}

/// The agent refuses a body that is no event, no message and no list, or that exceeds a limit.
#[tokio::test]
async fn unacceptable_bodies_are_refused_as_a_whole() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock).await;
    let name = "openai-api-key/whatsapp";
    let many = |count: usize| -> Vec<String> { (0..count).map(|n| format!("s/{n}")).collect() };
    let records = |count| json!({"Records": vec![record("m", r#"{"a": 1}"#); count]}).to_string();
    let context = context(0).to_string();
    let sidekey = Setup::for_fake(&fake, &clock).with("SIDEKEY_SECRETS", name).start().await;
    let calls = fake.calls().total();
    for (body, kind, words) in [
        ("", "SerializationException", "line 1"),
        ("hello", "SerializationException", "line 1, column 1"),
        ("[]", "ValidationException", "not a JSON object"),
        ("null", "ValidationException", "not a JSON object"),
        (r#"{"references": [7]}"#, "ValidationException", "references[0]"),
        (r#"{"Records": [{"eventName": "x"}]}"#, "ValidationException", "Records[0]"),
        (&records(10_001), "ValidationException", "10000 records"),
        (
            &json!({"references": vec!["a"; 20_001]}).to_string(),
            "ValidationException",
            "20000 references",
        ),
        (&json!({"references": many(1001)}).to_string(), "ValidationException", "1000 secrets"),
        (
            &json!({"a": "x".repeat(1024 * 1024)}).to_string(),
            "ValidationException",
            "1048576 bytes",
        ),
        (&"x".repeat(6 * 1024 * 1024 + 1), "BadRequestException", "6291456 bytes"),
        (&format!("{{\"a\": {}", "[".repeat(200_000)), "SerializationException", "line 1"),
    ] {
        let answer = sidekey.connect().await.exchange(resolve_request(body)).await;
        assert_eq!((answer.status, answer.kind().as_str()), (400, kind), "{words}");
        assert!(answer.text().contains(words), "{}", answer.text());
        assert!(answer.json()["hint"].as_str().is_some_and(|hint| !hint.is_empty()));
    }
    assert_eq!(fake.calls().total(), calls, "the refused request bodies must not cause a call");
    for body in [&context, &json!({"references": vec![name; 20_000]}).to_string()] {
        assert_eq!(sidekey.connect().await.exchange(resolve_request(body)).await.status, 200);
    }
    let answer = sidekey.connect().await.exchange(resolve_request(&records(10_000))).await;
    let failures = answer.json()["batchItemFailures"].as_array().map(Vec::len);
    assert_eq!((answer.status, failures), (200, Some(10_000)));
}

/// Forged references to secrets cause no call to AWS. Each gets its own error, is counted as
/// refused, and is not cached.
#[tokio::test]
async fn forged_references_cause_no_call() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock).await;
    let other = Location::new("210987654321", REGION);
    let theirs = fake
        .secrets()
        .create_in(&other, &twilio(0), "theirs")
        .expect("the fake AWS server must create the secret");
    fake.secrets()
        .create("prod/db", "hunter2")
        .expect("the fake AWS server must create the secret");
    let allowed = "whatsapp-credentials/company-0/*/twilio";
    let setup = Setup::for_fake(&fake, &clock).with("SIDEKEY_ALLOW", allowed);
    let sidekey = setup.with("AWS_ACCOUNT_ID", "123456789012").start().await;
    let long = "x".repeat(10_000);
    let field = format!("{}#{}", twilio(0), "x".repeat(10_000));
    let forged = [
        ("../../prod/db", "AccessDeniedException"),
        ("whatsapp-credentials/company-0/../../prod/db", "AccessDeniedException"),
        ("prod/db", "AccessDeniedException"),
        (&twilio(1), "AccessDeniedException"),
        (&theirs, "AccessDeniedException"),
        ("arn:aws:s3:::bucket", "ValidationException"),
        ("arn:aws:secretsmanager:evil.example.com#:123456789012:secret:x", "ValidationException"),
        ("whatsapp-credentials/company-0/x/twilio\r\nlevel=ERROR", "ValidationException"),
        ("whatsapp-credentials/company-0/x/twilio#a\u{0}", "ValidationException"),
        ("whatsapp-credentials/*/x/twilio", "ValidationException"),
        ("", "ValidationException"),
        ("#field", "ValidationException"),
        (&long, "ValidationException"),
        (&field, "ValidationException"),
    ];
    for (reference, kind) in forged {
        let mut message = context(0);
        message["channel_config"]["whatsapp"]["credentials_id"] = json!(reference);
        message["ai_config"] = json!(null);
        let (results, failures) =
            results(&sidekey, &json!({ "Records": [record("m", &message.to_string())] })).await;
        assert_eq!(failures, json!([{ "itemIdentifier": "m" }]));
        let found = &results[0]["credentials"][WHATSAPP];
        assert_eq!(found["error"]["__type"], kind, "{reference:?}");
        let echo = found["reference"].as_str().expect("the JSON value must be a string");
        assert!(
            echo.chars().count() <= 257,
            "the response must contain only a part of a long reference"
        );
        assert!(reference.starts_with(echo.trim_end_matches('…')));
        assert_eq!(found.get("value"), None);
    }
    assert_eq!(fake.calls().total(), 0);
    assert_eq!(sidekey.metrics().await.get("sidekey_entries"), 0.0);
    let refused = sidekey.metrics().await.get("sidekey_reads_total{result=\"refused\"}");
    assert_eq!(refused, forged.len() as f64);
    let good = json!({"references": [twilio(0)]});
    assert_eq!(resolve(&sidekey, &good).await.json()["results"][0]["ok"], true);
}

/// In strict mode, a malformed secret value makes only the messages fail that refer to it.
#[tokio::test]
async fn withheld_value_fails_its_message_alone() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock).await;
    let half = r#"{"twilio_account_sid":"AC"}"#;
    fake.secrets().put(&twilio(0), half).expect("the secret exists");
    let sidekey = Setup::for_fake(&fake, &clock).with("SIDEKEY_STRICT", true).start().await;
    let records = [0, 1].map(|number| record(&format!("m-{number}"), &context(number).to_string()));
    let (results, failures) = results(&sidekey, &json!({ "Records": records })).await;
    assert_eq!(failures, json!([{ "itemIdentifier": "m-0" }]));
    let withheld = &results[0]["credentials"][WHATSAPP];
    assert_eq!(withheld["error"]["__type"], "MalformedSecretException");
    assert_eq!(withheld.get("value"), None);
    assert_eq!(results[1]["credentials"][WHATSAPP]["value"], well_formed(1));
}

#[tokio::test]
async fn resolve_and_reads_share_one_cache() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock).await;
    let sidekey = Setup::for_fake(&fake, &clock).start().await;
    let mut connection = sidekey.connect().await;
    assert_eq!(connection.exchange(read_request(&twilio(0))).await.cache(), "miss");
    assert_eq!(resolve_one(&sidekey, &twilio(0)).await["cache"], "hit");
    assert_eq!(resolve_one(&sidekey, &twilio(1)).await["cache"], "miss");
    assert_eq!(connection.exchange(read_request(&twilio(1))).await.cache(), "hit");
    assert_eq!(fake.calls().count(GetSecretValue), 2);
}

#[tokio::test]
async fn documented_example_is_answered_as_documented() {
    let page = include_str!("../../docs/http.md");
    let chapter = page.split("\n## ").find(|one| one.starts_with("Resolving messages"));
    let blocks = chapter.expect("the page must contain the chapter").split("```json\n").skip(1);
    let blocks: Vec<&str> = blocks.filter_map(|block| block.split("```").next()).collect();
    let [event, expected] = blocks[..] else {
        panic!("the chapter of the page must contain an event and its response")
    };
    let mut expected: Value = serde_json::from_str(expected).expect("the text is JSON");

    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    let name = "whatsapp-credentials/acme/support/twilio";
    let value = r#"{"twilio_account_sid": "PLACEHOLDER_SID"}"#;
    fake.secrets().create(name, value).expect("the fake AWS server must create the secret");
    let sidekey = Setup::for_fake(&fake, &clock).start().await;
    let answer = sidekey.connect().await.exchange(resolve_request(event)).await;
    let version = fake.secrets().version_id(name, "AWSCURRENT").expect("the secret exists");
    expected["results"][0]["credentials"][WHATSAPP]["versionId"] = json!(version);
    assert_eq!((answer.status, answer.json()), (200, expected));
}

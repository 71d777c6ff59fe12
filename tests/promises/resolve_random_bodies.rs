//! Tests that `/resolve` answers random bodies with status 200 or 400 and with valid JSON.

use crate::support::agent::{Setup, TOKEN_HEADER};
use crate::support::client::request;
use crate::support::clock::ManualClock;
use crate::support::{TempFolder, fake};
use fastrand::Rng;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// The number of random bodies.
const BODIES: u64 = 600;

/// The keys of random JSON objects. Some of the keys have a meaning for `/resolve`.
const KEYS: [&str; 16] = [
    "Records",
    "references",
    "messageId",
    "body",
    "attributes",
    "MessageGroupId",
    "eventSourceARN",
    "channel_config",
    "credentials_id",
    "ai_config",
    "ai_api_key_reference",
    "company_data",
    "company_name",
    "a.b",
    "",
    "\u{202e}\\",
];

/// The strings in random bodies.
const TEXTS: [&str; 12] = [
    "app/db",
    "app/db#user",
    "openai-api-key/sms",
    "sms-credentials/acme/x/twilio",
    "acme",
    "arn:aws:secretsmanager:eu-north-1:123456789012:secret:app/db-AbC123",
    "arn:aws:secretsmanager:eu-north-1:123456789012:secret:app/db:a:b:c:d",
    "q.fifo",
    "../..",
    "#",
    "\u{0}\r\n",
    "",
];

/// Sends random JSON to `/resolve`, sometimes with one changed byte. If the test fails, it prints
/// the seed of the body.
#[tokio::test]
async fn random_bodies_are_answered() {
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    fake.secrets()
        .create("app/db", r#"{"user":"ann"}"#)
        .expect("the fake AWS server must create the secret");
    let folder = TempFolder::new();
    let binding = "[resolve.tenant]\ncompany_name = \"company_data.company_name\"\n";
    for file in ["", binding] {
        let path = folder.write("sidekey.toml", file);
        let setup = Setup::for_fake(&fake, &clock).with("SIDEKEY_CONFIG", path.display());
        let sidekey = setup.start().await;
        let mut connection = sidekey.connect().await;
        let mut statuses = BTreeSet::new();
        for seed in 0..BODIES {
            let body = body(&mut Rng::with_seed(seed));
            let sent = request("POST", "/resolve", &[TOKEN_HEADER], &body);
            let answer = connection.exchange(sent).await;
            assert!([200, 400].contains(&answer.status), "seed {seed}: {body}");
            statuses.insert(answer.status);
            check(&format!("seed {seed}: {body}"), answer.status, &answer.json());
        }
        assert_eq!(statuses.len(), 2, "both statuses occur");
        assert_eq!(sidekey.metrics().await.get("sidekey_panics_total"), 0.0);
    }
}

/// Checks that the parts of a response of `/resolve` are consistent.
fn check(what: &str, status: u16, answer: &Value) {
    if status == 400 {
        assert!(answer["__type"].is_string() && answer["hint"].is_string(), "{what}");
        return;
    }
    let results = answer["results"].as_array().expect(what);
    for result in results {
        let credentials = result["credentials"].as_object().expect(what);
        let is_bad = |credential: &Value| credential.get("error").is_some();
        let is_failed = result.get("error").is_some() || credentials.values().any(is_bad);
        assert_eq!(result["ok"], !is_failed, "{what}");
        for credential in credentials.values() {
            let has_value = credential.get("value").is_some();
            assert_eq!(has_value, !is_bad(credential), "{what}");
        }
    }
    let failed = results.iter().filter(|one| one["ok"] == false && one["messageId"].is_string());
    let failed: Vec<Value> =
        failed.map(|one| json!({ "itemIdentifier": one["messageId"] })).collect();
    assert_eq!(answer["batchItemFailures"], json!(failed), "{what}");
}

fn body(draws: &mut Rng) -> String {
    let value = match draws.u8(0..4) {
        0 => random_json(draws, 5),
        1 => json!({ "references": random_list(draws, |draws| random_json(draws, 1)) }),
        2 => json!({ "Records": random_list(draws, record) }),
        _ => message(draws),
    };
    let mut text = value.to_string();
    if draws.u8(0..5) == 0 {
        let places: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
        let at = places[draws.usize(0..places.len())];
        match draws.u8(0..3) {
            0 => text.truncate(at),
            1 => text.insert(at, draws.char(..)),
            _ => drop(text.remove(at)),
        }
    }
    text
}

fn random_list(draws: &mut Rng, make: fn(&mut Rng) -> Value) -> Vec<Value> {
    (0..draws.usize(0..6)).map(|_| make(draws)).collect()
}

fn record(draws: &mut Rng) -> Value {
    let id = if draws.u8(0..20) == 0 {
        random_json(draws, 0)
    } else {
        json!(format!("m-{}", draws.u8(..)))
    };
    let body =
        if draws.u8(0..6) == 0 { random_json(draws, 2) } else { json!(message(draws).to_string()) };
    let mut record = json!({"messageId": id, "body": body});
    if draws.bool() {
        record["attributes"] = json!({ "MessageGroupId": text(draws) });
    }
    if draws.bool() {
        record["eventSourceARN"] = json!(text(draws));
    }
    record
}

fn message(draws: &mut Rng) -> Value {
    json!({
        "company_data": {"company_name": text(draws)},
        "channel_config": {"sms": {"credentials_id": random_json(draws, 1)}, text(draws): random_json(draws, 2)},
        "ai_config": {"ai_api_key_reference": text(draws)},
        KEYS[draws.usize(0..KEYS.len())]: random_json(draws, 3),
    })
}

fn text(draws: &mut Rng) -> String {
    TEXTS[draws.usize(0..TEXTS.len())].to_owned()
}

fn random_json(draws: &mut Rng, depth: u8) -> Value {
    match draws.u8(0..if depth == 0 { 6 } else { 9 }) {
        0 => Value::Null,
        1 => json!(draws.bool()),
        2 => json!(draws.i64(..)),
        3..6 => json!(text(draws)),
        6 => (0..draws.usize(0..5)).map(|_| random_json(draws, depth - 1)).collect(),
        _ => {
            let members = (0..draws.usize(0..5)).map(|_| {
                let key = KEYS[draws.usize(0..KEYS.len())].to_owned();
                (key, random_json(draws, depth - 1))
            });
            Value::Object(members.collect::<Map<String, Value>>())
        }
    }
}

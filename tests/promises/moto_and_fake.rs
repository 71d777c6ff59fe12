//! Tests that Sidekey gives the same responses with the fake AWS server and with moto, an
//! independent emulator. A mistake in the fake therefore does not stay unnoticed.

use crate::clients::Clients;
use crate::moto::Moto;
use crate::support::agent::{Setup, Sidekey};
use crate::support::client::Answer;
use crate::support::clock::ManualClock;
use crate::support::fake;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fake_aws::Fake;
use fake_aws::Operation::{BatchGetSecretValue, GetSecretValue};
use serde_json::{Value, json};

const BYTES: [u8; 5] = [0, 255, 16, 251, 10];
const OBJECT: &str = r#"{"user":"ann \"ä\" <b>","port":5432}"#;

/// Identifiers of a secret that differ between moto and the fake AWS server.
struct Identifiers {
    object_arn: String,
    first_version: String,
}

/// Creates several secrets in moto. One of them has two versions.
async fn fill_moto(moto: &Moto) -> Identifiers {
    moto.create_secret("app/text", "hunter2").await;
    let first = moto.create_secret("app/object", "{}").await;
    moto.put_secret_value(&first.arn, OBJECT).await;
    let bytes = json!({"Name": "app/bytes", "SecretBinary": STANDARD.encode(BYTES)});
    moto.call("CreateSecret", &bytes).await;
    for name in names() {
        moto.create_secret(&name, &name).await;
    }
    Identifiers { object_arn: first.arn, first_version: first.version_id }
}

/// Creates the same secrets in the fake AWS server.
fn fill_fake(fake: &Fake) -> Identifiers {
    let secrets = fake.secrets();
    secrets.create("app/text", "hunter2").expect("the fake AWS server must create the secret");
    let object_arn =
        secrets.create("app/object", "{}").expect("the fake AWS server must create the secret");
    let first_version = secrets.version_id("app/object", "AWSCURRENT").expect("the secret exists");
    secrets.put("app/object", OBJECT).expect("the secret exists");
    secrets
        .create("app/bytes", BYTES.to_vec())
        .expect("the fake AWS server must create the secret");
    for name in names() {
        secrets.create(&name, name.as_str()).expect("the fake AWS server must create the secret");
    }
    Identifiers { object_arn, first_version }
}

fn names() -> Vec<String> {
    (0..25).map(|number| format!("many/{number}")).collect()
}

/// Reads all secrets through an agent. Returns the responses, without the parts that differ between
/// moto and the fake AWS server.
async fn answers(sidekey: &Sidekey, identifiers: &Identifiers) -> Vec<(String, Value)> {
    let Identifiers { object_arn, first_version } = identifiers;
    let mut answers = Vec::new();
    for (what, path) in [
        ("text", "app/text".to_owned()),
        ("text again", "app/text".to_owned()),
        ("refreshed", "app/bytes&refreshNow=true".to_owned()),
        ("bytes", "app/bytes".to_owned()),
        ("object", "app/object".to_owned()),
        ("by ARN", object_arn.clone()),
        ("by partial ARN", object_arn[..object_arn.len() - 7].to_owned()),
        ("a field", "app/object%23user".to_owned()),
        ("the version before", "app/object&versionStage=AWSPREVIOUS".to_owned()),
        ("a version", format!("app/object&versionId={first_version}")),
        ("missing", "app/missing".to_owned()),
        ("no such field", "app/object%23none".to_owned()),
    ] {
        answers.push((what.to_owned(), shared(&sidekey.read(&path).await)));
    }
    answers
}

/// Returns the status, the headers and the body of a response, without ARNs, version ids and dates.
fn shared(answer: &Answer) -> Value {
    let mut body = serde_json::from_slice(&answer.body).unwrap_or_else(|_| json!(answer.text()));
    if let Some(body) = body.as_object_mut() {
        for key in ["ARN", "VersionId", "CreatedDate"] {
            assert_eq!(body.remove(key).is_some(), answer.status == 200, "{key}");
        }
    }
    json!([answer.status, answer.cache(), answer.header("content-type"), body])
}

/// Reads the same secrets through an agent that calls moto, and through an agent that calls the
/// fake AWS server. All responses must be equal.
#[tokio::test]
async fn answers_before_moto_and_before_the_fake_are_equal() {
    let clients = match Clients::install() {
        Ok(clients) => clients,
        Err(missing) => return missing.skip_or_fail(),
    };
    let moto = Moto::start(&clients).await;
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    let (in_moto, in_fake) = (fill_moto(&moto).await, fill_fake(&fake));
    for mode in ["get", "batch"] {
        let start = async |endpoint: &str| {
            let setup = Setup::for_endpoint(endpoint, &clock).with("SIDEKEY_PREFETCH", mode);
            setup.with("SIDEKEY_SECRETS", format!("{},app/text", names().join(","))).start().await
        };
        let (before_moto, before_fake) = (start(&moto.endpoint()).await, start(&fake.url()).await);
        let expected = answers(&before_fake, &in_fake).await;
        assert_eq!(answers(&before_moto, &in_moto).await, expected, "{mode}");
        for sidekey in [&before_moto, &before_fake] {
            assert_eq!(sidekey.get("/ready").await.status, 200, "{mode}");
            for name in names() {
                let answer = sidekey.read(&name).await;
                assert_eq!((answer.value(), answer.cache()), (name, "hit"));
            }
        }
        let calls = |sidekey: &crate::support::metrics::Metrics| {
            [BatchGetSecretValue, GetSecretValue].map(|operation| {
                let name = operation.name();
                let series = format!(
                    "sidekey_upstream_requests_total{{operation=\"{name}\",outcome=\"ok\"}}"
                );
                sidekey.get(&series)
            })
        };
        let [batches, singles] = calls(&before_moto.metrics().await);
        assert_eq!([batches, singles], calls(&before_fake.metrics().await));
        assert_eq!(batches, if mode == "batch" { 2.0 } else { 0.0 });
    }
}

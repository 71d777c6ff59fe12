//! Tests of `[[policy]]` tables in the configuration file. Each table applies to the secrets that
//! it lists, by name or by ARN, and to no other secret.

use crate::support::agent::{Setup, Sidekey};
use crate::support::clock::ManualClock;
use crate::support::{TempFolder, eventually, fake};
use fake_aws::Fake;
use fake_aws::Operation::GetSecretValue;
use serde_json::{Value, json};
use sidekey::config::{self, Host};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// Starts an agent that calls `fake`. `file` is the text of the agent's configuration file.
async fn start(fake: &Fake, clock: &Arc<ManualClock>, file: &str) -> Sidekey {
    let folder = TempFolder::new();
    let path = folder.write("sidekey.toml", file);
    Setup::for_fake(fake, clock).with("SIDEKEY_CONFIG", path.display()).start().await
}

/// Returns what the status page says about the secret `name`.
async fn status(sidekey: &Sidekey, name: &str) -> Value {
    let status = sidekey.get("/status").await.json();
    let mut entries = status["entries"].as_array().expect("the JSON value must be an array").iter();
    entries.find(|entry| entry["name"] == name).cloned().expect("the secret must be cached")
}

/// Two secrets have policies with different TTLs. After the shorter TTL, only one secret has its
/// new value.
#[tokio::test]
async fn each_secret_ages_by_its_own_policy() {
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    for name in ["app/short", "app/long"] {
        fake.secrets().create(name, "old").expect("the fake AWS server must create the secret");
    }
    let file = r#"
        secrets = ["app/short", "app/long"]
        ttl = "1s"
        [[policy]]
        secrets = ["app/short"]
        ttl = "1m"
        stale_if_error = "0s"
        [[policy]]
        secrets = ["app/*"]
        ttl = "10m"
    "#;
    let sidekey = start(&fake, &clock, file).await;
    let arn = fake.secrets().arn("app/short").expect("the secret exists");
    for name in ["app/short", "app/long"] {
        assert_eq!(sidekey.read(name).await.cache(), "hit");
        fake.secrets().put(name, "new").expect("the secret exists");
    }
    for (name, ttl) in [("app/short", 60.0), ("app/long", 600.0)] {
        assert_eq!(status(&sidekey, name).await["ttl_seconds"], json!(ttl));
    }

    clock.advance(61 * SECOND);
    assert_eq!(sidekey.read(&arn).await.value(), "new");
    assert_eq!(sidekey.read("app/short").await.value(), "new");
    let long = sidekey.read("app/long").await;
    assert_eq!((long.value().as_str(), long.cache()), ("old", "hit"));

    fake.pause().await.expect("the listener must stop without an error");
    clock.advance(600 * SECOND);
    assert_eq!(sidekey.read("app/short").await.status, 502);
    let long = sidekey.read("app/long").await;
    assert_eq!((long.value().as_str(), long.cache()), ("old", "stale"));
}

/// The agent fetches a secret with a TTL of 0 for every read, and never in the background.
#[tokio::test]
async fn caching_can_be_disabled_for_one_secret() {
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    for name in ["app/live", "app/held"] {
        fake.secrets().create(name, "value").expect("the fake AWS server must create the secret");
    }
    let arn = fake.secrets().arn("app/live").expect("the secret exists");
    let file = format!(
        "secrets = [\"app/live\", \"app/held\"]\n[[policy]]\nsecrets = [\"{arn}\"]\nttl = 0\n"
    );
    let sidekey = start(&fake, &clock, &file).await;
    assert_eq!(sidekey.get("/ready").await.status, 200);
    clock.advance(100 * SECOND);
    for id in ["app/live", &arn, "app/live"] {
        assert_eq!(sidekey.read(id).await.cache(), "miss", "{id}");
    }
    assert_eq!(sidekey.read("app/held").await.cache(), "hit");
    assert_eq!(
        fake.calls().count(GetSecretValue),
        5,
        "the prefetch and each read must make one call to AWS"
    );
    assert_eq!(sidekey.get("/status").await.json()["entries"].as_array().map(Vec::len), Some(1));
}

/// A secret with `required = false` is missing. The agent is ready without it, and caches it as
/// soon as it exists.
#[tokio::test]
async fn missing_optional_secret_does_not_block_readiness() {
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    fake.secrets()
        .create("app/needed", "value")
        .expect("the fake AWS server must create the secret");
    let listed = "secrets = [\"app/needed\", \"app/spare\"]\n";
    let optional = format!("{listed}[[policy]]\nsecrets = [\"app/s*\"]\nrequired = false\n");
    let patient = start(&fake, &clock, &optional).await;
    let strict = start(&fake, &clock, listed).await;
    assert_eq!(strict.get("/ready").await.status, 503);
    assert_eq!(strict.metrics().await.get("sidekey_listed_missing"), 1.0);

    let ready = patient.get("/ready").await;
    let body = json!({"ready": true, "listed_missing": 0, "missing": []});
    assert_eq!((ready.status, ready.json()), (200, body));
    assert_eq!(patient.metrics().await.get("sidekey_listed_missing"), 0.0);
    eventually("the call for the missing secret fails", async || {
        let missing = patient.get("/status").await.json()["missing"][0].clone();
        assert_eq!(
            (&missing["reference"], &missing["required"]),
            (&json!("app/spare"), &json!(false))
        );
        (missing["problem"]["code"] == "ResourceNotFoundException").then_some(())
    })
    .await;

    fake.secrets()
        .create("app/spare", "value")
        .expect("the fake AWS server must create the secret");
    eventually("the secret is cached", async || {
        clock.advance(31 * SECOND);
        (patient.get("/status").await.json()["missing"] == json!([])).then_some(())
    })
    .await;
    assert_eq!(patient.read("app/spare").await.value(), "value");
}

#[tokio::test]
async fn always_refreshed_secret_stays_fresh_without_readers() {
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    for name in ["app/warm", "app/idle"] {
        fake.secrets().create(name, "old").expect("the fake AWS server must create the secret");
    }
    let file = r#"
        secrets = ["app/warm", "app/idle"]
        ttl = "1m"
        [[policy]]
        secrets = ["app/warm"]
        refresh = "always"
    "#;
    let sidekey = start(&fake, &clock, file).await;
    for name in ["app/warm", "app/idle"] {
        fake.secrets().put(name, "new").expect("the secret exists");
    }
    clock.advance(59 * SECOND);
    eventually("the secret is refreshed", async || {
        (status(&sidekey, "app/warm").await["age_seconds"] == json!(0)).then_some(())
    })
    .await;
    assert_eq!(status(&sidekey, "app/warm").await["refresh"], "always");
    assert_eq!(fake.calls().count(GetSecretValue), 3, "the agent must refresh only this secret");
    let warm = sidekey.read("app/warm").await;
    assert_eq!((warm.value().as_str(), warm.cache()), ("new", "hit"));
    let idle = sidekey.read("app/idle").await;
    assert_eq!((idle.value().as_str(), idle.cache()), ("old", "hit"));
}

/// A mistake in a `[[policy]]` table prevents the start of the agent. On Lambda, an unknown key
/// causes only a warning.
#[test]
fn policy_mistakes_name_their_table() {
    let folder = TempFolder::new();
    let load = |file: &str, host| {
        let path = folder.write("sidekey.toml", file);
        let vars = [("SIDEKEY_CONFIG", &*path.display().to_string()), ("AWS_TOKEN", "token")];
        let vars = vars.map(|(name, value)| (name.to_owned(), value.to_owned()));
        config::load(&BTreeMap::from(vars), host)
    };
    let unknown = "[[policy]]\nsecrets = [\"a\"]\nttl = 1\ntttl = 1\n";
    let reported =
        "SIDEKEY_CONFIG: policy[1].tttl: a [[policy]] table has no such key; did you mean ttl?";
    let line = folder.path().join("sidekey.toml").display().to_string() + ":4:1";
    let reported = format!("{reported} ({line})");
    assert_eq!(load(unknown, Host::Standalone).mistakes.to_string(), reported);
    let lambda = load(unknown, Host::Lambda);
    assert!(lambda.mistakes.is_empty(), "{}", lambda.mistakes);
    assert_eq!(lambda.warnings, [reported]);

    let wrong = "ttl = \"500ms\"\n[[policy]]\nsecrets = [\"a\"]\nrefresh = \"always\"\n";
    for host in [Host::Standalone, Host::Lambda] {
        let found = load(wrong, host).mistakes.to_string();
        assert!(
            found.starts_with("SIDEKEY_CONFIG: policy[1].refresh: the value 'always' needs"),
            "{found}"
        );
    }
}

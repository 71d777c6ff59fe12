//! Tests of secret rotation. Readers get the new value at once with `refreshNow`, and otherwise at
//! the latest after the TTL, if AWS answers.

use crate::clients::pause;
use crate::support::agent::{Setup, Sidekey, TOKEN_HEADER, read_path, read_request};
use crate::support::client::{Answer, Connection, get};
use crate::support::clock::ManualClock;
use crate::support::{eventually, fake};
use fake_aws::Fake;
use fake_aws::Operation::GetSecretValue;
use serde_json::Value;
use sidekey::clock::Clock;
use std::time::{Duration, SystemTime};

const SECOND: Duration = Duration::from_secs(1);

/// Starts an agent with a TTL of five minutes, which has cached the value `old` of the secret
/// `app/db`.
async fn start_with_cached_secret() -> (Fake, Sidekey) {
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    fake.secrets().create("app/db", "old").expect("the fake AWS server must create the secret");
    let setup = Setup::for_fake(&fake, &clock).with("SIDEKEY_TTL", "5m");
    let sidekey = setup.with("SIDEKEY_SECRETS", "app/db").start().await;
    (fake, sidekey)
}

/// A read with `refreshNow` fetches the new value. Other readers then get the new value, too.
#[tokio::test]
async fn refresh_now_returns_the_new_value() {
    let (fake, sidekey) = start_with_cached_secret().await;
    fake.secrets().put("app/db", "new").expect("the secret exists");
    assert_eq!(sidekey.read("app/db").await.value(), "old");
    for (number, yes) in ["true", "TRUE", "1"].into_iter().enumerate() {
        sidekey.advance(SECOND);
        let refreshed = sidekey.read(&format!("app/db&refreshNow={yes}")).await;
        assert_eq!((refreshed.value().as_str(), refreshed.cache()), ("new", "refreshed"));
        assert_eq!(fake.calls().count(GetSecretValue), 2 + number as u64);
        for no in ["false", "False", "0"] {
            let answer = sidekey.read(&format!("app/db&refreshNow={no}")).await;
            assert_eq!((answer.value().as_str(), answer.cache()), ("new", "hit"));
        }
    }
}

/// The response to a read with `refreshNow` is never older than the request. Reads within a second
/// after a call to AWS wait for the next call, and share it.
#[tokio::test]
async fn refresh_now_is_never_older_than_the_request() {
    let (fake, sidekey) = start_with_cached_secret().await;
    for (number, value) in ["new", "newer", "newest"].into_iter().enumerate() {
        sidekey.advance(SECOND / 2);
        fake.secrets().put("app/db", value).expect("the secret exists");
        let mut waiting = Vec::new();
        for _ in 0..3 {
            let mut connection = sidekey.connect().await;
            connection.send(read_request("app/db&refreshNow=true")).await;
            waiting.push(connection);
        }
        eventually("all readers wait for the next call to AWS", async || {
            let joined = sidekey.metrics().await.get("sidekey_flights_joined_total");
            (joined == 2.0 * (number + 1) as f64).then_some(())
        })
        .await;
        let calls = fake.calls().count(GetSecretValue);
        assert_eq!(
            calls,
            1 + number as u64,
            "the next call must be made a second after the last call"
        );
        sidekey.advance(SECOND / 2);
        for connection in &mut waiting {
            let refreshed = connection.receive().await;
            assert_eq!((refreshed.value().as_str(), refreshed.cache()), (value, "refreshed"));
        }
        assert_eq!(fake.calls().count(GetSecretValue), calls + 1);
    }
}

/// AWS fails during a read with `refreshNow`. The read gets an error, and the cached value stays
/// unchanged.
#[tokio::test]
async fn failed_refresh_now_changes_nothing() {
    let (fake, sidekey) = start_with_cached_secret().await;
    sidekey.advance(SECOND);
    fake.pause().await.expect("the listener must stop without an error");
    let failed = sidekey.read("app/db&refreshNow=true").await;
    assert_eq!((failed.status, failed.kind().as_str()), (502, "ConnectionError"));
    let cached = sidekey.read("app/db").await;
    assert_eq!((cached.value().as_str(), cached.cache()), ("old", "hit"));
    let missing = sidekey.read("missing&refreshNow=true").await;
    assert_eq!(missing.status, 502);
}

/// After the TTL, reads wait for the new value. With `SIDEKEY_STALE_WHILE_REVALIDATE`, reads return
/// the old value at once, marked as stale.
#[tokio::test]
async fn old_value_is_not_served_past_the_ttl() {
    let (fake, sidekey) = start_with_cached_secret().await;
    fake.secrets().put("app/db", "new").expect("the secret exists");
    assert_eq!(sidekey.read("app/db").await.value(), "old");
    sidekey.advance(Duration::from_secs(300));
    assert_eq!(sidekey.read("app/db").await.value(), "new");
    assert_eq!(fake.calls().count(GetSecretValue), 2);

    let clock = sidekey.clock.clone();
    let setup = Setup::for_fake(&fake, &clock).with("SIDEKEY_TTL", "5m");
    let setup = setup.with("SIDEKEY_STALE_WHILE_REVALIDATE", "1m");
    let sidekey = setup.with("SIDEKEY_SECRETS", "app/db").start().await;
    fake.secrets().put("app/db", "newer").expect("the secret exists");
    sidekey.advance(Duration::from_secs(359));
    let stale = sidekey.read("app/db").await;
    assert_eq!((stale.value().as_str(), stale.cache()), ("new", "stale"));
    let metrics = sidekey.metrics().await;
    assert_eq!(metrics.get("sidekey_stale_reads_total{reason=\"revalidating\"}"), 1.0);
    eventually("the secret was refreshed in the background", async || {
        (sidekey.read("app/db").await.value() == "newer").then_some(())
    })
    .await;
}

/// After a rotation, `/status` and a metric show when a reader last got the old version.
#[tokio::test]
async fn last_read_of_the_replaced_version_is_shown() {
    const METRIC: &str = "sidekey_replaced_version_last_read_timestamp_seconds";
    let (fake, sidekey) = start_with_cached_secret().await;
    let old = fake.secrets().version_id("app/db", "AWSCURRENT").expect("the secret exists");
    let status = async || {
        let answer = sidekey.connect().await.exchange(get("/status", &[TOKEN_HEADER])).await;
        answer.json()["entries"][0].clone()
    };
    sidekey.advance(7 * SECOND);
    let read_at = unix_seconds(sidekey.clock.now().wall);
    assert_eq!(sidekey.read("app/db").await.value(), "old");
    assert_eq!(status().await["previous_version"], Value::Null);
    assert_eq!(sidekey.metrics().await.get(METRIC), 0.0);

    sidekey.advance(20 * SECOND);
    fake.secrets().put("app/db", "new").expect("the secret exists");
    assert_eq!(sidekey.read("app/db&refreshNow=true").await.value(), "new");
    sidekey.advance(20 * SECOND);
    assert_eq!(sidekey.read("app/db").await.value(), "new");
    let shown = sidekey.metrics().await.get(METRIC);
    assert!((shown - read_at).abs() < 0.01, "{shown} is not the time {read_at} of the read");
    let entry = status().await;
    let previous = &entry["previous_version"];
    assert_eq!(previous["version_id"], old[..8], "{entry}");
    let (replaced, last_read) = (&previous["replaced"], &previous["last_read"]);
    assert!(replaced.is_string() && last_read.is_string(), "{entry}");
    assert!(last_read.as_str() < replaced.as_str(), "{entry}");
}

/// Returns the time in seconds since 1970.
fn unix_seconds(time: SystemTime) -> f64 {
    time.duration_since(SystemTime::UNIX_EPOCH).expect("the time is after 1970").as_secs_f64()
}

/// The agent refreshes a secret before its TTL ends, if the secret has been read.
#[tokio::test]
async fn secrets_in_use_are_refreshed_ahead_of_expiry() {
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    for name in ["read", "unread"] {
        fake.secrets().create(name, "old").expect("the fake AWS server must create the secret");
    }
    let setup = Setup::for_fake(&fake, &clock).with("SIDEKEY_TTL", "5m");
    let sidekey = setup.with("SIDEKEY_SECRETS", "read,unread").start().await;
    assert_eq!(sidekey.read("read").await.cache(), "hit");
    fake.secrets().put("read", "new").expect("the secret exists");
    // The refresh begins at the latest after nine tenths of the TTL.
    sidekey.advance(Duration::from_secs(271));
    eventually("the secret is refreshed", async || {
        let refreshed = sidekey.metrics().await.get("sidekey_refreshes_total{outcome=\"ok\"}");
        (refreshed == 1.0).then_some(())
    })
    .await;
    let mut connection = sidekey.connect().await;
    let answer = connection.exchange(read_request("read")).await;
    assert_eq!((answer.value().as_str(), answer.cache()), ("new", "hit"));
    assert_eq!(fake.calls().count_for(GetSecretValue, "read"), 2);
    assert_eq!(fake.calls().count_for(GetSecretValue, "unread"), 1);
}

/// The label AWSCURRENT moves back to the previous version (a rollback). After the TTL, reads
/// return the previous version.
#[tokio::test]
async fn rollback_shows_after_the_ttl() {
    let (fake, sidekey) = start_with_cached_secret().await;
    let old = fake.secrets().version_id("app/db", "AWSCURRENT").expect("the secret exists");
    sidekey.advance(SECOND);
    fake.secrets().put("app/db", "new").expect("the secret exists");
    assert_eq!(sidekey.read("app/db&refreshNow=true").await.value(), "new");
    fake.secrets().move_label("app/db", "AWSCURRENT", &old).expect("the secret exists");
    eventually("the agent serves the previous version", async || {
        sidekey.advance(Duration::from_secs(300));
        (sidekey.read("app/db").await.value() == "old").then_some(())
    })
    .await;
}

/// Advances the clock second by second until the connection `waiting` receives a response.
async fn answered_as_time_passes(sidekey: &Sidekey, waiting: &mut Connection) -> Answer {
    let time_passes = async {
        loop {
            sidekey.advance(SECOND);
            pause().await;
        }
    };
    tokio::select! {
        answer = waiting.receive() => answer,
        never = time_passes => never,
    }
}

/// A long poll (a read that waits for a new version) returns the next version, or status 304 after
/// its timeout.
#[tokio::test]
async fn long_poll_returns_the_next_version() {
    let (fake, sidekey) = start_with_cached_secret().await;
    let etag = sidekey
        .read("app/db")
        .await
        .header("etag")
        .expect("the secret value must have a version")
        .to_owned();
    let headers = [TOKEN_HEADER, ("If-None-Match", &*etag)];

    let mut waiting = sidekey.connect().await;
    waiting.send(get(&read_path("app/db&wait=20"), &headers)).await;
    sidekey.advance(SECOND);
    fake.secrets().put("app/db", "new").expect("the secret exists");
    assert_eq!(sidekey.read("app/db&refreshNow=true").await.value(), "new");
    let answer = waiting.receive().await;
    assert_eq!((answer.status, answer.value().as_str()), (200, "new"));

    let etag = answer.header("etag").expect("the secret value must have a version").to_owned();
    let headers = [TOKEN_HEADER, ("If-None-Match", &*etag)];
    waiting.send(get(&read_path("app/db&wait=20"), &headers)).await;
    let answer = answered_as_time_passes(&sidekey, &mut waiting).await;
    assert_eq!((answer.status, answer.body.len()), (304, 0));

    let other = [TOKEN_HEADER, ("If-None-Match", "\"another\"")];
    waiting.send(get(&read_path("app/db&wait=20"), &other)).await;
    assert_eq!(
        waiting.receive().await.value(),
        "new",
        "a long poll with an old version must not wait"
    );
}

/// If caching is disabled, a long poll (a read that waits for a new version) calls AWS only once
/// per second.
#[tokio::test]
async fn long_poll_without_a_cache_calls_once_a_second() {
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    fake.secrets().create("app/db", "old").expect("the fake AWS server must create the secret");
    let sidekey = Setup::for_fake(&fake, &clock).with("SIDEKEY_TTL", "0").start().await;
    let etag = sidekey
        .read("app/db")
        .await
        .header("etag")
        .expect("the secret value must have a version")
        .to_owned();
    let mut waiting = sidekey.connect().await;
    let headers = [TOKEN_HEADER, ("If-None-Match", &*etag)];
    waiting.send(get(&read_path("app/db&wait=20"), &headers)).await;
    let calls = || fake.calls().count(GetSecretValue);
    // The calls are: the first read, the long poll's own read, and the first check for a change.
    eventually("the first three calls were made", async || (calls() >= 3).then_some(())).await;
    for _ in 0..100 {
        pause().await;
    }
    assert_eq!(calls(), 3, "the agent must make no further call while the clock stands still");
    fake.secrets().put("app/db", "new").expect("the secret exists");
    let answer = answered_as_time_passes(&sidekey, &mut waiting).await;
    assert_eq!((answer.status, answer.value().as_str()), (200, "new"));
}

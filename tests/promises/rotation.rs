//! A new value shows in time: at once for whoever asks for it, ahead of the time to live for those
//! who read on, and never later than that while upstream answers.

use crate::clients::pause;
use crate::support::agent::{Setup, Sidekey, TOKEN_HEADER, read_path, read_request};
use crate::support::client::{Answer, Connection, get};
use crate::support::clock::ManualClock;
use crate::support::{eventually, fake};
use fake_aws::Fake;
use fake_aws::Operation::GetSecretValue;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// An agent that holds `app/db`, of value `old`, for five minutes.
async fn holding() -> (Fake, Sidekey) {
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    fake.secrets().create("app/db", "old").expect("a new name");
    let setup = Setup::of(&fake, &clock).with("SIDEKEY_TTL", "5m");
    let sidekey = setup.with("SIDEKEY_SECRETS", "app/db").start().await;
    (fake, sidekey)
}

/// `refreshNow` goes upstream and is answered with the new value, at most once a second for one
/// secret: who comes sooner gets the newest value and is told so. The others see it at once too.
#[tokio::test]
async fn refresh_now_returns_the_new_value() {
    let (fake, sidekey) = holding().await;
    sidekey.pass(SECOND);
    fake.secrets().put("app/db", "new").expect("it is there");
    assert_eq!(sidekey.read("app/db").await.value(), "old");
    for (number, yes) in ["true", "TRUE", "1"].into_iter().enumerate() {
        let refreshed = sidekey.read(&format!("app/db&refreshNow={yes}")).await;
        assert_eq!((refreshed.value().as_str(), refreshed.cache()), ("new", "refreshed"));
        assert_eq!(refreshed.header("x-sidekey-refresh"), None);
        let calls = 2 + number as u64;
        assert_eq!(fake.calls().count(GetSecretValue), calls);
        for no in ["false", "False", "0"] {
            let answer = sidekey.read(&format!("app/db&refreshNow={no}")).await;
            assert_eq!((answer.value().as_str(), answer.cache()), ("new", "hit"));
        }

        sidekey.pass(SECOND - Duration::from_millis(1));
        let limited = sidekey.read("app/db&refreshNow=true").await;
        assert_eq!((limited.value().as_str(), limited.cache()), ("new", "hit"));
        assert_eq!(limited.header("x-sidekey-refresh"), Some("limited"));
        assert_eq!(fake.calls().count(GetSecretValue), calls);
        sidekey.pass(Duration::from_millis(1));
    }
}

/// In an outage `refreshNow` is answered with the error, and what is held stays as it was.
#[tokio::test]
async fn failed_refresh_now_changes_nothing() {
    let (fake, sidekey) = holding().await;
    sidekey.pass(SECOND);
    fake.pause().await.expect("a listener that stops");
    let failed = sidekey.read("app/db&refreshNow=true").await;
    assert_eq!((failed.status, failed.kind().as_str()), (502, "ConnectionError"));
    let held = sidekey.read("app/db").await;
    assert_eq!((held.value().as_str(), held.cache()), ("old", "hit"));
    let missing = sidekey.read("missing&refreshNow=true").await;
    assert_eq!(missing.status, 502);
}

/// Once the time to live is over nobody gets the old value: the reader waits for the new one. With
/// `SIDEKEY_STALE_WHILE_REVALIDATE` it does not wait and is told that the value is stale.
#[tokio::test]
async fn old_value_is_not_served_past_the_ttl() {
    let (fake, sidekey) = holding().await;
    fake.secrets().put("app/db", "new").expect("it is there");
    assert_eq!(sidekey.read("app/db").await.value(), "old");
    sidekey.pass(Duration::from_secs(300));
    assert_eq!(sidekey.read("app/db").await.value(), "new");
    assert_eq!(fake.calls().count(GetSecretValue), 2);

    let clock = sidekey.clock.clone();
    let setup = Setup::of(&fake, &clock).with("SIDEKEY_TTL", "5m");
    let setup = setup.with("SIDEKEY_STALE_WHILE_REVALIDATE", "1m");
    let sidekey = setup.with("SIDEKEY_SECRETS", "app/db").start().await;
    fake.secrets().put("app/db", "newer").expect("it is there");
    sidekey.pass(Duration::from_secs(359));
    let stale = sidekey.read("app/db").await;
    assert_eq!((stale.value().as_str(), stale.cache()), ("new", "stale"));
    let metrics = sidekey.metrics().await;
    assert_eq!(metrics.get("sidekey_stale_reads_total{reason=\"revalidating\"}"), 1.0);
    eventually("it was refreshed behind", async || {
        (sidekey.read("app/db").await.value() == "newer").then_some(())
    })
    .await;
}

/// A secret that is read is refreshed ahead of its time by itself, without a reader who waits; one
/// that nobody reads costs no call.
#[tokio::test]
async fn secrets_in_use_are_refreshed_ahead_of_expiry() {
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    for name in ["read", "unread"] {
        fake.secrets().create(name, "old").expect("a new name");
    }
    let setup = Setup::of(&fake, &clock).with("SIDEKEY_TTL", "5m");
    let sidekey = setup.with("SIDEKEY_SECRETS", "read,unread").start().await;
    assert_eq!(sidekey.read("read").await.cache(), "hit");
    fake.secrets().put("read", "new").expect("it is there");
    // Nine tenths of the time to live is the latest for it.
    sidekey.pass(Duration::from_secs(271));
    eventually("the refresh", async || {
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

/// A label that is moved back to the version before, a rollback, shows once the time to live is
/// over.
#[tokio::test]
async fn rollback_shows_after_the_ttl() {
    let (fake, sidekey) = holding().await;
    let old = fake.secrets().version_id("app/db", "AWSCURRENT").expect("it is there");
    sidekey.pass(SECOND);
    fake.secrets().put("app/db", "new").expect("it is there");
    assert_eq!(sidekey.read("app/db&refreshNow=true").await.value(), "new");
    fake.secrets().move_label("app/db", "AWSCURRENT", &old).expect("it is there");
    eventually("the rollback", async || {
        sidekey.pass(Duration::from_secs(300));
        (sidekey.read("app/db").await.value() == "old").then_some(())
    })
    .await;
}

/// Lets time pass, second by second, until an answer is there.
async fn answered_as_time_passes(sidekey: &Sidekey, waiting: &mut Connection) -> Answer {
    let time_passes = async {
        loop {
            sidekey.pass(SECOND);
            pause().await;
        }
    };
    tokio::select! {
        answer = waiting.receive() => answer,
        never = time_passes => never,
    }
}

/// Who holds a version and waits for the next one is answered when it is there, also where nobody
/// else reads; where none comes, with 304 when the wait is over. The next version is looked for ahead
/// of the time to live, as for every reader.
#[tokio::test]
async fn long_poll_returns_the_next_version() {
    let (fake, sidekey) = holding().await;
    let etag = sidekey.read("app/db").await.header("etag").expect("a version").to_owned();
    let held = [TOKEN_HEADER, ("If-None-Match", &*etag)];

    let mut waiting = sidekey.connect().await;
    waiting.send(get(&read_path("app/db&wait=20"), &held)).await;
    sidekey.pass(SECOND);
    fake.secrets().put("app/db", "new").expect("it is there");
    assert_eq!(sidekey.read("app/db&refreshNow=true").await.value(), "new");
    let answer = waiting.receive().await;
    assert_eq!((answer.status, answer.value().as_str()), (200, "new"));

    let etag = answer.header("etag").expect("a version").to_owned();
    let held = [TOKEN_HEADER, ("If-None-Match", &*etag)];
    waiting.send(get(&read_path("app/db&wait=20"), &held)).await;
    let answer = answered_as_time_passes(&sidekey, &mut waiting).await;
    assert_eq!((answer.status, answer.body.len()), (304, 0));

    let other = [TOKEN_HEADER, ("If-None-Match", "\"another\"")];
    waiting.send(get(&read_path("app/db&wait=20"), &other)).await;
    assert_eq!(waiting.receive().await.value(), "new", "whoever is behind does not wait");
}

/// Where nothing is cached, whoever waits for the next version has it looked for once a second, and not
/// as fast as calls are answered.
#[tokio::test]
async fn long_poll_without_a_cache_calls_once_a_second() {
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    fake.secrets().create("app/db", "old").expect("a new name");
    let sidekey = Setup::of(&fake, &clock).with("SIDEKEY_TTL", "0").start().await;
    let etag = sidekey.read("app/db").await.header("etag").expect("a version").to_owned();
    let mut waiting = sidekey.connect().await;
    let held = [TOKEN_HEADER, ("If-None-Match", &*etag)];
    waiting.send(get(&read_path("app/db&wait=20"), &held)).await;
    let calls = || fake.calls().count(GetSecretValue);
    // The first read, that of whoever waits, and the first look for a change.
    eventually("the first calls", async || (calls() >= 3).then_some(())).await;
    for _ in 0..100 {
        pause().await;
    }
    assert_eq!(calls(), 3, "no time has passed");
    fake.secrets().put("app/db", "new").expect("it is there");
    let answer = answered_as_time_passes(&sidekey, &mut waiting).await;
    assert_eq!((answer.status, answer.value().as_str()), (200, "new"));
}

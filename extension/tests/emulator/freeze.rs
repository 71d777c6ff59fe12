//! Lambda freezes the extension in whatever it is doing: here it is stopped and continued by
//! signals. No reader sees an error of it or a value beyond its time to live, and upstream no burst.

use crate::clients::until;
use crate::emulator::{Emulator, Mode, SESSION_TOKEN};
use crate::lambda::{LISTED, Lambda, fake, started};
use fake_aws::Operation::GetSecretValue;
use fake_aws::{Fake, Fault, Match};
use serde_json::Value;
use sidekey::clock::{Clock, SystemClock};
use std::time::Duration;

/// The time for one attempt, with room for a machine that is slow to stop the extension.
const UPSTREAM_TIMEOUT: Duration = Duration::from_millis(750);

/// A call may take two of these, credentials included; a second past that it was cut.
const CUTS: Duration = Duration::from_millis(2 * 750 + 1_000);

/// An entry is refreshed ahead of its TTL by three tenths of it at the most.
const LEAST_SHARE_OF_TTL: f64 = 0.7;

/// A secret that no configuration lists.
const UNLISTED: &str = "openai-api-key/late";

/// A limit that only a test which hangs exceeds.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until so much time has passed for the machine, whatever stands still on it.
async fn stand_still(span: Duration) {
    let clock = SystemClock::new();
    until("time passes", PATIENCE, || (clock.now().steady > span).then_some(())).await;
}

/// Waits until one secret was asked for so often.
async fn called(fake: &Fake, name: &str, calls: u64) {
    until("a call", PATIENCE, || {
        (fake.calls().count_for(GetSecretValue, name) >= calls).then_some(())
    })
    .await;
}

/// Checks that a read of the function's got this version.
#[track_caller]
fn got(read: &Value, version: &str) {
    assert_eq!((&read["status"], &read["versionId"]), (&200.into(), &version.into()), "{read}");
}

/// Checks that one call was cut, and that none failed.
#[track_caller]
fn one_call_was_cut(metrics: &str) {
    let calls = metrics.lines().filter(|line| line.starts_with("sidekey_upstream_requests_total"));
    for line in calls.filter(|line| !line.contains("outcome=\"ok\"")) {
        let is_cut = line.contains("operation=\"GetSecretValue\",outcome=\"cut\"");
        assert!(line.ends_with(if is_cut { " 1" } else { " 0" }), "{line}");
    }
    assert!(metrics.contains("outcome=\"cut\"} 1"), "{metrics}");
}

/// The most calls for one secret within a time, if none is made for any other reason than age.
fn calls_within(span: Duration, ttl: Duration) -> u64 {
    let least = ttl.mul_f64(LEAST_SHARE_OF_TTL);
    u64::try_from(span.as_nanos() / least.as_nanos()).expect("a test is no age of the world") + 1
}

async fn read_of(emulator: &Emulator, name: &str) -> (u16, Value) {
    let headers = [("X-Aws-Parameters-Secrets-Token", SESSION_TOKEN)];
    let path = format!("/secretsmanager/get?secretId={name}");
    let answer = emulator.ask_sidekey(&path, &headers).await;
    (answer.status, answer.json())
}

/// Frozen while a first call hangs: it is made once more after the thaw, for the reader who has
/// waited all along and for the function, and nobody sees a failure.
#[tokio::test]
async fn call_interrupted_by_a_freeze_is_retried_once() {
    let fake = fake().await;
    fake.secrets().create(UNLISTED, "old").expect("the secret name is unused");
    fake.faults().script(Match::secret(UNLISTED), [Fault::Stall]);
    let lambda = started!(Mode::OnDemand, fake, |environment| {
        environment.env("SIDEKEY_UPSTREAM_TIMEOUT", format!("{}ms", UPSTREAM_TIMEOUT.as_millis()))
    });
    lambda.invoke(&[]).await;

    let frozen = async {
        called(&lambda.fake, UNLISTED, 1).await;
        lambda.emulator.stop_extension().await;
        let version = lambda.fake.secrets().put(UNLISTED, "new").expect("the secret exists");
        stand_still(CUTS).await;
        lambda.emulator.continue_extension().await;
        (lambda.invoke(&[UNLISTED]).await, version)
    };
    let ((status, read), (answer, version)) =
        tokio::join!(read_of(&lambda.emulator, UNLISTED), frozen);
    assert_eq!((status, &read["VersionId"]), (200, &Value::from(&*version)), "{read}");
    got(&answer["reads"][0], &version);
    assert_eq!(lambda.calls_for(UNLISTED), 2);
    one_call_was_cut(answer["metrics"].as_str().expect("the bytes are UTF-8"));
    lambda.shut_down().await;
}

/// Frozen during a refresh, whose answer arrives meanwhile and is old by the thaw, as is what is
/// held: the function's first read gets the new value.
#[tokio::test]
async fn answer_received_before_the_thaw_is_not_trusted() {
    let ttl = Duration::from_secs(2);
    let fake = fake().await;
    // Later than the extension is stopped, sooner than it goes on.
    let late = Fault::Delay(2 * UPSTREAM_TIMEOUT);
    fake.faults().script(Match::secret(LISTED[0]), [Fault::Pass, late]);
    let lambda = started!(Mode::OnDemand, fake, |environment| {
        environment
            .env("SIDEKEY_UPSTREAM_TIMEOUT", format!("{}ms", UPSTREAM_TIMEOUT.as_millis()))
            .env("SIDEKEY_TTL", format!("{}s", ttl.as_secs()))
    });
    // Its static initialisation reads the secret, which is why a refresh comes.
    lambda.invoke(&[]).await;
    called(&lambda.fake, LISTED[0], 2).await;
    lambda.emulator.stop_extension().await;
    let version = lambda.fake.secrets().put(LISTED[0], "new").expect("the secret exists");
    stand_still(CUTS).await;
    let thaw = SystemClock::new();
    lambda.emulator.continue_extension().await;

    let answer = lambda.invoke(&LISTED[..1]).await;
    got(&answer["reads"][0], &version);
    one_call_was_cut(answer["metrics"].as_str().expect("the bytes are UTF-8"));
    let calls = lambda.calls_for(LISTED[0]);
    let calls_max = 2 + calls_within(thaw.now().steady, ttl);
    assert!((3..=calls_max).contains(&calls), "{calls} calls");
    lambda.shut_down().await;
}

/// Frozen past the time to live with nothing under way: nobody gets what was held, and only what
/// somebody had read is fetched, once.
#[tokio::test]
async fn value_that_expired_during_a_freeze_is_not_served() {
    let ttl = Duration::from_secs(2);
    let lambda = started!(Mode::OnDemand, fake().await, |environment| {
        environment.env("SIDEKEY_TTL", format!("{}s", ttl.as_secs()))
    });
    let (read, unread) = (&LISTED[..2], LISTED[2]);
    lambda.invoke(read).await;
    lambda.emulator.stop_extension().await;
    let put = |name: &&str| lambda.fake.secrets().put(name, "new").expect("the secret exists");
    let versions: Vec<String> = read.iter().map(put).collect();
    stand_still(ttl).await;
    let before: Vec<u64> = read.iter().map(|name| lambda.calls_for(name)).collect();
    let thaw = SystemClock::new();
    lambda.emulator.continue_extension().await;

    let answer = lambda.invoke(read).await;
    for (number, name) in read.iter().enumerate() {
        let read = &answer["reads"][number];
        got(read, &versions[number]);
        let cache = read["cache"].as_str().expect("the bytes are UTF-8");
        assert!(["hit", "miss"].contains(&cache), "{read}");
        let calls = lambda.calls_for(name) - before[number];
        assert!((1..=calls_within(thaw.now().steady, ttl)).contains(&calls), "{calls} calls");
    }
    assert_eq!(lambda.calls_for(unread), 1, "nobody reads it");
    lambda.shut_down().await;
}

/// Frozen again and again around the time to live, also while the function asks: every read is
/// answered, none with a version that was replaced longer ago than the time to live, and upstream
/// is called as often as without a freeze at the most.
#[tokio::test]
async fn freezes_around_the_ttl_break_no_read() {
    const NAME: &str = LISTED[0];
    let ttl = Duration::from_secs(1);
    let clock = SystemClock::new();
    let lambda = started!(Mode::OnDemand, fake().await, |environment| {
        environment.env("SIDEKEY_TTL", format!("{}s", ttl.as_secs()))
    });
    let current = |lambda: &Lambda| {
        lambda.fake.secrets().version_id(NAME, "AWSCURRENT").expect("the secret exists")
    };
    lambda.invoke(&LISTED).await;
    let mut replaced: Vec<(String, Duration)> = Vec::new();
    for millis in [100, 600, 200, 1100, 300, 400] {
        lambda.emulator.stop_extension().await;
        let old = current(&lambda);
        lambda.fake.secrets().put(NAME, format!("after {millis} ms")).expect("the secret exists");
        replaced.push((old, clock.now().steady));
        let thaw = async {
            stand_still(Duration::from_millis(millis)).await;
            let thawed = clock.now().steady;
            lambda.emulator.continue_extension().await;
            thawed
        };
        let (answer, thawed) = tokio::join!(lambda.invoke(&LISTED), thaw);
        for read in answer["reads"].as_array().expect("the value is a JSON array") {
            assert_eq!(read["status"], 200, "{read}");
        }
        let version = answer["reads"][0]["versionId"].as_str().expect("the bytes are UTF-8");
        let since = replaced.iter().find(|(old, _)| *old == version).map(|(_, at)| *at);
        let is_in_time = since.is_none_or(|since| since + ttl >= thawed);
        assert!(is_in_time, "replaced at {since:?}, served after {thawed:?}");
    }
    let calls_max = calls_within(clock.now().steady, ttl);
    for name in LISTED {
        assert!(lambda.calls_for(name) <= calls_max, "{} calls", lambda.calls_for(name));
    }
    lambda.shut_down().await;
}

/// An extension that stands still when Lambda ends the environment is killed, and nothing hangs.
#[tokio::test]
async fn environment_ends_although_the_extension_is_stopped() {
    let mut lambda = started!(Mode::OnDemand, fake().await, |environment| environment);
    lambda.invoke(&LISTED).await;
    lambda.emulator.stop_extension().await;
    let shutdown = lambda.emulator.shutdown().await;
    assert_ne!(shutdown.exit_code, Some(0), "{}", lambda.emulator.log());
    lambda.fake.stop().await;
}

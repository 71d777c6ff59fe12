//! Tests that Sidekey works after Lambda has frozen the execution environment. To imitate a freeze,
//! the tests stop the extension with the signal SIGSTOP, and continue it with SIGCONT.
//!
//! A freeze must not make a read fail or return a value older than its time to live (TTL), and must
//! not cause a burst of calls to AWS.

use crate::clients::until;
use crate::emulator::{Emulator, Mode, SESSION_TOKEN};
use crate::lambda::{LISTED, Lambda, fake, start_or_skip};
use fake_aws::Operation::GetSecretValue;
use fake_aws::{Fake, Fault, Match};
use serde_json::Value;
use sidekey::clock::{Clock, SystemClock};
use std::time::Duration;

/// The timeout of one call to AWS in these tests. The timeout is long, because a slow machine needs
/// time to stop the extension during a call.
const UPSTREAM_TIMEOUT: Duration = Duration::from_millis(750);

/// The duration of a freeze that surely interrupts a call to AWS: the sum of the call's timeout,
/// the timeout for getting AWS credentials, and one second.
const CUTTING_FREEZE: Duration = Duration::from_millis(2 * 750 + 1_000);

/// The smallest fraction of a secret's time to live (TTL) after which the agent refreshes the
/// cached secret. The agent chooses the exact time at random.
const LEAST_SHARE_OF_TTL: f64 = 0.7;

/// The name of a secret that the agent does not prefetch, because `SIDEKEY_SECRETS` does not
/// contain the name.
const UNLISTED: &str = "openai-api-key/late";

/// How long a test waits for one step before the test fails.
const STEP_TIMEOUT: Duration = Duration::from_secs(20);

async fn wait_in_real_time(span: Duration) {
    let clock = SystemClock::new();
    until("the time must pass", STEP_TIMEOUT, || (clock.now().steady > span).then_some(())).await;
}

async fn wait_for_calls(fake: &Fake, name: &str, calls: u64) {
    until("the fake of AWS must receive the calls", STEP_TIMEOUT, || {
        (fake.calls().count_for(GetSecretValue, name) >= calls).then_some(())
    })
    .await;
}

#[track_caller]
fn check_version(read: &Value, version: &str) {
    assert_eq!((&read["status"], &read["versionId"]), (&200.into(), &version.into()), "{read}");
}

/// Checks in the agent's metrics that exactly one call to AWS was interrupted, and that no call
/// failed.
#[track_caller]
fn one_call_was_cut(metrics: &str) {
    let calls = metrics.lines().filter(|line| line.starts_with("sidekey_upstream_requests_total"));
    for line in calls.filter(|line| !line.contains("outcome=\"ok\"")) {
        let is_cut = line.contains("operation=\"GetSecretValue\",outcome=\"cut\"");
        assert!(line.ends_with(if is_cut { " 1" } else { " 0" }), "{line}");
    }
    assert!(metrics.contains("outcome=\"cut\"} 1"), "{metrics}");
}

/// Returns how many calls to AWS are possible during `span` if the agent calls AWS only to refresh
/// one cached secret.
fn calls_within(span: Duration, ttl: Duration) -> u64 {
    let least = ttl.mul_f64(LEAST_SHARE_OF_TTL);
    u64::try_from(span.as_nanos() / least.as_nanos())
        .expect("the number of calls must fit into 64 bits")
        + 1
}

async fn read_directly(emulator: &Emulator, name: &str) -> (u16, Value) {
    let headers = [("X-Aws-Parameters-Secrets-Token", SESSION_TOKEN)];
    let path = format!("/secretsmanager/get?secretId={name}");
    let answer = emulator.ask_sidekey(&path, &headers).await;
    (answer.status, answer.json())
}

#[tokio::test]
async fn call_interrupted_by_a_freeze_is_retried_once() {
    let fake = fake().await;
    fake.secrets()
        .create(UNLISTED, "old")
        .expect("the fake of AWS must not contain this secret yet");
    fake.faults().script(Match::secret(UNLISTED), [Fault::Stall]);
    let lambda = start_or_skip!(Mode::OnDemand, fake, |environment| {
        environment.env("SIDEKEY_UPSTREAM_TIMEOUT", format!("{}ms", UPSTREAM_TIMEOUT.as_millis()))
    });
    lambda.invoke(&[]).await;

    let frozen = async {
        wait_for_calls(&lambda.fake, UNLISTED, 1).await;
        lambda.emulator.stop_extension().await;
        let version = lambda.fake.secrets().put(UNLISTED, "new").expect("the secret must exist");
        wait_in_real_time(CUTTING_FREEZE).await;
        lambda.emulator.continue_extension().await;
        (lambda.invoke(&[UNLISTED]).await, version)
    };
    let ((status, read), (answer, version)) =
        tokio::join!(read_directly(&lambda.emulator, UNLISTED), frozen);
    assert_eq!((status, &read["VersionId"]), (200, &Value::from(&*version)), "{read}");
    check_version(&answer["reads"][0], &version);
    assert_eq!(lambda.calls_for(UNLISTED), 2);
    one_call_was_cut(answer["metrics"].as_str().expect("`metrics` must be a string"));
    lambda.shut_down().await;
}

/// AWS answers a refresh while the environment is frozen. After the freeze, this answer is too old,
/// so the agent must call AWS again.
#[tokio::test]
async fn answer_received_before_the_thaw_is_not_trusted() {
    let ttl = Duration::from_secs(2);
    let fake = fake().await;
    // The answer arrives after the extension was stopped and before it continues.
    let late = Fault::Delay(2 * UPSTREAM_TIMEOUT);
    fake.faults().script(Match::secret(LISTED[0]), [Fault::Pass, late]);
    let lambda = start_or_skip!(Mode::OnDemand, fake, |environment| {
        environment
            .env("SIDEKEY_UPSTREAM_TIMEOUT", format!("{}ms", UPSTREAM_TIMEOUT.as_millis()))
            .env("SIDEKEY_TTL", format!("{}s", ttl.as_secs()))
    });
    // The function's static initialisation reads the secret, so the agent refreshes it.
    lambda.invoke(&[]).await;
    wait_for_calls(&lambda.fake, LISTED[0], 2).await;
    lambda.emulator.stop_extension().await;
    let version = lambda.fake.secrets().put(LISTED[0], "new").expect("the secret must exist");
    wait_in_real_time(CUTTING_FREEZE).await;
    let thaw = SystemClock::new();
    lambda.emulator.continue_extension().await;

    let answer = lambda.invoke(&LISTED[..1]).await;
    check_version(&answer["reads"][0], &version);
    one_call_was_cut(answer["metrics"].as_str().expect("`metrics` must be a string"));
    let calls = lambda.calls_for(LISTED[0]);
    let calls_max = 2 + calls_within(thaw.now().steady, ttl);
    assert!((3..=calls_max).contains(&calls), "{calls} calls");
    lambda.shut_down().await;
}

#[tokio::test]
async fn value_that_expired_during_a_freeze_is_not_served() {
    let ttl = Duration::from_secs(2);
    let lambda = start_or_skip!(Mode::OnDemand, fake().await, |environment| {
        environment.env("SIDEKEY_TTL", format!("{}s", ttl.as_secs()))
    });
    let (read, unread) = (&LISTED[..2], LISTED[2]);
    lambda.invoke(read).await;
    lambda.emulator.stop_extension().await;
    let put = |name: &&str| lambda.fake.secrets().put(name, "new").expect("the secret must exist");
    let versions: Vec<String> = read.iter().map(put).collect();
    wait_in_real_time(ttl).await;
    let before: Vec<u64> = read.iter().map(|name| lambda.calls_for(name)).collect();
    let thaw = SystemClock::new();
    lambda.emulator.continue_extension().await;

    let answer = lambda.invoke(read).await;
    for (number, name) in read.iter().enumerate() {
        let read = &answer["reads"][number];
        check_version(read, &versions[number]);
        let cache = read["cache"].as_str().expect("`cache` must be a string");
        assert!(["hit", "miss"].contains(&cache), "{read}");
        let calls = lambda.calls_for(name) - before[number];
        assert!((1..=calls_within(thaw.now().steady, ttl)).contains(&calls), "{calls} calls");
    }
    assert_eq!(
        lambda.calls_for(unread),
        1,
        "the agent must not refresh a secret that the function did not read"
    );
    lambda.shut_down().await;
}

/// Freezes the environment repeatedly, for about the time to live (TTL) of a cached secret. Every
/// read must succeed, and no read may return a version that was replaced longer ago than the TTL.
#[tokio::test]
async fn freezes_around_the_ttl_break_no_read() {
    const NAME: &str = LISTED[0];
    let ttl = Duration::from_secs(1);
    let clock = SystemClock::new();
    let lambda = start_or_skip!(Mode::OnDemand, fake().await, |environment| {
        environment.env("SIDEKEY_TTL", format!("{}s", ttl.as_secs()))
    });
    let current = |lambda: &Lambda| {
        lambda.fake.secrets().version_id(NAME, "AWSCURRENT").expect("the secret must exist")
    };
    lambda.invoke(&LISTED).await;
    let mut replaced: Vec<(String, Duration)> = Vec::new();
    for millis in [100, 600, 200, 1100, 300, 400] {
        lambda.emulator.stop_extension().await;
        let old = current(&lambda);
        lambda
            .fake
            .secrets()
            .put(NAME, format!("after {millis} ms"))
            .expect("the secret must exist");
        replaced.push((old, clock.now().steady));
        let thaw = async {
            wait_in_real_time(Duration::from_millis(millis)).await;
            let thawed = clock.now().steady;
            lambda.emulator.continue_extension().await;
            thawed
        };
        let (answer, thawed) = tokio::join!(lambda.invoke(&LISTED), thaw);
        for read in
            answer["reads"].as_array().expect("the function's answer must have the array `reads`")
        {
            assert_eq!(read["status"], 200, "{read}");
        }
        let version =
            answer["reads"][0]["versionId"].as_str().expect("`versionId` must be a string");
        let since = replaced.iter().find(|(old, _)| *old == version).map(|(_, at)| *at);
        let is_in_time = since.is_none_or(|since| since + ttl >= thawed);
        assert!(
            is_in_time,
            "the agent must not serve a version that was replaced at {since:?} after {thawed:?}"
        );
    }
    let calls_max = calls_within(clock.now().steady, ttl);
    for name in LISTED {
        assert!(lambda.calls_for(name) <= calls_max, "{} calls", lambda.calls_for(name));
    }
    lambda.shut_down().await;
}

#[tokio::test]
async fn environment_ends_although_the_extension_is_stopped() {
    let mut lambda = start_or_skip!(Mode::OnDemand, fake().await, |environment| environment);
    lambda.invoke(&LISTED).await;
    lambda.emulator.stop_extension().await;
    let shutdown = lambda.emulator.shutdown().await;
    assert_ne!(shutdown.exit_code, Some(0), "{}", lambda.emulator.log());
    lambda.fake.stop().await;
}

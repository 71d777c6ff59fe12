//! Tests that the cache knows when readers last got a version that a newer version has replaced.

use crate::cache::How;
use crate::cache::fixture::{Answer, Fixture, LATENCY, SECOND, Setup, key, ok, version};
use crate::clock::Clock;
use crate::secret::key::Key;
use crate::secret::selector::Selector;
use std::time::{Duration, SystemTime};

/// Returns the id of the version that the cached version of the secret `name` has replaced, and how
/// many milliseconds ago a request last got the replaced version.
fn previous(fixture: &Fixture, name: &str) -> Option<(String, Option<u64>)> {
    let now = fixture.clock.now();
    let snapshot = fixture.cache.snapshot();
    let secret = snapshot.secret(&key(name)).expect("the secret must be cached");
    let entry = secret.exact(&Selector::current()).expect("the current version must be cached");
    let previous = super::previous(secret, entry, now, fixture.cache.restores(now))?;
    let since = |at| now.wall.duration_since(at).expect("the read must be in the past").as_millis();
    let since = previous
        .last_read
        .map(|at| u64::try_from(since(at)).expect("the time in ms must fit into 64 bits"));
    Some((previous.version.into(), since))
}

fn found(version: &str, millis: Option<u64>) -> Option<(String, Option<u64>)> {
    Some((version.to_owned(), millis))
}

/// Returns the versions that requests got in the last `span`, each with the time since its last
/// read in seconds, and the age of the oldest value in seconds.
fn served(fixture: &Fixture, span: Duration) -> (Vec<(String, u64)>, Option<u64>) {
    let now = fixture.clock.now();
    let served = fixture.cache.served_since(now.wall - span, now);
    let seconds = |at| now.wall.duration_since(at).expect("the read must be in the past").as_secs();
    let versions =
        served.versions.iter().map(|one| (one.version.to_string(), seconds(one.last_read)));
    (versions.collect(), served.oldest_age.map(|age| age.as_secs()))
}

async fn refresh(fixture: &Fixture, name: &'static str, number: u32) {
    fixture.script(name, Answer::Version(number));
    fixture.read_now(name).await.expect("the fake of AWS must answer");
}

#[tokio::test(start_paused = true)]
async fn last_read_of_the_replaced_version_is_known() {
    let fixture = Setup::default().build();
    fixture.script("app", Answer::Version(1));
    fixture.read("app").await.expect("the fake of AWS must answer");
    assert_eq!(previous(&fixture, "app"), None);
    fixture.pass(10 * SECOND).await;
    assert_eq!(fixture.read("app").await, ok("v1", How::Hit));
    fixture.pass(5 * SECOND).await;
    refresh(&fixture, "app", 2).await;
    fixture.pass(20 * SECOND).await;
    fixture.read("app").await.expect("the secret must be cached");
    let since = 25_000
        + u64::try_from(LATENCY.as_millis()).expect("the latency in ms must fit into 64 bits");
    assert_eq!(previous(&fixture, "app"), found("v1", Some(since)));
    let last = fixture
        .cache
        .last_replaced_read()
        .expect("the cache must know the last read of a replaced version");
    let ago = fixture.clock.now().wall.duration_since(last).expect("the read must be in the past");
    assert_eq!(u64::try_from(ago.as_millis()), Ok(since));
}

/// The cache must know the time of a read although the steady clock stops while Lambda freezes the
/// process.
#[tokio::test(start_paused = true)]
async fn last_read_before_a_freeze_is_known() {
    let fixture = Setup::default().build();
    refresh(&fixture, "app", 1).await;
    fixture.pass(10 * SECOND).await;
    assert_eq!(fixture.read("app").await, ok("v1", How::Hit));
    refresh(&fixture, "app", 2).await;
    let before = previous(&fixture, "app").expect("version 2 must have replaced version 1").1;
    fixture.clock.step_forward(Duration::from_secs(3600));
    fixture.pass(SECOND).await;
    assert_eq!(previous(&fixture, "app"), found("v1", before.map(|before| before + 3_601_000)));
    let both = vec![("v1".to_owned(), 3601), ("v2".to_owned(), 3601)];
    assert_eq!(served(&fixture, Duration::from_secs(3700)).0, both);
    assert_eq!(
        served(&fixture, 60 * SECOND),
        (vec![], None),
        "the list of served versions must be empty, because there was no read in the last minute"
    );
}

#[tokio::test(start_paused = true)]
async fn refresh_with_the_same_version_keeps_the_last_reads() {
    let fixture = Setup::default().build();
    refresh(&fixture, "app", 1).await;
    refresh(&fixture, "app", 2).await;
    let before = previous(&fixture, "app").expect("version 2 must have replaced version 1").1;
    let read_at = fixture.clock.now();
    for _ in 0..3 {
        // No reader gets these entries, but a reader got version 2 from an earlier entry.
        fixture.pass(2 * SECOND).await;
        let key = key("app");
        let sent = fixture.writer.upstream().sending();
        fixture
            .writer
            .settle(&key, sent, Ok(version("app", 2, &key)))
            .expect("the cache must accept the version");
    }
    let since =
        u64::try_from((6 * SECOND).as_millis()).expect("the time in ms must fit into 64 bits");
    assert_eq!(previous(&fixture, "app"), found("v1", before.map(|before| before + since)));
    let key = key("app");
    let sent = fixture.writer.upstream().sending();
    fixture
        .writer
        .settle(&key, sent, Ok(version("app", 3, &key)))
        .expect("the cache must accept the version");
    let passed = fixture
        .clock
        .now()
        .since(read_at)
        .expect("the time since the read must be known")
        .as_millis();
    let passed = u64::try_from(passed).expect("the time in ms must fit into 64 bits");
    assert_eq!(previous(&fixture, "app"), found("v2", Some(passed)));
}

#[tokio::test(start_paused = true)]
async fn unread_version_was_given_to_no_reader() {
    let fixture = Setup { listed: vec!["app"], ..Setup::default() }.build();
    let key = key("app");
    for number in [1, 2] {
        let sent = fixture.writer.upstream().sending();
        fixture
            .writer
            .settle(&key, sent, Ok(version("app", number, &key)))
            .expect("the cache must accept the version");
        fixture.pass(SECOND).await;
    }
    assert_eq!(previous(&fixture, "app"), found("v1", None));
    assert_eq!(fixture.cache.last_replaced_read(), None);
    assert_eq!(served(&fixture, 10 * SECOND), (vec![], None));
}

/// A request waits for a call that returns version 1, and gets this version after a later call has
/// returned version 2.
#[tokio::test(start_paused = true)]
async fn late_read_of_a_replaced_version_counts() {
    let fixture = Setup::default().build();
    let key = key("app");
    let sent = fixture.writer.upstream().sending();
    let old = fixture
        .writer
        .settle(&key, sent, Ok(version("app", 1, &key)))
        .expect("the cache must accept the version");
    fixture.pass(SECOND).await;
    let sent = fixture.writer.upstream().sending();
    fixture
        .writer
        .settle(&key, sent, Ok(version("app", 2, &key)))
        .expect("the cache must accept the version");
    fixture.pass(SECOND).await;
    fixture.cache.serve(old, How::Miss);
    fixture.pass(SECOND).await;
    assert_eq!(previous(&fixture, "app"), found("v1", Some(1000)));
    assert_eq!(served(&fixture, 2 * SECOND), (vec![("v1".to_owned(), 1)], None));
}

#[tokio::test(start_paused = true)]
async fn read_of_the_replaced_version_by_another_label_counts() {
    let fixture = Setup::default().build();
    fixture.script("app", Answer::Stages(&[(1, &["AWSCURRENT"])]));
    fixture.read("app").await.expect("the fake of AWS must answer");
    fixture.script("app", Answer::Stages(&[(1, &["AWSPREVIOUS"]), (2, &["AWSCURRENT"])]));
    fixture.pass(200 * SECOND).await;
    assert_eq!(fixture.read("app").await, ok("v2", How::Miss));
    fixture.pass(10 * SECOND).await;
    let older = Key { selector: Selector::new(Some("AWSPREVIOUS"), None), ..key("app") };
    let read = fixture.cache.read(older).await.expect("the fake of AWS must answer");
    assert_eq!(&*read.entry.version.id, "v1");
    fixture.pass(3 * SECOND).await;
    assert_eq!(previous(&fixture, "app"), found("v1", Some(3000)));
}

/// SnapStart restores the process after a request got version 1. The clocks then do not show when
/// the request got it, so Sidekey reports the latest possible time: when version 2 replaced it.
#[tokio::test(start_paused = true)]
async fn read_before_a_restore_counts_as_a_read_at_the_latest_possible_time() {
    let fixture = Setup { is_snapshot: true, ..Setup::default() }.build();
    refresh(&fixture, "app", 1).await;
    fixture.clock.step_forward(Duration::from_secs(86_400));
    fixture.clock.restart_steady();
    let replaced = fixture.clock.now().wall;
    let key = key("app");
    let sent = fixture.writer.upstream().sending();
    fixture
        .writer
        .settle(&key, sent, Ok(version("app", 2, &key)))
        .expect("the cache must accept the version");
    fixture.pass(7 * SECOND).await;
    assert_eq!(fixture.cache.last_replaced_read(), Some(truncated(replaced)));
}

/// Cuts a time to whole milliseconds.
fn truncated(time: SystemTime) -> SystemTime {
    let since_1970 =
        time.duration_since(SystemTime::UNIX_EPOCH).expect("the time must be after 1970");
    let millis =
        u64::try_from(since_1970.as_millis()).expect("the time in ms must fit into 64 bits");
    SystemTime::UNIX_EPOCH + Duration::from_millis(millis)
}

#[tokio::test(start_paused = true)]
async fn versions_and_ages_of_an_interval_are_those_that_readers_were_given() {
    let fixture = Setup::default().build();
    refresh(&fixture, "app", 1).await;
    fixture.pass(30 * SECOND).await;
    assert_eq!(
        served(&fixture, 10 * SECOND),
        (vec![], None),
        "the list of served versions must be empty, because there was no read"
    );
    assert_eq!(fixture.read("app").await, ok("v1", How::Hit));
    fixture.pass(2 * SECOND).await;
    refresh(&fixture, "app", 2).await;
    fixture.pass(4 * SECOND).await;
    let both = vec![("v1".to_owned(), 6), ("v2".to_owned(), 4)];
    assert_eq!(served(&fixture, 10 * SECOND), (both, Some(30)));
    assert_eq!(served(&fixture, 5 * SECOND), (vec![("v2".to_owned(), 4)], Some(0)));
}

#[test]
fn version_ids_are_shown_by_their_beginning() {
    for (id, prefix) in
        [("7f7adc2c-23e1-45ca", "7f7adc2c"), ("12", "12"), ("ääääääääää", "ääääääää"), ("", "")]
    {
        assert_eq!(super::version_prefix(id), prefix);
    }
}

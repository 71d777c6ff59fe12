use super::*;
use crate::secret::parameter_path::ParameterPath;
use crate::secret::selector::Selector;
use crate::source::FetchErrorKind;
use std::time::SystemTime;

const INTERVAL: Duration = Duration::from_secs(300);

fn at(seconds: u64) -> Moment {
    let steady = Duration::from_secs(seconds);
    Moment { wall: SystemTime::UNIX_EPOCH + steady, steady }
}

fn discovery(patterns: &[&str], interval: Duration) -> Discovery {
    let parse = |text: &&str| SecretPattern::parse(text).expect("the pattern must be valid");
    let patterns = patterns.iter().map(parse).collect();
    Discovery::new(&Config { patterns, interval }, &[], at(0))
}

fn key(name: &str) -> Key {
    let id = SecretId::parse(name).expect("the name in the test must be valid");
    Key::own(id, Selector::current())
}

fn names(names: &[&str]) -> HashSet<Key> {
    names.iter().map(|name| key(name)).collect()
}

fn error(kind: FetchErrorKind) -> FetchError {
    FetchError::new(kind, kind.label(), "scripted")
}

#[track_caller]
fn end(discovery: &mut Discovery, index: usize, ended: Ended, seconds: u64) -> Vec<String> {
    let mut gone: Vec<String> = discovery
        .end(index, ended, at(seconds), 0, 0.5)
        .iter()
        .map(|key| key.id.as_str().to_owned())
        .collect();
    gone.sort();
    gone
}

#[test]
fn each_pattern_is_searched_at_once_and_then_in_intervals() {
    let mut discovery = discovery(&["a/*", "b/*"], INTERVAL);
    assert_eq!(discovery.next(at(0), 0), Some((0, Duration::ZERO)));
    assert!(!discovery.is_attempted());
    end(&mut discovery, 0, Ended::Complete(names(&["a/1"])), 1);
    assert_eq!(discovery.next(at(1), 0), Some((1, Duration::ZERO)));
    end(&mut discovery, 1, Ended::Complete(names(&[])), 2);
    assert!(discovery.is_attempted());
    assert_eq!(discovery.next(at(2), 0), Some((0, Duration::from_secs(269))));
    assert_eq!(discovery.next(at(271), 0), Some((0, Duration::ZERO)));
}

#[test]
fn interval_of_zero_means_one_search_for_each_start() {
    let mut discovery = discovery(&["a/*"], Duration::ZERO);
    assert_eq!(discovery.next(at(0), 0), Some((0, Duration::ZERO)));
    end(&mut discovery, 0, Ended::Complete(names(&[])), 1);
    assert_eq!(discovery.next(at(100_000), 0), None);
    // After a restore, the search is due at once, as at the start.
    assert_eq!(discovery.next(at(100_000), 1), Some((0, Duration::ZERO)));
}

#[test]
fn random_numbers_spread_the_interval() {
    for (draw, expected) in [(0.0, 240.0), (0.5, 270.0), (0.999, 299.94)] {
        let wait = after_success(INTERVAL, draw)
            .expect("another search must follow, because the interval is not zero")
            .as_secs_f64();
        assert!((wait - expected).abs() < 0.001, "{draw}: {wait}");
    }
}

#[test]
fn failures_double_the_wait_and_change_nothing_that_was_found() {
    let mut discovery = discovery(&["a/*"], INTERVAL);
    end(&mut discovery, 0, Ended::Complete(names(&["a/1"])), 0);
    for (count, expected) in [(1, 4.5), (2, 9.0), (3, 18.0), (7, 270.0), (40, 270.0)] {
        let error = error(FetchErrorKind::Throttled);
        let wait = after_failure(INTERVAL, count, &error, 0.5).as_secs_f64();
        assert!((wait - expected).abs() < 0.001, "{count}: {wait}");
    }
    let failed = Ended::Failed(names(&["a/2"]), error(FetchErrorKind::Throttled));
    assert_eq!(end(&mut discovery, 0, failed, 300), [""; 0]);
    assert_eq!(discovery.next(at(300), 0), Some((0, Duration::from_millis(4500))));
    assert!(discovery.finds(&key("a/1")) && discovery.finds(&key("a/2")));
    end(&mut discovery, 0, Ended::Complete(names(&["a/1"])), 305);
    assert_eq!(discovery.next(at(305), 0), Some((0, Duration::from_secs(270))));
}

#[test]
fn refused_search_is_repeated_after_minutes_even_if_searches_happen_only_at_start() {
    let mut discovery = discovery(&["a/*"], Duration::ZERO);
    let denied = error(FetchErrorKind::Denied);
    assert!(!discovery.has_failed_before(0, &denied));
    end(&mut discovery, 0, Ended::Failed(names(&[]), denied.clone()), 0);
    assert_eq!(discovery.next(at(0), 0), Some((0, Duration::from_secs(270))));
    assert!(discovery.has_failed_before(0, &denied));
    assert!(!discovery.has_failed_before(0, &error(FetchErrorKind::Throttled)));
}

#[test]
fn only_a_complete_search_shows_which_secrets_are_gone() {
    let mut discovery = discovery(&["a/*", "*/1"], INTERVAL);
    end(&mut discovery, 0, Ended::Complete(names(&["a/1", "a/2", "a/3"])), 0);
    end(&mut discovery, 1, Ended::Complete(names(&["a/1", "b/1"])), 0);
    assert_eq!(discovery.count(), 4);
    let unfinished = Ended::Unfinished(names(&["a/4"]));
    assert_eq!(end(&mut discovery, 0, unfinished, 300), [""; 0]);
    assert_eq!(discovery.count(), 5);
    // The second pattern still finds `a/1`.
    let complete = Ended::Complete(names(&["a/3"]));
    assert_eq!(end(&mut discovery, 0, complete, 600), ["a/2", "a/4"]);
    assert_eq!(end(&mut discovery, 1, Ended::Complete(names(&[])), 600), ["a/1", "b/1"]);
}

#[test]
fn unfinished_searches_keep_a_bounded_number_of_names() {
    let mut discovery = discovery(&["a/*"], INTERVAL);
    for round in 0..5 {
        let names: Vec<String> = (0..4_000).map(|n| format!("a/{round}-{n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let unfinished = Ended::Unfinished(self::names(&names));
        assert_eq!(end(&mut discovery, 0, unfinished, 300 * round), [""; 0]);
        assert!(discovery.count() <= FOUND_MAX, "{}", discovery.count());
    }
}

#[test]
fn failed_search_is_no_success() {
    let mut discovery = discovery(&["a/*"], INTERVAL);
    end(&mut discovery, 0, Ended::Failed(names(&[]), error(FetchErrorKind::Throttled)), 0);
    assert!(!discovery.has_succeeded_before(0));
    end(&mut discovery, 0, Ended::Complete(names(&[])), 300);
    assert!(discovery.has_succeeded_before(0));
}

#[test]
fn paths_are_listed_again_after_the_interval() {
    let path = SecretId::Path(ParameterPath::new("/app", false, None));
    let key = Key::own(path, Selector::parameter(None, None, false));
    let config = Config { patterns: Vec::new(), interval: INTERVAL };
    let mut discovery = Discovery::new(&config, std::slice::from_ref(&key), at(0));
    assert!(discovery.is_attempted());
    assert_eq!(discovery.next(at(0), 0), Some((0, Duration::from_secs(240))));
    end(&mut discovery, 0, Ended::Complete(names(&["ssm:/app/a", "ssm:/app/b"])), 240);
    assert_eq!(
        discovery.count(),
        0,
        "the count of secrets that match a pattern must not include the parameters of a path"
    );
    let complete = Ended::Complete(names(&["ssm:/app/b"]));
    assert_eq!(end(&mut discovery, 0, complete, 510), ["ssm:/app/a"]);
    let at_start_only = Config { interval: Duration::ZERO, ..config };
    assert!(Discovery::new(&at_start_only, &[key], at(0)).is_empty());
}

#[test]
fn pages_after_the_first_search_are_spread_out() {
    for (interval, expected_ms) in [(INTERVAL, 1000), (Duration::from_secs(10), 100)] {
        let mut discovery = discovery(&["a/*"], interval);
        assert_eq!(discovery.page_pause(0), Duration::ZERO);
        end(&mut discovery, 0, Ended::Complete(names(&[])), 0);
        assert_eq!(discovery.page_pause(0), Duration::from_millis(expected_ms));
    }
}

#[test]
fn number_of_pages_is_limited_by_the_size_of_the_cache() {
    for (entries_max, expected) in [(0, 20), (1000, 120), (100_000, 10_020)] {
        assert_eq!(pages_max(entries_max), expected);
    }
}

//! Remembers which malformed versions of secrets Sidekey has logged, so that Sidekey logs each of
//! them only once. A version is malformed if its value breaks the rules for secrets with such
//! names.

use std::collections::VecDeque;
use std::sync::Mutex;

/// How many logged versions of secrets Sidekey remembers. Beyond this number, Sidekey forgets the
/// version that it logged first, and may log this version again.
const LOGGED_MAX: usize = 1000;

/// The ARN of a secret, and the id of one of its versions.
type VersionKey = (Box<str>, Box<str>);

#[derive(Debug, Default)]
pub(super) struct LoggedVersions(Mutex<VecDeque<VersionKey>>);

impl LoggedVersions {
    /// Adds the version `id` of the secret `arn`. Returns `true` if this version is new, so that
    /// the agent must log it. If the set is full, forgets the version that was added first.
    pub(super) fn insert(&self, arn: &str, id: &str) -> bool {
        let mut logged = self.0.lock().expect("no thread panics while it holds the lock");
        if logged.iter().any(|(own_arn, own_id)| **own_arn == *arn && **own_id == *id) {
            return false;
        }
        if logged.len() == LOGGED_MAX {
            logged.pop_front();
        }
        logged.push_back((arn.into(), id.into()));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_is_new_once() {
        let logged = LoggedVersions::default();
        let first = [("a", "1"), ("a", "2"), ("b", "1"), ("a", "1"), ("b", "1")]
            .map(|(arn, id)| logged.insert(arn, id));
        assert_eq!(first, [true, true, true, false, false]);
    }

    #[test]
    fn oldest_version_is_forgotten_if_the_set_is_full() {
        let logged = LoggedVersions::default();
        for number in 0..=LOGGED_MAX {
            assert!(logged.insert("a", &number.to_string()));
        }
        assert!(!logged.insert("a", "1"));
        assert!(logged.insert("a", "0"));
    }
}

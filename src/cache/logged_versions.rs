//! Remembers which versions of secrets Sidekey has logged because their values break the rules for
//! such secrets. Sidekey logs each of these versions only once.

use std::collections::VecDeque;
use std::sync::Mutex;

/// The maximum number of logged versions that Sidekey remembers. Sidekey may log a forgotten
/// version again.
const LOGGED_MAX: usize = 1000;

/// The ARN of a secret, and the id of one of its versions.
type VersionKey = (Box<str>, Box<str>);

#[derive(Debug, Default)]
pub(super) struct LoggedVersions(Mutex<VecDeque<VersionKey>>);

impl LoggedVersions {
    /// Adds the version `id` of the secret `arn`. Returns `true` if the version is new, so that the
    /// caller logs it. If the set is full, forgets the oldest version.
    pub(super) fn insert(&self, arn: &str, id: &str) -> bool {
        let mut logged = self.0.lock().expect("no thread may panic while it holds the lock");
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

//! Which malformed versions have been told of in the log: each is told once, however often it is
//! fetched and whether it is held or not.

use std::collections::VecDeque;
use std::sync::Mutex;

/// How many versions are remembered.
const LOGGED_MAX: usize = 1000;

/// A version: the secret's ARN, and the version's id.
type Named = (Box<str>, Box<str>);

/// The malformed versions that were told of last.
#[derive(Debug, Default)]
pub(super) struct LoggedVersions(Mutex<VecDeque<Named>>);

impl LoggedVersions {
    /// Returns whether a version has not been told of, and remembers that it is now. Where too many
    /// are remembered, the first is forgotten.
    pub(super) fn insert(&self, arn: &str, id: &str) -> bool {
        let mut logged = self.0.lock().expect("no holder panics");
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
    fn a_version_is_told_of_once() {
        let logged = LoggedVersions::default();
        let first = [("a", "1"), ("a", "2"), ("b", "1"), ("a", "1"), ("b", "1")]
            .map(|(arn, id)| logged.insert(arn, id));
        assert_eq!(first, [true, true, true, false, false]);
    }

    #[test]
    fn of_too_many_the_first_is_forgotten() {
        let logged = LoggedVersions::default();
        for number in 0..=LOGGED_MAX {
            assert!(logged.insert("a", &number.to_string()));
        }
        assert!(!logged.insert("a", "1"));
        assert!(logged.insert("a", "0"));
    }
}

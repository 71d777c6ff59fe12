//! Which malformed versions have been told of in the log: each is told once, however often it is
//! fetched and whether it is held or not.

use std::collections::VecDeque;
use std::sync::Mutex;

/// How many versions are remembered.
const TOLD_MAX: usize = 1000;

/// A version: the secret's ARN, and the version's id.
type Named = (Box<str>, Box<str>);

/// The malformed versions that were told of last.
#[derive(Debug, Default)]
pub struct Told(Mutex<VecDeque<Named>>);

impl Told {
    /// Returns whether a version has not been told of, and remembers that it is now. Where too many
    /// are remembered, the first is forgotten.
    pub fn is_first(&self, arn: &str, id: &str) -> bool {
        let mut told = self.0.lock().expect("no holder panics");
        if told.iter().any(|(own_arn, own_id)| **own_arn == *arn && **own_id == *id) {
            return false;
        }
        if told.len() == TOLD_MAX {
            told.pop_front();
        }
        told.push_back((arn.into(), id.into()));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_told_of_once() {
        let told = Told::default();
        let first = [("a", "1"), ("a", "2"), ("b", "1"), ("a", "1"), ("b", "1")]
            .map(|(arn, id)| told.is_first(arn, id));
        assert_eq!(first, [true, true, true, false, false]);
    }

    #[test]
    fn of_too_many_the_first_is_forgotten() {
        let told = Told::default();
        for number in 0..=TOLD_MAX {
            assert!(told.is_first("a", &number.to_string()));
        }
        assert!(!told.is_first("a", "1"));
        assert!(told.is_first("a", "0"));
    }
}

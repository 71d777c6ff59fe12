//! Collects the secrets that were read for one `/resolve` request, and the errors of failed reads,
//! within a memory limit.

use super::shared_limit::SharedLimit;
use crate::cache::Served;
use crate::cache::entry::Entry;
use crate::server::problem::Problem;
use std::collections::HashMap;
use std::collections::hash_map;
use std::sync::{Arc, Weak};

/// The result of reading one secret: an error, or the secret with the requested field (`None` if
/// the full value is requested).
pub(crate) type Finding<'r> = Result<(Option<&'r str>, Served), Problem>;

/// The results of reading all secrets for one `/resolve` request.
///
/// If the values of all secrets exceed the memory limit, an error replaces the largest values. So
/// an attacker's message that names large secrets does not affect messages that name small secrets.
#[derive(Debug)]
pub(crate) struct Findings<'r> {
    found: Vec<Option<Finding<'r>>>,
    bytes_max: usize,
    limit: SharedLimit,
    /// The cached secrets whose values were counted toward the memory limit, by their memory
    /// addresses. A secret counts once, even if the request asks for several fields of its value.
    ///
    /// A weak pointer does not keep the value in memory, but it reserves the address, so that no
    /// other secret gets the same address.
    counted: HashMap<usize, Weak<Entry>>,
}

impl<'r> Findings<'r> {
    pub(crate) fn new(references: usize, bytes_max: usize) -> Self {
        let found = std::iter::repeat_with(|| None).take(references).collect();
        Self { found, bytes_max, limit: SharedLimit::new(bytes_max), counted: HashMap::new() }
    }

    /// Stores the result of the read with the index `number` (0 for the first read). If the values
    /// of all secrets then take too much memory, replaces the largest values by an error.
    pub(crate) fn set(&mut self, number: usize, finding: Finding<'r>) {
        let bytes = match &finding {
            Ok((_, served)) => self.bytes_to_count(&served.entry),
            Err(_) => 0,
        };
        self.found[number] = Some(finding);
        for dropped in self.limit.add(number, bytes) {
            self.found[dropped] = Some(Err(Problem::AnswerTooLarge(self.bytes_max)));
        }
    }

    /// Returns the size in bytes of the value of `entry`, or 0 if this value was counted before.
    fn bytes_to_count(&mut self, entry: &Arc<Entry>) -> usize {
        match self.counted.entry(Arc::as_ptr(entry).addr()) {
            hash_map::Entry::Occupied(_) => 0,
            hash_map::Entry::Vacant(vacant) => {
                vacant.insert(Arc::downgrade(entry));
                entry.version.content.len()
            }
        }
    }

    pub(crate) fn into_vec(self) -> Vec<Finding<'r>> {
        self.found.into_iter().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::resolving::fixture::{served, text};

    #[test]
    fn secret_counts_once_for_all_its_fields() {
        let mut findings = Findings::new(2, 10);
        let secret = served(text("12345678"));
        findings.set(0, Ok((Some("a"), secret.clone())));
        findings.set(1, Ok((Some("b"), secret)));
        assert!(findings.into_vec().iter().all(Result::is_ok));
    }

    /// Test: each secret counts toward the memory limit, although it may get the memory address of
    /// an earlier secret that was dropped.
    #[test]
    fn secret_at_the_address_of_a_dropped_one_counts() {
        const NUMBER: usize = 100;
        let mut findings = Findings::new(NUMBER, 10);
        for number in 0..NUMBER {
            findings.set(number, Ok((None, served(text("a value over the limit")))));
        }
        assert!(findings.into_vec().iter().all(Result::is_err));
    }
}

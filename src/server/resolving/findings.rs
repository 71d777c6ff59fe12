//! Collects the outcomes of reading secrets for one `/resolve` request, within a memory limit.

use super::shared_limit::SharedLimit;
use crate::cache::Served;
use crate::server::problem::Problem;
use std::collections::HashSet;
use std::sync::Arc;

/// The outcome of reading one secret: an error, or the requested field and the secret. The field is
/// `None` if the full value is requested.
pub(crate) type Finding<'r> = Result<(Option<&'r str>, Served), Problem>;

/// The outcomes of reading all secrets for one `/resolve` request.
///
/// If the values of all secrets exceed the memory limit, an error replaces the largest values. So
/// an attacker's message that names large secrets does not affect messages that name small secrets.
#[derive(Debug)]
pub(crate) struct Findings<'r> {
    found: Vec<Option<Finding<'r>>>,
    bytes_max: usize,
    limit: SharedLimit,
    /// The memory addresses of the cached secrets whose values count toward the memory limit. A
    /// secret counts once, even if the request asks for several fields of its value.
    counted: HashSet<usize>,
}

impl<'r> Findings<'r> {
    pub(crate) fn new(references: usize, bytes_max: usize) -> Self {
        let found = std::iter::repeat_with(|| None).take(references).collect();
        Self { found, bytes_max, limit: SharedLimit::new(bytes_max), counted: HashSet::new() }
    }

    /// Stores the outcome of one read. The reads of a request have the numbers 0, 1 and so on. If
    /// the values of all secrets then take too much memory, replaces the largest values by an
    /// error.
    pub(crate) fn set(&mut self, number: usize, finding: Finding<'r>) {
        let bytes = match &finding {
            Ok((_, served)) if self.counted.insert(Arc::as_ptr(&served.entry).addr()) => {
                served.entry.version.content.len()
            }
            _ => 0,
        };
        self.found[number] = Some(finding);
        for dropped in self.limit.add(number, bytes) {
            self.found[dropped] = Some(Err(Problem::AnswerTooLarge(self.bytes_max)));
        }
    }

    pub(crate) fn into_vec(self) -> Vec<Finding<'r>> {
        self.found.into_iter().flatten().collect()
    }
}

//! Collects the secrets that were found for one request, within a limit of memory.

use super::shared_limit::SharedLimit;
use crate::cache::Served;
use crate::server::problem::Problem;
use std::collections::HashSet;
use std::sync::Arc;

/// The outcome of looking up one reference: the field that the reference names, and the secret.
pub type Finding<'r> = Result<(Option<&'r str>, Served), Problem>;

/// The findings for all references of a request. A finding is the outcome of looking up one reference.
///
/// If all values together exceed the limit, the largest values are dropped. Values are usually small,
/// so a forged message that names large secrets does not make ordinary messages fail.
#[derive(Debug)]
pub struct Findings<'r> {
    found: Vec<Option<Finding<'r>>>,
    bytes_max: usize,
    limit: SharedLimit,
    /// The addresses of the entries that count toward the limit. A secret counts once, because
    /// references to several of its fields share its value.
    counted: HashSet<usize>,
}

impl<'r> Findings<'r> {
    /// Creates an empty collection for this number of references.
    pub fn new(references: usize, bytes_max: usize) -> Self {
        let found = std::iter::repeat_with(|| None).take(references).collect();
        Self { found, bytes_max, limit: SharedLimit::new(bytes_max), counted: HashSet::new() }
    }

    /// Stores the finding for the reference with this number. Drops the largest findings if the limit
    /// is exceeded.
    pub fn set(&mut self, number: usize, finding: Finding<'r>) {
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

    /// Returns all findings, in the order of their references.
    pub fn into_vec(self) -> Vec<Finding<'r>> {
        self.found.into_iter().flatten().collect()
    }
}

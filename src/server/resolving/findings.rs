//! The secrets that were found for one request, within a bound of memory.

use super::share::Share;
use crate::cache::Served;
use crate::server::problem::Problem;
use std::collections::HashSet;
use std::sync::Arc;

/// A secret that was found for a reference, and the field that the reference names.
pub type Finding<'r> = Result<(Option<&'r str>, Served), Problem>;

/// The findings for all references of a request. If their values take more than the bound, the largest
/// values give way: values are small, and a forged message names large ones.
#[derive(Debug)]
pub struct Findings<'r> {
    found: Vec<Option<Finding<'r>>>,
    bytes_max: usize,
    share: Share,
    /// The entries that are counted: fields of one secret share its value.
    counted: HashSet<usize>,
}

impl<'r> Findings<'r> {
    /// Expects a finding for each of so many references.
    pub fn of(references: usize, bytes_max: usize) -> Self {
        let found = std::iter::repeat_with(|| None).take(references).collect();
        Self { found, bytes_max, share: Share::new(bytes_max), counted: HashSet::new() }
    }

    /// Takes the finding for reference `number`.
    pub fn put(&mut self, number: usize, finding: Finding<'r>) {
        let bytes = match &finding {
            Ok((_, served)) if self.counted.insert(Arc::as_ptr(&served.entry).addr()) => {
                served.entry.version.content.len()
            }
            _ => 0,
        };
        self.found[number] = Some(finding);
        for number in self.share.take(number, bytes) {
            self.found[number] = Some(Err(Problem::AnswerTooLarge(self.bytes_max)));
        }
    }

    /// Returns the findings in the order of the references.
    pub fn into_all(self) -> Vec<Finding<'r>> {
        self.found.into_iter().flatten().collect()
    }
}

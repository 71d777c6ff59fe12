//! Searches a JSON file for names and ARNs of secrets and parameters. This module has no side
//! effects.
//!
//! The search finds strings at the paths in `SIDEKEY_RESOLVE_PATHS`, such as `ai_config.key`,
//! strings that match a pattern for secret names, names of parameters, such as `ssm:/app/url`, and
//! strings at the key `valueFrom`, as in ECS task definitions.
//!
//! The search reads the file as a stream. The parsed file would need many times more memory than
//! the size of the file.

mod location;
mod node;
mod target;

pub(super) use node::Wanted;

use super::candidates::{Candidates, TooMany};
use super::lenient::Lenient;
use node::Walk;
use serde_json::error::Category;
use std::io::Read;

/// The reason why a JSON file cannot be searched. The error messages quote nothing from the file,
/// because the file may contain secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum SearchError {
    #[error("the file is not JSON: there is an error at line {line}, column {column}")]
    NotJson { line: usize, column: usize },
    #[error("the file is incomplete: it ends within a JSON value at line {line}, column {column}")]
    Incomplete { line: usize, column: usize },
    #[error("the file is empty")]
    Empty,
    #[error("the file cannot be read: {0}")]
    Unreadable(String),
    #[error(transparent)]
    TooMany(#[from] TooMany),
}

/// Adds the names and ARNs of secrets in a JSON file to `candidates`. The file contains one JSON
/// value, or several values one after another, such as JSON lines.
pub(super) fn search(
    file: impl Read,
    name: &str,
    wanted: Wanted<'_>,
    candidates: &mut Candidates,
) -> Result<(), SearchError> {
    candidates.begin_file(name);
    let mut walk = Walk::new(wanted, candidates);
    let mut file = Lenient::new(file);
    match walk.values(&mut file) {
        Ok(0) => Err(SearchError::Empty),
        Ok(_) => Ok(()),
        Err(error) => Err(match (walk.too_many(), error.classify()) {
            (Some(too_many), _) => too_many.into(),
            (None, Category::Io) => SearchError::Unreadable(error.to_string()),
            (None, Category::Eof) => {
                SearchError::Incomplete { line: error.line(), column: error.column() }
            }
            (None, Category::Syntax | Category::Data) => {
                SearchError::NotJson { line: error.line(), column: error.column() }
            }
        }),
    }
}

#[cfg(test)]
mod tests;

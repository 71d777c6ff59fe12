//! Parses the members (AWS's word for parameters) in the JSON body of an AWS API call.

use super::bad_call::BadCall;
use serde::Deserialize;
use serde_json::error::Category;

/// Checks that a member (parameter) of an AWS API call has between 1 and `max` characters.
pub(super) fn check_length(member: &'static str, value: &str, max: usize) -> Result<(), BadCall> {
    match value.chars().count() {
        0 => Err(BadCall::Empty(member)),
        length if length > max => Err(BadCall::TooLong { member, max }),
        _ => Ok(()),
    }
}

/// Removes repeated names or ARNs from the list in an AWS API call. The order stays the same.
pub(super) fn distinct(names: Vec<String>) -> Vec<String> {
    let mut distinct = Vec::with_capacity(names.len());
    for name in names {
        if !distinct.contains(&name) {
            distinct.push(name);
        }
    }
    distinct
}

/// Parses the JSON body of an AWS API call. An empty body counts as the empty object `{}`.
pub(super) fn members<'a, T: Default + Deserialize<'a>>(body: &'a [u8]) -> Result<T, BadCall> {
    if body.is_empty() {
        return Ok(T::default());
    }
    // Without this check, `serde` would also accept a JSON list of the members' values.
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(BadCall::Shape { line: 1, column: 1 });
    }
    // Only the position of the error is returned. The text of the parser's error may quote the
    // body, which may contain a secret.
    serde_json::from_slice(body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        match error.classify() {
            Category::Data => BadCall::Shape { line, column },
            Category::Io | Category::Syntax | Category::Eof => BadCall::NotJson { line, column },
        }
    })
}

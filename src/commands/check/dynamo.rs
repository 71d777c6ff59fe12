//! DynamoDB's typed JSON, such as `{"S": "x"}`, which DynamoDB uses in its API and in its exports.
//! This module has no side effects.

/// How DynamoDB writes a value in typed JSON: an object with one key, the type of the value.
///
/// Source: "Data type descriptors" in AWS's DynamoDB developer guide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    /// A string, a number or binary data: a JSON string.
    Text,
    /// A boolean or null: a JSON boolean.
    Flag,
    /// A map: a JSON object. Its keys are the names of attributes, even if one is called `S`.
    Map,
    /// A list or a set: a JSON array.
    List,
}

impl Type {
    /// Returns the type with this key, or `None` if DynamoDB has no such type.
    pub(super) fn of_key(key: &str) -> Option<Self> {
        match key {
            "S" | "N" | "B" => Some(Self::Text),
            "BOOL" | "NULL" => Some(Self::Flag),
            "M" => Some(Self::Map),
            "L" | "SS" | "NS" | "BS" => Some(Self::List),
            _ => None,
        }
    }
}

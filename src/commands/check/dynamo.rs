//! The typed JSON that DynamoDB uses in its API and in its exports, such as `{"S": "x"}` for the
//! string `x`. This module has no side effects.

/// The type of a value in DynamoDB's JSON. DynamoDB writes a value as an object with one key, which
/// names the type, such as `{"S": "x"}` for a string.
///
/// Source: AWS's page *Data type descriptors* in the DynamoDB developer guide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    /// A string, a number or binary data. DynamoDB writes such a value as a JSON string.
    Text,
    /// A boolean or null. DynamoDB writes such a value as a JSON boolean.
    Flag,
    /// A map. DynamoDB writes a map as a JSON object from attribute names to typed values.
    Map,
    /// A list or a set. DynamoDB writes such a value as a JSON array.
    List,
}

impl Type {
    /// Returns the type that DynamoDB abbreviates as `key`, such as `S` for a string. Returns
    /// `None` if DynamoDB has no such type.
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

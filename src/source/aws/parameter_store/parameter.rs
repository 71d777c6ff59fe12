//! The parameters that Parameter Store returns.

use crate::secret::value::SecretValue;
use std::time::SystemTime;

/// One version of a parameter.
#[derive(Clone, Debug)]
pub(crate) struct Parameter {
    pub(crate) arn: Box<str>,
    /// The name without the selector.
    pub(crate) name: Box<str>,
    pub(crate) kind: ParameterKind,
    /// The number of the version. A secret that is read through Parameter Store has version 0.
    pub(crate) version: u64,
    pub(crate) data_type: Option<Box<str>>,
    /// When the version was written, rounded to milliseconds.
    pub(crate) last_modified: Option<SystemTime>,
    /// The version or label in the request, such as `:3` or `:live`.
    pub(crate) selector: Option<Box<str>>,
    /// The JSON of the secret, if the parameter is a secret that is read through Parameter Store.
    /// It contains the secret's value.
    pub(crate) source_result: Option<SecretValue>,
    pub(crate) value: SecretValue,
}

/// The result of a call for several parameters.
#[derive(Debug)]
pub(crate) struct Parameters {
    pub(crate) found: Vec<Parameter>,
    /// The names from the request that AWS rejects. Such a parameter or version does not exist, or
    /// its name is malformed.
    pub(crate) invalid: Vec<Box<str>>,
}

/// The type of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ParameterKind {
    String,
    /// A list of strings. The value of the parameter is one string, in which commas separate the
    /// strings.
    StringList,
    /// An encrypted string.
    SecureString,
}

impl ParameterKind {
    /// Returns the type with this name in AWS's API.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        match name {
            "String" => Some(Self::String),
            "StringList" => Some(Self::StringList),
            "SecureString" => Some(Self::SecureString),
            _ => None,
        }
    }
}

//! The parameters that Parameter Store returns.

use crate::secret::value::SecretValue;
use crate::secret::version::ParameterKind;
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

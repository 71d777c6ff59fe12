//! The parameters that AWS Parameter Store returns.

use crate::secret::value::SecretValue;
use crate::secret::version::ParameterKind;
use std::time::SystemTime;

#[derive(Clone, Debug)]
pub(crate) struct Parameter {
    pub(crate) arn: Box<str>,
    /// The name of the parameter, without a version number or label.
    pub(crate) name: Box<str>,
    pub(crate) kind: ParameterKind,
    /// The version number of the parameter. If the parameter stands for a secret of Secrets
    /// Manager, the number is 0.
    pub(crate) version: u64,
    pub(crate) data_type: Option<Box<str>>,
    /// The time when this version of the parameter was written, rounded to milliseconds.
    pub(crate) last_modified: Option<SystemTime>,
    /// The version or label of the parameter that the request named, such as `:3` or `:live`.
    pub(crate) selector: Option<Box<str>>,
    pub(crate) value: SecretValue,
}

/// The result of a call to Parameter Store for several parameters.
#[derive(Debug)]
pub(crate) struct Parameters {
    pub(crate) found: Vec<Parameter>,
    /// The requested names for which AWS returned no parameter: the name is malformed, or the
    /// parameter, or the version or label that the name ends in, does not exist.
    pub(crate) invalid: Vec<Box<str>>,
}

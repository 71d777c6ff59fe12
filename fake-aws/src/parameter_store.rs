//! Executes operations of Parameter Store: takes the JSON of a request, and returns the JSON of the
//! response.
//!
//! Callers pass the store of parameters and the current time as arguments.
//!
//! ```text
//!  read, by_path, write           the operations
//!  reference                      secrets that requests read as parameters
//!  context                        the inputs that all operations need
//!  parameters                     the handle with which tests change parameters
//!  store                          the store of all parameters
//!  parameter, parameter_value     one parameter with its versions, and the value of a version
//!  ciphertext                     the encrypted form of a value
//!  parameter_id, error            names and ARNs of parameters, and errors of Parameter Store
//! ```

mod by_path;
mod read;
pub(crate) mod write;

mod reference;
pub(crate) mod context;

pub(crate) mod parameters;
pub(crate) mod store;
pub(crate) mod parameter;
pub(crate) mod parameter_value;
mod ciphertext;
pub(crate) mod parameter_id;
pub(crate) mod error;

use crate::aws_json::{Response, parse};
use crate::error::AwsError;
use crate::operation::Operation;
use context::Context;
use serde_json::Value;

pub(crate) fn execute(context: &mut Context<'_>, operation: Operation, body: Value) -> Response {
    match operation {
        Operation::GetParameter => context.get_parameter(parse(body)?),
        Operation::GetParameters => context.get_parameters(parse(body)?),
        Operation::GetParametersByPath => context.get_parameters_by_path(parse(body)?),
        Operation::PutParameter => context.put_parameter(parse(body)?),
        Operation::DeleteParameter => context.delete_parameter(parse(body)?),
        Operation::LabelParameterVersion => context.label_parameter_version(parse(body)?),
        _ => Err(AwsError::unknown_operation()),
    }
}

/// Returns the names of the parameters in a request, exactly as the caller sent them. For
/// `GetParametersByPath`, returns the path.
pub(crate) fn names(body: &Value) -> Vec<String> {
    let list = body["Names"].as_array().into_iter().flatten();
    let names = list.chain([&body["Name"], &body["Path"]]);
    names.filter_map(|name| name.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests;

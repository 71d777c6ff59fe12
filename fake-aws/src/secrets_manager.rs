//! Executes operations of Secrets Manager: takes the JSON of a request, and returns the JSON of the
//! response.
//!
//! Callers pass the secrets and the current time as arguments.
//!
//! ```text
//!  read, batch, list, write    the operations
//!  context                     the inputs that all operations need
//!  secrets                     the handle with which tests change secrets
//!  store                       the store of all secrets
//!  secret, plaintext           one secret with its versions, and the value of a version
//!  secret_id, error            names and ARNs of secrets, and errors of Secrets Manager
//! ```

mod batch;
mod list;
mod read;
mod write;

pub(crate) mod context;

pub(crate) mod secrets;
pub(crate) mod store;
pub(crate) mod secret;
pub(crate) mod plaintext;
pub(crate) mod secret_id;
pub(crate) mod error;

use crate::aws_json::{Response, parse};
use crate::error::AwsError;
use crate::operation::Operation;
use context::Context;
use serde_json::Value;

pub(crate) fn execute(context: &mut Context<'_>, operation: Operation, body: Value) -> Response {
    // If the request names one secret, the operation itself checks the permission. The message of
    // an access error then names the secret, as in IAM.
    if !names_one_secret(&body) {
        context.policy.check_operation(operation, context.store.home())?;
    }
    match operation {
        Operation::GetSecretValue => context.get_secret_value(parse(body)?),
        Operation::BatchGetSecretValue => context.batch_get_secret_value(parse(body)?),
        Operation::DescribeSecret => context.describe_secret(parse(body)?),
        Operation::ListSecrets => context.list_secrets(parse(body)?),
        Operation::CreateSecret => context.create_secret(parse(body)?),
        Operation::PutSecretValue => context.put_secret_value(parse(body)?),
        Operation::UpdateSecret => context.update_secret(parse(body)?),
        Operation::UpdateSecretVersionStage => context.update_secret_version_stage(parse(body)?),
        Operation::DeleteSecret => context.delete_secret(parse(body)?),
        Operation::RestoreSecret => context.restore_secret(parse(body)?),
        _ => Err(AwsError::unknown_operation()),
    }
}

/// Returns the `SecretId` parameters of a request, exactly as the caller sent them. For
/// `CreateSecret`, returns the name of the new secret.
pub(crate) fn secret_ids(operation: Option<Operation>, body: &Value) -> Vec<String> {
    let single = if operation == Some(Operation::CreateSecret) { "Name" } else { "SecretId" };
    let list = body["SecretIdList"].as_array().into_iter().flatten();
    list.chain([&body[single]]).filter_map(|id| id.as_str().map(str::to_owned)).collect()
}

fn names_one_secret(body: &Value) -> bool {
    ["SecretId", "Name"].iter().any(|key| body[key].is_string())
}

#[cfg(test)]
mod tests;

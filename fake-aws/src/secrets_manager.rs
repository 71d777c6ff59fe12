//! Secrets Manager: executes one operation, from the JSON of a request to the JSON of the response.
//!
//! The operations use no sockets and no clock: the caller passes the store and the time in.
//!
//! ```text
//!  read, batch, list, write    the operations
//!  context                     what all operations work with
//!  secrets                     the handle for tests
//!  store, seed                 all secrets, and what fills the store
//!  secret, plaintext           one secret with its versions
//!  secret_id, error            names and ARNs, and the errors of this service
//! ```

mod batch;
mod list;
mod read;
mod write;

pub(crate) mod context;

pub(crate) mod secrets;
pub(crate) mod store;
pub(crate) mod seed;
pub(crate) mod secret;
pub(crate) mod plaintext;
pub(crate) mod secret_id;
pub(crate) mod error;

use crate::error::AwsError;
use crate::operation::Operation;
use context::{Context, Response, parse};
use serde_json::Value;

/// Executes an operation and returns the body of the response.
pub(crate) fn execute(context: &mut Context<'_>, operation: Operation, body: Value) -> Response {
    // If the request names one secret, the operation itself checks the permission, and the error of a
    // denied call then quotes the secret as IAM does.
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
        Operation::AssumeRoleWithWebIdentity | Operation::GetCallerIdentity => {
            Err(AwsError::unknown_operation())
        }
    }
}

/// Returns the secret ids in the body of a request, exactly as the caller sent them.
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

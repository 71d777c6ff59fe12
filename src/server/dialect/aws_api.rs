//! The AWS API itself, as an SDK speaks it through `AWS_ENDPOINT_URL_SECRETS_MANAGER`.

pub mod operation;
mod batch;
mod description;
mod failure;
mod value;

pub(in crate::server) use batch::Batch;
pub(in crate::server) use description::description;
pub(in crate::server) use failure::problem;
pub(in crate::server) use value::value;

/// The content type of every answer. SDKs read no other.
pub(in crate::server) const JSON: &str = "application/x-amz-json-1.1";

//! Answers in the format of the AWS API, for SDKs that use Sidekey as their endpoint through
//! `AWS_ENDPOINT_URL_SECRETS_MANAGER`.

mod batch;
mod description;
mod failure;
mod value;

pub(in crate::server) use batch::Batch;
pub(in crate::server) use description::description;
pub(in crate::server) use failure::problem;
pub(in crate::server) use value::value;

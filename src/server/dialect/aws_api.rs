//! Builds answers in the format of the AWS API, for SDKs whose variable
//! `AWS_ENDPOINT_URL_SECRETS_MANAGER` names Sidekey.

mod batch;
mod description;
mod failure;
mod value;

pub(in crate::server) use batch::Batch;
pub(in crate::server) use description::description;
pub(in crate::server) use failure::problem;
pub(in crate::server) use value::value;

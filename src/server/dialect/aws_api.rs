//! Builds answers in the format of the AWS API, for AWS SDKs whose environment variable
//! `AWS_ENDPOINT_URL_SECRETS_MANAGER` or `AWS_ENDPOINT_URL_SSM` contains Sidekey's URL.

mod batch;
mod description;
mod epoch_seconds;
mod failure;
mod parameter;
mod value;

pub(in crate::server) use batch::Batch;
pub(in crate::server) use description::description;
pub(in crate::server) use failure::problem;
pub(in crate::server) use parameter::{many_parameters, one_parameter, page, secret_as_parameter};
pub(in crate::server) use value::value;

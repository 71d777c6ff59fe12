//! Sidekey: a sidecar credential agent.
//!
//! Sidekey runs beside a Lambda function, a container or a program on a laptop. It prefetches the
//! AWS Secrets Manager secrets that the program refers to, keeps them fresh, and serves them over
//! localhost HTTP within microseconds. Sidekey never changes secrets.
//!
//! The modules, in reading order. A module imports only from modules above it in this list:
//!
//! - [`printable`], [`http1`], [`clock`], [`hardening`], [`descriptors`]: small tools that
//!   do not handle secrets.
//! - [`tokens`]: the tokens that callers must send.
//! - [`secret`]: names, references, values and versions of secrets.
//! - [`convention`]: the rules for the names and values of each kind of secret (such as
//!   `sms-twilio`).
//! - [`message`]: finds references to secrets in the messages that a function receives.
//! - [`source`]: fetches secrets from AWS.
//! - [`telemetry`]: the log and the metrics.
//! - [`cache`]: keeps secrets, and decides when to refresh them.
//! - [`server`]: answers HTTP requests from the cache.
//! - [`client`]: sends requests to a running agent.
//! - [`config`]: reads the settings of all modules from variables and files.
//! - [`agent`]: starts and stops all parts of a running agent.
//! - [`exec`]: puts secrets into the variables of a program and starts the program.
//! - `commands`: the command line.
//!
//! `ARCHITECTURE.md` describes how the modules work together, and which rules hold between them.

#![cfg_attr(
    not(feature = "host"),
    allow(dead_code, unused_imports, reason = "only the command line uses these items")
)]

pub(crate) mod printable;
pub mod http1;
pub mod clock;
pub mod hardening;
pub(crate) mod descriptors;
pub mod tokens;
pub mod secret;
pub mod convention;
pub(crate) mod message;
pub mod source;
pub mod telemetry;
pub mod cache;
pub mod server;
pub mod client;
pub mod config;
pub mod agent;
pub mod exec;
#[cfg(feature = "host")]
pub mod commands;
#[cfg(test)]
mod hostile;

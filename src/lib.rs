//! Sidekey: a sidecar credential agent.
//!
//! Sidekey runs beside a Lambda function, a container or a program on a laptop. It prefetches the
//! AWS Secrets Manager secrets that the program refers to, keeps them fresh, and serves them over
//! localhost HTTP within microseconds. Sidekey never changes secrets.
//!
//! The modules, in reading order. A module imports only from modules above it in this list:
//!
//! - [`printable`], [`http1`], [`clock`], [`hardening`], [`descriptors`]: small tools for the other
//!   modules.
//! - [`outbound`]: the HTTP client for calls to other servers.
//! - [`tokens`]: the tokens that callers must send.
//! - [`secret`]: names, ARNs, values and versions of secrets.
//! - [`convention`]: rules for the names and values of secrets, for example which fields a Twilio
//!   secret must have.
//! - [`message`]: finds the names and ARNs of secrets in the messages that a Lambda function
//!   receives.
//! - [`broker`]: the rules of calls to other servers, to which the agent adds a credential.
//! - [`source`]: fetches secrets from AWS.
//! - [`telemetry`]: the log and the metrics of the agent.
//! - [`cache`]: keeps secrets, and decides when to refresh them.
//! - [`server`]: answers HTTP requests from the cache.
//! - [`client`]: sends requests to a running agent.
//! - [`config`]: reads the settings of all modules from variables and files.
//! - [`agent`]: starts and stops all parts of a running agent.
//! - [`exec`]: puts secrets into environment variables, and starts a program with them.
//! - `commands`: the command line.
//!
//! `ARCHITECTURE.md` describes how the modules work together, and which rules hold between them.

#![cfg_attr(
    not(feature = "host"),
    allow(
        dead_code,
        unused_imports,
        reason = "only the command line uses these items, and it needs the feature `host`"
    )
)]

pub(crate) mod printable;
pub mod http1;
pub mod clock;
pub mod hardening;
pub(crate) mod descriptors;
pub(crate) mod outbound;
pub mod tokens;
pub mod secret;
pub mod convention;
pub(crate) mod message;
pub(crate) mod broker;
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

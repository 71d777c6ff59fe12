//! Sidekey: a sidecar credential agent.
//!
//! Beside a Lambda function, a container or a program on a laptop it prefetches the Secrets Manager
//! secrets that the program refers to, keeps them fresh, and hands them out over localhost HTTP in
//! microseconds. It only ever reads secrets.
//!
//! The rooms, in reading order: [`secret`] has the words, [`convention`] says what secrets of some
//! kind look like, [`message`] finds references in what a function is handed, [`source`] is where
//! values come from, [`cache`] holds them and decides how fresh they are, [`server`] is how one asks,
//! [`telemetry`] is what it tells, [`config`] fills each part's configuration, and [`agent`] wires
//! them. `ARCHITECTURE.md` has the map and what must hold.

pub mod printable;
pub mod http1;
pub mod secret;
pub mod convention;
pub mod message;
pub mod clock;
pub mod source;
pub mod cache;
pub mod tokens;
pub mod server;
pub mod client;
pub mod handover;
pub mod telemetry;
pub mod config;
pub mod agent;
pub mod descriptors;
pub mod hardening;
#[cfg(feature = "host")]
pub mod commands;
#[cfg(test)]
mod hostile;

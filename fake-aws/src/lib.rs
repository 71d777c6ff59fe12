//! A fake of AWS Secrets Manager, Parameter Store and STS for tests, with faults to inject.
//!
#![doc = include_str!("../README.md")]

// The modules are in reading order: a module imports only from modules that are listed below it.
mod listener;
mod exchange;
mod seed;
mod parameter_store;
mod secrets_manager;
mod sts;
mod faults;
mod policy;
mod roles;
mod calls;
mod changes;
mod session_tokens;
mod token_bucket;
mod aws_json;
mod page;
mod resource;
mod operation;
mod error;
mod location;
mod random;
mod clock;
mod lock;

#[cfg(test)]
mod tests;

pub use calls::{Call, Calls};
pub use changes::Changes;
pub use clock::Now;
pub use error::AwsError;
pub use faults::{Fault, Faults, Match};
pub use location::Location;
pub use operation::Operation;
pub use parameter_store::parameter_value::ParameterValue;
pub use parameter_store::parameters::Parameters;
pub use roles::Roles;
pub use secrets_manager::plaintext::Plaintext;
pub use secrets_manager::secrets::Secrets;
pub use seed::{Format, Seed, SeedError};
pub use session_tokens::SessionTokens;
pub use token_bucket::TokenBucket;

use exchange::State;
use listener::Listener;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// A running fake of AWS Secrets Manager, Parameter Store and STS. Dropping this value stops the
/// fake in the background. [`stop`](Self::stop) also waits until all tasks of the fake have ended.
pub struct Fake {
    listener: Listener,
    state: Arc<State>,
    tasks: TaskTracker,
    stop: DropGuard,
}

impl Fake {
    /// Starts a fake AWS server on a free port of 127.0.0.1. `now` returns the current time.
    ///
    /// The server's default account is 123456789012, and its default region is eu-north-1. Requests
    /// can use names instead of ARNs only for secrets and parameters of this account and region.
    pub async fn start(now: Now) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let state = Arc::new(State::new(Location::default(), now));
        let listener = Listener::start(listener, Arc::clone(&state), tasks.clone(), stop.clone())?;
        Ok(Self { listener, state, tasks, stop: stop.drop_guard() })
    }

    /// Returns the socket address on which the fake AWS server listens.
    pub fn addr(&self) -> SocketAddr {
        self.listener.addr()
    }

    /// Returns the endpoint URL to configure in AWS clients, such as `http://127.0.0.1:40123`.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr())
    }

    /// Returns the handle with which a test reads and changes the fake AWS server's secrets.
    pub fn secrets(&self) -> &Secrets {
        &self.state.secrets
    }

    /// Returns the handle with which a test reads and changes the fake AWS server's parameters.
    pub fn parameters(&self) -> &Parameters {
        &self.state.parameters
    }

    /// Applies a seed (names and values of secrets and parameters). Creates missing secrets and
    /// parameters, and adds a version to each secret or parameter whose value differs from the
    /// seed.
    ///
    /// Removes the secrets and parameters that an earlier seed contained and this seed does not
    /// contain. Does not change secrets and parameters that no seed contained.
    pub fn apply(&self, seed: &Seed) -> Changes {
        let mut changes = self.secrets().apply(&seed.secrets);
        changes.extend(self.parameters().apply(&seed.parameters));
        changes
    }

    /// Returns the handle with which a test injects faults and sets latencies.
    pub fn faults(&self) -> &Faults {
        &self.state.faults
    }

    /// Returns the handle with which a test inspects the calls that the fake AWS server has
    /// received.
    pub fn calls(&self) -> &Calls {
        &self.state.calls
    }

    /// Returns the handle with which a test controls which session tokens the fake AWS server
    /// accepts.
    pub fn session_tokens(&self) -> &SessionTokens {
        &self.state.session_tokens
    }

    /// Returns the handle with which a test creates the IAM roles that callers can assume.
    pub fn roles(&self) -> &Roles {
        &self.state.roles
    }

    /// Returns the number of TCP connections that the fake AWS server has accepted since it was
    /// started.
    pub fn connections(&self) -> u64 {
        self.listener.connections()
    }

    /// Closes all open connections of the fake AWS server, even in the middle of a response. The
    /// server still accepts new connections.
    pub fn close_connections(&self) {
        self.listener.close_connections();
    }

    /// Closes all open connections of the fake AWS server, and makes the server refuse new
    /// connections until [`resume`](Self::resume). The server keeps its port, so that no other
    /// process can take the port.
    pub async fn pause(&self) -> io::Result<()> {
        self.listener.pause().await
    }

    /// Makes the fake AWS server accept connections on the same port again, after
    /// [`pause`](Self::pause).
    pub async fn resume(&self) -> io::Result<()> {
        self.listener.resume().await
    }

    /// Stops the fake AWS server and waits until all tasks of the fake have ended.
    pub async fn stop(self) {
        drop(self.stop);
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl fmt::Debug for Fake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fake").field("addr", &self.addr()).finish_non_exhaustive()
    }
}

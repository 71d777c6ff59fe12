//! Caches secrets in memory, and keeps the cached values fresh.
//!
//! [`open`] makes a cache and returns two handles: [`Cache`] reads secrets from the cache, and
//! [`Writer`] fetches secrets from AWS. Each submodule imports only submodules that are declared
//! above it.

pub mod freshness;
pub mod policies;
pub(crate) mod malformed;
pub(crate) mod withheld;
pub(crate) mod rollback;
pub(crate) mod failover;
pub mod plan;
pub mod failure;
pub(crate) mod rendered;
pub(crate) mod marks;
mod predecessor;
pub(crate) mod entry;
mod limits;
mod cached_secret;
pub(crate) mod snapshot;
mod rotation;
pub(crate) mod slots;
pub mod flight;
mod negative_cache;
pub mod discovery;
mod epoch;
mod state;
mod schedule;
pub(crate) mod status;
mod fetched;
mod gather;
mod replicas;
mod upstream;
mod logged_versions;
mod publisher;
mod acceptor;
mod writer;
pub mod prefetch;
pub(crate) mod refresh;
pub(crate) mod search;
mod served;
pub(crate) mod reader;
mod observed;
mod labels;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod simulation;

pub use reader::Cache;
pub(crate) use served::{How, ReadError, Served};
pub use state::{Config, Missing};
pub(crate) use writer::Writer;

use crate::clock::Clock;
use crate::secret::scope::Home;
use crate::source::Source;
use crate::telemetry::metrics::Metrics;
use freshness::Reason;
use state::State;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Makes an empty cache. Returns a handle that reads secrets ([`Cache`]), and a handle that fetches
/// secrets from AWS ([`Writer`]).
///
/// Each call to AWS runs as a task of `tasks`, so the agent can wait for all calls before it exits.
/// Cancelling `stop` ends all calls.
pub fn open(
    config: Config,
    home: Home,
    source: Arc<dyn Source>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    tasks: TaskTracker,
    stop: CancellationToken,
) -> (Cache, Writer) {
    metrics.announce_stale_reasons(&Reason::ALL.map(Reason::label));
    let state = Arc::new(State::new(config, home, clock, metrics));
    let writer = Writer::new(state.clone(), source, tasks, stop);
    (Cache::new(state, writer.clone()), writer)
}

//! Fetches the listed secrets at start.

use super::flight::{Flight, Landing};
use super::{Cache, Missing};
use crate::clock::within;
use crate::secret::key::Key;
use crate::secret::reference::SecretId;
use crate::source::BATCH_MAX;
use crate::telemetry::metrics::Operation;
use std::time::Duration;

/// From how many secrets on `auto` tries a batch: below it, parallel calls are as quick and need no
/// permission on `*`.
pub const AUTO_BATCH_MIN: usize = 6;

/// How the listed secrets are fetched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// One `GetSecretValue` each, in parallel: quota 10,000 a second, least privilege.
    #[default]
    Get,
    /// `BatchGetSecretValue` for 20 at a time: quota 100 a second, a permission on `*`.
    Batch,
    /// A batch where it pays, and `Get` for good once one failed.
    Auto,
}

/// What came of the prefetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// How many secrets are listed.
    pub listed: usize,
    /// The ones that are not held.
    pub missing: Vec<Missing>,
    /// How long it took.
    pub took: Duration,
    /// Whether every required one had been answered for by the deadline.
    pub is_settled: bool,
}

/// Fetches every listed secret and waits until each required one has been answered for, or
/// `deadline` has passed. The calls go on then; failed ones are made again by the refresh loop.
pub async fn run(cache: &Cache, mode: Mode, deadline: Duration) -> Report {
    let started = cache.clock().now();
    let listed = &cache.0.config.listed;
    let settled = within(cache.clock(), deadline, settle(cache, mode, listed)).await;
    let took = cache.clock().now().since(started).unwrap_or_default();
    Report { listed: listed.len(), missing: cache.missing(), took, is_settled: settled.is_some() }
}

async fn settle(cache: &Cache, mode: Mode, listed: &[Key]) {
    let home = cache.0.home.load();
    // The places among the calls under way are for required ones first.
    let mut ordered: Vec<&Key> = listed.iter().collect();
    ordered.sort_by_key(|key| !cache.is_required(key));
    let (in_batches, alone): (Vec<&Key>, Vec<&Key>) = ordered.into_iter().partition(|key| {
        is_batchable(mode, listed.len(), key, &home.region) && cache.check_scope(key).is_ok()
    });
    // What cannot be boarded now, the refresh loop makes up for.
    let boarded = alone.into_iter().filter_map(|key| Some((key, cache.board(key).ok()?.0)));
    let mut flights: Vec<(&Key, Flight)> = boarded.collect();
    let mut landings = Vec::new();
    for key in in_batches {
        if let Ok((flight, landing)) = cache.0.flights.board(key) {
            flights.push((key, flight));
            landings.extend(landing);
        }
    }
    if !landings.is_empty() {
        let cache = cache.clone();
        cache.0.tasks.clone().spawn(async move { run_batches(&cache, mode, landings).await });
    }
    for (_, flight) in flights.into_iter().filter(|(key, _)| cache.is_required(key)) {
        drop(flight.outcome().await);
    }
}

/// Returns whether `key` goes into a batch: that always answers the current version, and goes to
/// the function's own region.
fn is_batchable(mode: Mode, listed: usize, key: &Key, home: &str) -> bool {
    let is_wanted = match mode {
        Mode::Get => false,
        Mode::Batch => true,
        Mode::Auto => listed >= AUTO_BATCH_MIN,
    };
    let is_at_home = match &key.id {
        SecretId::Name(_) => true,
        SecretId::Arn(arn) => arn.region() == home,
    };
    is_wanted && is_at_home && key.selector.is_current()
}

async fn run_batches(cache: &Cache, mode: Mode, landings: Vec<Landing>) {
    let mut is_batching = true;
    // A batch names its answers by the secrets' own names, and by ARN it may reach a neighbour's
    // secret: beside that, a name would not be sure to be answered by the own one.
    let is_name = |landing: &Landing| matches!(landing.key().id, SecretId::Name(_));
    let (names, arns): (Vec<_>, Vec<_>) = landings.into_iter().partition(is_name);
    for mut landings in [names, arns] {
        while !landings.is_empty() {
            let chunk: Vec<Landing> = landings.drain(..landings.len().min(BATCH_MAX)).collect();
            if is_batching {
                is_batching = run_batch(cache, chunk).await || mode == Mode::Batch;
            } else {
                run_alone(cache, chunk);
            }
        }
    }
}

/// Makes one batch call and ends its flights. A batch that fails as a whole, as where the role lacks
/// the permission or one denied secret spoils it, is made up for by single calls.
async fn run_batch(cache: &Cache, chunk: Vec<Landing>) -> bool {
    let keys: Vec<Key> = chunk.iter().map(|landing| landing.key().clone()).collect();
    let sent = cache.sending();
    let answer = cache.0.source.fetch_batch(&keys).await;
    let is_cut = cache.count(Operation::BatchGetSecretValue, sent, answer.as_ref().err());
    match answer {
        _ if is_cut => {
            run_alone(cache, chunk);
            true
        }
        Ok(answers) => {
            for (landing, answer) in chunk.into_iter().zip(answers) {
                let outcome = cache.settle(landing.key(), sent, answer);
                landing.land(outcome);
            }
            true
        }
        Err(error) => {
            tracing::warn!(
                kind = error.kind.label(),
                code = &*error.code,
                secrets = keys.len(),
                "a batch failed; asking for its secrets one by one"
            );
            run_alone(cache, chunk);
            false
        }
    }
}

fn run_alone(cache: &Cache, landings: Vec<Landing>) {
    for landing in landings {
        cache.0.tasks.spawn(cache.clone().run_flight(landing));
    }
}

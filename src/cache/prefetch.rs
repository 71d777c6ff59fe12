//! Fetches the listed secrets at start.

use super::flight::{Flight, Landing};
use super::slots::Rank;
use super::{Cache, Missing};
use crate::clock::{Moment, within};
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

impl Mode {
    /// Returns whether batches are tried where so many secrets are listed.
    pub fn tries_batches(self, listed: usize) -> bool {
        match self {
            Self::Get => false,
            Self::Batch => true,
            Self::Auto => listed >= AUTO_BATCH_MIN,
        }
    }

    /// Returns whether another batch is tried after one that was answered, or failed as a whole.
    pub fn goes_on_with_batches(self, was_answered: bool) -> bool {
        was_answered || self == Self::Batch
    }
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

/// How many calls are started before the runtime looks at its sockets. The first are then on their
/// way, and their answers read, while others are still being signed; else all answers would come,
/// and be read, in one heap at the end. One by one, each change from signing to sending would cost
/// more than it gains.
const ABREAST: usize = 4;

/// A prefetch whose calls are under way.
#[derive(Debug)]
pub struct Underway {
    started: Moment,
    /// The flights for required secrets.
    awaited: Vec<Flight>,
}

/// Starts a call for every listed secret. Failed ones are made again by the refresh loop, which
/// begins once this is done: until then it would take each secret for one that was given up.
pub async fn begin(cache: &Cache, mode: Mode) -> Underway {
    let started = cache.clock().now();
    let listed = &cache.0.config.listed;
    let home = cache.0.home.load_full();
    // The places among the calls under way are for required ones first.
    let mut ordered: Vec<&Key> = listed.iter().collect();
    ordered.sort_by_key(|key| !cache.is_required(key));
    let (in_batches, alone): (Vec<&Key>, Vec<&Key>) = ordered.into_iter().partition(|key| {
        is_batchable(mode, listed.len(), key, &home.region) && cache.check_scope(key).is_ok()
    });
    let mut awaited = Vec::with_capacity(listed.len());
    let mut landings = Vec::new();
    // What cannot be boarded now, the refresh loop makes up for.
    for key in in_batches {
        if let Ok((flight, landing)) = cache.0.flights.board(key, Rank::Known) {
            awaited.extend(cache.is_required(key).then_some(flight));
            landings.extend(landing);
        }
    }
    if !landings.is_empty() {
        let cache = cache.clone();
        cache.0.tasks.clone().spawn(async move { run_batches(&cache, mode, landings).await });
    }
    for some in alone.chunks(ABREAST) {
        for key in some {
            let boarded = cache.board(key).ok().filter(|_| cache.is_required(key));
            awaited.extend(boarded.map(|(flight, _)| flight));
        }
        tokio::task::yield_now().await;
    }
    Underway { started, awaited }
}

impl Underway {
    /// Waits until every required secret has been answered for, or `deadline` has passed since the
    /// beginning. Calls that are under way then go on.
    pub async fn settle(self, cache: &Cache, deadline: Duration) -> Report {
        let took = |now: Moment| now.since(self.started).unwrap_or_default();
        let left = deadline.saturating_sub(took(cache.clock().now()));
        let answers = async {
            for flight in self.awaited {
                drop(flight.outcome().await);
            }
        };
        let settled = within(cache.clock(), left, answers).await;
        Report {
            listed: cache.0.config.listed.len(),
            missing: cache.missing(),
            took: took(cache.clock().now()),
            is_settled: settled.is_some(),
        }
    }
}

/// Returns whether `key` goes into a batch: that always answers the current version, and goes to
/// the function's own region.
fn is_batchable(mode: Mode, listed: usize, key: &Key, home: &str) -> bool {
    let is_at_home = match &key.id {
        SecretId::Name(_) => true,
        SecretId::Arn(arn) => arn.region() == home,
    };
    mode.tries_batches(listed) && is_at_home && key.selector.is_current()
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
                is_batching = mode.goes_on_with_batches(run_batch(cache, chunk).await);
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
    let slot = cache.0.flights.slot(Rank::Known).await;
    let sent = cache.sending();
    let answer = cache.0.source.fetch_batch(&keys).await;
    drop(slot);
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

//! Fetches the secrets in `SIDEKEY_SECRETS` when the agent starts.

use super::flight::{Flight, Landing};
use super::slots::Rank;
use super::state::Missing;
use super::writer::Writer;
use crate::clock::{Moment, within};
use crate::secret::key::Key;
use crate::secret::role::RoleArn;
use crate::secret::service::Service;
use crate::source::BATCH_MAX;
use std::collections::BTreeMap;
use std::time::Duration;

/// The smallest number of entries in `SIDEKEY_SECRETS` for which [`Mode::Auto`] makes batch calls.
/// Fewer secrets are fetched just as fast by parallel single calls, which need no IAM permission on
/// all secrets (`*`).
pub(crate) const AUTO_BATCH_MIN: usize = 6;

/// How the agent fetches the secrets of Secrets Manager in `SIDEKEY_SECRETS` at start. Parameters
/// of Parameter Store share calls of `GetParameters` in every mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// The agent makes one `GetSecretValue` call for each secret of Secrets Manager. AWS allows
    /// 10,000 such calls a second. The IAM role needs permission only on the secrets in
    /// `SIDEKEY_SECRETS`.
    #[default]
    Get,
    /// The agent makes one `BatchGetSecretValue` call for every 20 secrets of Secrets Manager. AWS
    /// allows 100 such calls a second. The IAM role needs a permission on all secrets (`*`).
    Batch,
    /// The agent makes batch calls if `SIDEKEY_SECRETS` has [`AUTO_BATCH_MIN`] or more secrets of
    /// Secrets Manager. After a failed batch call, the agent fetches each remaining secret by its
    /// own call.
    Auto,
}

impl Mode {
    /// Returns whether the agent fetches the secrets in `SIDEKEY_SECRETS` by batch calls of up to
    /// 20 secrets. `listed` is the number of secrets.
    pub fn tries_batches(self, listed: usize) -> bool {
        match self {
            Self::Get => false,
            Self::Batch => true,
            Self::Auto => listed >= AUTO_BATCH_MIN,
        }
    }

    /// Returns whether the agent makes another batch call for secrets. `was_answered` is `false` if
    /// the last batch call failed.
    pub fn goes_on_with_batches(self, was_answered: bool) -> bool {
        was_answered || self == Self::Batch
    }
}

/// The result of fetching the secrets in `SIDEKEY_SECRETS` when the agent starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The number of secrets in `SIDEKEY_SECRETS`.
    pub listed: usize,
    /// The number of secrets that match the patterns in `SIDEKEY_SECRETS`.
    pub found: usize,
    /// The secrets in `SIDEKEY_SECRETS` that are not cached after the agent has tried to fetch
    /// them.
    pub missing: Vec<Missing>,
    /// How long the agent took to fetch the secrets in `SIDEKEY_SECRETS` at start.
    pub took: Duration,
    /// Whether the first call for every required secret (a secret without which the agent is not
    /// ready), and the first search for every pattern, ended before the deadline, successfully or
    /// not.
    pub is_settled: bool,
}

/// How many calls to AWS the agent starts before it lets other tasks run, such as tasks that read
/// answers of AWS. A smaller number costs more in task switches than it gains.
const CALLS_PER_YIELD: usize = 4;

/// The calls for the secrets in `SIDEKEY_SECRETS` that the prefetch has started.
#[derive(Debug)]
pub(crate) struct Underway {
    started: Moment,
    /// The calls for the secrets that the agent must fetch before it is ready.
    awaited: Vec<Flight>,
}

/// Starts a call for every secret in `SIDEKEY_SECRETS`. Call this function before the refresh loop
/// starts, because the loop would fetch these secrets without batch calls.
pub(crate) async fn begin(writer: &Writer, mode: Mode) -> Underway {
    let state = writer.state();
    let started = state.clock.now();
    let listed = &state.config.listed;
    let home = state.home.load_full();
    // Sort required secrets first, because their calls must be sent first.
    let mut ordered: Vec<&Key> = listed.iter().collect();
    ordered.sort_by_key(|key| !state.is_required(key));
    let secrets = listed.iter().filter(|key| key.id.service() == Service::SecretsManager).count();
    let (in_batches, alone): (Vec<&Key>, Vec<&Key>) = ordered.into_iter().partition(|key| {
        is_batchable(mode, secrets, key, &home.region)
            && state.is_allowed(key.role.as_ref(), &key.id)
    });
    let mut awaited = Vec::with_capacity(listed.len());
    let mut landings = Vec::new();
    // If `join_or_start` fails, too many calls are waiting. The refresh loop then fetches the
    // secret later.
    for key in in_batches {
        if let Ok((flight, landing)) = state.flights.join_or_start(key, Rank::Known) {
            awaited.extend(state.is_required(key).then_some(flight));
            landings.extend(landing);
        }
    }
    if !landings.is_empty() {
        writer.spawn(run_batches(writer.clone(), mode, landings));
    }
    for some in alone.chunks(CALLS_PER_YIELD) {
        for key in some {
            let joined = writer.join_or_start(key).ok().filter(|_| state.is_required(key));
            awaited.extend(joined.map(|(flight, _)| flight));
        }
        tokio::task::yield_now().await;
    }
    Underway { started, awaited }
}

impl Underway {
    /// Waits until the first call for every required secret and the first search for every pattern
    /// have ended, or until `deadline` has passed since the calls were started. Unfinished calls
    /// and searches continue.
    pub(crate) async fn settle(self, writer: &Writer, deadline: Duration) -> Report {
        let state = writer.state();
        let left = deadline.saturating_sub(self.took(state.clock.now()));
        let Self { started, awaited } = self;
        let answers = async {
            for flight in awaited {
                drop(flight.outcome().await);
            }
            state.discovered().await;
        };
        let settled = within(&*state.clock, left, answers).await;
        Report {
            listed: state.config.listed.len(),
            found: state.discovery().count(),
            missing: state.missing(),
            took: state.clock.now().since(started).unwrap_or_default(),
            is_settled: settled.is_some(),
        }
    }

    fn took(&self, now: Moment) -> Duration {
        now.since(self.started).unwrap_or_default()
    }
}

/// Returns whether a batch call can fetch `key`. A batch call fetches only current versions of
/// secrets, and only from the region `home` of Sidekey's own configuration.
fn is_batchable(mode: Mode, secrets: usize, key: &Key, home: &str) -> bool {
    mode.tries_batches(secrets)
        && key.id.service() == Service::SecretsManager
        && key.id.region().is_none_or(|region| region == home)
        && key.selector.is_current()
}

/// Fetches secrets by batch calls of up to 20 secrets. After a failed batch call, `mode` decides
/// whether each remaining secret is fetched by its own call.
async fn run_batches(writer: Writer, mode: Mode, landings: Vec<Landing>) {
    // A batch call has one role. It identifies its answers by the names of secrets. An ARN may
    // belong to a secret with the same name in another account, so names and ARNs go into separate
    // batches.
    let mut batches: BTreeMap<(Option<RoleArn>, bool), Vec<Landing>> = BTreeMap::new();
    for landing in landings {
        let Key { role, id, .. } = landing.key();
        batches.entry((role.clone(), id.is_arn())).or_default().push(landing);
    }
    for mut remaining in batches.into_values() {
        // One role may lack the permission for batch calls that another role has.
        let mut is_batching = true;
        while !remaining.is_empty() {
            let chunk: Vec<Landing> = remaining.drain(..remaining.len().min(BATCH_MAX)).collect();
            let is_batching_now = is_batching && !knows_outage(&writer, &chunk);
            if is_batching_now {
                is_batching = mode.goes_on_with_batches(run_batch(&writer, chunk).await);
            } else {
                run_alone(&writer, chunk);
            }
        }
    }
}

/// Returns whether the home region of the secrets in `chunk` did not respond a moment ago, and
/// another region may have replicas of these secrets. Replicas are read by single calls.
fn knows_outage(writer: &Writer, chunk: &[Landing]) -> bool {
    let first = chunk.first();
    first.is_some_and(|landing| writer.upstream().replicas().known_outage(landing.key()).is_some())
}

/// Fetches all secrets of `chunk` by one batch call, and returns whether AWS answered. If the batch
/// call fails, for example because the IAM role lacks the permission, fetches each secret by its
/// own call.
async fn run_batch(writer: &Writer, chunk: Vec<Landing>) -> bool {
    let keys: Vec<Key> = chunk.iter().map(|landing| landing.key().clone()).collect();
    let slot = writer.state().flights.slot(Rank::Known).await;
    chunk.iter().for_each(Landing::mark_sent);
    let fetched = writer.upstream().fetch_batch(&keys).await;
    drop(slot);
    match fetched {
        // A freeze of the process interrupted the call, so further batch calls may succeed.
        None => {
            run_alone(writer, chunk);
            true
        }
        Some((sent, Ok(answers))) => {
            for (landing, answer) in chunk.into_iter().zip(answers) {
                match answer {
                    None => run_alone(writer, vec![landing]),
                    Some(Err(error)) if writer.upstream().may_fail_over(landing.key(), &error) => {
                        writer.spawn(writer.clone().run_failover(landing, error, sent));
                    }
                    Some(answer) => {
                        let outcome = writer.settle(landing.key(), sent, answer);
                        landing.land(outcome);
                    }
                }
            }
            true
        }
        Some((_, Err(error))) => {
            tracing::warn!(
                kind = error.kind.label(),
                code = &*error.code,
                secrets = keys.len(),
                "a call to AWS for several secrets failed; Sidekey fetches these secrets one by one"
            );
            run_alone(writer, chunk);
            false
        }
    }
}

fn run_alone(writer: &Writer, landings: Vec<Landing>) {
    for landing in landings {
        writer.spawn(writer.clone().run_flight(landing));
    }
}

#[cfg(test)]
mod tests;

//! Calls AWS and counts the calls. Repeats calls that a freeze of the process interrupted.

use super::failover::is_failure_of_region;
use super::fetched::{Answer, BatchAnswer, Fetched, Sent};
use super::flight::Landing;
use super::gather::{Gathered, Gatherer, Judgement, Leader, Permission, Place};
use super::replicas::{Attempt, Replicas};
use super::slots::Rank;
use super::state::State;
use crate::clock::Moment;
use crate::clock::freeze::{INTERRUPTIONS_MAX, was_interrupted};
use crate::secret::key::Key;
use crate::secret::reference::SecretId;
use crate::secret::secret_pattern::{Search, SecretPattern};
use crate::secret::service::Service;
use crate::source::{BatchResult, FetchError, FetchErrorKind, FoundPage, OwnCredentials, Source};
use crate::telemetry::metrics::{Ended, Operation};
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug)]
pub(super) struct Upstream {
    state: Arc<State>,
    source: Arc<dyn Source>,
    gatherer: Gatherer,
    replicas: Replicas,
}

impl Upstream {
    pub(super) fn new(state: Arc<State>, source: Arc<dyn Source>) -> Self {
        let replicas = Replicas::new(state.clone(), source.clone());
        Self { state, source, gatherer: Gatherer::default(), replicas }
    }

    pub(super) fn own_credentials(&self) -> Option<OwnCredentials> {
        self.source.own_credentials()
    }

    /// Returns the current time and the number of SnapStart restores, for a call to AWS that is
    /// sent now.
    pub(super) fn sending(&self) -> Sent {
        Sent::now(&self.state)
    }

    pub(super) fn replicas(&self) -> &Replicas {
        &self.replicas
    }

    /// Fetches the secret or parameter of `landing` from AWS. Waits until the number of running
    /// calls permits one more call. Parameters that requests need at the same moment share one
    /// call.
    pub(super) async fn fetch(&self, landing: &Landing) -> Fetched {
        let key = landing.key();
        let started = self.state.clock.now();
        let place = match (&key.id, key.id.service()) {
            (SecretId::Path(_), _) | (_, Service::SecretsManager) => None,
            (_, Service::ParameterStore) => {
                self.gatherer.join(key, landing.rank(), self.state.clock.now())
            }
        };
        let gathered = match place {
            None => None,
            Some(Place::Leader(leader)) => Some(self.lead(leader, landing).await),
            Some(Place::Joined(gathered)) => {
                // The leader may send the call at any time from now.
                landing.mark_sent();
                gathered.await.ok()
            }
        };
        match gathered {
            Some(Gathered::Fetched(fetched)) => fetched,
            Some(Gathered::Alone(judgement)) => {
                let fetched = self.fetch_alone(landing, started).await;
                if let Some(judgement) = judgement {
                    let now = self.state.clock.now();
                    let permission = Permission::of(&fetched.1);
                    self.gatherer.report(key.role.as_ref(), &judgement, permission, now);
                }
                fetched
            }
            None => self.fetch_alone(landing, started).await,
        }
    }

    /// Makes one call to AWS for all parameters of a batch, and sends the results to the waiting
    /// tasks. Returns the result for the first parameter of the batch: the parameter whose
    /// result `landing` reports.
    async fn lead(&self, leader: Leader, landing: &Landing) -> Gathered {
        let (keys, joined) = leader.gathered().await;
        if joined.is_empty() {
            return Gathered::Alone(None);
        }
        let answers = {
            let _slot = self.state.flights.slot(landing.rank()).await;
            landing.mark_sent();
            self.fetch_batch_again(&keys).await
        };
        let mut results = gathered(answers, keys.len()).into_iter();
        let own = results.next();
        for (reader, result) in joined.into_iter().zip(results) {
            // The send fails if the waiting task was cancelled.
            drop(reader.send(result));
        }
        own.expect("a batch call must contain at least one parameter")
    }

    /// Makes a batch call, and repeats it if a freeze of the process interrupted it. Returns `None`
    /// if a freeze interrupted each attempt.
    pub(super) async fn fetch_batch_again(&self, keys: &[Key]) -> Option<(Sent, BatchAnswer)> {
        for _ in 0..=INTERRUPTIONS_MAX {
            let answers = self.fetch_batch(keys).await;
            if answers.is_some() {
                return answers;
            }
        }
        None
    }

    /// Fetches one secret or parameter by a call of its own, for requests that have waited since
    /// `started`.
    async fn fetch_alone(&self, landing: &Landing, started: Moment) -> Fetched {
        let _slot = self.state.flights.slot(landing.rank()).await;
        landing.mark_sent();
        self.fetch_one(landing.key(), started).await
    }

    /// Fetches one secret or parameter, for requests that have waited since `started`. Does not
    /// check the limit on the number of running calls. Repeats the call if a freeze of the process
    /// interrupted it. If the call fails, may read a replica in another region.
    pub(super) async fn fetch_one(&self, key: &Key, started: Moment) -> Fetched {
        let mut refusal = None;
        if let Some(outage) = self.replicas.known_outage(key) {
            // Perhaps only a call for another secret got no response. So Sidekey calls the home
            // region if the secret has no replica.
            let is_home_untried = self.state.failure(key).is_none();
            match self.replicas.fetch(key, outage, started).await {
                Attempt::Refused { refusal: why, .. } if is_home_untried => refusal = Some(why),
                attempt => {
                    if let Some(fetched) = attempt.ended() {
                        return fetched;
                    }
                }
            }
        }
        let call = (single_operation(&key.id), self.source.deadline(key));
        for _ in 0..=INTERRUPTIONS_MAX {
            let sent = self.sending();
            let answer = self.source.fetch(key).await;
            if self.count(call, sent, answer.as_ref().err()) {
                continue;
            }
            self.replicas.note(key, answer.as_ref().err());
            let error = match answer {
                Err(error) if self.may_fail_over(key, &error) => error,
                answer => return (sent, answer.map(Answer::Home)),
            };
            if let Some(refusal) = &refusal {
                return (sent, Err(refusal.explain(error)));
            }
            if let Some(fetched) = self.replicas.fetch(key, error, started).await.ended() {
                return fetched;
            }
        }
        (self.sending(), Err(always_interrupted()))
    }

    /// Returns whether a replica may help after the home region failed with `error` for `key`.
    pub(super) fn may_fail_over(&self, key: &Key, error: &FetchError) -> bool {
        is_failure_of_region(error.kind) && self.replicas.is_needed(key)
    }

    /// Reads the replica of the secret of `landing`, after a batch call to the home region returned
    /// the error `home` for this secret. The requests for the secret have waited since `started`.
    pub(super) async fn fetch_replica(
        &self,
        landing: &Landing,
        home: FetchError,
        started: Moment,
    ) -> Fetched {
        let _slot = self.state.flights.slot(landing.rank()).await;
        match self.replicas.fetch(landing.key(), home, started).await.ended() {
            Some(fetched) => fetched,
            None => self.fetch_one(landing.key(), started).await,
        }
    }

    /// Reads one page of the secrets that match `pattern`. `page` is the token of the page, or
    /// `None` for the first page. Waits until the number of running calls permits one more call,
    /// and repeats the call if a freeze of the process interrupted it.
    pub(super) async fn find(
        &self,
        pattern: &SecretPattern,
        page: Option<&str>,
    ) -> (Sent, Result<FoundPage, FetchError>) {
        let _slot = self.state.flights.slot(Rank::FirstTime).await;
        let call = (search_operation(pattern), self.source.find_deadline());
        for _ in 0..=INTERRUPTIONS_MAX {
            let sent = self.sending();
            let answer = self.source.find(pattern, page).await;
            if !self.count(call, sent, answer.as_ref().err()) {
                return (sent, answer);
            }
        }
        (self.sending(), Err(always_interrupted()))
    }

    /// Fetches several secrets or parameters by one call. Returns the answer of AWS, and when the
    /// call was sent. Returns `None` if a freeze of the process interrupted the call.
    pub(super) async fn fetch_batch(&self, keys: &[Key]) -> Option<(Sent, BatchAnswer)> {
        let first = keys.first()?;
        let call = (batch_operation(first.id.service()), self.source.deadline(first));
        let sent = self.sending();
        let answer = self.source.fetch_batch(keys).await;
        let is_interrupted = self.count(call, sent, answer.as_ref().err());
        if !is_interrupted && let Some(key) = keys.first() {
            self.replicas.note(key, answer.as_ref().err());
        }
        (!is_interrupted).then_some((sent, answer))
    }

    /// Counts a call to AWS that has ended, unless the call failed before it was sent. Returns
    /// whether a freeze of the process or a SnapStart restore interrupted the call.
    fn count(
        &self,
        (operation, deadline): (Operation, Duration),
        sent: Sent,
        failed: Option<&FetchError>,
    ) -> bool {
        if failed.is_some_and(|error| !error.kind.is_call_result()) {
            return false;
        }
        let now = self.state.clock.now();
        self.state.detect_restore(now);
        let took = now.since(sent.moment);
        let is_interrupted = was_interrupted(took, deadline) || self.state.epoch() != sent.epoch;
        let ended = match failed {
            _ if is_interrupted => Ended::Interrupted,
            Some(error) => Ended::Failed(error.kind),
            None => Ended::Answered,
        };
        self.state.metrics.upstream(operation, ended, took.unwrap_or_default());
        is_interrupted
    }
}

/// Distributes the answer to a call for several parameters among the tasks (`readers`) that wait
/// for it. `answers` is `None` if a freeze interrupted the call.
///
/// AWS denies the whole call if it denies access to one of the parameters. So after a permanent
/// error, each task makes a call of its own. A transient error goes to all tasks, because more
/// calls would add load while AWS fails.
fn gathered(answers: Option<(Sent, BatchAnswer)>, readers: usize) -> Vec<Gathered> {
    let all_alone = |judgement: Option<Arc<Judgement>>| {
        (0..readers).map(|_| Gathered::Alone(judgement.clone())).collect()
    };
    let Some((sent, answers)) = answers else { return all_alone(None) };
    match answers {
        Ok(answers) => {
            let result = |answer: BatchResult| match answer {
                Some(answer) => Gathered::Fetched((sent, answer.map(Answer::Home))),
                None => Gathered::Alone(None),
            };
            answers.into_iter().map(result).collect()
        }
        Err(error) if error.kind.is_transient() => {
            let failed = || Gathered::Fetched((sent, Err(error.clone())));
            (0..readers).map(|_| failed()).collect()
        }
        Err(error) => {
            let is_denied = error.kind == FetchErrorKind::Denied;
            all_alone(is_denied.then(|| Judgement::of(readers)))
        }
    }
}

fn always_interrupted() -> FetchError {
    let message = "Lambda froze the process of Sidekey during each attempt to call AWS";
    FetchError::new(FetchErrorKind::Timeout, "TimeoutError", message)
}

/// Returns the operation that searches for the secrets that match `pattern`.
fn search_operation(pattern: &SecretPattern) -> Operation {
    match pattern.search() {
        Search::ValuesByName(_) => Operation::BatchGetSecretValue,
        Search::All | Search::Tags { .. } => Operation::ListSecrets,
    }
}

/// Returns the operation that fetches the secret, the parameter or the path `id`.
fn single_operation(id: &SecretId) -> Operation {
    match (id, id.service()) {
        (SecretId::Path(_), _) => Operation::GetParametersByPath,
        (_, Service::SecretsManager) => Operation::GetSecretValue,
        (_, Service::ParameterStore) => Operation::GetParameter,
    }
}

/// Returns the operation that fetches several secrets or parameters of `service`.
fn batch_operation(service: Service) -> Operation {
    match service {
        Service::SecretsManager => Operation::BatchGetSecretValue,
        Service::ParameterStore => Operation::GetParameters,
    }
}

#[cfg(test)]
mod tests;

//! The record of the calls that a fake AWS server received.

use crate::lock::lock;
use crate::operation::Operation;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};
use tokio::sync::Notify;

/// The maximum number of calls that the fake AWS server records with all details. Of older calls,
/// the fake keeps only the counts.
const CALLS_MAX: usize = 10_000;

/// The maximum number of pairs (operation, id of a secret or parameter) for which the fake AWS
/// server counts calls separately. The limit keeps a test with many names from filling the memory.
const PAIRS_MAX: usize = 10_000;

/// One call that the fake AWS server received. The `Debug` output omits the credentials of the
/// call.
#[derive(Clone, PartialEq, Eq)]
pub struct Call {
    /// The operation that the caller requested. `None` if the fake AWS server does not support this
    /// operation.
    pub operation: Option<Operation>,
    /// The ids of the secrets or the names of the parameters in the call, exactly as the caller
    /// sent them. `CreateSecret` calls have the name of the new secret here, and
    /// `GetParametersByPath` calls have the path.
    pub ids: Vec<String>,
    /// The AWS region for which the caller signed the call, such as `eu-north-1`. `None` if the
    /// call is not signed.
    pub region: Option<String>,
    /// The value of the request header `Host`.
    pub host: Option<String>,
    /// The value of the request header `User-Agent`.
    pub user_agent: Option<String>,
    /// The value of the request header `Authorization`. The fake AWS server does not verify the
    /// signature in this value.
    pub authorization: Option<String>,
    /// The value of the request header `X-Amz-Security-Token`: the session token of the caller.
    pub security_token: Option<String>,
    /// Identifies the TCP connection that carried the call. The fake AWS server numbers its
    /// connections from 1.
    pub connection: u64,
    /// When the call arrived, by the clock of the fake AWS server.
    pub received: SystemTime,
    /// How long the fake AWS server waits before it responds to the call. The delay of
    /// `Fault::Delay` is not included.
    pub latency: Duration,
    /// The error type in the response, such as `ThrottlingException`. `None` if the response
    /// contains a result, or if a fault prevents a response.
    pub error: Option<String>,
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("operation", &self.operation)
            .field("ids", &self.ids)
            .field("region", &self.region)
            .field("host", &self.host)
            .field("user_agent", &self.user_agent)
            .field("authorization", &redacted(self.authorization.as_ref()))
            .field("security_token", &redacted(self.security_token.as_ref()))
            .field("connection", &self.connection)
            .field("received", &self.received)
            .field("latency", &self.latency)
            .field("error", &self.error)
            .finish()
    }
}

fn redacted(credential: Option<&String>) -> Option<&'static str> {
    credential.map(|_| "..")
}

/// A handle with which a test inspects the calls that the fake AWS server received. All clones of
/// this handle share one record of calls.
///
/// The server computes the response to a call before it records the call. A test that waits for a
/// call with [`wait_for`](Self::wait_for) can therefore change secrets without changing the
/// response.
#[derive(Clone, Debug, Default)]
pub struct Calls {
    record: Arc<Mutex<Record>>,
    arrived: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Record {
    total: u64,
    by_operation: BTreeMap<Operation, u64>,
    by_id: HashMap<(Operation, String), u64>,
    recent: VecDeque<Call>,
}

impl Calls {
    /// Returns the number of all calls that the fake AWS server received.
    pub fn total(&self) -> u64 {
        self.record().total
    }

    /// Returns the number of calls of `operation` that the fake AWS server received.
    pub fn count(&self, operation: Operation) -> u64 {
        self.record().by_operation.get(&operation).copied().unwrap_or(0)
    }

    /// Returns the number of calls of `operation` that contained exactly the string `id` as the id
    /// of a secret, the name of a parameter, or a path. A call that contained the ARN does not
    /// count if `id` is the name.
    pub fn count_for(&self, operation: Operation, id: &str) -> u64 {
        let key = (operation, id.to_owned());
        self.record().by_id.get(&key).copied().unwrap_or(0)
    }

    /// Returns the calls that the fake AWS server received, oldest first. The list contains at most
    /// the last 10,000 calls.
    pub fn list(&self) -> Vec<Call> {
        self.record().recent.iter().cloned().collect()
    }

    /// Returns the calls after the first `count` calls, oldest first. Calls that are no longer in
    /// the record are left out.
    pub fn after(&self, count: u64) -> Vec<Call> {
        let record = self.record();
        let new = usize::try_from(record.total.saturating_sub(count)).unwrap_or(usize::MAX);
        let known = record.recent.len().saturating_sub(new);
        record.recent.iter().skip(known).cloned().collect()
    }

    /// Returns the most recent call that the fake AWS server received, or `None` if there was no
    /// call.
    pub fn last(&self) -> Option<Call> {
        self.record().recent.back().cloned()
    }

    /// Waits until the fake AWS server has received at least `count` calls of `operation`.
    pub async fn wait_for(&self, operation: Operation, count: u64) {
        loop {
            // Register for the notification before checking the count. Otherwise a call that
            // arrives between the check and the wait would be missed.
            let arrived = self.arrived.notified();
            if self.count(operation) >= count {
                return;
            }
            arrived.await;
        }
    }

    /// Removes all calls from the record, and resets all call counts to zero.
    pub fn clear(&self) {
        *self.record() = Record::default();
    }

    pub(crate) fn add(&self, call: Call) {
        self.record().add(call);
        self.arrived.notify_waiters();
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        lock(&self.record)
    }
}

impl Record {
    fn add(&mut self, call: Call) {
        self.total += 1;
        if let Some(operation) = call.operation {
            *self.by_operation.entry(operation).or_default() += 1;
            for id in &call.ids {
                let key = (operation, id.clone());
                if self.by_id.len() < PAIRS_MAX || self.by_id.contains_key(&key) {
                    *self.by_id.entry(key).or_default() += 1;
                }
            }
        }
        if self.recent.len() == CALLS_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(call);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(operation: Operation, ids: &[&str]) -> Call {
        Call {
            operation: Some(operation),
            ids: ids.iter().map(ToString::to_string).collect(),
            region: None,
            host: None,
            user_agent: None,
            authorization: Some("AWS4-HMAC-SHA256 Signature=hunter2".to_owned()),
            security_token: Some("hunter2".to_owned()),
            connection: 1,
            received: SystemTime::UNIX_EPOCH,
            latency: Duration::ZERO,
            error: None,
        }
    }

    #[test]
    fn calls_are_counted_by_operation_and_by_id() {
        let calls = Calls::default();
        calls.add(call(Operation::GetSecretValue, &["a"]));
        calls.add(call(Operation::BatchGetSecretValue, &["a", "b"]));
        assert_eq!(calls.total(), 2);
        assert_eq!(calls.count(Operation::GetSecretValue), 1);
        assert_eq!(calls.count_for(Operation::BatchGetSecretValue, "b"), 1);
        assert_eq!(calls.count_for(Operation::GetSecretValue, "b"), 0);
        calls.clear();
        assert_eq!((calls.total(), calls.last()), (0, None));
    }

    #[test]
    fn record_is_bounded_and_total_is_not() {
        let calls = Calls::default();
        for id in 0..=CALLS_MAX {
            calls.add(call(Operation::GetSecretValue, &[&id.to_string()]));
        }
        assert_eq!(calls.total(), 10_001);
        assert_eq!(calls.list().len(), CALLS_MAX);
        assert_eq!(calls.list()[0].ids, ["1"]);
        assert_eq!(calls.count_for(Operation::GetSecretValue, "9999"), 1);
        assert_eq!(calls.count_for(Operation::GetSecretValue, "10000"), 0);
    }

    #[test]
    fn after_returns_only_new_calls() {
        let calls = Calls::default();
        for id in ["a", "b", "c"] {
            calls.add(call(Operation::GetSecretValue, &[id]));
        }
        for (count, expected) in [(0, &["a", "b", "c"][..]), (2, &["c"]), (3, &[]), (9, &[])] {
            let ids: Vec<String> = calls.after(count).into_iter().flat_map(|it| it.ids).collect();
            assert_eq!(ids, expected, "{count}");
        }
    }

    #[test]
    fn debug_omits_credentials() {
        let calls = Calls::default();
        calls.add(call(Operation::GetSecretValue, &["a"]));
        let text = format!("{calls:?}");
        assert!(text.contains(r#"security_token: Some("..")"#), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }

    #[tokio::test]
    async fn wait_for_returns_after_the_requested_number_of_calls() {
        let calls = Calls::default();
        let waiting = calls.wait_for(Operation::GetSecretValue, 2);
        let asking = async {
            calls.add(call(Operation::GetSecretValue, &["a"]));
            tokio::task::yield_now().await;
            calls.add(call(Operation::GetSecretValue, &["a"]));
        };
        tokio::join!(waiting, asking);
        assert_eq!(calls.count(Operation::GetSecretValue), 2);
    }
}

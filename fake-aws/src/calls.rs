//! The record of the calls that the fake received.

use crate::lock::lock;
use crate::operation::Operation;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::Notify;

/// The maximum number of calls that the record keeps in full. Counts include older calls.
const CALLS_MAX: usize = 10_000;

/// The maximum number of pairs of operation and `SecretId` that are counted. Calls with further pairs
/// count only in the totals.
const PAIRS_MAX: usize = 10_000;

/// One call that the fake received. `Debug` omits the credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct Call {
    /// The operation, or `None` if the fake does not support it.
    pub operation: Option<Operation>,
    /// The secret ids exactly as the caller sent them. For `CreateSecret`, this is the name.
    pub secret_ids: Vec<String>,
    /// The header `Host`.
    pub host: Option<String>,
    /// The header `User-Agent`.
    pub user_agent: Option<String>,
    /// The header `Authorization`. The fake does not verify the signature in it.
    pub authorization: Option<String>,
    /// The header `X-Amz-Security-Token`.
    pub security_token: Option<String>,
    /// The number of the connection that carried the call. The first connection has number 1.
    pub connection: u64,
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("operation", &self.operation)
            .field("secret_ids", &self.secret_ids)
            .field("host", &self.host)
            .field("user_agent", &self.user_agent)
            .field("authorization", &redacted(self.authorization.as_ref()))
            .field("security_token", &redacted(self.security_token.as_ref()))
            .field("connection", &self.connection)
            .finish()
    }
}

/// Replaces a credential by dots and keeps the information whether there is a credential.
fn redacted(credential: Option<&String>) -> Option<&'static str> {
    credential.map(|_| "..")
}

/// A handle to the record of calls. Clones read the same record.
///
/// The fake records a call after it has computed the response and before it sends the response. A
/// change that a test makes after [`wait_for`](Self::wait_for) therefore does not affect that call.
#[derive(Clone, Debug, Default)]
pub struct Calls {
    record: Arc<Mutex<Record>>,
    arrived: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Record {
    total: u64,
    by_operation: BTreeMap<Operation, u64>,
    by_secret: HashMap<(Operation, String), u64>,
    recent: VecDeque<Call>,
}

impl Calls {
    /// Returns the number of all calls.
    pub fn total(&self) -> u64 {
        self.record().total
    }

    /// Returns the number of calls of one operation.
    pub fn count(&self, operation: Operation) -> u64 {
        self.record().by_operation.get(&operation).copied().unwrap_or(0)
    }

    /// Returns the number of calls of one operation for a secret. `secret_id` must be what the caller
    /// sent: a name does not count calls that use the ARN.
    pub fn count_for(&self, operation: Operation, secret_id: &str) -> u64 {
        let key = (operation, secret_id.to_owned());
        self.record().by_secret.get(&key).copied().unwrap_or(0)
    }

    /// Returns the last 10,000 calls, oldest first.
    pub fn list(&self) -> Vec<Call> {
        self.record().recent.iter().cloned().collect()
    }

    /// Returns the most recent call.
    pub fn last(&self) -> Option<Call> {
        self.record().recent.back().cloned()
    }

    /// Waits until the fake has received at least `count` calls of `operation`.
    pub async fn wait_for(&self, operation: Operation, count: u64) {
        loop {
            // Register before the check, so that no call is missed between check and wait.
            let arrived = self.arrived.notified();
            if self.count(operation) >= count {
                return;
            }
            arrived.await;
        }
    }

    /// Removes all calls from the record and resets all counts to zero.
    pub fn clear(&self) {
        *self.record() = Record::default();
    }

    /// Adds a call to the record and wakes all tasks in [`wait_for`](Self::wait_for).
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
            for id in &call.secret_ids {
                let key = (operation, id.clone());
                if self.by_secret.len() < PAIRS_MAX || self.by_secret.contains_key(&key) {
                    *self.by_secret.entry(key).or_default() += 1;
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

    fn call(operation: Operation, secret_ids: &[&str]) -> Call {
        Call {
            operation: Some(operation),
            secret_ids: secret_ids.iter().map(ToString::to_string).collect(),
            host: None,
            user_agent: None,
            authorization: Some("AWS4-HMAC-SHA256 Signature=hunter2".to_owned()),
            security_token: Some("hunter2".to_owned()),
            connection: 1,
        }
    }

    #[test]
    fn calls_are_counted_by_operation_and_by_secret() {
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
        assert_eq!(calls.list()[0].secret_ids, ["1"]);
        assert_eq!(calls.count_for(Operation::GetSecretValue, "9999"), 1);
        assert_eq!(calls.count_for(Operation::GetSecretValue, "10000"), 0);
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

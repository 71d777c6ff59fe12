//! What the double was asked.

use super::lock;
use super::operation::Operation;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::Notify;

/// How many calls are remembered in full. The counts go on beyond it.
pub const CALLS_MAX: usize = 10_000;

/// How many pairs of an operation and a `SecretId` are counted; calls about others are not.
const PAIRS_MAX: usize = 10_000;

/// One call, as it came in.
///
/// `Debug` leaves the credentials out.
#[derive(Clone, PartialEq, Eq)]
pub struct Call {
    /// The operation, or `None` for one that the double does not know.
    pub operation: Option<Operation>,
    /// The `SecretId`s as the caller wrote them; of `CreateSecret` the name.
    pub secret_ids: Vec<String>,
    /// The header `Host`.
    pub host: Option<String>,
    /// The header `User-Agent`.
    pub user_agent: Option<String>,
    /// The header `Authorization`, with the signature, which is not verified.
    pub authorization: Option<String>,
    /// The header `X-Amz-Security-Token`.
    pub security_token: Option<String>,
    /// Which connection it came on, counted from 1.
    pub connection: u64,
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |credential: &Option<String>| credential.as_ref().map(|_| "..");
        f.debug_struct("Call")
            .field("operation", &self.operation)
            .field("secret_ids", &self.secret_ids)
            .field("host", &self.host)
            .field("user_agent", &self.user_agent)
            .field("authorization", &shown(&self.authorization))
            .field("security_token", &shown(&self.security_token))
            .field("connection", &self.connection)
            .finish()
    }
}

/// A handle on the record of calls. Clones reach the same record.
///
/// A call is recorded when it has arrived in full and its answer is decided, before that is sent:
/// a change made after [`reached`](Self::reached) comes too late for it.
#[derive(Clone, Debug, Default)]
pub struct Calls {
    record: Arc<Mutex<Record>>,
    arrived: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Record {
    total: u64,
    of_operation: BTreeMap<Operation, u64>,
    of_secret: HashMap<(Operation, String), u64>,
    recent: VecDeque<Call>,
}

impl Calls {
    /// Returns how many calls there were.
    pub fn total(&self) -> u64 {
        self.record().total
    }

    /// Returns how many calls of an operation there were.
    pub fn count(&self, operation: Operation) -> u64 {
        self.record().count(operation)
    }

    /// Returns how many calls of an operation asked for a secret by this `SecretId`.
    pub fn count_for(&self, operation: Operation, secret_id: &str) -> u64 {
        let key = (operation, secret_id.to_owned());
        self.record().of_secret.get(&key).copied().unwrap_or(0)
    }

    /// Returns the last [`CALLS_MAX`] calls, oldest first.
    pub fn list(&self) -> Vec<Call> {
        self.record().recent.iter().cloned().collect()
    }

    /// Returns the last call.
    pub fn last(&self) -> Option<Call> {
        self.record().recent.back().cloned()
    }

    /// Waits until there were at least `count` calls of an operation.
    pub async fn reached(&self, operation: Operation, count: u64) {
        loop {
            let arrived = self.arrived.notified();
            if self.count(operation) >= count {
                return;
            }
            arrived.await;
        }
    }

    /// Forgets all calls, counts included.
    pub fn clear(&self) {
        *self.record() = Record::default();
    }

    /// Adds a call.
    pub(super) fn add(&self, call: Call) {
        self.record().add(call);
        self.arrived.notify_waiters();
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        lock(&self.record)
    }
}

impl Record {
    fn count(&self, operation: Operation) -> u64 {
        self.of_operation.get(&operation).copied().unwrap_or(0)
    }

    fn add(&mut self, call: Call) {
        self.total += 1;
        if let Some(operation) = call.operation {
            *self.of_operation.entry(operation).or_default() += 1;
            for id in &call.secret_ids {
                let key = (operation, id.clone());
                if self.of_secret.len() < PAIRS_MAX || self.of_secret.contains_key(&key) {
                    *self.of_secret.entry(key).or_default() += 1;
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
    fn the_record_is_bounded_and_the_count_is_not() {
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
    fn debug_leaves_credentials_out() {
        let calls = Calls::default();
        calls.add(call(Operation::GetSecretValue, &["a"]));
        let text = format!("{calls:?}");
        assert!(text.contains(r#"security_token: Some("..")"#), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }

    #[tokio::test]
    async fn a_count_can_be_waited_for() {
        let calls = Calls::default();
        let waiting = calls.reached(Operation::GetSecretValue, 2);
        let asking = async {
            calls.add(call(Operation::GetSecretValue, &["a"]));
            tokio::task::yield_now().await;
            calls.add(call(Operation::GetSecretValue, &["a"]));
        };
        tokio::join!(waiting, asking);
        assert_eq!(calls.count(Operation::GetSecretValue), 2);
    }
}

//! Faults that a test injects, and the latency of responses.

use crate::clock::Now;
use crate::error::AwsError;
use crate::lock::lock;
use crate::operation::Operation;
use crate::policy::Policy;
use crate::token_bucket::TokenBucket;
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// A fault that the fake injects into one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No fault: the call gets its normal response, even if [`Faults::always`] set another fault.
    /// Use this variant for the gaps in a [script](Faults::script).
    Pass,
    /// The fake returns `ThrottlingException` and does not execute the operation.
    Throttle,
    /// The fake returns `InternalServiceError` with status 500 and does not execute the operation.
    InternalError,
    /// The fake returns the given error and does not execute the operation.
    Error {
        /// The HTTP status of the response.
        status: u16,
        /// AWS's name of the error, such as `ResourceNotFoundException`.
        kind: String,
        /// The error message.
        message: String,
    },
    /// The fake never responds, but keeps the connection open. It does not execute the operation.
    Stall,
    /// The fake resets the connection with a TCP RST. It does not execute the operation.
    Reset,
    /// The fake closes the connection after half of the response body.
    Truncated,
    /// The fake sends a body that is neither JSON nor UTF-8, with the content type of JSON.
    Garbage,
    /// The fake sends the normal response body with this content type.
    ContentType(String),
    /// The fake sends the response body byte by byte, and waits this long before each byte.
    Drip(Duration),
    /// The fake sends the normal response this much later than the configured latency.
    Delay(Duration),
}

/// Selects the calls that a fault or a latency applies to. A condition that is not set matches every
/// call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Match {
    operation: Option<Operation>,
    secret: Option<String>,
}

impl Match {
    /// Matches every call.
    pub fn any() -> Self {
        Self::default()
    }

    /// Matches all calls of one operation.
    pub fn operation(operation: Operation) -> Self {
        Self { operation: Some(operation), secret: None }
    }

    /// Matches all calls for one secret, including batches that contain the secret. A name also
    /// matches calls that use the ARN, and an ARN also matches calls that use the name.
    pub fn secret(id: &str) -> Self {
        Self { operation: None, secret: Some(id.to_owned()) }
    }

    /// Restricts this match to calls for one secret.
    #[must_use]
    pub fn and_secret(self, id: &str) -> Self {
        Self { secret: Some(id.to_owned()), ..self }
    }

    fn matches(&self, target: &CallTarget) -> bool {
        self.operation.is_none_or(|operation| target.operation == Some(operation))
            && self.secret.as_ref().is_none_or(|id| target.secret_aliases.contains(id))
    }
}

/// The operation and the secrets of a call. A [`Match`] checks both.
#[derive(Debug, Default)]
pub(crate) struct CallTarget {
    /// The operation, or `None` if the fake does not support it.
    pub(crate) operation: Option<Operation>,
    /// The names and the ARNs of all secrets that the call asks for.
    pub(crate) secret_aliases: Vec<String>,
}

/// The latency and the fault that apply to one call.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The time from the arrival of the request to the start of the response.
    pub(crate) latency: Duration,
    /// The fault to inject. [`Fault::Pass`] means no fault.
    pub(crate) fault: Fault,
}

/// A handle that injects faults and sets latencies. Clones control the same fake.
///
/// The fake picks one fault per call: first from the oldest script that matches and has faults left,
/// then from the rate limit, then from the oldest matching [`always`](Self::always).
#[derive(Clone)]
pub struct Faults {
    rules: Arc<Mutex<Rules>>,
    now: Now,
}

#[derive(Debug, Default)]
struct Rules {
    latency: Duration,
    latencies: Vec<(Match, Duration)>,
    scripts: Vec<(Match, VecDeque<Fault>)>,
    permanent: Vec<(Match, Fault)>,
    rate_limit: Option<TokenBucket>,
    policy: Arc<Policy>,
}

impl Faults {
    pub(crate) fn new(now: Now) -> Self {
        Self { rules: Arc::default(), now }
    }

    /// Sets the latency of all responses. The fake computes a response when the request arrives and
    /// sends it later, so a value that changes in between is still the old value in the response.
    pub fn set_latency(&self, latency: Duration) {
        self.rules().latency = latency;
    }

    /// Sets the latency of the responses to matching calls. If several latencies match a call, the
    /// last one that was set applies.
    pub fn set_latency_of(&self, matching: Match, latency: Duration) {
        let mut rules = self.rules();
        rules.latencies.retain(|(it, _)| *it != matching);
        rules.latencies.push((matching, latency));
    }

    /// Injects `faults` into the next matching calls: the first fault into the first call, and so on.
    pub fn script(&self, matching: Match, faults: impl IntoIterator<Item = Fault>) {
        self.rules().scripts.push((matching, faults.into_iter().collect()));
    }

    /// Injects `fault` into every matching call, until [`clear`](Self::clear) is called.
    pub fn always(&self, matching: Match, fault: Fault) {
        self.rules().permanent.push((matching, fault));
    }

    /// Throttles all calls above this rate. The bucket holds the calls of one second.
    pub fn throttle_above(&self, calls_per_second: u32) {
        let now = (self.now)();
        self.rules().rate_limit = Some(TokenBucket::full(calls_per_second, now));
    }

    /// Denies an operation on all secrets, as an IAM policy does.
    pub fn deny_operation(&self, operation: Operation) {
        self.change_policy(|policy| policy.set_operation_denied(operation, true));
    }

    /// Allows an operation that [`deny_operation`](Self::deny_operation) denied.
    pub fn allow_operation(&self, operation: Operation) {
        self.change_policy(|policy| policy.set_operation_denied(operation, false));
    }

    /// Denies all operations on a secret, as an IAM policy does.
    pub fn deny_secret(&self, id: &str) {
        self.change_policy(|policy| policy.set_secret_denied(id, true));
    }

    /// Allows all operations on a secret that [`deny_secret`](Self::deny_secret) denied.
    pub fn allow_secret(&self, id: &str) {
        self.change_policy(|policy| policy.set_secret_denied(id, false));
    }

    /// Sets whether one denied secret fails the whole batch. AWS fails the batch if the policy of a
    /// VPC endpoint denies the secret, and reports one error per secret if an IAM policy denies it.
    pub fn batch_fails_on_denied(&self, fails: bool) {
        self.change_policy(|policy| policy.set_batch_fails_on_denied(fails));
    }

    /// Sets whether the KMS key of a secret is broken. Reads of the value then fail with
    /// `DecryptionFailure`.
    pub fn break_key(&self, id: &str, is_broken: bool) {
        self.change_policy(|policy| policy.set_key_broken(id, is_broken));
    }

    /// Removes all faults, latencies, denials and limits. Calls that have already arrived keep
    /// their fault.
    pub fn clear(&self) {
        *self.rules() = Rules::default();
    }

    /// Returns the number of faults in all scripts that were not injected yet.
    pub fn remaining_scripted(&self) -> usize {
        self.rules().scripts.iter().map(|(_, faults)| faults.len()).sum()
    }

    /// Picks the latency and the fault of a call, and removes the fault from its script.
    pub(crate) fn next_outcome(&self, target: &CallTarget) -> Outcome {
        let now = (self.now)();
        let mut rules = self.rules();
        let latency = rules.latency_of(target);
        if let Some(fault) = rules.next_scripted(target) {
            return Outcome { latency, fault };
        }
        if rules.rate_limit.as_mut().is_some_and(|bucket| !bucket.take(now)) {
            return Outcome { latency, fault: Fault::Throttle };
        }
        let permanent = rules.permanent.iter().find(|(matching, _)| matching.matches(target));
        let fault = permanent.map_or(Fault::Pass, |(_, fault)| fault.clone());
        Outcome { latency, fault }
    }

    /// Returns the current permissions of the caller's role.
    pub(crate) fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.rules().policy)
    }

    fn change_policy(&self, change: impl FnOnce(&mut Policy)) {
        change(Arc::make_mut(&mut self.rules().policy));
    }

    fn rules(&self) -> MutexGuard<'_, Rules> {
        lock(&self.rules)
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rules().fmt(f)
    }
}

impl Rules {
    fn latency_of(&self, target: &CallTarget) -> Duration {
        let special = self.latencies.iter().rev().find(|(matching, _)| matching.matches(target));
        special.map_or(self.latency, |(_, latency)| *latency)
    }

    fn next_scripted(&mut self, target: &CallTarget) -> Option<Fault> {
        let (_, faults) = self
            .scripts
            .iter_mut()
            .find(|(matching, faults)| !faults.is_empty() && matching.matches(target))?;
        let fault = faults.pop_front();
        self.scripts.retain(|(_, faults)| !faults.is_empty());
        fault
    }
}

impl Fault {
    /// Returns the error that the fake sends instead of the normal response, if this fault is an
    /// error.
    pub(crate) fn error(&self) -> Option<AwsError> {
        match self {
            Self::Throttle => Some(AwsError::throttled()),
            Self::InternalError => Some(AwsError::internal()),
            Self::Error { status, kind, message } => Some(AwsError {
                status: *status,
                kind: kind.clone().into(),
                message: message.clone().into(),
            }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    const MS: Duration = Duration::from_millis(1);

    fn faults() -> Faults {
        Faults::new(Arc::new(|| SystemTime::UNIX_EPOCH))
    }

    fn target(operation: Operation, aliases: &[&str]) -> CallTarget {
        let secret_aliases = aliases.iter().map(ToString::to_string).collect();
        CallTarget { operation: Some(operation), secret_aliases }
    }

    #[test]
    fn script_is_played_once_and_by_matching_calls_only() {
        let faults = faults();
        let script = [Fault::Throttle, Fault::Pass, Fault::Stall];
        faults.script(Match::operation(Operation::GetSecretValue).and_secret("db"), script);
        let matching = target(Operation::GetSecretValue, &["arn:of:db", "db"]);
        let next = |target: &CallTarget| faults.next_outcome(target).fault;
        assert_eq!(next(&target(Operation::GetSecretValue, &["other"])), Fault::Pass);
        assert_eq!(next(&target(Operation::DescribeSecret, &["db"])), Fault::Pass);
        assert_eq!(next(&matching), Fault::Throttle);
        assert_eq!(next(&matching), Fault::Pass);
        assert_eq!(faults.remaining_scripted(), 1);
        assert_eq!(next(&matching), Fault::Stall);
        assert_eq!(next(&matching), Fault::Pass);
    }

    #[test]
    fn script_takes_precedence_over_permanent_fault() {
        let faults = faults();
        faults.always(Match::any(), Fault::InternalError);
        faults.script(Match::secret("db"), [Fault::Pass]);
        let call = target(Operation::GetSecretValue, &["db"]);
        assert_eq!(faults.next_outcome(&call).fault, Fault::Pass);
        assert_eq!(faults.next_outcome(&call).fault, Fault::InternalError);
        faults.clear();
        assert_eq!(faults.next_outcome(&call).fault, Fault::Pass);
    }

    #[test]
    fn latency_of_matching_calls_takes_precedence_over_general_latency() {
        let faults = faults();
        faults.set_latency(10 * MS);
        faults.set_latency_of(Match::operation(Operation::GetSecretValue), 20 * MS);
        faults.set_latency_of(Match::secret("db"), 30 * MS);
        let check = |operation, secret: &str, expected| {
            assert_eq!(faults.next_outcome(&target(operation, &[secret])).latency, expected);
        };
        check(Operation::DescribeSecret, "other", 10 * MS);
        check(Operation::GetSecretValue, "other", 20 * MS);
        check(Operation::GetSecretValue, "db", 30 * MS);
    }

    #[test]
    fn calls_above_the_rate_limit_are_throttled() {
        let faults = faults();
        faults.throttle_above(2);
        let outcomes = [(); 3].map(|()| faults.next_outcome(&CallTarget::default()).fault);
        assert_eq!(outcomes, [Fault::Pass, Fault::Pass, Fault::Throttle]);
    }
}

//! Faults and latencies that a test injects into calls to the fake AWS server.

use crate::clock::Now;
use crate::error::AwsError;
use crate::lock::lock;
use crate::operation::{Operation, Service};
use crate::policy::Policy;
use crate::resource::Resource;
use crate::token_bucket::TokenBucket;
use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

/// A fault that the fake AWS server injects into a call, such as an error response or a broken
/// connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No fault: the call gets its normal response. In a list of faults for [`Faults::script`],
    /// this value lets one call succeed between two faults.
    Pass,
    /// Fault: the fake AWS server returns `ThrottlingException` and does not execute the operation.
    Throttle,
    /// Fault: the fake AWS server returns `InternalServiceError` with status 500 and does not
    /// execute the operation. In Parameter Store, the error is called `InternalServerError`.
    InternalError,
    /// Fault: the fake AWS server returns an error response with these fields, and does not execute
    /// the operation.
    Error {
        /// The HTTP status of the injected error response.
        status: u16,
        /// The name of the injected error in AWS's API, such as `ResourceNotFoundException`.
        kind: String,
        /// The error message of the injected error response.
        message: String,
    },
    /// Fault: the fake AWS server keeps the connection open, but never responds. The server does
    /// not execute the operation.
    Stall,
    /// Fault: the fake AWS server resets the TCP connection (sends RST), and does not execute the
    /// operation.
    Reset,
    /// Fault: the fake AWS server sends only the first half of the response body and then closes
    /// the connection.
    Truncated,
    /// Fault: the fake AWS server sends a response body that is neither JSON nor UTF-8. The
    /// `Content-Type` header still says JSON.
    Garbage,
    /// Fault: the fake AWS server sends the normal response body, but with this value of the
    /// `Content-Type` header.
    ContentType(String),
    /// Fault: the fake AWS server sends the response body byte by byte. The server waits for this
    /// duration before each byte.
    Drip(Duration),
    /// Fault: the fake AWS server delays the normal response by this duration, in addition to the
    /// latency that the test has set for all calls.
    Delay(Duration),
}

/// A condition that selects the calls to which a fault or a latency applies: the calls of an
/// operation, the calls for a secret or a parameter, the calls in a region, or all calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Match {
    operation: Option<Operation>,
    resource: Option<Resource>,
    region: Option<String>,
}

impl Match {
    /// Returns a condition that every call satisfies.
    pub fn any() -> Self {
        Self::default()
    }

    /// Returns a condition that all calls of `operation` satisfy.
    pub fn operation(operation: Operation) -> Self {
        Self { operation: Some(operation), ..Self::default() }
    }

    /// Returns a condition that all calls for one secret satisfy, including batch calls that
    /// contain the secret, and calls that read the secret through Parameter Store.
    ///
    /// `id` is the name or ARN of the secret. It does not matter whether a call uses the name or
    /// the ARN.
    pub fn secret(id: &str) -> Self {
        Self { resource: Some(Resource::secret(id)), ..Self::default() }
    }

    /// Returns this condition, restricted to calls for one secret. `id` is the name or ARN of the
    /// secret.
    #[must_use]
    pub fn and_secret(self, id: &str) -> Self {
        Self { resource: Some(Resource::secret(id)), ..self }
    }

    /// Returns a condition that all calls for one parameter satisfy, including calls that read
    /// several parameters.
    ///
    /// `id` is the name or ARN of the parameter, without a version or a label. It does not matter
    /// whether a call uses the name or the ARN. To select `GetParametersByPath` calls, `id` must be
    /// the path.
    pub fn parameter(id: &str) -> Self {
        Self { resource: Some(Resource::parameter(id)), ..Self::default() }
    }

    /// Returns this condition, restricted to calls for one parameter. `id` is the name or ARN of
    /// the parameter, or a path.
    #[must_use]
    pub fn and_parameter(self, id: &str) -> Self {
        Self { resource: Some(Resource::parameter(id)), ..self }
    }

    /// Returns a condition that all calls in one AWS region satisfy. A call's region is the region
    /// in its signature.
    pub fn region(region: &str) -> Self {
        Self { region: Some(region.to_owned()), ..Self::default() }
    }

    /// Returns this condition, restricted to calls in one AWS region.
    #[must_use]
    pub fn and_region(self, region: &str) -> Self {
        Self { region: Some(region.to_owned()), ..self }
    }

    fn matches(&self, target: &CallTarget) -> bool {
        self.operation.is_none_or(|operation| target.operation == Some(operation))
            && self.resource.as_ref().is_none_or(|resource| target.aliases.contains(resource))
            && (self.region.is_none() || self.region == target.region)
    }
}

/// The properties of a call that decide whether the fake AWS server injects a fault.
#[derive(Debug, Default)]
pub(crate) struct CallTarget {
    /// The operation of the call. `None` if the fake AWS server does not support this operation.
    pub(crate) operation: Option<Operation>,
    /// The names and the ARNs of all secrets and parameters that the call requests.
    pub(crate) aliases: Vec<Resource>,
    /// The AWS region in the signature of the call. `None` if the call is not signed.
    pub(crate) region: Option<String>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// How long the fake AWS server waits after the request arrived, before it starts to send the
    /// response.
    pub(crate) latency: Duration,
    /// The fault that the fake AWS server injects into the call, or [`Fault::Pass`] for no fault.
    pub(crate) fault: Fault,
}

/// A handle with which a test injects faults and sets latencies. All clones of this handle control
/// the same fake AWS server.
///
/// The server injects at most one fault per call. It looks for a fault in this order:
///
/// 1. the oldest list of faults from [`script`](Self::script) that applies to the call and has
///    faults left,
///
/// 2. the rate limits,
///
/// 3. the oldest fault from [`always`](Self::always) that applies to the call.
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
    /// The rate limits: for each limit, the operations that share it, and the bucket that counts
    /// their calls.
    rate_limits: Vec<(BTreeSet<Operation>, TokenBucket)>,
    policy: Arc<Policy>,
}

impl Faults {
    pub(crate) fn new(now: Now) -> Self {
        Self { rules: Arc::default(), now }
    }

    /// Sets the latency of all responses, except those for which
    /// [`set_latency_of`](Self::set_latency_of) sets another latency.
    ///
    /// If a secret changes during the latency, the response still contains the old value of the
    /// secret.
    pub fn set_latency(&self, latency: Duration) {
        self.rules().latency = latency;
    }

    /// Sets the latency of the responses to calls that satisfy the condition `matching`. If several
    /// latencies apply to a call, the fake AWS server uses the one that was set last.
    pub fn set_latency_of(&self, matching: Match, latency: Duration) {
        let mut rules = self.rules();
        rules.latencies.retain(|(it, _)| *it != matching);
        rules.latencies.push((matching, latency));
    }

    /// Injects `faults` into the next calls that satisfy the condition `matching`. The first fault
    /// applies to the first call, the second fault to the second call, and so on.
    pub fn script(&self, matching: Match, faults: impl IntoIterator<Item = Fault>) {
        self.rules().scripts.push((matching, faults.into_iter().collect()));
    }

    /// Injects `fault` into every call that satisfies the condition `matching`, until
    /// [`clear`](Self::clear) is called.
    pub fn always(&self, matching: Match, fault: Fault) {
        self.rules().permanent.push((matching, fault));
    }

    /// Sets a rate limit for all calls. The fake AWS server returns `ThrottlingException` for calls
    /// above this limit. After a second without calls, `calls_per_second` calls can pass at once.
    pub fn throttle_above(&self, calls_per_second: u32) {
        self.throttle_operations_above(Operation::ALL, calls_per_second);
    }

    /// Sets a rate limit that several operations share. The fake AWS server returns
    /// `ThrottlingException` for calls of these operations above the limit.
    ///
    /// In an AWS account, `GetParameter` and `GetParameters` share a limit of 40 calls per second.
    pub fn throttle_operations_above(
        &self,
        operations: impl IntoIterator<Item = Operation>,
        calls_per_second: u32,
    ) {
        let operations: BTreeSet<Operation> = operations.into_iter().collect();
        let bucket = TokenBucket::full(calls_per_second, (self.now)());
        let mut rules = self.rules();
        rules.rate_limits.retain(|(limited, _)| *limited != operations);
        rules.rate_limits.push((operations, bucket));
    }

    /// Denies an operation on all secrets and parameters. Calls of the operation get the error that
    /// AWS returns if an IAM policy denies the operation.
    pub fn deny_operation(&self, operation: Operation) {
        self.change_policy(|policy| policy.set_operation_denied(operation, true));
    }

    /// Reverts [`deny_operation`](Self::deny_operation): allows the operation again.
    pub fn allow_operation(&self, operation: Operation) {
        self.change_policy(|policy| policy.set_operation_denied(operation, false));
    }

    /// Denies all operations on one secret, whose name or ARN is `id`. Calls for the secret get the
    /// same error as if an IAM policy denied the operation.
    pub fn deny_secret(&self, id: &str) {
        self.change_policy(|policy| policy.set_denied(Resource::secret(id), true));
    }

    /// Reverts [`deny_secret`](Self::deny_secret): allows all operations on the secret again.
    pub fn allow_secret(&self, id: &str) {
        self.change_policy(|policy| policy.set_denied(Resource::secret(id), false));
    }

    /// Denies all operations on one parameter, with the error that AWS returns if an IAM policy
    /// denies them. `id` is the name or ARN of the parameter.
    ///
    /// `GetParametersByPath` needs permission only for the path. To deny this operation, `id` must
    /// be the path.
    pub fn deny_parameter(&self, id: &str) {
        self.change_policy(|policy| policy.set_denied(Resource::parameter(id), true));
    }

    /// Reverts [`deny_parameter`](Self::deny_parameter): allows all operations on the parameter
    /// again.
    pub fn allow_parameter(&self, id: &str) {
        self.change_policy(|policy| policy.set_denied(Resource::parameter(id), false));
    }

    /// Sets whether a batch call fails as a whole if access to one of its secrets is denied.
    ///
    /// AWS fails the whole call if the policy of a VPC endpoint denies a secret. If an IAM policy
    /// denies a secret, AWS reports an error for only this secret.
    pub fn batch_fails_on_denied(&self, fails: bool) {
        self.change_policy(|policy| policy.set_batch_fails_on_denied(fails));
    }

    /// Sets whether the KMS key that encrypts a secret is unusable, as if the key were disabled.
    /// Reads of the secret's value then fail with `DecryptionFailure`. `id` is the name or ARN of
    /// the secret.
    pub fn break_key(&self, id: &str, is_broken: bool) {
        self.change_policy(|policy| policy.set_key_broken(Resource::secret(id), is_broken));
    }

    /// Sets whether the KMS key that encrypts a `SecureString` is unusable, as if the key were
    /// disabled. Reads with decryption then fail with `InvalidKeyId`. `id` is the name or ARN of
    /// the parameter.
    pub fn break_parameter_key(&self, id: &str, is_broken: bool) {
        self.change_policy(|policy| policy.set_key_broken(Resource::parameter(id), is_broken));
    }

    /// Removes all faults, latencies, denials and rate limits, and makes all KMS keys usable again.
    /// A call that has already arrived keeps its fault and latency.
    pub fn clear(&self) {
        *self.rules() = Rules::default();
    }

    /// Returns how many faults that a test passed to [`script`](Self::script) have not been
    /// injected yet. A test can check at its end that this number is zero.
    pub fn remaining_scripted(&self) -> usize {
        self.rules().scripts.iter().map(|(_, faults)| faults.len()).sum()
    }

    /// Chooses the latency and the fault of a call. Each fault that a test passed to
    /// [`script`](Self::script) is chosen for only one call.
    pub(crate) fn next_outcome(&self, target: &CallTarget) -> Outcome {
        let now = (self.now)();
        let mut rules = self.rules();
        let latency = rules.latency_of(target);
        if let Some(fault) = rules.next_scripted(target) {
            return Outcome { latency, fault };
        }
        if rules.is_throttled(target, now) {
            return Outcome { latency, fault: Fault::Throttle };
        }
        let permanent = rules.permanent.iter().find(|(matching, _)| matching.matches(target));
        let fault = permanent.map_or(Fault::Pass, |(_, fault)| fault.clone());
        Outcome { latency, fault }
    }

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

    /// Takes a token from the token bucket of each rate limit that applies to a call. Returns
    /// whether a bucket was empty, so that the call must be throttled.
    fn is_throttled(&mut self, target: &CallTarget, now: SystemTime) -> bool {
        let Some(operation) = target.operation else { return false };
        let mut limits = self.rate_limits.iter_mut();
        limits.any(|(limited, bucket)| limited.contains(&operation) && !bucket.take(now))
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
    /// Returns the error response that this fault injects, or `None` for faults that inject no
    /// error response.
    pub(crate) fn error(&self, service: Service) -> Option<AwsError> {
        match self {
            Self::Throttle => Some(AwsError::throttled()),
            Self::InternalError => Some(AwsError::internal(service)),
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

    const MS: Duration = Duration::from_millis(1);

    fn faults() -> Faults {
        Faults::new(Arc::new(|| SystemTime::UNIX_EPOCH))
    }

    fn target(operation: Operation, aliases: &[&str]) -> CallTarget {
        let aliases = aliases.iter().copied().map(Resource::secret).collect();
        CallTarget { operation: Some(operation), aliases, region: Some("eu-north-1".to_owned()) }
    }

    #[test]
    fn fault_of_a_region_spares_calls_in_other_regions() {
        let faults = faults();
        faults.always(Match::region("eu-north-1"), Fault::InternalError);
        let batch = Match::operation(Operation::BatchGetSecretValue).and_region("eu-west-1");
        faults.always(batch, Fault::Stall);
        let check = |operation, region: Option<&str>, expected| {
            let region = region.map(str::to_owned);
            let call = CallTarget { region, ..target(operation, &["db"]) };
            assert_eq!(faults.next_outcome(&call).fault, expected);
        };
        check(Operation::GetSecretValue, Some("eu-north-1"), Fault::InternalError);
        check(Operation::GetSecretValue, Some("eu-west-1"), Fault::Pass);
        check(Operation::BatchGetSecretValue, Some("eu-west-1"), Fault::Stall);
        check(Operation::GetSecretValue, None, Fault::Pass);
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
        let call = target(Operation::GetSecretValue, &["db"]);
        let outcomes = [(); 3].map(|()| faults.next_outcome(&call).fault);
        assert_eq!(outcomes, [Fault::Pass, Fault::Pass, Fault::Throttle]);
    }

    #[test]
    fn operations_share_their_rate_limit() {
        let faults = faults();
        let limited = [Operation::GetParameter, Operation::GetParameters];
        faults.throttle_operations_above(limited, 2);
        let check = |operation, expected| {
            assert_eq!(faults.next_outcome(&target(operation, &[])).fault, expected);
        };
        check(Operation::GetParameter, Fault::Pass);
        check(Operation::GetParameters, Fault::Pass);
        check(Operation::GetParameter, Fault::Throttle);
        check(Operation::GetParametersByPath, Fault::Pass);
        faults.throttle_operations_above(limited, 1);
        assert_eq!(faults.next_outcome(&target(limited[0], &[])).fault, Fault::Pass);
    }

    #[test]
    fn condition_for_a_parameter_does_not_match_a_secret() {
        let faults = faults();
        faults.always(Match::parameter("db"), Fault::Stall);
        let secret = target(Operation::GetSecretValue, &["db"]);
        assert_eq!(faults.next_outcome(&secret).fault, Fault::Pass);
        let aliases = vec![Resource::parameter("db")];
        let parameter = CallTarget { aliases, ..target(Operation::GetParameter, &[]) };
        assert_eq!(faults.next_outcome(&parameter).fault, Fault::Stall);
        let put = Match::operation(Operation::PutParameter).and_parameter("db");
        faults.script(put, [Fault::Reset]);
        assert_eq!(faults.next_outcome(&parameter).fault, Fault::Stall);
    }
}

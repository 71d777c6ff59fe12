//! What is made to go wrong, and how long answers take.

use super::bucket::Bucket;
use super::error::AwsError;
use super::operation::Operation;
use super::policy::Policy;
use super::{Now, lock};
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// What goes wrong with one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: the call is answered, whatever faults stand. For the gaps in a script.
    Pass,
    /// `ThrottlingException`. Nothing is done.
    Throttle,
    /// `InternalServiceError` with status 500. Nothing is done.
    InternalError,
    /// Any other error of AWS's. Nothing is done.
    Error {
        /// The HTTP status.
        status: u16,
        /// AWS's name of the error.
        kind: String,
        /// The words.
        message: String,
    },
    /// No answer, ever, while the connection stays open. Nothing is done.
    Stall,
    /// The connection is reset. Nothing is done.
    Reset,
    /// The answer stops in the middle of its body, and the connection closes.
    Truncated,
    /// The answer's body is no JSON, though the header says so.
    Garbage,
    /// The answer is right, but says that it is of another type.
    ContentType(String),
    /// The answer's body comes byte by byte, each this long after the one before.
    Drip(Duration),
    /// The answer is right, and this much later than the latency would have it.
    Delay(Duration),
}

/// Which calls a fault is for. Conditions that are not given hold for all.
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

    /// Matches the calls of an operation.
    pub fn operation(operation: Operation) -> Self {
        Self { operation: Some(operation), secret: None }
    }

    /// Matches the calls that ask for a secret, a batch among others. The name finds a caller that
    /// asks by ARN too, and the other way round.
    pub fn secret(id: &str) -> Self {
        Self { operation: None, secret: Some(id.to_owned()) }
    }

    /// Narrows it down to the calls that ask for a secret.
    #[must_use]
    pub fn of_secret(self, id: &str) -> Self {
        Self { secret: Some(id.to_owned()), ..self }
    }

    fn admits(&self, asked: &Asked) -> bool {
        self.operation.is_none_or(|operation| asked.operation == Some(operation))
            && self.secret.as_ref().is_none_or(|id| asked.aliases.contains(id))
    }
}

/// What a call asks for, as far as faults care.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// The operation, if it is one that the double knows.
    pub(super) operation: Option<Operation>,
    /// Every way to name the secrets that it asks for.
    pub(super) aliases: Vec<String>,
}

/// What happens to one call.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fate {
    /// How long the answer takes.
    pub(super) latency: Duration,
    /// What goes wrong.
    pub(super) fault: Fault,
}

/// A handle on what is made to go wrong. Clones reach the same faults.
///
/// Of what is set up for a call, the first script that has anything left for it goes first, then
/// the throttle, then the fault that stands longest.
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
    standing: Vec<(Match, Fault)>,
    throttle: Option<Bucket>,
    policy: Arc<Policy>,
}

impl Faults {
    pub(super) fn new(now: Now) -> Self {
        Self { rules: Arc::default(), now }
    }

    /// Sets how long every answer takes. The answer is decided on arrival and then held back, so a
    /// value that changes meanwhile arrives as it was.
    pub fn set_latency(&self, latency: Duration) {
        self.rules().latency = latency;
    }

    /// Sets how long the answers to some calls take. Of several that match, the last one counts.
    pub fn set_latency_of(&self, of: Match, latency: Duration) {
        let mut rules = self.rules();
        rules.latencies.retain(|(it, _)| *it != of);
        rules.latencies.push((of, latency));
    }

    /// Lets the next calls that match go wrong, one fault for each.
    pub fn script(&self, of: Match, faults: impl IntoIterator<Item = Fault>) {
        self.rules().scripts.push((of, faults.into_iter().collect()));
    }

    /// Lets every call that matches go wrong, until [`clear`](Self::clear).
    pub fn always(&self, of: Match, fault: Fault) {
        self.rules().standing.push((of, fault));
    }

    /// Throttles what exceeds this many calls a second.
    pub fn throttle_above(&self, calls_per_second: u32) {
        let now = (self.now)();
        self.rules().throttle = Some(Bucket::full(calls_per_second, now));
    }

    /// Denies an operation, whatever it is asked about.
    pub fn deny_operation(&self, operation: Operation) {
        self.change_policy(|policy| policy.deny_operation(operation, true));
    }

    /// Allows an operation again.
    pub fn allow_operation(&self, operation: Operation) {
        self.change_policy(|policy| policy.deny_operation(operation, false));
    }

    /// Denies every operation on a secret.
    pub fn deny_secret(&self, id: &str) {
        self.change_policy(|policy| policy.deny_secret(id, true));
    }

    /// Allows the operations on a secret again.
    pub fn allow_secret(&self, id: &str) {
        self.change_policy(|policy| policy.deny_secret(id, false));
    }

    /// Sets whether one denied secret fails a whole batch, as under a VPC endpoint's policy.
    pub fn batch_fails_on_denied(&self, fails: bool) {
        self.change_policy(|policy| policy.batch_fails_on_denied(fails));
    }

    /// Sets whether the key that encrypts a secret cannot be used: `DecryptionFailure`.
    pub fn break_key(&self, id: &str, broken: bool) {
        self.change_policy(|policy| policy.break_key(id, broken));
    }

    /// Makes everything go well again, at once. Calls under way keep their fate.
    pub fn clear(&self) {
        *self.rules() = Rules::default();
    }

    /// Returns how many faults of scripts no call has had yet.
    pub fn scripted(&self) -> usize {
        self.rules().scripts.iter().map(|(_, faults)| faults.len()).sum()
    }

    /// Decides what happens to a call.
    pub(super) fn fate(&self, asked: &Asked) -> Fate {
        let now = (self.now)();
        let mut rules = self.rules();
        let latency = rules.latency_of(asked);
        if let Some(fault) = rules.next_of_script(asked) {
            return Fate { latency, fault };
        }
        if rules.throttle.as_mut().is_some_and(|bucket| !bucket.take(now)) {
            return Fate { latency, fault: Fault::Throttle };
        }
        let standing = rules.standing.iter().find(|(of, _)| of.admits(asked));
        let fault = standing.map_or(Fault::Pass, |(_, fault)| fault.clone());
        Fate { latency, fault }
    }

    /// Returns what the caller's role may do at this moment.
    pub(super) fn policy(&self) -> Arc<Policy> {
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
    fn latency_of(&self, asked: &Asked) -> Duration {
        let special = self.latencies.iter().rev().find(|(of, _)| of.admits(asked));
        special.map_or(self.latency, |(_, latency)| *latency)
    }

    fn next_of_script(&mut self, asked: &Asked) -> Option<Fault> {
        let (_, faults) =
            self.scripts.iter_mut().find(|(of, faults)| !faults.is_empty() && of.admits(asked))?;
        let fault = faults.pop_front();
        self.scripts.retain(|(_, faults)| !faults.is_empty());
        fault
    }
}

impl Fault {
    /// Returns the error that is answered instead of what was asked for, if this is one.
    pub(super) fn error(&self) -> Option<AwsError> {
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

    fn asked(operation: Operation, aliases: &[&str]) -> Asked {
        let aliases = aliases.iter().map(ToString::to_string).collect();
        Asked { operation: Some(operation), aliases }
    }

    #[test]
    fn a_script_is_played_once_and_by_those_it_is_for() {
        let faults = faults();
        let script = [Fault::Throttle, Fault::Pass, Fault::Stall];
        faults.script(Match::operation(Operation::GetSecretValue).of_secret("db"), script);
        let mine = asked(Operation::GetSecretValue, &["arn:of:db", "db"]);
        let fate = |asked: &Asked| faults.fate(asked).fault;
        assert_eq!(fate(&asked(Operation::GetSecretValue, &["other"])), Fault::Pass);
        assert_eq!(fate(&asked(Operation::DescribeSecret, &["db"])), Fault::Pass);
        assert_eq!(fate(&mine), Fault::Throttle);
        assert_eq!(fate(&mine), Fault::Pass);
        assert_eq!(faults.scripted(), 1);
        assert_eq!(fate(&mine), Fault::Stall);
        assert_eq!(fate(&mine), Fault::Pass);
    }

    #[test]
    fn a_script_goes_before_what_stands() {
        let faults = faults();
        faults.always(Match::any(), Fault::InternalError);
        faults.script(Match::secret("db"), [Fault::Pass]);
        let call = asked(Operation::GetSecretValue, &["db"]);
        assert_eq!(faults.fate(&call).fault, Fault::Pass);
        assert_eq!(faults.fate(&call).fault, Fault::InternalError);
        faults.clear();
        assert_eq!(faults.fate(&call).fault, Fault::Pass);
    }

    #[test]
    fn special_latencies_go_before_the_general_one() {
        let faults = faults();
        faults.set_latency(10 * MS);
        faults.set_latency_of(Match::operation(Operation::GetSecretValue), 20 * MS);
        faults.set_latency_of(Match::secret("db"), 30 * MS);
        let check = |operation, secret: &str, expected| {
            assert_eq!(faults.fate(&asked(operation, &[secret])).latency, expected);
        };
        check(Operation::DescribeSecret, "other", 10 * MS);
        check(Operation::GetSecretValue, "other", 20 * MS);
        check(Operation::GetSecretValue, "db", 30 * MS);
    }

    #[test]
    fn a_throttle_lets_its_rate_through() {
        let faults = faults();
        faults.throttle_above(2);
        let fates = [(); 3].map(|()| faults.fate(&Asked::default()).fault);
        assert_eq!(fates, [Fault::Pass, Fault::Pass, Fault::Throttle]);
    }
}

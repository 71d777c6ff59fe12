//! A cached version, and what has become of it.

use super::freshness::{self, Freshness, Policy, Standing, Trouble};
use super::malformed::Malformed;
use super::rollback::{self, Verdict};
use crate::clock::Moment;
use crate::secret::field::Fields;
use crate::secret::selector::Selector;
use crate::secret::value::SecretValue;
use crate::secret::version::Version;
use crate::source::{FetchError, FetchErrorKind};
use arc_swap::ArcSwapOption;
use bytes::Bytes;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use tokio::sync::Notify;

/// A cached version.
#[derive(Debug)]
pub struct Entry {
    /// The value and what the service said of it.
    pub version: Version,
    /// What was asked for.
    pub selector: Selector,
    /// When the call that fetched it was sent: its age counts from here.
    pub sent: Moment,
    /// How often the process had been restored when the call was sent.
    pub epoch: u64,
    /// How old it may get: decided when it was made, so that no reader looks for it.
    pub policy: Policy,
    /// The version id as an entity tag, quotes included.
    pub etag: Bytes,
    /// What is wrong with the value, by the convention of its secret's name.
    pub malformed: Option<Arc<Malformed>>,
    jitter: f64,
    answers: [OnceLock<SecretValue>; FORMS],
    fields: OnceLock<Fields>,
    failure: ArcSwapOption<Failure>,
    doubt: Mutex<Option<Doubt>>,
    /// Woken when the entry takes more memory than before.
    grown: Option<Arc<Notify>>,
    is_refreshing: AtomicBool,
    was_read: AtomicBool,
    /// Steady time of the last read, in milliseconds.
    read_at_ms: AtomicU64,
}

/// A form in which entries are answered. An entry can be asked for in all of them at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// That of the deployment's dialect.
    Dialect,
    /// That of the AWS API.
    AwsApi,
}

/// How many forms there are.
const FORMS: usize = 2;

/// An older version that was answered while this one is held.
#[derive(Debug)]
struct Doubt {
    version: Box<str>,
    since: Moment,
}

/// An attempt that failed, and those before it.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Why the last attempt failed.
    pub error: FetchError,
    /// How many attempts failed in a row.
    pub count: u32,
    /// When upstream first refused, if it did since the last success.
    pub refused_since: Option<Moment>,
    /// When the last attempt ended.
    pub at: Moment,
    /// How long after that the next attempt may start.
    pub wait: Duration,
    /// How long after that a reader is told this error without another attempt.
    memory: Duration,
}

impl Failure {
    /// Follows up on `previous` with one more failed attempt, for a random `draw` from `[0, 1)`. The
    /// next one waits for `most` at the longest, and for longer only where upstream has refused.
    pub fn after(
        previous: Option<&Self>,
        error: FetchError,
        now: Moment,
        most: Duration,
        draw: f64,
    ) -> Self {
        let count = previous.map_or(0, |previous| previous.count).saturating_add(1);
        let is_refusal = !error.kind.is_transient();
        let first = previous.and_then(|previous| previous.refused_since);
        let most = if is_refusal { freshness::BACK_OFF_MAX } else { most };
        let back_off = freshness::back_off(count, most, draw);
        // A refusal is remembered for seconds, however many there were: who has just been granted access
        // must not wait for long.
        let (memory, wait) = match error.kind {
            FetchErrorKind::Lagging => (rollback::AGREE_AFTER, rollback::AGREE_AFTER),
            _ if is_refusal => (freshness::REFUSAL_MEMORY, back_off.max(freshness::REFUSAL_MEMORY)),
            // Who has to wait for a call finds out soon that an outage is over.
            _ => (back_off.min(freshness::EMPTY_BACK_OFF_MAX), back_off),
        };
        // A call by another id, sent before the refusal, may fail after it: that brings nothing forward.
        let left = previous.map(|previous| (previous.memory_left(now), previous.retry_in(now)));
        let (memory_left, retry_in) = left.unwrap_or_default();
        Self {
            error,
            count,
            refused_since: first.or_else(|| is_refusal.then_some(now)),
            at: now,
            wait: wait.max(retry_in),
            memory: memory.max(memory_left),
        }
    }

    /// Returns whether a reader gets this error without another attempt.
    pub fn is_remembered(&self, now: Moment) -> bool {
        !self.memory_left(now).is_zero()
    }

    /// Returns how long timers wait for the next attempt. Where the clocks cannot say, not at all.
    pub fn retry_in(&self, now: Moment) -> Duration {
        self.left(self.wait, now)
    }

    fn memory_left(&self, now: Moment) -> Duration {
        self.left(self.memory, now)
    }

    fn left(&self, span: Duration, now: Moment) -> Duration {
        now.since(self.at).map_or(Duration::ZERO, |since| span.saturating_sub(since))
    }
}

impl Entry {
    /// Makes the entry of a version fetched by a call sent at `sent` in `epoch`, for a random `draw`
    /// from `[0, 1)`.
    pub fn new(
        version: Version,
        selector: Selector,
        policy: Policy,
        sent: Moment,
        epoch: u64,
        draw: f64,
    ) -> Self {
        Self {
            etag: Bytes::from(format!("\"{}\"", version.id)),
            jitter: freshness::jitter(draw),
            version,
            selector,
            sent,
            epoch,
            policy,
            malformed: None,
            answers: Default::default(),
            fields: OnceLock::new(),
            failure: ArcSwapOption::empty(),
            doubt: Mutex::new(None),
            grown: None,
            is_refreshing: AtomicBool::new(false),
            was_read: AtomicBool::new(false),
            // Whoever it is fetched for has yet to read it.
            read_at_ms: AtomicU64::new(millis(sent)),
        }
    }

    /// Notes what is wrong with the value.
    #[must_use]
    pub fn with_malformed(self, malformed: Option<Arc<Malformed>>) -> Self {
        Self { malformed, ..self }
    }

    /// Wakes `grown` whenever a reader makes the entry take more memory.
    #[must_use]
    pub fn with_grown(self, grown: Arc<Notify>) -> Self {
        Self { grown: Some(grown), ..self }
    }

    /// Returns the entry in one form, rendered by the first reader who asks for that.
    pub fn answer(&self, form: Form, render: impl FnOnce(&Version) -> SecretValue) -> &SecretValue {
        self.answers[form as usize].get_or_init(|| self.growing(render(&self.version)))
    }

    /// Returns the fields of the value, parted by their first reader.
    pub fn fields(&self) -> &Fields {
        self.fields.get_or_init(|| self.growing(Fields::of(&self.version.content)))
    }

    fn growing<T>(&self, part: T) -> T {
        if let Some(grown) = &self.grown {
            grown.notify_one();
        }
        part
    }

    /// Returns how many bytes its value takes, with all that was rendered of it.
    pub fn bytes(&self) -> usize {
        let answers = self.answers.iter().filter_map(OnceLock::get).map(SecretValue::len);
        let fields = self.fields.get().map_or(0, Fields::bytes);
        self.version.content.len() + answers.sum::<usize>() + fields
    }

    /// Returns when the call was sent, for telling which of two was sent first: the steady clock may
    /// begin anew at a restore.
    pub fn asked_at(&self) -> (u64, Duration) {
        (self.epoch, self.sent.steady)
    }

    /// Returns the age at `now`, or `None` where the clocks cannot say.
    pub fn age(&self, now: Moment) -> Option<Duration> {
        now.since(self.sent)
    }

    /// Returns how the entry stands at `now`, in `epoch`.
    pub fn standing(&self, now: Moment, epoch: u64) -> Standing {
        let trouble = self.failure.load().as_deref().map(|failure| Trouble {
            // Where the clocks cannot say how long ago it was, the grace is over.
            refused: failure.refused_since.map(|since| now.since(since).unwrap_or(Duration::MAX)),
            attempted: now.since(failure.at),
        });
        let is_restored = self.epoch != epoch;
        Standing { age: self.age(now), jitter: self.jitter, is_restored, trouble }
    }

    /// Returns how fresh the entry is at `now`, in `epoch`.
    pub fn freshness(&self, now: Moment, epoch: u64) -> Freshness {
        freshness::freshness(&self.policy, &self.standing(now, epoch))
    }

    /// Returns how fresh the entry is at `now`, in `epoch`, where an attempt has just failed
    /// transiently, however long ago the last one did that is noted.
    pub fn freshness_in_trouble(&self, now: Moment, epoch: u64) -> Freshness {
        let mut standing = self.standing(now, epoch);
        let refused = standing.trouble.and_then(|trouble| trouble.refused);
        standing.trouble = Some(Trouble { refused, attempted: Some(Duration::ZERO) });
        freshness::freshness(&self.policy, &standing)
    }

    /// Returns the last failed attempt to refresh this entry.
    pub fn failure(&self) -> Option<Arc<Failure>> {
        self.failure.load_full()
    }

    /// Returns whether upstream has refused this entry since it was fetched.
    pub fn is_refused(&self) -> bool {
        self.failure.load().as_ref().is_some_and(|failure| failure.refused_since.is_some())
    }

    /// Notes one more failed attempt. Only the flight that refreshes this entry calls it.
    pub fn fail(&self, error: FetchError, now: Moment, draw: f64) {
        let previous = self.failure.load();
        let most = freshness::BACK_OFF_MAX;
        let failure = Failure::after(previous.as_deref(), error, now, most, draw);
        self.failure.store(Some(Arc::new(failure)));
    }

    /// Judges an answer that would take this entry's place, and remembers one that is held back.
    pub fn judge(&self, answer: &Version, now: Moment, epoch: u64) -> Verdict {
        let may_serve = self.freshness_in_trouble(now, epoch) != Freshness::Expired;
        let mut doubt = self.doubt.lock().expect("no holder panics");
        let seen = doubt.as_ref().filter(|doubt| doubt.version == answer.id);
        // Where the clocks cannot say how long ago that was, it begins anew.
        let seen = seen.and_then(|doubt| now.since(doubt.since));
        let verdict = rollback::judge(&self.version, answer, seen, may_serve);
        if verdict == Verdict::HoldBack && seen.is_none() {
            *doubt = Some(Doubt { version: answer.id.clone(), since: now });
        }
        verdict
    }

    /// Notes a read at `now`.
    pub fn touch(&self, now: Moment) {
        self.read_at_ms.store(millis(now), Ordering::Relaxed);
        self.was_read.store(true, Ordering::Relaxed);
    }

    /// Returns whether somebody read this entry since it was fetched.
    pub fn was_read(&self) -> bool {
        self.was_read.load(Ordering::Relaxed)
    }

    /// Returns the steady time of the last read of this secret, in milliseconds; where nobody has read it
    /// yet, when it was asked for.
    pub fn read_at_ms(&self) -> u64 {
        self.read_at_ms.load(Ordering::Relaxed)
    }

    /// Takes over when `older`, which this entry replaces, was last read: being refreshed is not
    /// being used.
    pub fn succeed(&self, older: &Self) {
        self.read_at_ms.store(older.read_at_ms(), Ordering::Relaxed);
    }

    /// Returns whether the caller is the first to want a refresh since the last one ended.
    pub fn claim_refresh(&self) -> bool {
        !self.is_refreshing.swap(true, Ordering::Relaxed)
    }

    /// Lets the next reader claim a refresh again.
    pub fn release_refresh(&self) {
        self.is_refreshing.store(false, Ordering::Relaxed);
    }
}

fn millis(moment: Moment) -> u64 {
    u64::try_from(moment.steady.as_millis()).unwrap_or(u64::MAX)
}

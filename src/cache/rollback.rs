//! Decides whether an answer replaces a cached version that is newer.
//!
//! Secrets Manager is eventually consistent: right after a rotation, a call may still be answered with
//! the previous version. Such an answer must not undo the rotation. But an operator can also move a
//! label back to an older version, and readers must then get that version. Pure: times are arguments.

use crate::secret::version::Version;
use std::time::Duration;

/// The time after which a second call must give the same older answer before Sidekey accepts it.
pub const AGREE_AFTER: Duration = Duration::from_secs(1);

/// The decision about an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The answer replaces the cached version.
    Accept,
    /// The cached version stays, with its age unchanged, until a second call gives the same answer.
    HoldBack,
}

/// Decides whether `answer` replaces the `cached` version. `seen` is the time since the same answer was
/// first held back. `may_serve` is whether readers may get the cached version meanwhile. If they may
/// not, an older version is better than none.
pub fn judge(
    cached: &Version,
    answer: &Version,
    seen: Option<Duration>,
    may_serve: bool,
) -> Verdict {
    let is_older = match (cached.created, answer.created) {
        (Some(cached), Some(answer)) => answer < cached,
        // Without dates the order is unknown, and the answer is accepted.
        _ => false,
    };
    let is_agreed = seen.is_some_and(|seen| seen >= AGREE_AFTER);
    if is_older && cached.id != answer.id && may_serve && !is_agreed {
        Verdict::HoldBack
    } else {
        Verdict::Accept
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::value::SecretValue;
    use crate::secret::version::Content;
    use std::time::SystemTime;

    fn version(id: &str, created: Option<u64>) -> Version {
        Version {
            arn: "arn".into(),
            name: "name".into(),
            id: id.into(),
            labels: Vec::new(),
            created: created.map(|at| SystemTime::UNIX_EPOCH + Duration::from_secs(at)),
            content: Content::Text(SecretValue::from(String::new())),
        }
    }

    /// Judges the answer `id` while `v2`, created at 20 s, is cached.
    #[track_caller]
    fn check(id: &str, created: Option<u64>, seen: Option<f64>, expected: Verdict) {
        let seen = seen.map(Duration::from_secs_f64);
        let verdict = judge(&version("v2", Some(20)), &version(id, created), seen, true);
        assert_eq!(verdict, expected, "{id} {created:?} {seen:?}");
    }

    #[test]
    fn answer_that_is_not_older_is_accepted() {
        check("v2", Some(20), None, Verdict::Accept);
        check("v3", Some(20), None, Verdict::Accept);
        check("v3", Some(21), None, Verdict::Accept);
    }

    #[test]
    fn older_answer_needs_a_second_answer() {
        check("v1", Some(19), None, Verdict::HoldBack);
        check("v1", Some(19), Some(0.999), Verdict::HoldBack);
        check("v1", Some(19), Some(1.0), Verdict::Accept);
    }

    #[test]
    fn older_answer_is_accepted_if_the_cached_version_may_not_be_served() {
        let (cached, answer) = (version("v2", Some(20)), version("v1", Some(19)));
        assert_eq!(judge(&cached, &answer, None, false), Verdict::Accept);
    }

    #[test]
    fn answer_without_a_date_is_accepted() {
        check("v1", None, None, Verdict::Accept);
    }
}

//! Decides about an answer that is older than what is held.
//!
//! Secrets Manager is eventually consistent, so that a call right after a rotation may still be
//! answered with the version before it: that must not undo the rotation. But a label can be moved
//! back on purpose, and that must show. Pure: the times come in as arguments.

use crate::secret::version::Version;
use std::time::Duration;

/// How much later a second call must give the same older answer for it to be believed.
pub const AGREE_AFTER: Duration = Duration::from_secs(1);

/// What to do with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It takes the place of what is held.
    Accept,
    /// What is held stays, its age unchanged, until a second call agrees.
    HoldBack,
}

/// Judges an answer. `seen` is how long ago the same version was first answered and held back;
/// `may_serve` is whether readers may be given what is held meanwhile. Where they may not, an older
/// version is better than none.
pub fn judge(held: &Version, answer: &Version, seen: Option<Duration>, may_serve: bool) -> Verdict {
    let is_older = match (held.created, answer.created) {
        (Some(held), Some(answer)) => answer < held,
        // Without dates nobody can tell: the service is believed.
        _ => false,
    };
    let is_agreed = seen.is_some_and(|seen| seen >= AGREE_AFTER);
    if is_older && held.id != answer.id && may_serve && !is_agreed {
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

    /// Judges `answer` while `v2`, created at 20 s, is held.
    #[track_caller]
    fn check(id: &str, created: Option<u64>, seen: Option<f64>, expected: Verdict) {
        let seen = seen.map(Duration::from_secs_f64);
        let verdict = judge(&version("v2", Some(20)), &version(id, created), seen, true);
        assert_eq!(verdict, expected, "{id} {created:?} {seen:?}");
    }

    #[test]
    fn what_is_as_new_or_newer_is_accepted() {
        check("v2", Some(20), None, Verdict::Accept);
        check("v3", Some(20), None, Verdict::Accept);
        check("v3", Some(21), None, Verdict::Accept);
    }

    #[test]
    fn what_is_older_needs_a_second_answer() {
        check("v1", Some(19), None, Verdict::HoldBack);
        check("v1", Some(19), Some(0.999), Verdict::HoldBack);
        check("v1", Some(19), Some(1.0), Verdict::Accept);
    }

    #[test]
    fn what_is_older_is_better_than_nothing() {
        let (held, answer) = (version("v2", Some(20)), version("v1", Some(19)));
        assert_eq!(judge(&held, &answer, None, false), Verdict::Accept);
    }

    #[test]
    fn without_dates_the_service_is_believed() {
        check("v1", None, None, Verdict::Accept);
    }
}

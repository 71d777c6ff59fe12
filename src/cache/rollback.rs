//! Decides whether an older version that AWS returns replaces a newer cached version.
//!
//! Right after a rotation, Secrets Manager may still return the previous version. This answer must
//! not undo the rotation. But if an operator moves a staging label back to an older version, the
//! agent must return the older version.
//!
//! All functions are pure: times are arguments.

use crate::secret::version::Version;
use std::time::Duration;

/// The minimum time between two calls to AWS that must both return an older version of a secret
/// before Sidekey replaces the newer cached version.
pub(crate) const AGREE_AFTER: Duration = Duration::from_secs(1);

/// Whether a version of a secret that AWS returned replaces the cached version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Accept,
    /// AWS returned an older version than the cached version. The cached version stays until AWS
    /// returns the older version again.
    HoldBack,
}

/// Decides whether `answer`, a version that AWS returned, replaces the `cached` version. If
/// `answer` is older, `seen` is the time since AWS first returned this older version, or `None` if
/// this is the first time. If the agent may not return the cached version (`may_serve` is `false`), every answer
/// replaces it.
pub(crate) fn judge(
    cached: &Version,
    answer: &Version,
    seen: Option<Duration>,
    may_serve: bool,
) -> Verdict {
    let is_agreed = seen.is_some_and(|seen| seen >= AGREE_AFTER);
    if answer.is_older_than(cached) && cached.id != answer.id && may_serve && !is_agreed {
        Verdict::HoldBack
    } else {
        Verdict::Accept
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::value::SecretValue;
    use crate::secret::version::{Content, Details, Parameter, ParameterKind};
    use std::time::SystemTime;

    fn version(id: &str, created: Option<u64>) -> Version {
        Version {
            arn: "arn".into(),
            name: "name".into(),
            id: id.into(),
            details: Details::Secret { labels: Vec::new() },
            created: created.map(|at| SystemTime::UNIX_EPOCH + Duration::from_secs(at)),
            content: Content::Text(SecretValue::from(String::new())),
        }
    }

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
    fn parameters_are_ordered_by_their_version_numbers() {
        let parameter = |number: u64| Version {
            id: number.to_string().into(),
            details: Details::Parameter(Parameter {
                number,
                kind: ParameterKind::String,
                data_type: None,
            }),
            ..version("", Some(20))
        };
        for (answer, expected) in
            [(9, Verdict::HoldBack), (10, Verdict::Accept), (11, Verdict::Accept)]
        {
            assert_eq!(judge(&parameter(10), &parameter(answer), None, true), expected);
        }
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

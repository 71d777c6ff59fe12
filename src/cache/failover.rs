//! Decides when Sidekey reads the replica of a secret in another region, and whether the cache
//! accepts the replica's version.
//!
//! The answer of the agent's own region (the home region) always takes precedence: Sidekey uses a
//! replica only while the home region gives no answer. All functions are pure.

use super::freshness::{FAILING_MAX, Freshness};
use crate::secret::version::Version;
use crate::source::{FetchError, FetchErrorKind};
use std::time::Duration;

/// The shortest time limit of a call to AWS for a replica. The call goes on even if all requests
/// that waited for the replica have ended, because later requests can use AWS's answer.
pub(crate) const REPLICA_WAIT_MIN: Duration = Duration::from_secs(1);

/// After a timeout or a broken connection, Sidekey reads replicas for this time without a new call
/// to the home region. Otherwise, the read of each secret would wait for its own timeout.
pub(crate) const OUTAGE_MEMORY: Duration = Duration::from_secs(5);

/// Returns whether an error of the home region is a failure of the region, so that another region
/// may help. Denied access, for example, is not a failure of the region. If credentials are
/// missing, a call to another region would fail too.
pub(crate) fn is_failure_of_region(kind: FetchErrorKind) -> bool {
    matches!(
        kind,
        FetchErrorKind::Throttled
            | FetchErrorKind::Service
            | FetchErrorKind::Timeout
            | FetchErrorKind::Connection
            | FetchErrorKind::Unreadable
    )
}

/// Returns whether an error shows that the home region does not respond at all, so that calls for
/// other secrets would fail too, perhaps only after a timeout.
pub(crate) fn is_outage(kind: FetchErrorKind) -> bool {
    matches!(kind, FetchErrorKind::Timeout | FetchErrorKind::Connection)
}

/// Whether the home region responds to calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outage {
    /// The home region did not respond a moment ago. Calls for secrets without a fresh value go to
    /// the failover region.
    Known,
    /// The home region did not respond some time ago. One call must find out whether the region
    /// works again.
    Doubtful,
    /// The home region responds, as far as Sidekey knows.
    Over,
}

/// Decides whether the home region responds to calls. `failed` is the time since the last call
/// without a response, and `tried` the time since the last attempt to call the region. Each is
/// `None` if the time is unknown after a SnapStart restore.
pub(crate) fn outage(failed: Option<Duration>, tried: Option<Duration>) -> Outage {
    match (failed, tried) {
        (Some(failed), Some(_)) if failed >= FAILING_MAX => Outage::Over,
        (Some(_), Some(tried)) if tried < OUTAGE_MEMORY => Outage::Known,
        (Some(_), Some(_)) => Outage::Doubtful,
        _ => Outage::Over,
    }
}

/// Returns whether Sidekey reads the replica of a secret after its home region has failed.
///
/// `cached` is the freshness of the cached version, if there is one. `was_refused` tells whether
/// the home region has answered with an error that is not transient, such as denied access, and has
/// not returned the secret since.
pub(crate) fn needs_replica(cached: Option<Freshness>, was_refused: bool) -> bool {
    let is_fresh = matches!(cached, Some(Freshness::Fresh | Freshness::Due));
    !is_fresh && !was_refused
}

/// Returns the time limit of a call to AWS for a replica: the rest of `reader_wait`, the maximum
/// time for which a request waits for a secret. `waited` is the time since the first request began
/// to wait, or `None` if this time is unknown.
pub(crate) fn patience(reader_wait: Duration, waited: Option<Duration>) -> Duration {
    reader_wait.saturating_sub(waited.unwrap_or_default()).max(REPLICA_WAIT_MIN)
}

/// A cached version of the secret whose replica has answered.
#[derive(Debug)]
pub(crate) struct Cached<'a> {
    pub(crate) version: &'a Version,
    pub(crate) freshness: Freshness,
    pub(crate) is_refused: bool,
}

/// What the cache does with the version that a replica returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The cache accepts and serves the version of the replica.
    Accept,
    /// The replica's version is ignored, because it is older than the cached version.
    Older,
    /// The replica's version is ignored, because the home region has meanwhile answered a call for
    /// another name or ARN of the secret. The answer was the secret, or an error such as denied
    /// access.
    Unneeded,
}

/// Decides whether the cache uses `answer`, the version that a replica returned. An older version
/// never replaces the cached version, even if the cached version is too old to serve: a replica can
/// be out of date by hours while its region is cut off from the home region.
pub(crate) fn judge(cached: Option<&Cached<'_>>, answer: &Version) -> Verdict {
    let Some(cached) = cached else { return Verdict::Accept };
    let is_older = cached.version.id != answer.id && answer.is_older_than(cached.version);
    match needs_replica(Some(cached.freshness), cached.is_refused) {
        false => Verdict::Unneeded,
        true if is_older => Verdict::Older,
        true => Verdict::Accept,
    }
}

/// Returns `home` (the error of the home region) with more advice: why the failover region `region`
/// did not return the secret. `replica` is the error of the failover region.
pub(crate) fn explained(home: FetchError, region: &str, replica: &FetchError) -> FetchError {
    let FetchError { code, message, .. } = replica;
    let why = match replica.kind {
        FetchErrorKind::NotFound => format!(
            "the failover region {region} has no replica of this secret: create one with \
             `aws secretsmanager replicate-secret-to-regions --add-replica-regions \
             Region={region} --secret-id NAME`"
        ),
        FetchErrorKind::Denied => format!(
            "the failover region {region} denies access ({message}): grant \
             secretsmanager:GetSecretValue on the replica's ARN, and kms:Decrypt if the replica \
             has its own KMS key"
        ),
        FetchErrorKind::Lagging => format!(
            "the failover region {region} returned a version that is older than the cached version"
        ),
        _ => format!("the failover region {region} failed too ({code}: {message})"),
    };
    let advice = format!("{}; {why}", home.hint());
    FetchError { advice: Some(advice.into()), ..home }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::freshness::Reason;
    use crate::secret::value::SecretValue;
    use crate::secret::version::{Content, Details};
    use std::time::SystemTime;

    #[test]
    fn only_failures_of_the_region_lead_to_a_replica() {
        let leading: Vec<&str> = FetchErrorKind::ALL
            .into_iter()
            .filter(|kind| is_failure_of_region(*kind))
            .map(FetchErrorKind::label)
            .collect();
        assert_eq!(leading, ["throttled", "service", "timeout", "connection", "unreadable"]);
        for kind in FetchErrorKind::ALL {
            assert!(kind.is_transient() || !is_failure_of_region(kind), "{kind:?}");
            assert!(is_failure_of_region(kind) || !is_outage(kind), "{kind:?}");
        }
    }

    #[test]
    fn outage_is_forgotten_after_a_while() {
        let millis = |millis| Some(Duration::from_millis(millis));
        for (failed, tried, expected) in [
            (millis(0), millis(0), Outage::Known),
            (millis(4999), millis(4999), Outage::Known),
            (millis(5000), millis(5000), Outage::Doubtful),
            (millis(34_999), millis(5000), Outage::Doubtful),
            (millis(34_999), millis(4999), Outage::Known),
            (millis(35_000), millis(0), Outage::Over),
            (None, None, Outage::Over),
        ] {
            assert_eq!(outage(failed, tried), expected, "{failed:?} {tried:?}");
        }
    }

    #[test]
    fn replica_is_needed_if_no_fresh_value_is_cached_and_home_has_not_refused() {
        for (cached, expected) in [
            (None, true),
            (Some(Freshness::Expired), true),
            (Some(Freshness::Stale(Reason::Failing)), true),
            (Some(Freshness::Stale(Reason::Revalidating)), true),
            (Some(Freshness::Due), false),
            (Some(Freshness::Fresh), false),
        ] {
            assert_eq!(needs_replica(cached, false), expected, "{cached:?}");
            assert!(!needs_replica(cached, true), "{cached:?}");
        }
    }

    #[test]
    fn replica_gets_the_rest_of_the_readers_wait() {
        let secs = Duration::from_secs;
        assert_eq!(patience(secs(5), Some(secs(2))), secs(3));
        assert_eq!(patience(secs(5), None), secs(5));
        assert_eq!(patience(secs(2), Some(secs(2))), REPLICA_WAIT_MIN);
    }

    fn version(n: u64) -> Version {
        Version {
            arn: "arn".into(),
            name: "name".into(),
            id: format!("v{n}").into(),
            details: Details::Secret { labels: Vec::new() },
            created: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(n)),
            content: Content::Text(SecretValue::from(String::new())),
        }
    }

    #[test]
    fn older_version_of_a_replica_is_never_accepted() {
        let stale = Freshness::Stale(Reason::Failing);
        for (freshness, number, is_refused, expected) in [
            (stale, 3, false, Verdict::Accept),
            (stale, 2, false, Verdict::Accept),
            (stale, 1, false, Verdict::Older),
            (Freshness::Expired, 1, false, Verdict::Older),
            (Freshness::Expired, 2, false, Verdict::Accept),
            (Freshness::Expired, 3, true, Verdict::Unneeded),
            (Freshness::Fresh, 3, false, Verdict::Unneeded),
            (Freshness::Fresh, 1, false, Verdict::Unneeded),
        ] {
            let cached = version(2);
            let cached = Cached { version: &cached, freshness, is_refused };
            assert_eq!(judge(Some(&cached), &version(number)), expected, "{freshness:?} {number}");
        }
        assert_eq!(judge(None, &version(1)), Verdict::Accept);
        // AWS may report another date for the replica of the same version.
        let earlier = Version { created: Some(SystemTime::UNIX_EPOCH), ..version(2) };
        let cached = version(2);
        let cached = Cached { version: &cached, freshness: stale, is_refused: false };
        assert_eq!(judge(Some(&cached), &earlier), Verdict::Accept);
    }

    #[test]
    fn error_stays_that_of_the_home_region_and_says_why_the_replica_did_not_help() {
        let home =
            || FetchError::new(FetchErrorKind::Throttled, "ThrottlingException", "slow down");
        for (kind, expected) in [
            (FetchErrorKind::NotFound, "replicate-secret-to-regions --add-replica-regions Region="),
            (FetchErrorKind::Denied, "denies access (m): grant secretsmanager:GetSecretValue"),
            (FetchErrorKind::Lagging, "older than the cached version"),
            (FetchErrorKind::Timeout, "failed too (C: m)"),
        ] {
            let error = explained(home(), "eu-west-1", &FetchError::new(kind, "C", "m"));
            assert_eq!((error.kind, &*error.code), (home().kind, "ThrottlingException"));
            let hint = error.hint();
            assert!(
                hint.contains("the failover region eu-west-1") && hint.contains(expected),
                "{hint}"
            );
            assert!(hint.starts_with(home().hint()), "{hint}");
        }
    }
}

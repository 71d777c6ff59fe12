//! Checks the setting `SIDEKEY_FAILOVER_REGION` together with the settings on which failover
//! depends.

use super::mistakes::Mistakes;
use super::variables::Settings;
use crate::secret::region::nearest_if_unknown;
use crate::source::aws::{Endpoint, check_failover};

const NAME: &str = "SIDEKEY_FAILOVER_REGION";

/// Checks the failover region against `home`, the agent's own region. `home` is `None` if only the
/// AWS SDK can find the region. The agent then makes the same check when it starts.
pub(super) fn check(settings: &Settings, home: Option<&str>, mistakes: &mut Mistakes) {
    if let (Some(failover), Some(home)) = (&settings.failover_region, home)
        && let Err(bad) = check_failover(failover, home)
    {
        mistakes.add(NAME, bad.to_string());
    }
}

/// Returns a warning for each setting that probably makes the failover region useless.
pub(super) fn warnings(settings: &Settings) -> Vec<String> {
    let Some(failover) = &settings.failover_region else { return Vec::new() };
    let mut warnings = Vec::new();
    match &settings.endpoint {
        Some(endpoint) if !endpoint.serves_other_regions() => warnings.push(format!(
            "SIDEKEY_ENDPOINT does not contain {}, so Sidekey calls AWS's public endpoint in the \
             failover region {failover}; add the placeholder if the endpoint serves both regions",
            Endpoint::PLACEHOLDER
        )),
        Some(_) => {}
        None => warnings.extend(nearest_if_unknown(failover).map(|nearest| {
            format!(
                "{NAME} is {failover}, which is not a known region of AWS; did you mean {nearest}?"
            )
        })),
    }
    let timeout = settings.upstream_timeout.secrets.duration;
    if timeout.saturating_mul(2) > settings.reader_wait {
        warnings.push(
            "SIDEKEY_READER_WAIT is shorter than twice SIDEKEY_UPSTREAM_TIMEOUT, so callers may stop \
             waiting before the failover region answers; lower SIDEKEY_UPSTREAM_TIMEOUT"
                .to_owned(),
        );
    }
    if timeout >= settings.prefetch_deadline {
        warnings.push(
            "SIDEKEY_PREFETCH_DEADLINE is not longer than SIDEKEY_UPSTREAM_TIMEOUT, so the start of \
             the agent cannot wait for the failover region; lower SIDEKEY_UPSTREAM_TIMEOUT"
                .to_owned(),
        );
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn settings(failover: &str) -> Settings {
        Settings { failover_region: Some(failover.to_owned()), ..Settings::default() }
    }

    #[test]
    fn failover_region_is_checked_against_the_own_region() {
        let check = |failover, home, expected: Option<&str>| {
            let mut mistakes = Mistakes::default();
            check(&settings(failover), home, &mut mistakes);
            let found = mistakes.to_string();
            assert_eq!(mistakes.is_empty(), expected.is_none(), "{found}");
            assert!(found.contains(expected.unwrap_or_default()), "{found}");
        };
        check("eu-west-1", Some("eu-north-1"), None);
        check("eu-west-1", None, None);
        check("eu-north-1", Some("eu-north-1"), Some("SIDEKEY_FAILOVER_REGION"));
        check("cn-north-1", Some("eu-north-1"), Some("partition aws-cn"));
    }

    #[test]
    fn settings_that_defeat_failover_cause_warnings() {
        let check = |settings: &Settings, expected: &[&str]| {
            let found = warnings(settings);
            assert_eq!(found.len(), expected.len(), "{found:?}");
            for (warning, part) in found.iter().zip(expected) {
                assert!(warning.contains(part), "{warning}");
            }
        };
        check(&Settings::default(), &[]);
        check(&settings("eu-west-1"), &[]);
        check(&settings("eu-wset-1"), &["did you mean eu-west-1?"]);
        let endpoint = |url| Endpoint::parse(url).ok();
        let with = |url| Settings { endpoint: endpoint(url), ..settings("eu-west-1") };
        check(&with("https://vpce.example"), &["does not contain {region}"]);
        check(&with("https://gateway.example/{region}"), &[]);
        let mut slow = settings("eu-west-1");
        slow.upstream_timeout.secrets.duration = Duration::from_secs(3);
        check(&slow, &["SIDEKEY_READER_WAIT", "SIDEKEY_PREFETCH_DEADLINE"]);
    }
}

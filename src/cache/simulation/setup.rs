//! The settings of a simulation, which its random seed determines.

use crate::cache::freshness::{Policy, Refresh};
use crate::cache::policies::{Policies, Rule};
use crate::secret::scope::Scope;
use std::time::Duration;

#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub(super) policies: Vec<Policy>,
    pub(super) reader_wait: Duration,
    pub(super) entries_max: usize,
    /// The names of the simulated secrets and parameters, such as `s0` and `ssm:/s1`.
    pub(super) names: Vec<String>,
    pub(super) listed: Vec<String>,
    pub(super) is_snapshot: bool,
    /// Whether the answers of the simulated AWS contain the creation dates of versions.
    pub(super) is_dated: bool,
    /// Whether the simulated secrets have replicas in another region.
    pub(super) has_failover: bool,
    pub(super) latency_max_ms: u64,
}

impl Setup {
    pub(super) fn draw(rng: &mut fastrand::Rng) -> Self {
        // Some simulations have more secrets than the cache may fetch at the same time.
        let secrets = if rng.u8(0..20) == 0 { 40 } else { rng.usize(1..5) };
        let common = policy(rng);
        let mut policies = vec![common; secrets];
        for own in &mut policies {
            if rng.u8(0..4) == 0 {
                *own = policy(rng);
            }
        }
        let names: Vec<String> = (0..secrets)
            .map(|n| if rng.u8(0..3) == 0 { format!("ssm:/s{n}") } else { format!("s{n}") })
            .collect();
        // A call without a fault must end within the maximum wait of a reader.
        let latency_max_ms = [20, 100, 700, 3500][rng.usize(0..4)];
        let waits: &[u64] = if latency_max_ms < 1000 { &[1, 3, 5] } else { &[5] };
        Self {
            policies,
            reader_wait: any(rng, waits),
            entries_max: if rng.u8(0..3) == 0 { rng.usize(1..4) } else { 100 },
            listed: names.iter().filter(|_| rng.bool()).cloned().collect(),
            names,
            is_snapshot: rng.bool(),
            is_dated: rng.u8(0..5) > 0,
            has_failover: rng.bool(),
            latency_max_ms,
        }
    }

    /// Returns the refresh policies of the cache, with one rule for each simulated secret.
    pub(super) fn rules(&self) -> Policies {
        let rule = |(name, policy): (&String, &Policy)| Rule {
            secrets: Scope::new([name.as_str()]).expect("the pattern in the test must be valid"),
            ttl: Some(policy.ttl),
            stale_while_revalidate: Some(policy.stale_while_revalidate),
            stale_if_error: Some(policy.stale_if_error),
            denied_grace: Some(policy.denied_grace),
            refresh: Some(policy.refresh),
            is_required: Some(policy.is_required),
        };
        Policies::new(Policy::default(), self.names.iter().zip(&self.policies).map(rule).collect())
    }

    /// Returns the longest time for which the cache may serve a value while all calls succeed.
    pub(super) fn life_max(&self) -> Duration {
        let lives = self.policies.iter().map(|own| own.ttl + own.stale_while_revalidate);
        lives.max().unwrap_or_default()
    }
}

fn policy(rng: &mut fastrand::Rng) -> Policy {
    let ttl = any(rng, &[0, 1, 5, 30, 300, 300]);
    Policy {
        ttl,
        stale_while_revalidate: any(rng, &[0, 0, 2, 60]),
        stale_if_error: any(rng, &[0, 10, 100, 3600]),
        denied_grace: any(rng, &[0, 5, 60]),
        refresh: match rng.u8(0..4) {
            // With a shorter TTL, most of the simulation would be refreshes.
            0 if ttl >= Duration::from_secs(5) => Refresh::Always,
            _ => Refresh::WhenRead,
        },
        is_required: rng.bool(),
    }
}

fn any(rng: &mut fastrand::Rng, seconds: &[u64]) -> Duration {
    Duration::from_secs(seconds[rng.usize(0..seconds.len())])
}

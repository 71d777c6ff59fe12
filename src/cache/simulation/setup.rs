//! The settings of a simulation. The random seed of the simulation determines them.

use super::identity::{ROLES, plain, role};
use crate::cache::discovery;
use crate::cache::freshness::{Policy, Refresh};
use crate::cache::policies::{Policies, Rule};
use crate::secret::scope::Scope;
use crate::secret::secret_pattern::SecretPattern;
use std::time::Duration;

/// The pattern for the names of all simulated secrets. It matches no parameter.
const PATTERN: &str = "s*";

#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub(super) policies: Vec<Policy>,
    pub(super) reader_wait: Duration,
    pub(super) entries_max: usize,
    /// The names of the simulated secrets and parameters, such as `s0` and `ssm:/s1`. The prefix
    /// `1@` means that the cache reads with the role number 1, as in `1@ssm:/s1`.
    pub(super) names: Vec<String>,
    pub(super) listed: Vec<String>,
    /// Whether the cache searches for all simulated secrets by a pattern of names.
    pub(super) has_pattern: bool,
    /// The time between two searches. Zero means one search at start.
    pub(super) interval: Duration,
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
        let names = names(rng, secrets);
        for n in 0..secrets {
            // A rule of the cache applies to a name, and so to the secrets of all roles.
            policies[n] = policies[n - role(&names[n])];
        }
        // A call without a fault must end within the maximum wait of a reader.
        let latency_max_ms = [20, 100, 700, 3500][rng.usize(0..4)];
        let waits: &[u64] = if latency_max_ms < 1000 { &[1, 3, 5] } else { &[5] };
        Self {
            policies,
            reader_wait: any(rng, waits),
            entries_max: if rng.u8(0..3) == 0 { rng.usize(1..4) } else { 100 },
            listed: names.iter().filter(|_| rng.bool()).cloned().collect(),
            names,
            has_pattern: rng.bool(),
            interval: any(rng, &[0, 10, 60, 300]),
            is_snapshot: rng.bool(),
            is_dated: rng.u8(0..5) > 0,
            has_failover: rng.bool(),
            latency_max_ms,
        }
    }

    /// Returns the refresh policies of the cache, with one rule for each simulated secret.
    pub(super) fn rules(&self) -> Policies {
        let own = self.names.iter().zip(&self.policies).filter(|(name, _)| role(name) == 0);
        let rule = |(name, policy): (&String, &Policy)| Rule {
            secrets: Scope::new([name.as_str()]).expect("the pattern in the test must be valid"),
            ttl: Some(policy.ttl),
            stale_while_revalidate: Some(policy.stale_while_revalidate),
            stale_if_error: Some(policy.stale_if_error),
            denied_grace: Some(policy.denied_grace),
            refresh: Some(policy.refresh),
            is_required: Some(policy.is_required),
        };
        Policies::new(Policy::default(), own.map(rule).collect())
    }

    pub(super) fn discovery(&self) -> discovery::Config {
        let pattern = SecretPattern::parse(PATTERN).expect("the pattern in the test must be valid");
        let patterns = if self.has_pattern { vec![pattern] } else { Vec::new() };
        discovery::Config { patterns, interval: self.interval }
    }

    /// Returns whether the pattern of this simulation lists the secret `name`, and no setting lists
    /// it by its name.
    pub(super) fn is_only_found(&self, name: &str) -> bool {
        self.has_pattern && !name.starts_with("ssm:") && !self.listed.iter().any(|own| own == name)
    }

    /// Returns the longest time for which the cache may serve a value while all calls succeed.
    pub(super) fn life_max(&self) -> Duration {
        let lives = self.policies.iter().map(|own| own.ttl + own.stale_while_revalidate);
        lives.max().unwrap_or_default()
    }
}

/// Draws the names of the secrets. Some secrets have the same name as the secret before them, but
/// the cache reads them with a role.
fn names(rng: &mut fastrand::Rng, secrets: usize) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for n in 0..secrets {
        let last = names.last().map(|last| (role(last), plain(last).to_owned()));
        names.push(match last {
            Some((role, name)) if role < ROLES && rng.u8(0..4) == 0 => {
                format!("{}@{name}", role + 1)
            }
            _ if rng.u8(0..3) == 0 => format!("ssm:/s{n}"),
            _ => format!("s{n}"),
        });
    }
    names
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

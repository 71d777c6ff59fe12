//! The failover region: another AWS region, whose replicas of secrets Sidekey reads while the
//! agent's own region fails.
//!
//! All functions are pure.

use crate::secret::arn::{Arn, partition_of};
use crate::secret::key::Key;
use crate::secret::reference::SecretId;
use crate::secret::service::Service;
use crate::secret::version::Version;

/// The agent's own region (the home region), and the failover region. The agent reads replicas of
/// secrets in the failover region while its own region fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failover {
    home: Box<str>,
    region: Box<str>,
}

/// Why a region cannot be the failover region.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadFailover {
    /// Error: the failover region is the agent's own region.
    #[error(
        "the failover region is {0}, which is also the agent's own region: set another region, to \
         which your secrets are replicated"
    )]
    IsHome(Box<str>),
    /// Error: the failover region and the agent's own region belong to different AWS partitions.
    #[error(
        "region {failover} is in the partition {}, but the agent's own region {home} is in the \
         partition {}: AWS replicates secrets only within a partition, so set a region of the same \
         partition",
        partition_of(.failover),
        partition_of(.home)
    )]
    OtherPartition {
        /// The configured failover region.
        failover: Box<str>,
        /// The agent's own region.
        home: Box<str>,
    },
}

/// Checks that AWS can replicate secrets from the region `home` to the region `failover`.
pub(crate) fn check_failover(failover: &str, home: &str) -> Result<(), BadFailover> {
    if failover == home {
        return Err(BadFailover::IsHome(home.into()));
    }
    match partition_of(failover) == partition_of(home) {
        true => Ok(()),
        false => Err(BadFailover::OtherPartition { failover: failover.into(), home: home.into() }),
    }
}

impl Failover {
    pub(super) fn new(region: &str, home: &str) -> Result<Self, BadFailover> {
        check_failover(region, home)?;
        Ok(Self { home: home.into(), region: region.into() })
    }

    pub(super) fn region(&self) -> &str {
        &self.region
    }

    /// Returns the key that reads the replica of `key` in the failover region. Returns `None` if
    /// AWS has no such replica: for parameters, and for secrets whose ARN names another region than
    /// the agent's own region.
    pub(super) fn replica_of(&self, key: &Key) -> Option<Key> {
        let id = match &key.id {
            SecretId::Name(_) => key.id.clone(),
            SecretId::Arn(arn)
                if arn.service() == Service::SecretsManager && *arn.region() == *self.home =>
            {
                SecretId::Arn(arn.in_region(&self.region)?)
            }
            SecretId::Arn(_) | SecretId::Parameter(_) | SecretId::Path(_) => return None,
        };
        Some(Key { id, ..key.clone() })
    }

    /// Replaces the ARN of a replica by the ARN of the secret in the agent's own region. The cache
    /// then finds both under one ARN. The two ARNs differ only in the region.
    pub(super) fn with_home_arn(&self, replica: Version) -> Version {
        let arn = Arn::parse(&replica.arn).ok().filter(|arn| *arn.region() == *self.region);
        match arn.and_then(|arn| arn.in_region(&self.home)) {
            Some(home) => Version { arn: home.as_str().into(), ..replica },
            None => replica,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::selector::Selector;
    use crate::secret::value::SecretValue;
    use crate::secret::version::{Content, Details};

    const ARN: &str = "arn:aws:secretsmanager:eu-north-1:123456789012:secret:app/db-AbC123";

    fn failover() -> Failover {
        Failover::new("eu-west-1", "eu-north-1").expect("the region must be valid")
    }

    #[track_caller]
    fn check(id: &str, expected: Option<&str>) {
        let id = SecretId::parse(id).expect("the name or ARN in the test must be valid");
        let key = Key::own(id, Selector::new(Some("AWSPREVIOUS"), None));
        let replica = failover().replica_of(&key);
        assert_eq!(replica.as_ref().map(|replica| replica.id.as_str()), expected);
        assert!(replica.is_none_or(|replica| replica.selector == key.selector));
    }

    #[test]
    fn only_secrets_of_the_own_region_have_a_replica() {
        let replica = ARN.replace("eu-north-1", "eu-west-1");
        check("app/db", Some("app/db"));
        check(ARN, Some(&replica));
        check(&ARN[..ARN.len() - 7], Some(&replica[..replica.len() - 7]));
        check(&ARN.replace("eu-north-1", "us-east-1"), None);
        check("ssm:/app/url", None);
        check("arn:aws:ssm:eu-north-1:123456789012:parameter/app/url", None);
    }

    #[test]
    fn answer_of_a_replica_gets_the_arn_of_the_own_region() {
        let answer = |region: &str| Version {
            arn: ARN.replace("eu-north-1", region).into(),
            name: "app/db".into(),
            id: "v1".into(),
            details: Details::Secret { labels: Vec::new() },
            created: None,
            content: Content::Text(SecretValue::from(String::new())),
        };
        assert_eq!(&*failover().with_home_arn(answer("eu-west-1")).arn, ARN);
        let other = answer("us-east-1");
        assert_eq!(failover().with_home_arn(other.clone()).arn, other.arn);
    }

    #[test]
    fn failover_region_is_another_region_of_the_same_partition() {
        for (region, expected) in [
            ("eu-west-1", None),
            ("us-east-1", None),
            ("eu-north-1", Some("the agent's own region: set another region")),
            ("cn-north-1", Some("partition aws-cn, but the agent's own region eu-north-1 is in")),
            ("us-gov-west-1", Some("in the partition aws-us-gov")),
        ] {
            let bad = check_failover(region, "eu-north-1").err().map(|bad| bad.to_string());
            assert_eq!(bad.is_some(), expected.is_some(), "{region}");
            assert!(bad.unwrap_or_default().contains(expected.unwrap_or_default()), "{region}");
        }
    }
}

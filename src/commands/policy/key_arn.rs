//! The ARN of a KMS key with which secrets and parameters are encrypted.

use crate::secret::arn::{is_region, partition_of};
use crate::secret::service::Service;
use std::str::FromStr;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct KeyArn {
    /// The AWS region of the KMS key. This field is the first, so that the derived order sorts keys
    /// by region.
    pub(super) region: String,
    text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadKey {
    #[error(
        "the value is an alias of a KMS key, but an alias has no effect in a policy; use the key's ARN from `aws kms describe-key`"
    )]
    Alias,
    #[error("the value is not the ARN of a KMS key; write arn:PARTITION:kms:REGION:ACCOUNT:key/ID")]
    NotAKey,
}

impl KeyArn {
    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the values of the IAM condition key `kms:ViaService` that stand for `service`, such as
    /// `secretsmanager.eu-north-1.amazonaws.com`. A policy with this condition lets only this service
    /// use the KMS key.
    ///
    /// Outside the partition `aws`, returns two values, because AWS's documentation uses two
    /// domains.
    ///
    /// Source: `kms:ViaService` in AWS's KMS developer guide, and the domains of AWS's partitions.
    pub(super) fn via_services(&self, service: Service) -> Vec<String> {
        let partition_domain = match partition_of(&self.region) {
            "aws-cn" => Some("amazonaws.com.cn"),
            "aws-iso" => Some("c2s.ic.gov"),
            "aws-iso-b" => Some("sc2s.sgov.gov"),
            "aws-iso-e" => Some("cloud.adc-e.uk"),
            "aws-iso-f" => Some("csp.hci.ic.gov"),
            "aws-eusc" => Some("amazonaws.eu"),
            _ => None,
        };
        ["amazonaws.com"]
            .into_iter()
            .chain(partition_domain)
            .map(|domain| format!("{}.{}.{domain}", service.arn_name(), self.region))
            .collect()
    }
}

impl FromStr for KeyArn {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<Self, BadKey> {
        let parts: Vec<&str> = text.split(':').collect();
        let ["arn", partition, "kms", region, account, resource] = parts[..] else {
            return Err(BadKey::NotAKey);
        };
        if resource.starts_with("alias/") {
            return Err(BadKey::Alias);
        }
        let id = resource.strip_prefix("key/").unwrap_or_default();
        let is_key = is_region(region)
            && partition == partition_of(region)
            && account.len() == 12
            && account.bytes().all(|byte| byte.is_ascii_digit())
            && !id.is_empty()
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        match is_key {
            true => Ok(Self { region: region.to_owned(), text: text.to_owned() }),
            false => Err(BadKey::NotAKey),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_is_used_through_a_service_of_its_region() {
        for (text, expected) in [
            (
                "arn:aws:kms:eu-north-1:123456789012:key/ab-12",
                &["secretsmanager.eu-north-1.amazonaws.com"][..],
            ),
            (
                "arn:aws-cn:kms:cn-north-1:123456789012:key/mrk-1",
                &[
                    "secretsmanager.cn-north-1.amazonaws.com",
                    "secretsmanager.cn-north-1.amazonaws.com.cn",
                ],
            ),
            (
                "arn:aws-us-gov:kms:us-gov-west-1:123456789012:key/1",
                &["secretsmanager.us-gov-west-1.amazonaws.com"],
            ),
        ] {
            let key: KeyArn = text.parse().expect("the test must use a valid ARN of a KMS key");
            assert_eq!(key.via_services(Service::SecretsManager), expected);
            let of_parameters = key.via_services(Service::ParameterStore);
            let expected = expected.iter().map(|via| via.replace("secretsmanager", "ssm"));
            assert!(of_parameters.into_iter().eq(expected), "{text}");
        }
    }

    #[test]
    fn malformed_key_arn_is_refused() {
        for (text, expected) in [
            ("arn:aws:kms:eu-north-1:123456789012:alias/x", BadKey::Alias),
            ("arn:aws:kms:eu-north-1:123456789012:key/", BadKey::NotAKey),
            ("arn:aws:kms:eu-north-1:123456789012:key/*", BadKey::NotAKey),
            ("arn:aws-cn:kms:eu-north-1:123456789012:key/1", BadKey::NotAKey),
            ("arn:aws:s3:::bucket", BadKey::NotAKey),
            ("ab-12", BadKey::NotAKey),
        ] {
            assert_eq!(text.parse::<KeyArn>(), Err(expected), "{text}");
        }
    }
}

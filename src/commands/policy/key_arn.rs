//! KMS keys, by which secrets are encrypted that have a key of their own.

use crate::secret::arn::{is_region, partition_of};
use std::str::FromStr;

/// The ARN of a KMS key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct KeyArn {
    /// First, so that keys sort by it.
    pub(super) region: String,
    text: String,
}

/// Why it is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadKey {
    /// It is an alias.
    #[error("an alias grants nothing in a policy; give the key's own ARN (aws kms describe-key)")]
    Alias,
    /// It is no ARN of a key.
    #[error("arn:PARTITION:kms:REGION:ACCOUNT:key/ID expected")]
    NotAKey,
}

impl KeyArn {
    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns what KMS knows Secrets Manager by in the key's region: a key decrypts only secrets
    /// of its own region. Outside the commercial partition, where KMS's documentation writes the
    /// end of host names now as there and now as in the partition's own, both.
    ///
    /// Source: `kms:ViaService` in AWS's KMS developer guide; the ends are those of AWS's partitions.
    pub(super) fn via_services(&self) -> Vec<String> {
        let own = match partition_of(&self.region) {
            "aws-cn" => Some("amazonaws.com.cn"),
            "aws-iso" => Some("c2s.ic.gov"),
            "aws-iso-b" => Some("sc2s.sgov.gov"),
            "aws-iso-e" => Some("cloud.adc-e.uk"),
            "aws-iso-f" => Some("csp.hci.ic.gov"),
            "aws-eusc" => Some("amazonaws.eu"),
            _ => None,
        };
        let ends = ["amazonaws.com"].into_iter().chain(own);
        ends.map(|end| format!("secretsmanager.{}.{end}", self.region)).collect()
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
    fn a_key_is_reached_through_secrets_manager_of_its_region() {
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
            let key: KeyArn = text.parse().expect("a key");
            assert_eq!(key.via_services(), expected);
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
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

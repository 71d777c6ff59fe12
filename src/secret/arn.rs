//! Parses ARNs of secrets, and the AWS regions and partitions in these ARNs.

use super::name::is_name_char;
use std::fmt;

/// The number of random characters that Secrets Manager appends, after a hyphen, to a secret's name
/// in the secret's ARN.
///
/// Source: AWS's page *What's in a secret* in the Secrets Manager user guide.
const SUFFIX_LEN: usize = 6;

/// The maximum length of the name of an AWS region, in bytes. The longest names that AWS uses have
/// about half this length.
const REGION_BYTES_MAX: usize = 32;

/// The ARN of a secret: `arn:PARTITION:secretsmanager:REGION:ACCOUNT:secret:NAME[-SUFFIX]`.
///
/// A full ARN ends in the suffix: a hyphen and six random characters. A partial ARN has no suffix.
/// The text of an ARN does not always show which of the two it is, because a secret's name can also
/// end in a hyphen and six characters.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Arn {
    text: Box<str>,
    /// The byte offsets in `text` at which the partition, the region, the account and the name
    /// begin.
    starts: [usize; 4],
}

/// The error for a string that is not the ARN of a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected} at character {at} of the ARN")]
pub struct BadArn {
    /// The part that is missing or wrong in the ARN, as a phrase, such as `an account id of 12
    /// digits`.
    pub(crate) expected: &'static str,
    /// The position of the mistake in the ARN, in bytes counted from 1.
    pub(crate) at: usize,
}

impl Arn {
    pub(crate) fn parse(text: &str) -> Result<Self, BadArn> {
        let mut parts = Parts { text, at: 0 };
        parts.next("'arn'", |part| part == "arn")?;
        let partition = parts.next("a partition like 'aws'", is_word)?;
        parts.next("'secretsmanager'", |part| part == "secretsmanager")?;
        let region = parts.next("a region like 'eu-north-1'", is_region)?;
        let account = parts.next("an account id of 12 digits", is_account)?;
        parts.next("'secret'", |part| part == "secret")?;
        let resource = parts.at;
        let name = &text[resource..];
        if name.is_empty() {
            return Err(BadArn::new("the name of a secret", resource));
        }
        if let Some(offset) = name.find(|c| !is_name_char(c)) {
            let expected = "a character that a secret's name can have (A-Za-z0-9/_+=.@!-)";
            return Err(BadArn::new(expected, resource + offset));
        }
        let starts = [partition, region, account, resource];
        Ok(Self { text: text.into(), starts })
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn partition(&self) -> &str {
        self.part(0)
    }

    pub(crate) fn region(&self) -> &str {
        self.part(1)
    }

    pub(crate) fn account(&self) -> &str {
        self.part(2)
    }

    /// Returns the end of the ARN after `secret:`. This is the secret's name, or in a full ARN the
    /// name with AWS's random suffix.
    pub(crate) fn resource(&self) -> &str {
        &self.text[self.starts[3]..]
    }

    /// Returns the names that the secret with this ARN can have.
    ///
    /// The first name is right if AWS's random suffix is missing at the end of the ARN. The second
    /// name is right if the ARN ends in this suffix, and is `None` if the ARN cannot end in a
    /// suffix.
    pub(crate) fn possible_names(&self) -> (&str, Option<&str>) {
        (self.resource(), without_suffix(self.resource()))
    }

    fn part(&self, index: usize) -> &str {
        let rest = &self.text[self.starts[index]..];
        &rest[..rest.find(':').unwrap_or(rest.len())]
    }
}

struct Parts<'a> {
    text: &'a str,
    at: usize,
}

impl Parts<'_> {
    /// Checks the next part of the ARN, up to a colon. Returns the byte offset at which this part
    /// begins.
    fn next(
        &mut self,
        expected: &'static str,
        is_valid: impl Fn(&str) -> bool,
    ) -> Result<usize, BadArn> {
        let part = match self.text[self.at..].split_once(':') {
            Some((part, _)) if is_valid(part) => part,
            _ => return Err(BadArn::new(expected, self.at)),
        };
        let start = self.at;
        self.at += part.len() + 1;
        Ok(start)
    }
}

impl BadArn {
    fn new(expected: &'static str, offset: usize) -> Self {
        Self { expected, at: offset + 1 }
    }
}

impl fmt::Debug for Arn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for Arn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Removes AWS's random suffix (a hyphen and six characters) from the end of an ARN. Returns `None`
/// if the end of the ARN cannot be such a suffix.
fn without_suffix(resource: &str) -> Option<&str> {
    let (name, suffix) = resource.rsplit_once('-')?;
    let is_suffix = suffix.len() == SUFFIX_LEN && suffix.bytes().all(|b| b.is_ascii_alphanumeric());
    (is_suffix && !name.is_empty()).then_some(name)
}

/// Returns whether `text` has the form of an AWS region, such as `eu-north-1`: groups of lower-case
/// letters and digits, and a number at the end.
///
/// The check is strict because Sidekey connects to a host whose name contains the region.
pub(crate) fn is_region(text: &str) -> bool {
    let mut groups = text.split('-');
    let number = groups.next_back().unwrap_or_default();
    let names: Vec<&str> = groups.collect();
    text.len() <= REGION_BYTES_MAX
        && names.len() >= 2
        && names.iter().all(|name| is_lower_alphanumeric(name))
        && !number.is_empty()
        && number.bytes().all(|b| b.is_ascii_digit())
}

/// Returns the AWS partition of a region, such as `aws-cn` for `cn-north-1`.
///
/// Source: the partitions in AWS's endpoint rules, which depend on the prefix of the region.
pub(crate) fn partition_of(region: &str) -> &'static str {
    const BY_PREFIX: [(&str, &str); 7] = [
        ("cn-", "aws-cn"),
        ("us-gov-", "aws-us-gov"),
        ("us-iso-", "aws-iso"),
        ("us-isob-", "aws-iso-b"),
        ("eu-isoe-", "aws-iso-e"),
        ("us-isof-", "aws-iso-f"),
        ("eusc-", "aws-eusc"),
    ];
    BY_PREFIX.iter().find(|(prefix, _)| region.starts_with(prefix)).map_or("aws", |(_, name)| name)
}

fn is_lower_alphanumeric(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

pub(crate) fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
}

pub(super) fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostile::{mangled, text_of};
    use proptest::prelude::*;

    const FULL: &str = "arn:aws:secretsmanager:eu-north-1:123456789012:secret:app/db-AbC123";

    #[test]
    fn parts_of_an_arn_are_found() {
        let arn = Arn::parse(FULL).expect("the ARN is valid");
        assert_eq!(
            (arn.partition(), arn.region(), arn.account(), arn.resource()),
            ("aws", "eu-north-1", "123456789012", "app/db-AbC123")
        );
        assert_eq!(arn.possible_names(), ("app/db-AbC123", Some("app/db")));
    }

    #[test]
    fn arn_of_a_secret_that_a_service_manages_is_valid() {
        let text = "arn:aws:secretsmanager:eu-north-1:123456789012:secret:rds!db-1a2b-AbC123";
        let arn = Arn::parse(text).expect("the ARN is valid");
        assert_eq!(arn.possible_names(), ("rds!db-1a2b-AbC123", Some("rds!db-1a2b")));
    }

    #[test]
    fn arn_without_a_suffix_has_one_possible_name() {
        for resource in ["app/db", "app/db-AbC12", "app/db-AbC1_3", "-AbC123"] {
            let text = format!("arn:aws:secretsmanager:eu-north-1:123456789012:secret:{resource}");
            assert_eq!(
                Arn::parse(&text).expect("the ARN is valid").possible_names(),
                (resource, None)
            );
        }
    }

    #[track_caller]
    fn refused(text: &str, expected: &str, at: usize) {
        let problem = Arn::parse(text).expect_err("the ARN is refused");
        assert!(problem.expected.contains(expected), "{problem}");
        assert_eq!(problem.at, at, "{problem}");
    }

    #[test]
    fn malformed_part_is_reported_with_its_position() {
        refused("arn", "'arn'", 1);
        refused("arn:AWS:secretsmanager:", "partition", 5);
        refused("arn:aws:s3:::bucket", "'secretsmanager'", 9);
        refused("arn:aws:secretsmanager:evil.example.com#:1:secret:x", "region", 24);
        refused("arn:aws:secretsmanager:eu-north-1:12345:secret:x", "account", 35);
        refused("arn:aws:secretsmanager:eu-north-1:123456789012:other:x", "'secret'", 48);
        refused("arn:aws:secretsmanager:eu-north-1:123456789012:secret:", "name", 55);
        refused("arn:aws:secretsmanager:eu-north-1:123456789012:secret:a b", "character", 56);
    }

    #[test]
    fn region_must_have_lower_case_groups_and_a_number() {
        for region in ["eu-north-1", "us-gov-west-1", "eusc-de-east-1", "ap-southeast-10"] {
            assert!(is_region(region), "{region}");
        }
        for text in
            ["", "eu", "eu-1", "eu-north-", "EU-north-1", "eu.north-1", "a--1", "eu-north-1a"]
        {
            assert!(!is_region(text), "{text}");
        }
    }

    #[test]
    fn partition_depends_on_the_prefix_of_the_region() {
        assert_eq!(partition_of("eu-north-1"), "aws");
        assert_eq!(partition_of("cn-north-1"), "aws-cn");
        assert_eq!(partition_of("us-gov-west-1"), "aws-us-gov");
        assert_eq!(partition_of("us-iso-east-1"), "aws-iso");
    }

    const PIECES: &[&str] = &[
        "arn:",
        "aws:",
        "secretsmanager:",
        "eu-north-1:",
        "123456789012:",
        "secret:",
        "a",
        "-AbC123",
    ];

    proptest! {
        #[test]
        fn for_any_text_an_arn_consists_of_its_parts(text in prop_oneof![mangled(FULL), text_of(PIECES)]) {
            match Arn::parse(&text) {
                Ok(arn) => {
                    prop_assert_eq!(arn.to_string(), &*text);
                    let (partition, region, account) = (arn.partition(), arn.region(), arn.account());
                    let head = format!("arn:{partition}:secretsmanager:{region}:{account}:secret:");
                    prop_assert_eq!(text.strip_prefix(&head), Some(arn.resource()));
                    prop_assert!(is_region(region) && is_account(account));
                    let (as_partial, as_full) = arn.possible_names();
                    prop_assert_eq!(as_partial, arn.resource());
                    if let Some(name) = as_full {
                        prop_assert!(as_partial.starts_with(name) && as_partial.len() == name.len() + 7);
                    }
                }
                Err(bad) => prop_assert!((1..=text.chars().count() + 1).contains(&bad.at), "{bad}"),
            }
        }
    }
}

//! Secrets Manager ARNs, full and partial.

use super::name::is_name_char;
use std::fmt;

/// How many random characters Secrets Manager appends to a name, after a hyphen.
///
/// Source: "What's in a secret" in AWS's Secrets Manager user guide.
const SUFFIX_LEN: usize = 6;

/// An ARN of a secret: `arn:PARTITION:secretsmanager:REGION:ACCOUNT:secret:NAME[-SUFFIX]`.
///
/// Whether it is a full one cannot always be told from its text: a name may itself end in a hyphen
/// and six characters. See [`possible_names`](Self::possible_names).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Arn {
    text: Box<str>,
    /// Where partition, region, account and resource begin.
    starts: [usize; 4],
}

/// What is wrong with the text of an ARN, and at which byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{expected} expected at character {at}")]
pub struct BadArn {
    /// What should have stood there.
    pub expected: &'static str,
    /// The position, counted from 1.
    pub at: usize,
}

impl Arn {
    /// Parses the ARN of a secret.
    ///
    /// # Errors
    ///
    /// Where a part is missing, empty or has characters that no such part has.
    pub fn parse(text: &str) -> Result<Self, BadArn> {
        let bad = |expected, at: usize| BadArn { expected, at: at + 1 };
        let mut at = 0;
        let mut starts = [0; 4];
        let mut part = |expected: &'static str, fits: &dyn Fn(&str) -> bool| {
            let rest = &text[at..];
            let len = rest.find(':').ok_or_else(|| bad(expected, at))?;
            if !fits(&rest[..len]) {
                return Err(bad(expected, at));
            }
            let start = at;
            at += len + 1;
            Ok(start)
        };
        part("'arn'", &|part| part == "arn")?;
        starts[0] = part("a partition like 'aws'", &is_word)?;
        part("'secretsmanager'", &|part| part == "secretsmanager")?;
        starts[1] = part("a region like 'eu-north-1'", &is_region)?;
        starts[2] = part("an account of 12 digits", &is_account)?;
        starts[3] = part("'secret'", &|part| part == "secret")? + "secret:".len();
        let resource = &text[starts[3]..];
        if resource.is_empty() {
            return Err(bad("the name of a secret", starts[3]));
        }
        if let Some(offset) = resource.find(|c| !is_name_char(c)) {
            return Err(bad("a character of a name (A-Za-z0-9/_+=.@!-)", starts[3] + offset));
        }
        Ok(Self { text: text.into(), starts })
    }

    /// Returns the whole text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the partition, such as `aws` or `aws-cn`.
    pub fn partition(&self) -> &str {
        self.part(0)
    }

    /// Returns the region that the secret lives in.
    pub fn region(&self) -> &str {
        self.part(1)
    }

    /// Returns the account that owns the secret.
    pub fn account(&self) -> &str {
        self.part(2)
    }

    /// Returns what stands after `secret:`: the name, with the suffix in a full ARN.
    pub fn resource(&self) -> &str {
        &self.text[self.starts[3]..]
    }

    /// Returns the names that this ARN may mean: the text as a partial ARN, and, where it ends like
    /// a full one, the text without its suffix.
    pub fn possible_names(&self) -> (&str, Option<&str>) {
        (self.resource(), without_suffix(self.resource()))
    }

    fn part(&self, index: usize) -> &str {
        let rest = &self.text[self.starts[index]..];
        &rest[..rest.find(':').unwrap_or(rest.len())]
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

/// Returns `resource` without its hyphen and six characters, where it ends in them.
fn without_suffix(resource: &str) -> Option<&str> {
    let (name, suffix) = resource.rsplit_once('-')?;
    let is_suffix = suffix.len() == SUFFIX_LEN && suffix.bytes().all(|b| b.is_ascii_alphanumeric());
    (is_suffix && !name.is_empty()).then_some(name)
}

/// Returns whether `text` looks like a region. A region becomes part of a host name, so nothing
/// else may get through: groups of small letters and digits, the last one a number.
pub fn is_region(text: &str) -> bool {
    let mut groups = text.split('-');
    let number = groups.next_back().unwrap_or_default();
    let names: Vec<&str> = groups.collect();
    let is_name = |group: &&str| {
        !group.is_empty() && group.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    text.len() <= 32
        && names.len() >= 2
        && names.iter().all(is_name)
        && !number.is_empty()
        && number.bytes().all(|b| b.is_ascii_digit())
}

/// Returns the partition that a region belongs to.
///
/// Source: the partitions of AWS's endpoint rules, by the prefix of the region.
pub fn partition_of(region: &str) -> &'static str {
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

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
}

fn is_word(text: &str) -> bool {
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
    fn parts_are_found() {
        let arn = Arn::parse(FULL).expect("a full ARN");
        assert_eq!(
            (arn.partition(), arn.region(), arn.account(), arn.resource()),
            ("aws", "eu-north-1", "123456789012", "app/db-AbC123")
        );
        assert_eq!(arn.possible_names(), ("app/db-AbC123", Some("app/db")));
    }

    #[test]
    fn secrets_that_a_service_manages_have_arns_too() {
        let text = "arn:aws:secretsmanager:eu-north-1:123456789012:secret:rds!db-1a2b-AbC123";
        let arn = Arn::parse(text).expect("an ARN");
        assert_eq!(arn.possible_names(), ("rds!db-1a2b-AbC123", Some("rds!db-1a2b")));
    }

    #[test]
    fn an_end_without_suffix_has_one_reading() {
        for resource in ["app/db", "app/db-AbC12", "app/db-AbC1_3", "-AbC123"] {
            let text = format!("arn:aws:secretsmanager:eu-north-1:123456789012:secret:{resource}");
            assert_eq!(Arn::parse(&text).expect("an ARN").possible_names(), (resource, None));
        }
    }

    #[track_caller]
    fn refused(text: &str, expected: &str, at: usize) {
        let problem = Arn::parse(text).expect_err("a bad ARN");
        assert!(problem.expected.contains(expected), "{problem}");
        assert_eq!(problem.at, at, "{problem}");
    }

    #[test]
    fn a_bad_part_is_named_with_its_place() {
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
    fn only_what_looks_like_a_region_is_one() {
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
    fn partitions_follow_the_region() {
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
        fn for_any_text_an_arn_is_its_parts(text in prop_oneof![mangled(FULL), text_of(PIECES)]) {
            match Arn::parse(&text) {
                Ok(arn) => {
                    prop_assert_eq!(arn.to_string(), &*text);
                    let (partition, region, account) = (arn.partition(), arn.region(), arn.account());
                    let head = format!("arn:{partition}:secretsmanager:{region}:{account}:secret:");
                    prop_assert_eq!(text.strip_prefix(&head), Some(arn.resource()));
                    prop_assert!(is_region(region) && is_account(account));
                    let (whole, stripped) = arn.possible_names();
                    prop_assert_eq!(whole, arn.resource());
                    if let Some(name) = stripped {
                        prop_assert!(whole.starts_with(name) && whole.len() == name.len() + 7);
                    }
                }
                Err(bad) => prop_assert!((1..=text.chars().count() + 1).contains(&bad.at), "{bad}"),
            }
        }
    }
}

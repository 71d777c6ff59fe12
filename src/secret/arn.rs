//! Parses ARNs of secrets and parameters, and the AWS regions and partitions in these ARNs.

use super::name::{is_name_char, is_parameter_char};
use super::service::Service;
use std::fmt;

/// The number of random characters at the end of a secret's ARN. Secrets Manager appends a hyphen
/// and these characters to the secret's name.
///
/// Source: AWS's page *What's in a secret* in the Secrets Manager user guide.
const SUFFIX_LEN: usize = 6;

/// The maximum length of the name of an AWS region, in bytes. AWS's longest names have about half
/// this length.
const REGION_BYTES_MAX: usize = 32;

/// The ARN of a secret or of a parameter.
///
/// The full ARN of a secret is `arn:PARTITION:secretsmanager:REGION:ACCOUNT:secret:NAME-SUFFIX`.
/// The suffix consists of six random characters. A partial ARN ends after the name. The text does
/// not always show whether an ARN is full, because a secret's name can also end in a hyphen and six
/// characters.
///
/// The ARN of a parameter is `arn:PARTITION:ssm:REGION:ACCOUNT:parameter/NAME`. If the name begins
/// with a slash, the ARN has only one slash after `parameter`. The account is empty for a public
/// parameter of AWS, such as `/aws/service/…`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Arn {
    text: Box<str>,
    service: Service,
    /// The byte offsets in `text` of the partition, the region, the account and the name.
    starts: [usize; 4],
}

/// The error for a string that is not the ARN of a secret or of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected} at character {at} of the ARN")]
pub struct BadArn {
    /// A phrase that describes the missing or wrong part of the ARN, such as
    /// `an account id of 12 digits`.
    pub(crate) expected: &'static str,
    /// The position of the mistake in the ARN, in bytes counted from 1.
    pub(crate) at: usize,
}

impl Arn {
    pub(crate) fn parse(text: &str) -> Result<Self, BadArn> {
        let mut parts = Parts { text, at: 0 };
        parts.next("'arn'", |part| part == "arn")?;
        let partition = parts.next("a partition like 'aws'", is_word)?;
        let service = parts.at;
        parts.next("'secretsmanager' or 'ssm'", |part| service_of(part).is_some())?;
        let service = service_of(&text[service..parts.at - 1]).unwrap_or(Service::SecretsManager);
        let region = parts.next("a region like 'eu-north-1'", is_region)?;
        let (account, resource) = match service {
            Service::SecretsManager => parts.secret()?,
            Service::ParameterStore => parts.parameter()?,
        };
        let starts = [partition, region, account, resource];
        Ok(Self { text: text.into(), service, starts })
    }

    pub(crate) fn service(&self) -> Service {
        self.service
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

    /// Returns the ARN of the same secret or parameter in another AWS region. Returns `None` if
    /// `region` does not look like a region.
    pub(crate) fn in_region(&self, region: &str) -> Option<Self> {
        let start = self.starts[1];
        let (before, after) = (&self.text[..start], &self.text[start + self.region().len()..]);
        Self::parse(&format!("{before}{region}{after}")).ok()
    }

    /// Returns the end of the ARN after `secret:` or `parameter`, such as `app/db-AbC123` for a
    /// secret or `/app/url` for a parameter.
    pub(crate) fn resource(&self) -> &str {
        &self.text[self.starts[3]..]
    }

    /// Returns the one or two names that the secret or parameter with this ARN can have. The longer
    /// name is first.
    ///
    /// An ARN that ends in `secret:app-AbC123` belongs to the secret `app-AbC123`, or to the secret
    /// `app` if `-AbC123` is AWS's random suffix. An ARN that ends in `parameter/url` belongs to
    /// the parameter `/url` or to the parameter `url`.
    pub(crate) fn possible_names(&self) -> (&str, Option<&str>) {
        let resource = self.resource();
        let second = match self.service {
            Service::SecretsManager => without_suffix(resource),
            Service::ParameterStore => {
                resource.strip_prefix('/').filter(|name| !name.contains('/'))
            }
        };
        (resource, second)
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

impl Parts<'_> {
    /// Checks the end of a secret's ARN, from the account on. Returns the byte offsets of the
    /// account and of the secret's name.
    fn secret(&mut self) -> Result<(usize, usize), BadArn> {
        let account = self.next("an account id of 12 digits", is_account)?;
        self.next("'secret'", |part| part == "secret")?;
        let name = &self.text[self.at..];
        if name.is_empty() {
            return Err(BadArn::new("the name of a secret", self.at));
        }
        if let Some(offset) = name.find(|c| !is_name_char(c)) {
            let expected = "a character that a secret's name can have (A-Za-z0-9/_+=.@!-)";
            return Err(BadArn::new(expected, self.at + offset));
        }
        Ok((account, self.at))
    }

    /// Checks the end of a parameter's ARN, from the account on. Returns the byte offsets of the
    /// account and of the slash before the parameter's name.
    fn parameter(&mut self) -> Result<(usize, usize), BadArn> {
        const TYPE: &str = "parameter";
        let expected = "an account id of 12 digits, or nothing for a public parameter";
        let account = self.next(expected, |part| part.is_empty() || is_account(part))?;
        let name = self.text[self.at..].strip_prefix(TYPE).filter(|rest| rest.starts_with('/'));
        let Some(name) = name else { return Err(BadArn::new("'parameter/'", self.at)) };
        let start = self.at + TYPE.len();
        if name.len() == 1 {
            return Err(BadArn::new("the name of a parameter", start + 1));
        }
        if let Some(offset) = name.find(|c| !is_parameter_char(c)) {
            let expected = "a character that a parameter's name can have (A-Za-z0-9/_.-)";
            return Err(BadArn::new(expected, start + offset));
        }
        Ok((account, start))
    }
}

fn service_of(arn_name: &str) -> Option<Service> {
    Service::ALL.into_iter().find(|service| service.arn_name() == arn_name)
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

/// Returns whether `text` looks like the name of an AWS region, such as `eu-north-1`. The check is
/// strict, because Sidekey connects to a host whose name contains the region.
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
/// Source: AWS's endpoint rules, in which the beginning of a region's name decides the partition.
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
    fn arn_moves_to_another_region() {
        let arn = Arn::parse(FULL).expect("the ARN must be valid");
        let moved = arn.in_region("us-east-1").map(|arn| arn.as_str().to_owned());
        assert_eq!(moved, Some(FULL.replace("eu-north-1", "us-east-1")));
        assert_eq!(arn.in_region("evil.example"), None);
    }

    #[test]
    fn parts_of_an_arn_are_found() {
        let arn = Arn::parse(FULL).expect("the ARN must be valid");
        assert_eq!(
            (arn.partition(), arn.region(), arn.account(), arn.resource()),
            ("aws", "eu-north-1", "123456789012", "app/db-AbC123")
        );
        assert_eq!(arn.possible_names(), ("app/db-AbC123", Some("app/db")));
    }

    #[test]
    fn arn_of_a_secret_that_a_service_manages_is_valid() {
        let text = "arn:aws:secretsmanager:eu-north-1:123456789012:secret:rds!db-1a2b-AbC123";
        let arn = Arn::parse(text).expect("the ARN must be valid");
        assert_eq!(arn.possible_names(), ("rds!db-1a2b-AbC123", Some("rds!db-1a2b")));
    }

    #[test]
    fn arn_without_a_suffix_has_one_possible_name() {
        for resource in ["app/db", "app/db-AbC12", "app/db-AbC1_3", "-AbC123"] {
            let text = format!("arn:aws:secretsmanager:eu-north-1:123456789012:secret:{resource}");
            assert_eq!(
                Arn::parse(&text).expect("the ARN must be valid").possible_names(),
                (resource, None)
            );
        }
    }

    #[test]
    fn parts_of_a_parameters_arn_are_found() {
        for (account, resource, names) in [
            ("123456789012", "/app/url", ("/app/url", None)),
            ("123456789012", "/url", ("/url", Some("url"))),
            ("", "/aws/service/x/y", ("/aws/service/x/y", None)),
        ] {
            let text = format!("arn:aws:ssm:eu-north-1:{account}:parameter{resource}");
            let arn = Arn::parse(&text).expect("the ARN must be valid");
            assert_eq!(arn.service(), Service::ParameterStore);
            assert_eq!((arn.region(), arn.account()), ("eu-north-1", account));
            assert_eq!((arn.resource(), arn.possible_names()), (resource, names));
        }
    }

    #[track_caller]
    fn refused(text: &str, expected: &str, at: usize) {
        let problem = Arn::parse(text).expect_err("the ARN must be refused");
        assert!(problem.expected.contains(expected), "{problem}");
        assert_eq!(problem.at, at, "{problem}");
    }

    #[test]
    fn malformed_part_is_reported_with_its_position() {
        refused("arn", "'arn'", 1);
        refused("arn:AWS:secretsmanager:", "partition", 5);
        refused("arn:aws:s3:::bucket", "'secretsmanager' or 'ssm'", 9);
        refused("arn:aws:ssm:eu-north-1:12345:parameter/x", "account", 24);
        refused("arn:aws:ssm:eu-north-1:123456789012:document/x", "'parameter/'", 37);
        refused("arn:aws:ssm:eu-north-1:123456789012:parameterx", "'parameter/'", 37);
        refused("arn:aws:ssm:eu-north-1:123456789012:parameter/", "name of a parameter", 47);
        refused("arn:aws:ssm:eu-north-1:123456789012:parameter/a+b", "character", 48);
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
        "ssm:",
        "eu-north-1:",
        "123456789012:",
        ":",
        "secret:",
        "parameter/",
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
                    let (service, kind) = match arn.service() {
                        Service::SecretsManager => ("secretsmanager", "secret:"),
                        Service::ParameterStore => ("ssm", "parameter"),
                    };
                    let head = format!("arn:{partition}:{service}:{region}:{account}:{kind}");
                    prop_assert_eq!(text.strip_prefix(&head), Some(arn.resource()));
                    let is_parameter = arn.service() == Service::ParameterStore;
                    prop_assert!(is_region(region));
                    prop_assert!(is_account(account) || (is_parameter && account.is_empty()));
                    let (first, second) = arn.possible_names();
                    prop_assert_eq!(first, arn.resource());
                    match second {
                        Some(name) if is_parameter => prop_assert_eq!(first, format!("/{name}")),
                        Some(name) => {
                            prop_assert!(first.starts_with(name) && first.len() == name.len() + 7);
                        }
                        None => {}
                    }
                }
                Err(bad) => prop_assert!((1..=text.chars().count() + 1).contains(&bad.at), "{bad}"),
            }
        }
    }
}

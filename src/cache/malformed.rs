//! Describes how a secret's value breaks the rules for secrets of its name. Such a set of rules is
//! named a *convention*.
//!
//! All functions are pure.

use crate::convention::Conventions;
use crate::convention::problem::Problem;
use crate::secret::version::Version;
use bytes::Bytes;
use std::fmt;

/// The maximum number of problems of one secret's value that an HTTP header or an error message
/// lists.
const PROBLEMS_SHOWN_MAX: usize = 8;

/// How a secret's value breaks the rules for secrets of its name. The description contains no part
/// of the value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed {
    /// The name of the secret. It is safe to log, because only names without special characters
    /// have rules for their values.
    name: Box<str>,
    kind: Box<str>,
    problems: Vec<Problem>,
    codes: Bytes,
    /// Whether Sidekey returns an error instead of the secret's value.
    pub(crate) is_withheld: bool,
}

impl Malformed {
    /// Checks the value of `version` against the rules for secrets of its name. Returns `None` if
    /// the value follows the rules, or if no rules apply. If `is_strict` is `true`, Sidekey returns
    /// an error instead of a value that breaks the rules.
    pub(crate) fn find(
        conventions: &Conventions,
        version: &Version,
        is_strict: bool,
    ) -> Option<Self> {
        let (convention, _) = conventions.of_name(&version.name)?;
        let problems = convention.problems(&version.content);
        if problems.is_empty() {
            return None;
        }
        Some(Self {
            name: version.name.clone(),
            kind: convention.kind().into(),
            codes: codes(&problems).into(),
            problems,
            is_withheld: is_strict,
        })
    }

    /// Returns the name of the rules that the secret's value breaks, such as `sms-twilio`.
    pub(crate) fn kind(&self) -> &str {
        &self.kind
    }

    pub(crate) fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Returns a short list of the first problems of the secret's value for HTTP headers and the
    /// log, such as `missing auth_token, empty account_sid`.
    pub(crate) fn codes(&self) -> &str {
        std::str::from_utf8(&self.codes)
            .expect("the codes must be valid UTF-8, because they were made from a string")
    }

    pub(crate) fn header(&self) -> &Bytes {
        &self.codes
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' breaks the convention for secrets of kind {}: ", self.name, self.kind)?;
        for (at, problem) in self.problems.iter().take(PROBLEMS_SHOWN_MAX).enumerate() {
            write!(f, "{}{problem}", if at > 0 { ", " } else { "" })?;
        }
        match self.problems.len().saturating_sub(PROBLEMS_SHOWN_MAX) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

fn codes(problems: &[Problem]) -> String {
    problems.iter().take(PROBLEMS_SHOWN_MAX).map(code).collect::<Vec<_>>().join(", ")
}

fn code(problem: &Problem) -> String {
    match problem.field() {
        Some(field) => format!("{} {field}", problem.code()),
        None => problem.code().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convention::Convention;
    use crate::convention::field::{Field, FieldType};
    use crate::convention::marker::Marker;
    use crate::convention::pattern::NamePattern;
    use crate::secret::version::{Content, Details};

    fn version(name: &str, text: &str) -> Version {
        Version {
            arn: "arn:aws:secretsmanager:eu-north-1:123456789012:secret:x-AbC123".into(),
            name: name.into(),
            id: "v1".into(),
            details: Details::Secret { labels: Vec::new() },
            created: None,
            content: Content::Text(text.to_owned().into()),
        }
    }

    const TWILIO: &str = "sms-credentials/acme/support/twilio";

    #[test]
    fn problems_are_listed_as_codes_and_as_a_sentence() {
        let value = r#"{"twilio_account_sid":"hunter2","twilio_auth_token":"PLACEHOLDER_hunter2"}"#;
        let version = version(TWILIO, value);
        let found = Malformed::find(&Conventions::built_in(), &version, true)
            .expect("the value must be malformed");
        assert_eq!((found.kind(), found.problems().len()), ("sms-twilio", 2));
        assert_eq!(found.codes(), "placeholder twilio_auth_token, missing twilio_template_sid");
        assert_eq!(
            found.to_string(),
            "'sms-credentials/acme/support/twilio' breaks the convention for secrets of kind \
             sms-twilio: the field 'twilio_auth_token' is still a placeholder, the field \
             'twilio_template_sid' is missing"
        );
        assert!(found.is_withheld);
        assert!(!format!("{found:?}").contains("hunter2"));
    }

    #[test]
    fn value_that_follows_its_convention_or_has_none_is_not_malformed() {
        let good = r#"{"ai_api_key":"sk-1"}"#;
        for (name, value, is_good) in [
            ("openai-api-key/sms", good, true),
            ("openai-api-key/sms", "sk-1", false),
            ("openai-api-key/fax", "sk-1", true),
        ] {
            for is_strict in [false, true] {
                let found =
                    Malformed::find(&Conventions::built_in(), &version(name, value), is_strict);
                assert_eq!(found.is_none(), is_good, "{name} {value}");
                assert!(found.is_none_or(|found| found.is_withheld == is_strict));
            }
        }
    }

    #[test]
    fn only_the_first_problems_are_listed() {
        let fields = (10..22).map(|number| {
            Field::new(&format!("field_{number}"), FieldType::String)
                .expect("the field name in the test must be valid")
        });
        let marks = vec![Marker::parse("TODO").expect("the dummy value in the test must be valid")];
        let pattern =
            NamePattern::parse("app").expect("the name pattern in the test must be valid");
        let convention = Convention::new("app", pattern, "App", fields.collect(), marks);
        let all = Conventions::default()
            .with(vec![convention.expect("the convention in the test must be valid")]);
        let found = Malformed::find(&all, &version("app", "{}"), false)
            .expect("the value must be malformed");
        assert_eq!(found.problems().len(), 12);
        assert_eq!(found.codes().matches(',').count(), 7);
        let words = found.to_string();
        assert!(words.ends_with("the field 'field_17' is missing and 4 more"), "{words}");
    }
}

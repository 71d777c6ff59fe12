//! What is wrong with a value, by the convention of its secret's name: found when it came, and told
//! with each answer.
//!
//! Pure.

use crate::convention::Conventions;
use crate::convention::problem::Problem;
use crate::secret::version::Version;
use bytes::Bytes;
use std::fmt;

/// How many problems of one value a header and a message show.
const PROBLEMS_SHOWN_MAX: usize = 8;

/// What is wrong with a value. Nothing in it is of the value.
#[derive(Debug, PartialEq, Eq)]
pub struct Malformed {
    /// The secret's name. It has the convention's pattern, and so no character that could do harm.
    name: Box<str>,
    kind: Box<str>,
    problems: Vec<Problem>,
    codes: Bytes,
    /// Whether readers get an error instead of the value.
    pub is_withheld: bool,
}

impl Malformed {
    /// Looks a version over; nothing, where it is as it should be, or where no convention is for its
    /// name. With `is_strict` whatever is wrong withholds it.
    pub fn find(conventions: &Conventions, version: &Version, is_strict: bool) -> Option<Self> {
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

    /// Returns the kind of the convention.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// Returns what is wrong: at least one thing.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Returns the first problems as headers and the log have them: each by its code and, where it is
    /// about one, the field. `missing auth_token, empty account_sid`.
    pub fn codes(&self) -> &str {
        std::str::from_utf8(&self.codes).expect("it was made of a text")
    }

    /// Returns the same for a header, without a copy.
    pub fn header(&self) -> Bytes {
        self.codes.clone()
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' is not as a secret of the kind {} must be: ", self.name, self.kind)?;
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
    let item = |problem: &Problem| match problem.field() {
        Some(field) => format!("{} {field}", problem.code()),
        None => problem.code().to_owned(),
    };
    problems.iter().take(PROBLEMS_SHOWN_MAX).map(item).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convention::Convention;
    use crate::convention::field::{Field, FieldType};
    use crate::convention::marker::Marker;
    use crate::convention::pattern::NamePattern;
    use crate::secret::version::Content;

    fn version(name: &str, text: &str) -> Version {
        Version {
            arn: "arn:aws:secretsmanager:eu-north-1:123456789012:secret:x-AbC123".into(),
            name: name.into(),
            id: "v1".into(),
            labels: Vec::new(),
            created: None,
            content: Content::Text(text.to_owned().into()),
        }
    }

    const TWILIO: &str = "sms-credentials/acme/support/twilio";

    #[test]
    fn what_is_wrong_is_told_in_a_header_and_in_words() {
        let value = r#"{"twilio_account_sid":"hunter2","twilio_auth_token":"PLACEHOLDER_hunter2"}"#;
        let version = version(TWILIO, value);
        let found = Malformed::find(&Conventions::built_in(), &version, true).expect("it is wrong");
        assert_eq!((found.kind(), found.problems().len()), ("sms-twilio", 2));
        assert_eq!(found.codes(), "placeholder twilio_auth_token, missing twilio_template_sid");
        assert_eq!(
            found.to_string(),
            "'sms-credentials/acme/support/twilio' is not as a secret of the kind sms-twilio must \
             be: the field 'twilio_auth_token' is still a placeholder, the field \
             'twilio_template_sid' is missing"
        );
        assert!(found.is_withheld);
        assert!(!format!("{found:?}").contains("hunter2"));
    }

    #[test]
    fn a_good_value_and_one_without_a_convention_are_left_alone() {
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
    fn only_the_first_problems_are_shown() {
        let fields = (10..22).map(|number| {
            Field::new(&format!("field_{number}"), FieldType::String).expect("a good name")
        });
        let marks = vec![Marker::parse("TODO").expect("a good mark")];
        let pattern = NamePattern::parse("app").expect("a good pattern");
        let convention = Convention::new("app", pattern, "App", fields.collect(), marks);
        let all = Conventions::default().with(vec![convention.expect("a good convention")]);
        let found = Malformed::find(&all, &version("app", "{}"), false).expect("it is wrong");
        assert_eq!(found.problems().len(), 12);
        assert_eq!(found.codes().matches(',').count(), 7);
        let words = found.to_string();
        assert!(words.ends_with("the field 'field_17' is missing and 4 more"), "{words}");
    }
}

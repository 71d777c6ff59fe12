//! Finds the environment variables that refer to secrets, such as `DB=sidekey:app/db`, and fills
//! them with the values of these secrets.
//!
//! This module makes no network calls and reads no files.

use crate::client::route::RouteAccess;
use crate::client::secret::ReadError;
use crate::secret::field::{FieldError, Fields};
use crate::secret::key::Key;
use crate::secret::reference::{BadReference, Reference};
use crate::secret::value::SecretValue;
use crate::secret::version::Content;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use std::collections::{HashMap, HashSet};
use std::fmt;

/// The prefix that marks the value of an environment variable as a reference to a secret. The name
/// or ARN of the secret follows the prefix, as in `sidekey:app/db`.
const PREFIX: &str = "sidekey:";

/// The text that follows [`PREFIX`] if a variable refers to a route (the agent's rules for calls to
/// one external API), as in `sidekey:to:openai`.
const ROUTE_PREFIX: &str = "to:";

/// The end of a reference to the base URL of a route (the agent's rules for calls to one external
/// API), as in `sidekey:to:openai#url`.
const URL_SUFFIX: &str = "#url";

/// The prefix of the names of Sidekey's own environment variables. `sidekey exec` never fills these
/// variables with secrets, because they configure Sidekey.
const OWN_PREFIX: &str = "SIDEKEY_";

/// The maximum size of one environment variable on Linux, in bytes: its name, `=`, its value and
/// the final NUL byte.
///
/// Source: `MAX_ARG_STRLEN` in Linux's `include/uapi/linux/binfmts.h`: 32 memory pages, which have
/// 4 KiB each on most machines.
const VARIABLE_BYTES_MAX: usize = 128 * 1024;

/// An environment variable that refers to a secret or to a route.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SecretVariable {
    name: String,
    wanted: Wanted,
}

#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    Secret {
        key: Key,
        field: Option<Box<str>>,
    },
    /// The variable gets the phantom token (the replacement for an API key) or the base URL of a
    /// route.
    Route {
        /// The name of the route, and optionally `@` with a percent-encoded reference to a secret.
        segment: Box<str>,
        is_url: bool,
    },
}

/// The agent's answers for all variables.
#[derive(Debug, Default)]
pub(super) struct Answers {
    pub(super) secrets: HashMap<Key, Result<Content, ReadError>>,
    pub(super) routes: HashMap<Box<str>, Result<RouteAccess, ReadError>>,
}

#[derive(Debug)]
pub(super) struct FilledVariable {
    pub(super) name: String,
    pub(super) value: SecretValue,
}

/// The reason why an environment variable cannot be filled with a secret. The error message never
/// contains the value of the variable, because a user may have set the variable to a secret by
/// mistake.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct VariableError {
    name: String,
    reason: Reason,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Reason {
    #[error(
        "the text looks like a reference to a secret, but does not begin with '{PREFIX}'; write \
         {PREFIX} in lower case, without quotes or white space, and then the name or ARN of the \
         secret"
    )]
    NotAtStart,
    #[error("the text after '{PREFIX}' is not a valid reference to a secret: {0}")]
    Reference(BadReference),
    #[error(
        "the text after '{PREFIX}{ROUTE_PREFIX}' must be the name of a route, optionally '@' and a \
         reference to a secret, and optionally '{URL_SUFFIX}'"
    )]
    Route,
    #[error(transparent)]
    Read(ReadError),
    #[error(transparent)]
    Field(FieldError),
    #[error("the secret is binary, but an environment variable can only contain text")]
    Binary,
    #[error("the secret's value has a NUL byte, which an environment variable cannot contain")]
    Nul,
    #[error(
        "the name and the value of the variable together exceed the system limit of \
         {VARIABLE_BYTES_MAX} bytes"
    )]
    TooLong,
}

impl fmt::Display for VariableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.reason)
    }
}

/// Finds the environment variables that refer to a secret, such as `DB=sidekey:app/db`.
///
/// Returns an error for each variable without a valid name or ARN after `sidekey:`. Also returns an
/// error for a misspelt reference, such as `Sidekey:app/db` instead of `sidekey:app/db`, because
/// the program would otherwise use this text as its password.
pub(super) fn find(
    vars: impl IntoIterator<Item = (String, String)>,
) -> (Vec<SecretVariable>, Vec<VariableError>) {
    let (mut variables, mut errors) = (Vec::new(), Vec::new());
    for (name, value) in vars {
        if name.starts_with(OWN_PREFIX) {
            continue;
        }
        let Some(reference) = value.strip_prefix(PREFIX) else {
            if is_misspelt_reference(&value) {
                errors.push(VariableError { name, reason: Reason::NotAtStart });
            }
            continue;
        };
        match wanted(reference) {
            Ok(wanted) => variables.push(SecretVariable { name, wanted }),
            Err(reason) => errors.push(VariableError { name, reason }),
        }
    }
    (variables, errors)
}

/// Parses the text after `sidekey:` in the value of a variable: a reference to a secret or to a
/// route.
fn wanted(reference: &str) -> Result<Wanted, Reason> {
    let Some(route) = reference.strip_prefix(ROUTE_PREFIX) else {
        let Reference { id, selector, field } =
            Reference::parse(reference).map_err(Reason::Reference)?;
        return Ok(Wanted::Secret { key: Key::own(id, selector), field });
    };
    let (route, is_url) = match route.strip_suffix(URL_SUFFIX) {
        Some(route) => (route, true),
        None => (route, false),
    };
    let (name, secret) = match route.split_once('@') {
        Some((name, secret)) => (name, Some(secret)),
        None => (route, None),
    };
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || !name.chars().all(is_name) {
        return Err(Reason::Route);
    }
    let segment = match secret {
        None => name.into(),
        Some(secret) => {
            Reference::parse(secret).map_err(Reason::Reference)?;
            format!("{name}@{}", utf8_percent_encode(secret, NON_ALPHANUMERIC)).into()
        }
    };
    Ok(Wanted::Route { segment, is_url })
}

/// Returns whether `value` is a misspelt reference to a secret, such as `Sidekey:app/db` instead of
/// `sidekey:app/db`, or a reference in quotes.
///
/// A text such as `Sidekey: our secrets agent` is not a reference.
fn is_misspelt_reference(value: &str) -> bool {
    let text = value.trim_matches(|c: char| {
        let is_quote_or_invisible =
            "\"'`\\\u{feff}\u{200b}\u{201c}\u{201d}\u{2018}\u{2019}".contains(c);
        c.is_whitespace() || c.is_control() || is_quote_or_invisible
    });
    text.split_at_checked(PREFIX.len()).is_some_and(|(start, reference)| {
        start.eq_ignore_ascii_case(PREFIX) && wanted(reference).is_ok()
    })
}

/// Returns the secrets that the variables refer to. Each secret is in the result only once.
pub(super) fn keys(variables: &[SecretVariable]) -> Vec<Key> {
    let mut seen = HashSet::new();
    let keys = variables.iter().filter_map(|variable| match &variable.wanted {
        Wanted::Secret { key, .. } => Some(key),
        Wanted::Route { .. } => None,
    });
    keys.filter(|key| seen.insert(*key)).cloned().collect()
}

/// Returns the routes that the variables refer to. Each route is in the result only once.
pub(super) fn routes(variables: &[SecretVariable]) -> Vec<Box<str>> {
    let mut seen = HashSet::new();
    let routes = variables.iter().filter_map(|variable| match &variable.wanted {
        Wanted::Secret { .. } => None,
        Wanted::Route { segment, .. } => Some(segment),
    });
    routes.filter(|segment| seen.insert(*segment)).cloned().collect()
}

/// Fills each variable with the value of its secret, or with the token or base URL of its route.
/// Returns an error for each variable that cannot be filled.
pub(super) fn fill(
    variables: Vec<SecretVariable>,
    answers: &Answers,
) -> (Vec<FilledVariable>, Vec<VariableError>) {
    let (mut filled, mut errors) = (Vec::new(), Vec::new());
    for SecretVariable { name, wanted } in variables {
        let value = match &wanted {
            Wanted::Secret { key, field } => {
                read(answers.secrets.get(key)).and_then(|content| value(content, field.as_deref()))
            }
            Wanted::Route { segment, is_url } => read(answers.routes.get(segment))
                .map(|route| if *is_url { &route.base_url } else { &route.token })
                .cloned(),
        };
        match value.and_then(|value| check_size(&name, value)) {
            Ok(value) => filled.push(FilledVariable { name, value }),
            Err(reason) => errors.push(VariableError { name, reason }),
        }
    }
    (filled, errors)
}

fn read<T>(answer: Option<&Result<T, ReadError>>) -> Result<&T, Reason> {
    match answer {
        Some(Ok(read)) => Ok(read),
        Some(Err(error)) => Err(Reason::Read(error.clone())),
        None => Err(Reason::Read(ReadError::NoAnswer(
            "reading the secret failed inside Sidekey; report this as a bug".to_owned(),
        ))),
    }
}

fn value(content: &Content, field: Option<&str>) -> Result<SecretValue, Reason> {
    match (field, content) {
        (Some(field), content) => Fields::of(content).field(field).cloned().map_err(Reason::Field),
        (None, Content::Text(text)) => Ok(text.clone()),
        (None, Content::Binary(_)) => Err(Reason::Binary),
    }
}

/// Returns `value`, or an error if an environment variable cannot contain the value: the value is
/// too long for Linux, or has a NUL byte, which would end the variable early.
fn check_size(name: &str, value: SecretValue) -> Result<SecretValue, Reason> {
    if value.expose().contains(&0) {
        return Err(Reason::Nul);
    }
    let bytes = name.len() + "=".len() + value.len() + "\0".len();
    if bytes > VARIABLE_BYTES_MAX { Err(Reason::TooLong) } else { Ok(value) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostile::{VALUE, text_of};
    use crate::secret::reference::SecretId;
    use crate::secret::selector::Selector;
    use proptest::prelude::*;

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn key(name: &str) -> Key {
        Key::own(SecretId::Name(name.into()), Selector::current())
    }

    #[test]
    fn only_values_with_the_prefix_are_references() {
        let (found, errors) = find(pairs(&[
            ("A", "sidekey:app/db"),
            ("B", "sidekey:app/db#user"),
            ("C", "app/db"),
            ("D", "postgres://sidekey:app@db"),
            ("E", "sidekey"),
            ("F", ""),
            ("G", "\"sidekey\": app/db"),
            ("H", "\u{e9}sidekey:app/db"),
            ("I", "Sidekey: our agent"),
            ("J", "\"Sidekey: our agent\""),
            ("K", "SIDEKEY:"),
            ("SIDEKEY_TOKEN", "sidekey:app/db"),
            ("SIDEKEY_LOG", " Sidekey:app/db"),
        ]));
        let variable = |name: &str, field: Option<&str>| SecretVariable {
            name: name.to_owned(),
            wanted: Wanted::Secret { key: key("app/db"), field: field.map(Into::into) },
        };
        assert_eq!(found, [variable("A", None), variable("B", Some("user"))]);
        assert_eq!(errors, []);
        assert_eq!(keys(&found), [key("app/db")], "the result must contain each secret only once");
    }

    #[test]
    fn parameter_can_fill_a_variable() {
        let arn = "arn:aws:ssm:eu-north-1:123456789012:parameter/app/url";
        let (found, errors) = find(pairs(&[
            ("A", "sidekey:ssm:/app/db#url"),
            ("B", &format!("sidekey:{arn}:live")),
            ("C", "Sidekey:ssm:/app/db"),
            ("D", "sidekey:ssm:/app/*"),
            ("E", "ssm:/app/db"),
            ("F", arn),
        ]));
        let parsed: Vec<_> = found
            .iter()
            .map(|one| match &one.wanted {
                Wanted::Secret { key, field } => {
                    (&*one.name, key.id.as_str(), key.selector.stage(), field)
                }
                Wanted::Route { .. } => panic!("the variable {} refers to a parameter", one.name),
            })
            .collect();
        let url = Some("url".into());
        let expected = [("A", "ssm:/app/db", None, &url), ("B", arn, Some("live"), &None)];
        assert_eq!(parsed, expected);
        let names: Vec<&str> = errors.iter().map(|error| &*error.name).collect();
        assert_eq!(names, ["C", "D"], "{errors:?}");
    }

    #[test]
    fn route_can_fill_a_variable() {
        let (found, errors) = find(pairs(&[
            ("KEY", "sidekey:to:openai"),
            ("URL", "sidekey:to:openai#url"),
            ("OTHER", "sidekey:to:twilio@app/db#url"),
            ("BAD", "sidekey:to:"),
            ("WORSE", "sidekey:to:a/b"),
            ("MISSPELT", "Sidekey:to:openai"),
        ]));
        assert_eq!(routes(&found), ["openai".into(), "twilio@app%2Fdb".into()] as [Box<str>; 2]);
        assert_eq!(keys(&found), []);
        let names: Vec<&str> = errors.iter().map(|error| &*error.name).collect();
        assert_eq!(names, ["BAD", "WORSE", "MISSPELT"], "{errors:?}");
        let access = |name: &str| RouteAccess {
            base_url: format!("http://{name}").into(),
            token: format!("token of {name}").into(),
        };
        let mut answers = Answers::default();
        answers.routes.insert("openai".into(), Ok(access("openai")));
        answers.routes.insert("twilio@app%2Fdb".into(), Ok(access("twilio")));
        let (filled, errors) = fill(found, &answers);
        assert_eq!(errors, []);
        let texts: Vec<_> =
            filled.iter().map(|one| String::from_utf8_lossy(one.value.expose())).collect();
        assert_eq!(texts, ["token of openai", "http://openai", "http://twilio"]);
    }

    #[test]
    fn reference_with_a_misspelt_prefix_is_refused_by_variable() {
        for value in [
            "\"sidekey:app/db#user\"",
            "'sidekey:app/db#user'",
            r#"\"sidekey:app/db#user\""#,
            "`sidekey:app/db`",
            "\u{201c}sidekey:app/db\u{201d}",
            "Sidekey:app/db#user",
            "SIDEKEY:app/db",
            " sidekey:app/db",
            "\n\tsidekey:app/db",
            "\u{feff}sidekey:app/db",
            " \" SideKey:app/db",
        ] {
            let (found, errors) = find(pairs(&[("PW", value)]));
            assert_eq!(found, [], "{value:?}");
            let expected = VariableError { name: "PW".to_owned(), reason: Reason::NotAtStart };
            assert_eq!(errors, [expected], "{value:?}");
        }
    }

    #[test]
    fn invalid_reference_is_reported_without_its_text() {
        let (found, errors) = find(pairs(&[("A", "sidekey:hunter two"), ("B", "sidekey:")]));
        assert_eq!(found, []);
        let messages: Vec<String> = errors.iter().map(VariableError::to_string).collect();
        let expected = [("A", "hunter two"), ("B", "")].map(|(name, text)| {
            let bad = Reference::parse(text)
                .expect_err("the text must not be a valid reference to a secret");
            format!("{name}: the text after 'sidekey:' is not a valid reference to a secret: {bad}")
        });
        assert_eq!(messages, expected);
    }

    /// Fills the environment variable `V`, whose text is `value`. `read` is the agent's answer for
    /// the secret `s`.
    fn filled(value: &str, read: Result<Content, ReadError>) -> Result<String, String> {
        let (variables, _) = find(pairs(&[("V", value)]));
        let secrets = HashMap::from([(key("s"), read)]);
        let (filled, errors) = fill(variables, &Answers { secrets, ..Answers::default() });
        let text = |value: &SecretValue| String::from_utf8_lossy(value.expose()).into_owned();
        match (&filled[..], &errors[..]) {
            ([one], []) => Ok(text(&one.value)),
            ([], [one]) => Err(one.to_string()),
            _ => panic!(
                "one variable must give one filled variable or one error: {filled:?} {errors:?}"
            ),
        }
    }

    fn content(text: &str) -> Result<Content, ReadError> {
        Ok(Content::Text(text.to_owned().into()))
    }

    #[track_caller]
    fn check(value: &str, read: Result<Content, ReadError>, expected: Result<&str, &str>) {
        let expected = expected.map(str::to_owned).map_err(str::to_owned);
        assert_eq!(filled(value, read), expected);
    }

    #[test]
    fn variable_gets_the_value_or_the_text_of_the_field() {
        check("sidekey:s", content("a=b\n"), Ok("a=b\n"));
        check("sidekey:s", content(""), Ok(""));
        check("sidekey:s#n", content(r#"{"n":"x \"y\""}"#), Ok(r#"x "y""#));
        check("sidekey:s#n", content(r#"{"n":[1, 2]}"#), Ok("[1,2]"));
    }

    #[test]
    fn value_that_does_not_fit_a_variable_is_reported() {
        let binary = || Ok(Content::Binary(SecretValue::new(vec![1])));
        check(
            "sidekey:s",
            binary(),
            Err("V: the secret is binary, but an environment variable can only contain text"),
        );
        check("sidekey:s#n", binary(), Err("V: the secret is binary and has no fields"));
        let lacks = "V: the secret has no field 'n'; it has 'pass'";
        check("sidekey:s#n", content(r#"{"pass":"hunter2"}"#), Err(lacks));
        let null = "V: the field 'n' of the secret is null, so it has no value";
        check("sidekey:s#n", content(r#"{"n": null}"#), Err(null));
        check("sidekey:s#n", content(r#"{"n":"null"}"#), Ok("null"));
        let nul =
            "V: the secret's value has a NUL byte, which an environment variable cannot contain";
        check("sidekey:s", content("a\0b"), Err(nul));
        check("sidekey:s#n", content(r#"{"n":"\u0000"}"#), Err(nul));
        let refused = ReadError::Refused { kind: "K".to_owned(), message: "m".to_owned() };
        check("sidekey:s", Err(refused), Err("V: K: m"));
        check(
            "sidekey:other",
            content("x"),
            Err("V: reading the secret failed inside Sidekey; report this as a bug"),
        );
    }

    #[test]
    fn variable_may_be_as_long_as_the_kernel_allows() {
        let most = VARIABLE_BYTES_MAX - "V=\0".len();
        check("sidekey:s", content(&"x".repeat(most)), Ok(&"x".repeat(most)));
        let message = "V: the name and the value of the variable together exceed the system limit \
             of 131072 bytes";
        check("sidekey:s", content(&"x".repeat(most + 1)), Err(message));
    }

    proptest! {
        #[test]
        fn for_any_variable_no_error_shows_its_value(
            text in text_of(&["sidekey:", "Sidekey:", "\"", "arn:", ":", "#", " ", "app/db", VALUE]),
        ) {
            let (found, errors) = find(pairs(&[("A", &text)]));
            let is_reference = text.starts_with(PREFIX) || is_misspelt_reference(&text);
            prop_assert_eq!(found.len() + errors.len(), usize::from(is_reference));
            prop_assert!(errors.iter().all(|one| !one.to_string().contains(VALUE)));
        }
    }
}

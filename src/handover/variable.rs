//! The variables that ask for a secret, and what each is filled with. Pure.

use crate::client::secret::Unread;
use crate::secret::field::{FieldError, Fields};
use crate::secret::key::Key;
use crate::secret::reference::{BadReference, Reference};
use crate::secret::value::SecretValue;
use crate::secret::version::Content;
use std::collections::{HashMap, HashSet};
use std::fmt;

/// How the value of a variable begins that asks for a secret. A reference is what comes after it.
const ASKS: &str = "sidekey:";

/// How the names of Sidekey's own variables begin: they are the agent's, and left alone.
const OWN: &str = "SIDEKEY_";

/// The most bytes of one variable: its name, `=`, its value and the byte that ends it.
///
/// Source: `MAX_ARG_STRLEN` in Linux's `include/uapi/linux/binfmts.h`: 32 pages, here of 4 KiB.
const VARIABLE_BYTES_MAX: usize = 128 * 1024;

/// A variable that asks for a secret.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Asking {
    name: String,
    key: Key,
    field: Option<Box<str>>,
}

/// A variable and what it is filled with.
#[derive(Debug)]
pub(super) struct Filled {
    pub(super) name: String,
    pub(super) value: SecretValue,
}

/// A variable that cannot be filled. It is told by its name and never by its value, which may be a
/// secret where somebody meant to write a reference.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unfilled {
    name: String,
    reason: Reason,
}

/// Why a variable cannot be filled.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Reason {
    #[error("not a reference: {0}, counted from behind '{ASKS}'")]
    Reference(BadReference),
    #[error(transparent)]
    Read(Unread),
    #[error(transparent)]
    Field(FieldError),
    #[error("the secret is binary, and a variable is text")]
    Binary,
    #[error("the value has a NUL byte, which no variable can hold")]
    Nul,
    #[error("name and value are longer than the {VARIABLE_BYTES_MAX} bytes of one variable")]
    TooLong,
}

impl fmt::Display for Unfilled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.reason)
    }
}

/// Finds the variables that ask for a secret, and those of them whose reference is none.
pub(super) fn asking(
    vars: impl IntoIterator<Item = (String, String)>,
) -> (Vec<Asking>, Vec<Unfilled>) {
    let (mut asking, mut unfilled) = (Vec::new(), Vec::new());
    for (name, value) in vars {
        let Some(reference) = value.strip_prefix(ASKS).filter(|_| !name.starts_with(OWN)) else {
            continue;
        };
        match Reference::parse(reference) {
            Ok(Reference { id, selector, field }) => {
                asking.push(Asking { name, key: Key { id, selector }, field });
            }
            Err(bad) => unfilled.push(Unfilled { name, reason: Reason::Reference(bad) }),
        }
    }
    (asking, unfilled)
}

/// Returns what is to be read: each secret once, however many variables and fields ask for it.
pub(super) fn keys(asking: &[Asking]) -> Vec<Key> {
    let mut seen = HashSet::new();
    asking.iter().map(|one| &one.key).filter(|key| seen.insert(*key)).cloned().collect()
}

/// Fills each variable from what was read.
pub(super) fn fill(
    asking: Vec<Asking>,
    read: &HashMap<Key, Result<Content, Unread>>,
) -> (Vec<Filled>, Vec<Unfilled>) {
    let (mut filled, mut unfilled) = (Vec::new(), Vec::new());
    for Asking { name, key, field } in asking {
        let content = match read.get(&key) {
            Some(Ok(content)) => Ok(content),
            Some(Err(unread)) => Err(Reason::Read(unread.clone())),
            None => {
                Err(Reason::Read(Unread::Unasked("its read ended without an answer".to_owned())))
            }
        };
        let value = content.and_then(|content| value(content, field.as_deref()));
        match value.and_then(|value| fits(&name, value)) {
            Ok(value) => filled.push(Filled { name, value }),
            Err(reason) => unfilled.push(Unfilled { name, reason }),
        }
    }
    (filled, unfilled)
}

fn value(content: &Content, field: Option<&str>) -> Result<SecretValue, Reason> {
    match (field, content) {
        (Some(field), content) => Fields::of(content).field(field).cloned().map_err(Reason::Field),
        (None, Content::Text(text)) => Ok(text.clone()),
        (None, Content::Binary(_)) => Err(Reason::Binary),
    }
}

/// Checks what the kernel would refuse, or cut.
fn fits(name: &str, value: SecretValue) -> Result<SecretValue, Reason> {
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
        Key { id: SecretId::Name(name.into()), selector: Selector::current() }
    }

    #[test]
    fn only_what_begins_with_the_word_asks() {
        let (found, bad) = asking(pairs(&[
            ("A", "sidekey:app/db"),
            ("B", "sidekey:app/db#user"),
            ("C", "app/db"),
            ("D", " sidekey:app/db"),
            ("E", "SIDEKEY:app/db"),
            ("F", ""),
            ("SIDEKEY_TOKEN", "sidekey:app/db"),
        ]));
        let asks = |name: &str, field: Option<&str>| Asking {
            name: name.to_owned(),
            key: key("app/db"),
            field: field.map(Into::into),
        };
        assert_eq!(found, [asks("A", None), asks("B", Some("user"))]);
        assert_eq!(bad, []);
        assert_eq!(keys(&found), [key("app/db")], "each secret once");
    }

    #[test]
    fn what_is_no_reference_is_told_without_its_text() {
        let (found, bad) = asking(pairs(&[("A", "sidekey:hunter two"), ("B", "sidekey:")]));
        assert_eq!(found, []);
        let told: Vec<String> = bad.iter().map(Unfilled::to_string).collect();
        let expected = [
            "A: not a reference: character 7 is none of A-Za-z0-9/_+=.@!-, counted from behind \
             'sidekey:'",
            "B: not a reference: a name or an ARN expected, found nothing, counted from behind \
             'sidekey:'",
        ];
        assert_eq!(told, expected);
    }

    /// Fills one variable, `V`, from the secret `s`.
    fn filled(asked: &str, read: Result<Content, Unread>) -> Result<String, String> {
        let (asking, _) = asking(pairs(&[("V", asked)]));
        let (filled, unfilled) = fill(asking, &HashMap::from([(key("s"), read)]));
        let text = |value: &SecretValue| String::from_utf8_lossy(value.expose()).into_owned();
        match (&filled[..], &unfilled[..]) {
            ([one], []) => Ok(text(&one.value)),
            ([], [one]) => Err(one.to_string()),
            _ => panic!("{filled:?} {unfilled:?}"),
        }
    }

    fn content(text: &str) -> Result<Content, Unread> {
        Ok(Content::Text(text.to_owned().into()))
    }

    #[track_caller]
    fn check(asked: &str, read: Result<Content, Unread>, expected: Result<&str, &str>) {
        let expected = expected.map(str::to_owned).map_err(str::to_owned);
        assert_eq!(filled(asked, read), expected);
    }

    #[test]
    fn a_variable_gets_the_value_or_the_fields_text() {
        check("sidekey:s", content("a=b\n"), Ok("a=b\n"));
        check("sidekey:s", content(""), Ok(""));
        check("sidekey:s#n", content(r#"{"n":"x \"y\""}"#), Ok(r#"x "y""#));
        check("sidekey:s#n", content(r#"{"n":[1, 2]}"#), Ok("[1,2]"));
    }

    #[test]
    fn what_cannot_be_a_variable_is_told() {
        let binary = || Ok(Content::Binary(SecretValue::new(vec![1])));
        check("sidekey:s", binary(), Err("V: the secret is binary, and a variable is text"));
        check("sidekey:s#n", binary(), Err("V: the secret is binary and has no fields"));
        let lacks = "V: the secret has no field 'n'; it has 'pass'";
        check("sidekey:s#n", content(r#"{"pass":"hunter2"}"#), Err(lacks));
        let nul = "V: the value has a NUL byte, which no variable can hold";
        check("sidekey:s", content("a\0b"), Err(nul));
        check("sidekey:s#n", content(r#"{"n":"\u0000"}"#), Err(nul));
        let refused = Unread::Refused { kind: "K".to_owned(), message: "m".to_owned() };
        check("sidekey:s", Err(refused), Err("V: K: m"));
        check("sidekey:other", content("x"), Err("V: its read ended without an answer"));
    }

    #[test]
    fn a_variable_is_as_long_as_the_kernel_takes() {
        let most = VARIABLE_BYTES_MAX - "V=\0".len();
        check("sidekey:s", content(&"x".repeat(most)), Ok(&"x".repeat(most)));
        let told = "V: name and value are longer than the 131072 bytes of one variable";
        check("sidekey:s", content(&"x".repeat(most + 1)), Err(told));
    }

    proptest! {
        #[test]
        fn for_any_variable_what_cannot_be_read_is_told_without_its_text(
            text in text_of(&["sidekey:", "arn:", ":", "#", " ", "app/db", VALUE]),
        ) {
            let (found, bad) = asking(pairs(&[("A", &text)]));
            prop_assert_eq!(found.len() + bad.len(), usize::from(text.starts_with(ASKS)));
            prop_assert!(bad.iter().all(|one| !one.to_string().contains(VALUE)));
        }
    }
}

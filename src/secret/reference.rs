//! What a caller writes to mean a secret.

use super::arn::{Arn, BadArn};
use super::name::{NAME_CHARS_MAX, is_name_char};
use super::selector::Selector;
use std::fmt;

/// The longest `SecretId` that Secrets Manager takes.
///
/// Source: `SecretId` of `GetSecretValue` in AWS's API reference (1 to 2,048).
pub const ID_CHARS_MAX: usize = 2048;

/// How a secret is asked for: by its name, or by its ARN.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum SecretId {
    /// A name in the function's own account and region.
    Name(Box<str>),
    /// A full or partial ARN.
    Arn(Arn),
}

impl SecretId {
    /// Takes what a client sent as `SecretId`.
    ///
    /// A name is not held to the alphabet that `CreateSecret` enforces: what no secret can be
    /// called, Secrets Manager says does not exist, and its answer is the client's contract.
    ///
    /// # Errors
    ///
    /// Where the text is empty, too long, has control characters, or begins like an ARN and is none
    /// of a secret.
    pub fn parse(text: &str) -> Result<Self, BadReference> {
        if text.is_empty() {
            return Err(BadReference::Empty);
        }
        if text.len() > ID_CHARS_MAX {
            return Err(BadReference::TooLong { max: ID_CHARS_MAX });
        }
        if let Some(at) = text.chars().position(char::is_control) {
            return Err(BadReference::Character { at: at + 1 });
        }
        if text.starts_with("arn:") {
            return Ok(Self::Arn(Arn::parse(text)?));
        }
        Ok(Self::Name(text.into()))
    }

    /// Returns the text, as it is sent upstream.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Name(name) => name,
            Self::Arn(arn) => arn.as_str(),
        }
    }
}

impl fmt::Debug for SecretId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A secret, and optionally one field, stage or version of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The secret.
    pub id: SecretId,
    /// Which of its versions.
    pub selector: Selector,
    /// One field of its JSON value.
    pub field: Option<Box<str>>,
}

/// What is wrong with a reference. It shows positions, counted from 1, and none of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadReference {
    /// There is nothing.
    #[error("a name or an ARN expected, found nothing")]
    Empty,
    /// It is longer than Secrets Manager takes.
    #[error("longer than {max} characters")]
    TooLong {
        /// The most characters there may be.
        max: usize,
    },
    /// A name has a character that no name has.
    #[error("character {at} is none of A-Za-z0-9/_+=.@-")]
    Character {
        /// The position, counted from 1.
        at: usize,
    },
    /// There is a `#` with nothing behind it.
    #[error("a field's name expected after the '#' at character {at}")]
    NoField {
        /// The position of the `#`, counted from 1.
        at: usize,
    },
    /// A field is named both by `#` and inside the ARN.
    #[error("the field at character {at} is named twice: use '#FIELD' or ':FIELD::', not both")]
    TwoFields {
        /// The position of the `#`, counted from 1.
        at: usize,
    },
    /// More parts stand behind an ARN than field, stage and version id.
    #[error("nothing expected after FIELD:STAGE:VERSION_ID, at character {at}")]
    TooManyParts {
        /// The position, counted from 1.
        at: usize,
    },
    /// It begins like an ARN and is none of a secret.
    #[error(transparent)]
    Arn(#[from] BadArn),
}

impl Reference {
    /// Parses a reference: a name, a full or partial ARN, either with `#FIELD`, or an ECS task
    /// definition's `valueFrom` (`ARN:FIELD:STAGE:VERSION_ID`, where parts may be empty).
    ///
    /// # Errors
    ///
    /// Names what is wrong and at which character.
    pub fn parse(text: &str) -> Result<Self, BadReference> {
        let (whole, hash_field) = match text.split_once('#') {
            Some((whole, "")) => {
                return Err(BadReference::NoField { at: whole.chars().count() + 1 });
            }
            Some((whole, field)) => (whole, Some(field)),
            None => (text, None),
        };
        if !whole.starts_with("arn:") {
            check_name(whole)?;
            let id = SecretId::Name(whole.into());
            return Ok(Self {
                id,
                selector: Selector::current(),
                field: hash_field.map(Into::into),
            });
        }
        let (arn, [field, stage, version]) = split_value_from(whole)?;
        if field.is_some() && hash_field.is_some() {
            return Err(BadReference::TwoFields { at: whole.chars().count() + 1 });
        }
        Ok(Self {
            id: SecretId::parse(arn)?,
            selector: Selector::new(stage, version),
            field: hash_field.or(field).map(Into::into),
        })
    }
}

/// Parts an ECS `valueFrom` from its ARN. An empty part is none.
///
/// Source: "Pass Secrets Manager secrets through Amazon ECS environment variables" in AWS's ECS
/// developer guide.
fn split_value_from(text: &str) -> Result<(&str, [Option<&str>; 3]), BadReference> {
    /// Colons of an ARN before its resource.
    const ARN_COLONS: usize = 6;
    let colons: Vec<usize> = text.match_indices(':').map(|(at, _)| at).collect();
    let Some(&end) = colons.get(ARN_COLONS) else {
        return Ok((text, [None; 3]));
    };
    if let Some(extra) = colons.get(ARN_COLONS + 3) {
        return Err(BadReference::TooManyParts { at: extra + 1 });
    }
    let mut parts = text[end + 1..].split(':');
    let mut next = || parts.next().filter(|part| !part.is_empty());
    Ok((&text[..end], [next(), next(), next()]))
}

fn check_name(name: &str) -> Result<(), BadReference> {
    if name.is_empty() {
        return Err(BadReference::Empty);
    }
    if let Some(at) = name.chars().position(|c| !is_name_char(c)) {
        return Err(BadReference::Character { at: at + 1 });
    }
    if name.len() > NAME_CHARS_MAX {
        return Err(BadReference::TooLong { max: NAME_CHARS_MAX });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:secretsmanager:eu-north-1:123456789012:secret:app/db-AbC123";

    #[track_caller]
    fn check(
        text: &str,
        id: &str,
        stage: Option<&str>,
        version: Option<&str>,
        field: Option<&str>,
    ) {
        let parsed = Reference::parse(text).expect("a good reference");
        assert_eq!(parsed.id.as_str(), id);
        assert_eq!(parsed.selector, Selector::new(stage, version));
        assert_eq!(parsed.field.as_deref(), field);
    }

    #[test]
    fn names_arns_and_fields() {
        check("openai-api-key/whatsapp", "openai-api-key/whatsapp", None, None, None);
        check(
            "openai-api-key/sms#ai_api_key",
            "openai-api-key/sms",
            None,
            None,
            Some("ai_api_key"),
        );
        check("a#b#c", "a", None, None, Some("b#c"));
        check(ARN, ARN, None, None, None);
        check(&format!("{ARN}#password"), ARN, None, None, Some("password"));
    }

    #[test]
    fn ecs_value_from() {
        check(&format!("{ARN}:password::"), ARN, None, None, Some("password"));
        check(&format!("{ARN}::AWSPREVIOUS:"), ARN, Some("AWSPREVIOUS"), None, None);
        check(&format!("{ARN}:p:S:V"), ARN, Some("S"), Some("V"), Some("p"));
        check(&format!("{ARN}:::V"), ARN, None, Some("V"), None);
        check(&format!("{ARN}:"), ARN, None, None, None);
    }

    #[track_caller]
    fn refused(text: &str, expected: BadReference) {
        assert_eq!(Reference::parse(text), Err(expected));
    }

    #[test]
    fn a_bad_reference_shows_where() {
        refused("", BadReference::Empty);
        refused("#field", BadReference::Empty);
        refused("app/db#", BadReference::NoField { at: 7 });
        refused("app db", BadReference::Character { at: 4 });
        refused("äpp", BadReference::Character { at: 1 });
        refused(&"x".repeat(513), BadReference::TooLong { max: 512 });
        refused(&format!("{ARN}:a:b:c:d"), BadReference::TooManyParts { at: ARN.len() + 7 });
        refused(&format!("{ARN}:a::#b"), BadReference::TwoFields { at: ARN.len() + 5 });
        assert!(matches!(Reference::parse("arn:aws:s3:::x"), Err(BadReference::Arn(_))));
    }

    #[test]
    fn a_client_may_ask_for_what_no_secret_can_be_called() {
        assert_eq!(SecretId::parse("a%2Fb").expect("passed on").as_str(), "a%2Fb");
        assert_eq!(SecretId::parse("a\nb"), Err(BadReference::Character { at: 2 }));
        assert_eq!(SecretId::parse(&"x".repeat(2049)), Err(BadReference::TooLong { max: 2048 }));
    }
}

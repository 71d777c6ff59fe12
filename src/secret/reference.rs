//! What a caller writes to mean a secret.

use super::arn::{Arn, BadArn};
use super::name::{NAME_CHARS_MAX, is_name_char};
use super::selector::Selector;
use std::fmt;

/// The longest `SecretId` that Secrets Manager takes.
///
/// Source: `SecretId` of `GetSecretValue` in AWS's API reference (1 to 2,048).
pub const ID_CHARS_MAX: usize = 2048;

/// The longest stage.
///
/// Source: `GetSecretValue` in AWS's API reference.
pub const STAGE_CHARS_MAX: usize = 256;

/// The longest version id.
///
/// Source: the same.
pub const VERSION_CHARS_MAX: usize = 64;

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
        if text.starts_with(ARN_START) {
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

/// What a client asks for: a reference parted without a copy, so that a hit makes none. Whether its
/// id makes sense is not looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BorrowedReference<'a> {
    /// The secret's name or ARN, as it was written.
    pub id: &'a str,
    /// Which of its versions.
    pub selector: Selector,
    /// One field of its JSON value.
    pub field: Option<&'a str>,
}

/// What a client may name beside a reference, or inside it, but not both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SeparateParts<'a> {
    /// A staging label.
    pub stage: Option<&'a str>,
    /// A version's id.
    pub version: Option<&'a str>,
    /// One field of a JSON value.
    pub field: Option<&'a str>,
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
    /// A stage or a version id is longer than Secrets Manager takes.
    #[error("the {part} is longer than {max} characters")]
    PartTooLong {
        /// What is too long.
        part: &'static str,
        /// The most characters there may be.
        max: usize,
    },
    /// A name has a character that no name has.
    #[error("character {at} is none of A-Za-z0-9/_+=.@!-")]
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
    /// A part is named twice: inside the reference, and once more inside or beside it.
    #[error("the {part} at character {at} is named twice")]
    Twice {
        /// What is named twice.
        part: &'static str,
        /// Where it stands inside the reference, counted from 1.
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
        let wanted = BorrowedReference::parse(text, SeparateParts::default())?;
        if !wanted.id.starts_with(ARN_START) {
            check_name(wanted.id)?;
        }
        Ok(Self {
            id: SecretId::parse(wanted.id)?,
            selector: wanted.selector,
            field: wanted.field.map(Into::into),
        })
    }

    /// Parses a reference that a message carries. Whoever wrote the message is not who asks, so it is
    /// held to more: it is no longer than an id may be, and has no control characters, in its field too.
    ///
    /// # Errors
    ///
    /// Names what is wrong and at which character.
    pub fn from_message(text: &str) -> Result<Self, BadReference> {
        if text.len() > ID_CHARS_MAX {
            return Err(BadReference::TooLong { max: ID_CHARS_MAX });
        }
        if let Some(at) = text.chars().position(char::is_control) {
            return Err(BadReference::Character { at: at + 1 });
        }
        Self::parse(text)
    }
}

impl<'a> BorrowedReference<'a> {
    /// Parts a reference as a client sends it, and adds what the client names `beside` it.
    ///
    /// # Errors
    ///
    /// Where a part of it is empty, too many or named twice, with the character.
    pub fn parse(text: &'a str, beside: SeparateParts<'a>) -> Result<Self, BadReference> {
        let (whole, hash) = match text.split_once('#') {
            Some((whole, "")) => {
                return Err(BadReference::NoField { at: place(text, whole.len()) });
            }
            Some((whole, field)) => (whole, Some(Part { text: field, at: whole.len() + 1 })),
            None => (text, None),
        };
        let (id, [field, stage, version]) = split_value_from(whole)?;
        let twice = |part, at| BadReference::Twice { part, at: place(text, at) };
        let one = |name, inside: Option<Part<'a>>, beside: Option<&'a str>| match (inside, beside) {
            (Some(inside), Some(_)) => Err(twice(name, inside.at)),
            (inside, beside) => Ok(inside.map(|part| part.text).or(beside)),
        };
        let field = match (field, hash) {
            (Some(field), Some(_)) => return Err(twice("field", field.at)),
            (field, hash) => one("field", field.or(hash), beside.field)?,
        };
        let stage = short("stage", one("stage", stage, beside.stage)?, STAGE_CHARS_MAX)?;
        let version = one("version id", version, beside.version)?;
        let version = short("version id", version, VERSION_CHARS_MAX)?;
        Ok(Self { id, selector: Selector::new(stage, version), field })
    }
}

fn short<'a>(
    part: &'static str,
    text: Option<&'a str>,
    max: usize,
) -> Result<Option<&'a str>, BadReference> {
    // Bytes are counted where they suffice: each character has one at least.
    let is_long = |text: &str| text.len() > max && text.chars().count() > max;
    if text.is_some_and(is_long) { Err(BadReference::PartTooLong { part, max }) } else { Ok(text) }
}

/// How every ARN begins.
const ARN_START: &str = "arn:";

/// A part of a reference, and at which byte it begins.
#[derive(Clone, Copy)]
struct Part<'a> {
    text: &'a str,
    at: usize,
}

/// Returns the character at a byte, counted from 1.
fn place(text: &str, byte: usize) -> usize {
    text[..byte].chars().count() + 1
}

/// Parts an ECS `valueFrom` into its ARN and its field, stage and version id. An empty part is none.
///
/// Source: "Pass Secrets Manager secrets through Amazon ECS environment variables" in AWS's ECS
/// developer guide.
fn split_value_from(text: &str) -> Result<(&str, [Option<Part<'_>>; 3]), BadReference> {
    /// Colons of an ARN before its resource.
    const ARN_COLONS: usize = 6;
    let end = match text.starts_with(ARN_START) {
        true => text.match_indices(':').nth(ARN_COLONS),
        false => None,
    };
    let Some((end, _)) = end else { return Ok((text, [None; 3])) };
    let mut parts = [None; 3];
    let mut at = end + 1;
    for (index, part) in text[at..].split(':').enumerate() {
        let Some(slot) = parts.get_mut(index) else {
            return Err(BadReference::TooManyParts { at: place(text, at - 1) });
        };
        *slot = (!part.is_empty()).then_some(Part { text: part, at });
        at += part.len() + 1;
    }
    Ok((&text[..end], parts))
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
    use crate::hostile::{VALUE, text, text_of};
    use proptest::prelude::*;

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
    fn what_is_named_beside_a_reference_is_no_longer_than_aws_takes() {
        for (stage, version, expected) in [
            (256, 64, None),
            (257, 1, Some(BadReference::PartTooLong { part: "stage", max: 256 })),
            (1, 65, Some(BadReference::PartTooLong { part: "version id", max: 64 })),
        ] {
            let (stage, version) = ("\u{e4}".repeat(stage), "v".repeat(version));
            let beside =
                SeparateParts { stage: Some(&stage), version: Some(&version), field: None };
            assert_eq!(BorrowedReference::parse("app/db", beside).err(), expected);
        }
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
        let twice = BadReference::Twice { part: "field", at: ARN.len() + 2 };
        refused(&format!("{ARN}:a::#b"), twice);
        assert!(matches!(Reference::parse("arn:aws:s3:::x"), Err(BadReference::Arn(_))));
    }

    #[test]
    fn what_a_message_carries_is_held_to_more() {
        let good = Reference::from_message("app/db#a b").expect("a good reference");
        assert_eq!((good.id.as_str(), good.field.as_deref()), ("app/db", Some("a b")));
        for (text, expected) in [
            ("app/db#a\nb".to_owned(), BadReference::Character { at: 9 }),
            ("app\u{0}".to_owned(), BadReference::Character { at: 4 }),
            ("app db".to_owned(), BadReference::Character { at: 4 }),
            (format!("app#{}", "x".repeat(2045)), BadReference::TooLong { max: 2048 }),
            ("x".repeat(513), BadReference::TooLong { max: 512 }),
        ] {
            assert_eq!(Reference::from_message(&text), Err(expected), "{text}");
        }
    }

    #[track_caller]
    fn wanted<'a>(
        text: &'a str,
        beside: SeparateParts<'a>,
        expected: Result<BorrowedReference<'a>, BadReference>,
    ) {
        assert_eq!(BorrowedReference::parse(text, beside), expected, "{text}");
    }

    #[test]
    fn what_a_client_names_beside_a_reference_adds_to_it() {
        let beside = SeparateParts { stage: Some("S"), version: Some("V"), field: Some("f") };
        let selector = Selector::new(Some("S"), Some("V"));
        let whole = BorrowedReference { id: "any name, even this", selector, field: Some("f") };
        wanted("any name, even this", beside, Ok(whole.clone()));
        wanted(ARN, beside, Ok(BorrowedReference { id: ARN, ..whole.clone() }));
        wanted(&format!("{ARN}:::"), beside, Ok(BorrowedReference { id: ARN, ..whole.clone() }));
        wanted("a:b:c:d:e:f:g", beside, Ok(BorrowedReference { id: "a:b:c:d:e:f:g", ..whole }));
        let plain = BorrowedReference { id: "é", selector: Selector::current(), field: Some("x") };
        wanted("é#x", SeparateParts::default(), Ok(plain));
        for (text, part, at) in [
            ("é#x".to_owned(), "field", 3),
            (format!("{ARN}:x::"), "field", ARN.len() + 2),
            (format!("{ARN}::x:"), "stage", ARN.len() + 3),
            (format!("{ARN}:::x"), "version id", ARN.len() + 4),
        ] {
            wanted(&text, beside, Err(BadReference::Twice { part, at }));
        }
    }

    #[test]
    fn a_client_may_ask_for_what_no_secret_can_be_called() {
        assert_eq!(SecretId::parse("a%2Fb").expect("passed on").as_str(), "a%2Fb");
        assert_eq!(SecretId::parse("a\nb"), Err(BadReference::Character { at: 2 }));
        assert_eq!(SecretId::parse(&"x".repeat(2049)), Err(BadReference::TooLong { max: 2048 }));
    }

    const PIECES: &[&str] = &[
        "arn:aws:secretsmanager:eu-north-1:123456789012:secret:",
        "arn:",
        ":",
        "#",
        "app",
        "/",
        "-AbC123",
        "AWSPREVIOUS",
        "é",
        "\n",
        VALUE,
    ];

    proptest! {
        #[test]
        fn for_any_text_a_reference_keeps_its_bounds(text in text_of(PIECES)) {
            let (read, of_message) = (Reference::parse(&text), Reference::from_message(&text));
            if of_message.is_ok() {
                prop_assert_eq!(&of_message, &read);
                prop_assert!(!text.contains(char::is_control));
            }
            match read {
                Ok(Reference { id, selector, field }) => {
                    prop_assert!(text.starts_with(id.as_str()) && id.as_str().len() <= ID_CHARS_MAX);
                    if let SecretId::Name(name) = &id {
                        prop_assert!((1..=NAME_CHARS_MAX).contains(&name.len()));
                        prop_assert!(name.chars().all(is_name_char));
                    }
                    let chars = |text: Option<&str>| text.map_or(0, |text| text.chars().count());
                    prop_assert!(chars(selector.stage()) <= STAGE_CHARS_MAX);
                    prop_assert!(chars(selector.version()) <= VERSION_CHARS_MAX);
                    prop_assert!(field.is_none_or(|field| !field.is_empty()));
                    let again = Reference { id: id.clone(), selector: Selector::current(), field: None };
                    prop_assert_eq!(Reference::parse(id.as_str()), Ok(again));
                }
                Err(bad) => {
                    prop_assert!(!bad.to_string().contains(VALUE));
                    if let BadReference::Character { at } = bad {
                        let c = text.chars().nth(at - 1);
                        prop_assert!(c.is_some_and(|c| !is_name_char(c)), "{at}");
                    }
                }
            }
        }

        #[test]
        fn for_any_parts_what_is_written_is_read(
            name in "[A-Za-z0-9/_+=.@!-]{1,20}",
            field in "[^:#]{0,5}",
            stage in "[^:#]{0,5}",
            version in "[^:#]{0,5}",
        ) {
            fn given(text: &str) -> Option<&str> {
                (!text.is_empty()).then_some(text)
            }
            let arn = format!("arn:aws:secretsmanager:eu-north-1:123456789012:secret:{name}");
            let text = format!("{arn}:{field}:{stage}:{version}");
            let read = Reference::parse(&text).expect("a good reference");
            prop_assert_eq!(read.id.as_str(), arn);
            prop_assert_eq!(read.field.as_deref(), given(&field));
            let expected = Selector::new(given(&stage), given(&version));
            prop_assert_eq!(read.selector, expected);
            if !field.is_empty() {
                let read = Reference::parse(&format!("{name}#{field}")).expect("a good reference");
                prop_assert_eq!((read.id.as_str(), read.field.as_deref()), (&*name, Some(&*field)));
            }
        }

        #[test]
        fn for_any_id_the_text_is_what_is_sent(text in prop_oneof![text(), text_of(PIECES)]) {
            if let Ok(id) = SecretId::parse(&text) {
                prop_assert_eq!(id.as_str(), &*text);
                prop_assert!(text.len() <= ID_CHARS_MAX && !text.contains(char::is_control));
            }
        }
    }
}

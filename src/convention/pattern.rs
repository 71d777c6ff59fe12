//! How secrets of one kind are named: text with placeholders in it.

use crate::secret::name::{NAME_CHARS_MAX, is_name_char};
use std::collections::BTreeMap;
use std::fmt;

/// The longest pattern; the allowed values of its placeholders stand in it.
const PATTERN_CHARS_MAX: usize = 2048;

/// The longest name of a placeholder.
const PLACEHOLDER_CHARS_MAX: usize = 64;

/// How secrets of one kind are named, such as
/// `whatsapp-credentials/{company_name}/{project_name}/twilio`.
///
/// A placeholder takes a whole segment of the path, or what is left of one between the text around it
/// (`app-{stage}/db`), and never nothing. A segment has one at most, so that a name can be read in one
/// way only. `{channel:whatsapp|sms|email}` takes these values and no other.
#[derive(Clone, PartialEq, Eq)]
pub struct NamePattern {
    text: Box<str>,
    segments: Vec<Segment>,
}

/// What stands between two slashes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Segment {
    before: Box<str>,
    placeholder: Option<Placeholder>,
    after: Box<str>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Placeholder {
    name: Box<str>,
    /// Empty where every value is.
    allowed: Vec<Box<str>>,
}

/// What a name says: a value for each placeholder, in the alphabetical order of the placeholders.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlaceholderValues(BTreeMap<Box<str>, Box<str>>);

/// What is wrong with a pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadNamePattern {
    /// There is nothing.
    #[error("a pattern of names expected, found nothing")]
    Empty,
    /// It is too long.
    #[error("longer than {PATTERN_CHARS_MAX} characters")]
    TooLong,
    /// It has a character that no name has.
    #[error("character {at} is none of A-Za-z0-9/_+=.@!- and begins no {{placeholder}}")]
    Character {
        /// The position, counted from 1.
        at: usize,
    },
    /// A placeholder does not end.
    #[error("the '{{' at character {at} has no '}}' before the next '/'")]
    Unclosed {
        /// The position, counted from 1.
        at: usize,
    },
    /// A segment has two placeholders.
    #[error(
        "the '{{' at character {at} begins a second placeholder between two slashes: a name could be read in two ways"
    )]
    Second {
        /// The position, counted from 1.
        at: usize,
    },
    /// A placeholder's name is none.
    #[error(
        "the placeholder at character {at} needs a name of letters, digits and '_' that begins with a letter"
    )]
    Placeholder {
        /// The position of its brace, counted from 1.
        at: usize,
    },
    /// A placeholder is there twice.
    #[error("the placeholder '{0}' is there twice")]
    Twice(Box<str>),
    /// What a placeholder is restricted to is not what a name can have, or there twice.
    #[error(
        "the allowed values of '{0}' are parted by '|', each once, and each of A-Za-z0-9_+=.@!-"
    )]
    Allowed(Box<str>),
}

/// Why a pattern cannot be made into a name. It shows no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FillError {
    /// A placeholder has no value.
    #[error("'{0}' has no value")]
    Missing(Box<str>),
    /// There is a value for what is no placeholder.
    #[error("there is no placeholder '{asked}'; there are {}", listed(there))]
    Unknown {
        /// What the value is for.
        asked: Box<str>,
        /// The placeholders there are, in their order.
        there: Vec<Box<str>>,
    },
    /// A value is not what a segment of a name can have.
    #[error(
        "the value of '{0}' must have characters of A-Za-z0-9_+=.@!- only, at least one, and be neither '.' nor '..'"
    )]
    Value(Box<str>),
    /// A value is none of those allowed.
    #[error("the value of '{placeholder}' must be one of {}", listed(allowed))]
    NotAllowed {
        /// The placeholder.
        placeholder: Box<str>,
        /// What it may be.
        allowed: Vec<Box<str>>,
    },
    /// The name is too long.
    #[error("the name would be longer than {NAME_CHARS_MAX} characters")]
    TooLong,
}

impl NamePattern {
    /// Parses a pattern.
    ///
    /// # Errors
    ///
    /// Names what is wrong, and where.
    pub fn parse(text: &str) -> Result<Self, BadNamePattern> {
        if text.is_empty() {
            return Err(BadNamePattern::Empty);
        }
        if text.len() > PATTERN_CHARS_MAX {
            return Err(BadNamePattern::TooLong);
        }
        let mut segments: Vec<Segment> = Vec::new();
        let mut at = 1;
        for part in text.split('/') {
            let segment = Segment::parse(part, at)?;
            if let Some(own) = &segment.placeholder {
                let earlier = segments.iter().filter_map(|segment| segment.placeholder.as_ref());
                if earlier.into_iter().any(|earlier| earlier.name == own.name) {
                    return Err(BadNamePattern::Twice(own.name.clone()));
                }
            }
            segments.push(segment);
            at += part.chars().count() + 1;
        }
        Ok(Self { text: text.into(), segments })
    }

    /// Returns what `name` says, where it is of this pattern.
    pub fn matches(&self, name: &str) -> Option<PlaceholderValues> {
        let mut parts = name.split('/');
        let mut bindings = PlaceholderValues::default();
        for segment in &self.segments {
            let part = parts.next()?;
            match &segment.placeholder {
                None if part == &*segment.before => {}
                None => return None,
                Some(placeholder) => {
                    let value =
                        part.strip_prefix(&*segment.before)?.strip_suffix(&*segment.after)?;
                    placeholder.takes(value).then_some(())?;
                    bindings.set(&placeholder.name, value);
                }
            }
        }
        parts.next().is_none().then_some(bindings)
    }

    /// Returns the name that says `bindings`.
    ///
    /// # Errors
    ///
    /// Where a placeholder has no value, or one that it cannot have; where there is no such
    /// placeholder; and where no secret can have a name so long.
    pub fn fill(&self, bindings: &PlaceholderValues) -> Result<String, FillError> {
        if let Some((asked, _)) = bindings.iter().find(|(own, _)| self.placeholder(own).is_none()) {
            let there = self.placeholders().map(Into::into).collect();
            return Err(FillError::Unknown { asked: asked.into(), there });
        }
        let mut name = String::new();
        for (at, segment) in self.segments.iter().enumerate() {
            if at > 0 {
                name.push('/');
            }
            name.push_str(&segment.before);
            if let Some(placeholder) = &segment.placeholder {
                name.push_str(placeholder.value(bindings)?);
            }
            name.push_str(&segment.after);
        }
        if name.len() > NAME_CHARS_MAX {
            return Err(FillError::TooLong);
        }
        debug_assert_eq!(self.matches(&name).as_ref(), Some(bindings), "a name can be read back");
        Ok(name)
    }

    /// Returns the names of the placeholders, in their order.
    pub fn placeholders(&self) -> impl Iterator<Item = &str> {
        self.all().map(|placeholder| &*placeholder.name)
    }

    /// Returns the values that a placeholder may have; nothing, where it may have any, or where there
    /// is none of this name.
    pub fn allowed(&self, placeholder: &str) -> Option<&[Box<str>]> {
        let allowed = &self.placeholder(placeholder)?.allowed;
        (!allowed.is_empty()).then_some(allowed)
    }

    /// Returns a glob with a `*` for each placeholder: `whatsapp-credentials/*/*/twilio`.
    ///
    /// It covers every name of this pattern, and more where a placeholder has allowed values.
    pub fn as_glob(&self) -> String {
        let segments = self.segments.iter().map(|segment| match segment.placeholder {
            Some(_) => format!("{}*{}", segment.before, segment.after),
            None => segment.before.clone().into(),
        });
        segments.collect::<Vec<_>>().join("/")
    }

    fn all(&self) -> impl Iterator<Item = &Placeholder> {
        self.segments.iter().filter_map(|segment| segment.placeholder.as_ref())
    }

    fn placeholder(&self, name: &str) -> Option<&Placeholder> {
        self.all().find(|placeholder| &*placeholder.name == name)
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Segment {
    /// Parses a segment that begins at character `at` of its pattern.
    fn parse(text: &str, at: usize) -> Result<Self, BadNamePattern> {
        let Some((before, rest)) = text.split_once('{') else {
            let before = literal(text, at)?;
            return Ok(Self { before, placeholder: None, after: "".into() });
        };
        let before = literal(before, at)?;
        let brace_at = at + before.len();
        let Some((inner, after)) = rest.split_once('}') else {
            return Err(BadNamePattern::Unclosed { at: brace_at });
        };
        let after_at = brace_at + inner.chars().count() + 2;
        if let Some((between, _)) = after.split_once('{') {
            let between = literal(between, after_at)?;
            return Err(BadNamePattern::Second { at: after_at + between.len() });
        }
        let placeholder = Some(Placeholder::parse(inner, brace_at)?);
        Ok(Self { before, placeholder, after: literal(after, after_at)? })
    }
}

/// Takes text that stands in a name as it is.
fn literal(text: &str, at: usize) -> Result<Box<str>, BadNamePattern> {
    match text.chars().position(|c| !is_name_char(c)) {
        Some(offset) => Err(BadNamePattern::Character { at: at + offset }),
        None => Ok(text.into()),
    }
}

impl Placeholder {
    fn parse(text: &str, at: usize) -> Result<Self, BadNamePattern> {
        let (name, allowed) = match text.split_once(':') {
            Some((name, allowed)) => (name, Some(allowed)),
            None => (text, None),
        };
        let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && name.len() <= PLACEHOLDER_CHARS_MAX;
        if !is_name {
            return Err(BadNamePattern::Placeholder { at });
        }
        let allowed: Vec<Box<str>> =
            allowed.into_iter().flat_map(|allowed| allowed.split('|')).map(Into::into).collect();
        let mut values = allowed.iter().enumerate();
        match values.all(|(at, value)| is_value(value) && !allowed[..at].contains(value)) {
            true => Ok(Self { name: name.into(), allowed }),
            false => Err(BadNamePattern::Allowed(name.into())),
        }
    }

    fn takes(&self, value: &str) -> bool {
        is_value(value) && self.allows(value)
    }

    fn allows(&self, value: &str) -> bool {
        self.allowed.is_empty() || self.allowed.iter().any(|allowed| &**allowed == value)
    }

    fn value<'a>(&self, bindings: &'a PlaceholderValues) -> Result<&'a str, FillError> {
        let value = bindings.get(&self.name);
        let value = value.ok_or_else(|| FillError::Missing(self.name.clone()))?;
        if !self.allows(value) {
            let (placeholder, allowed) = (self.name.clone(), self.allowed.clone());
            return Err(FillError::NotAllowed { placeholder, allowed });
        }
        match is_value(value) {
            true => Ok(value),
            false => Err(FillError::Value(self.name.clone())),
        }
    }
}

/// Returns whether a placeholder can stand for `text`. Dots alone would lead a path elsewhere: clients
/// take them out.
fn is_value(text: &str) -> bool {
    !["", ".", ".."].contains(&text) && text.chars().all(|c| is_name_char(c) && c != '/')
}

fn listed(names: &[Box<str>]) -> String {
    match names {
        [] => "none".to_owned(),
        names => names.join(", "),
    }
}

impl PlaceholderValues {
    /// Gives a placeholder its value, whether it had one or not.
    pub fn set(&mut self, placeholder: &str, value: &str) {
        self.0.insert(placeholder.into(), value.into());
    }

    /// Returns the value of a placeholder.
    pub fn get(&self, placeholder: &str) -> Option<&str> {
        self.0.get(placeholder).map(|value| &**value)
    }

    /// Returns each placeholder with its value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(placeholder, value)| (&**placeholder, &**value))
    }
}

impl<const N: usize> From<[(&str, &str); N]> for PlaceholderValues {
    fn from(pairs: [(&str, &str); N]) -> Self {
        pairs.into_iter().collect()
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for PlaceholderValues {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(own, value)| (own.into(), value.into())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostile::text_of;
    use crate::secret::glob::Glob;
    use crate::secret::reference::Reference;
    use proptest::prelude::*;

    const TWILIO: &str = "whatsapp-credentials/{company_name}/{project_name}/twilio";
    const CHANNELS: &str = "openai-api-key/{channel:whatsapp|sms|email}";

    fn pattern(text: &str) -> NamePattern {
        NamePattern::parse(text).expect("a good pattern")
    }

    /// Checks what a name says, and that what it says makes the name again.
    #[track_caller]
    fn says<const N: usize>(text: &str, name: &str, expected: [(&str, &str); N]) {
        let pattern = pattern(text);
        let bindings = pattern.matches(name).expect("the name is of the pattern");
        assert_eq!(bindings, PlaceholderValues::from(expected));
        assert_eq!(pattern.fill(&bindings).as_deref(), Ok(name));
        assert!(Reference::parse(name).is_ok());
        assert!(Glob::new(&pattern.as_glob()).expect("a glob").matches(name));
    }

    #[test]
    fn a_name_says_what_its_placeholders_are() {
        let both = [("company_name", "acme"), ("project_name", "cv-analysis")];
        says(TWILIO, "whatsapp-credentials/acme/cv-analysis/twilio", both);
        says(CHANNELS, "openai-api-key/sms", [("channel", "sms")]);
        says("app-{stage}.db/x", "app-dev.1.db/x", [("stage", "dev.1")]);
        says("{a}", "x", [("a", "x")]);
        says("/{a}//b", "/x//b", [("a", "x")]);
        says("plain/name", "plain/name", []);
    }

    #[test]
    fn other_names_say_nothing() {
        for (text, names) in [
            (
                TWILIO,
                &[
                    "whatsapp-credentials/acme/twilio",
                    "whatsapp-credentials/acme/a/b/twilio",
                    "whatsapp-credentials//x/twilio",
                    "whatsapp-credentials/acme/../twilio",
                    "whatsapp-credentials/acme/./twilio",
                    "whatsapp-credentials/acme/a b/twilio",
                    "whatsapp-credentials/acme/x/twilio/",
                    "/whatsapp-credentials/acme/x/twilio",
                    "Whatsapp-credentials/acme/x/twilio",
                    "whatsapp-credentials/acme/x/twilio\n",
                    "",
                ][..],
            ),
            (CHANNELS, &["openai-api-key/fax", "openai-api-key/", "openai-api-key/sms2"]),
            ("app-{a}-db", &["app--db", "app-db", "app-x-dbx", "xapp-x-db"]),
            ("ab{a}ba", &["aba", "abba"]),
        ] {
            for name in names {
                assert_eq!(pattern(text).matches(name), None, "{text} {name}");
            }
        }
    }

    #[test]
    fn a_name_is_not_made_of_what_none_has() {
        let fill = |text: &str, bindings: &[(&str, &str)]| {
            pattern(text).fill(&bindings.iter().copied().collect()).expect_err("no name")
        };
        let missing = FillError::Missing("project_name".into());
        assert_eq!(fill(TWILIO, &[("company_name", "acme")]), missing);
        let typo = fill(TWILIO, &[("company", "acme")]).to_string();
        assert_eq!(typo, "there is no placeholder 'company'; there are company_name, project_name");
        let fax = fill(CHANNELS, &[("channel", "fax")]).to_string();
        assert_eq!(fax, "the value of 'channel' must be one of whatsapp, sms, email");
        for value in ["", ".", "..", "a/b", "a b", "é", "a\n", "*", "{a}", "a\u{1b}[0m"] {
            assert_eq!(fill("x/{a}", &[("a", value)]), FillError::Value("a".into()), "{value:?}");
        }
        assert_eq!(fill("x/{a}", &[("a", &"y".repeat(511))]), FillError::TooLong);
        assert!(
            pattern("x/{a}").fill(&PlaceholderValues::from([("a", &*"y".repeat(510))])).is_ok()
        );
        assert_eq!(
            fill("x", &[("a", "y")]).to_string(),
            "there is no placeholder 'a'; there are none"
        );
    }

    #[test]
    fn a_pattern_tells_its_placeholders_and_their_values() {
        let (twilio, channels) = (pattern(TWILIO), pattern(CHANNELS));
        assert_eq!(twilio.placeholders().collect::<Vec<_>>(), ["company_name", "project_name"]);
        assert_eq!(twilio.as_glob(), "whatsapp-credentials/*/*/twilio");
        assert_eq!(twilio.allowed("company_name"), None);
        let allowed = channels.allowed("channel").expect("it is restricted");
        assert_eq!(
            allowed.iter().map(|value| &**value).collect::<Vec<_>>(),
            ["whatsapp", "sms", "email"]
        );
        assert_eq!((channels.allowed("other"), channels.to_string()), (None, CHANNELS.to_owned()));
        assert_eq!(pattern("a-{b}-c/d").as_glob(), "a-*-c/d");
    }

    #[test]
    fn a_bad_pattern_shows_where() {
        for (text, expected) in [
            ("", BadNamePattern::Empty),
            (&*"x".repeat(2049), BadNamePattern::TooLong),
            ("a b", BadNamePattern::Character { at: 2 }),
            ("a/*/c", BadNamePattern::Character { at: 3 }),
            ("a}", BadNamePattern::Character { at: 2 }),
            ("a/{b}}", BadNamePattern::Character { at: 6 }),
            ("a/b{c", BadNamePattern::Unclosed { at: 4 }),
            ("a/{b/c}", BadNamePattern::Unclosed { at: 3 }),
            ("a/{b}-{c}", BadNamePattern::Second { at: 7 }),
            ("{b}{c}", BadNamePattern::Second { at: 4 }),
            ("x{}", BadNamePattern::Placeholder { at: 2 }),
            ("{1a}", BadNamePattern::Placeholder { at: 1 }),
            ("{a-b}", BadNamePattern::Placeholder { at: 1 }),
            ("{a}/{a}", BadNamePattern::Twice("a".into())),
            ("{a:}", BadNamePattern::Allowed("a".into())),
            ("{a:b||c}", BadNamePattern::Allowed("a".into())),
            ("{a:b|b}", BadNamePattern::Allowed("a".into())),
            ("{a:b c}", BadNamePattern::Allowed("a".into())),
        ] {
            assert_eq!(NamePattern::parse(text), Err(expected), "{text}");
        }
    }

    const PIECES: &[&str] =
        &["{", "}", "{a}", "{b:x|y}", "{c", ":", "|", "/", "/{d}/", "app", "-", "_", "x", "é"];

    proptest! {
        #[test]
        fn for_any_pattern_a_name_and_what_it_says_are_inverse(
            text in text_of(PIECES),
            values in proptest::collection::vec("[xya.-]{0,3}", 1..4),
        ) {
            let Ok(pattern) = NamePattern::parse(&text) else { return Ok(()) };
            prop_assert_eq!(pattern.to_string(), &*text);
            let values = values.iter().map(|value| &**value).cycle();
            let bindings: PlaceholderValues = pattern.placeholders().zip(values).collect();
            if let Ok(name) = pattern.fill(&bindings) {
                prop_assert_eq!(pattern.matches(&name), Some(bindings));
                prop_assert!(name.len() <= NAME_CHARS_MAX);
                prop_assert!(Glob::new(&pattern.as_glob()).expect("a glob").matches(&name));
            }
        }

        #[test]
        fn for_any_name_what_it_says_makes_it_again(
            name in text_of(&["whatsapp-credentials", "/", "acme", "twilio", ".", "{a}"]),
        ) {
            let pattern = pattern(TWILIO);
            if let Some(bindings) = pattern.matches(&name) {
                prop_assert_eq!(pattern.fill(&bindings), Ok(name));
            }
        }

        #[test]
        fn for_any_bad_pattern_the_place_is_in_it(text in text_of(PIECES)) {
            use BadNamePattern::{Character, Placeholder, Second, Unclosed};
            if let Err(Character { at } | Placeholder { at } | Second { at } | Unclosed { at }) =
                NamePattern::parse(&text)
            {
                let c = text.chars().nth(at - 1).expect("it is in the text");
                prop_assert!(c == '{' || !is_name_char(c), "{c}");
            }
        }
    }
}

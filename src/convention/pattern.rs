//! Name patterns: strings such as `app-{stage}/db` that describe the names of one kind of secret.
//! The variable parts in braces are called placeholders.

use crate::secret::name::{NAME_CHARS_MAX, is_name_char};
use std::collections::BTreeMap;
use std::fmt;

/// The maximum length of a name pattern such as `app-{stage:dev|prod}/db`, in bytes. A name pattern
/// can be longer than a secret's name, because it can list allowed values.
const PATTERN_BYTES_MAX: usize = 2048;

/// The maximum length of the name of a placeholder, in characters. A placeholder is a variable part
/// of a name pattern, such as `{company_name}`.
const PLACEHOLDER_CHARS_MAX: usize = 64;

/// A pattern for the names of one kind of secret, such as
/// `whatsapp-credentials/{company_name}/{project_name}/twilio`.
///
/// A variable part in braces, called a placeholder, matches one or more characters between two
/// slashes. The placeholder `{channel:whatsapp|sms|email}` matches only the three listed values.
///
/// Between two slashes is at most one placeholder, so that a name can match in only one way.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct NamePattern {
    text: Box<str>,
    segments: Vec<Segment>,
}

/// The part of a name pattern between two slashes: fixed characters with at most one variable part,
/// as in `app-{stage}`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Segment {
    before: Box<str>,
    placeholder: Option<Placeholder>,
    after: Box<str>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Placeholder {
    name: Box<str>,
    /// The values that a variable part of a secret's name, such as `{stage}`, can have. An empty
    /// list means any value.
    allowed: Vec<Box<str>>,
}

/// The values of the variable parts of a secret's name, such as `acme` for `{company_name}`, sorted
/// by the names of the variable parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PlaceholderValues(BTreeMap<Box<str>, Box<str>>);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadNamePattern {
    #[error("a name pattern must not be empty")]
    Empty,
    #[error("a name pattern must not be longer than {PATTERN_BYTES_MAX} bytes")]
    TooLong,
    #[error(
        "character {at} of the name pattern is not allowed: use A-Za-z0-9/_+=.@!-, or write a \
         variable part in braces, such as {{stage}}"
    )]
    Character {
        /// The position of the invalid character in the name pattern, counted in characters from 1.
        at: usize,
    },
    #[error("the '{{' at character {at} of the name pattern has no '}}' before the next '/'")]
    Unclosed {
        /// The position of the opening brace in the name pattern, counted in characters from 1.
        at: usize,
    },
    /// Error: the name pattern has two placeholders (variable parts such as `{stage}`) between two
    /// slashes. A secret's name could then match in several ways.
    #[error(
        "the '{{' at character {at} of the name pattern begins a second placeholder between two \
         slashes; use only one there, so that a name can match in only one way"
    )]
    Second {
        /// The position of the second opening brace in the name pattern, counted in characters from
        /// 1.
        at: usize,
    },
    #[error(
        "the placeholder at character {at} of the name pattern must have a name of at most \
         {PLACEHOLDER_CHARS_MAX} letters, digits and '_' that begins with a letter"
    )]
    Placeholder {
        /// The position of the opening brace in the name pattern, counted in characters from 1.
        at: usize,
    },
    #[error("the name pattern has two placeholders named '{0}'; rename one of them")]
    Twice(Box<str>),
    #[error(
        "the allowed values of the placeholder '{0}' must be different, separated by '|', and made \
         of A-Za-z0-9_+=.@!-"
    )]
    Allowed(Box<str>),
}

/// The reason why a secret's name cannot be made from a name pattern such as `app-{stage}/db`. The
/// error messages contain no value, because a value may be confidential.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FillError {
    #[error("the placeholder '{0}' of the name pattern has no value")]
    Missing(Box<str>),
    #[error(
        "the name pattern has no placeholder '{unknown}'; its placeholders are: {names}",
        names = listed(known)
    )]
    Unknown {
        unknown: Box<str>,
        /// The names of all placeholders (variable parts such as `{stage}`) in the name pattern.
        known: Vec<Box<str>>,
    },
    #[error(
        "the value of the placeholder '{0}' must have at least one character, contain only \
         A-Za-z0-9_+=.@!-, and be neither '.' nor '..'"
    )]
    Value(Box<str>),
    #[error(
        "the value of the placeholder '{placeholder}' must be one of {values}",
        values = listed(allowed)
    )]
    NotAllowed { placeholder: Box<str>, allowed: Vec<Box<str>> },
    #[error("the secret's name would be longer than {NAME_CHARS_MAX} characters")]
    TooLong,
}

impl NamePattern {
    pub(crate) fn parse(text: &str) -> Result<Self, BadNamePattern> {
        if text.is_empty() {
            return Err(BadNamePattern::Empty);
        }
        if text.len() > PATTERN_BYTES_MAX {
            return Err(BadNamePattern::TooLong);
        }
        let mut segments: Vec<Segment> = Vec::new();
        let mut at = 1;
        for part in text.split('/') {
            let segment = Segment::parse(part, at)?;
            if let Some(own) = &segment.placeholder
                && segments.iter().any(|earlier| earlier.has_placeholder(&own.name))
            {
                return Err(BadNamePattern::Twice(own.name.clone()));
            }
            segments.push(segment);
            at += part.chars().count() + 1;
        }
        Ok(Self { text: text.into(), segments })
    }

    /// Returns the values of the variable parts of a secret's name, such as `dev` for `{stage}`.
    /// Returns `None` if the name does not match the pattern.
    pub(crate) fn matches(&self, name: &str) -> Option<PlaceholderValues> {
        let mut parts = name.split('/');
        let mut values = PlaceholderValues::default();
        for segment in &self.segments {
            let part = parts.next()?;
            match &segment.placeholder {
                None if part == &*segment.before => {}
                None => return None,
                Some(placeholder) => {
                    let value =
                        part.strip_prefix(&*segment.before)?.strip_suffix(&*segment.after)?;
                    placeholder.matches(value).then_some(())?;
                    values.set(&placeholder.name, value);
                }
            }
        }
        parts.next().is_none().then_some(values)
    }

    /// Makes a secret's name from this pattern: replaces each variable part, such as `{stage}`, by
    /// its value.
    ///
    /// # Errors
    ///
    /// Returns an error if a value is missing or invalid, if `values` contains an unknown variable
    /// part, or if the secret's name would be too long.
    pub(crate) fn fill(&self, values: &PlaceholderValues) -> Result<String, FillError> {
        if let Some((unknown, _)) = values.iter().find(|(name, _)| self.placeholder(name).is_none())
        {
            let known = self.placeholders().map(Into::into).collect();
            return Err(FillError::Unknown { unknown: unknown.into(), known });
        }
        let mut name = String::new();
        for (at, segment) in self.segments.iter().enumerate() {
            if at > 0 {
                name.push('/');
            }
            name.push_str(&segment.before);
            if let Some(placeholder) = &segment.placeholder {
                name.push_str(placeholder.value(values)?);
            }
            name.push_str(&segment.after);
        }
        if name.len() > NAME_CHARS_MAX {
            return Err(FillError::TooLong);
        }
        debug_assert_eq!(
            self.matches(&name).as_ref(),
            Some(values),
            "a name pattern must match each name that was made from it"
        );
        Ok(name)
    }

    pub(crate) fn placeholders(&self) -> impl Iterator<Item = &str> {
        self.all().map(|placeholder| &*placeholder.name)
    }

    /// Returns the allowed values of a placeholder (a variable part such as `{stage}`). Returns
    /// `None` if every value is allowed, or if the pattern has no such placeholder.
    pub(crate) fn allowed(&self, placeholder: &str) -> Option<&[Box<str>]> {
        let allowed = &self.placeholder(placeholder)?.allowed;
        (!allowed.is_empty()).then_some(allowed)
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
    /// Parses the part of a name pattern between two slashes. `at` is the position of this part in
    /// the pattern, counted in characters from 1.
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

    fn has_placeholder(&self, name: &str) -> bool {
        self.placeholder.as_ref().is_some_and(|placeholder| &*placeholder.name == name)
    }
}

/// Checks fixed characters of a name pattern: characters outside the braces of variable parts. `at`
/// is their position in the pattern, counted in characters from 1.
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
        for (index, value) in allowed.iter().enumerate() {
            if !is_value(value) || allowed[..index].contains(value) {
                return Err(BadNamePattern::Allowed(name.into()));
            }
        }
        Ok(Self { name: name.into(), allowed })
    }

    fn matches(&self, value: &str) -> bool {
        is_value(value) && self.allows(value)
    }

    fn allows(&self, value: &str) -> bool {
        self.allowed.is_empty() || self.allowed.iter().any(|allowed| &**allowed == value)
    }

    fn value<'a>(&self, values: &'a PlaceholderValues) -> Result<&'a str, FillError> {
        let value = values.get(&self.name).ok_or_else(|| FillError::Missing(self.name.clone()))?;
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

/// Returns whether `text` can replace a variable part such as `{stage}` in a secret's name. Returns
/// `false` for `.` and `..`, because HTTP clients remove these texts from a URL's path.
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
    pub(crate) fn set(&mut self, placeholder: &str, value: &str) {
        self.0.insert(placeholder.into(), value.into());
    }

    pub(crate) fn get(&self, placeholder: &str) -> Option<&str> {
        self.0.get(placeholder).map(|value| &**value)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
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
    use crate::secret::reference::Reference;
    use proptest::prelude::*;

    const TWILIO: &str = "whatsapp-credentials/{company_name}/{project_name}/twilio";
    const CHANNELS: &str = "openai-api-key/{channel:whatsapp|sms|email}";

    fn pattern(text: &str) -> NamePattern {
        NamePattern::parse(text).expect("the name pattern must be valid")
    }

    /// Checks that the pattern `text` finds the `expected` values in the secret's name `name`. Also
    /// checks that the pattern makes the same name from these values.
    #[track_caller]
    fn check<const N: usize>(text: &str, name: &str, expected: [(&str, &str); N]) {
        let pattern = pattern(text);
        let values = pattern.matches(name).expect("the pattern must match the secret's name");
        assert_eq!(values, PlaceholderValues::from(expected));
        assert_eq!(pattern.fill(&values).as_deref(), Ok(name));
        assert!(Reference::parse(name).is_ok());
    }

    #[test]
    fn name_has_a_value_for_each_placeholder() {
        let both = [("company_name", "acme"), ("project_name", "cv-analysis")];
        check(TWILIO, "whatsapp-credentials/acme/cv-analysis/twilio", both);
        check(CHANNELS, "openai-api-key/sms", [("channel", "sms")]);
        check("app-{stage}.db/x", "app-dev.1.db/x", [("stage", "dev.1")]);
        check("{a}", "x", [("a", "x")]);
        check("/{a}//b", "/x//b", [("a", "x")]);
        check("plain/name", "plain/name", []);
    }

    #[test]
    fn other_names_do_not_match() {
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
    fn name_is_not_made_from_missing_unknown_or_invalid_values() {
        let fill = |text: &str, values: &[(&str, &str)]| {
            pattern(text)
                .fill(&values.iter().copied().collect())
                .expect_err("invalid values of placeholders must be refused")
        };
        let missing = FillError::Missing("project_name".into());
        assert_eq!(fill(TWILIO, &[("company_name", "acme")]), missing);
        let typo = fill(TWILIO, &[("company", "acme")]).to_string();
        assert_eq!(
            typo,
            "the name pattern has no placeholder 'company'; its placeholders are: company_name, project_name"
        );
        let fax = fill(CHANNELS, &[("channel", "fax")]).to_string();
        assert_eq!(
            fax,
            "the value of the placeholder 'channel' must be one of whatsapp, sms, email"
        );
        for value in ["", ".", "..", "a/b", "a b", "é", "a\n", "*", "{a}", "a\u{1b}[0m"] {
            assert_eq!(fill("x/{a}", &[("a", value)]), FillError::Value("a".into()), "{value:?}");
        }
        assert_eq!(fill("x/{a}", &[("a", &"y".repeat(511))]), FillError::TooLong);
        assert!(
            pattern("x/{a}").fill(&PlaceholderValues::from([("a", &*"y".repeat(510))])).is_ok()
        );
        assert_eq!(
            fill("x", &[("a", "y")]).to_string(),
            "the name pattern has no placeholder 'a'; its placeholders are: none"
        );
    }

    #[test]
    fn pattern_lists_its_placeholders_and_their_allowed_values() {
        let (twilio, channels) = (pattern(TWILIO), pattern(CHANNELS));
        assert_eq!(twilio.placeholders().collect::<Vec<_>>(), ["company_name", "project_name"]);
        assert_eq!(twilio.allowed("company_name"), None);
        let allowed = channels
            .allowed("channel")
            .expect("the placeholder 'channel' must have a list of allowed values");
        assert_eq!(
            allowed.iter().map(|value| &**value).collect::<Vec<_>>(),
            ["whatsapp", "sms", "email"]
        );
        assert_eq!((channels.allowed("other"), channels.to_string()), (None, CHANNELS.to_owned()));
    }

    #[test]
    fn mistake_in_a_pattern_is_reported_with_its_position() {
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
        fn for_any_pattern_a_filled_name_has_the_same_values(
            text in text_of(PIECES),
            values in proptest::collection::vec("[xya.-]{0,3}", 1..4),
        ) {
            let Ok(pattern) = NamePattern::parse(&text) else { return Ok(()) };
            prop_assert_eq!(pattern.to_string(), &*text);
            let repeated = values.iter().map(|value| &**value).cycle();
            let values: PlaceholderValues = pattern.placeholders().zip(repeated).collect();
            if let Ok(name) = pattern.fill(&values) {
                prop_assert_eq!(pattern.matches(&name), Some(values));
                prop_assert!(name.len() <= NAME_CHARS_MAX);
            }
        }

        #[test]
        fn for_any_name_its_values_make_the_same_name(
            name in text_of(&["whatsapp-credentials", "/", "acme", "twilio", ".", "{a}"]),
        ) {
            let pattern = pattern(TWILIO);
            if let Some(values) = pattern.matches(&name) {
                prop_assert_eq!(pattern.fill(&values), Ok(name));
            }
        }

        #[test]
        fn for_any_invalid_pattern_the_position_is_in_the_text(text in text_of(PIECES)) {
            use BadNamePattern::{Character, Placeholder, Second, Unclosed};
            if let Err(Character { at } | Placeholder { at } | Second { at } | Unclosed { at }) =
                NamePattern::parse(&text)
            {
                let c = text.chars().nth(at - 1).expect("the position must be in the name pattern");
                prop_assert!(c == '{' || !is_name_char(c), "{c}");
            }
        }
    }
}

//! Markers: patterns for dummy values in secrets, such as `PLACEHOLDER*`. A secret has dummy values
//! until the user has filled in the real values.

/// The maximum length of a pattern for dummy values, such as `PLACEHOLDER*`, in characters.
const MARKER_CHARS_MAX: usize = 64;

/// A pattern for dummy values in secrets, such as `changeme` or `PLACEHOLDER*`. One `*` can stand
/// for any characters. Upper and lower case differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Marker {
    before: Box<str>,
    /// The part of the pattern after the `*`. `None` if the pattern has no `*`.
    after: Option<Box<str>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadMarker {
    /// Error: the pattern for dummy values contains only `*` and spaces. With a `*`, it would
    /// match every value, and without one only an empty value.
    #[error("a string in the list 'placeholders' needs at least one character besides '*'")]
    Empty,
    #[error("a string in the list 'placeholders' can have at most one '*'")]
    Wildcards,
    /// Error: the pattern for dummy values begins or ends with a space. Such a pattern matches no
    /// value, because Sidekey ignores spaces around a value.
    #[error(
        "a string in the list 'placeholders' must not begin or end with a space, because Sidekey \
         ignores spaces around a value"
    )]
    OuterSpace,
    #[error(
        "a string in the list 'placeholders' can have at most {MARKER_CHARS_MAX} printable ASCII \
         characters"
    )]
    Characters,
}

impl Marker {
    pub(crate) fn parse(text: &str) -> Result<Self, BadMarker> {
        let is_printable = text.chars().all(|c| c.is_ascii_graphic() || c == ' ');
        if text.len() > MARKER_CHARS_MAX || !is_printable {
            return Err(BadMarker::Characters);
        }
        let (before, after) = match text.split_once('*') {
            Some((before, after)) => (before, Some(after)),
            None => (text, None),
        };
        if after.is_some_and(|after| after.contains('*')) {
            return Err(BadMarker::Wildcards);
        }
        if before.trim().is_empty() && after.unwrap_or_default().trim().is_empty() {
            return Err(BadMarker::Empty);
        }
        if text.trim() != text {
            return Err(BadMarker::OuterSpace);
        }
        Ok(Self { before: before.into(), after: after.map(Into::into) })
    }

    pub(crate) fn matches(&self, text: &str) -> bool {
        match &self.after {
            None => text == &*self.before,
            Some(after) => {
                text.strip_prefix(&*self.before).is_some_and(|rest| rest.ends_with(&**after))
            }
        }
    }

    /// Makes a dummy value that matches this pattern. For example, the pattern `PLACEHOLDER*` and
    /// the words `auth-token` make `PLACEHOLDER_AUTH_TOKEN`.
    ///
    /// If the pattern has no `*`, the dummy value is the pattern itself.
    pub(crate) fn placeholder(&self, words: &str) -> String {
        let Some(after) = &self.after else { return self.before.clone().into() };
        let mut placeholder = String::from(&*self.before);
        if self.before.ends_with(is_alphanumeric) {
            placeholder.push('_');
        }
        let words =
            words.chars().map(|c| if is_alphanumeric(c) { c.to_ascii_uppercase() } else { '_' });
        placeholder.extend(words);
        if after.starts_with(is_alphanumeric) {
            placeholder.push('_');
        }
        placeholder + after
    }
}

fn is_alphanumeric(c: char) -> bool {
    c.is_ascii_alphanumeric()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostile::{text, text_of};
    use proptest::prelude::*;

    #[track_caller]
    fn check(marker: &str, matched: &[&str], not_matched: &[&str], placeholder: &str) {
        let marker = Marker::parse(marker).expect("the pattern for dummy values must be valid");
        matched.iter().for_each(|text| assert!(marker.matches(text), "{marker:?} {text}"));
        not_matched.iter().for_each(|text| assert!(!marker.matches(text), "{marker:?} {text}"));
        assert_eq!(marker.placeholder("auth-token"), placeholder);
        assert!(marker.matches(placeholder), "{marker:?}");
    }

    #[test]
    fn marker_matches_placeholders_and_makes_one() {
        let matched = ["PLACEHOLDER", "PLACEHOLDER_SID", "PLACEHOLDER é/\n"];
        check(
            "PLACEHOLDER*",
            &matched,
            &["", "placeholder", "A PLACEHOLDER"],
            "PLACEHOLDER_AUTH_TOKEN",
        );
        check("<*>", &["<>", "<sid>"], &["<sid", "sid>", "<"], "<AUTH_TOKEN>");
        check("*_TODO", &["_TODO", "x_TODO"], &["TODO", "x_TODO "], "AUTH_TOKEN_TODO");
        check("aa*aa", &["aaaa", "aaxaa"], &["aaa", "aa"], "aa_AUTH_TOKEN_aa");
        check("changeme", &["changeme"], &["changeme2", "Changeme", ""], "changeme");
    }

    #[test]
    fn marker_that_matches_everything_or_is_malformed_is_refused() {
        for (text, expected) in [
            ("", BadMarker::Empty),
            ("*", BadMarker::Empty),
            (" * ", BadMarker::Empty),
            ("a*b*", BadMarker::Wildcards),
            ("**", BadMarker::Wildcards),
            (" changeme", BadMarker::OuterSpace),
            ("TODO * ", BadMarker::OuterSpace),
            ("é", BadMarker::Characters),
            ("a\n", BadMarker::Characters),
            (&"a".repeat(65), BadMarker::Characters),
        ] {
            assert_eq!(Marker::parse(text), Err(expected), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn for_any_marker_the_placeholder_that_it_makes_matches(
            marker in text_of(&["PLACEHOLDER", "*", "<", ">", "_", " ", "TODO"]),
            words in text(),
        ) {
            if let Ok(marker) = Marker::parse(&marker) {
                let made = marker.placeholder(&words);
                prop_assert!(marker.matches(&made), "{marker:?} {made}");
                prop_assert!(made.is_ascii() && !made.contains(char::is_control));
                prop_assert!(!marker.matches(""));
            }
        }
    }
}

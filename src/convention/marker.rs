//! What tells a placeholder from a value.

/// The longest mark.
const MARKER_CHARS_MAX: usize = 64;

/// What tells a placeholder from a value: a text such as `changeme`, or a glob with one `*` such as
/// `PLACEHOLDER*`. Capital and small letters differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marker {
    before: Box<str>,
    /// What follows the `*`, where there is one.
    after: Option<Box<str>>,
}

/// What is wrong with a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadMarker {
    /// It would take every value for a placeholder, or the empty one.
    #[error("a mark has at least one character beside its '*'")]
    Empty,
    /// It has more than one wildcard.
    #[error("a mark has one '*' at most")]
    Wildcards,
    /// It is too long, or cannot be shown.
    #[error("a mark is at most {MARKER_CHARS_MAX} printable ASCII characters")]
    Characters,
}

impl Marker {
    /// Parses a mark.
    ///
    /// # Errors
    ///
    /// Names what is wrong.
    pub fn parse(text: &str) -> Result<Self, BadMarker> {
        let is_shown = |c: char| c.is_ascii_graphic() || c == ' ';
        if text.len() > MARKER_CHARS_MAX || !text.chars().all(is_shown) {
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
        Ok(Self { before: before.into(), after: after.map(Into::into) })
    }

    /// Returns whether `text` is a placeholder.
    pub fn matches(&self, text: &str) -> bool {
        match &self.after {
            None => text == &*self.before,
            Some(after) => {
                text.strip_prefix(&*self.before).is_some_and(|rest| rest.ends_with(&**after))
            }
        }
    }

    /// Returns a placeholder that has this mark and is named after `words`:
    /// `PLACEHOLDER_AUTH_TOKEN`.
    pub fn placeholder(&self, words: &str) -> String {
        let Some(after) = &self.after else { return self.before.clone().into() };
        let words: String = words
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' })
            .collect();
        let is_word = |c: char| c.is_ascii_alphanumeric();
        let gap = |is_needed: bool| if is_needed { "_" } else { "" };
        let (first, last) = (gap(self.before.ends_with(is_word)), gap(after.starts_with(is_word)));
        format!("{}{first}{words}{last}{after}", self.before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostile::{text, text_of};
    use proptest::prelude::*;

    #[track_caller]
    fn check(mark: &str, on: &[&str], not_on: &[&str], placeholder: &str) {
        let mark = Marker::parse(mark).expect("a good mark");
        on.iter().for_each(|text| assert!(mark.matches(text), "{mark:?} {text}"));
        not_on.iter().for_each(|text| assert!(!mark.matches(text), "{mark:?} {text}"));
        assert_eq!(mark.placeholder("auth-token"), placeholder);
        assert!(mark.matches(placeholder), "{mark:?}");
    }

    #[test]
    fn a_mark_tells_placeholders_and_makes_one() {
        let on = ["PLACEHOLDER", "PLACEHOLDER_SID", "PLACEHOLDER é/\n"];
        check("PLACEHOLDER*", &on, &["", "placeholder", "A PLACEHOLDER"], "PLACEHOLDER_AUTH_TOKEN");
        check("<*>", &["<>", "<sid>"], &["<sid", "sid>", "<"], "<AUTH_TOKEN>");
        check("*_TODO", &["_TODO", "x_TODO"], &["TODO", "x_TODO "], "AUTH_TOKEN_TODO");
        check("aa*aa", &["aaaa", "aaxaa"], &["aaa", "aa"], "aa_AUTH_TOKEN_aa");
        check("changeme", &["changeme"], &["changeme2", "Changeme", ""], "changeme");
    }

    #[test]
    fn a_mark_that_is_on_everything_is_refused() {
        for (text, expected) in [
            ("", BadMarker::Empty),
            ("*", BadMarker::Empty),
            (" * ", BadMarker::Empty),
            ("a*b*", BadMarker::Wildcards),
            ("**", BadMarker::Wildcards),
            ("é", BadMarker::Characters),
            ("a\n", BadMarker::Characters),
            (&"a".repeat(65), BadMarker::Characters),
        ] {
            assert_eq!(Marker::parse(text), Err(expected), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn for_any_mark_the_placeholder_that_it_makes_has_it(
            mark in text_of(&["PLACEHOLDER", "*", "<", ">", "_", " ", "TODO"]),
            words in text(),
        ) {
            if let Ok(mark) = Marker::parse(&mark) {
                let made = mark.placeholder(&words);
                prop_assert!(mark.matches(&made), "{mark:?} {made}");
                prop_assert!(made.is_ascii() && !made.contains(char::is_control));
                prop_assert!(!mark.matches(""));
            }
        }
    }
}

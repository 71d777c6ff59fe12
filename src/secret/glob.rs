//! Glob patterns of secret names and ARNs, matched in linear time.

use std::str::Chars;

/// The longest pattern: as long as the longest id that Secrets Manager takes.
pub const GLOB_CHARS_MAX: usize = 2048;

/// What no wildcard matches.
const SEPARATOR: char = '/';

/// A compiled pattern, such as `whatsapp-credentials/*/*/twilio`.
///
/// | token | matches |
/// |---|---|
/// | `*` | any characters of one path segment, also none |
/// | `?` | any one character but `/` |
/// | `[abc]`, `[a-z]` | one of these characters, but never `/` |
/// | `[!abc]` | any one character but these and `/` |
/// | any other character | itself; capital and small letters differ |
///
/// A `]` directly after `[` or `[!` is one of the characters: `[]]` matches `]`. `[*]`, `[?]` and `[[]`
/// match a wildcard's own character.
#[derive(Clone, Debug)]
pub struct Glob {
    text: Box<str>,
    tokens: Box<[Token]>,
}

/// What is wrong with a pattern. Positions are counted in characters, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadGlob {
    /// Two stars stand side by side.
    #[error("'**' is not supported; write one '*' for each segment")]
    DoubleStar,
    /// A class of characters does not end.
    #[error(
        "the '[' at character {at} begins a class that does not end: write ']' after its \
         characters, or '[[]' for the character '['"
    )]
    Unclosed {
        /// The position of the `[`.
        at: usize,
    },
    /// The pattern is too long.
    #[error("longer than {GLOB_CHARS_MAX} characters")]
    TooLong,
}

/// One step of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// `*`.
    Star,
    /// `?`.
    Any,
    /// This character.
    Char(char),
    /// A class, by its ranges: both ends belong to a range.
    Class { is_negated: bool, ranges: Box<[(char, char)]> },
}

impl Glob {
    /// Compiles a pattern.
    ///
    /// # Errors
    ///
    /// Says what is wrong, and at which character.
    pub fn new(text: &str) -> Result<Self, BadGlob> {
        if text.contains("**") {
            return Err(BadGlob::DoubleStar);
        }
        let chars: Vec<char> = text.chars().collect();
        if chars.len() > GLOB_CHARS_MAX {
            return Err(BadGlob::TooLong);
        }
        let mut tokens = Vec::with_capacity(chars.len());
        let mut rest = &chars[..];
        while let [first, after @ ..] = rest {
            rest = after;
            tokens.push(match first {
                '*' => Token::Star,
                '?' => Token::Any,
                '[' => {
                    let at = chars.len() - after.len();
                    let (class, after) = class(after).ok_or(BadGlob::Unclosed { at })?;
                    rest = after;
                    class
                }
                c => Token::Char(*c),
            });
        }
        Ok(Self { text: text.into(), tokens: tokens.into() })
    }

    /// Returns the pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns whether the pattern matches the whole of `text`.
    ///
    /// Takes at most one step for each pair of a character of `text` and a token, and allocates
    /// nothing: O(text × pattern), with at most [`GLOB_CHARS_MAX`] tokens. Only the last star ever
    /// takes in one more character. An earlier star of the same segment need not, because the last
    /// one takes in whatever lies between; one of an earlier segment cannot, because no star matches
    /// the slash between the segments.
    pub fn matches(&self, text: &str) -> bool {
        let (mut tokens, mut text) = (&self.tokens[..], text.chars());
        // The tokens after the last star, and the text after what that star has taken in.
        let mut star: Option<(&[Token], Chars<'_>)> = None;
        loop {
            match tokens.split_first() {
                Some((Token::Star, after)) => {
                    tokens = after;
                    star = Some((after, text.clone()));
                    continue;
                }
                Some((token, after)) => {
                    let mut next = text.clone();
                    match next.next() {
                        Some(c) if token.takes(c) => {
                            if c == SEPARATOR {
                                star = None;
                            }
                            (tokens, text) = (after, next);
                            continue;
                        }
                        Some(_) => {}
                        // If the star took in more, even less text would be left.
                        None => return false,
                    }
                }
                None if text.as_str().is_empty() => return true,
                None => {}
            }
            let Some((after, taken)) = &mut star else { return false };
            if taken.next().is_none_or(|c| c == SEPARATOR) {
                return false;
            }
            (tokens, text) = (after, taken.clone());
        }
    }
}

impl Token {
    /// Returns whether this token, which is not a star, matches `c`.
    fn takes(&self, c: char) -> bool {
        match self {
            Self::Star => false,
            Self::Any => c != SEPARATOR,
            Self::Char(own) => *own == c,
            Self::Class { is_negated, ranges } => {
                let is_listed = ranges.iter().any(|(first, last)| (*first..=*last).contains(&c));
                c != SEPARATOR && is_listed != *is_negated
            }
        }
    }
}

/// Reads a class from behind its `[`, and returns it with what follows its `]`.
fn class(text: &[char]) -> Option<(Token, &[char])> {
    let (is_negated, text) = match text {
        ['!', text @ ..] => (true, text),
        text => (false, text),
    };
    // The first character belongs to the class, whatever it is.
    let end = text.iter().skip(1).position(|c| *c == ']')? + 1;
    let (mut listed, after) = (&text[..end], &text[end + 1..]);
    let mut ranges = Vec::new();
    while let [first, rest @ ..] = listed {
        let (last, rest) = match rest {
            ['-', last, rest @ ..] => (last, rest),
            rest => (first, rest),
        };
        ranges.push((*first, *last));
        listed = rest;
    }
    Some((Token::Class { is_negated, ranges: ranges.into() }, after))
}

#[cfg(test)]
mod tests {
    use super::*;
    use glob::{MatchOptions, Pattern};
    use proptest::prelude::*;

    #[track_caller]
    fn check(pattern: &str, matched: &[&str], not_matched: &[&str]) {
        let glob = Glob::new(pattern).expect("a good pattern");
        assert_eq!(glob.as_str(), pattern);
        matched.iter().for_each(|text| assert!(glob.matches(text), "{pattern} {text}"));
        not_matched.iter().for_each(|text| assert!(!glob.matches(text), "{pattern} {text}"));
    }

    #[test]
    fn a_pattern_without_wildcards_matches_itself() {
        check("", &[""], &["a", "/"]);
        check("app/db", &["app/db"], &["app/d", "app/db2", "App/db", "app", "app//db"]);
        check("a]b!-é", &["a]b!-é"], &["a"]);
    }

    #[test]
    fn no_wildcard_matches_a_slash() {
        check("*", &["", "a", "a.b", "é"], &["/", "a/", "/a"]);
        check("?", &["a", "é", "."], &["", "/", "ab"]);
        check("a/*/c", &["a/b/c", "a//c", "a/bb/c"], &["a/c", "a/b/b/c", "a/b/c/"]);
        check("*/?*", &["/a", "a/b", "a/bc"], &["a/", "a", "a/b/c"]);
        check("[!a]", &["b", "é"], &["a", "/", ""]);
        check("[.-0]", &[".", "0"], &["/"]);
    }

    #[test]
    fn the_last_star_of_a_segment_takes_in_what_is_needed() {
        check("*ab", &["ab", "aab", "abab", "xaab"], &["aba", "a/ab"]);
        check("*a*b*", &["ab", "xaxbx", "aabb"], &["ba", "a/b"]);
        check("a*b/c*d", &["ab/cd", "abb/cdd", "axb/cxd"], &["ab/cdx", "abx/cd", "ab/c/d"]);
        check("*-??????", &["a-AbC123", "a-b-AbC123"], &["a-AbC12", "a-AbC123/"]);
    }

    #[test]
    fn a_class_matches_one_of_its_characters() {
        check("[abc]", &["a", "b", "c"], &["d", "A", "ab", ""]);
        check("x[a-c0-9]", &["xa", "xc", "x5"], &["x-", "xd", "x"]);
        check("[!a-c]", &["d", "-"], &["a", "b", "c"]);
        check("[]]", &["]"], &["["]);
        check("[]a]", &["]", "a"], &["b"]);
        check("[!]a]", &["b"], &["]", "a"]);
        check("[[]", &["["], &["]"]);
        check("[*][?]", &["*?"], &["ab"]);
        check("[-a][a-]", &["--", "aa", "-a"], &["b-"]);
        check("[!!]", &["a"], &["!"]);
        // A range that runs backwards has no characters.
        check("[c-a]", &[], &["a", "b", "c"]);
        check("[äöü]", &["ö"], &["o"]);
    }

    #[test]
    fn a_bad_pattern_is_refused_with_the_place_and_what_to_do() {
        for (pattern, expected) in [
            ("a/**", BadGlob::DoubleStar),
            ("a***", BadGlob::DoubleStar),
            ("[", BadGlob::Unclosed { at: 1 }),
            ("é/[a", BadGlob::Unclosed { at: 3 }),
            ("[]", BadGlob::Unclosed { at: 1 }),
            ("a[!]", BadGlob::Unclosed { at: 2 }),
            ("[a]/[", BadGlob::Unclosed { at: 5 }),
            (&"é".repeat(GLOB_CHARS_MAX + 1), BadGlob::TooLong),
        ] {
            assert_eq!(Glob::new(pattern).map(|_| ()), Err(expected), "{pattern}");
        }
        assert!(Glob::new(&"é".repeat(GLOB_CHARS_MAX)).is_ok());
        let problem = BadGlob::Unclosed { at: 5 }.to_string();
        assert_eq!(
            problem,
            "the '[' at character 5 begins a class that does not end: write ']' after its \
             characters, or '[[]' for the character '['"
        );
    }

    /// Trying each length for each star would take longer than the age of the universe. The slash matters:
    /// at the end of a text some matchers know that no other length helps.
    #[test]
    fn thirty_stars_take_no_longer_than_one() {
        let text = "a-".repeat(2_000);
        let (good, bad) = (format!("{text}b/c"), format!("{text}c/c"));
        check(&format!("{}b/c", "*-".repeat(30)), &[&good], &[&bad, &text]);
        check(&format!("{}/c", "*a".repeat(1_000)), &[&format!("{text}a/c")], &[&bad, &text]);
        check(&format!("*{}b/", "a".repeat(1_000)), &[], &[&format!("{}/", "a".repeat(4_000))]);
    }

    const AS_ORACLE: MatchOptions = MatchOptions {
        case_sensitive: true,
        require_literal_separator: true,
        require_literal_leading_dot: false,
    };

    proptest! {
        #[test]
        fn for_any_pattern_and_text_the_crate_glob_agrees(
            pattern in r"[*?\[\]!\-ab/.é*?]{0,12}",
            texts in proptest::collection::vec(r"[ab/.\-\]é]{0,10}", 1..20),
        ) {
            match (Glob::new(&pattern), Pattern::new(&pattern)) {
                (Ok(own), Ok(oracle)) => for text in &texts {
                    let expected = oracle.matches_with(text, AS_ORACLE);
                    prop_assert_eq!(own.matches(text), expected, "{} {}", pattern, text);
                },
                (Err(BadGlob::DoubleStar), _) => prop_assert!(pattern.contains("**")),
                (Err(BadGlob::Unclosed { at }), Err(oracle)) => prop_assert_eq!(at, oracle.pos + 1),
                (own, oracle) => prop_assert!(false, "{own:?} {oracle:?}"),
            }
        }
    }
}

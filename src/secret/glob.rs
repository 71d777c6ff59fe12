//! Glob patterns for names and ARNs of secrets, such as `app/*/db`. The time for matching is
//! limited, even for a hostile pattern.

use std::str::Chars;

/// The maximum length of a glob pattern such as `app/*/db`, in characters. Secrets Manager has the
/// same limit for the name or ARN of a secret in a request.
pub(crate) const GLOB_CHARS_MAX: usize = 2048;

/// The character that no wildcard in a pattern matches.
const SEPARATOR: char = '/';

/// A compiled glob pattern, such as `whatsapp-credentials/*/*/twilio`.
///
/// | part of the pattern | matches |
/// |---|---|
/// | `*` | zero or more characters except `/` |
/// | `?` | any one character except `/` |
/// | `[abc]`, `[a-z]` | one of these characters, but never `/` |
/// | `[!abc]` | any one character except these and `/` |
/// | any other character | itself; upper and lower case differ |
///
/// A `]` directly after `[` or `[!` is one of the characters: `[]]` matches `]`. `[*]`, `[?]` and
/// `[[]` match the characters `*`, `?` and `[`.
#[derive(Clone, Debug)]
pub(crate) struct Glob {
    text: Box<str>,
    tokens: Box<[Token]>,
}

/// The error for a string that is not a valid glob pattern, such as `app/**`. Positions are counted
/// in characters, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadGlob {
    #[error("'**' is not supported; write one '*' for each part between two slashes")]
    DoubleStar,
    #[error(
        "the '[' at character {at} has no ']': close the brackets as in [abc], or write a list of \
         patterns without JSON's brackets and quotes"
    )]
    Unclosed { at: usize },
    #[error("a pattern must not be longer than {GLOB_CHARS_MAX} characters")]
    TooLong,
}

/// A part of a compiled glob pattern such as `app/*`: a wildcard or one character.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Star,
    /// The wildcard `?`, which matches any one character except `/`.
    Any,
    Char(char),
    /// Characters in brackets, such as `[a-z]` or `[!abc]`, as a list of ranges. The first and the
    /// last character of a range belong to the range.
    Class {
        is_negated: bool,
        ranges: Box<[(char, char)]>,
    },
}

impl Glob {
    pub(crate) fn new(text: &str) -> Result<Self, BadGlob> {
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

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    pub(super) fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    /// Returns whether the pattern matches all of `text`. The function allocates no memory. Its
    /// time is at most proportional to the length of `text` times the length of the pattern.
    pub(crate) fn matches(&self, text: &str) -> bool {
        let (mut tokens, mut text) = (&self.tokens[..], text.chars());
        // The last star so far: the tokens after this star, and the text after the characters that
        // the star matches.
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
                        Some(c) if token.matches(c) => {
                            if c == SEPARATOR {
                                star = None;
                            }
                            (tokens, text) = (after, next);
                            continue;
                        }
                        Some(_) => {}
                        // Trying the star with more characters would not help: even less text would
                        // remain.
                        None => return false,
                    }
                }
                None if text.as_str().is_empty() => return true,
                None => {}
            }
            // Only the last `*` is tried again, with one more character. An earlier `*` between the
            // same two slashes need not be tried again, because the last `*` can match the
            // characters between both. No `*` matches a slash, so a `*` before the last slash need
            // not be tried again either.
            let Some((after, rest)) = &mut star else { return false };
            if rest.next().is_none_or(|c| c == SEPARATOR) {
                return false;
            }
            (tokens, text) = (after, rest.clone());
        }
    }
}

impl Token {
    /// Returns whether a part of a glob pattern matches the character `c`. Returns `false` for the
    /// wildcard `*`, which [`Glob::matches`] handles itself.
    fn matches(&self, c: char) -> bool {
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

/// Parses characters in brackets, such as `[a-z]`. `text` begins after the opening bracket.
///
/// Returns the parsed characters and the text after the closing bracket. Returns `None` if the
/// closing bracket is missing.
fn class(text: &[char]) -> Option<(Token, &[char])> {
    let (is_negated, text) = match text {
        ['!', text @ ..] => (true, text),
        text => (false, text),
    };
    // The first character belongs to the class, even if this character is a closing bracket.
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
        let glob = Glob::new(pattern).expect("the pattern must be valid");
        assert_eq!(glob.as_str(), pattern);
        matched.iter().for_each(|text| assert!(glob.matches(text), "{pattern} {text}"));
        not_matched.iter().for_each(|text| assert!(!glob.matches(text), "{pattern} {text}"));
    }

    #[test]
    fn pattern_without_wildcards_matches_only_itself() {
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
    fn star_matches_as_many_characters_as_needed() {
        check("*ab", &["ab", "aab", "abab", "xaab"], &["aba", "a/ab"]);
        check("*a*b*", &["ab", "xaxbx", "aabb"], &["ba", "a/b"]);
        check("a*b/c*d", &["ab/cd", "abb/cdd", "axb/cxd"], &["ab/cdx", "abx/cd", "ab/c/d"]);
        check("*-??????", &["a-AbC123", "a-b-AbC123"], &["a-AbC12", "a-AbC123/"]);
    }

    #[test]
    fn class_matches_one_of_its_characters() {
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
        // A range whose first character comes after its last character matches nothing.
        check("[c-a]", &[], &["a", "b", "c"]);
        check("[äöü]", &["ö"], &["o"]);
    }

    #[test]
    fn mistake_in_a_pattern_is_reported_with_its_position_and_a_remedy() {
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
            "the '[' at character 5 has no ']': close the brackets as in [abc], or write a list of \
             patterns without JSON's brackets and quotes"
        );
    }

    /// A glob matcher that tried every possible length for every `*` would practically never
    /// finish.
    ///
    /// The patterns in this test do not end in `*`, because slow matchers can be fast for patterns
    /// that end in `*`.
    #[test]
    fn pattern_with_many_stars_is_matched_quickly() {
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

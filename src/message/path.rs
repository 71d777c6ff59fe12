//! Paths into a message: keys separated by dots, where `*` matches any one key.

use std::fmt;

/// The maximum length of a path, in bytes.
const PATH_CHARS_MAX: usize = 256;

/// The maximum number of keys in a path. JSON is parsed only to a depth of 128.
const PARTS_MAX: usize = 16;

/// A path into a message, such as `channel_config.*.credentials_id`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    steps: Vec<Step>,
}

/// One step of a path, between two dots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Leads to the member of an object with this key, or to the item of an array with this index.
    Key(Box<str>),
    /// Leads to all members of an object, or to all items of an array.
    Any,
}

/// The reason why a text is not a valid path. Positions are counted in characters, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPath {
    /// The text is empty.
    #[error("a path must not be empty; write for example channel_config.*.credentials_id")]
    Empty,
    /// The text is longer than `PATH_CHARS_MAX`.
    #[error("longer than {PATH_CHARS_MAX} bytes")]
    TooLong,
    /// The path has more than `PARTS_MAX` keys.
    #[error("more than {PARTS_MAX} keys")]
    TooDeep,
    /// A key is empty.
    #[error("a key or '*' expected at character {at}")]
    NoKey {
        /// The position of the empty key.
        at: usize,
    },
    /// A key contains `*` and other characters.
    #[error("the key at character {at} contains '*' and other characters; '*' must stand alone")]
    PartlyAny {
        /// The position at which the key begins.
        at: usize,
    },
    /// An index is written in brackets.
    #[error("brackets are not supported at character {at}; write an index as a key, as in list.0")]
    Bracket {
        /// The position of the bracket.
        at: usize,
    },
    /// The path begins with `$`, the root of JSONPath.
    #[error("remove the '$' at the beginning")]
    Root,
    /// The path contains a comma, white space or a control character. Commas and white space separate
    /// the paths in a list.
    #[error(
        "character {at} is not allowed: a path has no commas, white space or control characters"
    )]
    Character {
        /// The position of the character.
        at: usize,
    },
}

impl Path {
    /// Parses a path.
    ///
    /// # Errors
    ///
    /// Returns the first mistake in the text, with its position.
    pub fn parse(text: &str) -> Result<Self, BadPath> {
        if text.is_empty() {
            return Err(BadPath::Empty);
        }
        if text.len() > PATH_CHARS_MAX {
            return Err(BadPath::TooLong);
        }
        for (c, at) in text.chars().zip(1..) {
            match c {
                '[' | ']' => return Err(BadPath::Bracket { at }),
                ',' => return Err(BadPath::Character { at }),
                c if c.is_control() || c.is_whitespace() => {
                    return Err(BadPath::Character { at });
                }
                _ => {}
            }
        }
        let mut steps = Vec::new();
        let mut at = 1;
        for part in text.split('.') {
            match part {
                "" => return Err(BadPath::NoKey { at }),
                "*" => steps.push(Step::Any),
                "$" if steps.is_empty() => return Err(BadPath::Root),
                part if part.contains('*') => return Err(BadPath::PartlyAny { at }),
                part => steps.push(Step::Key(part.into())),
            }
            at += part.chars().count() + 1;
        }
        if steps.len() > PARTS_MAX {
            return Err(BadPath::TooDeep);
        }
        Ok(Self { steps })
    }

    /// Returns whether the path contains a `*`, so that it can lead to several values of a message.
    pub fn has_wildcard(&self) -> bool {
        self.steps.contains(&Step::Any)
    }

    /// Returns the step at `depth`, counted from 0, or `None` if the path has no more steps.
    pub(super) fn step(&self, depth: usize) -> Option<&Step> {
        self.steps.get(depth)
    }
}

impl Step {
    /// Returns whether this step leads to the member of an object that has this key.
    pub(super) fn matches_key(&self, key: &str) -> bool {
        match self {
            Self::Key(own) => **own == *key,
            Self::Any => true,
        }
    }

    /// Returns whether this step leads to the item of an array that has this index.
    pub(super) fn matches_index(&self, index: usize) -> bool {
        match self {
            // `01` and `+1` are keys of objects only, so that every item has exactly one path.
            Self::Key(own) if own.len() > 1 && own.starts_with(['0', '+']) => false,
            Self::Key(own) => own.parse() == Ok(index),
            Self::Any => true,
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, part) in self.steps.iter().enumerate() {
            let dot = if index > 0 { "." } else { "" };
            match part {
                Step::Key(key) => write!(f, "{dot}{key}")?,
                Step::Any => write!(f, "{dot}*")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(text: &str, expected: BadPath) {
        assert_eq!(Path::parse(text), Err(expected), "{text}");
    }

    #[test]
    fn mistake_in_a_path_is_reported_with_its_position() {
        refused("", BadPath::Empty);
        refused(&"x".repeat(257), BadPath::TooLong);
        refused(&["x"; 17].join("."), BadPath::TooDeep);
        refused(".a", BadPath::NoKey { at: 1 });
        refused("ä..a", BadPath::NoKey { at: 3 });
        refused("a.", BadPath::NoKey { at: 3 });
        refused("a.cred*.b", BadPath::PartlyAny { at: 3 });
        refused("a.**", BadPath::PartlyAny { at: 3 });
        refused("a[0].b", BadPath::Bracket { at: 2 });
        refused("$.a", BadPath::Root);
        refused("a\u{1b}", BadPath::Character { at: 2 });
        refused("a b", BadPath::Character { at: 2 });
        assert!(Path::parse(&["x"; 16].join(".")).is_ok());
        assert!(Path::parse(&"x".repeat(256)).is_ok());
    }

    #[test]
    fn path_is_displayed_as_it_was_written() {
        for text in ["a", "channel_config.*.credentials_id", "list.0.*"] {
            let path = Path::parse(text).expect("the path is valid");
            assert_eq!(
                (path.to_string(), path.has_wildcard()),
                (text.to_owned(), text.contains('*'))
            );
        }
    }
}

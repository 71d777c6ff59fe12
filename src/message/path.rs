//! A place in a message, or several: keys parted by dots, where `*` is any one of them.

use std::fmt;

/// The longest path that can be configured.
const PATH_CHARS_MAX: usize = 256;

/// The most keys of a path. JSON itself is read up to a depth of 128.
const PARTS_MAX: usize = 16;

/// A path, such as `channel_config.*.credentials_id`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    parts: Vec<Part>,
}

/// What one step of a path goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The member of an object that has this key, or of an array that has this index.
    Key(Box<str>),
    /// Every member.
    Any,
}

/// What is wrong with a path. Places are counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPath {
    /// There is nothing.
    #[error("a path like channel_config.*.credentials_id expected, found nothing")]
    Empty,
    /// It is too long.
    #[error("longer than {PATH_CHARS_MAX} bytes")]
    TooLong,
    /// It has too many keys.
    #[error("more than {PARTS_MAX} keys")]
    TooDeep,
    /// Nothing stands where a key should.
    #[error("a key or '*' expected at character {at}")]
    NoKey {
        /// The position.
        at: usize,
    },
    /// A `*` is only a part of a key.
    #[error("'*' stands for a whole key; more was found at character {at}")]
    PartlyAny {
        /// Where the key begins.
        at: usize,
    },
    /// An index is written in brackets.
    #[error(
        "write an index as a key of its own, as in list.0, and not in brackets at character {at}"
    )]
    Bracket {
        /// The position.
        at: usize,
    },
    /// It begins with JSONPath's root.
    #[error("leave the '$' at its beginning out")]
    Root,
    /// It has a control character, or one that ends a path where it is listed.
    #[error("character {at} is not one of a key")]
    Character {
        /// The position.
        at: usize,
    },
}

impl Path {
    /// Parses a path.
    ///
    /// # Errors
    ///
    /// Says what is wrong, and at which character.
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
        let mut parts = Vec::new();
        let mut at = 1;
        for part in text.split('.') {
            match part {
                "" => return Err(BadPath::NoKey { at }),
                "*" => parts.push(Part::Any),
                "$" if parts.is_empty() => return Err(BadPath::Root),
                part if part.contains('*') => return Err(BadPath::PartlyAny { at }),
                part => parts.push(Part::Key(part.into())),
            }
            at += part.chars().count() + 1;
        }
        if parts.len() > PARTS_MAX {
            return Err(BadPath::TooDeep);
        }
        Ok(Self { parts })
    }

    /// Returns whether it may lead to more than one place.
    pub fn has_wildcard(&self) -> bool {
        self.parts.contains(&Part::Any)
    }

    /// Returns the step at `depth`, or `None` at and below the path's end.
    pub(super) fn part(&self, depth: usize) -> Option<&Part> {
        self.parts.get(depth)
    }
}

impl Part {
    /// Returns whether this step goes to the member of an object that has `key`.
    pub(super) fn takes_key(&self, key: &str) -> bool {
        match self {
            Self::Key(own) => **own == *key,
            Self::Any => true,
        }
    }

    /// Returns whether this step goes to the item of an array at `index`.
    pub(super) fn takes_index(&self, index: usize) -> bool {
        match self {
            // "01" is a key of an object only, so that each place has one path.
            Self::Key(own) if own.len() > 1 && own.starts_with(['0', '+']) => false,
            Self::Key(own) => own.parse() == Ok(index),
            Self::Any => true,
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, part) in self.parts.iter().enumerate() {
            let dot = if index > 0 { "." } else { "" };
            match part {
                Part::Key(key) => write!(f, "{dot}{key}")?,
                Part::Any => write!(f, "{dot}*")?,
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
    fn a_bad_path_shows_where() {
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
    fn a_path_is_written_as_it_was_read() {
        for text in ["a", "channel_config.*.credentials_id", "list.0.*"] {
            let path = Path::parse(text).expect("a good path");
            assert_eq!(
                (path.to_string(), path.has_wildcard()),
                (text.to_owned(), text.contains('*'))
            );
        }
    }
}

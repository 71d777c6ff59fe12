//! Paths of values in a JSON message: keys separated by dots. A `*` matches any key of an object,
//! or any index of an array.

use std::fmt;

/// The maximum length of a path such as `channel_config.*.credentials_id`, in bytes.
const PATH_BYTES_MAX: usize = 256;

/// The maximum number of parts between dots in a path. For example, the path
/// `channel_config.*.credentials_id` has three parts.
const PARTS_MAX: usize = 16;

const QUOTES: [char; 3] = ['"', '\'', '`'];

/// The path of a value in a JSON message, such as `channel_config.*.credentials_id`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Path {
    steps: Vec<Step>,
}

/// The part of a path between two dots. For example, the path `channel_config.*.credentials_id` has
/// three such parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A fixed part of a path: the key of a JSON object's member, or the index of a JSON array's
    /// item.
    Key(Box<str>),
    /// The wildcard `*`, which matches all members of an object, or all items of an array.
    Any,
}

/// The error for an invalid path of a value in a JSON message. A valid path is, for example,
/// `channel_config.*.credentials_id`. Positions are counted in characters, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadPath {
    #[error("a path must not be empty; write for example channel_config.*.credentials_id")]
    Empty,
    #[error("a path must not be longer than {PATH_BYTES_MAX} bytes")]
    TooLong,
    #[error("a path must not have more than {PARTS_MAX} keys, separated by dots")]
    TooDeep,
    #[error("expected a key or '*' at character {at} of the path")]
    NoKey { at: usize },
    #[error(
        "the key at character {at} of the path contains '*' and other characters; use '*' alone, \
         which matches any key"
    )]
    PartlyAny { at: usize },
    #[error(
        "a path must not contain brackets; write the index at character {at} as a key, as in list.0"
    )]
    Bracket { at: usize },
    #[error("a path must not begin with '$'; remove the '$'")]
    Root,
    #[error("a path must not be in quotes; remove the quote at character {at}")]
    Quote { at: usize },
    /// Error: the path contains a comma, white space or a control character. Commas and white space
    /// separate paths in a list of paths.
    #[error(
        "character {at} of the path is not allowed; a path has no commas, white space or control \
         characters"
    )]
    Character { at: usize },
}

impl Path {
    pub(crate) fn parse(text: &str) -> Result<Self, BadPath> {
        if text.is_empty() {
            return Err(BadPath::Empty);
        }
        if text.len() > PATH_BYTES_MAX {
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
        if text.starts_with(QUOTES) {
            return Err(BadPath::Quote { at: 1 });
        }
        if text.ends_with(QUOTES) {
            return Err(BadPath::Quote { at: text.chars().count() });
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

    pub(crate) fn has_wildcard(&self) -> bool {
        self.steps.contains(&Step::Any)
    }

    /// Returns the part of the path with the index `depth`, counted from 0. Returns `None` after
    /// the last part.
    pub(crate) fn step(&self, depth: usize) -> Option<&Step> {
        self.steps.get(depth)
    }
}

impl Step {
    pub(crate) fn matches_key(&self, key: &str) -> bool {
        match self {
            Self::Key(own) => **own == *key,
            Self::Any => true,
        }
    }

    pub(crate) fn matches_index(&self, index: usize) -> bool {
        match self {
            // `01` and `+1` can only be keys of objects, so that every array item has exactly one
            // path.
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
        refused("\"a.b\"", BadPath::Quote { at: 1 });
        refused("ä.'b'", BadPath::Quote { at: 5 });
        refused("a\u{1b}", BadPath::Character { at: 2 });
        refused("a b", BadPath::Character { at: 2 });
        assert!(Path::parse(&["x"; 16].join(".")).is_ok());
        assert!(Path::parse(&"x".repeat(256)).is_ok());
    }

    #[test]
    fn path_is_displayed_as_it_was_written() {
        for text in ["a", "channel_config.*.credentials_id", "list.0.*"] {
            let path = Path::parse(text).expect("the path must be valid");
            assert_eq!(
                (path.to_string(), path.has_wildcard()),
                (text.to_owned(), text.contains('*'))
            );
        }
    }
}

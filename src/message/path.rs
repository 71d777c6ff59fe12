//! A place in a message, or several: keys parted by dots, where `*` is any one of them.

use serde_json::Value;
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
enum Part {
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
    pub fn is_any(&self) -> bool {
        self.parts.contains(&Part::Any)
    }

    /// Returns the value at this path, where it leads to one place.
    pub fn value<'a>(&self, message: &'a Value) -> Option<&'a Value> {
        self.parts.iter().try_fold(message, |value, part| match part {
            Part::Key(key) => member(value, key),
            Part::Any => None,
        })
    }

    /// Hands every value that this path leads to, and its own path, to `visit`, until that fails.
    pub(super) fn visit<'a, E>(
        &self,
        message: &'a Value,
        visit: &mut impl FnMut(&str, &'a Value) -> Result<(), E>,
    ) -> Result<(), E> {
        walk(message, &self.parts, &mut String::new(), visit)
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

/// Goes down `parts` from `value`, which stands at `place`. As deep as a path is long at most.
fn walk<'a, E>(
    value: &'a Value,
    parts: &[Part],
    place: &mut String,
    visit: &mut impl FnMut(&str, &'a Value) -> Result<(), E>,
) -> Result<(), E> {
    let Some((part, rest)) = parts.split_first() else { return visit(place, value) };
    let mut step = |key: &str, member: &'a Value| {
        let before = place.len();
        append(place, key);
        let walked = walk(member, rest, place, visit);
        place.truncate(before);
        walked
    };
    match (part, value) {
        (Part::Key(key), _) => member(value, key).map_or(Ok(()), |member| step(key, member)),
        (Part::Any, Value::Object(members)) => {
            members.iter().try_for_each(|(key, member)| step(key, member))
        }
        (Part::Any, Value::Array(items)) => {
            let mut items = items.iter().enumerate();
            items.try_for_each(|(index, item)| step(&index.to_string(), item))
        }
        (Part::Any, _) => Ok(()),
    }
}

fn member<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    match value {
        Value::Object(members) => members.get(key),
        Value::Array(items) => items.get(key.parse::<usize>().ok()?),
        _ => None,
    }
}

/// Adds a key to a place. A dot inside a key has a `\` before it, so that no two places have one path.
fn append(place: &mut String, key: &str) {
    if !place.is_empty() {
        place.push('.');
    }
    for c in key.chars() {
        if c == '.' || c == '\\' {
            place.push('\\');
        }
        place.push(c);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

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
            assert_eq!((path.to_string(), path.is_any()), (text.to_owned(), text.contains('*')));
        }
    }

    #[test]
    fn a_path_to_one_place_has_one_value() {
        let message = json!({"a": {"b": ["x", {"c": 1}]}, "0": "zero"});
        for (text, expected) in [
            ("a.b.1.c", Some(json!(1))),
            ("a.b.0", Some(json!("x"))),
            ("0", Some(json!("zero"))),
            ("a.b.2", None),
            ("a.b.x", None),
            ("a.b.0.c", None),
            ("a.*", None),
        ] {
            let path = Path::parse(text).expect("a good path");
            assert_eq!(path.value(&message), expected.as_ref(), "{text}");
        }
    }

    #[track_caller]
    fn check(path: &str, message: &Value, expected: &[&str]) {
        let mut places = Vec::new();
        let walked = Path::parse(path).expect("a good path").visit(message, &mut |place, _| {
            places.push(place.to_owned());
            Ok::<(), ()>(())
        });
        assert_eq!(walked, Ok(()));
        assert_eq!(places, expected, "{path}");
    }

    #[test]
    fn a_star_is_every_key_and_every_index() {
        let message = json!({"c": {"sms": {"id": 1}, "mail": {"id": 2}, "off": 3}, "l": [4, 5]});
        check("c.*.id", &message, &["c.mail.id", "c.sms.id"]);
        check("l.*", &message, &["l.0", "l.1"]);
        check("*", &message, &["c", "l"]);
        check("c.off.*", &message, &[]);
        check("c.sms", &message, &["c.sms"]);
        check("nothing", &message, &[]);
        check("*", &json!("text"), &[]);
    }

    #[test]
    fn no_two_places_have_one_path() {
        let message = json!({"a.b": {"id": 1}, "a": {"b": {"id": 2}}, "a\\": {"b": {"id": 3}}});
        check("*.id", &message, &[r"a\.b.id"]);
        check("*.*.id", &message, &["a.b.id", r"a\\.b.id"]);
    }
}

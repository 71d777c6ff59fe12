//! Where a message has its references.

use super::path::{BadPath, Path};
use serde_json::Value;

/// The most paths that can be configured.
const PATHS_MAX: usize = 32;

/// The most references in one message. One that has more is no message of anybody's.
const FOUND_MAX: usize = 1000;

/// The longest path of a reference that is found: keys come from the message, and are answered.
const FOUND_PATH_BYTES_MAX: usize = 1024;

/// The paths at which a message has references. A [`Default`] finds none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paths(Vec<Path>);

/// What stands at one of the paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found<'a> {
    /// Where it stands, each `*` replaced by its key. A dot inside a key has a `\` before it.
    pub path: String,
    /// The reference as it is written, or `None` where no string stands there.
    pub reference: Option<&'a str>,
}

/// Why a list of paths cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPaths {
    /// There is none.
    #[error("must not be empty")]
    None,
    /// There are too many.
    #[error("more than {PATHS_MAX} given")]
    TooMany,
    /// One of them is none.
    #[error("'{text}': {problem}")]
    One {
        /// The path as it is written.
        text: Box<str>,
        /// What is wrong with it.
        problem: BadPath,
    },
}

/// Why the references of a message are not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Overgrown {
    /// There are too many.
    #[error("there are more than {FOUND_MAX} references in one message")]
    TooMany,
    /// One of them stands at a place whose path is too long.
    #[error("a reference stands at a path of more than {FOUND_PATH_BYTES_MAX} bytes")]
    TooLong,
}

impl Paths {
    /// Parses paths.
    ///
    /// # Errors
    ///
    /// Where there is none or too many, or names the first that is bad.
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, BadPaths> {
        let parsed = texts.into_iter().map(|text| {
            Path::parse(text).map_err(|problem| BadPaths::One { text: text.into(), problem })
        });
        let paths: Vec<Path> = parsed.collect::<Result<_, _>>()?;
        match paths.len() {
            0 => Err(BadPaths::None),
            1..=PATHS_MAX => Ok(Self(paths)),
            _ => Err(BadPaths::TooMany),
        }
    }

    /// Finds what stands at the paths in a message, each place once: in the order of the paths, and
    /// for one path in the order of keys.
    ///
    /// # Errors
    ///
    /// Where it is more than anybody's message has.
    pub fn find<'a>(&self, message: &'a Value) -> Result<Vec<Found<'a>>, Overgrown> {
        let mut found: Vec<Found<'a>> = Vec::new();
        for path in &self.0 {
            path.visit(message, &mut |place, value| {
                if place.len() > FOUND_PATH_BYTES_MAX {
                    return Err(Overgrown::TooLong);
                }
                if found.iter().any(|own| own.path == place) {
                    return Ok(());
                }
                if found.len() == FOUND_MAX {
                    return Err(Overgrown::TooMany);
                }
                found.push(Found { path: place.to_owned(), reference: value.as_str() });
                Ok(())
            })?;
        }
        Ok(found)
    }

    /// Returns the paths.
    pub fn iter(&self) -> impl Iterator<Item = &Path> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(paths: &[&str], message: &Value, expected: &[(&str, Option<&str>)]) {
        let paths = Paths::parse(paths.iter().copied()).expect("good paths");
        let found = paths.find(message).expect("a small message");
        let found: Vec<_> = found.iter().map(|one| (&*one.path, one.reference)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn references_are_found_where_they_stand() {
        let message = json!({
            "company_data": {"company_name": "acme"},
            "channel_config": {
                "whatsapp": {"credentials_id": "whatsapp-credentials/acme/support/twilio"},
                "email": {"credentials_id": 7, "sender": "a@b"},
                "sms": {},
            },
            "ai_config": {"ai_api_key_reference": "openai-api-key/whatsapp"},
        });
        check(
            &["channel_config.*.credentials_id", "ai_config.ai_api_key_reference"],
            &message,
            &[
                ("channel_config.email.credentials_id", None),
                (
                    "channel_config.whatsapp.credentials_id",
                    Some("whatsapp-credentials/acme/support/twilio"),
                ),
                ("ai_config.ai_api_key_reference", Some("openai-api-key/whatsapp")),
            ],
        );
        check(&["nothing.*"], &message, &[]);
        check(&["channel_config.sms"], &message, &[("channel_config.sms", None)]);
        check(&["*"], &json!(["a", null]), &[("0", Some("a")), ("1", None)]);
    }

    #[test]
    fn a_place_that_two_paths_lead_to_is_found_once() {
        let message = json!({"a": {"b": "x", "c": "y"}});
        check(&["a.b", "a.*", "*.c"], &message, &[("a.b", Some("x")), ("a.c", Some("y"))]);
    }

    #[test]
    fn what_is_found_is_bounded() {
        let paths = Paths::parse(["*.id"]).expect("a good path");
        let many = |count: usize| {
            let items = (0..count).map(|_| json!({"id": "x"})).collect();
            Value::Array(items)
        };
        assert_eq!(paths.find(&many(FOUND_MAX)).map(|found| found.len()), Ok(FOUND_MAX));
        assert_eq!(paths.find(&many(FOUND_MAX + 1)), Err(Overgrown::TooMany));
        let long = |chars: usize| json!({"k".repeat(chars): {"id": "x"}});
        assert!(paths.find(&long(FOUND_PATH_BYTES_MAX - 3)).is_ok());
        assert_eq!(paths.find(&long(FOUND_PATH_BYTES_MAX - 2)), Err(Overgrown::TooLong));
        let elsewhere = json!({"k".repeat(5000): {"other": "x"}, "a": {"id": "x"}});
        assert!(paths.find(&elsewhere).is_ok(), "only what is found counts");
    }

    #[test]
    fn a_bad_list_names_the_path() {
        let problem = |texts: &[&str]| Paths::parse(texts.iter().copied()).expect_err("bad paths");
        assert_eq!(problem(&[]), BadPaths::None);
        assert_eq!(problem(&["a"; PATHS_MAX + 1]), BadPaths::TooMany);
        let message = problem(&["a.b", "a..b"]).to_string();
        assert_eq!(message, "'a..b': a key or '*' expected at character 3");
        let good = Paths::parse(["a", "b.*"]).expect("good paths");
        assert_eq!(good.iter().map(ToString::to_string).collect::<Vec<_>>(), ["a", "b.*"]);
    }
}

//! Finds names and ARNs of secrets in a JSON message. The search reads the message once, and stores
//! only these names.
//!
//! The message is not parsed into a tree of values, because the tree of a hostile message of 1 MiB
//! could take more than 100 MiB of memory.

use super::path::{Path, Step};
use super::paths::Paths;
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::error::Category;
use std::fmt::{self, Write};

/// The maximum number of secrets to which one message can refer. Real messages refer to fewer than
/// ten secrets.
pub(crate) const FOUND_MAX: usize = 100;

/// The maximum length of the path at which a message contains the name of a secret, in bytes. The
/// response contains all these paths, so the limit keeps the response small.
pub(crate) const FOUND_PATH_BYTES_MAX: usize = 1024;

/// A search of JSON messages for names and ARNs of secrets at some paths, and for other strings,
/// such as the name of a company, at other paths.
#[derive(Clone, Debug)]
pub(crate) struct Search<'p> {
    targets: Vec<Target<'p>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// The names and ARNs of secrets in the message, in the order of the configured paths. If a
    /// path has a `*`, its results are in the order of the message.
    ///
    /// If several paths lead to the same value, the list contains the value once.
    pub(crate) references: Vec<FoundReference>,
    /// The strings of the message at the paths `texts` that `Search::new` received, in the same
    /// order. An item is `None` if the message has no string at this path.
    pub(crate) texts: Vec<Option<Box<str>>>,
}

/// The name or ARN of a secret that was found in a message, and the path of this value in the
/// message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FoundReference {
    /// The path of the name or ARN in the message, with the actual key in place of `*`. A dot
    /// inside a key is written as `\.`.
    pub(crate) path: Box<str>,
    /// The name or ARN of a secret, found at `path` in the message. `None` if the value at `path`
    /// is not a string.
    pub(crate) reference: Option<Box<str>>,
    /// The index of the configured path that led to this name or ARN of a secret, or the smallest
    /// index if several paths led to it. Results are sorted by this index.
    order: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LimitExceeded {
    #[error("the message has more than {FOUND_MAX} references to secrets")]
    TooManyReferences,
    #[error(
        "the path of a reference to a secret in the message is longer than {FOUND_PATH_BYTES_MAX} bytes"
    )]
    PathTooLong,
}

/// The reason why Sidekey could not search a message for names and ARNs of secrets. The error
/// contains no part of the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadText {
    NotJson {
        /// The line of the first mistake in the message's JSON, counted from 1.
        line: usize,
        /// The column of the first mistake in the message's JSON, counted from 1.
        column: usize,
    },
    NotAnObject,
    /// The message is an SNS notification, and its member `Message` does not contain a JSON object.
    NotificationNotAnObject,
    LimitExceeded(LimitExceeded),
}

#[derive(Debug)]
pub(crate) enum SearchError<E> {
    LimitExceeded(LimitExceeded),
    /// The message cannot be parsed, or is not a JSON object.
    Unreadable(E),
}

/// A configured path in a JSON message at which the search looks for the name or ARN of a secret,
/// or for another string, such as the name of a company.
#[derive(Clone, Copy, Debug)]
struct Target<'p> {
    path: &'p Path,
    order: usize,
    /// The index in [`Found::texts`] of the string at this path. `None` if the search looks for the
    /// name or ARN of a secret at this path.
    text: Option<usize>,
}

impl<'p> Search<'p> {
    /// Makes a search for at most [`FOUND_MAX`] names or ARNs of secrets at the paths `references`,
    /// and for one string at each path in `texts`.
    pub(crate) fn new(references: &'p Paths, texts: impl IntoIterator<Item = &'p Path>) -> Self {
        let mut targets = Vec::new();
        for (order, path) in references.iter().enumerate() {
            targets.push(Target { path, order, text: None });
        }
        for (order, path) in texts.into_iter().enumerate() {
            targets.push(Target { path, order, text: Some(order) });
        }
        Self { targets }
    }

    /// Searches a JSON message for names and ARNs of secrets. `text` is the whole message.
    ///
    /// # Errors
    ///
    /// Returns an error if the message is not a JSON object, or exceeds a limit of the search.
    pub(crate) fn text(&self, text: &[u8]) -> Result<Found, BadText> {
        let mut message = serde_json::Deserializer::from_slice(text);
        let found = match self.run(&mut message) {
            Err(SearchError::LimitExceeded(limit)) => {
                return Err(BadText::LimitExceeded(limit));
            }
            Err(SearchError::Unreadable(error)) => Err(error),
            Ok(found) => message.end().map(|()| found),
        };
        found.map_err(|error| match error.classify() {
            Category::Data => BadText::NotAnObject,
            Category::Io | Category::Syntax | Category::Eof => {
                BadText::NotJson { line: error.line(), column: error.column() }
            }
        })
    }

    /// Searches a message for names and ARNs of secrets.
    ///
    /// If an object has a key twice, the last member counts. Most JSON parsers do the same, so
    /// Sidekey and the Lambda function find the same value.
    ///
    /// # Errors
    ///
    /// Returns an error if the message cannot be parsed, is not an object, or exceeds a limit of
    /// the search.
    pub(crate) fn run<'de, D: Deserializer<'de>>(
        &self,
        message: D,
    ) -> Result<Found, SearchError<D::Error>> {
        let texts = self.targets.iter().filter(|target| target.text.is_some()).count();
        let found = Found { references: Vec::new(), texts: vec![None; texts] };
        let mut walk = Walk { found, path: String::new(), limit: None };
        let root = Member { walk: &mut walk, targets: self.targets.clone(), depth: 0 };
        match message.deserialize_map(root) {
            Ok(()) => {
                walk.found.references.sort_by_key(|place| place.order);
                Ok(walk.found)
            }
            Err(error) => Err(match walk.limit {
                Some(limit) => SearchError::LimitExceeded(limit),
                None => SearchError::Unreadable(error),
            }),
        }
    }
}

/// The state of a search in a JSON message: the results so far, and the path of the value that is
/// being read.
struct Walk {
    found: Found,
    path: String,
    limit: Option<LimitExceeded>,
}

impl Walk {
    /// Adds a value of the message to the results if a configured path ends at this value. `text`
    /// is `None` if the value is not a string.
    fn note<E: Error>(
        &mut self,
        targets: &[Target<'_>],
        depth: usize,
        text: Option<&str>,
    ) -> Result<(), E> {
        let mut order = None;
        for target in targets.iter().filter(|target| target.path.step(depth).is_none()) {
            match target.text {
                Some(at) => self.found.texts[at] = text.map(Into::into),
                None => order = order.or(Some(target.order)),
            }
        }
        let Some(order) = order else { return Ok(()) };
        if self.path.len() > FOUND_PATH_BYTES_MAX {
            return Err(self.stop(LimitExceeded::PathTooLong));
        }
        if self.found.references.len() == FOUND_MAX {
            return Err(self.stop(LimitExceeded::TooManyReferences));
        }
        let (path, reference) = (self.path.as_str().into(), text.map(Into::into));
        self.found.references.push(FoundReference { path, reference, order });
        Ok(())
    }

    fn stop<E: Error>(&mut self, limit: LimitExceeded) -> E {
        self.limit = Some(limit);
        E::custom("the search stopped because the message exceeds a limit")
    }

    /// Removes the results that came from an earlier member with the same key in the same JSON
    /// object. If an object has a key twice, the last member counts.
    ///
    /// The first `before` results stay, because they were found before this JSON object.
    fn forget(&mut self, targets: &[Target<'_>], before: usize) {
        for at in targets.iter().filter_map(|target| target.text) {
            self.found.texts[at] = None;
        }
        let mut index = 0;
        self.found.references.retain(|reference| {
            index += 1;
            index <= before || !is_at_or_below(&reference.path, &self.path)
        });
    }
}

fn is_at_or_below(path: &str, ancestor: &str) -> bool {
    path.strip_prefix(ancestor).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// A value of the message, with the configured paths that lead to this value or to a value inside
/// it.
struct Member<'w, 'p> {
    walk: &'w mut Walk,
    targets: Vec<Target<'p>>,
    depth: usize,
}

impl<'p> Member<'_, 'p> {
    /// Returns the configured paths whose next part satisfies `matches`. A part is a key, an index
    /// or `*`.
    fn next(&self, matches: impl Fn(&Step) -> bool) -> Vec<Target<'p>> {
        self.targets
            .iter()
            .filter(|target| target.path.step(self.depth).is_some_and(&matches))
            .copied()
            .collect()
    }

    fn enter(&mut self, key: fmt::Arguments<'_>) {
        if self.depth > 0 {
            self.walk.path.push('.');
        }
        self.walk.path.write_fmt(key).expect("writing to a String must not fail");
    }

    fn note<E: Error>(&mut self, text: Option<&str>) -> Result<(), E> {
        self.walk.note(&self.targets, self.depth, text)
    }
}

impl<'de> DeserializeSeed<'de> for Member<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.targets.is_empty() {
            true => IgnoredAny::deserialize(deserializer).map(drop),
            false => deserializer.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for Member<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_str<E: Error>(mut self, text: &str) -> Result<(), E> {
        self.note(Some(text))
    }

    fn visit_unit<E: Error>(mut self) -> Result<(), E> {
        self.note(None)
    }

    fn visit_bool<E: Error>(mut self, _: bool) -> Result<(), E> {
        self.note(None)
    }

    fn visit_i64<E: Error>(mut self, _: i64) -> Result<(), E> {
        self.note(None)
    }

    fn visit_u64<E: Error>(mut self, _: u64) -> Result<(), E> {
        self.note(None)
    }

    fn visit_f64<E: Error>(mut self, _: f64) -> Result<(), E> {
        self.note(None)
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<(), A::Error> {
        self.note(None)?;
        let (before, path_len) = (self.walk.found.references.len(), self.walk.path.len());
        while let Some(targets) = members.next_key_seed(Key(&mut self))? {
            if !targets.is_empty() {
                self.walk.forget(&targets, before);
            }
            let (walk, depth) = (&mut *self.walk, self.depth + 1);
            members.next_value_seed(Member { walk, targets, depth })?;
            self.walk.path.truncate(path_len);
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        self.note(None)?;
        let path_len = self.walk.path.len();
        let mut index = 0;
        loop {
            let targets = self.next(|part| part.matches_index(index));
            if !targets.is_empty() {
                self.enter(format_args!("{index}"));
            }
            let (walk, depth) = (&mut *self.walk, self.depth + 1);
            if items.next_element_seed(Member { walk, targets, depth })?.is_none() {
                return Ok(());
            }
            self.walk.path.truncate(path_len);
            index += 1;
        }
    }
}

/// Reads the key of a JSON object's member, and returns the configured paths that lead to this
/// member.
struct Key<'k, 'w, 'p>(&'k mut Member<'w, 'p>);

impl<'de, 'p> DeserializeSeed<'de> for Key<'_, '_, 'p> {
    type Value = Vec<Target<'p>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'p> Visitor<'_> for Key<'_, '_, 'p> {
    type Value = Vec<Target<'p>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the key of a JSON object")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Self::Value, E> {
        let targets = self.0.next(|part| part.matches_key(key));
        if !targets.is_empty() {
            self.0.enter(format_args!("{}", Escaped(key)));
        }
        Ok(targets)
    }
}

/// A key of the message, in the form in which paths contain it: with a backslash before each dot
/// and each backslash, so that different values have different paths.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            if c == '.' || c == '\\' {
                f.write_char('\\')?;
            }
            f.write_char(c)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn paths(texts: &[&str]) -> Paths {
        Paths::parse(texts.iter().copied()).expect("the paths must be valid")
    }

    fn found(paths: &Paths, message: &str) -> Result<Vec<(String, Option<String>)>, BadText> {
        let found = Search::new(paths, []).text(message.as_bytes())?;
        let places = found.references.into_iter();
        Ok(places.map(|one| (one.path.into(), one.reference.map(Into::into))).collect())
    }

    #[track_caller]
    fn check(texts: &[&str], message: &str, expected: &[(&str, Option<&str>)]) {
        let found = found(&paths(texts), message).expect("the search must accept the message");
        let found: Vec<_> = found.iter().map(|(path, text)| (&**path, text.as_deref())).collect();
        assert_eq!(found, expected, "{message}");
    }

    #[test]
    fn references_are_found_at_their_paths() {
        let message = r#"{
            "company_data": {"company_name": "acme"},
            "channel_config": {
                "whatsapp": {"credentials_id": "whatsapp-credentials/acme/support/twilio"},
                "email": {"sender": "a@b", "credentials_id": 7},
                "sms": {}
            },
            "ai_config": {"ai_api_key_reference": "openai-\u0061pi-key/whatsapp"}
        }"#;
        check(
            &["channel_config.*.credentials_id", "ai_config.ai_api_key_reference"],
            message,
            &[
                (
                    "channel_config.whatsapp.credentials_id",
                    Some("whatsapp-credentials/acme/support/twilio"),
                ),
                ("channel_config.email.credentials_id", None),
                ("ai_config.ai_api_key_reference", Some("openai-api-key/whatsapp")),
            ],
        );
        check(&["nothing.*"], message, &[]);
        check(&["channel_config.sms"], message, &[("channel_config.sms", None)]);
        check(&["*"], r#"{"a": "x", "b": null}"#, &[("a", Some("x")), ("b", None)]);
        check(
            &["l.*.id", "l.1"],
            r#"{"l": [{"id": "x"}, "y", {}]}"#,
            &[("l.0.id", Some("x")), ("l.1", Some("y"))],
        );
        check(&["l.01", "l.+1"], r#"{"l": ["x", "y"]}"#, &[]);
    }

    #[test]
    fn reference_that_two_paths_lead_to_is_found_once() {
        let message = r#"{"a": {"b": "x", "c": "y"}}"#;
        check(&["a.b", "a.*", "*.c"], message, &[("a.b", Some("x")), ("a.c", Some("y"))]);
        check(&["a", "a.b"], message, &[("a", None), ("a.b", Some("x"))]);
    }

    #[test]
    fn keys_with_dots_are_escaped_so_that_paths_differ() {
        let message = r#"{"a.b": {"id": "1"}, "a": {"b": {"id": "2"}}, "a\\": {"b": {"id": "3"}}}"#;
        check(&["*.id"], message, &[(r"a\.b.id", Some("1"))]);
        check(&["*.*.id"], message, &[("a.b.id", Some("2")), (r"a\\.b.id", Some("3"))]);
        let empty = r#"{"": {"id": "1"}, "id": "2"}"#;
        check(&["*.id", "id"], empty, &[(".id", Some("1")), ("id", Some("2"))]);
    }

    #[test]
    fn last_member_with_a_key_counts() {
        check(&["a.id"], r#"{"a": {"id": "x", "id": "y"}}"#, &[("a.id", Some("y"))]);
        check(&["a.id"], r#"{"a": {"id": "x"}, "b": 1, "a": {}}"#, &[]);
        check(
            &["*.id"],
            r#"{"a": {"id": "x"}, "ab": {"id": "z"}, "a": {"id": "y"}}"#,
            &[("ab.id", Some("z")), ("a.id", Some("y"))],
        );
        let tenant = Path::parse("who.name").expect("the path must be valid");
        let none = Paths::default();
        for (message, expected) in [
            (r#"{"who": {"name": "a"}}"#, Some("a")),
            (r#"{"who": {"name": "a"}, "who": {"name": "b"}}"#, Some("b")),
            (r#"{"who": {"name": "a"}, "who": {}}"#, None),
            (r#"{"who": {"name": "a"}, "who": 7}"#, None),
            (r#"{"who": {"name": "a", "name": ["b"]}}"#, None),
            (r#"{"who": "a"}"#, None),
        ] {
            let found = Search::new(&none, [&tenant])
                .text(message.as_bytes())
                .expect("the message must be JSON");
            assert_eq!(found.texts, [expected.map(Into::into)], "{message}");
        }
    }

    #[test]
    fn number_of_references_and_length_of_paths_are_limited() {
        let paths = paths(&["l.*.id"]);
        let many = |count: usize| json!({"l": vec![json!({"id": "x"}); count]}).to_string();
        assert_eq!(found(&paths, &many(FOUND_MAX)).map(|found| found.len()), Ok(FOUND_MAX));
        let too_many = Err(BadText::LimitExceeded(LimitExceeded::TooManyReferences));
        assert_eq!(found(&paths, &many(FOUND_MAX + 1)), too_many);
        let long = |bytes: usize| json!({"l": {"k".repeat(bytes): {"id": "x"}}}).to_string();
        assert!(found(&paths, &long(FOUND_PATH_BYTES_MAX - 5)).is_ok());
        let too_long = Err(BadText::LimitExceeded(LimitExceeded::PathTooLong));
        assert_eq!(found(&paths, &long(FOUND_PATH_BYTES_MAX - 4)), too_long);
        let elsewhere = json!({"l": {"k".repeat(5000): {"other": "x"}, "a": {"id": "x"}}});
        assert!(
            found(&paths, &elsewhere.to_string()).is_ok(),
            "the length limit must apply only to paths that lead to the name of a secret"
        );
    }

    #[test]
    fn mistake_in_the_json_is_reported_with_its_position() {
        let paths = paths(&["a"]);
        for (text, expected) in [
            ("", BadText::NotJson { line: 1, column: 0 }),
            ("hello", BadText::NotJson { line: 1, column: 1 }),
            ("{} {}", BadText::NotJson { line: 1, column: 4 }),
            ("{\n\"a\": nope}", BadText::NotJson { line: 2, column: 7 }),
            ("[]", BadText::NotAnObject),
            ("null", BadText::NotAnObject),
            ("\"{}\"", BadText::NotAnObject),
        ] {
            assert_eq!(found(&paths, text), Err(expected), "{text}");
        }
    }

    /// Finds the same names of secrets as [`Search`], but in a simpler way: parses the message into
    /// a tree of values. The test compares the results of both.
    fn naive(paths: &Paths, message: &Value) -> Vec<(String, Option<String>)> {
        fn walk(
            value: &Value,
            parts: &[String],
            place: Option<&str>,
            found: &mut Vec<(String, Option<String>)>,
        ) {
            let Some((part, rest)) = parts.split_first() else {
                found.push((
                    place.unwrap_or_default().to_owned(),
                    value.as_str().map(str::to_owned),
                ));
                return;
            };
            let members: Vec<(String, &Value)> = match value {
                Value::Object(members) => {
                    members.iter().map(|(key, value)| (key.clone(), value)).collect()
                }
                Value::Array(items) => {
                    items.iter().enumerate().map(|(at, value)| (at.to_string(), value)).collect()
                }
                _ => Vec::new(),
            };
            for (key, value) in members {
                if part == "*" || *part == key {
                    let key = key.replace('\\', r"\\").replace('.', r"\.");
                    let place = place.map_or_else(|| key.clone(), |place| format!("{place}.{key}"));
                    walk(value, rest, Some(&place), found);
                }
            }
        }
        let mut found = Vec::new();
        for path in paths.iter() {
            let parts: Vec<String> = path.to_string().split('.').map(str::to_owned).collect();
            walk(message, &parts, None, &mut found);
        }
        found.sort();
        found.dedup();
        found
    }

    /// A JSON value in which an object can contain the same key twice.
    #[derive(Clone, Debug)]
    enum Tree {
        Leaf(String),
        List(Vec<Tree>),
        Object(Vec<(String, Tree)>),
    }

    impl fmt::Display for Tree {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            match self {
                Self::Leaf(json) => f.write_str(json),
                Self::List(items) => {
                    let items: Vec<String> = items.iter().map(ToString::to_string).collect();
                    write!(f, "[{}]", items.join(", "))
                }
                Self::Object(members) => {
                    let members =
                        members.iter().map(|(key, value)| format!("{}: {value}", json!(key)));
                    write!(f, "{{{}}}", members.collect::<Vec<_>>().join(", "))
                }
            }
        }
    }

    fn key() -> impl Strategy<Value = String> {
        prop_oneof!["[ab]", "[a-b.\\\\]{0,3}", "[0-2]", "\\PC{0,4}"]
    }

    fn object(member: impl Strategy<Value = Tree>) -> impl Strategy<Value = Tree> {
        prop::collection::vec((key(), member), 0..5).prop_map(Tree::Object)
    }

    fn tree() -> impl Strategy<Value = Tree> {
        let leaf = prop_oneof![
            "\\PC{0,6}".prop_map(|text| Tree::Leaf(json!(text).to_string())),
            prop::sample::select(vec!["null", "true", "-7", "1.5"])
                .prop_map(|json| Tree::Leaf(json.into())),
        ];
        let inner = leaf.prop_recursive(4, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Tree::List),
                object(inner)
            ]
        });
        object(inner)
    }

    fn some_paths() -> impl Strategy<Value = Paths> {
        let part = prop_oneof!["[ab]", "[0-2]", Just("*".to_owned())];
        let path = prop::collection::vec(part, 1..4).prop_map(|parts| parts.join("."));
        prop::collection::vec(path, 1..4).prop_map(|texts| {
            Paths::parse(texts.iter().map(String::as_str)).expect("the paths must be valid")
        })
    }

    proptest! {
        #[test]
        fn for_any_message_the_search_finds_what_a_parsed_tree_has(tree in tree(), paths in some_paths()) {
            let text = tree.to_string();
            let value: Value = serde_json::from_str(&text).expect("the text must be JSON");
            let mut found = found(&paths, &text).expect("the search must accept the message");
            found.sort();
            prop_assert_eq!(&found, &naive(&paths, &value));
            let Ok(of_value) = Search::new(&paths, []).run(&value) else { panic!("the JSON value must be an object") };
            prop_assert_eq!(of_value.references.len(), found.len());
        }

        #[test]
        fn for_any_text_the_search_does_not_panic(text in "\\PC*", paths in some_paths()) {
            let _ = found(&paths, &text);
            let _ = found(&paths, &format!("{{\"a\": {text}}}"));
        }
    }
}

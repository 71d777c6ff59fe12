//! Finds references in JSON, in one pass that keeps their paths and texts and nothing else.
//!
//! A message comes from outside and can be hostile: as a tree of values, 1 MiB of small objects takes
//! over 100 MiB of memory.

use super::path::{Part, Path};
use super::paths::Paths;
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::error::Category;
use std::fmt::{self, Write};

/// The most references in one message. Messages of channel processors have fewer than ten.
pub const FOUND_MAX: usize = 100;

/// The longest path of a reference that is found: keys come from the message, and are answered.
pub const FOUND_PATH_BYTES_MAX: usize = 1024;

/// What to look for in a message: references at paths, and texts at single places.
#[derive(Clone, Debug)]
pub struct Search<'p> {
    targets: Vec<Target<'p>>,
    references_max: usize,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// What stands at the paths of references, each place once: in the order of the paths, and for one
    /// path in the order of the message.
    pub references: Vec<FoundReference>,
    /// The text at each single place, or `None` if the message has no string there.
    pub texts: Vec<Option<Box<str>>>,
}

/// A place at which a message has a reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundReference {
    /// Where it stands, each `*` replaced by its key. A dot inside a key has a `\` before it.
    pub path: Box<str>,
    /// The reference as it is written, or `None` if the message has no string there.
    pub reference: Option<Box<str>>,
    /// The number of the first path that leads to it.
    order: usize,
}

/// Why a message is not searched to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimitExceeded {
    /// There are too many references.
    #[error("there are more than {max} references in one message")]
    TooManyReferences {
        /// The most there may be.
        max: usize,
    },
    /// A reference stands at a place whose path is too long.
    #[error("a reference stands at a path of more than {FOUND_PATH_BYTES_MAX} bytes")]
    PathTooLong,
}

/// Why the text of a message could not be searched. It shows none of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadText {
    /// It is not JSON.
    NotJson {
        /// The line, counted from 1.
        line: usize,
        /// The column, counted from 1.
        column: usize,
    },
    /// It is JSON, and not an object.
    NotAnObject,
    /// It has more than a message may have.
    LimitExceeded(LimitExceeded),
}

/// Why a search failed: the message is over a bound, or cannot be read.
#[derive(Debug)]
pub enum SearchError<E> {
    /// The message has more than a message may have.
    LimitExceeded(LimitExceeded),
    /// The message cannot be read, or is not an object.
    Unreadable(E),
}

#[derive(Clone, Copy, Debug)]
struct Target<'p> {
    path: &'p Path,
    order: usize,
    /// Which of the texts it is; `None` for a path of references.
    text: Option<usize>,
}

impl<'p> Search<'p> {
    /// Looks for at most [`FOUND_MAX`] references at `references`, and for a text at each of `texts`.
    pub fn new(references: &'p Paths, texts: impl IntoIterator<Item = &'p Path>) -> Self {
        let references = references.iter().zip(0..);
        let references = references.map(|(path, order)| Target { path, order, text: None });
        let texts = texts.into_iter().zip(0..);
        let texts = texts.map(|(path, order)| Target { path, order, text: Some(order) });
        Self { targets: references.chain(texts).collect(), references_max: FOUND_MAX }
    }

    /// Looks for up to `max` references.
    #[must_use]
    pub fn at_most(self, max: usize) -> Self {
        Self { references_max: max, ..self }
    }

    /// Searches the text of a message.
    ///
    /// # Errors
    ///
    /// If the text is not a JSON object, or has more than a message may have.
    pub fn text(&self, text: &[u8]) -> Result<Found, BadText> {
        let mut message = serde_json::Deserializer::from_slice(text);
        let searched = self.run(&mut message);
        let found = match searched {
            Err(SearchError::LimitExceeded(overgrown)) => {
                return Err(BadText::LimitExceeded(overgrown));
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

    /// Searches a message. If an object has a key twice, its last member counts, as in most parsers:
    /// a function must not see another reference than Sidekey.
    ///
    /// # Errors
    ///
    /// If the message is not an object, cannot be read, or has more than a message may have.
    pub fn run<'de, D: Deserializer<'de>>(
        &self,
        message: D,
    ) -> Result<Found, SearchError<D::Error>> {
        let texts = self.targets.iter().filter(|target| target.text.is_some()).count();
        let found = Found { references: Vec::new(), texts: vec![None; texts] };
        let references_max = self.references_max;
        let mut walk = Walk { found, references_max, place: String::new(), overgrown: None };
        let root = Member { walk: &mut walk, targets: self.targets.clone(), depth: 0 };
        match message.deserialize_map(root) {
            Ok(()) => {
                walk.found.references.sort_by_key(|place| place.order);
                Ok(walk.found)
            }
            Err(error) => Err(match walk.overgrown {
                Some(overgrown) => SearchError::LimitExceeded(overgrown),
                None => SearchError::Unreadable(error),
            }),
        }
    }
}

/// What a search has found up to the place at which it is.
struct Walk {
    found: Found,
    references_max: usize,
    place: String,
    overgrown: Option<LimitExceeded>,
}

impl Walk {
    /// Notes what stands at the present place, for the targets that end here.
    fn note<E: Error>(
        &mut self,
        targets: &[Target<'_>],
        depth: usize,
        text: Option<&str>,
    ) -> Result<(), E> {
        let mut order = None;
        for target in targets.iter().filter(|target| target.path.part(depth).is_none()) {
            match target.text {
                Some(at) => self.found.texts[at] = text.map(Into::into),
                None => order = order.or(Some(target.order)),
            }
        }
        let Some(order) = order else { return Ok(()) };
        if self.place.len() > FOUND_PATH_BYTES_MAX {
            return Err(self.stop(LimitExceeded::PathTooLong));
        }
        if self.found.references.len() == self.references_max {
            return Err(self.stop(LimitExceeded::TooManyReferences { max: self.references_max }));
        }
        let (path, reference) = (self.place.as_str().into(), text.map(Into::into));
        self.found.references.push(FoundReference { path, reference, order });
        Ok(())
    }

    fn stop<E: Error>(&mut self, overgrown: LimitExceeded) -> E {
        self.overgrown = Some(overgrown);
        E::custom("more than a message may have")
    }

    /// Forgets what was found at or below the present place since `before` references were found:
    /// the key has come a second time.
    fn forget(&mut self, targets: &[Target<'_>], before: usize) {
        for at in targets.iter().filter_map(|target| target.text) {
            self.found.texts[at] = None;
        }
        let place = &self.place;
        let is_below = |own: &FoundReference| {
            let rest = own.path.strip_prefix(&**place);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let mut at = 0;
        self.found.references.retain(|own| {
            at += 1;
            at <= before || !is_below(own)
        });
    }
}

/// One value of a message, and the targets that lead to it or below it.
struct Member<'w, 'p> {
    walk: &'w mut Walk,
    targets: Vec<Target<'p>>,
    depth: usize,
}

impl<'p> Member<'_, 'p> {
    /// Returns the targets that go on by this key.
    fn next(&self, is_taken: impl Fn(&Part) -> bool) -> Vec<Target<'p>> {
        let goes_on = |target: &&Target<'_>| target.path.part(self.depth).is_some_and(&is_taken);
        self.targets.iter().filter(goes_on).copied().collect()
    }

    /// Goes to the member with this key.
    fn step(&mut self, key: fmt::Arguments<'_>) {
        if self.depth > 0 {
            self.walk.place.push('.');
        }
        self.walk.place.write_fmt(key).expect("a string takes every character");
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
        f.write_str("an object")
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
        let (before, place) = (self.walk.found.references.len(), self.walk.place.len());
        while let Some(targets) = members.next_key_seed(Key(&mut self))? {
            if !targets.is_empty() {
                self.walk.forget(&targets, before);
            }
            let (walk, depth) = (&mut *self.walk, self.depth + 1);
            members.next_value_seed(Member { walk, targets, depth })?;
            self.walk.place.truncate(place);
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        self.note(None)?;
        let place = self.walk.place.len();
        let mut index = 0;
        loop {
            let targets = self.next(|part| part.takes_index(index));
            if !targets.is_empty() {
                self.step(format_args!("{index}"));
            }
            let (walk, depth) = (&mut *self.walk, self.depth + 1);
            if items.next_element_seed(Member { walk, targets, depth })?.is_none() {
                return Ok(());
            }
            self.walk.place.truncate(place);
            index += 1;
        }
    }
}

/// The key of a member. It is read where it stands: a key that no target goes on by is not copied.
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
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Self::Value, E> {
        let targets = self.0.next(|part| part.takes_key(key));
        if !targets.is_empty() {
            self.0.step(format_args!("{}", Escaped(key)));
        }
        Ok(targets)
    }
}

/// A key inside a place: a dot has a `\` before it, so that no two places have one path.
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
        Paths::parse(texts.iter().copied()).expect("good paths")
    }

    fn found(paths: &Paths, message: &str) -> Result<Vec<(String, Option<String>)>, BadText> {
        let found = Search::new(paths, []).text(message.as_bytes())?;
        let places = found.references.into_iter();
        Ok(places.map(|one| (one.path.into(), one.reference.map(Into::into))).collect())
    }

    #[track_caller]
    fn check(texts: &[&str], message: &str, expected: &[(&str, Option<&str>)]) {
        let found = found(&paths(texts), message).expect("a small message");
        let found: Vec<_> = found.iter().map(|(path, text)| (&**path, text.as_deref())).collect();
        assert_eq!(found, expected, "{message}");
    }

    #[test]
    fn references_are_found_where_they_stand() {
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
    fn a_place_that_two_paths_lead_to_is_found_once() {
        let message = r#"{"a": {"b": "x", "c": "y"}}"#;
        check(&["a.b", "a.*", "*.c"], message, &[("a.b", Some("x")), ("a.c", Some("y"))]);
        check(&["a", "a.b"], message, &[("a", None), ("a.b", Some("x"))]);
    }

    #[test]
    fn no_two_places_have_one_path() {
        let message = r#"{"a.b": {"id": "1"}, "a": {"b": {"id": "2"}}, "a\\": {"b": {"id": "3"}}}"#;
        check(&["*.id"], message, &[(r"a\.b.id", Some("1"))]);
        check(&["*.*.id"], message, &[("a.b.id", Some("2")), (r"a\\.b.id", Some("3"))]);
        let empty = r#"{"": {"id": "1"}, "id": "2"}"#;
        check(&["*.id", "id"], empty, &[(".id", Some("1")), ("id", Some("2"))]);
    }

    #[test]
    fn the_last_member_with_a_key_counts() {
        check(&["a.id"], r#"{"a": {"id": "x", "id": "y"}}"#, &[("a.id", Some("y"))]);
        check(&["a.id"], r#"{"a": {"id": "x"}, "b": 1, "a": {}}"#, &[]);
        check(
            &["*.id"],
            r#"{"a": {"id": "x"}, "ab": {"id": "z"}, "a": {"id": "y"}}"#,
            &[("ab.id", Some("z")), ("a.id", Some("y"))],
        );
        let tie = Path::parse("who.name").expect("a good path");
        let none = Paths::default();
        for (message, expected) in [
            (r#"{"who": {"name": "a"}}"#, Some("a")),
            (r#"{"who": {"name": "a"}, "who": {"name": "b"}}"#, Some("b")),
            (r#"{"who": {"name": "a"}, "who": {}}"#, None),
            (r#"{"who": {"name": "a"}, "who": 7}"#, None),
            (r#"{"who": {"name": "a", "name": ["b"]}}"#, None),
            (r#"{"who": "a"}"#, None),
        ] {
            let found = Search::new(&none, [&tie]).text(message.as_bytes()).expect("good");
            assert_eq!(found.texts, [expected.map(Into::into)], "{message}");
        }
    }

    #[test]
    fn what_is_found_is_bounded() {
        let paths = paths(&["l.*.id"]);
        let many = |count: usize| json!({"l": vec![json!({"id": "x"}); count]}).to_string();
        assert_eq!(found(&paths, &many(FOUND_MAX)).map(|found| found.len()), Ok(FOUND_MAX));
        let too_many =
            Err(BadText::LimitExceeded(LimitExceeded::TooManyReferences { max: FOUND_MAX }));
        assert_eq!(found(&paths, &many(FOUND_MAX + 1)), too_many);
        let long = |bytes: usize| json!({"l": {"k".repeat(bytes): {"id": "x"}}}).to_string();
        assert!(found(&paths, &long(FOUND_PATH_BYTES_MAX - 5)).is_ok());
        let too_long = Err(BadText::LimitExceeded(LimitExceeded::PathTooLong));
        assert_eq!(found(&paths, &long(FOUND_PATH_BYTES_MAX - 4)), too_long);
        let elsewhere = json!({"l": {"k".repeat(5000): {"other": "x"}, "a": {"id": "x"}}});
        assert!(found(&paths, &elsewhere.to_string()).is_ok(), "only references count");
    }

    #[test]
    fn text_that_is_no_object_says_where() {
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

    /// A search of a tree of values, which is simple and takes memory: what
    /// [`Search`] must find, in any order.
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

    /// JSON in which an object can have a key twice.
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
        prop::collection::vec(path, 1..4)
            .prop_map(|texts| Paths::parse(texts.iter().map(String::as_str)).expect("good paths"))
    }

    proptest! {
        #[test]
        fn a_search_finds_what_a_tree_of_values_has(tree in tree(), paths in some_paths()) {
            let text = tree.to_string();
            let value: Value = serde_json::from_str(&text).expect("JSON");
            let mut found = found(&paths, &text).expect("a small message");
            found.sort();
            prop_assert_eq!(&found, &naive(&paths, &value));
            let Ok(of_value) = Search::new(&paths, []).run(&value) else { panic!("the same") };
            prop_assert_eq!(of_value.references.len(), found.len());
        }

        #[test]
        fn any_text_is_searched_or_refused(text in "\\PC*", paths in some_paths()) {
            let _ = found(&paths, &text);
            let _ = found(&paths, &format!("{{\"a\": {text}}}"));
        }
    }
}

//! Searches one JSON value, and all values inside this value, for names and ARNs of secrets. The
//! value is read as a stream. This module has no side effects.

use super::location::Location;
use super::target::{self, Target};
use crate::commands::check::candidates::{
    Candidates, TooMany, has_convention, names_parameter, of_value_from,
};
use crate::commands::check::dynamo::Type;
use crate::commands::check::lenient::Lenient;
use crate::convention::Conventions;
use crate::message::paths::Paths;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::fmt;
use std::io::Read;

/// The maximum depth of JSON inside JSON strings. For example, the body of an SQS message may be a
/// string with JSON of SNS, and this JSON contains the actual message in another string.
const NESTED_MAX: usize = 3;

/// The key whose value names a secret or parameter in an ECS task definition.
const VALUE_FROM: &str = "valueFrom";

/// The strings for which a JSON file is searched: strings at the paths in `paths`, and strings that
/// match a pattern for secret names in `conventions`. Names of parameters are always searched for.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Wanted<'a> {
    pub(in super::super) paths: &'a Paths,
    pub(in super::super) conventions: &'a Conventions,
}

pub(super) struct Walk<'a> {
    wanted: Wanted<'a>,
    candidates: &'a mut Candidates,
    /// The path from the start of the file to the JSON value that the search reads now.
    location: Location,
    /// How deeply the current JSON value is nested in strings that contain JSON: 0 for a value of
    /// the file itself, and 1 for a value of the JSON inside a string of the file.
    nested: usize,
    too_many: Option<TooMany>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(wanted: Wanted<'a>, candidates: &'a mut Candidates) -> Self {
        Self { wanted, candidates, location: Location::default(), nested: 0, too_many: None }
    }

    /// Returns an error if the search stopped because the files name too many secrets. Otherwise,
    /// returns `None`.
    pub(super) fn too_many(&self) -> Option<TooMany> {
        self.too_many
    }

    pub(super) fn values(&mut self, file: &mut dyn Read) -> Result<usize, serde_json::Error> {
        let mut values = serde_json::Deserializer::from_reader(file);
        let mut count = 0;
        loop {
            match values.end() {
                Ok(()) => return Ok(count),
                Err(error) if error.is_io() => return Err(error),
                // There is another value.
                Err(_) => {}
            }
            self.candidates.begin_value();
            count += 1;
            Node::new(self, Vec::new()).deserialize(&mut values)?;
        }
    }

    /// Searches the JSON inside a string, such as the body of an SQS message. Ignores a string that
    /// is not JSON. Returns an error if the files name too many secrets.
    fn nested(&mut self, text: &str) -> Option<TooMany> {
        if self.nested == NESTED_MAX || !text.trim_start().starts_with(['{', '[']) {
            return None;
        }
        let place = self.location.mark();
        self.nested += 1;
        let mut text = Lenient::new(text.as_bytes());
        let text: &mut dyn Read = &mut text;
        let mut value = serde_json::Deserializer::from_reader(text);
        // Text that is not JSON is not searched further.
        let _ = Node::new(self, Vec::new()).deserialize(&mut value);
        self.nested -= 1;
        self.location.back_to(place);
        self.too_many
    }

    fn add<E: Error>(&mut self, text: &str) -> Result<(), E> {
        self.candidates
            .add_from_file(text, self.location.as_str())
            .map_err(|too_many| self.stop(too_many))
    }

    fn stop<E: Error>(&mut self, too_many: TooMany) -> E {
        self.too_many = Some(too_many);
        E::custom(too_many)
    }
}

/// A JSON value of the file, and the configured paths that lead to this value.
struct Node<'w, 'a> {
    walk: &'w mut Walk<'a>,
    targets: Vec<Target<'a>>,
    /// Whether the JSON value belongs to the key `valueFrom`, as in an ECS task definition.
    is_value_from: bool,
}

impl<'w, 'a> Node<'w, 'a> {
    fn new(walk: &'w mut Walk<'a>, targets: Vec<Target<'a>>) -> Self {
        Self { walk, targets, is_value_from: false }
    }

    /// Records a string as the name or ARN of a secret, if a configured path leads to the string,
    /// if the string matches a pattern for secret names, or if the string names a parameter.
    /// Otherwise, searches for JSON inside the string.
    fn text<E: Error>(&mut self, text: &str) -> Result<(), E> {
        let is_wanted = self.targets.iter().any(Target::is_reached)
            || has_convention(text, self.walk.wanted.conventions)
            || names_parameter(text);
        if is_wanted {
            return self.walk.add(text);
        }
        if let Some(reference) = Some(text).filter(|_| self.is_value_from).and_then(of_value_from) {
            return self.walk.add(&reference);
        }
        match self.walk.nested(text) {
            Some(too_many) => Err(self.walk.stop(too_many)),
            None => Ok(()),
        }
    }

    /// Records an empty name, which `sidekey check` reports as a mistake, if a path of
    /// `SIDEKEY_RESOLVE_PATHS` leads to a JSON value that is not a string.
    fn not_text<E: Error>(&mut self) -> Result<(), E> {
        match self.targets.iter().any(Target::is_reached) {
            true => self.walk.add(""),
            false => Ok(()),
        }
    }

    /// Begins to follow all paths of `SIDEKEY_RESOLVE_PATHS` at this JSON object, because a path
    /// may begin at any object of the file, not only at the outermost object.
    fn begin_paths(&mut self) {
        let paths = self.walk.wanted.paths.iter();
        self.targets.extend(paths.map(Target::new));
    }

    fn member<T, E>(
        &mut self,
        key: impl AsRef<str>,
        search: impl FnOnce(Node<'_, 'a>) -> Result<T, E>,
    ) -> Result<T, E> {
        let targets = target::below_key(&self.targets, key.as_ref());
        let is_value_from = key.as_ref() == VALUE_FROM;
        let place = self.walk.location.mark();
        self.walk.location.enter_member(key.as_ref());
        // A key may be very long, and the value may contain many objects with such keys.
        drop(key);
        let result = search(Node { is_value_from, ..Node::new(self.walk, targets) });
        self.walk.location.back_to(place);
        result
    }

    /// Searches the first key of a plain JSON object, and its value. A typed value of DynamoDB,
    /// such as `{"S": "x"}`, is not a plain object.
    fn first_member<E: Error>(
        &mut self,
        key: impl AsRef<str>,
        search: impl FnOnce(Node<'_, 'a>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.not_text()?;
        self.begin_paths();
        self.member(key, search)
    }

    fn other_members<'de, A: MapAccess<'de>>(&mut self, mut members: A) -> Result<(), A::Error> {
        while let Some(key) = members.next_key::<String>()? {
            self.member(key, |node| members.next_value_seed(node))?;
        }
        Ok(())
    }

    fn items<'de, A: SeqAccess<'de>>(&mut self, mut items: A) -> Result<(), A::Error> {
        for index in 0.. {
            let targets = target::below_index(&self.targets, index);
            let place = self.walk.location.mark();
            self.walk.location.enter_item(index);
            let item = items.next_element_seed(Node::new(self.walk, targets))?;
            self.walk.location.back_to(place);
            if item.is_none() {
                break;
            }
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(mut self) -> Result<(), E> {
        self.not_text()
    }

    fn visit_bool<E: Error>(mut self, _: bool) -> Result<(), E> {
        self.not_text()
    }

    fn visit_i64<E: Error>(mut self, _: i64) -> Result<(), E> {
        self.not_text()
    }

    fn visit_u64<E: Error>(mut self, _: u64) -> Result<(), E> {
        self.not_text()
    }

    fn visit_f64<E: Error>(mut self, _: f64) -> Result<(), E> {
        self.not_text()
    }

    fn visit_str<E: Error>(mut self, text: &str) -> Result<(), E> {
        self.text(text)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, items: A) -> Result<(), A::Error> {
        self.not_text()?;
        self.items(items)
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<(), A::Error> {
        let Some(key) = members.next_key::<String>()? else { return self.not_text() };
        let Some(kind) = Type::of_key(&key) else {
            self.first_member(key, |node| members.next_value_seed(node))?;
            return self.other_members(members);
        };
        let typed = Typed { node: &mut self, key: &key, kind };
        match members.next_value_seed(typed)? {
            Held::Nothing => {}
            held => {
                let Some(next) = members.next_key::<String>()? else {
                    return held.search(&mut self);
                };
                // With a second member, the object is not a typed value of DynamoDB.
                self.first_member(&key, |mut node| held.search(&mut node))?;
                self.member(next, |node| members.next_value_seed(node))?;
            }
        }
        self.other_members(members)
    }
}

/// The first key of a JSON object that may be a typed value of DynamoDB, such as `{"S": "x"}`. The
/// search must read the next key to be sure, because a typed value has exactly one key.
struct Typed<'n, 'w, 'a> {
    node: &'n mut Node<'w, 'a>,
    key: &'n str,
    kind: Type,
}

enum Held {
    /// No value needs to be searched later, because the search of the value is complete.
    Nothing,
    Text(String),
    Flag,
}

impl Held {
    fn search<E: Error>(&self, node: &mut Node<'_, '_>) -> Result<(), E> {
        match self {
            Self::Nothing => Ok(()),
            Self::Text(text) => node.text(text),
            Self::Flag => node.not_text(),
        }
    }
}

impl<'w, 'a> Typed<'_, 'w, 'a> {
    /// Searches the value of an object such as `{"S": 1}`, whose key looks like a type of DynamoDB.
    /// The value does not fit the type, so the object is a plain JSON object.
    fn plain<E: Error>(
        self,
        search: impl FnOnce(Node<'_, 'a>) -> Result<(), E>,
    ) -> Result<Held, E> {
        self.node.first_member(self.key, search)?;
        Ok(Held::Nothing)
    }

    /// Searches a list or map of DynamoDB, such as `{"M": {"a": {"S": "x"}}}`. A configured path
    /// may contain the type: both `a` and `M.a` lead to the member `a`.
    fn container<E: Error>(
        self,
        search: impl FnOnce(&mut Node<'_, 'a>) -> Result<(), E>,
    ) -> Result<Held, E> {
        self.node.not_text()?;
        let mut targets = self.node.targets.clone();
        self.node.begin_paths();
        targets.extend(target::below_literal_key(&self.node.targets, self.key));
        search(&mut Node::new(self.node.walk, targets))?;
        Ok(Held::Nothing)
    }
}

impl<'de> DeserializeSeed<'de> for Typed<'_, '_, '_> {
    type Value = Held;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Held, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Typed<'_, '_, '_> {
    type Value = Held;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Held, E> {
        self.plain(|mut node| node.not_text())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Held, E> {
        match self.kind {
            Type::Flag => Ok(Held::Flag),
            _ => self.plain(|mut node| node.not_text()),
        }
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Held, E> {
        self.plain(|mut node| node.not_text())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Held, E> {
        self.plain(|mut node| node.not_text())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Held, E> {
        self.plain(|mut node| node.not_text())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Held, E> {
        match self.kind {
            Type::Text => Ok(Held::Text(text.to_owned())),
            _ => self.plain(|mut node| node.text(text)),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Held, A::Error> {
        match self.kind {
            Type::List => self.container(|node| node.items(items)),
            _ => self.plain(|node| node.visit_seq(items)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Held, A::Error> {
        match self.kind {
            Type::Map => self.container(|node| {
                node.begin_paths();
                node.other_members(members)
            }),
            _ => self.plain(|node| node.visit_map(members)),
        }
    }
}

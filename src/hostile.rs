//! Generates random and invalid input for property tests. This module is compiled only for tests.

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Map, Value};

/// The value of a secret in tests. Tests fail if this value appears in an error message or a log
/// line.
pub(crate) const VALUE: &str = "hunter2";

/// Generates strings from the given `pieces`, such as keywords and separators, mixed with some
/// random characters.
pub(crate) fn text_of(pieces: &'static [&'static str]) -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        8 => select(pieces).prop_map(str::to_owned),
        1 => "[ -~]".prop_map(String::from),
        1 => any::<char>().prop_map(String::from),
    ];
    vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

pub(crate) fn text() -> impl Strategy<Value = String> {
    vec(any::<char>(), 0..100).prop_map(String::from_iter)
}

/// Generates almost valid strings: the valid string `good`, with up to three random edits.
pub(crate) fn mangled(good: &str) -> impl Strategy<Value = String> + use<> {
    let good: Vec<char> = good.chars().collect();
    let other = prop_oneof![
        select(&['"', '{', '}', '[', ']', ',', ':', '\\', '0', ' '][..]),
        any::<char>()
    ];
    let edit = (any::<Index>(), proptest::option::of(other), any::<bool>());
    vec(edit, 0..4).prop_map(move |edits| {
        let mut text = good.clone();
        for (at, other, is_removed) in edits {
            let at = at.index(text.len() + 1);
            if is_removed && at < text.len() {
                text.remove(at);
            }
            if let Some(other) = other {
                text.insert(at, other);
            }
        }
        text.into_iter().collect()
    })
}

pub(crate) fn json() -> impl Strategy<Value = Value> {
    let number = prop_oneof![
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        number,
        key().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::from),
            btree_map(key(), inner, 0..6)
                .prop_map(|members| Value::Object(Map::from_iter(members))),
        ]
    })
}

/// Generates keys for JSON objects. Many keys are very short, so that keys often repeat, or equal
/// the name of a DynamoDB type, such as `S`.
fn key() -> impl Strategy<Value = String> {
    prop_oneof!["[abSNML]{1,2}", "[\u{0}-\u{7f}]{0,3}", "\\PC{0,3}"]
}

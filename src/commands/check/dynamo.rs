//! Converts DynamoDB's typed JSON, such as `{"S": "x"}`, to plain JSON. DynamoDB uses typed JSON in
//! its API and in its exports. This module has no side effects.

use serde_json::{Map, Value};

/// Replaces every typed value of DynamoDB by its plain value: `{"S": "x"}` becomes `"x"`, and
/// `{"M": {…}}` becomes an object. Plain JSON values stay unchanged.
pub(super) fn plain(value: Value) -> Value {
    match value {
        Value::Object(object) => match unwrapped(object) {
            Ok(value) => value,
            Err(object) => members(object),
        },
        Value::Array(all) => Value::Array(all.into_iter().map(plain).collect()),
        other => other,
    }
}

pub(super) fn is_type(key: &str) -> bool {
    ["S", "N", "B", "BOOL", "NULL", "M", "L", "SS", "NS", "BS"].contains(&key)
}

/// Converts a JSON object that is a typed value of DynamoDB to plain JSON. If the object is not a
/// typed value, returns it unchanged as `Err`.
///
/// Source: "Data type descriptors" in AWS's DynamoDB developer guide.
fn unwrapped(object: Map<String, Value>) -> Result<Value, Map<String, Value>> {
    if !is_typed(&object) {
        return Err(object);
    }
    Ok(match object.into_iter().next() {
        Some((kind, _)) if kind == "NULL" => Value::Null,
        // The keys of a DynamoDB map are attribute names. An attribute may have the name "S", which
        // does not make it a typed value. So only the values of the map are converted.
        Some((_, Value::Object(map))) => members(map),
        Some((kind, Value::Array(all))) if kind == "L" => {
            Value::Array(all.into_iter().map(plain).collect())
        }
        Some((_, value)) => value,
        None => Value::Null,
    })
}

/// Returns whether a JSON object is a typed value of DynamoDB: its only key is a DynamoDB type, and
/// its value fits that type.
fn is_typed(object: &Map<String, Value>) -> bool {
    object.len() == 1
        && object.iter().all(|(kind, value)| match (&**kind, value) {
            ("S" | "N" | "B", Value::String(_))
            | ("BOOL" | "NULL", Value::Bool(_))
            | ("M", Value::Object(_))
            | ("L", Value::Array(_)) => true,
            ("SS" | "NS" | "BS", Value::Array(all)) => all.iter().all(Value::is_string),
            _ => false,
        })
}

fn members(object: Map<String, Value>) -> Value {
    Value::Object(object.into_iter().map(|(key, value)| (key, plain(value))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostile;
    use proptest::prelude::*;
    use serde_json::json;

    #[track_caller]
    fn check(typed: Value, expected: Value) {
        assert_eq!(plain(typed), expected);
    }

    #[test]
    fn typed_values_are_unwrapped() {
        check(json!({"S": "x"}), json!("x"));
        check(json!({"N": "1.5"}), json!("1.5"));
        check(json!({"BOOL": false}), json!(false));
        check(json!({"NULL": true}), json!(null));
        check(json!({"SS": ["a", "b"]}), json!(["a", "b"]));
        check(json!({"L": [{"S": "a"}, {"M": {}}]}), json!(["a", {}]));
        check(
            json!({"Items": [{"id": {"S": "1"}, "c": {"M": {"S": {"M": {"d": {"S": "e"}}}}}}]}),
            json!({"Items": [{"id": "1", "c": {"S": {"d": "e"}}}]}),
        );
        check(json!({"M": {"S": {"S": "x"}}}), json!({"S": "x"}));
    }

    #[test]
    fn plain_values_stay() {
        for value in [
            json!({"S": 1}),
            json!({"S": "a", "N": "1"}),
            json!({"M": "a"}),
            json!({"L": {}}),
            json!({"SS": [1]}),
            json!({"name": "x", "of": [1, null, true]}),
            json!("x"),
        ] {
            check(value.clone(), value);
        }
    }

    /// Returns a value in DynamoDB's typed JSON, and the plain JSON that the conversion must
    /// produce.
    fn typed_by_hand(value: Value) -> (Value, Value) {
        match value {
            Value::Null => (json!({"NULL": true}), Value::Null),
            Value::Bool(flag) => (json!({"BOOL": flag}), flag.into()),
            Value::Number(number) => {
                let text = number.to_string();
                (json!({"N": text}), text.into())
            }
            Value::String(text) => (json!({"S": text}), text.into()),
            Value::Array(all) => {
                let (typed, plain): (Vec<_>, Vec<_>) = all.into_iter().map(typed_by_hand).unzip();
                (json!({"L": typed}), plain.into())
            }
            Value::Object(object) => {
                let (mut typed, mut plain) = (Map::new(), Map::new());
                for (key, value) in object {
                    let (own_typed, own_plain) = typed_by_hand(value);
                    typed.insert(key.clone(), own_typed);
                    plain.insert(key, own_plain);
                }
                (json!({"M": typed}), plain.into())
            }
        }
    }

    proptest! {
        #[test]
        fn for_any_value_unwrapping_undoes_typing(value in hostile::json()) {
            let (typed, expected) = typed_by_hand(value);
            prop_assert_eq!(plain(typed), expected);
        }

        #[test]
        fn for_any_json_the_result_is_not_longer(value in hostile::json()) {
            let before = value.to_string().len();
            prop_assert!(plain(value).to_string().len() <= before);
        }
    }
}

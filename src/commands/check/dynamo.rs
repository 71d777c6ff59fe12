//! DynamoDB's JSON, as its API and its exports have it, made plain. Pure.

use serde_json::{Map, Value};

/// Returns the value with every typed one unwrapped: `{"S": "x"}` is `"x"`, `{"M": {…}}` an object.
/// What is plain already stays as it is.
pub(super) fn plain(value: Value) -> Value {
    match value {
        Value::Object(object) => match typed(object) {
            Ok(value) => value,
            Err(object) => {
                Value::Object(object.into_iter().map(|(key, value)| (key, plain(value))).collect())
            }
        },
        Value::Array(all) => Value::Array(all.into_iter().map(plain).collect()),
        other => other,
    }
}

/// Returns whether a key may be the type of a value.
pub(super) fn is_type(key: &str) -> bool {
    ["S", "N", "B", "BOOL", "NULL", "M", "L", "SS", "NS", "BS"].contains(&key)
}

/// Unwraps an object that is a typed value, or gives it back.
///
/// Source: "Data type descriptors" in AWS's DynamoDB developer guide.
fn typed(mut object: Map<String, Value>) -> Result<Value, Map<String, Value>> {
    let is_typed = object.len() == 1
        && object.iter().all(|(kind, value)| match (&**kind, value) {
            ("S" | "N" | "B", Value::String(_))
            | ("BOOL" | "NULL", Value::Bool(_))
            | ("M", Value::Object(_))
            | ("L", Value::Array(_)) => true,
            ("SS" | "NS" | "BS", Value::Array(all)) => all.iter().all(Value::is_string),
            _ => false,
        });
    if !is_typed {
        return Err(object);
    }
    let inner = object.iter_mut().next().map(|(kind, value)| (kind.clone(), value.take()));
    Ok(match inner {
        Some((kind, _)) if kind == "NULL" => Value::Null,
        // What is in it is typed itself, but its keys are the table's: one called "S" is no type.
        Some((_, Value::Object(map))) => {
            Value::Object(map.into_iter().map(|(key, value)| (key, plain(value))).collect())
        }
        Some((kind, Value::Array(all))) if kind == "L" => {
            Value::Array(all.into_iter().map(plain).collect())
        }
        Some((_, value)) => value,
        None => Value::Null,
    })
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
    fn types_are_taken_off() {
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
    fn what_is_plain_stays() {
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

    /// Gives a value its types, and returns it with the plain value that it means.
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
        fn for_any_value_types_that_were_put_on_are_taken_off(value in hostile::json()) {
            let (typed, expected) = typed_by_hand(value);
            prop_assert_eq!(plain(typed), expected);
        }

        #[test]
        fn for_any_json_nothing_is_added(value in hostile::json()) {
            let before = value.to_string().len();
            prop_assert!(plain(value).to_string().len() <= before);
        }
    }
}

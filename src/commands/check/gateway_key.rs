//! Whether a value looks like a key of API Gateway's, which has no place in Secrets Manager. Pure.

use crate::secret::version::Content;
use serde_json::Value;

/// How long a key is that API Gateway has made itself.
const MADE_CHARS: usize = 40;

/// How long a key may be that somebody has given it.
///
/// Source: `value` of `CreateApiKey` in AWS's API Gateway reference (20 to 128).
const GIVEN_CHARS_MIN: usize = 20;
const GIVEN_CHARS_MAX: usize = 128;

/// How fields with such a key are called, without what parts their words.
const NAMES: [&str; 3] = ["apigateway", "apigw", "xapikey"];

/// Where the key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum GatewayKey {
    /// It is the whole value.
    Whole,
    /// It is a field, or below one, of this name.
    Field(String),
}

/// Returns where something looks like a key of API Gateway's, if anything does.
///
/// Alone, a key is told by what API Gateway makes: 40 letters and digits, of each some, which a hash
/// in hexadecimal is not. In a field, by the field's name.
pub(super) fn find(content: &Content) -> Option<GatewayKey> {
    let Content::Text(text) = content else { return None };
    let text = str::from_utf8(text.expose()).ok()?;
    if is_made(text.trim()) {
        return Some(GatewayKey::Whole);
    }
    match serde_json::from_str(text).ok()? {
        Value::String(inner) => is_made(inner.trim()).then_some(GatewayKey::Whole),
        value => field(&value, None).map(GatewayKey::Field),
    }
}

/// Returns the name of the field that has such a key, or stands above it.
fn field(value: &Value, name: Option<&str>) -> Option<String> {
    match value {
        Value::String(text) => name.filter(|_| is_key(text)).map(str::to_owned),
        Value::Array(all) => all.iter().find_map(|one| field(one, name)),
        Value::Object(object) => object.iter().find_map(|(key, value)| {
            let own = if is_name(key) { Some(&**key) } else { name };
            field(value, own)
        }),
        _ => None,
    }
}

fn is_name(name: &str) -> bool {
    let letters = name.chars().filter(char::is_ascii_alphanumeric);
    let letters: String = letters.map(|c| c.to_ascii_lowercase()).collect();
    NAMES.iter().any(|known| letters.contains(known))
}

fn is_made(text: &str) -> bool {
    text.len() == MADE_CHARS
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && text.bytes().any(|byte| byte.is_ascii_uppercase())
        && text.bytes().any(|byte| byte.is_ascii_lowercase())
        && text.bytes().any(|byte| byte.is_ascii_digit())
        && !text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_key(text: &str) -> bool {
    (GIVEN_CHARS_MIN..=GIVEN_CHARS_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_graphic())
        && !text.contains("://")
        && text.bytes().any(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostile::json;
    use crate::secret::value::SecretValue;
    use proptest::prelude::*;

    /// As API Gateway makes them; none is anybody's.
    const MADE: &str = "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8s9T0";

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        let found = find(&Content::Text(text.to_owned().into()));
        let name = found.map(|found| match found {
            GatewayKey::Whole => "the whole".to_owned(),
            GatewayKey::Field(name) => name,
        });
        assert_eq!(name.as_deref(), expected, "{text}");
    }

    #[test]
    fn a_key_alone_is_told_by_its_form() {
        check(MADE, Some("the whole"));
        check(&format!(" {MADE}\n"), Some("the whole"));
        check(&format!("\"{MADE}\""), Some("the whole"));
        for text in [
            "",
            &MADE[1..],
            &format!("{MADE}1"),
            &MADE.replace('a', "-"),
            &MADE.to_ascii_lowercase(),
            // A commit, and a hash in either case.
            "2fd4e1c67a2d28fced849ee1bb76e7391b93eb12",
            "2fD4e1c67a2d28fced849ee1bb76e7391b93eb12",
        ] {
            check(text, None);
        }
        assert_eq!(find(&Content::Binary(SecretValue::new(MADE.into()))), None);
    }

    #[test]
    fn a_field_is_told_by_its_name() {
        for name in ["api_gateway", "x-api-key", "X-Api-Key", "apiGatewayKey", "internal_apigw_key"]
        {
            check(&format!(r#"{{"user":"ann","{name}":"{MADE}"}}"#), Some(name));
            check(&format!(r#"{{"{name}":{{"dev":["{MADE}"]}}}}"#), Some(name));
        }
        let below = format!(r#"{{"api_gateway":{{"x_api_key":"{MADE}"}}}}"#);
        check(&below, Some("x_api_key"));
        check(r#"{"x-api-key":"given-by-somebody-01"}"#, Some("x-api-key"));
    }

    #[test]
    fn other_credentials_are_none() {
        for text in [
            format!(r#"{{"ai_api_key":"sk-{MADE}"}}"#),
            format!(r#"{{"aws_secret_access_key":"{MADE}"}}"#),
            r#"{"twilio_auth_token":"0123456789abcdef0123456789abcdef"}"#.to_owned(),
            r#"{"x-api-key":"PLACEHOLDER"}"#.to_owned(),
            r#"{"api_gateway":"https://abcdef1234.execute-api.eu-north-1.amazonaws.com"}"#
                .to_owned(),
            r#"{"api_gateway_id":12345678901234567890}"#.to_owned(),
            r#"{"x-api-key":"somebody-has-to-fill-this-in"}"#.to_owned(),
        ] {
            check(&text, None);
        }
    }

    /// Returns the name of every member.
    fn names(value: &Value) -> Vec<String> {
        match value {
            Value::Array(all) => all.iter().flat_map(names).collect(),
            Value::Object(object) => object
                .iter()
                .flat_map(|(key, value)| [vec![key.clone()], names(value)].concat())
                .collect(),
            _ => Vec::new(),
        }
    }

    proptest! {
        #[test]
        fn for_any_json_what_is_named_is_a_field_of_it(inner in json()) {
            let value = serde_json::json!({"x-api-key": inner, "api_gateway": MADE, "a": inner});
            match find(&Content::Text(value.to_string().into())) {
                Some(GatewayKey::Field(name)) => prop_assert!(names(&value).contains(&name)),
                other => prop_assert!(false, "{other:?}"),
            }
            let _ = find(&Content::Text(inner.to_string().into()));
        }
    }
}

//! Detects secret values that look like an API key of Amazon API Gateway. Such a key belongs in API
//! Gateway, not in Secrets Manager. This module has no side effects.

use crate::secret::json_text::parsed;
use crate::secret::version::Content;
use serde_json::Value;

/// The length, in characters, of an API key that Amazon API Gateway generates.
const MADE_CHARS: usize = 40;

/// The minimum length, in characters, of an API key that a user chooses for Amazon API Gateway.
///
/// Source: `value` of `CreateApiKey` in AWS's API Gateway reference (20 to 128).
const GIVEN_CHARS_MIN: usize = 20;

/// The maximum length, in characters, of an API key that a user chooses for Amazon API Gateway.
///
/// Source: `value` of `CreateApiKey` in AWS's API Gateway reference (20 to 128).
const GIVEN_CHARS_MAX: usize = 128;

/// Parts of field names, such as `X-Api-Key`, that suggest an API key of Amazon API Gateway. Case
/// and separators are ignored.
const NAMES: [&str; 3] = ["apigateway", "apigw", "xapikey"];

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum GatewayKey {
    /// The full value of the secret is an API key of Amazon API Gateway.
    Value,
    /// The secret's field with this name contains an API key of Amazon API Gateway.
    Field(String),
}

/// Returns where a secret's value seems to contain an API key of Amazon API Gateway. A field name
/// such as `x-api-key`, or a full value of 40 letters and digits in mixed case, suggests such a
/// key.
pub(super) fn find(content: &Content) -> Option<GatewayKey> {
    let Content::Text(text) = content else { return None };
    let text = str::from_utf8(text.expose()).ok()?;
    if is_generated(text.trim()) {
        return Some(GatewayKey::Value);
    }
    match parsed(text.as_bytes()).ok()? {
        Value::String(inner) => is_generated(inner.trim()).then_some(GatewayKey::Value),
        value => field(&value, None).map(GatewayKey::Field),
    }
}

/// Returns the name of a field in `value` that seems to contain an API key of Amazon API Gateway.
/// `name` is the nearest field around `value` whose name suggests such a key.
fn field(value: &Value, name: Option<&str>) -> Option<String> {
    match value {
        Value::String(text) => name.filter(|_| may_be_key(text)).map(str::to_owned),
        Value::Array(all) => all.iter().find_map(|one| field(one, name)),
        Value::Object(object) => object
            .iter()
            .find_map(|(key, value)| field(value, if is_key_name(key) { Some(key) } else { name })),
        _ => None,
    }
}

fn is_key_name(name: &str) -> bool {
    let normalized: String =
        name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    NAMES.iter().any(|known| normalized.contains(known))
}

fn is_generated(text: &str) -> bool {
    text.len() == MADE_CHARS
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && text.bytes().any(|byte| byte.is_ascii_uppercase())
        && text.bytes().any(|byte| byte.is_ascii_lowercase())
        && text.bytes().any(|byte| byte.is_ascii_digit())
        && !text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Returns whether the value of a field may be an API key of Amazon API Gateway. URLs, and dummy
/// values such as `YOUR-API-KEY-GOES-HERE`, are not API keys.
fn may_be_key(text: &str) -> bool {
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

    const MADE: &str = "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8s9T0";

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        let found = find(&Content::Text(text.to_owned().into()));
        let name = found.map(|found| match found {
            GatewayKey::Value => "the value".to_owned(),
            GatewayKey::Field(name) => name,
        });
        assert_eq!(name.as_deref(), expected, "{text}");
    }

    #[test]
    fn bare_key_is_recognized_by_its_form() {
        check(MADE, Some("the value"));
        check(&format!(" {MADE}\n"), Some("the value"));
        check(&format!("\"{MADE}\""), Some("the value"));
        for text in [
            "",
            &MADE[1..],
            &format!("{MADE}1"),
            &MADE.replace('a', "-"),
            &MADE.to_ascii_lowercase(),
            // A commit hash, in lower and in mixed case.
            "2fd4e1c67a2d28fced849ee1bb76e7391b93eb12",
            "2fD4e1c67a2d28fced849ee1bb76e7391b93eb12",
        ] {
            check(text, None);
        }
        assert_eq!(find(&Content::Binary(SecretValue::new(MADE.into()))), None);
    }

    #[test]
    fn key_in_a_field_is_recognized_by_the_name_of_the_field() {
        for name in ["api_gateway", "x-api-key", "X-Api-Key", "apiGatewayKey", "internal_apigw_key"]
        {
            check(&format!(r#"{{"user":"ann","{name}":"{MADE}"}}"#), Some(name));
            check(&format!(r#"{{"{name}":{{"dev":["{MADE}"]}}}}"#), Some(name));
        }
        let below = format!(r#"{{"api_gateway":{{"x_api_key":"{MADE}"}}}}"#);
        check(&below, Some("x_api_key"));
        check(r#"{"x-api-key":"given-by-somebody-01","cut":"\ud83d"}"#, Some("x-api-key"));
    }

    #[test]
    fn other_credentials_are_not_reported() {
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
        fn for_any_json_the_reported_field_exists(inner in json()) {
            let value = serde_json::json!({"x-api-key": inner, "api_gateway": MADE, "a": inner});
            match find(&Content::Text(value.to_string().into())) {
                Some(GatewayKey::Field(name)) => prop_assert!(names(&value).contains(&name)),
                other => prop_assert!(false, "{other:?}"),
            }
            let _ = find(&Content::Text(inner.to_string().into()));
        }
    }
}

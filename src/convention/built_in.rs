//! The conventions that apply by default. A convention is a set of rules for the names and values
//! of one kind of secret, such as Twilio credentials for WhatsApp.
//!
//! `build.rs` translates `presets/channel-processors/conventions.toml` into constants when Sidekey
//! is built, because parsing TOML would take 7 % of the Lambda layer's start.

use super::definition::Convention;
use super::field::{Field, FieldType};
use super::marker::Marker;
use super::pattern::NamePattern;

/// The default rules for the names and values of secrets. `build.rs` generates this constant from
/// `presets/channel-processors/conventions.toml`.
const ROWS: &[Row] = include!(concat!(env!("OUT_DIR"), "/conventions.rs"));

struct Row {
    kind: &'static str,
    pattern: &'static str,
    service: &'static str,
    placeholders: &'static [&'static str],
    fields: &'static [RowField],
}

struct RowField {
    name: &'static str,
    field_type: &'static str,
    is_secret: bool,
    is_optional: bool,
    is_multiline: bool,
}

pub(super) fn conventions() -> Vec<Convention> {
    ROWS.iter().map(Row::convention).collect()
}

impl Row {
    fn convention(&self) -> Convention {
        const VALID: &str =
            "every table in presets/channel-processors/conventions.toml must be valid";
        let pattern = NamePattern::parse(self.pattern).expect(VALID);
        let fields = self.fields.iter().map(|field| field.parse().expect(VALID)).collect();
        let markers =
            self.placeholders.iter().map(|text| Marker::parse(text).expect(VALID)).collect();
        Convention::new(self.kind, pattern, self.service, fields, markers).expect(VALID)
    }
}

impl RowField {
    fn parse(&self) -> Option<Field> {
        let mut field = Field::new(self.name, FieldType::from_label(self.field_type)?).ok()?;
        field.is_secret = self.is_secret;
        field.is_optional = self.is_optional;
        field.is_multiline = self.is_multiline;
        Some(field)
    }
}

#[cfg(test)]
mod tests {
    use crate::convention::Conventions;
    use crate::secret::version::Content;
    use serde_json::Value;

    /// Checks which default rules apply to the secret `name`. `new_value` is the JSON value that
    /// `sidekey scaffold` gives to a new secret with this name.
    #[track_caller]
    fn check(name: &str, kind: &str, service: &str, new_value: &str) {
        let all = Conventions::built_in();
        let (convention, values) =
            all.of_name(name).expect("a built-in convention must match the secret's name");
        assert_eq!((convention.kind(), convention.service()), (kind, service));
        let made = Value::Object(convention.placeholder_value(&values)).to_string();
        assert_eq!(made, new_value);
        let filled_in = made.replace("PLACE", "");
        assert_eq!(convention.problems(&Content::Text(filled_in.into())), []);
        let problems = convention.problems(&Content::Text(made.into()));
        let fields: Vec<_> = problems.iter().map(|problem| problem.field()).collect();
        assert_eq!(fields, convention.fields().iter().map(|f| Some(f.name())).collect::<Vec<_>>());
        assert!(problems.iter().all(|problem| problem.code() == "placeholder"));
    }

    #[test]
    fn secrets_of_the_channels_have_their_conventions() {
        let twilio = r#"{"twilio_account_sid":"PLACEHOLDER_TWILIO_ACCOUNT_SID","twilio_auth_token":"PLACEHOLDER_TWILIO_AUTH_TOKEN","twilio_template_sid":"PLACEHOLDER_TWILIO_TEMPLATE_SID"}"#;
        let at = "cucumber-recruitment/cv-analysis";
        check(&format!("whatsapp-credentials/{at}/twilio"), "whatsapp-twilio", "Twilio", twilio);
        check(&format!("sms-credentials/{at}/twilio"), "sms-twilio", "Twilio", twilio);
        let sendgrid = r#"{"sendgrid_auth_value":"PLACEHOLDER_SENDGRID_AUTH_VALUE","sendgrid_from_email":"PLACEHOLDER_SENDGRID_FROM_EMAIL","sendgrid_from_name":"PLACEHOLDER_SENDGRID_FROM_NAME","sendgrid_template_id":"PLACEHOLDER_SENDGRID_TEMPLATE_ID"}"#;
        check(&format!("email-credentials/{at}/sendgrid"), "email-sendgrid", "SendGrid", sendgrid);
        for channel in ["whatsapp", "sms", "email"] {
            let upper = channel.to_ascii_uppercase();
            let expected = format!(r#"{{"ai_api_key":"PLACEHOLDER_{upper}_AI_API_KEY"}}"#);
            check(&format!("openai-api-key/{channel}"), "openai-api-key", "OpenAI", &expected);
        }
    }

    #[test]
    fn only_tokens_and_keys_are_secret() {
        let all = Conventions::built_in();
        let fields = all.iter().flat_map(|convention| convention.fields());
        let secret: Vec<&str> =
            fields.filter(|field| field.is_secret).map(|field| field.name()).collect();
        let expected =
            ["twilio_auth_token", "twilio_auth_token", "sendgrid_auth_value", "ai_api_key"];
        assert_eq!(secret, expected);
    }

    #[test]
    fn similar_names_have_no_convention() {
        let all = Conventions::built_in();
        for name in ["openai-api-key/fax", "fax-credentials/a/b/twilio", "sms-credentials/a/twilio"]
        {
            assert!(all.of_name(name).is_none(), "{name}");
        }
    }
}

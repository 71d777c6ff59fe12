//! The conventions that hold where nothing else is said.

use super::Convention;
use super::field::{Field, FieldType};
use super::marker::Marker;
use super::pattern::NamePattern;

/// A field's name, and whether its value is secret. All are strings, and none may be left out.
type Fields = &'static [(&'static str, bool)];

const TWILIO: Fields =
    &[("twilio_account_sid", false), ("twilio_auth_token", true), ("twilio_template_sid", false)];

const SENDGRID: Fields = &[
    ("sendgrid_auth_value", true),
    ("sendgrid_from_email", false),
    ("sendgrid_from_name", false),
    ("sendgrid_template_id", false),
];

const OPENAI: Fields = &[("ai_api_key", true)];

/// What a secret is created with until somebody has the real value.
const MARK: &str = "PLACEHOLDER*";

/// Kind, pattern, service and fields.
const TABLE: &[(&str, &str, &str, Fields)] = &[
    (
        "whatsapp-twilio",
        "whatsapp-credentials/{company_name}/{project_name}/twilio",
        "Twilio",
        TWILIO,
    ),
    ("sms-twilio", "sms-credentials/{company_name}/{project_name}/twilio", "Twilio", TWILIO),
    (
        "email-sendgrid",
        "email-credentials/{company_name}/{project_name}/sendgrid",
        "SendGrid",
        SENDGRID,
    ),
    ("openai-api-key", "openai-api-key/{channel:whatsapp|sms|email}", "OpenAI", OPENAI),
];

/// Returns them in their order.
pub(super) fn conventions() -> Vec<Convention> {
    let field = |&(name, is_secret): &(&str, bool)| {
        let mut field = Field::new(name, FieldType::String).expect("the table has good names");
        field.is_secret = is_secret;
        field
    };
    let convention = |&(kind, pattern, service, fields): &(&str, &str, &str, Fields)| {
        let pattern = NamePattern::parse(pattern).expect("the table has good patterns");
        let fields = fields.iter().map(field).collect();
        let marks = vec![Marker::parse(MARK).expect("it is a good mark")];
        Convention::new(kind, pattern, service, fields, marks).expect("the table has good rows")
    };
    TABLE.iter().map(convention).collect()
}

#[cfg(test)]
mod tests {
    use crate::convention::Conventions;
    use crate::secret::version::Content;
    use serde_json::Value;

    /// Checks the kind of a secret that is named so, and what a new one is made with.
    #[track_caller]
    fn check(name: &str, kind: &str, service: &str, expected: &str) {
        let all = Conventions::built_in();
        let (convention, bindings) = all.of_name(name).expect("it has a convention");
        assert_eq!((convention.kind(), convention.service()), (kind, service));
        let made = Value::Object(convention.placeholder_value(&bindings)).to_string();
        assert_eq!(made, expected);
        let problems = convention.problems(&Content::Text(made.replace("PLACE", "").into()));
        assert_eq!(problems, []);
        let problems = convention.problems(&Content::Text(made.into()));
        let fields: Vec<_> = problems.iter().map(|problem| problem.field()).collect();
        assert_eq!(fields, convention.fields().iter().map(|f| Some(f.name())).collect::<Vec<_>>());
        assert!(problems.iter().all(|problem| problem.code() == "placeholder"));
    }

    #[test]
    fn the_secrets_of_the_channels_have_their_conventions() {
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
    fn other_names_have_none() {
        let all = Conventions::built_in();
        for name in ["openai-api-key/fax", "fax-credentials/a/b/twilio", "sms-credentials/a/twilio"]
        {
            assert!(all.of_name(name).is_none(), "{name}");
        }
    }
}

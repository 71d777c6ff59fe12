//! Parses calls of the operations `GetParameter` and `GetParameters` of Parameter Store.

use super::bad_call::BadCall;
use super::members::{check_length, distinct};
use crate::secret::reference::{
    BadReference, BorrowedReference, ID_CHARS_MAX, SeparateParts, secret_parameter,
};
use crate::secret::secret_parameter::SecretParameter;
use crate::server::parameter_name::{BadParameterName, reference_to};
use crate::source::PARAMETERS_BATCH_MAX;
use serde::Deserialize;

/// The parameter that a call of `GetParameter` asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RequestedParameter {
    /// The ARN of the parameter, or its name after `ssm:`. A version and a field may follow, as in
    /// `ssm:/app/db:3#password`.
    reference: String,
    /// Whether the caller gets the encrypted value of a `SecureString` parameter. This is so if
    /// `WithDecryption` is not `true`.
    is_encrypted: bool,
}

/// The parameters that a call of `GetParameters` asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RequestedParameters {
    /// The names and ARNs of the requested parameters, without repetitions, in the order of the AWS
    /// API call.
    pub(crate) names: Vec<String>,
    is_encrypted: bool,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct OneParameter {
    name: Option<String>,
    with_decryption: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct ManyParameters {
    names: Option<Vec<String>>,
    with_decryption: Option<bool>,
}

impl RequestedParameter {
    pub(super) fn of(members: OneParameter) -> Result<Self, BadCall> {
        let name = members.name.ok_or(BadCall::Missing("name"))?;
        check_length("name", &name, ID_CHARS_MAX)?;
        Ok(Self::named(&name, !members.with_decryption.unwrap_or_default())?)
    }

    fn named(name: &str, is_encrypted: bool) -> Result<Self, BadParameterName> {
        let reference = reference_to(name.into(), is_encrypted)?.into_owned();
        Ok(Self { reference, is_encrypted })
    }

    pub(crate) fn reference(&self) -> &str {
        &self.reference
    }

    /// Returns the parameter, version and field that a call of `GetParameter` asks for.
    ///
    /// # Errors
    ///
    /// Fails if the name or ARN of the parameter is not valid.
    pub(crate) fn parse_reference(&self) -> Result<BorrowedReference<'_>, BadReference> {
        let separate =
            SeparateParts { is_encrypted: self.is_encrypted, ..SeparateParts::default() };
        BorrowedReference::parse(&self.reference, separate)
    }

    /// Returns the requested secret if the caller gives a name such as
    /// `/aws/reference/secretsmanager/app/db`. Returns `None` if the caller asks for a parameter.
    pub(crate) fn secret_parameter(&self) -> Option<SecretParameter<'_>> {
        secret_parameter(&self.reference)
    }
}

impl RequestedParameters {
    pub(super) fn of(members: ManyParameters) -> Result<Self, BadCall> {
        let names = members.names.ok_or(BadCall::Missing("names"))?;
        match names.len() {
            0 => return Err(BadCall::Empty("names")),
            1..=PARAMETERS_BATCH_MAX => {}
            _ => return Err(BadCall::TooLong { member: "names", max: PARAMETERS_BATCH_MAX }),
        }
        for name in &names {
            check_length("names", name, ID_CHARS_MAX)?;
        }
        let is_encrypted = !members.with_decryption.unwrap_or_default();
        Ok(Self { names: distinct(names), is_encrypted })
    }

    /// Returns one of the requested parameters by its name or ARN.
    ///
    /// # Errors
    ///
    /// Fails if `name` is an ARN, but not that of a parameter. Also fails if `name` means a secret,
    /// and the caller asks for its encrypted value.
    pub(crate) fn named(&self, name: &str) -> Result<RequestedParameter, BadParameterName> {
        RequestedParameter::named(name, self.is_encrypted)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Call, Operation};
    use super::*;
    use crate::hostile::{VALUE, json, mangled};
    use crate::secret::selector::Selector;
    use proptest::prelude::*;

    #[track_caller]
    fn get(body: &str, id: &str, selector: &Selector, field: Option<&str>) {
        let call = Operation::GetParameter.parse(body.as_bytes());
        let Ok(Call::GetParameter(parameter)) = call else {
            panic!("the body {body} must be a valid call");
        };
        let selector = selector.clone();
        let expected = Ok(BorrowedReference { id, selector, field });
        assert_eq!(parameter.parse_reference(), expected, "{body}");
    }

    #[test]
    fn name_selects_a_version_and_decryption_is_off_by_default() {
        let newest = |is_encrypted| Selector::parameter(None, None, is_encrypted);
        get(r#"{"Name":"/app/url"}"#, "ssm:/app/url", &newest(true), None);
        get(r#"{"Name":"url","WithDecryption":false}"#, "ssm:url", &newest(true), None);
        get(r#"{"Name":"/a","WithDecryption":true,"New":[]}"#, "ssm:/a", &newest(false), None);
        let number = Selector::parameter(None, Some("3"), true);
        get(r#"{"Name":"/app/url:3"}"#, "ssm:/app/url", &number, None);
        let label = Selector::parameter(Some("live"), None, true);
        get(r#"{"Name":"/app/url:live#user"}"#, "ssm:/app/url", &label, Some("user"));
        let arn = "arn:aws:ssm:eu-north-1:123456789012:parameter/app/url";
        get(&format!(r#"{{"Name":"{arn}:3"}}"#), arn, &number, None);
        get(
            r#"{"Name":"/aws/reference/secretsmanager/app/db:S","WithDecryption":true}"#,
            "app/db",
            &Selector::new(Some("S"), None),
            None,
        );
    }

    #[test]
    fn repeated_names_count_once() {
        let body = br#"{"Names":["b","a","b"],"WithDecryption":true}"#;
        let names = ["b", "a"].map(str::to_owned).to_vec();
        let expected = RequestedParameters { names, is_encrypted: false };
        assert_eq!(Operation::GetParameters.parse(body), Ok(Call::GetParameters(expected)));
    }

    #[track_caller]
    fn refused(operation: Operation, body: &str, kind: &str, words: &str) {
        let bad = operation.parse(body.as_bytes()).expect_err("the call must not be valid");
        assert_eq!(bad.kind(), kind, "{body}");
        assert!(bad.to_string().contains(words), "{bad}");
        assert!(!bad.to_string().contains("hunter2"), "{bad}");
    }

    #[test]
    fn bad_calls_get_error_messages_of_aws() {
        let get = |body: &str, kind, words| refused(Operation::GetParameter, body, kind, words);
        get("{}", "ValidationException", "Value null at 'name'");
        get(r#"{"Name":""}"#, "ValidationException", "greater than or equal");
        let long = format!(r#"{{"Name":"{}"}}"#, "x".repeat(2049));
        get(&long, "ValidationException", "or equal to 2048");
        get(r#"{"Name":"hunter2""#, "SerializationException", "not valid JSON");
        get(r#"{"Name":7}"#, "SerializationException", "not have the structure");
        let secret = r#"{"Name":"arn:aws:secretsmanager:eu-north-1:123456789012:secret:hunter2"}"#;
        get(secret, "ValidationException", "but found the ARN of something else");
        let secret = r#"{"Name":"/aws/reference/secretsmanager/hunter2"}"#;
        get(secret, "ValidationException", "flag must be True");

        let many = |body: &str, kind, words| refused(Operation::GetParameters, body, kind, words);
        many("{}", "ValidationException", "Value null at 'names'");
        many(r#"{"Names":[]}"#, "ValidationException", "greater than or equal");
        many(r#"{"Names":[""]}"#, "ValidationException", "greater than or equal");
        let names = ["\"a\""; 11].join(",");
        let names = format!("{{\"Names\":[{names}]}}");
        many(&names, "ValidationException", "less than or equal to 10");
    }

    const MANY: &str = r#"{"Names":["hunter2","hunter2:3"],"WithDecryption":true}"#;
    const ONE: &str = r#"{"Name":"hunter2#a","WithDecryption":false,"a":[{}]}"#;

    proptest! {
        #[test]
        fn for_any_body_a_call_keeps_its_limits_and_no_error_quotes_it(
            body in prop_oneof![mangled(ONE), mangled(MANY), json().prop_map(|json| json.to_string())],
        ) {
            for operation in [Operation::GetParameter, Operation::GetParameters] {
                match operation.parse(body.as_bytes()) {
                    Ok(Call::GetParameter(parameter)) => {
                        let chars = parameter.reference().chars().count();
                        prop_assert!((1..=ID_CHARS_MAX + "ssm:".len()).contains(&chars));
                    }
                    Ok(Call::GetParameters(RequestedParameters { names, .. })) => {
                        prop_assert!((1..=PARAMETERS_BATCH_MAX).contains(&names.len()));
                    }
                    Ok(other) => prop_assert!(false, "{other:?}"),
                    Err(bad) => {
                        prop_assert!(!bad.to_string().contains(VALUE) && !bad.hint().contains(VALUE));
                    }
                }
            }
        }
    }
}

//! Parses calls of Secrets Manager: `GetSecretValue`, `DescribeSecret` and `BatchGetSecretValue`.

use super::bad_call::BadCall;
use super::members::{check_length, distinct};
use crate::secret::reference::{
    BadReference, BorrowedReference, ID_CHARS_MAX, STAGE_CHARS_MAX, SeparateParts,
    VERSION_CHARS_MAX, is_parameter,
};
use crate::source::BATCH_MAX;
use serde::Deserialize;
use serde::de::IgnoredAny;

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct RequestedSecret {
    /// The name or ARN of a secret. The text may also contain a field, a staging label (such as
    /// AWSCURRENT) and a version id.
    pub(super) reference: String,
    pub(super) stage: Option<String>,
    pub(super) version: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct OneSecret {
    secret_id: Option<String>,
    version_stage: Option<String>,
    version_id: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct ManySecrets {
    secret_id_list: Option<Vec<String>>,
    filters: Option<IgnoredAny>,
}

impl RequestedSecret {
    pub(super) fn of(members: OneSecret) -> Result<Self, BadCall> {
        let reference = members.secret_id.ok_or(BadCall::Missing("secretId"))?;
        check_length("secretId", &reference, ID_CHARS_MAX)?;
        check_is_secret(&reference)?;
        for (member, value, max) in [
            ("versionStage", &members.version_stage, STAGE_CHARS_MAX),
            ("versionId", &members.version_id, VERSION_CHARS_MAX),
        ] {
            value.as_ref().map_or(Ok(()), |value| check_length(member, value, max))?;
        }
        Ok(Self { reference, stage: members.version_stage, version: members.version_id })
    }

    pub(crate) fn reference(&self) -> &str {
        &self.reference
    }

    /// Removes the requested version, because `DescribeSecret` always describes the current
    /// version.
    pub(super) fn current(self) -> Self {
        Self { reference: self.reference, ..Self::default() }
    }

    /// Returns the secret, version and field that an AWS API call asks for.
    ///
    /// # Errors
    ///
    /// Fails if the secret's name or ARN is not valid, or if the call gives the version twice:
    /// together with the name or ARN, and in a separate parameter.
    pub(crate) fn parse_reference(&self) -> Result<BorrowedReference<'_>, BadReference> {
        let separate = SeparateParts {
            stage: self.stage.as_deref(),
            version: self.version.as_deref(),
            field: None,
            ..SeparateParts::default()
        };
        BorrowedReference::parse(&self.reference, separate)
    }
}

/// Returns the names or ARNs of the secrets that a call of `BatchGetSecretValue` asks for, without
/// repetitions.
pub(super) fn batch(members: ManySecrets) -> Result<Vec<String>, BadCall> {
    let ids = match (members.secret_id_list, members.filters) {
        (Some(ids), None) => ids,
        (None, Some(_)) => return Err(BadCall::Filters),
        _ => return Err(BadCall::ListOrFilters),
    };
    match ids.len() {
        0 => Err(BadCall::Empty("secretIdList")),
        1..=BATCH_MAX => Ok(distinct(ids)),
        _ => Err(BadCall::TooLong { member: "secretIdList", max: BATCH_MAX }),
    }
}

/// Returns an error if a call of Secrets Manager names a parameter of Parameter Store instead of a
/// secret.
pub(crate) fn check_is_secret(reference: &str) -> Result<(), BadCall> {
    if is_parameter(reference) { Err(BadCall::ParameterId) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::super::{Call, Operation};
    use super::*;
    use crate::hostile::{VALUE, json, mangled, text};
    use crate::secret::selector::Selector;
    use proptest::prelude::*;

    #[track_caller]
    fn get(body: &str, id: &str, stage: Option<&str>, version: Option<&str>, field: Option<&str>) {
        let Ok(Call::Get(secret)) = Operation::GetSecretValue.parse(body.as_bytes()) else {
            panic!("the body {body} must be a valid call");
        };
        let selector = Selector::new(stage, version);
        assert_eq!(
            secret.parse_reference(),
            Ok(BorrowedReference { id, selector, field }),
            "{body}"
        );
    }

    #[test]
    fn unknown_members_are_ignored() {
        get(r#"{"SecretId":"app/db"}"#, "app/db", None, None, None);
        get(r#" {"New":[1,{}],"SecretId":"\u0061"} "#, "a", None, None, None);
        get(r#"{"SecretId":"a","VersionStage":null,"VersionId":"v"}"#, "a", None, Some("v"), None);
        get(r#"{"SecretId":"a","VersionStage":"S"}"#, "a", Some("S"), None, None);
        get(r#"{"SecretId":"a#password"}"#, "a", None, None, Some("password"));
        let arn = "arn:aws:secretsmanager:eu-north-1:123456789012:secret:app/db-AbC123";
        get(&format!(r#"{{"SecretId":"{arn}:f:S:V"}}"#), arn, Some("S"), Some("V"), Some("f"));
        let body = br#"{"SecretIdList":["a","b","a"]}"#;
        let ids = ["a", "b"].map(str::to_owned);
        let batch = Operation::BatchGetSecretValue.parse(body);
        assert_eq!(batch, Ok(Call::Batch(ids.to_vec())));
        let described = Operation::DescribeSecret.parse(br#"{"SecretId":"a","VersionId":"v"}"#);
        let secret = RequestedSecret { reference: "a".to_owned(), ..RequestedSecret::default() };
        assert_eq!(described, Ok(Call::Describe(secret)));
    }

    #[track_caller]
    fn refused(operation: Operation, body: &str, kind: &str, words: &str) {
        let bad = operation.parse(body.as_bytes()).expect_err("the call must not be valid");
        assert_eq!(bad.kind(), kind, "{body}");
        assert!(bad.to_string().contains(words), "{bad}");
        assert!(!bad.to_string().contains("hunter2"), "{bad}");
    }

    #[test]
    fn bad_calls_get_error_messages_of_aws_and_no_quotes() {
        let get = |body: &str, kind, words| refused(Operation::GetSecretValue, body, kind, words);
        get("", "ValidationException", "Value null at 'secretId'");
        get("{}", "ValidationException", "Value null at 'secretId'");
        get(r#"{"SecretId":null}"#, "ValidationException", "Member must not be null");
        get(r#"{"SecretId":""}"#, "ValidationException", "greater than or equal");
        let long = |member: &str, chars: usize| {
            format!(r#"{{"SecretId":"a","{member}":"{}"}}"#, "x".repeat(chars))
        };
        get(&long("VersionStage", 257), "ValidationException", "or equal to 256");
        get(&long("VersionStage", 0), "ValidationException", "at 'versionStage'");
        get(&long("VersionId", 65), "ValidationException", "less than or equal to 64");
        let id = format!(r#"{{"SecretId":"{}"}}"#, "x".repeat(2049));
        get(&id, "ValidationException", "or equal to 2048");
        get(r#"{"SecretId":"hunter2""#, "SerializationException", "at line 1, column 21");
        get("hunter2", "SerializationException", "line 1, column 1");
        get(r#""hunter2""#, "SerializationException", "not have the structure");
        let arn = "arn:aws:ssm:eu-north-1:123456789012:parameter/app/url";
        for parameter in ["ssm:/app/url", arn] {
            let id = format!(r#"{{"SecretId":"{parameter}"}}"#);
            get(&id, "ValidationException", "names a parameter");
            refused(Operation::DescribeSecret, &id, "ValidationException", "names a parameter");
        }
        assert!(BadCall::ParameterId.hint().contains("GetParameter"));
        get("{\n\"SecretId\":7}", "SerializationException", "line 2, column 12");
        get(r#"["hunter2"]"#, "SerializationException", "line 1, column 1");
        get("\u{feff}{}", "SerializationException", "line 1, column 1");

        let batch =
            |body: &str, kind, words| refused(Operation::BatchGetSecretValue, body, kind, words);
        batch("{}", "InvalidParameterException", "or 'Filters' must be");
        batch(r#"{"SecretIdList":["a"],"Filters":[]}"#, "InvalidParameterException", "not both");
        let filters = r#"{"Filters":[{"Key":"name","Values":["a"]}]}"#;
        batch(filters, "InvalidParameterException", "'Filters' is not supported");
        assert!(BadCall::Filters.hint().contains("SecretIdList"));
        batch(r#"{"SecretIdList":[]}"#, "ValidationException", "greater than or equal");
        let ids = vec!["\"a\""; 21].join(",");
        let many = format!("{{\"SecretIdList\":[{ids}]}}");
        batch(&many, "ValidationException", "less than or equal to 20");
        batch(r#"{"SecretIdList":"hunter2"}"#, "SerializationException", "column 25");
    }

    const GET: &str =
        r#"{"SecretId":"hunter2","VersionStage":"hunter2","VersionId":"hunter2","a":[{}]}"#;
    const BATCH: &str = r#"{"SecretIdList":["a","hunter2"],"MaxResults":1}"#;

    proptest! {
        #[test]
        fn for_any_body_a_call_keeps_its_bounds_and_no_error_quotes_it(
            body in prop_oneof![mangled(GET), mangled(BATCH), json().prop_map(|json| json.to_string())],
        ) {
            for operation in
                [Operation::GetSecretValue, Operation::DescribeSecret, Operation::BatchGetSecretValue]
            {
                match operation.parse(body.as_bytes()) {
                    Ok(Call::Get(secret) | Call::Describe(secret)) => {
                        let chars = |text: &str| text.chars().count();
                        prop_assert!((1..=ID_CHARS_MAX).contains(&chars(&secret.reference)));
                        for (given, max) in
                            [(&secret.stage, STAGE_CHARS_MAX), (&secret.version, VERSION_CHARS_MAX)]
                        {
                            let is_good = |given: &str| (1..=max).contains(&chars(given));
                            prop_assert!(given.as_deref().is_none_or(is_good));
                        }
                    }
                    Ok(Call::Batch(ids)) => prop_assert!((1..=BATCH_MAX).contains(&ids.len())),
                    Ok(other) => prop_assert!(false, "{other:?}"),
                    Err(bad) => {
                        prop_assert!(!bad.to_string().contains(VALUE) && !bad.hint().contains(VALUE));
                    }
                }
            }
        }

        #[test]
        fn for_any_bytes_a_body_is_parsed_or_refused(body in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = Operation::GetSecretValue.parse(&body);
            let _ = Operation::BatchGetSecretValue.parse(&body);
        }

        #[test]
        fn for_any_members_a_call_is_parsed_back(id in text(), stage in text()) {
            let body = serde_json::json!({"SecretId": id, "VersionStage": stage}).to_string();
            match Operation::GetSecretValue.parse(body.as_bytes()) {
                Ok(Call::Get(secret)) => {
                    prop_assert_eq!(secret, RequestedSecret { reference: id, stage: Some(stage), version: None });
                }
                other => prop_assert!(id.is_empty() || stage.is_empty(), "{other:?}"),
            }
        }
    }
}

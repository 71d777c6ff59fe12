//! Parses a call of `GetParametersByPath`, the operation of Parameter Store that lists parameters.

use super::bad_call::BadCall;
use super::members::check_length;
use super::page::Page;
use crate::secret::key::Key;
use crate::secret::name::is_parameter_char;
use crate::secret::parameter_path::ParameterPath;
use crate::secret::reference::{ID_CHARS_MAX, SecretId};
use crate::secret::selector::Selector;
use serde::{Deserialize, Serialize};
use std::hash::{DefaultHasher, Hash, Hasher};

/// The default option of a filter in `GetParametersByPath`. AWS has the same default.
const EQUALS: &str = "Equals";

/// The maximum number of values in one filter of `GetParametersByPath`.
///
/// Source: `Values` of `ParameterStringFilter` in AWS's API reference.
const VALUES_MAX: usize = 50;

/// The maximum length of a value in a filter of `GetParametersByPath`, in characters.
///
/// Source: `Values` of `ParameterStringFilter` in AWS's API reference.
const VALUE_CHARS_MAX: usize = 1024;

/// A call of `GetParametersByPath`, which lists the parameters under a path, page by page.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RequestedPath {
    path: ParameterPath,
    /// Whether the caller gets the encrypted values of `SecureString` parameters. This is so if
    /// `WithDecryption` is not `true`.
    is_encrypted: bool,
    pub(crate) page: Page,
}

/// A filter of `GetParametersByPath`, in the form that Parameter Store expects. It selects
/// parameters by one of their properties.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Filter {
    key: FilterKey,
    option: FilterOption,
    values: Vec<String>,
}

/// The property of a parameter that a filter of `GetParametersByPath` compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
enum FilterKey {
    Type,
    KeyId,
    Label,
}

/// How a filter of `GetParametersByPath` compares a parameter's property with the values of the
/// filter.
#[derive(Clone, Copy, Debug, Serialize)]
enum FilterOption {
    Equals,
    BeginsWith,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct PathMembers {
    path: Option<String>,
    recursive: Option<bool>,
    with_decryption: Option<bool>,
    parameter_filters: Option<Vec<FilterMembers>>,
    max_results: Option<i64>,
    next_token: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct FilterMembers {
    key: Option<String>,
    option: Option<String>,
    values: Option<Vec<String>>,
}

impl RequestedPath {
    pub(super) fn of(members: PathMembers) -> Result<Self, BadCall> {
        let path = members.path.ok_or(BadCall::Missing("path"))?;
        check_length("path", &path, ID_CHARS_MAX)?;
        if !path.starts_with('/') || !path.chars().all(is_parameter_char) {
            return Err(BadCall::Path);
        }
        let filters = members.parameter_filters.unwrap_or_default();
        let filters = filters.into_iter().map(Filter::of).collect::<Result<Vec<_>, _>>()?;
        let filters = (!filters.is_empty()).then(|| {
            serde_json::to_string(&filters).expect("a list of filters must be serializable as JSON")
        });
        let is_recursive = members.recursive.unwrap_or_default();
        Ok(Self {
            path: ParameterPath::new(&path, is_recursive, filters.as_deref()),
            is_encrypted: !members.with_decryption.unwrap_or_default(),
            page: Page::of(members.max_results, members.next_token.as_deref())?,
        })
    }

    /// Returns the key under which the cache stores the list of all parameters under the path.
    pub(crate) fn key(&self) -> Key {
        let selector = Selector::parameter(None, None, self.is_encrypted);
        Key::own(SecretId::Path(self.path.clone()), selector)
    }

    /// Returns a hash of the path, the filters and the member `WithDecryption`. `NextToken`
    /// contains this hash, because it is valid only for calls with the same hash.
    pub(crate) fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.path, self.is_encrypted).hash(&mut hasher);
        hasher.finish()
    }
}

impl Filter {
    fn of(members: FilterMembers) -> Result<Self, BadCall> {
        let key = match members.key.ok_or(BadCall::Missing("parameterFilters.key"))?.as_str() {
            "Type" => FilterKey::Type,
            "KeyId" => FilterKey::KeyId,
            "Label" => FilterKey::Label,
            _ => return Err(BadCall::FilterKey),
        };
        let option = match members.option.as_deref().unwrap_or(EQUALS) {
            EQUALS => FilterOption::Equals,
            "BeginsWith" if key != FilterKey::Label => FilterOption::BeginsWith,
            _ if key == FilterKey::Label => return Err(BadCall::FilterOption(EQUALS)),
            _ => return Err(BadCall::FilterOption("Equals, BeginsWith")),
        };
        let values = members.values.unwrap_or_default();
        match values.len() {
            0 => return Err(BadCall::FilterValue),
            1..=VALUES_MAX => {}
            _ => {
                let member = "parameterFilters.values";
                return Err(BadCall::TooLong { member, max: VALUES_MAX });
            }
        }
        for value in &values {
            check_length("parameterFilters.values", value, VALUE_CHARS_MAX)?;
        }
        Ok(Self { key, option, values })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Call, Operation};
    use super::*;
    use crate::hostile::{VALUE, json, mangled};
    use proptest::prelude::*;

    fn parse(body: &str) -> Result<RequestedPath, BadCall> {
        match Operation::GetParametersByPath.parse(body.as_bytes())? {
            Call::GetParametersByPath(path) => Ok(path),
            other => panic!("unexpected call: {other:?}"),
        }
    }

    #[test]
    fn path_and_filters_are_parsed() {
        let call =
            parse(r#"{"Path":"/app/","MaxResults":3,"New":1}"#).expect("the call must be valid");
        let selector = Selector::parameter(None, None, true);
        let id = SecretId::Path(ParameterPath::new("/app", false, None));
        assert_eq!(call.key(), Key::own(id, selector));
        let body = r#"{"Path":"/","Recursive":true,"WithDecryption":true,"ParameterFilters":[
            {"Key":"Type","Option":"BeginsWith","Values":["String"]},
            {"Key":"Label","Values":["live","old"]}]}"#;
        let selector = Selector::parameter(None, None, false);
        let filters = r#"[{"Key":"Type","Option":"BeginsWith","Values":["String"]},{"Key":"Label","Option":"Equals","Values":["live","old"]}]"#;
        let id = SecretId::Path(ParameterPath::new("/", true, Some(filters)));
        assert_eq!(parse(body).expect("the call must be valid").key(), Key::own(id, selector));
    }

    #[track_caller]
    fn refused(body: &str, kind: &str, words: &str) {
        let bad = parse(body).expect_err("the call must not be valid");
        assert_eq!(bad.kind(), kind, "{body}");
        assert!(bad.to_string().contains(words), "{bad}");
        assert!(!bad.hint().is_empty());
    }

    #[test]
    fn bad_calls_get_error_messages_of_aws() {
        refused("{}", "ValidationException", "Value null at 'path'");
        refused(r#"{"Path":""}"#, "ValidationException", "greater than or equal");
        for path in ["app", "/a b", "/app/*"] {
            let body = format!(r#"{{"Path":"{path}"}}"#);
            refused(&body, "ValidationException", "must begin with");
        }
        let member = |text: &str| format!(r#"{{"Path":"/app",{text}}}"#);
        refused(&member(r#""MaxResults":11"#), "ValidationException", "less than or equal to 10");
        refused(&member(r#""MaxResults":0"#), "ValidationException", "greater than or equal");
        refused(&member(r#""NextToken":"x""#), "InvalidNextToken", "token isn't valid");
        refused(&member(r#""Recursive":"x""#), "SerializationException", "structure");
        let filter = |text: &str| member(&format!(r#""ParameterFilters":[{{{text}}}]"#));
        refused(&filter(""), "ValidationException", "'parameterFilters.key'");
        refused(
            &filter(r#""Key":"Name","Values":["x"]"#),
            "InvalidFilterKey",
            "[Type, KeyId, Label]",
        );
        let option = r#""Key":"Label","Option":"BeginsWith","Values":["x"]"#;
        refused(&filter(option), "InvalidFilterOption", "[Equals]");
        let option = r#""Key":"Type","Option":"Contains","Values":["x"]"#;
        refused(&filter(option), "InvalidFilterOption", "[Equals, BeginsWith]");
        refused(&filter(r#""Key":"Type""#), "InvalidFilterValue", "missing");
        refused(&filter(r#""Key":"Type","Values":[""]"#), "ValidationException", "or equal to 1");
        let values = ["\"x\""; 51].join(",");
        let values = format!(r#""Key":"Type","Values":[{values}]"#);
        refused(&filter(&values), "ValidationException", "less than or equal to 50");
    }

    #[test]
    fn fingerprint_changes_with_the_request() {
        let of = |body: &str| parse(body).expect("the call must be valid").fingerprint();
        let known = of(r#"{"Path":"/app"}"#);
        assert_eq!(known, of(r#"{"Path":"/app","MaxResults":1}"#));
        for other in [
            of(r#"{"Path":"/api"}"#),
            of(r#"{"Path":"/app","Recursive":true}"#),
            of(r#"{"Path":"/app","WithDecryption":true}"#),
            of(r#"{"Path":"/app","ParameterFilters":[{"Key":"Label","Values":["a"]}]}"#),
        ] {
            assert_ne!(other, known);
        }
    }

    const BODY: &str = r#"{"Path":"/hunter2","Recursive":true,"MaxResults":3,"NextToken":"hunter2","ParameterFilters":[{"Key":"hunter2","Option":"Equals","Values":["hunter2"]}]}"#;

    proptest! {
        #[test]
        fn for_any_body_a_call_keeps_its_limits_and_no_error_quotes_it(
            body in prop_oneof![mangled(BODY), json().prop_map(|json| json.to_string())],
        ) {
            match parse(&body) {
                Ok(call) => {
                    prop_assert!(call.path.path().starts_with('/'));
                    prop_assert!(call.path.path().len() <= ID_CHARS_MAX);
                }
                Err(bad) => {
                    prop_assert!(!bad.to_string().contains(VALUE) && !bad.hint().contains(VALUE));
                }
            }
        }
    }
}

//! Parses the call `GetParametersByPath` of Parameter Store.

use super::bad_call::BadCall;
use super::members::check_length;
use super::page::Page;
use crate::secret::name::is_parameter_char;
use crate::secret::reference::ID_CHARS_MAX;
use crate::secret::version::Version;
use serde::Deserialize;
use std::hash::{DefaultHasher, Hash, Hasher};

/// The option of a filter that names no option.
const EQUALS: &str = "Equals";

/// The maximum number of values of one filter.
///
/// Source: `Values` of `ParameterStringFilter` in AWS's API reference.
const VALUES_MAX: usize = 50;

/// The maximum length of a value of a filter, in characters.
///
/// Source: `Values` of `ParameterStringFilter` in AWS's API reference.
const VALUE_CHARS_MAX: usize = 1024;

/// A call that lists the parameters under a path, page by page.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RequestedPath {
    pub(crate) listed: ListedPath,
    pub(crate) page: Page,
}

/// The parameters that a call lists on all its pages.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct ListedPath {
    pub(crate) path: String,
    /// Whether the list includes the parameters of all levels below the path.
    pub(crate) is_recursive: bool,
    /// Whether the list contains the ciphertexts of `SecureString` parameters.
    pub(crate) is_encrypted: bool,
    pub(crate) filters: Vec<Filter>,
}

/// A condition on the listed parameters.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Filter {
    pub(crate) key: FilterKey,
    /// Whether the text of the parameter only has to begin with one of the values.
    pub(crate) is_prefix: bool,
    pub(crate) values: Vec<String>,
}

/// The property of a parameter to which a filter applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum FilterKey {
    Type,
    KeyId,
    Label,
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
        let listed = ListedPath {
            path,
            is_recursive: members.recursive.unwrap_or_default(),
            is_encrypted: !members.with_decryption.unwrap_or_default(),
            filters: filters.into_iter().map(Filter::of).collect::<Result<_, _>>()?,
        };
        let page = Page::of(members.max_results, members.next_token.as_deref())?;
        Ok(Self { listed, page })
    }
}

impl ListedPath {
    /// Returns a fingerprint of the list that AWS returned for this path. Another call has another
    /// fingerprint, and so has another state of the listed parameters.
    pub(crate) fn fingerprint<'a>(&self, versions: impl Iterator<Item = &'a Version>) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        for version in versions {
            (&version.arn, &version.id, version.created).hash(&mut hasher);
        }
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
        let is_prefix = match members.option.as_deref().unwrap_or(EQUALS) {
            EQUALS => false,
            "BeginsWith" if key != FilterKey::Label => true,
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
        Ok(Self { key, is_prefix, values })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Call, Operation};
    use super::*;
    use crate::hostile::{VALUE, json, mangled};
    use crate::secret::version::{Content, Details};
    use proptest::prelude::*;
    use std::time::UNIX_EPOCH;

    fn parse(body: &str) -> Result<RequestedPath, BadCall> {
        match Operation::GetParametersByPath.parse(body.as_bytes())? {
            Call::GetParametersByPath(path) => Ok(path),
            other => panic!("unexpected call: {other:?}"),
        }
    }

    #[test]
    fn path_and_filters_are_parsed() {
        let call = parse(r#"{"Path":"/app","MaxResults":3,"New":1}"#).expect("the call is valid");
        let expected = ListedPath {
            path: "/app".to_owned(),
            is_recursive: false,
            is_encrypted: true,
            filters: Vec::new(),
        };
        assert_eq!(call.listed, expected);
        let body = r#"{"Path":"/","Recursive":true,"WithDecryption":true,"ParameterFilters":[
            {"Key":"Type","Option":"BeginsWith","Values":["String"]},
            {"Key":"Label","Values":["live","old"]}]}"#;
        let listed = parse(body).expect("the call is valid").listed;
        assert!(listed.is_recursive && !listed.is_encrypted);
        let filter = |key, is_prefix, values: &[&str]| {
            let values = values.iter().map(|value| (*value).to_owned()).collect();
            Filter { key, is_prefix, values }
        };
        let labels = filter(FilterKey::Label, false, &["live", "old"]);
        assert_eq!(listed.filters, [filter(FilterKey::Type, true, &["String"]), labels]);
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
        refused(r#"{"Path":""}"#, "ValidationException", "greater than or equal to 1");
        for path in ["app", "/a b", "/app/*"] {
            let body = format!(r#"{{"Path":"{path}"}}"#);
            refused(&body, "ValidationException", "must begin with a forward slash \"/\"");
        }
        let member = |text: &str| format!(r#"{{"Path":"/app",{text}}}"#);
        refused(&member(r#""MaxResults":11"#), "ValidationException", "less than or equal to 10");
        refused(&member(r#""MaxResults":0"#), "ValidationException", "greater than or equal to 1");
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
        let values = vec!["\"x\""; 51].join(",");
        let values = format!(r#""Key":"Type","Values":[{values}]"#);
        refused(&filter(&values), "ValidationException", "less than or equal to 50");
    }

    #[test]
    fn fingerprint_changes_with_the_call_and_with_each_parameter() {
        let version = |number: &str| Version {
            arn: "arn".into(),
            name: "/app/url".into(),
            id: number.into(),
            created: Some(UNIX_EPOCH),
            content: Content::Text(String::new().into()),
            details: Details::Secret { labels: Vec::new() },
        };
        let of = |body: &str, versions: &[Version]| {
            parse(body).expect("the call is valid").listed.fingerprint(versions.iter())
        };
        let (first, second) = (version("1"), version("2"));
        let app = r#"{"Path":"/app"}"#;
        let known = of(app, std::slice::from_ref(&first));
        assert_eq!(known, of(r#"{"Path":"/app","MaxResults":1}"#, std::slice::from_ref(&first)));
        for other in [
            of(app, &[]),
            of(app, std::slice::from_ref(&second)),
            of(app, &[first.clone(), second]),
            of(r#"{"Path":"/api"}"#, std::slice::from_ref(&first)),
            of(r#"{"Path":"/app","Recursive":true}"#, std::slice::from_ref(&first)),
            of(r#"{"Path":"/app","WithDecryption":true}"#, &[first]),
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
                    prop_assert!(call.listed.path.starts_with('/'));
                    prop_assert!(call.listed.path.len() <= ID_CHARS_MAX);
                }
                Err(bad) => {
                    prop_assert!(!bad.to_string().contains(VALUE) && !bad.hint().contains(VALUE));
                }
            }
        }
    }
}

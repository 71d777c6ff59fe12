//! The name or ARN of a parameter in a request, optionally followed by a version number or a label.

use super::error;
use crate::error::AwsError;
use crate::location::Location;

/// The maximum length of a parameter's name or ARN in a request, in bytes. The length includes a
/// version or label after the name.
///
/// Source: `PSParameterName` in AWS's API reference.
const TEXT_LEN_MAX: usize = 2048;

/// The maximum length of the name of a new parameter in bytes.
///
/// Source: `Name` of `PutParameter` in AWS's API reference.
const NAME_LEN_MAX: usize = 1011;

/// The maximum number of levels in the name of a new parameter. The name `/a/b` has two levels.
///
/// Source: `Name` of `PutParameter` in AWS's API reference.
const LEVELS_MAX: usize = 15;

/// The prefix of names that refer to secrets of Secrets Manager. The name or ARN of the secret
/// follows the prefix.
const SECRET_PREFIX: &str = "/aws/reference/secretsmanager/";

/// The prefix of the names of public parameters. AWS owns these parameters, so their ARNs contain
/// no account.
pub(crate) const PUBLIC_PREFIX: &str = "/aws/service/";

/// The name of a parameter in a request, after parsing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ParameterId<'a> {
    /// The account and region in the ARN, or `None` if the request contains a name. The account of
    /// a public parameter is empty.
    pub(crate) location: Option<Location>,
    pub(crate) name: &'a str,
    /// The number or a label of a version, or `None` for the latest version.
    pub(crate) selector: Option<&'a str>,
}

impl<'a> ParameterId<'a> {
    pub(crate) fn parse(text: &'a str) -> Result<Self, AwsError> {
        check_length(text, TEXT_LEN_MAX)?;
        let (location, rest) = match split_arn(text) {
            Some((location, rest)) => (Some(location), rest),
            None => (None, text),
        };
        let (name, selector) = match rest.split_once(':') {
            None => (rest, None),
            Some((_, selector)) if selector.is_empty() || selector.contains(':') => {
                return Err(error::malformed_selector());
            }
            Some((name, selector)) => (name, Some(selector)),
        };
        let id = Self { location, name, selector };
        // The name or ARN of a secret can contain more characters than the name of a parameter.
        if id.secret_id().is_none() {
            check_characters(name)?;
        }
        Ok(id)
    }

    /// Returns the id of the secret to which this name refers, or `None` if the name does not refer
    /// to a secret.
    pub(crate) fn secret_id(&self) -> Option<&'a str> {
        self.name.strip_prefix(SECRET_PREFIX)
    }
}

/// Splits the ARN of a parameter into the location and the name. The name may end with a version or
/// a label. Returns `None` if `text` is not the ARN of a parameter.
fn split_arn(text: &str) -> Option<(Location, &str)> {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let ["arn", _, "ssm", region, account, resource] = parts[..] else { return None };
    let name = resource.strip_prefix("parameter").filter(|name| name.starts_with('/'))?;
    Some((Location::new(account, region), name))
}

/// Returns the ARN of the parameter called `name`. The ARNs of `url` and `/url` are equal.
pub(crate) fn arn(location: &Location, name: &str) -> String {
    let Location { account, region } = location;
    let account = if name.starts_with(PUBLIC_PREFIX) { "" } else { account };
    format!("arn:aws:ssm:{region}:{account}:parameter/{}", name.trim_start_matches('/'))
}

/// Returns an error if AWS would not accept `name` as the name of a new parameter.
pub(crate) fn check_new_name(name: &str) -> Result<(), AwsError> {
    check_length(name, NAME_LEN_MAX)?;
    check_characters(name)?;
    let levels = name.trim_start_matches('/').split('/').count();
    if levels > LEVELS_MAX {
        return Err(AwsError::new(
            "HierarchyLevelLimitExceededException",
            "A hierarchy can have a maximum of 15 levels.",
        ));
    }
    if levels > 1 && !name.starts_with('/') {
        return Err(AwsError::validation("Parameter name must be a fully qualified name."));
    }
    if starts_with_word(name, "aws") {
        return Err(if levels > 1 {
            AwsError::new(
                "AccessDeniedException",
                format!("No access to reserved parameter name: {name}."),
            )
        } else {
            AwsError::validation(
                "Parameter name: can't be prefixed with \"aws\" or \"ssm\" (case-insensitive).",
            )
        });
    }
    Ok(())
}

fn check_length(name: &str, max: usize) -> Result<(), AwsError> {
    let constraint = match name.len() {
        0 => "Member must have length greater than or equal to 1".to_owned(),
        len if len > max => format!("Member must have length less than or equal to {max}"),
        _ => return Ok(()),
    };
    Err(AwsError::broken_constraint("name", Some(&format!("'{name}'")), &constraint))
}

fn check_characters(name: &str) -> Result<(), AwsError> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-/".contains(&byte);
    if !name.bytes().all(is_allowed) || starts_with_word(name, "ssm") {
        return Err(error::invalid_name());
    }
    Ok(())
}

/// Returns whether a name starts with `word`, in upper or lower case. Slashes at the beginning of
/// the name are ignored.
fn starts_with_word(name: &str, word: &str) -> bool {
    let name = name.trim_start_matches('/');
    name.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, name: &str, selector: Option<&str>) {
        let expected = ParameterId { location: None, name, selector };
        assert_eq!(ParameterId::parse(text), Ok(expected));
    }

    #[test]
    fn selector_follows_the_name_after_a_colon() {
        check("url", "url", None);
        check("/app/url", "/app/url", None);
        check("/app/url:3", "/app/url", Some("3"));
        check("/app/url:live", "/app/url", Some("live"));
    }

    #[test]
    fn arn_contains_the_location_and_the_name() {
        let location = Location::new("111122223333", "eu-west-1");
        let arn_of_url = arn(&location, "/app/url");
        assert_eq!(arn_of_url, "arn:aws:ssm:eu-west-1:111122223333:parameter/app/url");
        assert_eq!(arn(&location, "url"), "arn:aws:ssm:eu-west-1:111122223333:parameter/url");
        let text = format!("{arn_of_url}:3");
        let expected =
            ParameterId { location: Some(location), name: "/app/url", selector: Some("3") };
        assert_eq!(ParameterId::parse(&text), Ok(expected));
    }

    #[test]
    fn arn_of_a_public_parameter_has_no_account() {
        let found = arn(&Location::default(), "/aws/service/list/regions");
        assert_eq!(found, "arn:aws:ssm:eu-north-1::parameter/aws/service/list/regions");
    }

    #[test]
    fn reference_contains_the_id_of_a_secret() {
        let id = ParameterId::parse("/aws/reference/secretsmanager/app/db@1:AWSPREVIOUS")
            .expect("the name must be valid");
        assert_eq!((id.secret_id(), id.selector), (Some("app/db@1"), Some("AWSPREVIOUS")));
    }

    #[test]
    fn malformed_names_are_rejected() {
        let too_long = "x".repeat(2049);
        for text in [
            "",
            "/app/a b",
            "/app/url:",
            "/app/url:1:2",
            "ssm",
            "/SSM-x",
            "arn:aws:s3:::bucket",
            &too_long,
        ] {
            let error = ParameterId::parse(text).expect_err("the name must be invalid");
            assert_eq!(error.kind, "ValidationException", "{text}");
        }
    }

    #[test]
    fn names_that_aws_rejects_cannot_be_created() {
        assert_eq!(check_new_name(&format!("/{}", ["x"; 15].join("/"))), Ok(()));
        let long = format!("/{}", "x".repeat(1011));
        let deep = format!("/{}", ["x"; 16].join("/"));
        for (name, kind) in [
            ("app/url", "ValidationException"),
            ("url:1", "ValidationException"),
            ("awsurl", "ValidationException"),
            ("/AWS/url", "AccessDeniedException"),
            (long.as_str(), "ValidationException"),
            (deep.as_str(), "HierarchyLevelLimitExceededException"),
        ] {
            let error = check_new_name(name).expect_err("the name must be invalid");
            assert_eq!(error.kind, kind, "{name}");
        }
    }
}

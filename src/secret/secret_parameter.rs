//! Secrets of Secrets Manager that callers read as parameters of Parameter Store.
//!
//! Source: AWS's page *Referencing AWS Secrets Manager secrets from Parameter Store parameters* in
//! the Systems Manager user guide.

/// The beginning of the name by which Parameter Store reads a secret. The name or ARN of the secret
/// follows.
const PREFIX: &str = "/aws/reference/secretsmanager/";

/// The minimum length of a version id of a secret, in characters.
///
/// Source: `VersionId` of `GetSecretValue` in AWS's API reference (32 to 64).
const VERSION_CHARS_MIN: usize = 32;

const ARN_COLONS: usize = 6;

/// A secret that a caller reads as a parameter, by a name such as
/// `/aws/reference/secretsmanager/app/db`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SecretParameter<'a> {
    /// The name of the parameter, without the version after a colon and without the field after
    /// `#`.
    pub(crate) name: &'a str,
    /// The name or ARN of the secret.
    pub(crate) id: &'a str,
    /// The staging label or the version id of the secret that the caller asks for. `None` means the
    /// current version.
    pub(crate) selector: Option<&'a str>,
}

impl<'a> SecretParameter<'a> {
    /// Parses the name of a parameter. A staging label or a version id can follow after a colon,
    /// and a field after `#`. Returns `None` if the name does not stand for a secret.
    pub(crate) fn of(text: &'a str) -> Option<Self> {
        let text = text.split('#').next().unwrap_or_default();
        let rest = text.strip_prefix(PREFIX)?;
        let colons_in_id = if rest.starts_with("arn:") { ARN_COLONS } else { 0 };
        let colon = rest.match_indices(':').nth(colons_in_id).map(|(at, _)| at);
        let id = &rest[..colon.unwrap_or(rest.len())];
        let selector = colon.map(|colon| &rest[colon + 1..]).filter(|text| !text.is_empty());
        Some(Self { name: &text[..PREFIX.len() + id.len()], id, selector })
    }
}

/// Returns whether the text after a secret's name and a colon is a version id. A shorter text is a
/// staging label.
pub(super) fn is_version_id(selector: &str) -> bool {
    selector.len() >= VERSION_CHARS_MIN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<(&str, &str, Option<&str>)>) {
        let found = SecretParameter::of(text);
        assert_eq!(found.map(|secret| (secret.name, secret.id, secret.selector)), expected);
    }

    #[test]
    fn secrets_are_recognised_by_the_beginning_of_the_name() {
        let arn = "arn:aws:secretsmanager:eu-north-1:123456789012:secret:app/db-AbC123";
        for (id, end, selector) in [
            ("app/db", "", None),
            ("app/db", ":", None),
            ("app/db", ":AWSPREVIOUS", Some("AWSPREVIOUS")),
            ("app/db", "#user", None),
            ("app/db", ":a#user:b", Some("a")),
            (arn, "", None),
            (arn, ":AWSPREVIOUS", Some("AWSPREVIOUS")),
        ] {
            let name = format!("{PREFIX}{id}");
            check(&format!("{name}{end}"), Some((&name, id, selector)));
        }
        check("/app/url", None);
        check("/aws/reference/other/app", None);
    }

    #[test]
    fn version_ids_are_longer_than_staging_labels() {
        assert!(is_version_id("11111111-2222-4333-8444-555555555555"));
        assert!(!is_version_id("AWSPREVIOUS"));
    }
}

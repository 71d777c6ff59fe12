//! The key of a cached secret.

use super::arn::Arn;
use super::role::RoleArn;
use super::secret_id::SecretId;
use super::selector::Selector;
use super::version::Version;

/// The key under which the cache stores a version of a secret or parameter. Callers that request
/// the same key at the same time share one call to AWS.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The IAM role that Sidekey assumes for the call to AWS. `None` means Sidekey's own AWS
    /// credentials.
    pub role: Option<RoleArn>,
    /// The name or ARN of the secret or parameter, as the caller wrote it.
    pub id: SecretId,
    /// The requested version of the secret or parameter.
    pub selector: Selector,
}

/// A [`Key`] whose parts are borrowed, so that a look-up in the cache copies nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyRef<'a> {
    /// The IAM role that Sidekey assumes for the call to AWS. `None` means Sidekey's own AWS
    /// credentials.
    pub role: Option<&'a RoleArn>,
    /// The name or ARN of the secret or parameter, as the caller wrote it.
    pub id: &'a str,
    /// The requested version of the secret or parameter.
    pub selector: &'a Selector,
}

impl<'a> From<&'a Key> for KeyRef<'a> {
    fn from(key: &'a Key) -> Self {
        Self { role: key.role.as_ref(), id: key.id.as_str(), selector: &key.selector }
    }
}

impl Key {
    /// Creates the key of a secret or parameter that Sidekey reads with its own AWS credentials.
    pub fn own(id: SecretId, selector: Selector) -> Self {
        Self { role: None, id, selector }
    }

    /// Returns whether `version`, whose full ARN is `arn`, is the version that this key asks for.
    /// If AWS returned no staging labels, the label in the key is ignored.
    pub(crate) fn is_answered_by(&self, version: &Version, arn: &Arn) -> bool {
        let is_unlabelled = version.labels().is_empty();
        self.id.means(arn, &version.name)
            && self.selector.version().is_none_or(|id| *version.id == *id)
            && self.selector.stage().is_none_or(|label| is_unlabelled || version.carries(label))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::value::SecretValue;
    use crate::secret::version::{Content, Details};

    const HERE: &str = "arn:aws:secretsmanager:eu-north-1:123456789012:secret:";

    /// Checks whether the secret `name`, whose full ARN ends in `resource`, answers a request for
    /// `id`, which is a name or the end of an ARN.
    #[track_caller]
    fn check(id: &str, is_arn: bool, name: &str, resource: &str, expected: bool) {
        let id = if is_arn { format!("{HERE}{id}") } else { id.to_owned() };
        let key = Key::own(id_of(&id), Selector::current());
        let (version, arn) = version(name, resource, "v1", &["AWSCURRENT"]);
        assert_eq!(key.is_answered_by(&version, &arn), expected, "{id} {resource}");
    }

    fn id_of(id: &str) -> SecretId {
        SecretId::parse(id).expect("the name or ARN in the test must be valid")
    }

    fn version(name: &str, resource: &str, id: &str, labels: &[&str]) -> (Version, Arn) {
        let arn = format!("{HERE}{resource}");
        let version = Version {
            arn: arn.as_str().into(),
            name: name.into(),
            id: id.into(),
            created: None,
            content: Content::Text(SecretValue::from(String::new())),
            details: Details::Secret {
                labels: labels.iter().map(|label| (*label).into()).collect(),
            },
        };
        (version, Arn::parse(&arn).expect("the ARN in the test must be valid"))
    }

    #[test]
    fn answer_must_name_the_requested_secret() {
        check("app/db", false, "app/db", "app/db-AbC123", true);
        check("app/db", false, "app/api", "app/api-AbC123", false);
        check("app/db", false, "app/db2", "app/db2-AbC123", false);
        check("app/db-AbC123", true, "app/db", "app/db-AbC123", true);
        check("app/db-AbC123", true, "app/db", "app/db-XyZ789", false);
        check("app/db-AbC123", true, "app/api", "app/api-AbC123", false);
        check("app/db", true, "app/db", "app/db-AbC123", true);
        check("app/d", true, "app/db", "app/db-AbC123", false);
        check("app/db-AbC123", true, "app/db-AbC123", "app/db-AbC123-XyZ789", true);
    }

    #[test]
    fn answer_of_another_account_does_not_fit_an_arn() {
        let other = HERE.replace("123456789012", "210987654321");
        let key = Key::own(id_of(&format!("{other}app/db")), Selector::current());
        let (version, arn) = version("app/db", "app/db-AbC123", "v1", &["AWSCURRENT"]);
        assert!(!key.is_answered_by(&version, &arn));
    }

    #[test]
    fn answer_must_be_the_requested_version() {
        for (stage, id, labels, expected) in [
            (None, Some("v1"), &["AWSPREVIOUS"][..], true),
            (None, Some("v2"), &["AWSPREVIOUS"], false),
            (Some("AWSPREVIOUS"), None, &["AWSPREVIOUS", "BLUE"], true),
            (Some("AWSPREVIOUS"), None, &["AWSCURRENT"], false),
            (Some("AWSPREVIOUS"), None, &[], true),
        ] {
            let key = Key::own(id_of("app/db"), Selector::new(stage, id));
            let (version, arn) = version("app/db", "app/db-AbC123", "v1", labels);
            assert_eq!(key.is_answered_by(&version, &arn), expected, "{stage:?} {id:?} {labels:?}");
        }
    }
}

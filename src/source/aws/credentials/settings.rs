//! The settings for getting AWS credentials. The Lambda layer and all other builds share this code.

#[cfg(feature = "host")]
use super::credential_process::Runner;
use crate::source::aws::http::{self, Timeouts};
use aws_credential_types::Credentials;
use std::collections::BTreeMap;
#[cfg(feature = "host")]
use std::sync::Arc;

/// The settings for getting AWS credentials. The type does not implement `Debug`,
/// because the environment variables contain keys and session tokens.
#[derive(Clone)]
pub(in super::super) struct Settings {
    pub(in super::super) environment: BTreeMap<String, String>,
    pub(in super::super) region: Option<String>,
    pub(in super::super) http: http::Client,
    /// The maximum times for one call that gets credentials.
    pub(in super::super) timeouts: Timeouts,
    #[cfg(feature = "host")]
    pub(in super::super) process_runner: Arc<Runner>,
}

/// Returns the AWS credentials in `environment`, or `None` if `environment` contains no complete
/// access key. On Lambda, these are the credentials of the Lambda function.
///
/// The AWS SDK reads the same variables first, but its chain of credential providers would cost 5 %
/// more CPU instructions when the agent starts.
pub(super) fn environment_credentials(
    environment: &BTreeMap<String, String>,
) -> Option<Credentials> {
    let value = |name: &str| {
        let value = environment.get(name).map(|value| value.trim());
        value.filter(|value| !value.is_empty()).map(str::to_owned)
    };
    let mut credentials = Credentials::builder()
        .access_key_id(value("AWS_ACCESS_KEY_ID")?)
        .secret_access_key(value("AWS_SECRET_ACCESS_KEY")?)
        .provider_name("environment");
    credentials.set_session_token(value("AWS_SESSION_TOKEN"));
    Some(credentials.build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pairs: &[(&str, &str)], expected: Option<(&str, Option<&str>)>) {
        let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let found = environment_credentials(&pairs.collect());
        let found = found.as_ref().map(|it| (it.secret_access_key(), it.session_token()));
        assert_eq!(found, expected);
    }

    #[test]
    fn environment_credentials_need_both_parts_of_an_access_key() {
        let (id, key) = (("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "key"));
        check(&[id, key, ("AWS_SESSION_TOKEN", "token")], Some(("key", Some("token"))));
        check(&[id, key, ("AWS_SESSION_TOKEN", "")], Some(("key", None)));
        check(&[id], None);
        check(&[id, ("AWS_SECRET_ACCESS_KEY", " ")], None);
        check(&[], None);
    }
}

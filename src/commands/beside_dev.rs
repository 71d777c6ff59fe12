//! Lets `sidekey check` read from the fake Secrets Manager of a running `sidekey dev`, instead of
//! from AWS.

use crate::config::vars::{Overridden, Vars};

/// Environment variables that choose an AWS account, a region or an endpoint, directly or through a
/// file. If one of these variables is set, `sidekey check` ignores a running `sidekey dev`.
const CHOICES: [&str; 13] = [
    // The files ~/.aws/config and ~/.aws/credentials do not count, because most developers have
    // these files. AWS_REGION does not count either, because it chooses no account.
    "SIDEKEY_CONFIG",
    "SIDEKEY_ENDPOINT",
    "SIDEKEY_SSM_ENDPOINT",
    "SIDEKEY_REGION",
    "AWS_ACCESS_KEY_ID",
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
];

/// Returns whether `sidekey check` may read from the fake Secrets Manager of a running
/// `sidekey dev`, instead of from AWS. Returns `false` if a variable in `vars` chooses another
/// source, such as an AWS account.
pub(super) fn is_fake_allowed(vars: &dyn Vars) -> bool {
    CHOICES.iter().all(|name| vars.get(name).is_none_or(|value| value.trim().is_empty()))
}

/// Changes `vars` so that a command calls the fake of AWS at the URL `endpoint` instead of AWS.
pub(super) fn use_fake(vars: &mut Overridden<'_>, endpoint: &str) {
    for (name, value) in fake_variables(endpoint) {
        vars.set(name, value);
    }
}

/// Returns the variables with which an agent calls the fake of AWS at the URL `endpoint`.
/// The fake accepts any credentials, so the credentials are dummy values.
pub(super) fn fake_variables(endpoint: &str) -> [(&'static str, &str); 6] {
    [
        ("SIDEKEY_ENDPOINT", endpoint),
        // Parameter Store of the fake has the same endpoint, even if the user has set another one.
        ("SIDEKEY_SSM_ENDPOINT", endpoint),
        ("SIDEKEY_REGION", "eu-north-1"),
        ("AWS_ACCESS_KEY_ID", "ASIADEVELOPMENT00000"),
        ("AWS_SECRET_ACCESS_KEY", "development"),
        ("AWS_SESSION_TOKEN", "development"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn fake_is_allowed_unless_a_variable_chooses_an_account() {
        let allowed = |name: &str, value: &str| {
            let vars = BTreeMap::from([(name.to_owned(), value.to_owned())]);
            is_fake_allowed(&vars)
        };
        assert!(allowed("AWS_REGION", "eu-north-1") && allowed("AWS_PROFILE", ""));
        for name in [
            "SIDEKEY_CONFIG",
            "SIDEKEY_REGION",
            "AWS_DEFAULT_PROFILE",
            "AWS_CONFIG_FILE",
            "AWS_SHARED_CREDENTIALS_FILE",
        ]
        .into_iter()
        .chain(CHOICES)
        {
            assert!(!allowed(name, "x"), "{name}");
        }
    }
}

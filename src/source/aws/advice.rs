//! Writes advice for the user after a failed call to AWS. The advice says which endpoint Sidekey
//! called, where its AWS credentials come from, and which command to run next.

use crate::secret::region::nearest_if_unknown;
use crate::secret::role::RoleArn;
use crate::source::{FetchError, FetchErrorKind};
use std::collections::BTreeMap;

/// The endpoint and the source of the AWS credentials of a failed call, for the advice to the user.
#[derive(Clone, Copy, Debug)]
pub(super) struct CallSite<'a> {
    /// The URL that Sidekey called, such as `https://secretsmanager.eu-north-1.amazonaws.com`.
    pub(super) url: &'a str,
    pub(super) region: &'a str,
    /// Where the AWS credentials of the failed call come from, such as `the profile dev`.
    pub(super) credentials: &'a str,
    /// The variable that sets the maximum time for the call, such as `SIDEKEY_UPSTREAM_TIMEOUT`.
    pub(super) timeout_setting: &'static str,
    /// The assumed role of the failed call. `None` if the agent used its own credentials.
    pub(super) role: Option<&'a RoleArn>,
}

/// Returns advice for a call to AWS that failed because of the network, the credentials or the
/// clock, or because AWS denied access to an assumed role. Returns `None` for other errors, because
/// general advice is enough for them.
pub(super) fn of(error: &FetchError, site: CallSite<'_>) -> Option<String> {
    let CallSite { url, region, credentials, timeout_setting, role } = site;
    let misspelt = match nearest_if_unknown(region) {
        Some(nearest) => {
            format!("; {region} is not a known region of AWS: did you mean {nearest}?")
        }
        None => String::new(),
    };
    let called = format!("{url} in region {region}");
    match error.kind {
        FetchErrorKind::Connection => Some(format!(
            "check the network: Sidekey calls {called}, with credentials from {credentials}{misspelt}; \
             test DNS, the VPC endpoint, the security group and the proxy with `curl -v {url}`"
        )),
        FetchErrorKind::Timeout => Some(format!(
            "check the network: {called} did not respond within {timeout_setting}{misspelt}; test DNS, \
             the VPC endpoint, the security group and the proxy with `curl -v {url}`"
        )),
        FetchErrorKind::Credentials if is_about_the_clock(error) => Some(format!(
            "set the clock of this machine: AWS refuses signatures whose time differs by more than 5 \
             minutes; compare `date -u` with the header Date of `curl -sI {url}`"
        )),
        FetchErrorKind::Credentials => Some(format!(
            "check the role, the profile or the environment variables: Sidekey signs with credentials \
             from {credentials}, and calls {called}{misspelt}; test the credentials with \
             `aws sts get-caller-identity`; Sidekey detects new credentials without a restart, \
             except in environment variables"
        )),
        FetchErrorKind::Denied => role.map(|role| {
            format!(
                "allow the role {role} to read this secret or parameter, and to use its KMS key if \
                 it has a key of its own; `sidekey policy --role {role} --write role` writes the \
                 policy of this role"
            )
        }),
        _ => None,
    }
}

/// Returns whether AWS rejected a call because of the time in its signature. The clock of this
/// machine is then wrong.
fn is_about_the_clock(error: &FetchError) -> bool {
    matches!(&*error.code, "RequestExpired" | "RequestTimeTooSkewed")
        || error.message.starts_with("Signature expired")
        || error.message.starts_with("Signature not yet current")
}

/// Returns the place where the AWS SDK first looks for credentials, such as `the profile dev`. The
/// environment variables decide this.
pub(super) fn credentials_source(environment: &BTreeMap<String, String>) -> String {
    let value = |name: &str| environment.get(name).filter(|value| !value.trim().is_empty());
    let has = |name: &str| value(name).is_some();
    if has("AWS_ACCESS_KEY_ID") && has("AWS_SECRET_ACCESS_KEY") {
        return "the variables AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY".to_owned();
    }
    if let Some(profile) = value("AWS_PROFILE") {
        return format!("the profile {}", profile.escape_default());
    }
    let by_variable = [
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    ];
    match by_variable.into_iter().find(|name| has(name)) {
        Some(name) => format!("the variable {name}"),
        None => "the profile default, or else the instance's role".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SITE: CallSite<'_> = CallSite {
        url: "https://secretsmanager.eu-wset-1.amazonaws.com",
        region: "eu-wset-1",
        credentials: "the profile dev",
        timeout_setting: "SIDEKEY_UPSTREAM_TIMEOUT",
        role: None,
    };

    #[track_caller]
    fn check(kind: FetchErrorKind, code: &str, message: &str, parts: &[&str]) {
        let advice = of(&FetchError::new(kind, code, message), SITE);
        let advice = advice.expect("the error must have advice for the user");
        for part in parts {
            assert!(advice.contains(part), "{part}: {advice}");
        }
    }

    #[test]
    fn advice_names_what_was_called_and_the_next_command() {
        let named = [SITE.url, SITE.region, "did you mean eu-west-1?"];
        let of_kind = |kind, next: &str| {
            check(kind, "C", "m", &[&named[..], &[next]].concat());
        };
        of_kind(FetchErrorKind::Connection, "`curl -v https://secretsmanager.eu-wset-1");
        of_kind(FetchErrorKind::Connection, "credentials from the profile dev");
        of_kind(FetchErrorKind::Timeout, "SIDEKEY_UPSTREAM_TIMEOUT");
        of_kind(FetchErrorKind::Credentials, "credentials from the profile dev");
        of_kind(FetchErrorKind::Credentials, "`aws sts get-caller-identity`");
        let known = CallSite { region: "eu-west-1", ..SITE };
        let refused = FetchError::new(FetchErrorKind::Credentials, "ExpiredTokenException", "m");
        assert!(of(&refused, known).is_some_and(|advice| !advice.contains("did you mean")));
        let missing = FetchError::new(FetchErrorKind::NotFound, "C", "m");
        assert_eq!(of(&missing, SITE), None);
    }

    #[test]
    fn denied_access_is_advised_about_only_for_a_role() {
        let denied = FetchError::new(FetchErrorKind::Denied, "AccessDeniedException", "m");
        assert_eq!(of(&denied, SITE), None);
        let role = RoleArn::parse("arn:aws:iam::210987654321:role/reader");
        let role = role.expect("the ARN of the role must be valid");
        let advice = of(&denied, CallSite { role: Some(&role), ..SITE });
        assert!(advice.is_some_and(|advice| advice.contains("--role arn:aws:iam::210987654321")));
    }

    #[test]
    fn expired_signature_is_blamed_on_the_clock() {
        let message = "Signature expired: 20261129T100000Z is now earlier than 20261129T101500Z";
        for (code, message) in [
            ("InvalidSignatureException", message),
            ("InvalidSignatureException", "Signature not yet current: 20261129T100000Z"),
            ("RequestExpired", "m"),
            ("RequestTimeTooSkewed", "m"),
        ] {
            check(FetchErrorKind::Credentials, code, message, &["the clock", "`date -u`"]);
        }
    }

    #[test]
    fn source_of_credentials_is_the_first_in_the_order_of_the_sdk() {
        let source = |names: &[&str]| {
            let pairs = names.iter().map(|name| ((*name).to_owned(), "x\n".to_owned()));
            credentials_source(&pairs.collect())
        };
        let keys = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"];
        assert!(source(&keys).starts_with("the variables AWS_ACCESS_KEY_ID"));
        assert_eq!(source(&keys[1..]), "the profile x\\n");
        assert_eq!(
            source(&["AWS_CONTAINER_CREDENTIALS_FULL_URI"]),
            "the variable AWS_CONTAINER_CREDENTIALS_FULL_URI"
        );
        assert_eq!(source(&[]), "the profile default, or else the instance's role");
    }
}

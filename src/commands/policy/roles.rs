//! The policies for reads with an assumed role: the permission to assume the role, the policy of the
//! role, and its trust policy.

use crate::secret::reference::Reference;
use crate::secret::role::RoleArn;
use crate::secret::role_rules::RoleRules;
use serde_json::json;

/// Which policy `sidekey policy` writes if secrets are read with a role.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Which {
    /// The policy of Sidekey's own role
    #[default]
    Own,
    /// The policy of the assumed role
    Role,
    /// The trust policy of the assumed role
    Trust,
}

/// The names, ARNs and patterns for which `sidekey policy` writes policies, grouped by the role
/// with which Sidekey reads these secrets.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Divided {
    pub(super) own: Vec<String>,
    pub(super) by_role: Vec<(RoleArn, Vec<String>)>,
}

impl Divided {
    /// Returns the role with which Sidekey reads secrets, and the secrets' names, ARNs and
    /// patterns. Returns an error message if no role, or more than one role, is used.
    pub(super) fn only_role(&self) -> Result<(&RoleArn, &[String]), &'static str> {
        match &self.by_role[..] {
            [(role, targets)] => Ok((role, targets)),
            [] => Err("no secret is read with a role; name the role with --role"),
            _ => Err("the secrets are read with several roles; choose one with --role"),
        }
    }
}

/// Returns the external id of a role in the configuration: the role `given`, which the user gave as
/// an argument, or, if `given` is `None`, the only role in `configured`.
pub(super) fn external_id<'a>(
    given: Option<&RoleArn>,
    configured: &[(&RoleArn, Option<&'a str>)],
) -> Result<Option<&'a str>, &'static str> {
    match (given, configured) {
        (Some(given), all) => Ok(all
            .iter()
            .find(|(role, _)| *role == given)
            .and_then(|(_, external_id)| *external_id)),
        (None, [(_, external_id)]) => Ok(*external_id),
        (None, _) => Err(
            "the configuration does not contain exactly one role; name the role of the trust policy with --role",
        ),
    }
}

/// Groups the names, ARNs and patterns in `targets` by the role with which Sidekey reads these
/// secrets: the role `given`, which the user gave as an argument, or else the role in the
/// configuration.
pub(super) fn divided(targets: &[String], given: Option<&RoleArn>, rules: &RoleRules) -> Divided {
    let mut divided = Divided::default();
    for target in targets {
        let role = match given {
            Some(role) => Some(role.clone()),
            None => configured_role(target, rules),
        };
        let Some(role) = role else {
            divided.own.push(target.clone());
            continue;
        };
        match divided.by_role.iter_mut().find(|(known, _)| *known == role) {
            Some((_, targets)) => targets.push(target.clone()),
            None => divided.by_role.push((role, vec![target.clone()])),
        }
    }
    divided
}

/// Returns the role with which Sidekey reads the secrets of `target`, according to the
/// configuration. If `target` is a pattern, looks up an example name that has the letter `x` in
/// place of each wildcard.
fn configured_role(target: &str, rules: &RoleRules) -> Option<RoleArn> {
    if let Ok(Reference { id, .. }) = Reference::parse_or_path(target) {
        return rules.role_of_id(&id).cloned();
    }
    let example = target.replace(['*', '?'], "x");
    rules.role_of(None, &example).ok().flatten().cloned()
}

/// Returns the trust policy of a role as JSON. The policy allows only `principal`, the ARN of
/// Sidekey's own role, to assume the role. If `external_id` is given, the policy also requires this
/// external id.
pub(super) fn trust(sid: &str, principal: &RoleArn, external_id: Option<&str>) -> String {
    let mut statement = json!({
        "Sid": format!("{sid}AssumeRole"),
        "Effect": "Allow",
        "Principal": { "AWS": principal.as_str() },
        "Action": "sts:AssumeRole",
    });
    if let Some(id) = external_id {
        statement["Condition"] = json!({ "StringEquals": { "sts:ExternalId": id } });
    }
    let policy = json!({ "Version": "2012-10-17", "Statement": [statement] });
    let text = serde_json::to_string_pretty(&policy);
    text.expect("an IAM policy must be serializable as JSON") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::role_rules::RoleRule;
    use crate::secret::scope::Scope;

    const READER: &str = "arn:aws:iam::210987654321:role/reader";

    fn role(arn: &str) -> RoleArn {
        RoleArn::parse(arn).expect("the ARN of the role in the test must be valid")
    }

    fn rules() -> RoleRules {
        let secrets =
            Scope::new(["shared/*", "ssm:/shared/*"]).expect("the patterns must be valid");
        RoleRules::new(vec![RoleRule { role: role(READER), secrets }], None)
    }

    #[test]
    fn targets_are_divided_by_the_configured_role() {
        let targets = ["shared/*", "app/*", "shared/db", "ssm:/shared/*", "shared/a/b", "ssm:/url"];
        let targets = targets.map(str::to_owned);
        let found = divided(&targets, None, &rules());
        assert_eq!(found.own, ["app/*", "shared/a/b", "ssm:/url"]);
        let theirs = ["shared/*", "shared/db", "ssm:/shared/*"].map(str::to_owned).to_vec();
        assert_eq!(found.by_role, [(role(READER), theirs)]);
        let given = role("arn:aws:iam::111122223333:role/auditor");
        let found = divided(&targets, Some(&given), &rules());
        assert_eq!(found, Divided { own: Vec::new(), by_role: vec![(given, targets.to_vec())] });
    }

    #[test]
    fn role_must_be_given_if_it_is_ambiguous() {
        let (reader, other) = (role(READER), role("arn:aws:iam::111122223333:role/auditor"));
        let configured = [(&reader, Some("x:7")), (&other, None)];
        assert_eq!(external_id(Some(&reader), &configured), Ok(Some("x:7")));
        assert_eq!(external_id(Some(&other), &configured), Ok(None));
        assert_eq!(external_id(Some(&other), &configured[..1]), Ok(None));
        assert_eq!(external_id(None, &configured[..1]), Ok(Some("x:7")));
        assert!(external_id(None, &configured).is_err() && external_id(None, &[]).is_err());
        let by_role = |roles: &[&RoleArn]| Divided {
            own: Vec::new(),
            by_role: roles.iter().map(|role| ((*role).clone(), Vec::new())).collect(),
        };
        assert_eq!(by_role(&[&reader]).only_role(), Ok((&reader, &[][..])));
        assert!(by_role(&[]).only_role().is_err());
        assert!(by_role(&[&reader, &other]).only_role().is_err());
    }

    #[test]
    fn trust_policy_allows_one_principal_with_its_external_id() {
        let principal = role("arn:aws:iam::123456789012:role/app");
        let statement = |external_id| {
            let text = trust("Sidekey", &principal, external_id);
            let policy: serde_json::Value =
                serde_json::from_str(&text).expect("the policy must be JSON");
            policy["Statement"][0].clone()
        };
        let expected = json!({
            "Sid": "SidekeyAssumeRole", "Effect": "Allow", "Action": "sts:AssumeRole",
            "Principal": { "AWS": "arn:aws:iam::123456789012:role/app" },
        });
        assert_eq!(statement(None), expected);
        let condition = json!({ "StringEquals": { "sts:ExternalId": "x:7" } });
        assert_eq!(statement(Some("x:7"))["Condition"], condition);
    }
}

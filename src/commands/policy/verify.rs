//! Compares an IAM policy with the least-privilege policy. Finds needed permissions that the policy
//! does not grant, and unneeded permissions that it grants.
//!
//! The comparison considers only this one policy, and not the role's other policies. If it is not
//! certain that the policy grants a permission, the permission counts as missing.

mod reason;

use super::arn_pattern::SUFFIX;
use super::document::{
    ASSUME_ROLE, BATCH, DECRYPT, GET, GET_PARAMETER, GET_PARAMETERS, GET_PATH, LIST,
    NeededCondition, PARAMETER_ARN, RESOURCE_TAG, Statement, VIA_SERVICE,
};
use super::iam_glob::{covers, has_wildcard, overlap};
use super::parse::{Condition, ParsedStatement, Selection};
use reason::{ExcessReason, LackReason};
use serde::Serialize;

/// The differences between an existing IAM policy and the least-privilege policy, which allows only
/// the permissions that Sidekey needs.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Verdict {
    pub(super) lacks: Vec<Lack>,
    pub(super) beyond: Vec<Excess>,
    /// The actions in the policy that belong to other services than Secrets Manager, Parameter Store
    /// and KMS. Sidekey cannot know whether the role needs these actions.
    pub(super) not_judged: Vec<String>,
}

/// A permission that Sidekey needs, but that the policy does not certainly grant.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Lack {
    pub(super) action: &'static str,
    pub(super) resource: String,
    #[serde(flatten)]
    pub(super) reason: LackReason,
}

/// A permission that the policy grants, but that Sidekey does not need.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Excess {
    pub(super) statement: String,
    pub(super) action: String,
    pub(super) resource: String,
    #[serde(rename = "why")]
    pub(super) reason: ExcessReason,
    pub(super) is_conditional: bool,
}

impl Verdict {
    pub(super) fn is_exact(&self) -> bool {
        self.lacks.is_empty() && self.beyond.is_empty()
    }
}

pub(super) fn verify(policy: &[ParsedStatement], least: &[Statement]) -> Verdict {
    let mut verdict = Verdict::default();
    for need in least {
        for resource in &need.resources {
            if let Some(reason) = lack_reason(policy, need, resource) {
                let (action, resource) = (need.action, resource.clone());
                verdict.lacks.push(Lack { action, resource, reason });
            }
        }
    }
    for statement in policy.iter().filter(|statement| statement.is_allow) {
        add_excesses(statement, least, &mut verdict);
    }
    verdict.not_judged.sort();
    verdict.not_judged.dedup();
    verdict
}

// === Missing permissions ===

/// Returns the reason why the policy possibly does not allow an action on a resource. Returns `None`
/// if the policy certainly allows the action.
fn lack_reason(policy: &[ParsedStatement], need: &Statement, resource: &str) -> Option<LackReason> {
    let action = need.action.to_ascii_lowercase();
    let denied = policy
        .iter()
        .filter(|statement| !statement.is_allow)
        .find_map(|statement| denied_by(statement, &action, resource));
    if denied.is_some() {
        return denied;
    }
    let mut reason = LackReason::NotGranted;
    for one in policy.iter().filter(|statement| statement.is_allow) {
        if !includes(&one.actions, &action) {
            continue;
        }
        let statement = one.label.clone();
        if !includes(&one.resources, resource) {
            let arns = possible_arns(&one.resources, resource);
            if reason == LackReason::NotGranted && !arns.is_empty() {
                reason = LackReason::OnlyFullArn { statement, arns };
            }
        } else if is_exclusion(&one.actions) || is_exclusion(&one.resources) {
            reason = LackReason::ByExclusion { statement };
        } else if one.conditions.iter().all(|condition| always_holds(condition, need)) {
            return None;
        } else {
            let keys = one.conditions.iter().map(|condition| condition.key.clone()).collect();
            reason = LackReason::UnderCondition { statement, keys };
        }
    }
    Some(reason)
}

/// Returns how a `Deny` statement affects an action on a resource: `Denied` if the statement
/// certainly denies the action, `PerhapsDenied` if it may deny the action, and otherwise `None`.
fn denied_by(one: &ParsedStatement, action: &str, resource: &str) -> Option<LackReason> {
    let statement = one.label.clone();
    let is_complete = includes(&one.actions, action) && includes(&one.resources, resource);
    if is_complete && one.conditions.is_empty() {
        return Some(LackReason::Denied { statement });
    }
    let is_partial = meets(&one.actions, action) && meets(&one.resources, resource);
    is_partial.then_some(LackReason::PerhapsDenied { statement })
}

/// Finds the full ARNs in a policy statement that may be the ARN of the needed secret. `resource`
/// is the needed ARN, which ends in [`SUFFIX`] because the user gave only the secret's name.
fn possible_arns(selection: &Selection, resource: &str) -> Vec<String> {
    let Selection::Only(patterns) = selection else { return Vec::new() };
    // A name with wildcards stands for several secrets, and one ARN is not enough for them.
    if resource.strip_suffix(SUFFIX).is_none_or(has_wildcard) {
        return Vec::new();
    }
    let may_be_the_arn = |pattern: &&String| {
        let name = pattern.len().checked_sub(SUFFIX.len()).and_then(|end| pattern.get(..end));
        name.is_some_and(|name| covers(&format!("{name}{SUFFIX}"), resource))
            && overlap(pattern, resource)
    };
    patterns.iter().filter(may_be_the_arn).cloned().collect()
}

fn is_exclusion(selection: &Selection) -> bool {
    matches!(selection, Selection::AllBut(_))
}

/// Returns whether a statement certainly applies to everything that the pattern `narrow` matches.
/// `selection` has the statement's actions or resources.
fn includes(selection: &Selection, narrow: &str) -> bool {
    match selection {
        Selection::Only(patterns) => patterns.iter().any(|wide| covers(wide, narrow)),
        Selection::AllBut(patterns) => {
            !patterns.iter().any(|excluded| overlap(&without_variables(excluded), narrow))
        }
    }
}

/// Returns whether a statement may apply to something that the pattern `narrow` matches.
/// `selection` has the statement's actions or resources.
fn meets(selection: &Selection, narrow: &str) -> bool {
    match selection {
        Selection::Only(patterns) => {
            patterns.iter().any(|pattern| overlap(&without_variables(pattern), narrow))
        }
        Selection::AllBut(patterns) => !patterns.iter().any(|excluded| covers(excluded, narrow)),
    }
}

/// Replaces variables in a pattern, such as `${aws:username}`, by `*`, because the values of
/// variables are unknown until AWS evaluates the policy.
fn without_variables(pattern: &str) -> String {
    let mut replaced = String::new();
    let mut rest = pattern;
    while let Some((before, after)) = rest.split_once("${") {
        replaced.push_str(before);
        replaced.push('*');
        rest = after.split_once('}').map_or("", |(_, after)| after);
    }
    replaced + rest
}

/// Returns whether a condition of the user's policy holds for all reads that `need`, a statement of
/// the least-privilege policy, allows. The condition must allow the same AWS service, parameters or
/// tags as `need`.
fn always_holds(condition: &Condition, need: &Statement) -> bool {
    let is_allowed = |value: &String| match &*condition.operator {
        "StringEquals" => condition.values.contains(value),
        _ => condition.values.iter().any(|allowed| covers(allowed, value)),
    };
    need.conditions.iter().filter(|needed| is_on_same_key(condition, needed)).any(|needed| {
        match &*needed.key {
            // The values are different domain names of one service.
            VIA_SERVICE => needed.values.iter().any(is_allowed),
            _ => needed.values.iter().all(is_allowed),
        }
    })
}

fn is_on_same_key(condition: &Condition, needed: &NeededCondition) -> bool {
    ["StringEquals", "StringLike", "ArnEquals", "ArnLike"].contains(&&*condition.operator)
        && condition.key.eq_ignore_ascii_case(&needed.key)
}

// === Unneeded permissions ===

/// Finds the unneeded permissions that an `Allow` statement grants, and adds them to `verdict`.
fn add_excesses(granted: &ParsedStatement, least: &[Statement], verdict: &mut Verdict) {
    let actions = match &granted.actions {
        Selection::Only(actions) => actions,
        Selection::AllBut(but) => {
            let (action, resource) = (all_except("actions", but), text(&granted.resources));
            let reason = ExcessReason::AllButActions;
            verdict.beyond.push(excess(granted, &action, resource, reason));
            return;
        }
    };
    for action in actions {
        if !is_judged(action, least) {
            verdict.not_judged.push(action.clone());
        } else if has_wildcard(action) {
            let reason = ExcessReason::WildAction;
            verdict.beyond.push(excess(granted, action, text(&granted.resources), reason));
        } else if let Some(needed) = needed_action(action, least) {
            for (resource, reason) in excessive_resources(granted, needed, least) {
                verdict.beyond.push(excess(granted, needed, resource, reason));
            }
        } else {
            let reason = ExcessReason::OtherAction;
            verdict.beyond.push(excess(granted, action, text(&granted.resources), reason));
        }
    }
}

fn excess(
    granted: &ParsedStatement,
    action: &str,
    resource: String,
    reason: ExcessReason,
) -> Excess {
    Excess {
        statement: granted.label.clone(),
        action: action.to_owned(),
        resource,
        reason,
        is_conditional: !granted.conditions.is_empty(),
    }
}

/// Returns whether `sidekey policy --verify` checks an action. The command checks the actions of
/// Secrets Manager and KMS, the actions of Parameter Store if parameters are needed, and
/// `sts:AssumeRole` if roles are needed. `action` may be a pattern, such as `kms:*`.
fn is_judged(action: &str, least: &[Statement]) -> bool {
    let has_parameters = least.iter().any(|need| need.action == GET_PARAMETER);
    let parameter_store = has_parameters.then_some("ssm:*parameter*");
    let has_roles = least.iter().any(|need| need.action == ASSUME_ROLE);
    let sts = has_roles.then_some("sts:assumerole");
    ["secretsmanager:*", "kms:*"]
        .into_iter()
        .chain(parameter_store)
        .chain(sts)
        .any(|judged| overlap(judged, action))
}

/// Returns the action in AWS's spelling, such as `kms:Decrypt`, if the least-privilege policy
/// contains the action.
fn needed_action(action: &str, least: &[Statement]) -> Option<&'static str> {
    let known = [GET, BATCH, LIST, DECRYPT, GET_PARAMETER, GET_PARAMETERS, GET_PATH, ASSUME_ROLE];
    known.into_iter().find(|known| {
        known.eq_ignore_ascii_case(action) && least.iter().any(|need| need.action == *known)
    })
}

/// Returns the resources on which a policy statement allows `action` although Sidekey does not need
/// this permission. Each resource has a reason.
fn excessive_resources(
    granted: &ParsedStatement,
    action: &str,
    least: &[Statement],
) -> Vec<(String, ExcessReason)> {
    let resources = match &granted.resources {
        Selection::Only(resources) => resources,
        Selection::AllBut(_) => {
            return vec![(text(&granted.resources), ExcessReason::AllButResources)];
        }
    };
    let needs: Vec<&Statement> = least.iter().filter(|need| need.action == action).collect();
    resources
        .iter()
        .filter_map(|resource| {
            excess_reason(granted, resource, &needs).map(|reason| (resource.clone(), reason))
        })
        .collect()
}

/// Returns why a policy should not allow an action on `resource`, or `None` if Sidekey needs this
/// permission. `needs` are the statements of the least-privilege policy for the action.
fn excess_reason(
    granted: &ParsedStatement,
    resource: &str,
    needs: &[&Statement],
) -> Option<ExcessReason> {
    let needed: Vec<&String> = needs.iter().flat_map(|need| &need.resources).collect();
    if needed.iter().any(|need| covers(need, resource)) {
        // A key may be needed through several services, and one statement grants it for one of them.
        let is_about = |need: &&&Statement| need.resources.iter().any(|own| covers(own, resource));
        let reasons = needs.iter().filter(is_about).map(|need| unrestricted(granted, need, needs));
        return reasons.min().flatten();
    }
    if let Some(name) = resource.strip_suffix("-*") {
        let exact = format!("{name}{SUFFIX}");
        if needed.iter().any(|need| covers(need, &exact)) {
            return Some(ExcessReason::LooseSuffix);
        }
    }
    Some(match needed.iter().any(|need| overlap(&without_variables(resource), need)) {
        true => ExcessReason::WildResource,
        false => ExcessReason::OtherResource,
    })
}

/// Returns why `granted`, a statement of the user's policy, allows too much because a condition is
/// missing. Returns `None` if `granted` has a condition for each condition key of `need`, a
/// statement of the least-privilege policy, and allows only values that the statements `needs`
/// contain for this key.
fn unrestricted(
    granted: &ParsedStatement,
    need: &Statement,
    needs: &[&Statement],
) -> Option<ExcessReason> {
    let all_needed = || needs.iter().flat_map(|need| &need.conditions);
    let is_needed = |key: &str, allowed: &String| {
        let mut values = all_needed().filter(|one| one.key == key).flat_map(|one| &one.values);
        values.any(|value| covers(value, allowed))
    };
    let is_restricted = |needed: &NeededCondition| {
        let mut same_key = granted.conditions.iter().filter(|one| is_on_same_key(one, needed));
        same_key.any(|one| one.values.iter().all(|allowed| is_needed(&needed.key, allowed)))
    };
    let missing = need.conditions.iter().find(|needed| !is_restricted(needed))?;
    Some(match &*missing.key {
        PARAMETER_ARN => ExcessReason::AnyParameter,
        key if key.starts_with(RESOURCE_TAG) => ExcessReason::AnyTag,
        _ => ExcessReason::AnyService,
    })
}

fn text(selection: &Selection) -> String {
    match selection {
        Selection::Only(all) => all.join(", "),
        Selection::AllBut(but) => all_except("resources", but),
    }
}

fn all_except(all: &str, patterns: &[String]) -> String {
    format!("all {all} except {}", patterns.join(", "))
}

#[cfg(test)]
mod tests;

//! What a policy lacks for reading some secrets, and what it grants beyond that.
//!
//! Judged by itself, and with doubt against it: what only may be granted counts as lacking, and what
//! may be taken away by a `Deny` too. What other policies, boundaries and the secret's own policy
//! say is not known here.

use super::arn_pattern::SUFFIX;
use super::document::{BATCH, DECRYPT, GET, Statement, VIA_SERVICE};
use super::granted::{Condition, Granted, Which};
use super::iam_glob::{covers, is_wild, overlap};
use serde::Serialize;
use std::fmt;

/// How a policy stands.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Verdict {
    pub(super) lacks: Vec<Lack>,
    pub(super) beyond: Vec<Excess>,
    /// Actions of other services than Secrets Manager and KMS, which are not judged.
    pub(super) not_judged: Vec<String>,
}

/// A permission that is needed and not there for certain.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Lack {
    pub(super) action: &'static str,
    pub(super) resource: String,
    #[serde(flatten)]
    pub(super) why: Why,
}

/// Why a permission is lacking.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "why", rename_all = "snake_case")]
pub(super) enum Why {
    /// No statement grants it.
    NotGranted,
    /// A statement grants it under conditions, which cannot be judged here.
    UnderCondition { statement: String, keys: Vec<String> },
    /// It is granted by what a statement leaves out, which is not relied upon.
    ByExclusion { statement: String },
    /// A statement takes it away.
    Denied { statement: String },
    /// A statement takes some of it away, or all of it under conditions.
    PerhapsDenied { statement: String },
}

/// A permission that is there and not needed.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Excess {
    pub(super) statement: String,
    pub(super) action: String,
    pub(super) resource: String,
    pub(super) why: Beyond,
    /// Whether it is granted under conditions only.
    pub(super) is_conditional: bool,
}

/// Why a permission is more than is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Beyond {
    /// The action is a pattern.
    WildAction,
    /// Sidekey does not call it.
    OtherAction,
    /// All actions but some.
    AllButActions,
    /// The resource is a pattern that covers more than what is read.
    WildResource,
    /// `-*` in the place of a suffix.
    LooseSuffix,
    /// All resources but some.
    AllButResources,
    /// It is none of what is read.
    OtherResource,
    /// A key can be used through other services.
    AnyService,
}

impl Verdict {
    /// Returns whether the policy grants what is needed and nothing else.
    pub(super) fn is_exact(&self) -> bool {
        self.lacks.is_empty() && self.beyond.is_empty()
    }
}

/// Judges a policy by the least one.
pub(super) fn verify(policy: &[Granted], least: &[Statement]) -> Verdict {
    let needs = || least.iter().flat_map(|need| need.resources.iter().map(move |r| (need, r)));
    let lack = |(need, resource): (&Statement, &String)| {
        let why = lacking(policy, need, resource)?;
        Some(Lack { action: need.action, resource: resource.clone(), why })
    };
    let mut verdict = Verdict { lacks: needs().filter_map(lack).collect(), ..Verdict::default() };
    for granted in policy.iter().filter(|granted| granted.is_allow) {
        judge(granted, least, &mut verdict);
    }
    verdict.not_judged.sort();
    verdict.not_judged.dedup();
    verdict
}

// === What is lacking ===

/// Returns why an action on a resource is not allowed for certain, if so.
fn lacking(policy: &[Granted], need: &Statement, resource: &str) -> Option<Why> {
    let action = need.action.to_ascii_lowercase();
    let taken = policy.iter().filter(|one| !one.is_allow).find_map(|one| {
        let statement = one.label.clone();
        let is_whole = includes(&one.actions, &action) && includes(&one.resources, resource);
        if is_whole && one.conditions.is_empty() {
            return Some(Why::Denied { statement });
        }
        let is_partly = meets(&one.actions, &action) && meets(&one.resources, resource);
        is_partly.then_some(Why::PerhapsDenied { statement })
    });
    if taken.is_some() {
        return taken;
    }
    let mut best = Why::NotGranted;
    for one in policy.iter().filter(|one| one.is_allow) {
        if !includes(&one.actions, &action) || !includes(&one.resources, resource) {
            continue;
        }
        let statement = one.label.clone();
        let is_exclusion = |which: &Which| matches!(which, Which::AllBut(_));
        if is_exclusion(&one.actions) || is_exclusion(&one.resources) {
            best = Why::ByExclusion { statement };
        } else if one.conditions.iter().all(|condition| holds_for(condition, need)) {
            return None;
        } else {
            let keys = one.conditions.iter().map(|condition| condition.key.clone()).collect();
            best = Why::UnderCondition { statement, keys };
        }
    }
    Some(best)
}

/// Returns whether all that `narrow` matches is among these.
fn includes(which: &Which, narrow: &str) -> bool {
    match which {
        Which::Only(patterns) => patterns.iter().any(|wide| covers(wide, narrow)),
        Which::AllBut(patterns) => !patterns.iter().any(|out| overlap(&known(out), narrow)),
    }
}

/// Returns whether something that `narrow` matches may be among these.
fn meets(which: &Which, narrow: &str) -> bool {
    match which {
        Which::Only(patterns) => patterns.iter().any(|pattern| overlap(&known(pattern), narrow)),
        Which::AllBut(patterns) => !patterns.iter().any(|out| covers(out, narrow)),
    }
}

/// Returns a pattern in which `*` stands for each of IAM's variables: `${aws:username}` can be
/// anything.
fn known(pattern: &str) -> String {
    let mut known = String::new();
    let mut rest = pattern;
    while let Some((before, after)) = rest.split_once("${") {
        known.push_str(before);
        known.push('*');
        rest = after.split_once('}').map_or("", |(_, after)| after);
    }
    known + rest
}

/// Returns whether a condition holds wherever Sidekey's own use of a key does.
fn holds_for(condition: &Condition, need: &Statement) -> bool {
    is_via(condition) && need.via_services.iter().any(|own| condition.values.contains(own))
}

/// Returns whether a condition holds nowhere else.
fn ties(condition: &Condition, need: &Statement) -> bool {
    is_via(condition) && condition.values.iter().all(|service| need.via_services.contains(service))
}

fn is_via(condition: &Condition) -> bool {
    ["StringEquals", "StringLike"].contains(&&*condition.operator)
        && condition.key.eq_ignore_ascii_case(VIA_SERVICE)
}

// === What is too much ===

fn judge(granted: &Granted, least: &[Statement], verdict: &mut Verdict) {
    let mut add = |action: &str, resource: String, why| {
        verdict.beyond.push(Excess {
            statement: granted.label.clone(),
            action: action.to_owned(),
            resource,
            why,
            is_conditional: !granted.conditions.is_empty(),
        });
    };
    let actions = match &granted.actions {
        Which::Only(actions) => actions,
        Which::AllBut(but) => {
            let action = format!("all but {}", but.join(", "));
            return add(&action, shown(&granted.resources), Beyond::AllButActions);
        }
    };
    let mut others = Vec::new();
    for action in actions {
        if !is_ours(action) {
            others.push(action.clone());
        } else if is_wild(action) {
            add(action, shown(&granted.resources), Beyond::WildAction);
        } else if let Some(written) = called(action, least) {
            for (resource, why) in too_much(granted, written, least) {
                add(written, resource, why);
            }
        } else {
            add(action, shown(&granted.resources), Beyond::OtherAction);
        }
    }
    verdict.not_judged.extend(others);
}

/// Returns whether an action, or one that it matches, is of Secrets Manager or of KMS.
fn is_ours(action: &str) -> bool {
    ["secretsmanager:*", "kms:*"].iter().any(|ours| overlap(ours, action))
}

/// Returns the action as it is written, if it is needed.
fn called(action: &str, least: &[Statement]) -> Option<&'static str> {
    let all = [GET, BATCH, DECRYPT];
    let written = all.into_iter().find(|written| written.eq_ignore_ascii_case(action))?;
    least.iter().any(|need| need.action == written).then_some(written)
}

/// Returns each resource on which a needed action is allowed without need.
fn too_much(granted: &Granted, action: &str, least: &[Statement]) -> Vec<(String, Beyond)> {
    let resources = match &granted.resources {
        Which::Only(resources) => resources,
        Which::AllBut(_) => return vec![(shown(&granted.resources), Beyond::AllButResources)],
    };
    let needs = || least.iter().filter(|need| need.action == action);
    let needed = || needs().flat_map(|need| &need.resources);
    let why = |resource: &String| {
        if needed().any(|need| covers(need, resource)) {
            let is_tied = |need: &Statement| {
                need.via_services.is_empty()
                    || granted.conditions.iter().any(|condition| ties(condition, need))
            };
            return (!needs().all(is_tied)).then_some(Beyond::AnyService);
        }
        let is_loose = resource.strip_suffix("-*").is_some_and(|name| {
            let exact = format!("{name}{SUFFIX}");
            needed().any(|need| covers(need, &exact))
        });
        Some(match needed().any(|need| overlap(&known(resource), need)) {
            _ if is_loose => Beyond::LooseSuffix,
            true => Beyond::WildResource,
            false => Beyond::OtherResource,
        })
    };
    resources.iter().filter_map(|one| why(one).map(|why| (one.clone(), why))).collect()
}

fn shown(which: &Which) -> String {
    match which {
        Which::Only(all) => all.join(", "),
        Which::AllBut(but) => format!("all but {}", but.join(", ")),
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotGranted => f.write_str("not granted"),
            Self::UnderCondition { statement, keys } => {
                write!(f, "granted by {statement} only under a condition ({})", keys.join(", "))
            }
            Self::ByExclusion { statement } => {
                write!(f, "granted by {statement} only by what it leaves out")
            }
            Self::Denied { statement } => write!(f, "denied by {statement}"),
            Self::PerhapsDenied { statement } => write!(f, "perhaps denied by {statement}"),
        }
    }
}

impl fmt::Display for Beyond {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WildAction => "a wildcard among actions",
            Self::OtherAction => "not called for these references",
            Self::AllButActions => "NotAction allows whatever it does not name",
            Self::WildResource => "the wildcard covers more than these references",
            Self::LooseSuffix => "-* also covers longer names; -?????? is the suffix alone",
            Self::AllButResources => "NotResource allows whatever it does not name",
            Self::OtherResource => "none of these references",
            Self::AnyService => {
                "the key can be used through other services; tie it by kms:ViaService"
            }
        })
    }
}

#[cfg(test)]
mod tests;

//! Which secrets there are to be: a name for each convention, filled in with what was given. Pure.

use crate::convention::pattern::{FillError, PlaceholderValues};
use crate::convention::{Convention, Conventions};
use std::collections::BTreeMap;

/// The most secrets of one plan.
const SECRETS_MAX: usize = 1000;

/// The placeholders that have an option of their own.
pub(super) const COMPANY: &str = "company_name";
pub(super) const PROJECT: &str = "project_name";
pub(super) const CHANNEL: &str = "channel";

/// What was asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    /// Of these kinds; of every kind where none is named.
    pub(super) kinds: Vec<String>,
    /// For these channels; for all where none is named.
    pub(super) channels: Vec<String>,
    /// The values of placeholders.
    pub(super) values: BTreeMap<String, String>,
}

/// A secret that there is to be.
#[derive(Debug)]
pub(super) struct Planned<'a> {
    pub(super) name: String,
    pub(super) convention: &'a Convention,
    pub(super) bindings: PlaceholderValues,
}

/// Why there is no plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadPlan {
    #[error("there is no kind '{asked}'; there are {}", there.join(", "))]
    Kind { asked: String, there: Vec<String> },
    #[error("no convention that was asked for is of the channel '{0}'")]
    Channel(String),
    #[error("'{placeholder}' has no value, for {}: give {}", kinds.join(", "), option(placeholder))]
    Missing { placeholder: String, kinds: Vec<String> },
    #[error("no convention that was asked for has a placeholder '{0}'")]
    Unused(String),
    #[error("{kind}: {problem}")]
    Name { kind: String, problem: FillError },
    #[error("more than {SECRETS_MAX} secrets")]
    TooMany,
    #[error("no convention is of that kind and channel")]
    Nothing,
}

fn option(placeholder: &str) -> String {
    match placeholder {
        COMPANY => "--company".to_owned(),
        PROJECT => "--project".to_owned(),
        CHANNEL => "--channel".to_owned(),
        other => format!("--set {other}=VALUE"),
    }
}

/// Plans the secrets that were asked for, or tells everything that is in the way.
pub(super) fn plan<'a>(
    conventions: &'a Conventions,
    asked: &Asked,
) -> Result<Vec<Planned<'a>>, Vec<BadPlan>> {
    let mut problems = Vec::new();
    let is_kind = |one: &&Convention| {
        asked.kinds.is_empty() || asked.kinds.iter().any(|kind| kind == one.kind())
    };
    let of_kind: Vec<&Convention> = conventions.iter().filter(is_kind).collect();
    for kind in asked.kinds.iter().filter(|kind| conventions.of_kind(kind).is_none()) {
        let there = conventions.iter().map(|one| one.kind().to_owned()).collect();
        problems.push(BadPlan::Kind { asked: kind.clone(), there });
    }
    for channel in &asked.channels {
        if !of_kind.iter().any(|one| is_of_channel(one, channel)) {
            problems.push(BadPlan::Channel(channel.clone()));
        }
    }
    let chosen: Vec<&Convention> = of_kind
        .into_iter()
        .filter(|one| {
            asked.channels.is_empty()
                || asked.channels.iter().any(|channel| is_of_channel(one, channel))
        })
        .collect();
    for placeholder in asked.values.keys() {
        if !chosen.iter().any(|one| has(one, placeholder)) {
            problems.push(BadPlan::Unused(placeholder.clone()));
        }
    }
    problems.extend(missing(&chosen, asked));
    if problems.is_empty() && chosen.is_empty() {
        problems.push(BadPlan::Nothing);
    }
    let mut planned = Vec::new();
    for convention in chosen {
        for bindings in all_bindings(convention, asked) {
            match convention.pattern().fill(&bindings) {
                Ok(name) => planned.push(Planned { name, convention, bindings }),
                // Told once, by its placeholder.
                Err(FillError::Missing(_)) => {}
                Err(problem) => {
                    problems.push(BadPlan::Name { kind: convention.kind().to_owned(), problem });
                }
            }
        }
        if planned.len() > SECRETS_MAX {
            problems.push(BadPlan::TooMany);
            break;
        }
    }
    problems.dedup();
    if problems.is_empty() { Ok(planned) } else { Err(problems) }
}

/// Returns each placeholder that has no value, with the kinds that need one.
fn missing(chosen: &[&Convention], asked: &Asked) -> Vec<BadPlan> {
    let mut kinds: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for convention in chosen {
        for placeholder in convention.pattern().placeholders() {
            if options(convention, placeholder, asked).is_empty() {
                kinds.entry(placeholder).or_default().push(convention.kind().to_owned());
            }
        }
    }
    let told = |(placeholder, kinds): (&str, Vec<String>)| BadPlan::Missing {
        placeholder: placeholder.to_owned(),
        kinds,
    };
    kinds.into_iter().map(told).collect()
}

/// Returns whether a convention is of a channel. Where no placeholder says so, the beginning of its
/// kind does, as that of `whatsapp-twilio`.
fn is_of_channel(convention: &Convention, channel: &str) -> bool {
    match has(convention, CHANNEL) {
        true => {
            let allowed = convention.pattern().allowed(CHANNEL);
            allowed.is_none_or(|allowed| allowed.iter().any(|one| **one == *channel))
        }
        false => convention.kind().strip_prefix(channel).is_some_and(|rest| rest.starts_with('-')),
    }
}

fn has(convention: &Convention, placeholder: &str) -> bool {
    convention.pattern().placeholders().any(|own| own == placeholder)
}

/// Returns the values that a placeholder gets: the one that was given, the channels that were, or all
/// that it may have.
fn options<'a>(convention: &'a Convention, placeholder: &str, asked: &'a Asked) -> Vec<&'a str> {
    if let Some(given) = asked.values.get(placeholder) {
        return vec![given];
    }
    if placeholder == CHANNEL && !asked.channels.is_empty() {
        let own = asked.channels.iter().filter(|channel| is_of_channel(convention, channel));
        return own.map(String::as_str).collect();
    }
    let allowed = convention.pattern().allowed(placeholder).unwrap_or_default();
    allowed.iter().map(|one| &**one).collect()
}

/// Returns every combination of values, up to one more than there may be.
fn all_bindings(convention: &Convention, asked: &Asked) -> Vec<PlaceholderValues> {
    let mut all = vec![PlaceholderValues::default()];
    for placeholder in convention.pattern().placeholders() {
        let options = options(convention, placeholder, asked);
        let with = |before: PlaceholderValues| {
            options.iter().map(move |value| {
                let mut bindings = before.clone();
                bindings.set(placeholder, value);
                bindings
            })
        };
        all = all.into_iter().flat_map(with).take(SECRETS_MAX + 1).collect();
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(kinds: &[&str], channels: &[&str], values: &[(&str, &str)]) -> Asked {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Asked {
            kinds: owned(kinds),
            channels: owned(channels),
            values: values.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect(),
        }
    }

    const ACME: [(&str, &str); 2] = [(COMPANY, "acme"), (PROJECT, "support")];

    #[track_caller]
    fn check(asked: &Asked, expected: &[&str]) {
        let conventions = Conventions::built_in();
        let planned = plan(&conventions, asked).expect("a plan");
        let names: Vec<&str> = planned.iter().map(|one| &*one.name).collect();
        assert_eq!(names, expected);
    }

    #[test]
    fn every_secret_of_a_project_is_planned() {
        check(
            &asked(&[], &[], &ACME),
            &[
                "whatsapp-credentials/acme/support/twilio",
                "sms-credentials/acme/support/twilio",
                "email-credentials/acme/support/sendgrid",
                "openai-api-key/whatsapp",
                "openai-api-key/sms",
                "openai-api-key/email",
            ],
        );
    }

    #[test]
    fn channels_and_kinds_choose_among_them() {
        check(
            &asked(&[], &["sms"], &ACME),
            &["sms-credentials/acme/support/twilio", "openai-api-key/sms"],
        );
        check(
            &asked(&["openai-api-key"], &["email", "sms"], &[]),
            &["openai-api-key/email", "openai-api-key/sms"],
        );
        check(&asked(&["openai-api-key"], &[], &[(CHANNEL, "sms")]), &["openai-api-key/sms"]);
    }

    #[track_caller]
    fn refused(asked: &Asked, expected: &[&str]) {
        let conventions = Conventions::built_in();
        let told = plan(&conventions, asked).expect_err("no plan");
        let told: Vec<String> = told.iter().map(ToString::to_string).collect();
        assert_eq!(told, expected);
    }

    #[test]
    fn everything_that_is_in_the_way_is_told_at_once() {
        refused(
            &asked(&[], &[], &[]),
            &[
                "'company_name' has no value, for whatsapp-twilio, sms-twilio, email-sendgrid: give \
                 --company",
                "'project_name' has no value, for whatsapp-twilio, sms-twilio, email-sendgrid: give \
                 --project",
            ],
        );
        refused(
            &asked(&["fax"], &["pager"], &[("a", "b")]),
            &[
                "there is no kind 'fax'; there are whatsapp-twilio, sms-twilio, email-sendgrid, \
                 openai-api-key",
                "no convention that was asked for is of the channel 'pager'",
                "no convention that was asked for has a placeholder 'a'",
            ],
        );
        refused(
            &asked(&["sms-twilio"], &["email"], &ACME),
            &[
                "no convention that was asked for is of the channel 'email'",
                "no convention that was asked for has a placeholder 'company_name'",
                "no convention that was asked for has a placeholder 'project_name'",
            ],
        );
        let told = "must have characters of A-Za-z0-9_+=.@!- only, at least one, and be neither '.' nor '..'";
        refused(
            &asked(&["sms-twilio"], &[], &[(COMPANY, "a/b"), (PROJECT, "$(x)")]),
            &[&format!("sms-twilio: the value of 'company_name' {told}")],
        );
    }
}

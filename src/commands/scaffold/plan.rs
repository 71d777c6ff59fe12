//! Plans the secrets to create or update, from patterns for secret names such as
//! `openai-api-key/{channel}`. The user gives values for placeholders such as `{channel}`. This
//! module has no side effects.

use crate::convention::pattern::{FillError, PlaceholderValues};
use crate::convention::{Convention, Conventions};
use std::collections::BTreeMap;

/// The maximum number of secrets that one run of `sidekey scaffold` creates or updates.
const SECRETS_MAX: usize = 1000;

/// The placeholder `{company_name}` in secret names. The option `--company` sets its value.
pub(super) const COMPANY: &str = "company_name";

/// The placeholder `{project_name}` in secret names. The option `--project` sets its value.
pub(super) const PROJECT: &str = "project_name";

/// The placeholder `{channel}` in secret names. The option `--channel` sets its value.
pub(super) const CHANNEL: &str = "channel";

/// The user's choice of the secrets to create or update.
#[derive(Clone, Debug, Default)]
pub(super) struct PlanRequest {
    /// The kinds of secrets to create or update, such as `whatsapp-twilio`. Empty means all kinds.
    pub(super) kinds: Vec<String>,
    /// The message channels, such as `whatsapp`, whose secrets are created or updated. Empty means
    /// all channels.
    pub(super) channels: Vec<String>,
    /// The values for the placeholders in secret names, such as `acme` for the key `company_name`.
    pub(super) values: BTreeMap<String, String>,
}

#[derive(Debug)]
pub(super) struct PlannedSecret<'a> {
    pub(super) name: String,
    pub(super) convention: &'a Convention,
    pub(super) placeholder_values: PlaceholderValues,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PlanError {
    #[error("unknown kind of secret '{unknown}'; the known kinds are {}", known.join(", "))]
    Kind { unknown: String, known: Vec<String> },
    #[error("no selected kind of secret belongs to the channel '{unknown}'; the known channels are {}", known.join(", "))]
    Channel {
        unknown: String,
        /// The message channels, such as `whatsapp`, of the secrets that the user selected.
        known: Vec<String>,
    },
    #[error(
        "the placeholder '{placeholder}' has no value; set it with {}. It is in the names of these kinds of secrets: {}",
        option(placeholder),
        kinds.join(", ")
    )]
    Missing {
        placeholder: String,
        /// The kinds of secrets, such as `sms-twilio`, whose names contain the placeholder.
        kinds: Vec<String>,
    },
    #[error(
        "no selected kind of secret has the placeholder '{0}' in its name; remove the option that sets the placeholder"
    )]
    Unused(String),
    #[error("{kind}: {problem}")]
    Name { kind: String, problem: FillError },
    #[error(
        "the arguments select more than {SECRETS_MAX} secrets; select fewer with --kind or --channel"
    )]
    TooMany,
    #[error("no kind of secret matches both --kind and --channel")]
    Nothing,
}

/// Returns the command-line option that sets a placeholder, such as `--company` for `company_name`.
fn option(placeholder: &str) -> String {
    match placeholder {
        COMPANY => "--company".to_owned(),
        PROJECT => "--project".to_owned(),
        CHANNEL => "--channel".to_owned(),
        other => format!("--set {other}=VALUE"),
    }
}

/// Returns the secrets to create or update. If the request has mistakes, returns an error for each
/// mistake instead.
pub(super) fn plan<'a>(
    conventions: &'a Conventions,
    request: &PlanRequest,
) -> Result<Vec<PlannedSecret<'a>>, Vec<PlanError>> {
    let mut problems = Vec::new();
    for kind in request.kinds.iter().filter(|kind| conventions.of_kind(kind).is_none()) {
        let known = conventions.iter().map(|one| one.kind().to_owned()).collect();
        problems.push(PlanError::Kind { unknown: kind.clone(), known });
    }
    let of_kind: Vec<&Convention> = conventions
        .iter()
        .filter(|one| {
            request.kinds.is_empty() || request.kinds.iter().any(|kind| kind == one.kind())
        })
        .collect();
    for channel in &request.channels {
        if !of_kind.iter().any(|one| belongs_to(one, channel)) {
            let known = match of_kind.is_empty() {
                true => channels(conventions.iter()),
                false => channels(of_kind.iter().copied()),
            };
            problems.push(PlanError::Channel { unknown: channel.clone(), known });
        }
    }
    let selected: Vec<&Convention> = of_kind
        .into_iter()
        .filter(|one| {
            request.channels.is_empty()
                || request.channels.iter().any(|channel| belongs_to(one, channel))
        })
        .collect();
    for placeholder in request.values.keys() {
        if !selected.iter().any(|one| has(one, placeholder)) {
            problems.push(PlanError::Unused(placeholder.clone()));
        }
    }
    problems.extend(missing_values(&selected, request));
    if problems.is_empty() && selected.is_empty() {
        problems.push(PlanError::Nothing);
    }
    let mut planned = Vec::new();
    for convention in selected {
        for placeholder_values in combinations(convention, request) {
            match convention.pattern().fill(&placeholder_values) {
                Ok(name) => planned.push(PlannedSecret { name, convention, placeholder_values }),
                // The user already gets an error for the missing value from `missing_values`.
                Err(FillError::Missing(_)) => {}
                Err(problem) => {
                    problems.push(PlanError::Name { kind: convention.kind().to_owned(), problem });
                }
            }
        }
        if planned.len() > SECRETS_MAX {
            problems.push(PlanError::TooMany);
            break;
        }
    }
    problems.dedup();
    if problems.is_empty() { Ok(planned) } else { Err(problems) }
}

/// Returns an error for each placeholder that has no value, but is in the name of a selected
/// secret.
fn missing_values(selected: &[&Convention], request: &PlanRequest) -> Vec<PlanError> {
    let mut kinds: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for convention in selected {
        for placeholder in convention.pattern().placeholders() {
            if candidate_values(convention, placeholder, request).is_empty() {
                kinds.entry(placeholder).or_default().push(convention.kind().to_owned());
            }
        }
    }
    kinds
        .into_iter()
        .map(|(placeholder, kinds)| PlanError::Missing {
            placeholder: placeholder.to_owned(),
            kinds,
        })
        .collect()
}

/// Returns whether a kind of secret is for messages of a channel, such as `whatsapp`.
///
/// The channels of a kind are the allowed values of the placeholder `{channel}` in its secrets'
/// names. Without this placeholder, the kind begins with its channel, as in `whatsapp-twilio`.
fn belongs_to(convention: &Convention, channel: &str) -> bool {
    match has(convention, CHANNEL) {
        true => {
            let allowed = convention.pattern().allowed(CHANNEL);
            allowed.is_none_or(|allowed| allowed.iter().any(|one| **one == *channel))
        }
        false => convention.kind().strip_prefix(channel).is_some_and(|rest| rest.starts_with('-')),
    }
}

/// Returns the message channels, such as `whatsapp`, of some kinds of secrets. Each channel appears
/// once.
fn channels<'a>(conventions: impl Iterator<Item = &'a Convention>) -> Vec<String> {
    let mut known = Vec::new();
    for convention in conventions {
        let own: Vec<&str> = match has(convention, CHANNEL) {
            true => convention
                .pattern()
                .allowed(CHANNEL)
                .unwrap_or_default()
                .iter()
                .map(|one| &**one)
                .collect(),
            false => {
                convention.kind().split_once('-').map(|(channel, _)| channel).into_iter().collect()
            }
        };
        for channel in own {
            if !known.iter().any(|one| one == channel) {
                known.push(channel.to_owned());
            }
        }
    }
    known
}

fn has(convention: &Convention, placeholder: &str) -> bool {
    convention.pattern().placeholders().any(|own| own == placeholder)
}

/// Returns the values to use for a placeholder in a secret's name: the value that the user gave, or
/// else the channels that the user selected, or else all values that the placeholder allows.
fn candidate_values<'a>(
    convention: &'a Convention,
    placeholder: &str,
    request: &'a PlanRequest,
) -> Vec<&'a str> {
    if let Some(value) = request.values.get(placeholder) {
        return vec![value];
    }
    if placeholder == CHANNEL && !request.channels.is_empty() {
        return request
            .channels
            .iter()
            .filter(|channel| belongs_to(convention, channel))
            .map(String::as_str)
            .collect();
    }
    let allowed = convention.pattern().allowed(placeholder).unwrap_or_default();
    allowed.iter().map(|one| &**one).collect()
}

/// Returns every combination of values for the placeholders in the names of one kind of secret.
/// Each combination gives the name of one secret.
///
/// Stops after [`SECRETS_MAX`] + 1 combinations, because more than [`SECRETS_MAX`] secrets are
/// refused.
fn combinations(convention: &Convention, request: &PlanRequest) -> Vec<PlaceholderValues> {
    let mut all = vec![PlaceholderValues::default()];
    for placeholder in convention.pattern().placeholders() {
        let values = candidate_values(convention, placeholder, request);
        all = all
            .iter()
            .flat_map(|before| values.iter().map(|value| extended(before, placeholder, value)))
            .take(SECRETS_MAX + 1)
            .collect();
    }
    all
}

fn extended(
    placeholder_values: &PlaceholderValues,
    placeholder: &str,
    value: &str,
) -> PlaceholderValues {
    let mut extended = placeholder_values.clone();
    extended.set(placeholder, value);
    extended
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(kinds: &[&str], channels: &[&str], values: &[(&str, &str)]) -> PlanRequest {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        PlanRequest {
            kinds: owned(kinds),
            channels: owned(channels),
            values: values.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect(),
        }
    }

    const ACME: [(&str, &str); 2] = [(COMPANY, "acme"), (PROJECT, "support")];

    #[track_caller]
    fn check(request: &PlanRequest, expected: &[&str]) {
        let conventions = Conventions::built_in();
        let planned =
            plan(&conventions, request).expect("the request must select only known secrets");
        let names: Vec<&str> = planned.iter().map(|one| &*one.name).collect();
        assert_eq!(names, expected);
    }

    #[test]
    fn every_secret_of_a_project_is_planned() {
        check(
            &request(&[], &[], &ACME),
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
    fn channels_and_kinds_select_secrets() {
        check(
            &request(&[], &["sms"], &ACME),
            &["sms-credentials/acme/support/twilio", "openai-api-key/sms"],
        );
        check(
            &request(&["openai-api-key"], &["email", "sms"], &[]),
            &["openai-api-key/email", "openai-api-key/sms"],
        );
        check(&request(&["openai-api-key"], &[], &[(CHANNEL, "sms")]), &["openai-api-key/sms"]);
    }

    #[track_caller]
    fn refused(request: &PlanRequest, expected: &[&str]) {
        let conventions = Conventions::built_in();
        let problems =
            plan(&conventions, request).expect_err("the plan must refuse an invalid request");
        let messages: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(messages, expected);
    }

    #[test]
    fn all_problems_are_reported_at_once() {
        refused(
            &request(&[], &[], &[]),
            &[
                "the placeholder 'company_name' has no value; set it with --company. It is in the names of these kinds of \
                 secrets: whatsapp-twilio, sms-twilio, email-sendgrid",
                "the placeholder 'project_name' has no value; set it with --project. It is in the names of these kinds of \
                 secrets: whatsapp-twilio, sms-twilio, email-sendgrid",
            ],
        );
        refused(
            &request(&["fax"], &["pager"], &[("a", "b")]),
            &[
                "unknown kind of secret 'fax'; the known kinds are whatsapp-twilio, sms-twilio, email-sendgrid, \
                 openai-api-key",
                "no selected kind of secret belongs to the channel 'pager'; the known channels are whatsapp, sms, \
                 email",
                "no selected kind of secret has the placeholder 'a' in its name; remove the option that sets the placeholder",
            ],
        );
        refused(
            &request(&["sms-twilio"], &["email"], &ACME),
            &[
                "no selected kind of secret belongs to the channel 'email'; the known channels are sms",
                "no selected kind of secret has the placeholder 'company_name' in its name; remove the option that sets the placeholder",
                "no selected kind of secret has the placeholder 'project_name' in its name; remove the option that sets the placeholder",
            ],
        );
        let values = [(COMPANY, "a/b"), (PROJECT, "$(x)")];
        let conventions = Conventions::built_in();
        let convention = conventions
            .of_kind("sms-twilio")
            .expect("the conventions must contain the kind sms-twilio");
        let mut placeholder_values = PlaceholderValues::default();
        values.iter().for_each(|(placeholder, value)| placeholder_values.set(placeholder, value));
        let problem = convention
            .pattern()
            .fill(&placeholder_values)
            .expect_err("the pattern must refuse invalid placeholder values");
        refused(&request(&["sms-twilio"], &[], &values), &[&format!("sms-twilio: {problem}")]);
    }
}

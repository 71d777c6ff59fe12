//! The `[[policy]]` tables of the configuration file. Each table changes settings such as the TTL
//! for some secrets.

use super::file::POLICY;
use super::key::Key;
use super::mistakes::{Mistakes, Problems};
use super::table_list::{NamedTable, TableList};
use super::values::{boolean, choice, patterns, span};
use crate::cache::freshness::{Policy, Refresh};
use crate::cache::policies::{Policies, Rule};
use crate::secret::service::{PerService, Service};
use std::time::Duration;
use toml::Value;

/// The maximum number of `[[policy]]` tables in the configuration file. Sidekey compares the name
/// of each fetched secret with the patterns of all tables, which takes time.
const TABLES_MAX: usize = 100;

/// The minimum TTL of a secret with `refresh = "always"`. Sidekey refreshes such a secret once per
/// TTL, so a shorter TTL would cause calls to AWS without a pause.
const ALWAYS_TTL_MIN: Duration = Duration::from_secs(1);

/// The keys of a `[[policy]]` table in the configuration file, in the order of
/// `docs/configuration.md`.
pub const KEYS: &[Key<Rule>] = &[
    Key {
        name: "secrets",
        default: "",
        help: "Required. Patterns for the names or ARNs of the secrets that this table applies to, in the format of SIDEKEY_ALLOW.",
        parse: |rule, text| {
            rule.secrets = patterns(text, "the value must not be empty")?;
            Ok(())
        },
    },
    Key {
        name: "ttl",
        default: "SIDEKEY_TTL",
        help: "Overrides SIDEKEY_TTL for these secrets; 0 turns the cache off.",
        parse: |rule, text| set(&mut rule.ttl, span(text)),
    },
    Key {
        name: "stale_while_revalidate",
        default: "SIDEKEY_STALE_WHILE_REVALIDATE",
        help: "Overrides SIDEKEY_STALE_WHILE_REVALIDATE for these secrets.",
        parse: |rule, text| set(&mut rule.stale_while_revalidate, span(text)),
    },
    Key {
        name: "stale_if_error",
        default: "SIDEKEY_STALE_IF_ERROR",
        help: "Overrides SIDEKEY_STALE_IF_ERROR for these secrets.",
        parse: |rule, text| set(&mut rule.stale_if_error, span(text)),
    },
    Key {
        name: "denied_grace",
        default: "SIDEKEY_DENIED_GRACE",
        help: "Overrides SIDEKEY_DENIED_GRACE for these secrets.",
        parse: |rule, text| set(&mut rule.denied_grace, span(text)),
    },
    Key {
        name: "required",
        default: "true",
        help: "Whether the agent's start waits for a secret of SIDEKEY_SECRETS, and `/ready` answers 503 until the secret is fetched.",
        parse: |rule, text| set(&mut rule.is_required, boolean(text)),
    },
    Key {
        name: "refresh",
        default: "when-read",
        help: "Which cached values are refreshed before their TTL ends: `when-read` refreshes values that were read, `always` refreshes all values. `always` needs a TTL of at least 1s.",
        parse: |rule, text| {
            let choices = Refresh::ALL.map(|refresh| (refresh.label(), refresh));
            set(&mut rule.refresh, choice(text, &choices))
        },
    },
];

fn set<T>(field: &mut Option<T>, parsed: Result<T, String>) -> Result<(), String> {
    *field = Some(parsed?);
    Ok(())
}

const LIST: TableList<Rule> = TableList { heading: POLICY, tables_max: TABLES_MAX, keys: KEYS };

/// Parses the `[[policy]]` tables of the configuration file. Omits each table with a mistake, and
/// adds the mistake to `problems`.
pub(super) fn read(value: Value, problems: &mut Problems) -> Vec<NamedTable<Rule>> {
    LIST.read(value, problems, Rule::default, |table, _| {
        if !table.contains_key("secrets") {
            return Err("the key 'secrets' is missing: add this key with patterns of the secrets \
                        that the table applies to"
                .to_owned());
        }
        if table.len() == 1 {
            return Err(
                "the table has only the key 'secrets': add a setting such as ttl, or delete \
                        the table"
                    .to_owned(),
            );
        }
        Ok(())
    })
}

/// Records a mistake for each `[[policy]]` table with `refresh = "always"` and a TTL below
/// [`ALWAYS_TTL_MIN`]. If a table has no TTL, the TTL in `defaults` applies.
pub(super) fn check(
    tables: &[NamedTable<Rule>],
    defaults: &PerService<Policy>,
    mistakes: &mut Mistakes,
) {
    let is_too_short =
        |policy: Policy| policy.refresh == Refresh::Always && policy.ttl < ALWAYS_TTL_MIN;
    for NamedTable { name, parsed: rule } in tables {
        let mut services =
            Service::ALL.into_iter().filter(|service| rule.secrets.may_contain(*service));
        if services.any(|service| is_too_short(rule.policy(defaults.of(service)))) {
            let problem = "the value 'always' needs a TTL of at least 1s; with a shorter TTL, \
                           Sidekey would refresh the secret without a pause";
            mistakes.add(format!("{name}.refresh"), problem);
        }
    }
}

/// Combines the `[[policy]]` tables with the default policy of each service, which contains the TTL
/// and related settings. The default policies apply to secrets that no table matches.
pub(super) fn resolved(
    defaults: impl Into<PerService<Policy>>,
    tables: Vec<NamedTable<Rule>>,
) -> Policies {
    Policies::new(defaults, tables.into_iter().map(|table| table.parsed).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::host::Host;
    use crate::config::span::SPAN_MAX;
    use crate::hostile::mangled;
    use crate::secret::reference::SecretId;
    use crate::secret::scope::Home;
    use proptest::prelude::*;
    use toml::Table;

    const SECOND: Duration = Duration::from_secs(1);

    fn load(text: &str) -> (Vec<NamedTable<Rule>>, Vec<String>) {
        let mut file: Table =
            text.parse().expect("the configuration of the test must be valid TOML");
        let value = file.remove(POLICY).expect("the TOML text must contain the key `policy`");
        let mut problems = Problems::default();
        let tables = read(value, &mut problems);
        check(&tables, &Policy::default().into(), &mut problems.mistakes);
        let (mistakes, _) = problems.judged(Host::Standalone);
        (tables, mistakes.0.iter().map(ToString::to_string).collect())
    }

    #[track_caller]
    fn refused(text: &str, expected: &[&str]) {
        let (_, found) = load(text);
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        for (found, expected) in found.iter().zip(expected) {
            let found = found
                .strip_prefix("SIDEKEY_CONFIG: ")
                .expect("the error message must begin with SIDEKEY_CONFIG");
            assert!(
                found.starts_with(expected),
                "the error message must begin with '{expected}', but is: {found}"
            );
        }
    }

    #[test]
    fn every_key_sets_its_part_of_the_policy() {
        let (tables, mistakes) = load(
            "[[policy]]\nsecrets = [\"app/*\", \"other\"]\nttl = \"1m\"\n\
             stale_while_revalidate = 2\nstale_if_error = \"3s\"\ndenied_grace = \"4s\"\n\
             required = false\nrefresh = \"always\"\n\
             [[policy]]\nsecrets = \"last\"\nrefresh = \"when-read\"\nrequired = true\n",
        );
        assert_eq!(mistakes, [""; 0]);
        let policies = resolved(Policy { is_required: false, ..Policy::default() }, tables);
        let home = Home { region: "eu-north-1".into(), account: None };
        let of = |name: &str| {
            let id = SecretId::parse(name).expect("the secret's name must be valid");
            policies.of_reference(&id, &home)
        };
        let expected = Policy {
            ttl: 60 * SECOND,
            stale_while_revalidate: 2 * SECOND,
            stale_if_error: 3 * SECOND,
            denied_grace: 4 * SECOND,
            refresh: Refresh::Always,
            is_required: false,
        };
        assert_eq!((of("app/db"), of("other")), (expected, expected));
        assert_eq!(of("last"), Policy::default());
        assert!(!of("no/table").is_required);
    }

    #[test]
    fn every_mistake_is_reported_with_its_table() {
        refused(
            "[[policy]]\nsecrets = [\"a\"]\nttl = \"soon\"\nrefresh = \"never\"\nrequired = \"no\"\n\
             [[policy]]\nttl = \"1m\"\ndenied_grace = \"800h\"\n\
             [[policy]]\nsecrets = [\"a/**\"]\nstale_if_error = 1.5\n\
             [[policy]]\nsecrets = []\nstale_while_revalidate = \"\"\n\
             [[policy]]\nsecrets = [\"a\"]\n",
            &[
                "policy[1].refresh: the value must be when-read or always",
                "policy[1].required: the value must be true, false, 1 or 0",
                "policy[1].ttl: the value must be a duration",
                "policy[2].denied_grace: the duration must not be longer than 30 days",
                "policy[2]: the key 'secrets' is missing",
                "policy[3].secrets: pattern 'a/**'",
                "policy[3].stale_if_error: the value must be a string, a number, a boolean or a list of strings",
                "policy[4].secrets: the value must not be empty",
                "policy[4].stale_while_revalidate: the value must be a duration",
                "policy[5]: the table has only the key 'secrets'",
            ],
        );
    }

    #[test]
    fn unknown_key_gets_a_hint_with_the_nearest_key_or_its_place() {
        refused(
            "[[policy]]\nsecrets = [\"a\"]\nrefesh = \"always\"\nTTL = 1\nport = 1\n",
            &[
                "policy[1].TTL: a [[policy]] table has no such key; did you mean ttl?",
                "policy[1].port: a [[policy]] table has no such key; to set the key for all secrets, move its line",
                "policy[1].refesh: a [[policy]] table has no such key; did you mean refresh?",
            ],
        );
    }

    #[test]
    fn security_setting_in_a_table_is_recognised() {
        let table: Table = "secrets = [\"a\"]\nttl = 1\nallow = \"a\"\nport = 1"
            .parse()
            .expect("the configuration of the test must be valid TOML");
        let mut problems = Problems::default();
        read(Value::Array(vec![table.into()]), &mut problems);
        let guards: Vec<_> =
            problems.unknown.iter().map(|unknown| (&*unknown.name, unknown.is_guard)).collect();
        assert_eq!(
            guards,
            [("SIDEKEY_CONFIG: policy[1].allow", true), ("SIDEKEY_CONFIG: policy[1].port", false)]
        );
    }

    #[test]
    fn policies_are_a_bounded_number_of_tables() {
        for text in ["policy = 1", "policy = [1]", "[policy]\nttl = 1"] {
            refused(text, &["policy: the value must be a list of tables"]);
        }
        let table = "[[policy]]\nsecrets = [\"a\"]\nttl = 1\n";
        refused(&table.repeat(TABLES_MAX), &[]);
        refused(
            &table.repeat(TABLES_MAX + 1),
            &["policy: at most 100 [[policy]] tables are allowed"],
        );
    }

    #[test]
    fn secret_that_is_always_refreshed_needs_a_ttl() {
        let always = "[[policy]]\nsecrets = [\"a\"]\nrefresh = \"always\"\n";
        for (ttl, expected) in [("999ms", 1), ("0", 1), ("1s", 0)] {
            let (_, found) = load(&format!("{always}ttl = \"{ttl}\"\n"));
            assert_eq!(found.len(), expected, "{found:?}");
        }
        let (tables, _) = load(always);
        let mut mistakes = Mistakes::default();
        let off = Policy { ttl: Duration::ZERO, ..Policy::default() };
        check(&tables, &off.into(), &mut mistakes);
        assert!(
            mistakes
                .to_string()
                .starts_with("SIDEKEY_CONFIG: policy[1].refresh: the value 'always'")
        );
    }

    #[test]
    fn always_needs_a_ttl_of_the_services_in_its_patterns() {
        let off = Policy { ttl: Duration::ZERO, ..Policy::default() };
        let no_parameters = PerService { secrets: Policy::default(), parameters: off };
        for (pattern, expected) in [
            ("app/*", 0),
            ("arn:aws:secretsmanager:eu-north-1:123456789012:secret:app/*", 0),
            ("ssm:/app/*", 1),
            ("arn:aws:ssm:eu-north-1:123456789012:parameter/app/*", 1),
        ] {
            let text = format!("[[policy]]\nsecrets = [\"{pattern}\"]\nrefresh = \"always\"\n");
            let (tables, _) = load(&text);
            let mut mistakes = Mistakes::default();
            check(&tables, &no_parameters, &mut mistakes);
            assert_eq!(mistakes.0.len(), expected, "{pattern}: {mistakes}");
        }
    }

    #[test]
    fn tables_apply_to_parameters_too() {
        let (tables, mistakes) = load(
            "[[policy]]\nsecrets = [\"ssm:/app/*\", \"app/db\"]\nttl = \"1m\"\n\
             [[policy]]\nsecrets = \"arn:aws:ssm:eu-north-1:210987654321:parameter/shared/*\"\n\
             ttl = \"2m\"\n",
        );
        assert_eq!(mistakes, [""; 0]);
        let default = Policy { ttl: SECOND, ..Policy::default() };
        let policies = resolved(default, tables);
        let home = Home { region: "eu-north-1".into(), account: None };
        for (id, seconds) in [
            ("ssm:/app/url", 60),
            ("app/db", 60),
            ("arn:aws:ssm:eu-north-1:210987654321:parameter/shared/url", 120),
            ("ssm:/app/db/url", 1),
            ("/app/url", 1),
        ] {
            let id = SecretId::parse(id).expect("the name or ARN must be valid");
            assert_eq!(policies.of_reference(&id, &home).ttl, seconds * SECOND, "{id:?}");
        }
    }

    proptest! {
        #[test]
        fn for_any_tables_a_policy_applies_to_some_secrets_and_is_within_its_bounds(
            text in mangled(
                "[[policy]]\nsecrets = [\"app/*\", \"b\"]\nttl = \"1m\"\nrefresh = \"always\"\n\
                 required = false\n[[policy]]\nsecrets = \"last\"\nstale_if_error = 5\n",
            ),
        ) {
            let Ok(mut file) = text.parse::<Table>() else { return Ok(()) };
            let Some(value) = file.remove(POLICY) else { return Ok(()) };
            for NamedTable { name, parsed: rule } in read(value, &mut Problems::default()) {
                prop_assert!(!rule.secrets.is_open(), "{name}");
                let spans = [rule.ttl, rule.stale_if_error];
                prop_assert!(spans.into_iter().flatten().all(|span| span <= SPAN_MAX));
            }
        }
    }
}

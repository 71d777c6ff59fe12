//! The tables `[[policy]]` of the file: what holds for some secrets and not for all.

use super::key::Key;
use super::toml_setting::{VALUE_EXPECTED, is_key, text_of};
use super::variables::{CONFIG_FILE, PREFIX, boolean, list, span};
use super::{Mistakes, Unknown, is_guard, nearest};
use crate::cache::freshness::{Policy, Refresh};
use crate::cache::policies::{Policies, Rule};
use crate::secret::scope::Scope;
use std::time::Duration;
use toml::{Table, Value};

/// The key under which the tables stand.
pub(super) const NAME: &str = "policy";

/// The most tables. Every answer of Secrets Manager is matched with them until one fits.
const TABLES_MAX: usize = 100;

/// The shortest TTL of what is always refreshed: with less, timers would call without a pause.
const ALWAYS_TTL_MIN: Duration = Duration::from_secs(1);

/// Every key of a table, in the order of the documentation.
pub const KEYS: &[Key<Rule>] = &[
    Key {
        name: "secrets",
        default: "",
        help: "Patterns of the secrets that the table is for, as in SIDEKEY_ALLOW; must be given.",
        parse: |rule, text| {
            let secrets = Scope::new(list(text)).map_err(|bad| bad.to_string())?;
            // A table without patterns would be for all secrets.
            if secrets.is_open() {
                return Err("must not be empty".to_owned());
            }
            rule.secrets = secrets;
            Ok(())
        },
    },
    Key {
        name: "ttl",
        default: "SIDEKEY_TTL",
        help: "How long a value is served before a new one must be had; 0 means no cache.",
        parse: |rule, text| set_span(&mut rule.ttl, text),
    },
    Key {
        name: "stale_while_revalidate",
        default: "SIDEKEY_STALE_WHILE_REVALIDATE",
        help: "How much longer a value is served while a refresh runs.",
        parse: |rule, text| set_span(&mut rule.stale_while_revalidate, text),
    },
    Key {
        name: "stale_if_error",
        default: "SIDEKEY_STALE_IF_ERROR",
        help: "How much longer a value is served while Secrets Manager fails.",
        parse: |rule, text| set_span(&mut rule.stale_if_error, text),
    },
    Key {
        name: "denied_grace",
        default: "SIDEKEY_DENIED_GRACE",
        help: "How long a value is served after Secrets Manager first refused it.",
        parse: |rule, text| set_span(&mut rule.denied_grace, text),
    },
    Key {
        name: "required",
        default: "true",
        help: "Whether a listed secret holds up the start and `/ready` while it is missing.",
        parse: |rule, text| {
            rule.is_required = Some(boolean(text)?);
            Ok(())
        },
    },
    Key {
        name: "refresh",
        default: "when-read",
        help: "Whether a value is refreshed ahead of its TTL when-read, or always; always takes a TTL of at least 1s.",
        parse: |rule, text| {
            let known = Refresh::ALL.into_iter().find(|refresh| refresh.label() == text);
            rule.refresh = Some(known.ok_or("when-read or always expected")?);
            Ok(())
        },
    },
];

fn set_span(key: &mut Option<Duration>, text: &str) -> Result<(), String> {
    *key = Some(span(text)?);
    Ok(())
}

/// A table without mistakes.
#[derive(Debug)]
pub(super) struct PolicyTable {
    /// What mistakes call it.
    name: String,
    pub(super) rule: Rule,
}

/// Reads the tables in their order, counted from 1. Keys that are none go to `unknown`, each with the
/// nearest right one.
pub(super) fn read(
    value: Value,
    unknown: &mut Vec<Unknown>,
    mistakes: &mut Mistakes,
) -> Vec<PolicyTable> {
    let tables: Option<Vec<Table>> = match value {
        Value::Array(items) => items
            .into_iter()
            .map(|item| match item {
                Value::Table(table) => Some(table),
                _ => None,
            })
            .collect(),
        _ => None,
    };
    let Some(tables) = tables else {
        mistakes.add(place(), "tables expected, each headed [[policy]]");
        return Vec::new();
    };
    if tables.len() > TABLES_MAX {
        mistakes.add(place(), format!("more than {TABLES_MAX} tables"));
        return Vec::new();
    }
    let named = tables.into_iter().zip(1..);
    let named = named.map(|(table, number)| (format!("{}[{number}]", place()), table));
    named.filter_map(|(name, table)| read_one(name, &table, unknown, mistakes)).collect()
}

/// Returns what mistakes call the tables.
fn place() -> String {
    format!("{CONFIG_FILE}: {NAME}")
}

fn read_one(
    name: String,
    table: &Table,
    unknown: &mut Vec<Unknown>,
    mistakes: &mut Mistakes,
) -> Option<PolicyTable> {
    let mistakes_before = mistakes.0.len();
    let mut rule = Rule::default();
    for (key, value) in table {
        let name = format!("{name}.{key}");
        let Some(known) = KEYS.iter().find(|known| known.name == key) else {
            // Below a table's head it would be taken for unset, as a misspelt one.
            let is_guard = is_guard(&format!("{PREFIX}{}", key.to_ascii_uppercase()));
            unknown.push(Unknown { name, hint: hint(key), is_guard });
            continue;
        };
        let set = match text_of(value) {
            Some(text) => (known.parse)(&mut rule, text.trim()),
            None => Err(VALUE_EXPECTED.to_owned()),
        };
        mistakes.noted(&name, set);
    }
    if !table.contains_key("secrets") {
        let problem = "secrets is missing: patterns of the secrets that the table is for";
        mistakes.add(&*name, problem);
    } else if table.len() == 1 {
        mistakes.add(&*name, "nothing is set for its secrets");
    }
    let is_good = mistakes.0.len() == mistakes_before;
    is_good.then_some(PolicyTable { name, rule })
}

/// Says which key was meant. In a file whatever follows a table's head belongs to the table.
fn hint(key: &str) -> String {
    if is_key(key) {
        return "no such key of a policy; keys for all secrets stand above the first [[policy]]"
            .to_owned();
    }
    let nearest = nearest(KEYS.iter().map(|known| known.name), &key.to_ascii_lowercase());
    let nearest = nearest.unwrap_or_default();
    format!("no such key of a policy; did you mean {nearest}?")
}

/// Checks what no table can be checked for alone, where `default` is the policy of all others.
pub(super) fn check(tables: &[PolicyTable], default: &Policy, mistakes: &mut Mistakes) {
    for PolicyTable { name, rule } in tables {
        let policy = rule.policy(default);
        if policy.refresh == Refresh::Always && policy.ttl < ALWAYS_TTL_MIN {
            let problem = "always takes a TTL of at least 1s: timers would call without a pause";
            mistakes.add(format!("{name}.refresh"), problem);
        }
    }
}

/// Returns the policies of all secrets, where `default` is that of all others.
pub(super) fn resolved(default: Policy, tables: Vec<PolicyTable>) -> Policies {
    Policies::new(default, tables.into_iter().map(|table| table.rule).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::span::SPAN_MAX;
    use crate::hostile::mangled;
    use crate::secret::reference::SecretId;
    use crate::secret::scope::Home;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Reads a file's tables, and returns them with all that is wrong, unknown keys included.
    fn load(text: &str) -> (Vec<PolicyTable>, Vec<String>) {
        let mut file: Table = text.parse().expect("good TOML");
        let value = file.remove(NAME).expect("there are tables");
        let (mut unknown, mut mistakes) = (Vec::new(), Mistakes::default());
        let tables = read(value, &mut unknown, &mut mistakes);
        check(&tables, &Policy::default(), &mut mistakes);
        unknown.into_iter().for_each(|unknown| mistakes.add(unknown.name, unknown.hint));
        (tables, mistakes.0.iter().map(ToString::to_string).collect())
    }

    #[track_caller]
    fn refused(text: &str, expected: &[&str]) {
        let (_, found) = load(text);
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        for (found, expected) in found.iter().zip(expected) {
            let found = found.strip_prefix("SIDEKEY_CONFIG: ").expect("the file is named");
            assert!(found.starts_with(expected), "{expected} is not where {found} begins");
        }
    }

    #[test]
    fn every_key_sets_what_it_says() {
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
            let id = SecretId::parse(name).expect("a good id");
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
    fn every_mistake_is_told_at_once_with_its_table() {
        refused(
            "[[policy]]\nsecrets = [\"a\"]\nttl = \"soon\"\nrefresh = \"never\"\nrequired = \"no\"\n\
             [[policy]]\nttl = \"1m\"\ndenied_grace = \"800h\"\n\
             [[policy]]\nsecrets = [\"a/**\"]\nstale_if_error = 1.5\n\
             [[policy]]\nsecrets = []\nstale_while_revalidate = \"\"\n\
             [[policy]]\nsecrets = [\"a\"]\n",
            &[
                "policy[1].refresh: when-read or always",
                "policy[1].required: true, false, 1 or 0",
                "policy[1].ttl: a span like",
                "policy[2].denied_grace: longer than",
                "policy[2]: secrets is missing",
                "policy[3].secrets: pattern 'a/**'",
                "policy[3].stale_if_error: a string, a number",
                "policy[4].secrets: must not be empty",
                "policy[4].stale_while_revalidate: a span like",
                "policy[5]: nothing is set",
            ],
        );
    }

    #[test]
    fn an_unknown_key_shows_the_nearest_right_one_or_its_place() {
        refused(
            "[[policy]]\nsecrets = [\"a\"]\nrefesh = \"always\"\nTTL = 1\nport = 1\n",
            &[
                "policy[1].TTL: no such key of a policy; did you mean ttl?",
                "policy[1].port: no such key of a policy; keys for all secrets stand above",
                "policy[1].refesh: no such key of a policy; did you mean refresh?",
            ],
        );
    }

    #[test]
    fn a_guard_below_a_table_is_known_for_one() {
        let table: Table =
            "secrets = [\"a\"]\nttl = 1\nallow = \"a\"\nport = 1".parse().expect("TOML");
        let (mut unknown, mut mistakes) = (Vec::new(), Mistakes::default());
        read(Value::Array(vec![table.into()]), &mut unknown, &mut mistakes);
        let guards: Vec<_> =
            unknown.iter().map(|unknown| (&*unknown.name, unknown.is_guard)).collect();
        let place = |key| format!("SIDEKEY_CONFIG: policy[1].{key}");
        assert_eq!(guards, [(&*place("allow"), true), (&*place("port"), false)]);
    }

    #[test]
    fn only_tables_are_policies_and_not_too_many() {
        for text in ["policy = 1", "policy = [1]", "[policy]\nttl = 1"] {
            refused(text, &["policy: tables expected"]);
        }
        let table = "[[policy]]\nsecrets = [\"a\"]\nttl = 1\n";
        refused(&table.repeat(TABLES_MAX), &[]);
        refused(&table.repeat(TABLES_MAX + 1), &["policy: more than 100 tables"]);
    }

    #[test]
    fn what_is_always_refreshed_needs_a_ttl_to_wait_for() {
        let always = "[[policy]]\nsecrets = [\"a\"]\nrefresh = \"always\"\n";
        for (ttl, expected) in [("999ms", 1), ("0", 1), ("1s", 0)] {
            let (_, found) = load(&format!("{always}ttl = \"{ttl}\"\n"));
            assert_eq!(found.len(), expected, "{found:?}");
        }
        let (tables, _) = load(always);
        let mut mistakes = Mistakes::default();
        check(&tables, &Policy { ttl: Duration::ZERO, ..Policy::default() }, &mut mistakes);
        assert!(mistakes.to_string().starts_with("SIDEKEY_CONFIG: policy[1].refresh: always"));
    }

    proptest! {
        #[test]
        fn for_any_tables_a_policy_is_for_some_secrets_and_within_its_bounds(
            text in mangled(
                "[[policy]]\nsecrets = [\"app/*\", \"b\"]\nttl = \"1m\"\nrefresh = \"always\"\n\
                 required = false\n[[policy]]\nsecrets = \"last\"\nstale_if_error = 5\n",
            ),
        ) {
            let Ok(mut file) = text.parse::<Table>() else { return Ok(()) };
            let Some(value) = file.remove(NAME) else { return Ok(()) };
            let (mut unknown, mut mistakes) = (Vec::new(), Mistakes::default());
            for PolicyTable { name, rule } in read(value, &mut unknown, &mut mistakes) {
                prop_assert!(!rule.secrets.is_open(), "{name}");
                let spans = [rule.ttl, rule.stale_if_error];
                prop_assert!(spans.into_iter().flatten().all(|span| span <= SPAN_MAX));
            }
        }
    }
}

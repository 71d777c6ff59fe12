//! The `[[role]]` tables of the configuration file. Each table configures a role that Sidekey can
//! assume, and can name the secrets that Sidekey reads with this role.

use super::cleaning::trimmed;
use super::file::ROLE;
use super::key::Key;
use super::mistakes::{Mistakes, Problems};
use super::table_list::{NamedTable, TableList};
use super::values::{FILE_PREFIX, patterns, span};
use crate::secret::role::{ROLES_MAX, RoleArn, RolePattern};
use crate::secret::role_rules::{RoleRule, RoleRules};
use crate::secret::scope::Scope;
use crate::source::aws::{AssumableRole, DURATION, SESSION_NAME};
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;
use toml::Value;

/// The allowed lengths of an external id, in bytes.
///
/// Source: `ExternalId` of `AssumeRole` in AWS's API reference.
const EXTERNAL_ID_BYTES: RangeInclusive<usize> = 2..=1224;

/// The allowed lengths of the session name that Sidekey sends when it assumes a role, in bytes.
///
/// Source: `RoleSessionName` of `AssumeRole` in AWS's API reference.
const SESSION_NAME_BYTES: RangeInclusive<usize> = 2..=64;

/// The allowed lifetimes of the credentials of a role.
///
/// Source: `DurationSeconds` of `AssumeRole` in AWS's API reference.
const DURATIONS: RangeInclusive<Duration> =
    Duration::from_secs(15 * 60)..=Duration::from_secs(12 * 3600);

/// A `[[role]]` table of the configuration file. The `Debug` output omits the external id.
pub struct RoleTable {
    arn: Option<RoleArn>,
    external_id: Option<Box<str>>,
    session_name: Box<str>,
    duration: Duration,
    secrets: Option<Scope>,
}

impl fmt::Debug for RoleTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoleTable").field("arn", &self.arn).finish_non_exhaustive()
    }
}

impl RoleTable {
    fn initial() -> Self {
        Self {
            arn: None,
            external_id: None,
            session_name: SESSION_NAME.into(),
            duration: DURATION,
            secrets: None,
        }
    }
}

/// The keys of a `[[role]]` table in the configuration file, in the order of
/// `docs/configuration.md`.
pub const KEYS: &[Key<RoleTable>] = &[
    Key {
        name: "arn",
        default: "",
        help: "Required. The ARN of the role.",
        parse: |table, text| {
            let arn = RoleArn::parse(text).map_err(|_| {
                "the value must be the ARN of a role, such as \
                 arn:aws:iam::210987654321:role/reader"
            })?;
            table.arn = Some(arn);
            Ok(())
        },
    },
    Key {
        name: "match",
        default: "",
        help: "Patterns for the names or ARNs of the secrets that are read with this role, in the format of SIDEKEY_ALLOW. A pattern that is not an ARN matches names, and ARNs in the role's account. Without this key, only requests with the parameter `roleArn` use the role.",
        parse: |table, text| {
            table.secrets = Some(patterns(text, "the value must not be empty")?);
            Ok(())
        },
    },
    Key {
        name: "external_id",
        default: "",
        help: "The external id that the trust policy of the role requires, or file://PATH for an external id in a file.",
        parse: |table, text| {
            table.external_id = Some(external_id(text)?);
            Ok(())
        },
    },
    Key {
        name: "session_name",
        default: SESSION_NAME,
        help: "The name of the role's session in CloudTrail.",
        parse: |table, text| {
            table.session_name = session_name(text)?;
            Ok(())
        },
    },
    Key {
        name: "duration",
        default: "1h",
        help: "How long the role's credentials are valid: 15m to 12h, and not longer than the maximum session duration of the role.",
        parse: |table, text| {
            let duration = span(text)?;
            if !DURATIONS.contains(&duration) {
                return Err("the duration must be from 15m to 12h".to_owned());
            }
            table.duration = duration;
            Ok(())
        },
    },
];

const LIST: TableList<RoleTable> = TableList { heading: ROLE, tables_max: ROLES_MAX, keys: KEYS };

/// Parses the `[[role]]` tables of the configuration file. Omits each table with a mistake, and
/// adds the mistake to `problems`.
pub(super) fn read(value: Value, problems: &mut Problems) -> Vec<NamedTable<RoleTable>> {
    LIST.read(value, problems, RoleTable::initial, |table, _| match table.contains_key("arn") {
        true => Ok(()),
        false => Err("the key 'arn' is missing: add this key with the ARN of the role".to_owned()),
    })
}

/// Returns the roles that the tables configure, and the rules that choose the role for reading a
/// secret. Records a mistake for each role that has two tables, or that `SIDEKEY_ROLES` does not
/// allow. `allowed` contains the patterns of `SIDEKEY_ROLES`, or is `None` if the variable is
/// unset.
pub(super) fn resolved(
    tables: Vec<NamedTable<RoleTable>>,
    allowed: Option<Vec<RolePattern>>,
    mistakes: &mut Mistakes,
) -> (Vec<AssumableRole>, RoleRules) {
    let limits = RoleRules::new(Vec::new(), allowed.clone());
    let (mut roles, mut rules): (Vec<AssumableRole>, _) = (Vec::new(), Vec::new());
    for NamedTable { name, parsed } in tables {
        let Some(arn) = parsed.arn else { continue };
        let name = format!("{name}.arn");
        if roles.iter().any(|other| other.arn == arn) {
            let problem = "another [[role]] table has the same role: write all patterns of the role \
                           into one table";
            mistakes.add(name, problem);
            continue;
        }
        if !limits.allow(&arn) {
            let problem = format!(
                "no pattern in SIDEKEY_ROLES matches the role {arn}: add a pattern, or delete the \
                 table"
            );
            mistakes.add(name, problem);
            continue;
        }
        rules.extend(parsed.secrets.map(|secrets| RoleRule { role: arn.clone(), secrets }));
        roles.push(AssumableRole {
            arn,
            external_id: parsed.external_id,
            session_name: parsed.session_name,
            duration: parsed.duration,
        });
    }
    (roles, RoleRules::new(rules, allowed))
}

/// Parses the value of the key `external_id`. The error message does not contain the external id.
fn external_id(text: &str) -> Result<Box<str>, String> {
    let from_file = match text.strip_prefix(FILE_PREFIX) {
        None => None,
        Some(path) => Some(
            std::fs::read_to_string(path)
                .map_err(|error| format!("the file {path} cannot be read: {error}"))?,
        ),
    };
    let id = from_file.as_deref().map_or(text, trimmed);
    match is_valid(id, EXTERNAL_ID_BYTES, "_+=,.@:/-") {
        true => Ok(id.into()),
        false => {
            Err("the value must have 2 to 1224 characters, only letters, digits and _+=,.@:/-"
                .to_owned())
        }
    }
}

fn session_name(text: &str) -> Result<Box<str>, String> {
    match is_valid(text, SESSION_NAME_BYTES, "_+=,.@-") {
        true => Ok(text.into()),
        false => {
            Err("the value must have 2 to 64 characters, only letters, digits and _+=,.@-"
                .to_owned())
        }
    }
}

fn is_valid(text: &str, bytes: RangeInclusive<usize>, symbols: &str) -> bool {
    bytes.contains(&text.len())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || symbols.contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::host::Host;
    use crate::hostile::{VALUE, mangled};
    use proptest::prelude::*;
    use toml::Table;

    const READER: &str = "arn:aws:iam::210987654321:role/reader";

    fn load(text: &str, allowed: Option<&str>) -> ((Vec<AssumableRole>, RoleRules), Vec<String>) {
        let mut file: Table =
            text.parse().expect("the configuration of the test must be valid TOML");
        let value = file.remove(ROLE).expect("the TOML text must contain the key `role`");
        let mut problems = Problems::default();
        let tables = read(value, &mut problems);
        let pattern = |text| RolePattern::parse(text).expect("the pattern must be valid");
        let allowed = allowed.map(|text| vec![pattern(text)]);
        let resolved = resolved(tables, allowed, &mut problems.mistakes);
        let (mistakes, _) = problems.judged(Host::Standalone);
        (resolved, mistakes.0.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn every_key_sets_its_part_of_the_role() {
        let ((roles, rules), mistakes) = load(
            &format!(
                "[[role]]\narn = \"{READER}\"\nmatch = [\"shared/*\", \"ssm:/shared/*\"]\n\
                 external_id = \"x:7/a\"\nsession_name = \"app@prod\"\nduration = \"15m\"\n\
                 [[role]]\narn = \"arn:aws:iam::111122223333:role/plain\"\n"
            ),
            None,
        );
        assert_eq!(mistakes, [""; 0]);
        let [reader, plain] = &roles[..] else { panic!("there must be two roles: {roles:?}") };
        assert_eq!((reader.arn.as_str(), reader.external_id.as_deref()), (READER, Some("x:7/a")));
        assert_eq!((&*reader.session_name, reader.duration.as_secs()), ("app@prod", 900));
        assert_eq!(*plain, AssumableRole::new(plain.arn.clone()));
        assert_eq!(rules.role_of(None, "shared/db"), Ok(Some(&reader.arn)));
        assert_eq!(rules.role_of(None, "other"), Ok(None));
    }

    #[track_caller]
    fn refused(text: &str, allowed: Option<&str>, expected: &[&str]) {
        let (_, found) = load(text, allowed);
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
    fn every_mistake_is_reported_with_its_table() {
        refused(
            &format!(
                "[[role]]\narn = \"reader\"\nexternal_id = \"hunter2 \u{e4}\"\nsession_name = \"x\"\n\
                 duration = \"14m\"\nmatch = []\n\
                 [[role]]\nmatch = [\"a/**\"]\nexternal_id = \"file:///nonexistent/id\"\n\
                 [[role]]\narn = \"{READER}\"\nmacth = \"a\"\nttl = 1\n"
            ),
            None,
            &[
                "role[1].arn: the value must be the ARN of a role",
                "role[1].duration: the duration must be from 15m to 12h",
                "role[1].external_id: the value must have 2 to 1224 characters",
                "role[1].match: the value must not be empty",
                "role[1].session_name: the value must have 2 to 64 characters",
                "role[2].external_id: the file /nonexistent/id cannot be read",
                "role[2].match: pattern 'a/**'",
                "role[2]: the key 'arn' is missing",
                "role[3].macth: a [[role]] table has no such key; did you mean match?",
                "role[3].ttl: a [[role]] table has no such key; to set the key for all secrets",
            ],
        );
        refused("role = 1", None, &["role: the value must be a list of tables"]);
        let table = |number| format!("[[role]]\narn = \"{READER}{number}\"\n");
        let tables = |count| (0..count).map(table).collect::<String>();
        refused(&tables(ROLES_MAX), None, &[]);
        refused(&tables(ROLES_MAX + 1), None, &["role: at most 20 [[role]] tables are allowed"]);
    }

    #[test]
    fn role_with_two_tables_or_outside_of_sidekey_roles_is_a_mistake() {
        let table = format!("[[role]]\narn = \"{READER}\"\n");
        refused(&table.repeat(2), None, &["role[2].arn: another [[role]] table has the same role"]);
        let allowed = Some("arn:aws:iam::210987654321:role/*");
        refused(&table, allowed, &[]);
        let forbidden = table.replace("210987654321", "111122223333");
        refused(
            &forbidden,
            allowed,
            &["role[1].arn: no pattern in SIDEKEY_ROLES matches the role"],
        );
    }

    proptest! {
        #[test]
        fn for_any_table_no_mistake_shows_the_external_id(
            text in mangled(
                "[[role]]\narn = \"arn:aws:iam::210987654321:role/a\"\nexternal_id = \"hunter2\"\n",
            ),
        ) {
            let Ok(mut file) = text.parse::<Table>() else { return Ok(()) };
            let Some(value) = file.remove(ROLE) else { return Ok(()) };
            let mut problems = Problems::default();
            let tables = read(value, &mut problems);
            let text = format!("{tables:?} {}", problems.mistakes);
            prop_assert!(!text.contains(VALUE), "{text}");
        }
    }
}

//! The table `[resolve.tenant]` of the file: what a message must say of whose secrets it refers to.

use super::misspelt::nearest;
use super::mistakes::{Mistakes, Unknown};
use super::toml_setting::is_key;
use super::variables::CONFIG_FILE;
use crate::convention::Conventions;
use crate::message::path::Path;
use crate::message::tenant::TenantBinding;
use toml::{Table, Value};

/// The key under which the table stands.
pub(super) const NAME: &str = "resolve";

/// The one key of that.
const TENANT: &str = "tenant";

/// The most placeholders that can be tied.
const TIES_MAX: usize = 16;

/// Reads the table. Keys that are none go to `unknown`: each may have been meant to keep others out.
pub(super) fn read(
    value: Value,
    unknown: &mut Vec<Unknown>,
    mistakes: &mut Mistakes,
) -> Vec<TenantBinding> {
    let Value::Table(table) = value else {
        mistakes.add(place(), "a table expected, headed [resolve.tenant]");
        return Vec::new();
    };
    let mut tied = Vec::new();
    for (key, value) in table {
        let name = format!("{}.{key}", place());
        match value {
            Value::Table(table) if key == TENANT => tied = read_tenant(&name, table, mistakes),
            _ if key == TENANT => mistakes.add(name, "a table expected, headed [resolve.tenant]"),
            _ => {
                let hint = "no such key; did you mean the table [resolve.tenant]?".to_owned();
                unknown.push(Unknown { name, hint, is_guard: true });
            }
        }
    }
    tied
}

/// Returns what mistakes call it.
fn place() -> String {
    format!("{CONFIG_FILE}: {NAME}")
}

fn read_tenant(name: &str, table: Table, mistakes: &mut Mistakes) -> Vec<TenantBinding> {
    if table.is_empty() {
        mistakes.add(name, "nothing is tied; write PLACEHOLDER = \"PATH\", or leave it out");
    }
    if table.len() > TIES_MAX {
        mistakes.add(name, format!("more than {TIES_MAX} placeholders"));
        return Vec::new();
    }
    let tied = table.into_iter().filter_map(|(placeholder, value)| {
        let name = format!("{name}.{placeholder}");
        let Some(text) = value.as_str() else {
            mistakes.add(name, "a string expected: where a message has it");
            return None;
        };
        match Path::parse(text) {
            Ok(path) if path.has_wildcard() => {
                mistakes.add(name, "a path to one place expected, without '*'");
                None
            }
            Ok(path) => Some(TenantBinding { placeholder: placeholder.into(), path }),
            Err(bad) => {
                mistakes.add(name, bad.to_string());
                None
            }
        }
    });
    tied.collect()
}

/// Checks that each tied placeholder is one of a convention: a misspelt one would tie nothing.
pub(super) fn check(tied: &[TenantBinding], conventions: &Conventions, mistakes: &mut Mistakes) {
    let known = || conventions.iter().flat_map(|one| one.pattern().placeholders());
    for TenantBinding { placeholder, .. } in tied {
        if known().any(|known| *known == **placeholder) {
            continue;
        }
        let hint = match nearest(known(), placeholder) {
            _ if is_key(placeholder) => {
                "keys of all secrets stand above the first table".to_owned()
            }
            Some(nearest) => format!("did you mean {nearest}?"),
            None => "there are none".to_owned(),
        };
        let problem = format!("no convention has such a placeholder; {hint}");
        mistakes.add(format!("{}.{TENANT}.{placeholder}", place()), problem);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostile::mangled;
    use proptest::prelude::*;

    /// Reads a file's table, and returns what is tied with all that is wrong, unknown keys included.
    fn load(text: &str) -> (Vec<String>, Vec<String>) {
        let mut file: Table = text.parse().expect("good TOML");
        let value = file.remove(NAME).expect("there is the table");
        let (mut unknown, mut mistakes) = (Vec::new(), Mistakes::default());
        let tied = read(value, &mut unknown, &mut mistakes);
        check(&tied, &Conventions::built_in(), &mut mistakes);
        assert!(unknown.iter().all(|unknown| unknown.is_guard));
        unknown.into_iter().for_each(|unknown| mistakes.add(unknown.name, unknown.hint));
        let tied = tied.iter().map(|tied| format!("{}={}", tied.placeholder, tied.path)).collect();
        (tied, mistakes.0.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn placeholders_are_tied_to_places() {
        let text = "[resolve.tenant]\ncompany_name = \"company_data.company_name\"\n\
                    project_name = \"company_data.project.0\"\n";
        let (tied, mistakes) = load(text);
        assert_eq!(mistakes, [""; 0]);
        let expected =
            ["company_name=company_data.company_name", "project_name=company_data.project.0"];
        assert_eq!(tied, expected);
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
    fn every_mistake_is_told_at_once() {
        refused("resolve = 1", &["resolve: a table expected"]);
        refused("[resolve]\ntenant = \"a\"", &["resolve.tenant: a table expected"]);
        refused("[resolve.tenant]\n", &["resolve.tenant: nothing is tied"]);
        refused(
            "[resolve]\ntennant = 1\n[resolve.tenant]\ncompany = \"a\"\ncompany_name = \"a.*\"\n\
             project_name = \"a..b\"\nport = \"a\"\nttl = 5\n",
            &[
                "resolve.tenant.company_name: a path to one place",
                "resolve.tenant.project_name: a key or '*' expected",
                "resolve.tenant.ttl: a string expected",
                "resolve.tenant.company: no convention has such a placeholder; did you mean company_name?",
                "resolve.tenant.port: no convention has such a placeholder; keys of all",
                "resolve.tennant: no such key",
            ],
        );
        let many: String = (0..17).map(|number| format!("p{number} = \"a\"\n")).collect();
        refused(&format!("[resolve.tenant]\n{many}"), &["resolve.tenant: more than 16"]);
    }

    proptest! {
        #[test]
        fn for_any_table_a_tie_leads_to_one_place(
            text in mangled("[resolve.tenant]\ncompany_name = \"a.b\"\nproject_name = \"c.0\"\n"),
        ) {
            let Ok(mut file) = text.parse::<Table>() else { return Ok(()) };
            let Some(value) = file.remove(NAME) else { return Ok(()) };
            let (mut unknown, mut mistakes) = (Vec::new(), Mistakes::default());
            for TenantBinding { placeholder, path } in read(value, &mut unknown, &mut mistakes) {
                prop_assert!(!path.has_wildcard(), "{placeholder}");
                prop_assert_eq!(Path::parse(&path.to_string()), Ok(path));
            }
        }
    }
}

//! Parses the table `[resolve.tenant]` of the configuration file. The table binds placeholders
//! (variable parts of secret names, such as `company_name`) to fields of messages.

use super::file::RESOLVE;
use super::misspelt::nearest;
use super::mistakes::{Mistakes, Unknown};
use super::toml_setting::is_key;
use super::variables::CONFIG_FILE;
use crate::convention::Conventions;
use crate::message::path::Path;
use crate::message::tenant::TenantBinding;
use toml::{Table, Value};

/// The only key that the table `resolve` can have.
const TENANT: &str = "tenant";

/// The maximum number of placeholders (variable parts of secret names) in `[resolve.tenant]`.
const BINDINGS_MAX: usize = 16;

/// The error message for a value that should be a table.
const TABLE_EXPECTED: &str = "a table expected, with the heading [resolve.tenant]";

/// Parses the table `resolve` of the configuration file. Every unknown key in the table counts as a
/// misspelt security setting: the user meant `tenant`, which refuses secrets of other tenants.
pub(super) fn read(
    value: Value,
    unknown: &mut Vec<Unknown>,
    mistakes: &mut Mistakes,
) -> Vec<TenantBinding> {
    let Value::Table(table) = value else {
        mistakes.add(location(), TABLE_EXPECTED);
        return Vec::new();
    };
    let mut bindings = Vec::new();
    for (key, value) in table {
        let name = format!("{}.{key}", location());
        match value {
            Value::Table(table) if key == TENANT => bindings = read_tenant(&name, table, mistakes),
            _ if key == TENANT => mistakes.add(name, TABLE_EXPECTED),
            _ => {
                let hint = "no such key; did you mean the table [resolve.tenant]?".to_owned();
                unknown.push(Unknown { name, hint, is_guard: true });
            }
        }
    }
    bindings
}

/// Returns the location of the table `resolve` for error messages.
fn location() -> String {
    format!("{CONFIG_FILE}: {RESOLVE}")
}

fn read_tenant(name: &str, table: Table, mistakes: &mut Mistakes) -> Vec<TenantBinding> {
    if table.is_empty() {
        let problem = "the table is empty: add a line such as company_name = \"company_data.company_name\", or delete the table";
        mistakes.add(name, problem);
    }
    if table.len() > BINDINGS_MAX {
        mistakes.add(name, format!("at most {BINDINGS_MAX} placeholders are allowed"));
        return Vec::new();
    }
    let mut bindings = Vec::new();
    for (placeholder, value) in table {
        match path(&value) {
            Ok(path) => bindings.push(TenantBinding { placeholder: placeholder.into(), path }),
            Err(problem) => mistakes.add(format!("{name}.{placeholder}"), problem),
        }
    }
    bindings
}

fn path(value: &Value) -> Result<Path, String> {
    let text = value.as_str().ok_or("a string expected: the path of a field in the message")?;
    match Path::parse(text) {
        Ok(path) if path.has_wildcard() => {
            Err("a path without '*' expected, because it must lead to one field".to_owned())
        }
        Ok(path) => Ok(path),
        Err(bad) => Err(bad.to_string()),
    }
}

/// Checks that every placeholder in `[resolve.tenant]` occurs in the name pattern of a convention.
/// Without this check, a misspelt placeholder would restrict nothing.
pub(super) fn check(
    bindings: &[TenantBinding],
    conventions: &Conventions,
    mistakes: &mut Mistakes,
) {
    let known: Vec<&str> =
        conventions.iter().flat_map(|convention| convention.pattern().placeholders()).collect();
    for TenantBinding { placeholder, .. } in bindings {
        if known.contains(&&**placeholder) {
            continue;
        }
        let hint = match nearest(known.iter(), placeholder) {
            _ if is_key(placeholder) => {
                format!("to set {placeholder} for all secrets, write it above the first table")
            }
            Some(nearest) => format!("did you mean {nearest}?"),
            None => "the conventions have no placeholders".to_owned(),
        };
        let problem = format!("no convention has this placeholder; {hint}");
        mistakes.add(format!("{}.{TENANT}.{placeholder}", location()), problem);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostile::mangled;
    use proptest::prelude::*;

    /// Parses the table `resolve` of a file. Returns the bindings, and the mistakes with unknown
    /// keys last.
    fn load(text: &str) -> (Vec<String>, Vec<String>) {
        let mut file: Table = text.parse().expect("the text is TOML");
        let value = file.remove(RESOLVE).expect("the file has the table");
        let (mut unknown, mut mistakes) = (Vec::new(), Mistakes::default());
        let bindings = read(value, &mut unknown, &mut mistakes);
        check(&bindings, &Conventions::built_in(), &mut mistakes);
        assert!(unknown.iter().all(|unknown| unknown.is_guard));
        unknown.into_iter().for_each(|unknown| mistakes.add(unknown.name, unknown.hint));
        let bindings = bindings
            .iter()
            .map(|binding| format!("{}={}", binding.placeholder, binding.path))
            .collect();
        (bindings, mistakes.0.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn placeholders_are_bound_to_fields_of_the_message() {
        let text = "[resolve.tenant]\ncompany_name = \"company_data.company_name\"\n\
                    project_name = \"company_data.project.0\"\n";
        let (bindings, mistakes) = load(text);
        assert_eq!(mistakes, [""; 0]);
        let expected =
            ["company_name=company_data.company_name", "project_name=company_data.project.0"];
        assert_eq!(bindings, expected);
    }

    #[track_caller]
    fn refused(text: &str, expected: &[&str]) {
        let (_, found) = load(text);
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        for (found, expected) in found.iter().zip(expected) {
            let found = found.strip_prefix("SIDEKEY_CONFIG: ").expect("the mistake names the file");
            assert!(found.starts_with(expected), "{found} does not begin with {expected}");
        }
    }

    #[test]
    fn all_mistakes_are_reported_at_once() {
        refused("resolve = 1", &["resolve: a table expected"]);
        refused("[resolve]\ntenant = \"a\"", &["resolve.tenant: a table expected"]);
        refused("[resolve.tenant]\n", &["resolve.tenant: the table is empty"]);
        refused(
            "[resolve]\ntennant = 1\n[resolve.tenant]\ncompany = \"a\"\ncompany_name = \"a.*\"\n\
             project_name = \"a..b\"\nport = \"a\"\nttl = 5\n",
            &[
                "resolve.tenant.company_name: a path without",
                "resolve.tenant.project_name: expected a key or '*'",
                "resolve.tenant.ttl: a string expected",
                "resolve.tenant.company: no convention has this placeholder; did you mean company_name?",
                "resolve.tenant.port: no convention has this placeholder; to set port for",
                "resolve.tennant: no such key",
            ],
        );
        let many: String = (0..17).map(|number| format!("p{number} = \"a\"\n")).collect();
        refused(&format!("[resolve.tenant]\n{many}"), &["resolve.tenant: at most 16"]);
    }

    proptest! {
        #[test]
        fn for_any_table_a_binding_leads_to_one_field(
            text in mangled("[resolve.tenant]\ncompany_name = \"a.b\"\nproject_name = \"c.0\"\n"),
        ) {
            let Ok(mut file) = text.parse::<Table>() else { return Ok(()) };
            let Some(value) = file.remove(RESOLVE) else { return Ok(()) };
            let (mut unknown, mut mistakes) = (Vec::new(), Mistakes::default());
            for TenantBinding { placeholder, path } in read(value, &mut unknown, &mut mistakes) {
                prop_assert!(!path.has_wildcard(), "{placeholder}");
                prop_assert_eq!(Path::parse(&path.to_string()), Ok(path));
            }
        }
    }
}

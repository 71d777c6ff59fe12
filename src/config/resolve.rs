//! Parses the table `[resolve.tenant]` of the configuration file. The table says which fields of a
//! JSON message identify its tenant (customer), so that a message can name only secrets of its
//! tenant.

use super::file::RESOLVE;
use super::misspelt::nearest;
use super::mistakes::{Mistakes, Unknown};
use super::toml_setting::is_key;
use super::variables::CONFIG_FILE;
use crate::convention::Conventions;
use crate::message::path::Path;
use crate::message::tenant::TenantBinding;
use toml::{Table, Value};

const TENANT: &str = "tenant";

/// The maximum number of lines in the table `[resolve.tenant]` of the configuration file. Each line
/// names a placeholder, such as `{company_name}`, in a pattern of secret names.
const BINDINGS_MAX: usize = 16;

const TABLE_EXPECTED: &str = "the value must be a table with the heading [resolve.tenant]";

/// Parses the table `resolve` of the configuration file, whose only valid key is `tenant`. Any
/// other key counts as a misspelt security setting, because `tenant` restricts access to secrets.
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
                let hint = "the table [resolve] has no key of this name; did you mean the table \
                            [resolve.tenant]?"
                    .to_owned();
                unknown.push(Unknown { name, hint, is_guard: true });
            }
        }
    }
    bindings
}

fn location() -> String {
    format!("{CONFIG_FILE}: {RESOLVE}")
}

fn read_tenant(name: &str, table: Table, mistakes: &mut Mistakes) -> Vec<TenantBinding> {
    if table.is_empty() {
        let problem = "the table is empty: add a line such as company_name = \"company_data.company_name\", or delete the table";
        mistakes.add(name, problem);
    }
    if table.len() > BINDINGS_MAX {
        mistakes.add(
            name,
            format!("at most {BINDINGS_MAX} lines are allowed in the table [resolve.tenant]"),
        );
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
    let text = value
        .as_str()
        .ok_or("the value must be a string: the path of a field in the message, such as company_data.company_name")?;
    match Path::parse(text) {
        Ok(path) if path.has_wildcard() => {
            Err("the path must not contain '*', because the path must lead to exactly one field"
                .to_owned())
        }
        Ok(path) => Ok(path),
        Err(bad) => Err(bad.to_string()),
    }
}

/// Records a mistake for each key of the table `[resolve.tenant]` that is not a placeholder in the
/// `conventions`. A placeholder, such as `{company_name}`, is a part of a pattern for secret names.
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
                format!(
                    "to change the setting {placeholder} for all secrets, move its line above the first table"
                )
            }
            Some(nearest) => format!("did you mean {nearest}?"),
            None => "the name patterns of the conventions contain no placeholders".to_owned(),
        };
        let problem =
            format!("no name pattern of the conventions contains {{{placeholder}}}; {hint}");
        mistakes.add(format!("{}.{TENANT}.{placeholder}", location()), problem);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostile::mangled;
    use proptest::prelude::*;

    fn load(text: &str) -> (Vec<String>, Vec<String>) {
        let mut file: Table =
            text.parse().expect("the configuration of the test must be valid TOML");
        let value = file.remove(RESOLVE).expect("the TOML text must contain the key `resolve`");
        let (mut unknown, mut mistakes) = (Vec::new(), Mistakes::default());
        let bindings = read(value, &mut unknown, &mut mistakes);
        check(&bindings, &Conventions::built_in(), &mut mistakes);
        assert!(
            unknown.iter().all(|unknown| unknown.is_guard),
            "every unknown key must count as a misspelt security setting"
        );
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
    fn all_mistakes_are_reported_at_once() {
        refused("resolve = 1", &["resolve: the value must be a table with the heading"]);
        refused(
            "[resolve]\ntenant = \"a\"",
            &["resolve.tenant: the value must be a table with the heading"],
        );
        refused("[resolve.tenant]\n", &["resolve.tenant: the table is empty"]);
        refused(
            "[resolve]\ntennant = 1\n[resolve.tenant]\ncompany = \"a\"\ncompany_name = \"a.*\"\n\
             project_name = \"a..b\"\nport = \"a\"\nttl = 5\n",
            &[
                "resolve.tenant.company_name: the path must not contain '*'",
                "resolve.tenant.project_name: expected a key or '*'",
                "resolve.tenant.ttl: the value must be a string: the path of a field in the message",
                "resolve.tenant.company: no name pattern of the conventions contains {company}; did you mean company_name?",
                "resolve.tenant.port: no name pattern of the conventions contains {port}; to change the setting port for all secrets",
                "resolve.tennant: the table [resolve] has no key of this name",
            ],
        );
        let many: String = (0..17).map(|number| format!("p{number} = \"a\"\n")).collect();
        refused(
            &format!("[resolve.tenant]\n{many}"),
            &["resolve.tenant: at most 16 lines are allowed"],
        );
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

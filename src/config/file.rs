//! The TOML file: the same settings as the variables, which win over it, policies of some secrets, and
//! whose secrets a message may refer to.

use super::policy::{self, PolicyTable};
use super::resolve;
use super::toml_setting::{VALUE_EXPECTED, is_key, keys, text_of};
use super::variables::{CONFIG_FILE, PREFIX};
use super::vars::Vars;
use super::{Host, Mistakes, Unknown, credentials};
use crate::message::tenant::TenantBinding;
use std::collections::BTreeMap;
use std::path::Path;
use toml::Table;

/// Where a function's package may have the file.
const LAMBDA_PATH: &str = "/var/task/sidekey.toml";

/// What a file says.
#[derive(Debug, Default)]
pub(super) struct File {
    /// Its settings, by the names of their variables.
    pub(super) settings: BTreeMap<String, String>,
    /// Its tables of policies, in their order.
    pub(super) policies: Vec<PolicyTable>,
    /// The placeholders of its table of tenants.
    pub(super) tenant_bindings: Vec<TenantBinding>,
    /// Keys that are none.
    pub(super) unknown: Vec<Unknown>,
}

/// Reads the file, if there is one.
pub(super) fn load(vars: &dyn Vars, host: Host, mistakes: &mut Mistakes) -> File {
    let path = match vars.get(CONFIG_FILE).filter(|path| !path.is_empty()) {
        Some(path) => path,
        None if host == Host::Lambda && Path::new(LAMBDA_PATH).exists() => LAMBDA_PATH.to_owned(),
        None => return File::default(),
    };
    match std::fs::read_to_string(&path) {
        Ok(text) => parse(&text, mistakes),
        Err(error) => {
            mistakes.add(CONFIG_FILE, format!("{path} cannot be read: {error}"));
            File::default()
        }
    }
}

/// Parses `ttl = "5m"` into `SIDEKEY_TTL=5m`, and so on.
fn parse(text: &str, mistakes: &mut Mistakes) -> File {
    let table: Table = match text.parse() {
        Ok(table) => table,
        Err(error) => {
            // The message alone: the error's own text quotes the line, which may hold a token.
            mistakes.add(CONFIG_FILE, format!("not TOML: {}", toml::de::Error::message(&error)));
            return File::default();
        }
    };
    let mut file = File::default();
    for (key, value) in table {
        if key == policy::NAME {
            file.policies = policy::read(value, &mut file.unknown, mistakes);
            continue;
        }
        if key == resolve::NAME {
            file.tenant_bindings = resolve::read(value, &mut file.unknown, mistakes);
            continue;
        }
        let name = format!("{PREFIX}{}", key.to_ascii_uppercase());
        if !is_key(&key) {
            let names = keys().chain([policy::NAME, resolve::NAME].map(str::to_owned));
            let nearest = super::nearest(names, &key.to_ascii_lowercase()).unwrap_or_default();
            let is_guard = super::is_guard(&name) || super::is_nearly(&key, resolve::NAME);
            let hint = format!("no such key; did you mean {nearest}?");
            file.unknown.push(Unknown { name: format!("{CONFIG_FILE}: {key}"), hint, is_guard });
            continue;
        }
        match text_of(&value) {
            Some(text) if name == "SIDEKEY_TOKEN" && !text.starts_with(credentials::FILE) => {
                let problem = "in a file a token may only be a file://PATH, not the token itself";
                mistakes.add(format!("{CONFIG_FILE}: {key}"), problem);
            }
            Some(text) => {
                file.settings.insert(name, text);
            }
            None => {
                mistakes.add(format!("{CONFIG_FILE}: {key}"), VALUE_EXPECTED);
            }
        }
    }
    file
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostile::{VALUE, mangled};
    use proptest::prelude::*;

    #[track_caller]
    fn check(text: &str, expected: &[(&str, &str)], wrong: &[&str]) {
        let mut mistakes = Mistakes::default();
        let file = parse(text, &mut mistakes);
        let settings: Vec<(&str, &str)> = file.settings.iter().map(|(k, v)| (&**k, &**v)).collect();
        assert_eq!(settings, expected);
        file.unknown.into_iter().for_each(|unknown| mistakes.add(unknown.name, unknown.hint));
        let found = mistakes.to_string();
        assert_eq!(mistakes.0.len(), wrong.len(), "{found}");
        for wrong in wrong {
            assert!(found.contains(wrong), "{wrong} is not in {found}");
        }
    }

    #[test]
    fn keys_are_the_variables_in_small_letters() {
        check(
            "ttl = \"5m\"\nport = 8080\nregion_only = true\nsecrets = [\"a\", \"b#c\"]\n",
            &[
                ("SIDEKEY_PORT", "8080"),
                ("SIDEKEY_REGION_ONLY", "true"),
                ("SIDEKEY_SECRETS", "a,b#c"),
                ("SIDEKEY_TTL", "5m"),
            ],
            &[],
        );
    }

    #[test]
    fn every_mistake_is_named() {
        check(
            "TTL = 1\ntttl = 1\nport = 1.5\npolicies = 1\n",
            &[],
            &["TTL: no such key", "did you mean ttl?", "did you mean policy?", "port: a string"],
        );
    }

    #[test]
    fn a_misspelt_guard_is_told_from_other_unknown_keys() {
        let text = "Allow = \"a\"\ntokn = \"b\"\nsecret = \"c\"\n[resolv.tenant]\na = \"b\"\n";
        let file = parse(text, &mut Mistakes::default());
        let guards: Vec<(&str, bool)> =
            file.unknown.iter().map(|unknown| (&*unknown.name, unknown.is_guard)).collect();
        assert_eq!(
            guards,
            [
                ("SIDEKEY_CONFIG: Allow", true),
                ("SIDEKEY_CONFIG: resolv", true),
                ("SIDEKEY_CONFIG: secret", false),
                ("SIDEKEY_CONFIG: tokn", true)
            ]
        );
    }

    #[test]
    fn a_token_in_the_file_is_refused_and_not_shown() {
        check("token = \"hunter2\"\n", &[], &["token: in a file"]);
        check("token = \"file:///run/token\"\n", &[("SIDEKEY_TOKEN", "file:///run/token")], &[]);
        let mut mistakes = Mistakes::default();
        parse("token = \"hunter2\" oops", &mut mistakes);
        assert!(!mistakes.to_string().contains("hunter2"), "{mistakes}");
    }

    const FILE: &str = "token = \"hunter2\"\nttl = \"hunter2\"\nport = 1.5\nsecrets = [\"hunter2\"]\n\
        tll = \"hunter2\"\n[[policy]]\nsecrets = [\"a\"]\nttl = \"hunter2\"\n[resolve.tenant]\na = \"b\"\n";

    proptest! {
        #[test]
        fn for_any_file_no_mistake_shows_a_value(text in mangled(FILE)) {
            let mut mistakes = Mistakes::default();
            let file = parse(&text, &mut mistakes);
            prop_assert!(!mistakes.to_string().contains(VALUE), "{mistakes}");
            prop_assert!(file.unknown.iter().all(|unknown| !unknown.hint.contains(VALUE)));
            for name in file.settings.keys() {
                prop_assert!(is_key(&name.trim_start_matches(PREFIX).to_ascii_lowercase()));
            }
            let token = file.settings.get("SIDEKEY_TOKEN");
            prop_assert!(token.is_none_or(|token| token.starts_with(credentials::FILE)));
        }
    }
}

//! The configuration file in TOML. The file can contain every setting of the environment variables,
//! and also the tables `[[policy]]`, `[[role]]`, `[[route]]` and `[resolve.tenant]`.

use super::host::Host;
use super::misspelt::{is_guard, is_nearly, nearest};
use super::mistakes::{Mistake, Problems, TomlFile, Unknown};
use super::toml_place::place;
use super::toml_setting::{is_key, keys, text_of, variable_name};
use super::values::FILE_PREFIX;
use super::variables::CONFIG_FILE;
use std::collections::BTreeMap;
use std::path::Path;
use toml::{Table, Value};

pub(super) const POLICY: &str = "policy";

pub(super) const ROLE: &str = "role";

pub(super) const RESOLVE: &str = "resolve";

pub(super) const ROUTE: &str = "route";

/// The path of the configuration file on Lambda if `SIDEKEY_CONFIG` is unset. The file is optional,
/// and `/var/task` is the folder with the function's code.
const LAMBDA_PATH: &str = "/var/task/sidekey.toml";

/// The content of the configuration file, before the settings are parsed. The type has no `Debug`,
/// because the file may contain a token.
#[derive(Default)]
pub(super) struct File {
    /// The settings in the configuration file, as strings. The keys are the names of the equivalent
    /// environment variables, such as `SIDEKEY_TTL` for the setting `ttl`.
    pub(super) settings: BTreeMap<String, String>,
    pub(super) policy: Option<Value>,
    pub(super) role: Option<Value>,
    pub(super) resolve: Option<Value>,
    pub(super) route: Option<Value>,
    pub(super) problems: Problems,
}

/// Reads the configuration file at `path`, which is the value of `SIDEKEY_CONFIG`. If `path` is
/// `None`, reads `/var/task/sidekey.toml` on Lambda if this file exists, and otherwise no file.
///
/// # Errors
///
/// Returns an error if the file cannot be read or is not TOML.
pub(super) fn read(path: Option<&str>, host: Host) -> Result<File, Mistake> {
    let path = match path {
        Some(path) => path,
        None if host == Host::Lambda && Path::new(LAMBDA_PATH).exists() => LAMBDA_PATH,
        None => return Ok(File::default()),
    };
    let text = std::fs::read_to_string(path).map_err(|error| Mistake {
        name: CONFIG_FILE.to_owned(),
        problem: format!("the file {path} cannot be read: {error}"),
    })?;
    let mut file = parse(path, &text)?;
    let path = path.to_owned();
    file.problems.files.push(TomlFile { variable: CONFIG_FILE, path, text });
    Ok(file)
}

fn parse(path: &str, text: &str) -> Result<File, Mistake> {
    let table: Table = text.parse().map_err(|error| Mistake {
        name: CONFIG_FILE.to_owned(),
        problem: not_toml(path, text, &error),
    })?;
    let mut file = File::default();
    for (key, value) in table {
        match key.as_str() {
            POLICY => file.policy = Some(value),
            ROLE => file.role = Some(value),
            RESOLVE => file.resolve = Some(value),
            ROUTE => file.route = Some(value),
            known if is_key(known) => file.add(&key, &value),
            _ => file.problems.unknown.push(unknown(&key)),
        }
    }
    Ok(file)
}

/// Returns the error message for a configuration file that is not valid TOML. The message does not
/// quote the file, because the file may contain a token.
pub(super) fn not_toml(path: &str, text: &str, error: &toml::de::Error) -> String {
    let place = error.span().map(|span| place(path, text, span.start));
    format!("the file is not valid TOML: {}{}", error.message(), place.unwrap_or_default())
}

impl File {
    /// Adds the setting `key` to `settings`. Records a mistake if `value` has an unsupported type,
    /// such as a float. Also records a mistake if `value` is a token itself: the setting must be
    /// the path of a file that contains the token.
    fn add(&mut self, key: &str, value: &Value) {
        let name = variable_name(key);
        let problem = match text_of(value) {
            // A configuration file is deployed, committed and copied, so a token in the file would
            // not stay secret.
            Ok(text) if name == "SIDEKEY_TOKEN" && !text.starts_with(FILE_PREFIX) => {
                "the configuration file must not contain a token; write file://PATH with the path of a file that contains the token"
            }
            Ok(text) => {
                self.settings.insert(name, text);
                return;
            }
            Err(problem) => problem,
        };
        self.problems.mistakes.add(format!("{CONFIG_FILE}: {key}"), problem);
    }
}

fn unknown(key: &str) -> Unknown {
    let names = keys().chain([POLICY, ROLE, RESOLVE, ROUTE].map(str::to_owned));
    let nearest = nearest(names, &key.to_ascii_lowercase()).unwrap_or_default();
    Unknown {
        name: format!("{CONFIG_FILE}: {key}"),
        hint: format!("the configuration file has no such key; did you mean {nearest}?"),
        is_guard: is_guard(&variable_name(key)) || is_nearly(key, RESOLVE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::variables::PREFIX;
    use crate::hostile::{VALUE, mangled};
    use proptest::prelude::*;

    #[track_caller]
    fn check(text: &str, expected: &[(&str, &str)], wrong: &[&str]) {
        let file = parse("f", text).expect("the configuration of the test must be valid TOML");
        let settings: Vec<(&str, &str)> = file.settings.iter().map(|(k, v)| (&**k, &**v)).collect();
        assert_eq!(settings, expected);
        let (mistakes, _) = file.problems.judged(Host::Standalone);
        let found = mistakes.to_string();
        assert_eq!(mistakes.0.len(), wrong.len(), "{found}");
        for wrong in wrong {
            assert!(
                found.contains(wrong),
                "the error message must contain '{wrong}', but is: {found}"
            );
        }
    }

    #[test]
    fn keys_are_the_names_of_variables_in_lower_case() {
        check(
            "\u{feff}ttl = \"5m\"\nport = 8080\nregion_only = true\nsecrets = [\"a\", \"b#c\"]\n",
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
    fn every_mistaken_key_is_named() {
        check(
            "TTL = 1\ntttl = 1\nport = 1.5\npolicies = 1\nallow = [\"app/my db\"]\nsecrets = [\"a,b\"]\n",
            &[],
            &[
                "TTL: the configuration file has no such key",
                "did you mean ttl?",
                "did you mean policy?",
                "port: the value must be a string, a number, a boolean or a list of strings",
                "allow: an item of the list contains white space or a comma",
                "secrets: an item of the list contains white space or a comma",
            ],
        );
    }

    #[test]
    fn misspelt_security_setting_differs_from_other_unknown_keys() {
        let text = "Allow = \"a\"\ntokn = \"b\"\nsecret = \"c\"\n[resolv.tenant]\na = \"b\"\n";
        let file = parse("f", text).expect("the configuration of the test must be valid TOML");
        let guards: Vec<(&str, bool)> = file
            .problems
            .unknown
            .iter()
            .map(|unknown| (&*unknown.name, unknown.is_guard))
            .collect();
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
    fn token_in_the_file_is_refused_and_not_quoted() {
        check(
            "token = \"hunter2\"\n",
            &[],
            &["token: the configuration file must not contain a token"],
        );
        check("token = \"file:///run/token\"\n", &[("SIDEKEY_TOKEN", "file:///run/token")], &[]);
        let mistake = parse("f", "token = \"hunter2\" oops")
            .map(|_| ())
            .expect_err("invalid TOML must be refused");
        let mistake = mistake.to_string();
        assert!(!mistake.contains("hunter2") && mistake.ends_with(" (f:1:19)"), "{mistake}");
    }

    const FILE: &str = "token = \"hunter2\"\nttl = \"hunter2\"\nport = 1.5\nsecrets = [\"hunter2\"]\n\
        tll = \"hunter2\"\n[[policy]]\nsecrets = [\"a\"]\nttl = \"hunter2\"\n[resolve.tenant]\na = \"b\"\n";

    proptest! {
        #[test]
        fn for_any_file_no_mistake_shows_a_value(text in mangled(FILE)) {
            let file = match parse("f", &text) {
                Ok(file) => file,
                Err(mistake) => {
                    prop_assert!(!mistake.to_string().contains(VALUE), "{mistake}");
                    return Ok(());
                }
            };
            let mistakes = &file.problems.mistakes;
            prop_assert!(!mistakes.to_string().contains(VALUE), "{mistakes}");
            prop_assert!(file.problems.unknown.iter().all(|unknown| !unknown.hint.contains(VALUE)));
            for name in file.settings.keys() {
                let key = name.trim_start_matches(PREFIX).to_ascii_lowercase();
                prop_assert!(is_key(&key), "{name}");
            }
            let token = file.settings.get("SIDEKEY_TOKEN");
            prop_assert!(token.is_none_or(|token| token.starts_with(FILE_PREFIX)));
        }
    }
}

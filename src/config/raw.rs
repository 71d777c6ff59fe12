//! Step 1 of reading the configuration: collects every setting as a string, from the environment
//! variables and the configuration file.

use super::aws_extension;
use super::file::{self, File};
use super::host::Host;
use super::key::Key;
use super::misspelt::{is_guard, nearest};
use super::mistakes::{Mistake, Unknown};
use super::toml_setting::key_name;
use super::variables::{CONFIG_FILE, PREFIX, Settings, VARIABLES};
use super::vars::Vars;
use std::collections::BTreeMap;

/// The value of an environment variable, or an error if the value is not UTF-8.
type Text = Result<String, &'static str>;

/// The error for an environment variable whose value is not UTF-8. Such a variable must not count
/// as unset: if `SIDEKEY_ALLOW` counted as unset, callers could read every secret.
const NOT_UTF_8: &str = "the value is not UTF-8";

/// The settings as strings, before they are parsed.
pub(super) struct Raw {
    /// The settings as strings, in the order in which they are parsed. If two strings set the same
    /// value, the later string wins.
    pub(super) texts: Vec<RawText>,
    pub(super) file: Result<File, Mistake>,
    pub(super) unknown: Vec<Unknown>,
    /// The environment variables that do not begin with `SIDEKEY_`. These are variables of AWS, of
    /// Lambda and of the user's program.
    pub(super) environment: BTreeMap<String, String>,
}

pub(super) struct RawText {
    /// The description of the setting in the table of variables. A setting in the configuration
    /// file uses the description of the equivalent variable.
    pub(super) key: &'static Key<Settings>,
    pub(super) text: Text,
    /// Whether the configuration file contains the text.
    pub(super) is_in_file: bool,
}

impl RawText {
    /// Returns the name of the setting in messages: the name of the variable, or the place in the
    /// configuration file.
    pub(super) fn name(&self) -> String {
        match self.is_in_file {
            true => format!("{CONFIG_FILE}: {}", key_name(self.key.name)),
            false => self.key.name.to_owned(),
        }
    }
}

/// Reads the environment variables and the configuration file. A variable overrides the same
/// setting in the file. A variable of Sidekey overrides the equivalent variable of AWS's extension.
pub(super) fn read(vars: &dyn Vars, host: Host) -> Raw {
    let (own, environment) = variables(vars);
    let file = match own.get(CONFIG_FILE) {
        None => file::read(None, host),
        Some(Ok(path)) => file::read(Some(path), host),
        Some(Err(problem)) => {
            Err(Mistake { name: CONFIG_FILE.to_owned(), problem: (*problem).to_owned() })
        }
    };
    Raw {
        texts: texts(&own, file.as_ref().ok(), &environment),
        file,
        unknown: own.keys().filter_map(|name| unknown(name)).collect(),
        environment,
    }
}

/// Divides the environment variables into those that begin with `SIDEKEY_` and all others. Omits a
/// variable of the second group if its value is not UTF-8.
fn variables(vars: &dyn Vars) -> (BTreeMap<String, Text>, BTreeMap<String, String>) {
    let (mut own, mut others) = (BTreeMap::new(), BTreeMap::new());
    for name in vars.names() {
        let value = vars.get(&name);
        if name.starts_with(PREFIX) {
            own.insert(name, value.ok_or(NOT_UTF_8));
        } else if let Some(value) = value {
            others.insert(name, value);
        }
    }
    (own, others)
}

/// Returns the settings that the user has set, as strings. If two strings set the same value, the
/// later string wins.
fn texts(
    own: &BTreeMap<String, Text>,
    file: Option<&File>,
    environment: &BTreeMap<String, String>,
) -> Vec<RawText> {
    let own_text = |name: &str| {
        let in_file = || file.and_then(|file| file.settings.get(name).cloned().map(Ok));
        match own.get(name) {
            Some(text) => Some((text.clone(), false)),
            None => in_file().map(|text| (text, true)),
        }
    };
    let of_extension = aws_extension::VARIABLES.iter().filter_map(|key| {
        // AWS's extension treats an empty variable as unset.
        let text = environment.get(key.name).filter(|text| !text.trim().is_empty())?;
        let (text, is_in_file) = (Ok(text.clone()), false);
        own_text(key.default).is_none().then_some(RawText { key, text, is_in_file })
    });
    let of_sidekey = VARIABLES.iter().filter_map(|key| {
        let (text, is_in_file) = own_text(key.name)?;
        Some(RawText { key, text, is_in_file })
    });
    of_extension.chain(of_sidekey).collect()
}

/// Returns a hint that suggests a known variable to the user. Returns `None` if Sidekey knows the
/// variable `name`.
fn unknown(name: &str) -> Option<Unknown> {
    if name == CONFIG_FILE || VARIABLES.iter().any(|known| known.name == name) {
        return None;
    }
    let nearest = nearest(VARIABLES.iter().map(|known| known.name), name).unwrap_or(CONFIG_FILE);
    Some(Unknown {
        name: name.to_owned(),
        hint: format!("Sidekey has no such variable; did you mean {nearest}?"),
        is_guard: is_guard(name),
    })
}

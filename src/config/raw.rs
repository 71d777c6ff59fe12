//! Step 1 of reading a configuration: collects every setting as text, from the environment and the
//! file.

use super::aws_extension;
use super::file::{self, File};
use super::host::Host;
use super::key::Key;
use super::misspelt::{is_guard, nearest};
use super::mistakes::{Mistake, Unknown};
use super::variables::{CONFIG_FILE, PREFIX, Settings, VARIABLES};
use super::vars::Vars;
use std::collections::BTreeMap;

/// The text of a variable, or the error if the value of the variable is not UTF-8.
type Text = Result<String, &'static str>;

/// The error for a variable whose value is not UTF-8. Such a variable does not count as unset: if
/// `SIDEKEY_ALLOW` were unset, every secret could be read.
const NOT_UTF_8: &str = "its value is not UTF-8";

/// The settings as texts.
pub(super) struct Raw {
    /// The texts of the settings. If two texts set the same value, the later text wins.
    pub(super) texts: Vec<RawText>,
    /// The content of the file, or the reason why the file cannot be used.
    pub(super) file: Result<File, Mistake>,
    /// The variables that start with the prefix of Sidekey, but are not known.
    pub(super) unknown: Vec<Unknown>,
    /// The variables that do not start with the prefix of Sidekey: variables of AWS, of Lambda and of
    /// the function.
    pub(super) environment: BTreeMap<String, String>,
}

/// The text of one setting.
pub(super) struct RawText {
    /// The table row of the variable. If the file contains the text, this is the row of the variable
    /// for the same setting.
    pub(super) key: &'static Key<Settings>,
    /// The text, or the error if the value of the variable is not UTF-8.
    pub(super) text: Text,
}

/// Reads the environment and the file. A variable wins over the same setting in the file, and a
/// variable of Sidekey wins over the variable of AWS's extension for the same setting.
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

/// Returns the variables that start with the prefix of Sidekey, and all others. Other variables whose
/// values are not UTF-8 are left out.
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

/// Returns the texts of all settings that are set, in the order in which they apply.
fn texts(
    own: &BTreeMap<String, Text>,
    file: Option<&File>,
    environment: &BTreeMap<String, String>,
) -> Vec<RawText> {
    let own_text = |name: &str| {
        let in_file = || file.and_then(|file| file.settings.get(name).cloned().map(Ok));
        own.get(name).cloned().or_else(in_file)
    };
    let of_extension = aws_extension::VARIABLES.iter().filter_map(|key| {
        // AWS's extension treats an empty variable as unset.
        let text = environment.get(key.name).filter(|text| !text.trim().is_empty())?;
        own_text(key.default).is_none().then(|| RawText { key, text: Ok(text.clone()) })
    });
    let of_sidekey =
        VARIABLES.iter().filter_map(|key| Some(RawText { key, text: own_text(key.name)? }));
    of_extension.chain(of_sidekey).collect()
}

/// Returns a hint about the variable `name`, unless the variable is known.
fn unknown(name: &str) -> Option<Unknown> {
    if name == CONFIG_FILE || VARIABLES.iter().any(|known| known.name == name) {
        return None;
    }
    let nearest = nearest(VARIABLES.iter().map(|known| known.name), name).unwrap_or(CONFIG_FILE);
    Some(Unknown {
        name: name.to_owned(),
        hint: format!("no such variable; did you mean {nearest}?"),
        is_guard: is_guard(name),
    })
}

//! Step 1 of reading a configuration: collects every setting as text, from the environment and the file.

use super::aws_extension;
use super::file::{self, File};
use super::host::Host;
use super::key::Key;
use super::misspelt::{is_guard, nearest};
use super::mistakes::{Mistake, Unknown};
use super::variables::{CONFIG_FILE, PREFIX, Settings, VARIABLES};
use super::vars::Vars;
use std::collections::BTreeMap;

/// The error for a variable whose value is not text. Such a variable does not count as unset: without
/// `SIDEKEY_ALLOW`, every secret may be read.
const NOT_UTF_8: &str = "its value is not UTF-8";

/// The settings as texts.
pub(super) struct Raw {
    /// The texts that apply. Later texts win over earlier ones.
    pub(super) texts: Vec<RawText>,
    /// The file, or the reason why the file cannot be used.
    pub(super) file: Result<File, Mistake>,
    /// The variables of the environment that start with the prefix of Sidekey and are not known.
    pub(super) unknown: Vec<Unknown>,
    /// All other variables of the environment: variables of AWS, Lambda and the function.
    pub(super) environment: BTreeMap<String, String>,
}

/// The text of one setting.
pub(super) struct RawText {
    /// The row of the table that describes the setting. The name of this row is the variable that the
    /// text comes from, also if the file contains the text.
    pub(super) key: &'static Key<Settings>,
    /// The text, or the error if the variable is not UTF-8.
    pub(super) text: Result<String, &'static str>,
}

/// Reads the environment and the file. A variable wins over the same setting in the file, and a variable
/// of Sidekey wins over the variable of AWS's extension for the same setting.
pub(super) fn read(vars: &dyn Vars, host: Host) -> Raw {
    let (mut own, mut environment) = (BTreeMap::new(), BTreeMap::new());
    for name in vars.names() {
        match vars.get(&name) {
            text if name.starts_with(PREFIX) => {
                own.insert(name, text.ok_or(NOT_UTF_8));
            }
            Some(text) => {
                environment.insert(name, text);
            }
            None => {}
        }
    }
    let file = match own.get(CONFIG_FILE) {
        Some(Ok(path)) => file::read(Some(path), host),
        Some(Err(problem)) => {
            Err(Mistake { name: CONFIG_FILE.to_owned(), problem: (*problem).to_owned() })
        }
        None => file::read(None, host),
    };
    let unknown = own.keys().filter_map(|name| unknown(name)).collect();
    if let Ok(file) = &file {
        for (name, text) in &file.settings {
            own.entry(name.clone()).or_insert_with(|| Ok(text.clone()));
        }
    }
    let of_extension = aws_extension::VARIABLES.iter().filter_map(|key| {
        // AWS's extension treats an empty variable as unset.
        let text = environment.get(key.name).filter(|text| !text.trim().is_empty())?;
        (!own.contains_key(key.default)).then(|| RawText { key, text: Ok(text.clone()) })
    });
    let of_sidekey = VARIABLES.iter().filter_map(|key| {
        let text = own.get(key.name)?.clone();
        Some(RawText { key, text })
    });
    Raw { texts: of_extension.chain(of_sidekey).collect(), file, unknown, environment }
}

/// Returns the problem with the variable `name`, if no table lists the variable.
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

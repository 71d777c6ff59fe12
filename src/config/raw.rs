//! Collects every setting as a string, from the environment variables and the configuration file.
//! This is step 1 of reading the configuration.

use super::aws_extension;
use super::cleaning::{QUOTED, trimmed, unquoted};
use super::credentials;
use super::file::{self, File};
use super::host::Host;
use super::key::Key;
use super::misspelt::{is_guard, is_nearly, nearest};
use super::mistakes::{Mistake, Unknown};
use super::service_links::is_service_link;
use super::toml_setting::key_name;
use super::variables::{CONFIG_FILE, PREFIX, Settings, VARIABLES};
use super::vars::Vars;
use std::collections::BTreeMap;

/// The value of an environment variable, or an error message if the value is not UTF-8 or is in
/// quotes.
type Text = Result<String, &'static str>;

/// The error message for an environment variable whose value is not UTF-8. Sidekey must not ignore
/// such a variable: if it ignored `SIDEKEY_ALLOW`, callers could read every secret.
const NOT_UTF_8: &str = "the value is not UTF-8";

/// The variables for which an empty value is an error. If such a variable counted as unset, callers
/// could read more secrets. All other variables count as unset if they are empty.
const NEVER_UNSET: [&str; 3] = ["SIDEKEY_ALLOW", "SIDEKEY_ROLES", "SIDEKEY_USE_ONLY"];

/// The settings of the environment variables and the configuration file, before the strings are
/// parsed.
pub(super) struct Raw {
    /// The settings that the user has set, in the order in which Sidekey parses them. If two
    /// strings set the same setting, the later string wins.
    pub(super) texts: Vec<RawText>,
    pub(super) file: Result<File, Mistake>,
    pub(super) unknown: Vec<Unknown>,
    /// The non-empty environment variables whose names do not begin with `SIDEKEY_`. White space
    /// and quotes around the values are removed, but AWS credentials and tokens keep their quotes.
    pub(super) environment: BTreeMap<String, String>,
}

pub(super) struct RawText {
    /// The description of the setting in the table of environment variables. A setting in the
    /// configuration file has the description of the equivalent variable.
    pub(super) key: &'static Key<Settings>,
    pub(super) text: Text,
    /// Whether the setting comes from the configuration file.
    pub(super) is_in_file: bool,
}

impl RawText {
    /// Returns the name of the setting in messages: a variable such as `SIDEKEY_TTL`, or a key of
    /// the configuration file such as `SIDEKEY_CONFIG: ttl`.
    pub(super) fn name(&self) -> String {
        match self.is_in_file {
            true => format!("{CONFIG_FILE}: {}", key_name(self.key.name)),
            false => self.key.name.to_owned(),
        }
    }
}

/// Reads the environment variables and the configuration file. Variables of Sidekey override the
/// file, and both override the variables of AWS's Lambda extension.
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

/// Divides the environment variables into two maps: variables whose names begin with `SIDEKEY_`,
/// and all others. Omits variables that count as unset because they are empty, and variables that
/// Kubernetes sets for Services.
fn variables(vars: &dyn Vars) -> (BTreeMap<String, Text>, BTreeMap<String, String>) {
    let (mut own, mut others) = (BTreeMap::new(), BTreeMap::new());
    for name in vars.names() {
        let value = vars.get(&name);
        let value = value.as_deref().map(trimmed);
        if name.starts_with(PREFIX) {
            if let Some(text) = own_text(&name, value) {
                own.insert(name, text);
            }
        } else if let Some(value) = value.map(|value| others_text(&name, value))
            && !value.is_empty()
        {
            others.insert(name, value.to_owned());
        }
    }
    (own, others)
}

/// Returns the value of a variable whose name begins with `SIDEKEY_`, or an error message if the
/// value is invalid. Returns `None` if the variable is not a setting, or counts as unset.
fn own_text(name: &str, value: Option<&str>) -> Option<Text> {
    match value {
        None => Some(Err(NOT_UTF_8)),
        Some("") if !NEVER_UNSET.iter().any(|guard| is_nearly(name, guard)) => None,
        Some(value) if is_service_link(name, value) => None,
        Some(value) if unquoted(value).is_some() => Some(Err(QUOTED)),
        Some(value) => Some(Ok(value.to_owned())),
    }
}

/// Returns the value of a variable whose name does not begin with `SIDEKEY_`, without quotes. AWS
/// credentials and tokens keep their quotes, so that Sidekey can report these quotes as a mistake.
fn others_text<'a>(name: &str, value: &'a str) -> &'a str {
    match unquoted(value) {
        Some(inner) if !credentials::VARIABLES.contains(&name) => trimmed(inner),
        _ => value,
    }
}

fn texts(
    own: &BTreeMap<String, Text>,
    file: Option<&File>,
    environment: &BTreeMap<String, String>,
) -> Vec<RawText> {
    let setting = |name: &str| {
        let in_file = || file.and_then(|file| file.settings.get(name).cloned().map(Ok));
        match own.get(name) {
            Some(text) => Some((text.clone(), false)),
            None => in_file().map(|text| (text, true)),
        }
    };
    let of_extension = aws_extension::VARIABLES.iter().filter_map(|key| {
        let text = environment.get(key.name)?.clone();
        let is_set = setting(key.default).is_some();
        (!is_set).then_some(RawText { key, text: Ok(text), is_in_file: false })
    });
    let of_sidekey = VARIABLES.iter().filter_map(|key| {
        let (text, is_in_file) = setting(key.name)?;
        Some(RawText { key, text, is_in_file })
    });
    of_extension.chain(of_sidekey).collect()
}

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

//! Reads the configuration of the agent. Only this module reads environment variables.
//!
//! The module reads the configuration in three steps:
//!
//! 1. `raw` collects the settings as strings, from the environment variables and the TOML file.
//! 2. `settings` parses the strings, and finds every mistake.
//! 3. `modules` builds the configuration of each module of the agent from the parsed settings.
//!
//! Each submodule of `config` imports only from submodules that are declared above it in this file.

mod host;
mod mistakes;
mod cleaning;
mod service_links;
pub(crate) mod key;
mod misspelt;
pub(crate) mod size;
pub(crate) mod span;
mod values;
mod listed;
pub mod variables;
pub mod aws_extension;
pub mod vars;
mod toml_setting;
mod toml_place;
mod file;
mod credentials;
mod raw;
mod table_list;
pub mod policy;
pub mod role;
mod conventions;
mod resolve;
mod failover;
pub mod route_keys;
mod route;
mod settings;
mod emf;
mod modules;
pub mod contact;
#[cfg(test)]
mod tests;

pub use host::Host;
pub(crate) use mistakes::Mistakes;
pub use modules::{ChosenDialect, Config, Prefetch};
pub use values::OnInitFailure;

use crate::convention::Conventions;
use mistakes::Problems;
use std::sync::Arc;
use vars::Vars;

/// The result of reading the agent's configuration.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration of the agent. A setting with an invalid value has its default value here.
    pub config: Config,
    /// All mistakes in the agent's settings, such as invalid values. The list is empty if all
    /// settings are valid.
    pub mistakes: Mistakes,
    /// Warnings for the log, about settings that are valid but unusual.
    pub warnings: Vec<String>,
}

/// Reads the agent's configuration from the environment variables in `vars`, and from the TOML file
/// whose path is in `SIDEKEY_CONFIG`. Some defaults depend on the platform `host`.
pub fn load(vars: &dyn Vars, host: Host) -> Loaded {
    let mut problems = Problems::default();
    let raw = raw::read(vars, host);
    let resolved = settings::resolve(raw, host, &mut problems);
    let config = modules::configure(resolved, host, &mut problems.warnings);
    let (mistakes, warnings) = judged(problems, host);
    Loaded { config, mistakes, warnings }
}

/// Divides the problems into mistakes and warnings. Adds file, line and column to problems in TOML
/// files.
fn judged(mut problems: Problems, host: Host) -> (Mistakes, Vec<String>) {
    let files = std::mem::take(&mut problems.files);
    for unknown in &mut problems.unknown {
        if let Some(place) = toml_place::place_of(&unknown.name, &files) {
            unknown.hint.push_str(&place);
        }
    }
    toml_place::add_places(&mut problems.mistakes, &files);
    problems.judged(host)
}

/// Reads only the conventions: the patterns for the names of secrets, and the rules for their
/// values. Ignores mistakes in all other settings.
///
/// # Errors
///
/// Returns all mistakes in the conventions file, and in the TOML file of `SIDEKEY_CONFIG`, because
/// that file may contain the path of the conventions file.
pub(crate) fn conventions(vars: &dyn Vars) -> Result<Arc<Conventions>, Mistakes> {
    let host = Host::Standalone;
    let mut problems = Problems::default();
    let raw = raw::read(vars, host);
    let tables = settings::Tables::read(raw.file, &mut problems);
    let texts = raw.texts.iter().filter(|text| text.key.name == variables::CONVENTIONS_FILE);
    let settings = settings::typed(texts, &mut problems.mistakes);
    let conventions = settings::load_conventions(&settings, &tables, &mut problems);
    let (mistakes, _) = judged(problems, host);
    if mistakes.is_empty() { Ok(conventions) } else { Err(mistakes) }
}

//! Reads the configuration of the agent. This is the only module that reads environment variables.
//!
//! The configuration is read in three steps:
//!
//! 1. `raw` collects the settings as texts, from the environment variables and the TOML file.
//! 2. `settings` turns the texts into typed values, and finds every mistake.
//! 3. `modules` builds the configuration of each module of the agent from the typed values.
//!
//! In the list of modules below, each module imports only from modules above it.

mod host;
mod mistakes;
pub(crate) mod key;
mod misspelt;
pub(crate) mod size;
pub(crate) mod span;
mod values;
pub mod variables;
pub mod aws_extension;
pub mod vars;
mod toml_setting;
mod file;
mod raw;
mod credentials;
pub mod policy;
mod conventions;
mod resolve;
mod settings;
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

/// The agent's configuration, and all mistakes and warnings that were found while it was read.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration of the agent. A setting that has a mistake has its default value here.
    pub config: Config,
    /// All mistakes in the settings.
    pub mistakes: Mistakes,
    /// Warnings about settings that are unusual but valid, as texts for the log.
    pub warnings: Vec<String>,
}

/// Reads the agent's configuration from the environment variables `vars` and the TOML file.
pub fn load(vars: &dyn Vars, host: Host) -> Loaded {
    let mut problems = Problems::default();
    let raw = raw::read(vars, host);
    let resolved = settings::resolve(raw, host, &mut problems);
    let config = modules::configure(resolved, host, &mut problems.warnings);
    let (mistakes, warnings) = problems.judged(host);
    Loaded { config, mistakes, warnings }
}

/// Reads only the naming conventions for secrets, for commands that need no agent. Ignores mistakes
/// in variables that do not concern the conventions.
///
/// # Errors
///
/// Returns all mistakes in the conventions file and in the TOML file, which may contain the path of
/// the conventions file.
pub(crate) fn conventions(vars: &dyn Vars) -> Result<Arc<Conventions>, Mistakes> {
    let host = Host::Standalone;
    let mut problems = Problems::default();
    let raw = raw::read(vars, host);
    let tables = settings::Tables::read(raw.file, &mut problems);
    let texts = raw.texts.iter().filter(|text| text.key.name == variables::CONVENTIONS_FILE);
    let settings = settings::typed(texts, &mut problems.mistakes);
    let conventions = settings::load_conventions(&settings, &tables, &mut problems);
    let (mistakes, _) = problems.judged(host);
    if mistakes.is_empty() { Ok(conventions) } else { Err(mistakes) }
}

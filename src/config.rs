//! Reads the configuration of the agent. This is the only module that reads the environment.
//!
//! The configuration is read in three steps:
//!
//! 1. `raw` collects the settings as texts, from the environment and the TOML file.
//! 2. `settings` turns the texts into typed values, and finds every mistake.
//! 3. `modules` builds the configuration of each module from the typed values.
//!
//! A file below imports only from files that are listed above it.

mod host;
mod mistakes;
pub mod key;
mod misspelt;
pub mod size;
pub mod span;
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
pub use mistakes::{Mistake, Mistakes};
pub use modules::{ChosenDialect, Config, Prefetch};
pub use values::OnInitFailure;

use crate::convention::Conventions;
use mistakes::Problems;
use std::sync::Arc;
use vars::Vars;

/// A configuration, together with everything that was found wrong while it was read.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration. A mistaken setting has its default value.
    pub config: Config,
    /// All mistakes in the configuration.
    pub mistakes: Mistakes,
    /// Messages about settings that are unusual but valid.
    pub warnings: Vec<String>,
}

/// Reads the configuration from the environment and the file.
pub fn load(vars: &dyn Vars, host: Host) -> Loaded {
    let mut problems = Problems::default();
    let raw = raw::read(vars, host);
    let resolved = settings::resolve(raw, host, &mut problems);
    let config = modules::configure(resolved, host, &mut problems.warnings);
    let (mistakes, warnings) = problems.judged(host);
    Loaded { config, mistakes, warnings }
}

/// Reads only the conventions, for commands that need no agent. Mistakes in variables that have
/// nothing to do with conventions are ignored.
///
/// # Errors
///
/// All mistakes in the file of conventions, and in the TOML file, which may name the file of
/// conventions.
pub fn conventions(vars: &dyn Vars) -> Result<Arc<Conventions>, Mistakes> {
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

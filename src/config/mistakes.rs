//! The mistakes in a configuration. All of them are collected, so that one start reports every one.

use super::host::Host;
use std::fmt;

/// One mistake in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The name of the mistaken variable. If the mistake is in a file, the variable that names the
    /// file, and the key in the file, as in `SIDEKEY_CONFIG: policy[1].ttl`.
    pub name: String,
    /// The description of the mistake. The description never contains a token or another configured
    /// value that may be secret.
    pub problem: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.problem)
    }
}

/// All mistakes in a configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error)]
pub struct Mistakes(pub Vec<Mistake>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(Mistake::to_string).collect();
        f.write_str(&lines.join("; "))
    }
}

impl Mistakes {
    /// Returns whether the configuration has no mistake.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Records a mistake in the setting called `name`.
    pub(super) fn add(&mut self, name: impl Into<String>, problem: impl Into<String>) {
        self.0.push(Mistake { name: name.into(), problem: problem.into() });
    }

    /// Returns the value of `result`. Records an error as a mistake in the setting called `name`, and
    /// returns the default value instead, so that the remaining settings are still checked.
    pub(super) fn noted<T: Default>(
        &mut self,
        name: &str,
        result: Result<T, impl fmt::Display>,
    ) -> T {
        result.unwrap_or_else(|problem| {
            self.add(name, problem.to_string());
            T::default()
        })
    }
}

/// A variable, or a key of a file, whose name Sidekey does not know.
#[derive(Debug)]
pub(super) struct Unknown {
    /// The unknown name. If a file contains the name, the file comes first, as in `SIDEKEY_CONFIG:
    /// tll`.
    pub(super) name: String,
    /// A hint that suggests the most similar known name.
    pub(super) hint: String,
    /// Whether the name is a misspelt security setting, such as `SIDEKEY_ALOW`. Ignoring the name
    /// would leave open what the operator meant to close.
    pub(super) is_guard: bool,
}

/// Everything that was found wrong while a configuration was read.
#[derive(Debug, Default)]
pub(super) struct Problems {
    /// The mistakes that were found so far.
    pub(super) mistakes: Mistakes,
    /// The unknown variables and keys. The host decides whether an unknown name is a mistake.
    pub(super) unknown: Vec<Unknown>,
    /// Messages about settings that are unusual but valid.
    pub(super) warnings: Vec<String>,
}

impl Problems {
    /// Adds all problems in `other`.
    pub(super) fn extend(&mut self, other: Self) {
        self.mistakes.0.extend(other.mistakes.0);
        self.unknown.extend(other.unknown);
        self.warnings.extend(other.warnings);
    }

    /// Returns the mistakes and the warnings on `host`.
    ///
    /// An unknown name is a mistake, except on Lambda: there it is only a warning, so that a layer and
    /// the configuration of its function need not change at the same time. A misspelt security setting
    /// is a mistake everywhere.
    pub(super) fn judged(self, host: Host) -> (Mistakes, Vec<String>) {
        let Self { mut mistakes, unknown, mut warnings } = self;
        for Unknown { name, hint, is_guard } in unknown {
            match host {
                Host::Lambda if !is_guard => warnings.push(format!("{name}: {hint}")),
                Host::Lambda | Host::Standalone => mistakes.add(name, hint),
            }
        }
        (mistakes, warnings)
    }
}

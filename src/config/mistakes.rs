//! Mistakes in the agent's configuration. Sidekey collects all of them, so that one start of the
//! agent reports every mistake.

use super::host::Host;
use std::fmt;

/// One mistake in the agent's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The name of the environment variable that has the mistake. For a mistake in a file: the
    /// variable that contains the file's path, and the key in the file, as in `SIDEKEY_CONFIG:
    /// policy[1].ttl`.
    pub name: String,
    /// The description of the mistake in the configuration. It never contains a token or another
    /// configured value that may be secret.
    pub problem: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.problem)
    }
}

/// All mistakes in the agent's configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error)]
pub struct Mistakes(pub Vec<Mistake>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(Mistake::to_string).collect();
        f.write_str(&lines.join("; "))
    }
}

impl Mistakes {
    /// Returns whether the configuration has no mistakes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Records a mistake in the setting called `name`.
    pub(super) fn add(&mut self, name: impl Into<String>, problem: impl Into<String>) {
        self.0.push(Mistake { name: name.into(), problem: problem.into() });
    }

    /// Returns the value of `result`. If `result` is an error, records it as a mistake in the
    /// setting called `name`, and returns the default value, so that the remaining settings are
    /// still checked.
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

/// An environment variable, or a key of a file, whose name Sidekey does not know.
#[derive(Debug)]
pub(super) struct Unknown {
    /// The unknown name. For a key of a file, the variable that contains the file's path comes
    /// first, as in `SIDEKEY_CONFIG: tll`.
    pub(super) name: String,
    /// A hint for the user that suggests the most similar known name.
    pub(super) hint: String,
    /// Whether the unknown name is a misspelt security setting, such as `SIDEKEY_ALOW`. If Sidekey
    /// ignored such a name, it would allow access that the operator meant to forbid.
    pub(super) is_guard: bool,
}

/// All problems that were found so far while the configuration was read.
#[derive(Debug, Default)]
pub(super) struct Problems {
    /// The mistakes in the configuration that were found so far.
    pub(super) mistakes: Mistakes,
    /// The unknown variables and keys. The platform decides whether an unknown name is a mistake or
    /// only a warning.
    pub(super) unknown: Vec<Unknown>,
    /// Warnings about settings that are unusual but valid, as texts for the log.
    pub(super) warnings: Vec<String>,
}

impl Problems {
    /// Adds all problems of `other` to these problems.
    pub(super) fn extend(&mut self, other: Self) {
        self.mistakes.0.extend(other.mistakes.0);
        self.unknown.extend(other.unknown);
        self.warnings.extend(other.warnings);
    }

    /// Divides the problems into mistakes and warnings, according to the platform `host`.
    ///
    /// An unknown name is a mistake, except on Lambda. On Lambda it is only a warning, so that the
    /// Lambda layer and the configuration of the function can be updated at different times. A
    /// misspelt security setting is a mistake on every platform.
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

//! Mistakes in the agent's configuration. Sidekey collects all mistakes, so that one start of the
//! agent reports every mistake.

use super::host::Host;
use std::fmt;

/// One mistake in the agent's configuration, such as an environment variable with an invalid value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The setting that has the mistake, such as `SIDEKEY_TTL`, or `SIDEKEY_CONFIG: policy[1].ttl`
    /// for a key in the configuration file.
    pub name: String,
    /// What is wrong with the setting, as a message for the user. The message never contains a
    /// token or another configured value that may be secret.
    pub problem: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.problem)
    }
}

/// All mistakes in the agent's configuration, in the order in which Sidekey found them.
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

    /// Records a mistake, unless the same mistake is recorded already.
    pub(super) fn add(&mut self, name: impl Into<String>, problem: impl Into<String>) {
        let mistake = Mistake { name: name.into(), problem: problem.into() };
        if !self.0.contains(&mistake) {
            self.0.push(mistake);
        }
    }

    /// Returns the value in `result`. If `result` is an error, records the error as a mistake in
    /// the setting `name`, and returns the default value.
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

/// An environment variable, or a key of a configuration file, whose name Sidekey does not know.
#[derive(Debug)]
pub(super) struct Unknown {
    /// The unknown name: a variable such as `SIDEKEY_TTTL`, or a key in the configuration file such
    /// as `SIDEKEY_CONFIG: tttl`.
    pub(super) name: String,
    pub(super) hint: String,
    /// Whether the unknown name is a misspelt security setting, such as `SIDEKEY_ALOW`. Ignoring
    /// such a name would let callers read secrets that the operator wanted to protect.
    pub(super) is_guard: bool,
}

/// A TOML file that Sidekey has read, for messages with the line and column of a mistake. The type
/// has no `Debug`, because the file may contain a token.
pub(super) struct TomlFile {
    /// The environment variable that contains the path of the file.
    pub(super) variable: &'static str,
    pub(super) path: String,
    pub(super) text: String,
}

#[derive(Default)]
pub(super) struct Problems {
    pub(super) mistakes: Mistakes,
    /// The variables, and the keys of configuration files, whose names Sidekey does not know.
    pub(super) unknown: Vec<Unknown>,
    pub(super) warnings: Vec<String>,
    /// The TOML files in which Sidekey found mistakes or unknown keys.
    pub(super) files: Vec<TomlFile>,
}

impl Problems {
    pub(super) fn extend(&mut self, other: Self) {
        self.mistakes.0.extend(other.mistakes.0);
        self.unknown.extend(other.unknown);
        self.warnings.extend(other.warnings);
        self.files.extend(other.files);
    }

    /// Decides which problems are mistakes, and which are only warnings, on the platform `host`.
    ///
    /// An unknown name is only a warning on Lambda, so that the Lambda layer and the function's
    /// configuration can be updated separately. A misspelt security setting is always a mistake.
    pub(super) fn judged(self, host: Host) -> (Mistakes, Vec<String>) {
        let Self { mut mistakes, unknown, mut warnings, files: _ } = self;
        for Unknown { name, hint, is_guard } in unknown {
            match host {
                Host::Lambda if !is_guard => warnings.push(format!("{name}: {hint}")),
                Host::Lambda | Host::Standalone => mistakes.add(name, hint),
            }
        }
        (mistakes, warnings)
    }
}

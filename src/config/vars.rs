//! Where variables come from.

use std::collections::BTreeMap;
use std::io::IsTerminal;

/// A set of variables.
pub trait Vars {
    /// Returns the value of the variable called `name`, if it is set.
    fn get(&self, name: &str) -> Option<String>;
    /// Returns the names of all variables.
    fn names(&self) -> Vec<String>;
    /// Returns whether a person reads what is written to standard error.
    fn is_terminal(&self) -> bool {
        false
    }
}

/// The environment of the process. What is not UTF-8 has no value, and its name is there all the same.
#[derive(Clone, Copy, Debug)]
pub struct Environment;

impl Vars for Environment {
    #[expect(clippy::disallowed_methods, reason = "this is the one reader of the environment")]
    fn get(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    #[expect(clippy::disallowed_methods, reason = "this is the one reader of the environment")]
    fn names(&self) -> Vec<String> {
        std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).collect()
    }

    fn is_terminal(&self) -> bool {
        std::io::stderr().is_terminal()
    }
}

impl Vars for BTreeMap<String, String> {
    fn get(&self, name: &str) -> Option<String> {
        BTreeMap::get(self, name).cloned()
    }

    fn names(&self) -> Vec<String> {
        self.keys().cloned().collect()
    }
}

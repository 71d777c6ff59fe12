//! Access to environment variables.

use std::collections::BTreeMap;
use std::fmt;

/// A set of environment variables. The program uses the variables of its process, and tests use
/// other variables.
pub trait Vars {
    /// Returns the value of the environment variable `name`. Returns `None` if the variable is
    /// unset or its value is not UTF-8.
    fn get(&self, name: &str) -> Option<String>;
    /// Returns the names of all environment variables, including variables whose value is not
    /// UTF-8.
    fn names(&self) -> Vec<String>;
}

/// The environment variables of this process.
#[derive(Clone, Copy, Debug)]
pub struct Environment;

impl Vars for Environment {
    #[expect(clippy::disallowed_methods, reason = "only this file reads environment variables")]
    fn get(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    #[expect(clippy::disallowed_methods, reason = "only this file reads environment variables")]
    fn names(&self) -> Vec<String> {
        std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).collect()
    }
}

/// The environment variables of the process, some of which are overridden by the options of a
/// `sidekey` command.
pub(crate) struct Overridden<'a> {
    /// The new values of the overridden environment variables. `None` means that the variable
    /// counts as unset.
    given: BTreeMap<String, Option<String>>,
    others: &'a dyn Vars,
}

impl<'a> Overridden<'a> {
    pub(crate) fn new(others: &'a dyn Vars) -> Self {
        Self { given: BTreeMap::new(), others }
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.given.insert(name.to_owned(), Some(value.to_owned()));
    }

    pub(crate) fn unset(&mut self, name: &str) {
        self.given.insert(name.to_owned(), None);
    }
}

impl fmt::Debug for Overridden<'_> {
    /// Writes only the names of the overridden variables, because their values may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Overridden").field("given", &self.given.keys()).finish_non_exhaustive()
    }
}

impl Vars for Overridden<'_> {
    fn get(&self, name: &str) -> Option<String> {
        self.given.get(name).cloned().unwrap_or_else(|| self.others.get(name))
    }

    fn names(&self) -> Vec<String> {
        let given = self.given.iter().filter(|(_, value)| value.is_some());
        let others = self.others.names().into_iter();
        others
            .filter(|name| !self.given.contains_key(name))
            .chain(given.map(|(name, _)| name.clone()))
            .collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overridden_variables_win_and_can_be_unset() {
        let names = ["a", "b", "c"];
        let all: BTreeMap<String, String> =
            names.iter().map(|name| ((*name).to_owned(), "old".to_owned())).collect();
        let mut vars = Overridden::new(&all);
        vars.set("a", "new");
        vars.set("d", "new");
        vars.unset("b");
        let values = ["a", "b", "c", "d", "e"].map(|name| vars.get(name));
        assert_eq!(values.map(|value| value.unwrap_or_default()), ["new", "", "old", "new", ""]);
        let mut names = vars.names();
        names.sort();
        assert_eq!(names, ["a", "c", "d"]);
        assert!(!format!("{vars:?}").contains("new"));
    }
}

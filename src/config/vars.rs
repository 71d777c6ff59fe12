//! Where variables come from.

use std::collections::BTreeMap;
use std::fmt;
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

/// Variables of which some are given otherwise: by the options of a command.
pub struct Overridden<'a> {
    given: BTreeMap<String, Option<String>>,
    others: &'a dyn Vars,
}

impl<'a> Overridden<'a> {
    /// Takes all variables as they are.
    pub fn new(others: &'a dyn Vars) -> Self {
        Self { given: BTreeMap::new(), others }
    }

    /// Gives a variable another value.
    pub fn set(&mut self, name: &str, value: &str) {
        self.given.insert(name.to_owned(), Some(value.to_owned()));
    }

    /// Leaves a variable out.
    pub fn unset(&mut self, name: &str) {
        self.given.insert(name.to_owned(), None);
    }
}

impl fmt::Debug for Overridden<'_> {
    /// Names what is given, and shows no value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Overridden").field("given", &self.given.keys()).finish_non_exhaustive()
    }
}

impl Vars for Overridden<'_> {
    fn get(&self, name: &str) -> Option<String> {
        self.given.get(name).cloned().unwrap_or_else(|| self.others.get(name))
    }

    fn names(&self) -> Vec<String> {
        let others = self.others.names().into_iter();
        let others = others.filter(|name| !self.given.contains_key(name));
        let given = self.given.iter().filter(|(_, value)| value.is_some());
        others.chain(given.map(|(name, _)| name.clone())).collect()
    }

    fn is_terminal(&self) -> bool {
        self.others.is_terminal()
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
    fn what_is_given_otherwise_wins_and_can_be_left_out() {
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

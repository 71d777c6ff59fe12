//! The changes that a seed (a file of test secrets) made to a fake AWS server.

/// The changes that a fake AWS server made because a test applied a seed (a file of test secrets).
/// Each list contains names of
/// secrets in alphabetical order, and then names of parameters after `ssm:`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Names of the secrets and parameters that the seed created.
    pub created: Vec<String>,
    /// Names of the secrets and parameters whose current value the seed changed.
    pub updated: Vec<String>,
    /// Names of the secrets and parameters that were removed, because an earlier seed contained them and the new
    /// seed does not.
    pub removed: Vec<String>,
    /// Names of the secrets and parameters that did not change, because their values were already equal to the
    /// values in the seed.
    pub unchanged: Vec<String>,
}

impl Changes {
    /// Appends the changes of parameters.
    pub(crate) fn extend(&mut self, parameters: Self) {
        self.created.extend(parameters.created);
        self.updated.extend(parameters.updated);
        self.removed.extend(parameters.removed);
        self.unchanged.extend(parameters.unchanged);
    }
}

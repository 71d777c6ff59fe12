//! The changes that a seed (a file of test secrets) made to a fake AWS server.

/// The changes that a fake AWS server made because a test applied a seed (a file of test secrets).
/// Each list contains first the names of secrets, and then the names of parameters, which begin
/// with `ssm:`. Both are in alphabetical order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Names of the secrets and parameters that the seed created.
    pub created: Vec<String>,
    /// Names of the secrets and parameters whose current value the seed changed.
    pub updated: Vec<String>,
    /// Names of the secrets and parameters that the fake AWS server removed, because an earlier
    /// seed contained them and the new seed does not.
    pub removed: Vec<String>,
    /// Names of the secrets and parameters that did not change, because their values were already
    /// equal to the values in the seed.
    pub unchanged: Vec<String>,
}

impl Changes {
    /// Appends the names in the lists of `parameters` to the lists of this value, which contain
    /// only names of secrets before.
    pub(crate) fn extend(&mut self, parameters: Self) {
        self.created.extend(parameters.created);
        self.updated.extend(parameters.updated);
        self.removed.extend(parameters.removed);
        self.unchanged.extend(parameters.unchanged);
    }
}

//! The size limits of the cache, and the secrets to which they do not apply.

use crate::secret::key::{Key, KeyRef};
use crate::secret::parameter_path::ParameterPath;
use crate::secret::reference::{PARAMETER_PREFIX, SecretId};
use std::collections::HashMap;

/// The size limits of the cache. The secrets in `SIDEKEY_SECRETS` are cached even if they exceed
/// these limits.
#[derive(Clone, Debug, Default)]
pub(crate) struct Limits {
    pub(crate) entries_max: usize,
    /// The maximum memory in bytes for cached values, their HTTP responses and their parsed fields.
    pub(crate) bytes_max: usize,
    pub(crate) listed: Listed,
}

/// The secrets, parameters and parameter paths in `SIDEKEY_SECRETS`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Listed {
    /// The keys in `SIDEKEY_SECRETS`, by their name or ARN.
    by_id: HashMap<Box<str>, Vec<Key>>,
    paths: Vec<(ParameterPath, Key)>,
}

impl Listed {
    pub(crate) fn contains<'a>(&self, key: impl Into<KeyRef<'a>>) -> bool {
        let key = key.into();
        self.names(key) || self.path_of(key).is_some()
    }

    /// Returns whether `SIDEKEY_SECRETS` contains exactly the name or ARN of `key`, and not only a
    /// path or a pattern that matches it.
    pub(super) fn names(&self, key: KeyRef<'_>) -> bool {
        let is_named = |keys: &Vec<Key>| keys.iter().any(|own| KeyRef::from(own) == key);
        self.by_id.get(key.id).is_some_and(is_named)
    }

    /// Returns the path in `SIDEKEY_SECRETS` that contains the parameter `key`.
    pub(super) fn path_of(&self, key: KeyRef<'_>) -> Option<&ParameterPath> {
        let name = key.id.strip_prefix(PARAMETER_PREFIX)?;
        let mut paths = self.paths.iter();
        let found = paths.find(|(path, own)| {
            own.selector == *key.selector && own.role.as_ref() == key.role && path.contains(name)
        });
        found.map(|(path, _)| path)
    }
}

impl<'a> FromIterator<&'a Key> for Listed {
    fn from_iter<I: IntoIterator<Item = &'a Key>>(keys: I) -> Self {
        let mut listed = Self::default();
        for key in keys {
            if let SecretId::Path(path) = &key.id {
                listed.paths.push((path.clone(), key.clone()));
            }
            listed.by_id.entry(key.id.as_str().into()).or_default().push(key.clone());
        }
        listed
    }
}

impl Limits {
    pub(super) fn are_met(&self, count: usize, bytes: usize) -> bool {
        count <= self.entries_max && bytes <= self.bytes_max
    }
}

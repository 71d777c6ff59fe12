//! The only type that contains the bytes of a secret.

use bytes::Bytes;
use std::fmt;
use zeroize::Zeroizing;

/// The bytes of a secret, or of an HTTP response that contains a secret. The bytes in memory are
/// overwritten when the last clone is dropped.
///
/// `Debug` writes only the length. The type has no `Display`, `Serialize`, `PartialEq` or public
/// field. Only [`expose`](Self::expose) and [`share`](Self::share) return the bytes, so a reviewer
/// can search for every access.
#[derive(Clone)]
pub struct SecretValue(Bytes);

impl SecretValue {
    /// Makes a secret value from `bytes` without a copy.
    ///
    /// `bytes` must have been allocated at its final size. A vector that grows leaves copies of the
    /// secret in freed memory.
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self(Bytes::from_owner(Zeroizing::new(bytes)))
    }

    pub(crate) fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Returns a reference-counted handle to the secret's bytes, to write them to a socket without
    /// a copy. Do not pass the handle to a log, because its `Debug` shows the bytes.
    pub(crate) fn share(&self) -> Bytes {
        self.0.clone()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

impl From<String> for SecretValue {
    fn from(text: String) -> Self {
        Self::new(text.into_bytes())
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretValue({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_writes_only_the_length() {
        let value = SecretValue::from("hunter2".to_owned());
        assert_eq!(format!("{value:?} {value:#?}"), "SecretValue(7 bytes) SecretValue(7 bytes)");
    }

    #[test]
    fn clones_and_shared_handles_point_at_the_same_bytes() {
        let value = SecretValue::from("hunter2".to_owned());
        let (clone, shared) = (value.clone(), value.share());
        assert_eq!(value.expose().as_ptr(), clone.expose().as_ptr());
        assert_eq!(value.expose().as_ptr(), shared.as_ptr());
        assert_eq!(value.len(), 7);
    }
}

//! A secret's bytes: the one type that holds them.

use bytes::Bytes;
use std::fmt;
use zeroize::Zeroizing;

/// A secret's bytes, or an answer that contains them.
///
/// `Debug` says how long the value is and nothing else. There is no `Display`, `Serialize`,
/// `PartialEq` or public field: the ways to the bytes are [`expose`](Self::expose) and
/// [`share`](Self::share), so a reviewer can search for every reader. Clones share the bytes; they
/// are wiped when the last clone is dropped.
#[derive(Clone)]
pub struct SecretValue(Bytes);

impl SecretValue {
    /// Takes over `bytes` without a copy.
    ///
    /// Give it a vector that was made at its final size: one that grew has left copies behind.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Bytes::from_owner(Zeroizing::new(bytes)))
    }

    /// Borrows the bytes.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Hands the bytes to a socket, without a copy. They stay wiped-on-drop; they can be printed.
    pub fn share(&self) -> Bytes {
        self.0.clone()
    }

    /// Returns the number of bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
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
    fn debug_tells_the_length_and_nothing_else() {
        let value = SecretValue::from("hunter2".to_owned());
        assert_eq!(format!("{value:?} {value:#?}"), "SecretValue(7 bytes) SecretValue(7 bytes)");
    }

    #[test]
    fn clones_and_shares_point_at_the_same_bytes() {
        let value = SecretValue::from("hunter2".to_owned());
        let (clone, shared) = (value.clone(), value.share());
        assert_eq!(value.expose().as_ptr(), clone.expose().as_ptr());
        assert_eq!(value.expose().as_ptr(), shared.as_ptr());
        assert_eq!((value.len(), value.is_empty()), (7, false));
    }
}

//! What a secret keeps.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fmt;

/// A version's plaintext.
///
/// `Debug` says how long it is and nothing else, and there is no `Display`: what a developer puts
/// into the double is often a real password.
#[derive(Clone, PartialEq, Eq)]
pub enum Plaintext {
    /// A `SecretString`.
    Text(String),
    /// A `SecretBinary`.
    Binary(Vec<u8>),
}

/// The longest plaintext, in bytes.
///
/// Source: `SecretString` in AWS's API reference.
pub const PLAINTEXT_BYTES_MAX: usize = 65_536;

impl Plaintext {
    /// Reads a binary plaintext from its base64, the form in which it travels.
    pub(super) fn from_base64(text: &str) -> Option<Self> {
        STANDARD.decode(text).ok().map(Self::Binary)
    }

    /// Returns the key and the value that carry it in an answer.
    pub(super) fn to_member(&self) -> (&'static str, String) {
        match self {
            Self::Text(text) => ("SecretString", text.clone()),
            Self::Binary(bytes) => ("SecretBinary", STANDARD.encode(bytes)),
        }
    }

    /// Returns how many bytes there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }

    /// Says whether there are no bytes at all, which AWS takes from nobody.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl From<&str> for Plaintext {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Plaintext {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<Vec<u8>> for Plaintext {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Binary(bytes)
    }
}

impl fmt::Debug for Plaintext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "Text({} bytes)", text.len()),
            Self::Binary(bytes) => write!(f, "Binary({} bytes)", bytes.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_tells_the_length_alone() {
        assert_eq!(format!("{:?}", Plaintext::from("hunter2")), "Text(7 bytes)");
        assert_eq!(format!("{:?}", Plaintext::from(b"hunter2".to_vec())), "Binary(7 bytes)");
    }

    #[test]
    fn binary_travels_as_base64() {
        let plaintext = Plaintext::from_base64("AP8=").expect("valid base64");
        assert_eq!(plaintext, Plaintext::Binary(vec![0, 255]));
        assert_eq!(plaintext.to_member(), ("SecretBinary", "AP8=".to_owned()));
        assert_eq!(Plaintext::from_base64("not base64"), None);
    }
}

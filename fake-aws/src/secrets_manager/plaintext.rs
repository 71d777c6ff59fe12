//! The unencrypted value of a secret: a string or a list of bytes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fmt;

/// The unencrypted value of one version of a secret.
///
/// The `Debug` output contains only the length of the value, and the type does not implement
/// `Display`. Developers often put real passwords into a fake AWS server, and tests must not print
/// these passwords.
#[derive(Clone, PartialEq, Eq)]
pub enum Plaintext {
    /// A secret value that is a string. AWS sends the string as `SecretString`.
    Text(String),
    /// A secret value that is a list of bytes. AWS sends the bytes as `SecretBinary`, encoded in
    /// base64.
    Binary(Vec<u8>),
}

/// The maximum size of a secret value in bytes.
///
/// Source: `SecretString` in AWS's API reference.
pub(crate) const PLAINTEXT_BYTES_MAX: usize = 65_536;

impl Plaintext {
    pub(crate) fn from_base64(text: &str) -> Option<Self> {
        STANDARD.decode(text).ok().map(Self::Binary)
    }

    /// Returns the JSON key (`SecretString` or `SecretBinary`) and the JSON string for this value
    /// in a response.
    pub(crate) fn to_member(&self) -> (&'static str, String) {
        match self {
            Self::Text(text) => ("SecretString", text.clone()),
            Self::Binary(bytes) => ("SecretBinary", STANDARD.encode(bytes)),
        }
    }

    /// Returns the size of the secret value in bytes. For a string, this is the size in UTF-8.
    pub fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }

    /// Returns whether the secret value is empty. AWS rejects empty values.
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
    fn debug_prints_the_length_only() {
        assert_eq!(format!("{:?}", Plaintext::from("hunter2")), "Text(7 bytes)");
        assert_eq!(format!("{:?}", Plaintext::from(b"hunter2".to_vec())), "Binary(7 bytes)");
    }

    #[test]
    fn binary_value_is_encoded_as_base64() {
        let plaintext = Plaintext::from_base64("AP8=").expect("the base64 must be valid");
        assert_eq!(plaintext, Plaintext::Binary(vec![0, 255]));
        assert_eq!(plaintext.to_member(), ("SecretBinary", "AP8=".to_owned()));
        assert_eq!(Plaintext::from_base64("not base64"), None);
    }
}

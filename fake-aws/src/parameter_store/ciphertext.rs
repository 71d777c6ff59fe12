//! The encrypted form of a value. Parameter Store returns it if a request reads a `SecureString`
//! without decryption.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::hash::{DefaultHasher, Hash, Hasher};

/// The first bytes of every ciphertext that AWS KMS writes. In base64, they are `AQICAHg`.
const HEADER: [u8; 5] = [1, 2, 2, 0, 0x78];

/// The number of bytes by which a ciphertext of AWS KMS is longer than the plaintext, including the
/// header.
const OVERHEAD: usize = 152;

/// Returns a base64 text that looks like a ciphertext of AWS KMS. It reveals only the length of the
/// plaintext.
///
/// Equal arguments give equal texts. `write` is a number that differs for each stored value, so
/// each value gets a different text.
pub(crate) fn ciphertext(arn: &str, write: u64, plaintext_len: usize) -> String {
    let blocks = (0_u64..).flat_map(|block| {
        let mut hasher = DefaultHasher::new();
        (arn, write, block).hash(&mut hasher);
        hasher.finish().to_be_bytes()
    });
    let bytes: Vec<u8> = HEADER.into_iter().chain(blocks).take(OVERHEAD + plaintext_len).collect();
    STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ciphertext_has_the_form_of_kms_and_is_repeatable() {
        let first = ciphertext("arn", 1, 7);
        assert!(first.starts_with("AQICAHg"), "{first}");
        assert_eq!(STANDARD.decode(&first).map(|bytes| bytes.len()), Ok(159));
        assert_eq!(ciphertext("arn", 1, 7), first);
        assert_ne!(ciphertext("arn", 2, 7), first);
        assert_ne!(ciphertext("other", 1, 7), first);
    }
}

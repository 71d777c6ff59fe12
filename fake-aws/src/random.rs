//! Random ids, ARN suffixes and session tokens.
//!
//! The random numbers come from the operating system and are hard to guess. A session token is a
//! valid credential while the fake AWS server runs, so other programs on the computer must not
//! guess the token.

const LETTERS: &[u8; 26] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const LETTERS_AND_DIGITS: &[u8; 62] =
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// Returns a random UUID of version 4. AWS identifies secret versions and requests by such UUIDs.
pub(crate) fn uuid() -> String {
    let mut bytes = [0_u8; 16];
    fill(&mut bytes);
    // RFC 9562: the high bits of byte 6 contain the UUID version, and the high bits of byte 8
    // contain the variant.
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

pub(crate) fn alphanumerics(count: usize) -> String {
    from_alphabet(LETTERS_AND_DIGITS, count)
}

pub(crate) fn capitals(count: usize) -> String {
    from_alphabet(LETTERS, count)
}

/// Returns `count` random characters of `alphabet`. The first characters of the alphabet are
/// slightly more frequent, because 256 is not a multiple of the alphabet's length.
fn from_alphabet(alphabet: &[u8], count: usize) -> String {
    let mut bytes = vec![0_u8; count];
    fill(&mut bytes);
    bytes.iter().map(|&byte| char::from(alphabet[usize::from(byte) % alphabet.len()])).collect()
}

fn fill(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("the operating system must provide random bytes");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuid_has_version_4_and_the_rfc_variant() {
        let id = uuid();
        assert_eq!(id.len(), 36);
        assert_eq!(id.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
        assert_eq!(&id[14..15], "4");
        assert!(matches!(&id[19..20], "8" | "9" | "a" | "b"));
        assert_ne!(id, uuid());
    }

    #[test]
    fn random_text_has_the_requested_length_and_alphabet() {
        assert!(alphanumerics(6).len() == 6 && capitals(16).len() == 16);
        assert!(alphanumerics(200).bytes().all(|byte| byte.is_ascii_alphanumeric()));
        assert!(capitals(200).bytes().all(|byte| byte.is_ascii_uppercase()));
    }
}

//! Draws what AWS makes up: ids and suffixes.
//!
//! From the operating system's randomness and not from a seeded stream, since a session token that
//! the double hands out is a credential for as long as the double runs.

const LETTERS: &[u8; 26] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const LETTERS_AND_DIGITS: &[u8; 62] =
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// Draws a version 4 UUID, as AWS does for the ids of versions and of requests.
pub(super) fn uuid() -> String {
    let mut bytes = [0_u8; 16];
    fill(&mut bytes);
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// Draws `count` letters and digits.
pub(super) fn alphanumerics(count: usize) -> String {
    from_alphabet(LETTERS_AND_DIGITS, count)
}

/// Draws `count` capital letters.
pub(super) fn capitals(count: usize) -> String {
    from_alphabet(LETTERS, count)
}

/// Draws from an alphabet. Its first letters come up a little more often, which no one minds here.
fn from_alphabet(alphabet: &[u8], count: usize) -> String {
    let mut bytes = vec![0_u8; count];
    fill(&mut bytes);
    bytes.iter().map(|&byte| char::from(alphabet[usize::from(byte) % alphabet.len()])).collect()
}

fn fill(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("the operating system has random bytes");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_has_its_version_and_its_variant() {
        let id = uuid();
        assert_eq!(id.len(), 36);
        assert_eq!(id.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
        assert_eq!(&id[14..15], "4");
        assert!(matches!(&id[19..20], "8" | "9" | "a" | "b"));
        assert_ne!(id, uuid());
    }

    #[test]
    fn draws_have_the_length_that_was_asked_for() {
        assert!(alphanumerics(6).len() == 6 && capitals(16).len() == 16);
        assert!(alphanumerics(200).bytes().all(|byte| byte.is_ascii_alphanumeric()));
        assert!(capitals(200).bytes().all(|byte| byte.is_ascii_uppercase()));
    }
}

//! Sizes of memory as people write them.

/// The largest size: more than a sidecar ever has.
pub const SIZE_MAX: usize = 16 * 1024 * 1024 * 1024;

/// Why a text is not a size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSize {
    /// It is not a number with a unit.
    #[error("a size like 32MiB, 512KiB or 1GiB expected; a bare number means bytes")]
    Unreadable,
    /// It is larger than [`SIZE_MAX`].
    #[error("larger than 16 GiB")]
    TooLarge,
}

/// Parses `512KiB`, `32MiB` or `1GiB`; a bare number means bytes.
///
/// # Errors
///
/// If the text is not a size, or the size is too large.
pub fn parse(text: &str) -> Result<usize, BadSize> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    if digits == 0 {
        return Err(BadSize::Unreadable);
    }
    let unit: usize = match &text[digits..] {
        "" | "B" => 1,
        "KiB" => 1024,
        "MiB" => 1024 * 1024,
        "GiB" => 1024 * 1024 * 1024,
        _ => return Err(BadSize::Unreadable),
    };
    let number: usize = text[..digits].parse().map_err(|_| BadSize::TooLarge)?;
    let size = number.checked_mul(unit).ok_or(BadSize::TooLarge)?;
    if size > SIZE_MAX { Err(BadSize::TooLarge) } else { Ok(size) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_powers_of_1024() {
        for (text, bytes) in [
            ("0", 0),
            ("1000", 1000),
            ("7B", 7),
            ("512KiB", 524_288),
            ("32MiB", 33_554_432),
            ("16GiB", SIZE_MAX),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn other_text_is_refused() {
        for text in ["", "MiB", "1.5MiB", "-1", "1 MiB", "32MB", "32mib", "ten"] {
            assert_eq!(parse(text), Err(BadSize::Unreadable), "{text}");
        }
        for text in ["17GiB", "99999999999999999999", "18446744073709551615KiB"] {
            assert_eq!(parse(text), Err(BadSize::TooLarge), "{text}");
        }
    }
}

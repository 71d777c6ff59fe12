//! Parses sizes of memory, such as `32MiB`.

/// The maximum size of memory in a setting, in bytes: 16 GiB, which is more memory than a container
/// with the agent usually has.
pub(crate) const SIZE_MAX: usize = 16 * 1024 * 1024 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadSize {
    #[error(
        "the value must be a size like 32MiB, 512KiB or 1GiB; a number without a unit means bytes"
    )]
    Unreadable,
    #[error("the size must not be larger than 16 GiB")]
    TooLarge,
}

/// Parses a size of memory such as `512KiB`, `32MiB` or `1GiB`, and returns the number of bytes. A
/// number without a unit means bytes.
///
/// # Errors
///
/// Returns an error if `text` is not a size, or if the size exceeds [`SIZE_MAX`].
pub(crate) fn parse(text: &str) -> Result<usize, BadSize> {
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
    fn invalid_and_too_large_sizes_are_refused() {
        for text in ["", "MiB", "1.5MiB", "-1", "1 MiB", "32MB", "32mib", "ten"] {
            assert_eq!(parse(text), Err(BadSize::Unreadable), "{text}");
        }
        for text in ["17GiB", "99999999999999999999", "18446744073709551615KiB"] {
            assert_eq!(parse(text), Err(BadSize::TooLarge), "{text}");
        }
    }
}

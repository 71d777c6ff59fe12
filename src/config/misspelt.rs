//! Compares unknown names with the known ones, to suggest the name that was meant.

/// The maximum number of letters that are missing, added, changed or swapped in a misspelt security
/// setting. With more slips the name is treated as any other unknown name.
const GUARD_SLIPS_MAX: usize = 2;

/// The maximum number of bytes of an unknown name that are compared with each known name. The time of
/// a comparison grows with the length of the name.
const COMPARED_BYTES_MAX: usize = 128;

/// The variables that restrict access. A typo in such a name must be reported, because ignoring the
/// variable would grant access to everything.
const GUARDS: [&str; 2] = ["SIDEKEY_ALLOW", "SIDEKEY_TOKEN"];

/// Returns whether the unknown variable `name` is a typo of a security setting.
pub(super) fn is_guard(name: &str) -> bool {
    GUARDS.iter().any(|guard| is_nearly(name, guard))
}

/// Returns whether `name` differs from `guard` by at most [`GUARD_SLIPS_MAX`] letters.
pub(super) fn is_nearly(name: &str, guard: &str) -> bool {
    // The lengths are compared first: the comparison of the letters takes long if the name is long.
    name.len().abs_diff(guard.len()) <= GUARD_SLIPS_MAX * char::MAX.len_utf8()
        && strsim::damerau_levenshtein(name, guard) <= GUARD_SLIPS_MAX
}

/// Returns the name in `known` that is most similar to `name`. Only the first [`COMPARED_BYTES_MAX`]
/// bytes of `name` are compared.
pub(super) fn nearest<T: AsRef<str>>(known: impl Iterator<Item = T>, name: &str) -> Option<T> {
    let beginning = &name[..name.floor_char_boundary(COMPARED_BYTES_MAX)];
    known.min_by_key(|known| strsim::damerau_levenshtein(beginning, known.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_name_is_compared_by_its_beginning() {
        let long = format!("port{}s.e.c.r.e.t.s", "é".repeat(1_000));
        assert_eq!(nearest(["ttl", "port", "secrets"].into_iter(), &long), Some("port"));
        assert!(!is_guard(&format!("SIDEKEY_TOKEN{long}")));
        assert!(is_guard("SIDEKEY_TÖKÉN"), "slips are counted in letters, not in bytes");
    }
}

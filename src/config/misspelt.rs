//! Compares an unknown setting name with the known names, to suggest the name that the user meant.

/// The maximum number of typing errors in a misspelt security setting, such as `SIDEKEY_ALOW`. A
/// missing, added or changed letter, or a pair of swapped letters, is one typing error.
const GUARD_SLIPS_MAX: usize = 2;

/// The number of bytes of an unknown name that Sidekey compares with the known names. Comparing a
/// very long name would take too long.
const COMPARED_BYTES_MAX: usize = 128;

/// The environment variables that restrict access to secrets. If Sidekey ignored a misspelt name of
/// such a variable, callers could read more secrets than intended.
const GUARDS: [&str; 4] = ["SIDEKEY_ALLOW", "SIDEKEY_ROLES", "SIDEKEY_TOKEN", "SIDEKEY_USE_ONLY"];

/// Returns whether the unknown variable `name` is a misspelt security setting, such as
/// `SIDEKEY_ALOW`.
pub(super) fn is_guard(name: &str) -> bool {
    GUARDS.iter().any(|guard| is_nearly(name, guard))
}

/// Returns whether `name` differs from the security setting `guard` by at most [`GUARD_SLIPS_MAX`]
/// typing errors.
pub(super) fn is_nearly(name: &str, guard: &str) -> bool {
    // The lengths are compared first, because comparing the letters of a long name takes long.
    name.len().abs_diff(guard.len()) <= GUARD_SLIPS_MAX * char::MAX.len_utf8()
        && strsim::damerau_levenshtein(name, guard) <= GUARD_SLIPS_MAX
}

/// Returns the name in `known` that is most similar to the first [`COMPARED_BYTES_MAX`] bytes of
/// `name`. Returns `None` if `known` is empty.
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
        assert!(
            is_guard("SIDEKEY_TÖKÉN"),
            "typing errors must be counted in letters, not in bytes"
        );
    }
}

//! Compares an unknown setting name with the known names, to suggest the name that the user meant.

/// The maximum number of letters that may be missing, added, changed or swapped in a name that
/// counts as a misspelt security setting. A name with more typos counts as any other unknown name.
const GUARD_SLIPS_MAX: usize = 2;

/// The maximum number of bytes of an unknown name that are compared with the known names. Comparing
/// takes longer for a longer name.
const COMPARED_BYTES_MAX: usize = 128;

/// The environment variables that restrict access to the agent. A typo in such a name must be an
/// error: if Sidekey ignored the variable, access would not be restricted.
const GUARDS: [&str; 2] = ["SIDEKEY_ALLOW", "SIDEKEY_TOKEN"];

/// Returns whether `name`, an unknown variable, is a typo of a security setting.
pub(super) fn is_guard(name: &str) -> bool {
    GUARDS.iter().any(|guard| is_nearly(name, guard))
}

/// Returns whether `name` differs from `guard` by at most [`GUARD_SLIPS_MAX`] letters.
pub(super) fn is_nearly(name: &str, guard: &str) -> bool {
    // The lengths are compared first, because comparing the letters of a long name takes long.
    name.len().abs_diff(guard.len()) <= GUARD_SLIPS_MAX * char::MAX.len_utf8()
        && strsim::damerau_levenshtein(name, guard) <= GUARD_SLIPS_MAX
}

/// Returns the name in `known` that is most similar to `name`. Compares only the first
/// [`COMPARED_BYTES_MAX`] bytes of `name`.
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

//! Finds the line and the column of a mistake in a TOML file.

use super::mistakes::{Mistakes, TomlFile};
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Adds file, line and column to the message of each mistake in one of the TOML `files`.
pub(super) fn add_places(mistakes: &mut Mistakes, files: &[TomlFile]) {
    for mistake in &mut mistakes.0 {
        if let Some(place) = place_of(&mistake.name, files) {
            mistake.problem.push_str(&place);
        }
    }
}

/// Returns file, line and column of the setting `name` as text for the end of a message, such as
/// `(sidekey.toml:3:1)` after a space. Returns `None` if the setting is in none of the `files`.
pub(super) fn place_of(name: &str, files: &[TomlFile]) -> Option<String> {
    let (variable, key) = name.split_once(": ")?;
    let file = files.iter().find(|file| file.variable == variable)?;
    Some(place(&file.path, &file.text, find(&file.text, key)?.start))
}

/// Returns file, line and column of the byte at the index `byte` as text for the end of a message,
/// such as `(sidekey.toml:3:1)` after a space. Lines and columns are counted from 1.
pub(super) fn place(path: &str, text: &str, byte: usize) -> String {
    let before = &text[..text.floor_char_boundary(byte)];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!(" ({path}:{line}:{column})")
}

/// Returns the position of the setting at the path `key`, such as `policy[1].ttl`, in a TOML text.
/// If only the beginning of the path exists, returns the position of that part.
fn find(text: &str, key: &str) -> Option<Range<usize>> {
    let table = DeTable::parse(text).ok()?;
    in_table(table.get_ref(), key)
}

fn in_table(table: &DeTable<'_>, path: &str) -> Option<Range<usize>> {
    table.iter().find_map(|(key, value)| {
        let rest = path.strip_prefix(key.get_ref().as_ref())?;
        if rest.is_empty() {
            return Some(key.span());
        }
        if !rest.starts_with(['.', '[']) {
            return None;
        }
        Some(below(value, rest).unwrap_or_else(|| key.span()))
    })
}

fn below(value: &Spanned<DeValue<'_>>, rest: &str) -> Option<Range<usize>> {
    match value.get_ref() {
        DeValue::Table(table) => in_table(table, rest.strip_prefix('.')?),
        DeValue::Array(items) => {
            let (number, rest) = rest.strip_prefix('[')?.split_once(']')?;
            let index = number.parse::<usize>().ok()?.checked_sub(1)?;
            let item = items.get(index)?;
            Some(below(item, rest).unwrap_or_else(|| item.span()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostile::text_of;
    use proptest::prelude::*;

    const FILE: &str = "# ä\nttl = \"5m\"\n  port = 1.5 # é\n[[policy]]\nsecrets = [\"a\"]\n\n\
        [[policy]]\nttl = 1\n[resolve.tenant]\ncompany = \"ö\"\n\"a.b\" = 1\n";

    #[test]
    fn place_is_the_line_and_column_of_the_key() {
        let file = TomlFile {
            variable: "SIDEKEY_CONFIG",
            path: "sidekey.toml".to_owned(),
            text: FILE.to_owned(),
        };
        for (name, expected) in [
            ("SIDEKEY_CONFIG: ttl", Some("2:1")),
            ("SIDEKEY_CONFIG: port", Some("3:3")),
            ("SIDEKEY_CONFIG: policy[1].secrets", Some("5:1")),
            ("SIDEKEY_CONFIG: policy[2].ttl", Some("8:1")),
            ("SIDEKEY_CONFIG: policy[2]", Some("7:1")),
            ("SIDEKEY_CONFIG: policy[2].unknown", Some("7:1")),
            ("SIDEKEY_CONFIG: resolve.tenant.company", Some("10:1")),
            ("SIDEKEY_CONFIG: resolve.tenant.a.b", Some("11:1")),
            ("SIDEKEY_CONFIG: unknown", None),
            ("SIDEKEY_CONFIG", None),
            ("SIDEKEY_TTL", None),
            ("SIDEKEY_CONVENTIONS: ttl", None),
        ] {
            let place = place_of(name, std::slice::from_ref(&file));
            let expected = expected.map(|expected| format!(" (sidekey.toml:{expected})"));
            assert_eq!(place, expected, "{name}");
        }
    }

    proptest! {
        #[test]
        fn for_any_path_a_place_is_in_the_file(
            path in text_of(&["policy", "[1]", "[99]", ".", "ttl", "[", "]", "resolve", "a"]),
            byte in 0..200_usize,
        ) {
            if let Some(found) = find(FILE, &path) {
                prop_assert!(found.end <= FILE.len());
            }
            prop_assert!(place("f", FILE, byte).starts_with(" (f:"));
        }
    }
}

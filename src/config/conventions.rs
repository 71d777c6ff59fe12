//! Reads the conventions file, whose path is in `SIDEKEY_CONVENTIONS`. The file contains patterns
//! for the names of secrets, and the JSON fields that the secrets' values must have.

use super::misspelt::nearest;
use super::mistakes::{Problems, TomlFile, Unknown};
use super::toml_place::place;
use super::variables::CONVENTIONS_FILE;
use crate::convention::Conventions;
use crate::convention::file::{self, UnknownKey};
use std::path::Path;

/// Loads the conventions: the patterns for the names of secrets, and the rules for their values.
/// The conventions in the file at `path` precede the built-in conventions, which this file can
/// switch off.
pub(super) fn load(path: Option<&Path>, problems: &mut Problems) -> Conventions {
    let Some(path) = path else { return Conventions::built_in() };
    match std::fs::read_to_string(path) {
        Ok(text) => {
            let path = path.display().to_string();
            let file = TomlFile { variable: CONVENTIONS_FILE, path, text };
            let parsed = parse(&file, problems);
            problems.files.push(file);
            parsed
        }
        Err(error) => {
            problems.mistakes.add(
                CONVENTIONS_FILE,
                format!("the file {} cannot be read: {error}", path.display()),
            );
            Conventions::built_in()
        }
    }
}

fn parse(file: &TomlFile, problems: &mut Problems) -> Conventions {
    let parsed = file::parse(&file.text);
    for mistake in parsed.mistakes {
        let place = mistake.syntax_error_at.map(|byte| place(&file.path, &file.text, byte));
        let problem = mistake.problem + &place.unwrap_or_default();
        problems.mistakes.add(in_file(&mistake.location), problem);
    }
    problems.unknown.extend(parsed.unknown_keys.iter().map(with_hint));
    parsed.conventions
}

fn with_hint(unknown: &UnknownKey) -> Unknown {
    let nearest = nearest(unknown.known.iter(), &unknown.key.to_ascii_lowercase());
    let nearest = nearest.copied().unwrap_or_default();
    let hint = match unknown.table {
        Some(table) => format!("{table} has no such key; did you mean {nearest}?"),
        None => format!("a conventions file has no such key; did you mean {nearest}?"),
    };
    // A misspelt key of a convention cannot grant access, because conventions do not restrict
    // access.
    Unknown { name: in_file(&unknown.location), hint, is_guard: false }
}

/// Returns the name of a place in the conventions file for messages: `convention[2].pattern`
/// becomes `SIDEKEY_CONVENTIONS: convention[2].pattern`. An empty place means the whole file.
fn in_file(location: &str) -> String {
    match location {
        "" => CONVENTIONS_FILE.to_owned(),
        location => format!("{CONVENTIONS_FILE}: {location}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Problems {
        let (path, text) = ("f".to_owned(), text.to_owned());
        let mut problems = Problems::default();
        parse(&TomlFile { variable: CONVENTIONS_FILE, path, text }, &mut problems);
        problems
    }

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let Problems { unknown, mut mistakes, .. } = problems(text);
        unknown.into_iter().for_each(|unknown| mistakes.add(unknown.name, unknown.hint));
        let found: Vec<String> = mistakes.0.iter().map(ToString::to_string).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn mistakes_are_reported_with_the_variable_and_the_location() {
        check("built_in = 1", &["SIDEKEY_CONVENTIONS: built_in: the value must be true or false"]);
        let found = problems("key = = 1").mistakes.to_string();
        assert!(found.starts_with("SIDEKEY_CONVENTIONS: the file is not valid TOML: "), "{found}");
        assert!(found.ends_with(" (f:1:7)"), "{found}");
    }

    #[test]
    fn unknown_key_is_reported_with_the_nearest_known_key() {
        check(
            "builtin = false\n\
             [[convention]]\nKind = \"a\"\nkind = \"a\"\npattern = \"a\"\nservice = \"S\"\n\
             [convention.fields]\na = { optonal = 1 }\n",
            &[
                "SIDEKEY_CONVENTIONS: builtin: a conventions file has no such key; did you mean built_in?",
                "SIDEKEY_CONVENTIONS: convention[1].Kind: a convention has no such key; did you mean kind?",
                "SIDEKEY_CONVENTIONS: convention[1].fields.a.optonal: a field has no such key; did you mean optional?",
            ],
        );
    }

    #[test]
    fn missing_file_is_reported_with_its_path() {
        let mut problems = Problems::default();
        let path = Path::new("no/such/file.toml");
        let found = load(Some(path), &mut problems);
        let message = problems.mistakes.to_string();
        assert!(
            message.starts_with("SIDEKEY_CONVENTIONS: the file no/such/file.toml"),
            "{message}"
        );
        assert_eq!(found, Conventions::built_in());
    }
}

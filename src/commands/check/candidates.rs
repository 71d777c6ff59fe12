//! Collects the names and ARNs of the secrets that `sidekey check` checks. This module has no side
//! effects.

use crate::convention::Conventions;
use crate::secret::arn::Arn;
use crate::secret::reference::{
    BadReference, BadReferenceOrPath, PARAMETER_PREFIX, Reference, SecretId,
};
use crate::secret::service::Service;
use std::borrow::Cow;
use std::collections::HashMap;
use std::rc::Rc;

/// The maximum number of different names and ARNs of secrets in one run of `sidekey check`.
pub(super) const REFERENCES_MAX: usize = 10_000;

/// The maximum number of places in JSON files that `sidekey check` reports for one secret.
const LOCATIONS_MAX: usize = 5;

/// The maximum length, in bytes, of the path to a place in a JSON file, such as `Items[0].key`, in
/// the report of `sidekey check`. The keys of a JSON file may be very long.
pub(super) const LOCATION_BYTES_MAX: usize = 1024;

/// The maximum length, in bytes, of a text that may be the name or ARN of a secret. `sidekey check`
/// keeps only the beginning of a longer text.
const TEXT_BYTES_MAX: usize = 4096;

/// A string that may be the name or ARN of a secret, and the places where the string was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    /// The string. If the string is too long for the name or ARN of a secret, only its beginning.
    pub(super) text: String,
    /// Whether `text` is cut off, because the string is too long for the name or ARN of a secret.
    pub(super) is_shortened: bool,
    /// The places of the string in JSON files, such as `Items[0].key`. Empty if the string does not
    /// come from a JSON file.
    pub(super) locations: Vec<String>,
}

impl Candidate {
    /// Parses the string as the name or ARN of a secret or parameter, or as a pattern such as
    /// `ssm:/app/*`, which means all parameters directly under a path.
    pub(super) fn reference(&self) -> Result<Reference, BadReferenceOrPath> {
        if self.is_shortened {
            return Err(BadReference::TooLong { max: TEXT_BYTES_MAX }.into());
        }
        Reference::parse_or_path(&self.text)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "there are more than {REFERENCES_MAX} names of secrets to check; check fewer files at once"
)]
pub(super) struct TooMany;

/// The strings that `sidekey check` found, and that may be names or ARNs of secrets. Each string
/// appears once, in the order in which the strings were found.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    all: Vec<Found>,
    by_text: HashMap<Rc<str>, usize>,
    files: Vec<File>,
}

#[derive(Debug)]
struct Found {
    text: Rc<str>,
    is_shortened: bool,
    locations: Vec<Location>,
}

#[derive(Debug, PartialEq, Eq)]
struct Location {
    /// The position of the JSON file in the list of searched files, counted from 0.
    file: usize,
    /// The position of the JSON value in its file, counted from 0. A file may contain several JSON
    /// values, one after another.
    value: usize,
    path: String,
}

#[derive(Debug)]
struct File {
    name: String,
    /// The number of JSON values that the search has read from the file so far.
    values: usize,
}

impl Candidates {
    /// Adds the name or ARN of a secret from the command line or the configuration.
    pub(super) fn add(&mut self, text: &str) -> Result<(), TooMany> {
        self.found(text).map(|_| ())
    }

    /// Records that the search begins to read the JSON file `name`. Strings that are added later
    /// belong to this file.
    pub(super) fn begin_file(&mut self, name: &str) {
        self.files.push(File { name: name.to_owned(), values: 0 });
    }

    /// Records that the search begins to read the next JSON value of a file. A file may contain
    /// several JSON values, one after another.
    pub(super) fn begin_value(&mut self) {
        if let Some(file) = self.files.last_mut() {
            file.values += 1;
        }
    }

    /// Adds a string that may be a secret's name or ARN. `path` is the location of the string in
    /// the current JSON value, such as `Items[0].key`.
    pub(super) fn add_from_file(&mut self, text: &str, path: &str) -> Result<(), TooMany> {
        let file = self.files.len().saturating_sub(1);
        let value = self.files.last().map_or(0, |file| file.values.saturating_sub(1));
        let found = self.found(text)?;
        if found.locations.len() < LOCATIONS_MAX {
            let location = Location { file, value, path: shortened(path) };
            if !found.locations.contains(&location) {
                found.locations.push(location);
            }
        }
        Ok(())
    }

    fn found(&mut self, text: &str) -> Result<&mut Found, TooMany> {
        let is_shortened = text.len() > TEXT_BYTES_MAX;
        // A shortened text is longer than the maximum, so it equals no complete text.
        let text = &text[..text.ceil_char_boundary(TEXT_BYTES_MAX + 1)];
        let at = match self.by_text.get(text) {
            Some(at) => *at,
            None if self.all.len() == REFERENCES_MAX => return Err(TooMany),
            None => {
                let text = Rc::<str>::from(text);
                self.by_text.insert(text.clone(), self.all.len());
                self.all.push(Found { text, is_shortened, locations: Vec::new() });
                self.all.len() - 1
            }
        };
        Ok(&mut self.all[at])
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(super) fn into_all(self) -> Vec<Candidate> {
        let Self { all, files, by_text } = self;
        // Each text then has only one owner, and is freed as soon as it is converted.
        drop(by_text);
        let candidate = |found: Found| Candidate {
            text: found.text.as_ref().into(),
            is_shortened: found.is_shortened,
            locations: found.locations.iter().map(|one| displayed(one, &files)).collect(),
        };
        all.into_iter().map(candidate).collect()
    }
}

/// Formats a place in a JSON file for the report, such as `a.json: [2].Items[0].key`. Omits the
/// file name if there is only one file, and the number `[2]` of the JSON value if the file has only
/// one JSON value.
fn displayed(Location { file, value, path }: &Location, files: &[File]) -> String {
    let mut text = String::new();
    let Some(File { name, values }) = files.get(*file) else { return path.clone() };
    if files.len() > 1 {
        text += &format!("{name}: ");
    }
    if *values > 1 {
        let dot = if path.is_empty() || path.starts_with('[') { "" } else { "." };
        text += &format!("[{value}]{dot}");
    }
    text + path
}

fn shortened(location: &str) -> String {
    match location.len() > LOCATION_BYTES_MAX {
        true => format!("{}…", &location[..location.floor_char_boundary(LOCATION_BYTES_MAX)]),
        false => location.to_owned(),
    }
}

/// Returns whether `text` is the name or ARN of a secret whose name matches one of the
/// `conventions`. A convention has a pattern for secret names.
pub(super) fn has_convention(text: &str, conventions: &Conventions) -> bool {
    let Ok(Reference { id, .. }) = Reference::parse(text) else { return false };
    match &id {
        SecretId::Name(name) => conventions.of_name(name).is_some(),
        SecretId::Parameter(_) | SecretId::Path(_) => false,
        SecretId::Arn(arn) => names(arn).any(|name| conventions.of_name(name).is_some()),
    }
}

/// Returns whether `text` certainly names a parameter: it is the ARN of a parameter, or begins with
/// `ssm:/`.
///
/// A text such as `ssm:GetParameter` is more likely an action in an IAM policy than the name of a
/// parameter.
pub(super) fn names_parameter(text: &str) -> bool {
    let may_be_parameter = text.starts_with("ssm:/") || text.starts_with("arn:");
    may_be_parameter
        && Reference::parse(text).is_ok_and(|one| one.id.service() == Service::ParameterStore)
}

/// Returns the secret or parameter that ECS reads if `text` is the value of `valueFrom` in a task
/// definition: an ARN, or `ssm:` and the name of a parameter. Returns `None` if `text` is not a
/// valid value of `valueFrom`.
///
/// Source: `Secret` of `RegisterTaskDefinition` in AWS's ECS API reference.
pub(super) fn of_value_from(text: &str) -> Option<Cow<'_, str>> {
    let reference = match text.starts_with("arn:") {
        true => Cow::Borrowed(text),
        false => Cow::Owned(format!("{PARAMETER_PREFIX}{text}")),
    };
    Reference::parse(&reference).is_ok().then_some(reference)
}

/// Returns the possible names of the secret with this ARN. Secrets Manager appends a random suffix
/// to a name, so an ARN with the end `app-AbC123` may belong to the secret `app` or to the secret
/// `app-AbC123`. The shorter name comes first.
pub(super) fn names(arn: &Arn) -> impl Iterator<Item = &str> {
    let (full, stripped) = arn.possible_names();
    stripped.into_iter().chain([full])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_certain_names_of_parameters_are_found() {
        for (text, expected) in [
            ("ssm:/app/url", true),
            ("ssm:/app/url:3#host", true),
            ("arn:aws:ssm:eu-north-1:123456789012:parameter/app/url", true),
            ("ssm:GetParameter", false),
            ("ssm:/app/*", false),
            ("arn:aws:ssm:eu-north-1:123456789012:parameter/app/*", false),
            ("arn:aws:secretsmanager:eu-north-1:123456789012:secret:a", false),
            ("/app/url", false),
        ] {
            assert_eq!(names_parameter(text), expected, "{text}");
        }
    }

    #[test]
    fn value_from_is_an_arn_or_the_name_of_a_parameter() {
        let parameter = "arn:aws:ssm:eu-north-1:123456789012:parameter/app/url";
        let secret = "arn:aws:secretsmanager:eu-north-1:123456789012:secret:a-AbC123:user::";
        for (text, expected) in [
            (parameter, Some(parameter)),
            (secret, Some(secret)),
            ("/app/url", Some("ssm:/app/url")),
            ("url", Some("ssm:url")),
            ("two words", None),
            ("arn:aws:s3:::bucket", None),
            ("", None),
        ] {
            assert_eq!(of_value_from(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn locations_are_few_and_short() {
        let mut candidates = Candidates::default();
        candidates.begin_file("a.json");
        candidates.begin_value();
        let long = "k".repeat(LOCATION_BYTES_MAX + 1);
        for path in ["a", "a", "[0]", "b", "c", &long, "d"] {
            candidates.add_from_file("app/db", path).expect("the limit must allow one more name");
        }
        let all = candidates.into_all();
        let shortened = format!("{}…", &long[1..]);
        assert_eq!(all[0].locations, ["a", "[0]", "b", "c", &shortened]);
    }

    #[test]
    fn locations_name_the_value_and_the_file_if_there_are_several() {
        let mut candidates = Candidates::default();
        for (file, values) in [("a.json", 1), ("b.json", 2)] {
            candidates.begin_file(file);
            for _ in 0..values {
                candidates.begin_value();
                candidates
                    .add_from_file("app/db", "x")
                    .expect("the limit must allow one more name");
                candidates.add_from_file("app/db", "").expect("the limit must allow one more name");
            }
        }
        let expected = ["a.json: x", "a.json: ", "b.json: [0].x", "b.json: [0]", "b.json: [1].x"];
        assert_eq!(candidates.into_all()[0].locations, expected);
    }

    #[test]
    fn text_that_is_longer_than_any_reference_is_shortened_and_bad() {
        let mut candidates = Candidates::default();
        candidates.begin_file("a.json");
        candidates.begin_value();
        let longest = format!("app/db#{}", "f".repeat(TEXT_BYTES_MAX - "app/db#".len()));
        for text in
            [&*longest, &format!("{longest}f"), &format!("{longest}{}", "\u{e9}".repeat(9_999))]
        {
            candidates
                .add_from_file(text, "a")
                .expect("the limit must allow three names of secrets");
        }
        let all = candidates.into_all();
        assert!(all[0].text == longest && all[0].reference().is_ok());
        for one in &all[1..] {
            assert!(one.text.starts_with(&longest) && one.text.len() <= TEXT_BYTES_MAX + 4);
            assert_eq!(one.reference(), Err(BadReference::TooLong { max: TEXT_BYTES_MAX }.into()));
        }
    }

    #[test]
    fn number_of_references_is_limited() {
        let mut candidates = Candidates::default();
        for number in 0..REFERENCES_MAX {
            candidates
                .add(&number.to_string())
                .expect("the limit must allow the maximum number of names");
        }
        assert_eq!(candidates.add("0"), Ok(()));
        assert_eq!(candidates.add("one more"), Err(TooMany));
    }
}

//! Collects the secrets that `sidekey check` checks, from the command line and from a JSON file.
//! This module has no side effects.
//!
//! A string in the JSON file counts as the name or ARN of a secret in two cases. It is at a
//! configured path, anywhere in the file, or it matches the name pattern of a naming convention.

use super::dynamo::{is_type, plain};
use crate::convention::Conventions;
use crate::message::paths::Paths;
use crate::message::search::{LimitExceeded, Search, SearchError};
use crate::secret::arn::Arn;
use crate::secret::reference::{Reference, SecretId};
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::{BTreeMap, HashMap};
use std::fmt::{Display, Write};

/// The maximum number of different references (names or ARNs of secrets) in one run of `sidekey
/// check`.
pub(super) const REFERENCES_MAX: usize = 10_000;

/// The maximum number of locations that `sidekey check` reports for one secret. A JSON file may
/// name the same secret many times.
const LOCATIONS_MAX: usize = 5;

/// The maximum number of bytes of one location in the report. A location, such as `Items[0].key`,
/// contains keys of the JSON file, and a key may be very long.
const LOCATION_BYTES_MAX: usize = 1024;

/// A string that may be the name or ARN of a secret, and where it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) text: String,
    /// Where the JSON file contains the string, such as `Items[0].key`. Empty if the string is from
    /// the command line.
    pub(super) locations: Vec<String>,
}

/// All strings that may be names or ARNs of secrets, in the order in which they were found and
/// without duplicates.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    all: Vec<Candidate>,
    by_text: HashMap<String, usize>,
}

/// The error messages quote nothing from the JSON file, because the file may contain secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FileError {
    #[error(
        "the file is neither JSON (error at line {line}, column {column}) nor JSON lines (line {first} is not JSON)"
    )]
    NotJson {
        /// The line of the first error if the file is parsed as one JSON value, counted from 1.
        line: usize,
        /// The column of the first error if the file is parsed as one JSON value, counted from 1.
        column: usize,
        /// The first line that is not valid if the file is parsed as JSON lines (one JSON value per
        /// line), counted from 1.
        first: usize,
    },
    #[error("the file is empty")]
    Empty,
    #[error(transparent)]
    LimitExceeded(#[from] LimitExceeded),
    #[error("there are more than {REFERENCES_MAX} references to secrets; split the file")]
    TooMany,
}

impl Candidates {
    /// Adds a string that may be the name or ARN of a secret. `location` is `None` if the string is
    /// from the command line.
    pub(super) fn add(&mut self, text: &str, location: Option<&str>) -> Result<(), FileError> {
        let at = match self.by_text.get(text) {
            Some(at) => *at,
            None if self.all.len() == REFERENCES_MAX => return Err(FileError::TooMany),
            None => {
                self.by_text.insert(text.to_owned(), self.all.len());
                self.all.push(Candidate { text: text.to_owned(), locations: Vec::new() });
                self.all.len() - 1
            }
        };
        let locations = &mut self.all[at].locations;
        if locations.len() < LOCATIONS_MAX
            && let Some(location) =
                location.map(shortened).filter(|location| !locations.contains(location))
        {
            locations.push(location);
        }
        Ok(())
    }

    /// Finds the strings in a JSON file that may be names or ARNs of secrets, and adds them. The
    /// file may also have one JSON value per line (JSON lines).
    pub(super) fn search(
        &mut self,
        text: &str,
        paths: &Paths,
        conventions: &Conventions,
    ) -> Result<(), FileError> {
        if text.trim().is_empty() {
            return Err(FileError::Empty);
        }
        if self.search_items(text, paths, conventions)? {
            return Ok(());
        }
        let error = match serde_json::from_str(text) {
            Ok(value) => {
                return self.walk(&plain(value), &mut Location::default(), paths, conventions);
            }
            Err(error) => error,
        };
        // The file may be JSON lines. The search treats each line like one item of a JSON list.
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        for (number, (at, line)) in lines.enumerate() {
            // The error contains only positions, because the message of serde_json may quote the
            // file.
            let value = serde_json::from_str(line).map_err(|_| FileError::NotJson {
                line: error.line(),
                column: error.column(),
                first: at + 1,
            })?;
            self.walk(&plain(value), &mut Location(format!("[{number}]")), paths, conventions)?;
        }
        Ok(())
    }

    pub(super) fn into_all(self) -> Vec<Candidate> {
        self.all
    }

    /// Searches a JSON list one item at a time, to save memory. Parsing the complete output of `aws
    /// dynamodb scan` at once was measured to need 43 times the size of the output.
    ///
    /// Also searches a JSON object that contains lists, such as that output. Returns `false` if the
    /// JSON has another form. The caller must then parse it at once.
    fn search_items(
        &mut self,
        text: &str,
        paths: &Paths,
        conventions: &Conventions,
    ) -> Result<bool, FileError> {
        let Ok(root) = serde_json::from_str::<&RawValue>(text) else { return Ok(false) };
        let members = match root.get().starts_with('[') {
            true => BTreeMap::from([(String::new(), root)]),
            false => match serde_json::from_str::<BTreeMap<String, &RawValue>>(text) {
                Ok(members) if is_separable(&members, paths) => members,
                _ => return Ok(false),
            },
        };
        let mut location = Location::default();
        for (key, member) in members {
            let is_searched = location.below(&key, |location| {
                let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(member.get()) else {
                    return self.search_raw(member, location, paths, conventions);
                };
                for (at, item) in items.into_iter().enumerate() {
                    let is_searched = location.with(format_args!("[{at}]"), |location| {
                        self.search_raw(item, location, paths, conventions)
                    })?;
                    if !is_searched {
                        return Ok(false);
                    }
                }
                Ok(true)
            })?;
            if !is_searched {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Parses and searches one item of a JSON list. Returns `false` if serde_json cannot parse the
    /// item, for example because a number is too large.
    fn search_raw(
        &mut self,
        raw: &RawValue,
        location: &mut Location,
        paths: &Paths,
        conventions: &Conventions,
    ) -> Result<bool, FileError> {
        let Ok(value) = serde_json::from_str(raw.get()) else { return Ok(false) };
        self.walk(&plain(value), location, paths, conventions).map(|()| true)
    }

    fn walk(
        &mut self,
        value: &Value,
        location: &mut Location,
        paths: &Paths,
        conventions: &Conventions,
    ) -> Result<(), FileError> {
        match value {
            Value::Object(object) => {
                let search = Search::new(paths, []).at_most(REFERENCES_MAX);
                let found = search.run(value).map_err(|failed| match failed {
                    SearchError::LimitExceeded(limit) => FileError::LimitExceeded(limit),
                    SearchError::Unreadable(_) => {
                        unreachable!(
                            "the search cannot fail to read an object that was already parsed"
                        )
                    }
                })?;
                for one in found.references {
                    // If the value at a configured path is not a string, `sidekey check` must
                    // report it. An empty name causes this report.
                    let text = one.reference.unwrap_or_default();
                    location.below(&one.path, |location| self.add(&text, Some(&location.0)))?;
                }
                for (key, value) in object {
                    location
                        .below(key, |location| self.walk(value, location, paths, conventions))?;
                }
            }
            Value::Array(all) => {
                for (at, value) in all.iter().enumerate() {
                    location.with(format_args!("[{at}]"), |location| {
                        self.walk(value, location, paths, conventions)
                    })?;
                }
            }
            Value::String(text) if has_convention(text, conventions) => {
                self.add(text, Some(&location.0))?;
            }
            _ => {}
        }
        Ok(())
    }
}

/// Returns whether the members of a JSON object can be searched one by one, without the rest of the
/// object.
///
/// This is not possible for a typed value of DynamoDB, such as `{"S": "x"}`. It is also not
/// possible if a configured path begins at the object.
fn is_separable(members: &BTreeMap<String, &RawValue>, paths: &Paths) -> bool {
    let is_typed = members.len() == 1 && members.keys().all(|key| is_type(key));
    let mut first_keys = paths.iter().map(|path| {
        let path = path.to_string();
        path.split_once('.').map_or(&*path, |(first, _)| first).to_owned()
    });
    !is_typed && !first_keys.any(|first| first == "*" || members.contains_key(&first))
}

/// Where the search currently is in the JSON file, such as `Items[0].channel_config`.
///
/// The whole search shares one string. Copies would need too much memory, because the location
/// contains keys of the JSON file, and a key may be very long.
#[derive(Default)]
struct Location(String);

impl Location {
    /// Appends a key of a JSON object to the location while `work` searches the value of this key.
    fn below<T>(&mut self, key: &str, work: impl FnOnce(&mut Self) -> T) -> T {
        let dot = if self.0.is_empty() { "" } else { "." };
        self.with(format_args!("{dot}{key}"), work)
    }

    fn with<T>(&mut self, end: impl Display, work: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.0.len();
        let _ = write!(self.0, "{end}");
        let result = work(self);
        self.0.truncate(before);
        result
    }
}

fn shortened(location: &str) -> String {
    match location.len() > LOCATION_BYTES_MAX {
        true => format!("{}…", &location[..location.floor_char_boundary(LOCATION_BYTES_MAX)]),
        false => location.to_owned(),
    }
}

/// Returns whether a string is the name or ARN of a secret whose name matches a naming convention.
fn has_convention(text: &str, conventions: &Conventions) -> bool {
    let Ok(Reference { id, .. }) = Reference::parse(text) else { return false };
    match &id {
        SecretId::Name(name) => conventions.of_name(name).is_some(),
        SecretId::Arn(arn) => names(arn).any(|name| conventions.of_name(name).is_some()),
    }
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
    use crate::hostile::{self, VALUE, mangled};
    use proptest::prelude::*;
    use serde_json::json;

    fn paths() -> Paths {
        Paths::parse(["channel_config.*.credentials_id", "ai_config.ai_api_key_reference"])
            .expect("the paths must be valid")
    }

    fn found(text: &str) -> Result<Vec<(String, Vec<String>)>, FileError> {
        let mut candidates = Candidates::default();
        candidates.search(text, &paths(), &Conventions::built_in())?;
        Ok(candidates.into_all().into_iter().map(|one| (one.text, one.locations)).collect())
    }

    #[track_caller]
    fn check(text: &str, expected: &[(&str, &[&str])]) {
        let owned = |locations: &[&str]| locations.iter().map(|one| (*one).to_owned()).collect();
        let expected: Vec<(String, Vec<String>)> =
            expected.iter().map(|(text, places)| ((*text).to_owned(), owned(places))).collect();
        assert_eq!(found(text), Ok(expected), "{text}");
    }

    const WHATSAPP: &str = "whatsapp-credentials/cucumber-recruitment/cv-analysis/twilio";

    #[test]
    fn context_object_is_searched_at_the_configured_paths() {
        let message = json!({
            "channel_config": {"whatsapp": {"credentials_id": "own/name", "other": "own/other"}},
            "ai_config": {"ai_api_key_reference": "own/key#ai_api_key", "model": "gpt"},
        });
        check(
            &message.to_string(),
            &[
                ("own/name", &["channel_config.whatsapp.credentials_id"]),
                ("own/key#ai_api_key", &["ai_config.ai_api_key_reference"]),
            ],
        );
    }

    #[test]
    fn scan_of_a_table_is_searched_in_its_items() {
        let item = |company: &str, reference: &str| {
            json!({
                "company_id": {"S": company},
                "channel_config": {"M": {"whatsapp": {"M": {"credentials_id": {"S": reference}}}}},
                "ai_config": {"M": {"ai_api_key_reference": {"S": "openai-api-key/whatsapp"}}},
            })
        };
        let items = [item("a", WHATSAPP), item("b", "own/name")];
        let key_at = "ai_config.ai_api_key_reference";
        check(
            &json!({"Items": items, "Count": 2}).to_string(),
            &[
                (WHATSAPP, &["Items[0].channel_config.whatsapp.credentials_id"]),
                (
                    "openai-api-key/whatsapp",
                    &[&format!("Items[0].{key_at}"), &format!("Items[1].{key_at}")],
                ),
                ("own/name", &["Items[1].channel_config.whatsapp.credentials_id"]),
            ],
        );
        let lines = items.map(|item| json!({ "Item": item }).to_string()).join("\n\n");
        check(
            &lines,
            &[
                (WHATSAPP, &["[0].Item.channel_config.whatsapp.credentials_id"]),
                (
                    "openai-api-key/whatsapp",
                    &[&format!("[0].Item.{key_at}"), &format!("[1].Item.{key_at}")],
                ),
                ("own/name", &["[1].Item.channel_config.whatsapp.credentials_id"]),
            ],
        );
    }

    #[test]
    fn names_that_match_a_convention_are_found_anywhere() {
        let arn =
            format!("arn:aws:secretsmanager:eu-north-1:123456789012:secret:{WHATSAPP}-AbC123");
        let message = json!({"a": [{"b": "openai-api-key/sms"}, arn, "x y", "openai-api-key/fax"]});
        check(&message.to_string(), &[("openai-api-key/sms", &["a[0].b"]), (&arn, &["a[1]"])]);
        check("\"openai-api-key/sms\"", &[("openai-api-key/sms", &[""])]);
    }

    #[test]
    fn non_string_at_a_path_is_an_empty_reference() {
        let message = json!({"ai_config": {"ai_api_key_reference": 5}});
        check(&message.to_string(), &[("", &["ai_config.ai_api_key_reference"])]);
    }

    #[test]
    fn locations_are_kept_up_to_the_limit() {
        let all: Vec<Value> = (0..9).map(|_| json!("openai-api-key/sms")).collect();
        let found =
            found(&Value::Array(all).to_string()).expect("the search of the file must succeed");
        assert_eq!((found.len(), found[0].1.len()), (1, LOCATIONS_MAX));
    }

    /// If the search copied the long key for each value, the copies would need more than a
    /// terabyte.
    #[test]
    fn long_key_costs_no_more_than_its_own_length() {
        let (key, zeros) = ("k".repeat(8 * 1024 * 1024), "0,".repeat(200_000));
        let text = format!(r#"{{"{key}":[{zeros}"openai-api-key/sms"]}}"#);
        let all = found(&text).expect("the search of the file must succeed");
        assert_eq!(all[0].1[0].len(), LOCATION_BYTES_MAX + "…".len());
    }

    #[test]
    fn error_in_a_file_is_reported_by_line_and_column() {
        let error = |text: &str| {
            found(text).expect_err("the search must refuse the malformed file").to_string()
        };
        assert_eq!(error(" \n"), "the file is empty");
        let expected = "the file is neither JSON (error at line 2, column 1) nor JSON lines (line 2 is not JSON)";
        assert_eq!(error("{}\nhunter2\n{}"), expected);
        let many: Vec<String> =
            (0..=REFERENCES_MAX).map(|n| format!("sms-credentials/a/{n}/twilio")).collect();
        let many = serde_json::to_string(&many).expect("strings must be serializable");
        assert_eq!(found(&many), Err(FileError::TooMany));
    }

    const MESSAGE: &str = r#"{"channel_config":{"a":{"credentials_id":"own/name"}},"b":["hunter2",
        {"S":"openai-api-key/sms"}],"ai_config":{"ai_api_key_reference":5}}"#;

    proptest! {
        #[test]
        fn for_any_file_locations_are_few_and_no_error_quotes_the_file(
            text in prop_oneof![mangled(MESSAGE), hostile::json().prop_map(|json| json.to_string())],
        ) {
            match found(&text) {
                Ok(all) => prop_assert!(all.iter().all(|(_, locations)| locations.len() <= LOCATIONS_MAX)),
                Err(bad) => prop_assert!(!bad.to_string().contains(VALUE), "{bad}"),
            }
        }

        #[test]
        fn for_any_file_search_by_items_finds_the_same_as_search_of_the_complete_file(
            items in hostile::json(),
            more in hostile::json(),
            name in "channel_config|ai_config|Items|L|S",
        ) {
            let both = json!({name.clone(): items, "more": more});
            for value in [items.clone(), json!({"Items": items, "Count": more}), json!({name: items}), both] {
                let mut candidates = Candidates::default();
                let searched = candidates
                    .walk(&plain(value.clone()), &mut Location::default(), &paths(), &Conventions::built_in())
                    .map(|()| candidates.into_all().into_iter().map(|one| (one.text, one.locations)).collect());
                prop_assert_eq!(found(&value.to_string()), searched, "{}", value);
            }
        }

        #[test]
        fn for_any_lines_the_search_finds_the_same_as_in_a_list(
            values in proptest::collection::vec(hostile::json(), 2..5),
        ) {
            let lines: Vec<String> = values.iter().map(Value::to_string).collect();
            prop_assert_eq!(found(&lines.join("\n")), found(&format!("[{}]", lines.join(","))));
        }
    }
}

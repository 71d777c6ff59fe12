//! The references in a file of JSON: those at the configured paths, anywhere in it, and whatever is
//! called as a convention says. Pure.

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

/// The most references that are looked at in one go.
pub(super) const REFERENCES_MAX: usize = 10_000;

/// The most places that are told of one reference.
const PLACES_MAX: usize = 5;

/// The most bytes of a place that are shown. Keys come from the file, and may be as long as it.
const PLACE_BYTES_MAX: usize = 1024;

/// A reference as it is written, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) text: String,
    pub(super) places: Vec<String>,
}

/// References in the order in which they were found, each once.
#[derive(Debug, Default)]
pub(super) struct Found {
    all: Vec<Written>,
    by_text: HashMap<String, usize>,
}

/// Why a file cannot be searched. It shows nothing of what is in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadFile {
    #[error("not JSON, at line {line}, column {column}; as JSON lines, line {first} is none")]
    NotJson {
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
        /// The first line that is no JSON by itself.
        first: usize,
    },
    #[error("there is nothing in it")]
    Empty,
    #[error(transparent)]
    LimitExceeded(#[from] LimitExceeded),
    #[error("more than {REFERENCES_MAX} references")]
    TooMany,
}

impl Found {
    /// Notes a reference, and where it was found, if that is known.
    pub(super) fn add(&mut self, text: &str, place: Option<&str>) -> Result<(), BadFile> {
        let at = match self.by_text.get(text) {
            Some(at) => *at,
            None if self.all.len() == REFERENCES_MAX => return Err(BadFile::TooMany),
            None => {
                self.by_text.insert(text.to_owned(), self.all.len());
                self.all.push(Written { text: text.to_owned(), places: Vec::new() });
                self.all.len() - 1
            }
        };
        let places = &mut self.all[at].places;
        if places.len() < PLACES_MAX
            && let Some(place) = place.map(shortened).filter(|place| !places.contains(place))
        {
            places.push(place);
        }
        Ok(())
    }

    /// Notes every reference in a text of JSON, or of JSON lines.
    pub(super) fn search(
        &mut self,
        text: &str,
        paths: &Paths,
        conventions: &Conventions,
    ) -> Result<(), BadFile> {
        if text.trim().is_empty() {
            return Err(BadFile::Empty);
        }
        if self.search_items(text, paths, conventions)? {
            return Ok(());
        }
        let mut search =
            |value, place| self.walk(&plain(value), &mut Place(place), paths, conventions);
        let whole = match serde_json::from_str(text) {
            Ok(value) => return search(value, String::new()),
            Err(error) => error,
        };
        // Each line alone, as each item of a list.
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        for (number, (at, line)) in lines.enumerate() {
            // Not an error's own words, which may quote what is there.
            let not_json =
                BadFile::NotJson { line: whole.line(), column: whole.column(), first: at + 1 };
            let value = serde_json::from_str(line).map_err(|_| not_json)?;
            search(value, format!("[{number}]"))?;
        }
        Ok(())
    }

    pub(super) fn into_all(self) -> Vec<Written> {
        self.all
    }

    /// Searches a list, or the lists in an object such as the output of a scan, one item at a time:
    /// parsed, a scan takes 43 times the room of its text. Returns `false` for any other text.
    fn search_items(
        &mut self,
        text: &str,
        paths: &Paths,
        conventions: &Conventions,
    ) -> Result<bool, BadFile> {
        let Ok(whole) = serde_json::from_str::<&RawValue>(text) else { return Ok(false) };
        let members = match whole.get().starts_with('[') {
            true => BTreeMap::from([(String::new(), whole)]),
            false => match serde_json::from_str::<BTreeMap<String, &RawValue>>(text) {
                Ok(members) if is_table(&members, paths) => members,
                _ => return Ok(false),
            },
        };
        let mut walk = |raw: &RawValue, place: &mut Place| match serde_json::from_str(raw.get()) {
            Ok(value) => self.walk(&plain(value), place, paths, conventions).map(|()| true),
            // A number or a character that no value can hold.
            Err(_) => Ok(false),
        };
        let mut place = Place(String::new());
        for (key, raw) in members {
            let is_read = place.below(&key, |place| {
                let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(raw.get()) else {
                    return walk(raw, place);
                };
                for (at, item) in items.into_iter().enumerate() {
                    if !place.with(format_args!("[{at}]"), |place| walk(item, place))? {
                        return Ok(false);
                    }
                }
                Ok(true)
            });
            if !is_read? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn walk(
        &mut self,
        value: &Value,
        place: &mut Place,
        paths: &Paths,
        conventions: &Conventions,
    ) -> Result<(), BadFile> {
        match value {
            Value::Object(object) => {
                let search = Search::new(paths, []).at_most(REFERENCES_MAX);
                let found = search.run(value).map_err(|failed| match failed {
                    SearchError::LimitExceeded(limit) => BadFile::LimitExceeded(limit),
                    SearchError::Unreadable(_) => unreachable!("an object can be read"),
                })?;
                for one in found.references {
                    // What is not a string is reported as an empty reference.
                    let text = one.reference.unwrap_or_default();
                    place.below(&one.path, |place| self.add(&text, Some(&place.0)))?;
                }
                for (key, value) in object {
                    place.below(key, |place| self.walk(value, place, paths, conventions))?;
                }
            }
            Value::Array(all) => {
                for (at, value) in all.iter().enumerate() {
                    place.with(format_args!("[{at}]"), |place| {
                        self.walk(value, place, paths, conventions)
                    })?;
                }
            }
            Value::String(text) if is_named_so(text, conventions) => {
                self.add(text, Some(&place.0))?;
            }
            _ => {}
        }
        Ok(())
    }
}

/// Returns whether each member of an object means the same alone: the object is no typed value of
/// DynamoDB's, and no path begins at the object.
fn is_table(members: &BTreeMap<String, &RawValue>, paths: &Paths) -> bool {
    let is_typed = members.len() == 1 && members.keys().all(|key| is_type(key));
    let mut firsts = paths.iter().map(|path| {
        let path = path.to_string();
        path.split_once('.').map_or(&*path, |(first, _)| first).to_owned()
    });
    !is_typed && !firsts.any(|first| first == "*" || members.contains_key(&first))
}

/// Where in a file the search is. One buffer for the whole search: a place for each value would copy the
/// keys above it again and again, and a key may be as long as the file.
struct Place(String);

impl Place {
    /// Does `work` below a key.
    fn below<T>(&mut self, key: &str, work: impl FnOnce(&mut Self) -> T) -> T {
        let dot = if self.0.is_empty() { "" } else { "." };
        self.with(format_args!("{dot}{key}"), work)
    }

    /// Does `work` where `end` is at the end of the place.
    fn with<T>(&mut self, end: impl Display, work: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.0.len();
        let _ = write!(self.0, "{end}");
        let done = work(self);
        self.0.truncate(before);
        done
    }
}

/// Returns a place, cut where it is too long to be shown.
fn shortened(place: &str) -> String {
    match place.len() > PLACE_BYTES_MAX {
        true => format!("{}…", &place[..place.floor_char_boundary(PLACE_BYTES_MAX)]),
        false => place.to_owned(),
    }
}

/// Returns whether a text refers to a secret that is called as a convention says.
fn is_named_so(text: &str, conventions: &Conventions) -> bool {
    let Ok(Reference { id, .. }) = Reference::parse(text) else { return false };
    match &id {
        SecretId::Name(name) => conventions.of_name(name).is_some(),
        SecretId::Arn(arn) => names(arn).any(|name| conventions.of_name(name).is_some()),
    }
}

/// Returns the names that an ARN may mean.
pub(super) fn names(arn: &Arn) -> impl Iterator<Item = &str> {
    let (whole, stripped) = arn.possible_names();
    stripped.into_iter().chain([whole])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostile::{self, VALUE, mangled};
    use proptest::prelude::*;
    use serde_json::json;

    fn paths() -> Paths {
        Paths::parse(["channel_config.*.credentials_id", "ai_config.ai_api_key_reference"])
            .expect("good paths")
    }

    fn found(text: &str) -> Result<Vec<(String, Vec<String>)>, BadFile> {
        let mut found = Found::default();
        found.search(text, &paths(), &Conventions::built_in())?;
        Ok(found.into_all().into_iter().map(|one| (one.text, one.places)).collect())
    }

    #[track_caller]
    fn check(text: &str, expected: &[(&str, &[&str])]) {
        let owned = |places: &[&str]| places.iter().map(|place| (*place).to_owned()).collect();
        let expected: Vec<(String, Vec<String>)> =
            expected.iter().map(|(text, places)| ((*text).to_owned(), owned(places))).collect();
        assert_eq!(found(text), Ok(expected), "{text}");
    }

    const WHATSAPP: &str = "whatsapp-credentials/cucumber-recruitment/cv-analysis/twilio";

    #[test]
    fn a_context_object_is_searched_at_its_paths() {
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
    fn a_scan_of_a_table_is_searched_in_its_items() {
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
    fn what_is_called_as_a_convention_says_is_found_anywhere() {
        let arn =
            format!("arn:aws:secretsmanager:eu-north-1:123456789012:secret:{WHATSAPP}-AbC123");
        let message = json!({"a": [{"b": "openai-api-key/sms"}, arn, "x y", "openai-api-key/fax"]});
        check(&message.to_string(), &[("openai-api-key/sms", &["a[0].b"]), (&arn, &["a[1]"])]);
        check("\"openai-api-key/sms\"", &[("openai-api-key/sms", &[""])]);
    }

    #[test]
    fn what_is_no_text_at_a_path_says_nothing() {
        let message = json!({"ai_config": {"ai_api_key_reference": 5}});
        check(&message.to_string(), &[("", &["ai_config.ai_api_key_reference"])]);
    }

    #[test]
    fn places_are_told_up_to_a_few() {
        let all: Vec<Value> = (0..9).map(|_| json!("openai-api-key/sms")).collect();
        let found = found(&Value::Array(all).to_string()).expect("JSON");
        assert_eq!((found.len(), found[0].1.len()), (1, PLACES_MAX));
    }

    /// Copied for each value, the long key would fill terabytes.
    #[test]
    fn a_long_key_costs_no_more_than_its_own_length() {
        let (key, zeros) = ("k".repeat(8 * 1024 * 1024), "0,".repeat(200_000));
        let text = format!(r#"{{"{key}":[{zeros}"openai-api-key/sms"]}}"#);
        let all = found(&text).expect("JSON");
        assert_eq!(all[0].1[0].len(), PLACE_BYTES_MAX + "…".len());
    }

    #[test]
    fn a_file_that_makes_no_sense_is_told_by_its_place() {
        let told = |text: &str| found(text).expect_err("bad").to_string();
        assert_eq!(told(" \n"), "there is nothing in it");
        let expected = "not JSON, at line 2, column 1; as JSON lines, line 2 is none";
        assert_eq!(told("{}\nhunter2\n{}"), expected);
        let many: Vec<String> =
            (0..=REFERENCES_MAX).map(|n| format!("sms-credentials/a/{n}/twilio")).collect();
        let many = serde_json::to_string(&many).expect("texts");
        assert_eq!(found(&many), Err(BadFile::TooMany));
    }

    const MESSAGE: &str = r#"{"channel_config":{"a":{"credentials_id":"own/name"}},"b":["hunter2",
        {"S":"openai-api-key/sms"}],"ai_config":{"ai_api_key_reference":5}}"#;

    proptest! {
        #[test]
        fn for_any_file_places_are_few_and_no_error_shows_what_is_in_it(
            text in prop_oneof![mangled(MESSAGE), hostile::json().prop_map(|json| json.to_string())],
        ) {
            match found(&text) {
                Ok(all) => prop_assert!(all.iter().all(|(_, places)| places.len() <= PLACES_MAX)),
                Err(bad) => prop_assert!(!bad.to_string().contains(VALUE), "{bad}"),
            }
        }

        #[test]
        fn for_any_file_its_items_are_searched_as_the_whole_is(
            items in hostile::json(),
            more in hostile::json(),
            name in "channel_config|ai_config|Items|L|S",
        ) {
            let both = json!({name.clone(): items, "more": more});
            for value in [items.clone(), json!({"Items": items, "Count": more}), json!({name: items}), both] {
                let mut whole = Found::default();
                let searched = whole
                    .walk(&plain(value.clone()), &mut Place(String::new()), &paths(), &Conventions::built_in())
                    .map(|()| whole.into_all().into_iter().map(|one| (one.text, one.places)).collect());
                prop_assert_eq!(found(&value.to_string()), searched, "{}", value);
            }
        }

        #[test]
        fn for_any_lines_they_are_searched_as_the_items_of_a_list(
            values in proptest::collection::vec(hostile::json(), 2..5),
        ) {
            let lines: Vec<String> = values.iter().map(Value::to_string).collect();
            prop_assert_eq!(found(&lines.join("\n")), found(&format!("[{}]", lines.join(","))));
        }
    }
}

//! The file of `SIDEKEY_CONVENTIONS`: how secrets of some kinds are named, and what their values have.

use super::misspelt::nearest;
use super::mistakes::{Mistakes, Unknown};
use super::variables::CONVENTIONS_FILE;
use crate::convention::field::{Field, FieldType};
use crate::convention::marker::Marker;
use crate::convention::pattern::NamePattern;
use crate::convention::{Convention, Conventions};
use std::fmt::Display;
use std::path::Path;
use toml::{Table, Value};

/// The key under which the tables stand.
const NAME: &str = "convention";

/// The key that tells whether the built-in conventions hold too.
const BUILT_IN: &str = "built_in";

/// The most tables. The name in every answer of Secrets Manager is matched with them until one fits.
const TABLES_MAX: usize = 100;

/// What marks a placeholder where a table does not say.
const MARK: &str = "PLACEHOLDER*";

/// One key of a table.
#[derive(Debug)]
pub struct ConventionKey {
    /// How it is written.
    pub name: &'static str,
    /// What holds where it is left out. Empty where it cannot be.
    pub default: &'static str,
    /// What it says.
    pub help: &'static str,
    parse: fn(&mut Draft, &Value, &str, &mut Reader<'_>),
}

/// Every key of a table, in the order of the documentation.
pub const KEYS: &[ConventionKey] = &[
    ConventionKey {
        name: "kind",
        default: "",
        help: "What such secrets are called together: small letters and digits, parted by hyphens.",
        parse: |draft, value, name, reader| draft.kind = reader.noted(name, text(value)).to_owned(),
    },
    ConventionKey {
        name: "pattern",
        default: "",
        help: "How they are named, with a {placeholder} for what differs.",
        parse: |draft, value, name, reader| {
            let parse =
                |text: &str| NamePattern::parse(text).map(Some).map_err(|bad| bad.to_string());
            draft.pattern = reader.noted(name, text(value).and_then(parse));
        },
    },
    ConventionKey {
        name: "service",
        default: "",
        help: "Whose credentials they are.",
        parse: |draft, value, name, reader| {
            draft.service = reader.noted(name, text(value)).to_owned()
        },
    },
    ConventionKey {
        name: "fields",
        default: "",
        help: "A table of the fields that the JSON must have, each with its type.",
        parse: |draft, value, name, reader| match value.as_table() {
            Some(table) => draft.fields = reader.fields(name, table),
            None => reader.mistakes.add(name, "a table expected, such as { token = \"string\" }"),
        },
    },
    ConventionKey {
        name: "placeholders",
        default: MARK,
        help: "What tells a value that nobody has filled in yet: texts, each with one `*` at most.",
        parse: |draft, value, name, reader| draft.markers = reader.noted(name, markers(value)),
    },
];

/// One key of a field that is written as a table.
#[derive(Debug)]
pub struct FieldKey {
    /// How it is written.
    pub name: &'static str,
    /// What holds where it is left out.
    pub default: &'static str,
    /// What it says.
    pub help: &'static str,
    parse: fn(&mut Field, &Value) -> Result<(), &'static str>,
}

/// Every key of a field, in the order of the documentation.
pub const FIELD_KEYS: &[FieldKey] = &[
    FieldKey {
        name: "type",
        default: "string",
        help: "What it is: string, number, boolean, object or array.",
        parse: |field, value| field_type(value).map(|found| field.field_type = found),
    },
    FieldKey {
        name: "secret",
        default: "true",
        help: "Whether it is to be kept from everybody, and does not merely name something.",
        parse: |field, value| flag(value).map(|flag| field.is_secret = flag),
    },
    FieldKey {
        name: "optional",
        default: "false",
        help: "Whether it may be left out, null or empty.",
        parse: |field, value| flag(value).map(|flag| field.is_optional = flag),
    },
];

/// What a table has said so far.
#[derive(Debug)]
struct Draft {
    kind: String,
    pattern: Option<NamePattern>,
    service: String,
    fields: Vec<Field>,
    markers: Vec<Marker>,
}

/// Returns the conventions that hold: the built-in ones, and before them those of the file at `path`.
/// Keys that are none go to `unknown`, each with the nearest right one.
pub(super) fn load(
    path: Option<&Path>,
    unknown: &mut Vec<Unknown>,
    mistakes: &mut Mistakes,
) -> Conventions {
    let Some(path) = path else { return Conventions::built_in() };
    match std::fs::read_to_string(path) {
        Ok(text) => parse(&text, unknown, mistakes),
        Err(error) => {
            mistakes.add(CONVENTIONS_FILE, format!("{} cannot be read: {error}", path.display()));
            Conventions::built_in()
        }
    }
}

fn parse(text: &str, unknown: &mut Vec<Unknown>, mistakes: &mut Mistakes) -> Conventions {
    let table: Table = match text.parse() {
        Ok(table) => table,
        Err(error) => {
            // The message alone: the error's own text quotes the line, and somebody may have written
            // a value there.
            mistakes
                .add(CONVENTIONS_FILE, format!("not TOML: {}", toml::de::Error::message(&error)));
            return Conventions::built_in();
        }
    };
    let mut reader = Reader { unknown, mistakes };
    let (mut base, mut own) = (Conventions::built_in(), Vec::new());
    for (key, value) in &table {
        let name = format!("{CONVENTIONS_FILE}: {key}");
        match key.as_str() {
            NAME => own = reader.tables(&name, value),
            BUILT_IN => match flag(value) {
                Ok(true) => {}
                Ok(false) => base = Conventions::default(),
                Err(problem) => reader.mistakes.add(name, problem),
            },
            _ => reader.no_such_key(name, key, "", &[NAME, BUILT_IN]),
        }
    }
    base.with(own)
}

/// Where what is wrong goes.
struct Reader<'a> {
    unknown: &'a mut Vec<Unknown>,
    mistakes: &'a mut Mistakes,
}

impl Reader<'_> {
    /// Reads the tables in their order, counted from 1.
    fn tables(&mut self, name: &str, value: &Value) -> Vec<Convention> {
        let tables: Option<Vec<&Table>> =
            value.as_array().and_then(|items| items.iter().map(Value::as_table).collect());
        let Some(tables) = tables else {
            self.mistakes.add(name, "tables expected, each headed [[convention]]");
            return Vec::new();
        };
        if tables.len() > TABLES_MAX {
            self.mistakes.add(name, format!("more than {TABLES_MAX} tables"));
            return Vec::new();
        }
        let mut found: Vec<Convention> = Vec::new();
        for (table, number) in tables.into_iter().zip(1..) {
            let name = format!("{name}[{number}]");
            let Some(convention) = self.convention(&name, table) else { continue };
            if found.iter().any(|earlier| earlier.kind() == convention.kind()) {
                self.mistakes.add(format!("{name}.kind"), "an earlier table has it already");
            }
            found.push(convention);
        }
        found
    }

    fn convention(&mut self, name: &str, table: &Table) -> Option<Convention> {
        let mistakes_before = self.mistakes.0.len();
        let mut draft = Draft {
            kind: String::new(),
            pattern: None,
            service: String::new(),
            fields: Vec::new(),
            markers: vec![Marker::parse(MARK).expect("it is a good mark")],
        };
        for (key, value) in table {
            let name = format!("{name}.{key}");
            match KEYS.iter().find(|known| known.name == key) {
                Some(known) => (known.parse)(&mut draft, value, &name, self),
                None => {
                    let names: Vec<&str> = KEYS.iter().map(|known| known.name).collect();
                    self.no_such_key(name, key, " of a convention", &names);
                }
            }
        }
        let is_missing =
            |key: &&ConventionKey| key.default.is_empty() && !table.contains_key(key.name);
        for key in KEYS.iter().filter(is_missing) {
            self.mistakes.add(name, format!("{} is missing", key.name));
        }
        if self.mistakes.0.len() > mistakes_before {
            return None;
        }
        let Draft { kind, pattern, service, fields, markers } = draft;
        let made = Convention::new(&kind, pattern?, &service, fields, markers);
        made.map_err(|bad| self.mistakes.add(name, bad.to_string())).ok()
    }

    /// Reads fields in the alphabetical order of their names.
    fn fields(&mut self, name: &str, table: &Table) -> Vec<Field> {
        let fields = table.iter().filter_map(|(key, value)| {
            let name = format!("{name}.{key}");
            let mut field = self.noted(&name, Field::new(key, FieldType::String).map(Some))?;
            match value {
                Value::Table(table) => self.field_keys(&name, table, &mut field),
                value => match field_type(value) {
                    Ok(found) => field.field_type = found,
                    Err(problem) => self.mistakes.add(name, problem),
                },
            }
            Some(field)
        });
        fields.collect()
    }

    fn field_keys(&mut self, name: &str, table: &Table, field: &mut Field) {
        for (key, value) in table {
            let name = format!("{name}.{key}");
            match FIELD_KEYS.iter().find(|known| known.name == key) {
                Some(known) => self.noted(&name, (known.parse)(field, value)),
                None => {
                    let names: Vec<&str> = FIELD_KEYS.iter().map(|known| known.name).collect();
                    self.no_such_key(name, key, " of a field", &names);
                }
            }
        }
    }

    fn noted<T: Default>(&mut self, name: &str, result: Result<T, impl Display>) -> T {
        self.mistakes.noted(name, result)
    }

    /// Notes a key that there is not. None of them is a guard: a convention keeps nobody out.
    fn no_such_key(&mut self, name: String, key: &str, of: &str, known: &[&str]) {
        let nearest = nearest(known.iter(), &key.to_ascii_lowercase()).copied().unwrap_or_default();
        let hint = format!("no such key{of}; did you mean {nearest}?");
        self.unknown.push(Unknown { name, hint, is_guard: false });
    }
}

fn text(value: &Value) -> Result<&str, String> {
    value.as_str().ok_or_else(|| "a string expected".to_owned())
}

fn markers(value: &Value) -> Result<Vec<Marker>, String> {
    let texts: Option<Vec<&str>> =
        value.as_array().and_then(|items| items.iter().map(Value::as_str).collect());
    let texts = texts.filter(|texts| !texts.is_empty());
    let texts = texts.ok_or("a list of strings expected, with one at least")?;
    let mark = |text| Marker::parse(text).map_err(|bad| format!("'{text}': {bad}"));
    texts.into_iter().map(mark).collect()
}

fn field_type(value: &Value) -> Result<FieldType, &'static str> {
    let known = FieldType::ALL.into_iter().find(|known| value.as_str() == Some(known.label()));
    known.ok_or("string, number, boolean, object or array expected")
}

fn flag(value: &Value) -> Result<bool, &'static str> {
    value.as_bool().ok_or("true or false expected")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostile::mangled;
    use crate::secret::version::Content;
    use proptest::prelude::*;

    /// Reads a file, and returns its conventions with all that is wrong, unknown keys behind the rest.
    fn load(text: &str) -> (Conventions, Vec<String>) {
        let (mut unknown, mut mistakes) = (Vec::new(), Mistakes::default());
        let found = parse(text, &mut unknown, &mut mistakes);
        unknown.into_iter().for_each(|unknown| mistakes.add(unknown.name, unknown.hint));
        (found, mistakes.0.iter().map(ToString::to_string).collect())
    }

    #[track_caller]
    fn good(text: &str) -> Conventions {
        let (found, mistakes) = load(text);
        assert_eq!(mistakes, [""; 0]);
        found
    }

    #[track_caller]
    fn refused(text: &str, expected: &[&str]) {
        let (_, found) = load(text);
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        for (found, expected) in found.iter().zip(expected) {
            let found = found.strip_prefix("SIDEKEY_CONVENTIONS: ").expect("the file is named");
            assert!(found.starts_with(expected), "{expected} is not where {found} begins");
        }
    }

    const VONAGE: &str = r#"
        [[convention]]
        kind = "sms-vonage"
        pattern = "sms-credentials/{company_name}/{stage:dev|prod}/vonage"
        service = "Vonage"
        placeholders = ["TODO*", "change me"]
        [convention.fields]
        key = "string"
        port = { type = "number", secret = false, optional = true }
        name = { secret = false }
    "#;

    #[test]
    fn every_key_says_what_it_should() {
        let all = good(VONAGE);
        let first = all.iter().next().expect("there is one");
        assert_eq!((first.kind(), first.service()), ("sms-vonage", "Vonage"));
        let pattern = "sms-credentials/{company_name}/{stage:dev|prod}/vonage";
        assert_eq!(first.pattern().to_string(), pattern);
        let fields = first.fields().iter();
        let fields: Vec<_> = fields
            .map(|field| (field.name(), field.field_type, field.is_secret, field.is_optional))
            .collect();
        assert_eq!(
            fields,
            [
                ("key", FieldType::String, true, false),
                ("name", FieldType::String, false, false),
                ("port", FieldType::Number, false, true),
            ]
        );
        let value = r#"{"key":"TODO","name":"change me"}"#.to_owned();
        let problems = first.problems(&Content::Text(value.into()));
        let codes: Vec<&str> = problems.iter().map(|problem| problem.code()).collect();
        assert_eq!(codes, ["placeholder"; 2]);
    }

    #[test]
    fn the_files_own_come_first_and_the_built_in_ones_can_be_left_out() {
        let kinds = |text: &str| {
            let all = good(text);
            all.iter().map(|one| one.kind().to_owned()).collect::<Vec<_>>()
        };
        let built_in = ["whatsapp-twilio", "sms-twilio", "email-sendgrid", "openai-api-key"];
        assert_eq!(kinds(""), built_in);
        assert_eq!(kinds("built_in = true"), built_in);
        assert_eq!(kinds("built_in = false"), [""; 0]);
        assert_eq!(kinds(&format!("built_in = false\n{VONAGE}")), ["sms-vonage"]);
        assert_eq!(kinds(VONAGE)[..2], ["sms-vonage", "whatsapp-twilio"]);
        let replacing = VONAGE.replace("\"sms-vonage\"", "\"whatsapp-twilio\"");
        assert_eq!(kinds(&replacing)[..2], ["whatsapp-twilio", "sms-twilio"]);
    }

    #[test]
    fn what_tells_a_placeholder_need_not_be_said() {
        let all = good(&VONAGE.replace("placeholders = [\"TODO*\", \"change me\"]", ""));
        let first = all.iter().next().expect("there is one");
        assert!(first.markers().iter().any(|mark| mark.matches("PLACEHOLDER_KEY")));
    }

    #[test]
    fn every_mistake_is_told_at_once_with_its_place() {
        refused(
            "built_in = 1\n\
             [[convention]]\nkind = 1\npattern = \"a/{b\"\nservice = []\nfields = \"a\"\nplaceholders = []\n\
             [[convention]]\nkind = \"a\"\nplaceholders = [\"*\"]\n\
             [convention.fields]\n\"a b\" = \"string\"\nc = \"text\"\nd = { type = 1, secret = \"no\" }\n\
             [[convention]]\nkind = \"A\"\npattern = \"a\"\nservice = \"S\"\nfields = { a = \"string\" }\n\
             [[convention]]\nkind = \"a\"\npattern = \"a\"\nservice = \"S\"\nfields = {}\n",
            &[
                "built_in: true or false",
                "convention[1].fields: a table expected",
                "convention[1].kind: a string expected",
                "convention[1].pattern: the '{' at character 3",
                "convention[1].placeholders: a list of strings",
                "convention[1].service: a string expected",
                "convention[2].fields.a b: a field's name is",
                "convention[2].fields.c: string, number,",
                "convention[2].fields.d.secret: true or false",
                "convention[2].fields.d.type: string, number,",
                "convention[2].placeholders: '*': a mark has",
                "convention[2]: pattern is missing",
                "convention[2]: service is missing",
                "convention[3]: a kind has small letters",
                "convention[4]: at least one field",
            ],
        );
        refused(&VONAGE.repeat(2), &["convention[2].kind: an earlier table has it"]);
    }

    #[test]
    fn an_unknown_key_shows_the_nearest_right_one_and_spoils_nothing_else() {
        let text = VONAGE
            .replace("service =", "Servce = 1\nservice =")
            .replace("optional = true", "optional = true, optonal = 1");
        let text = format!("builtin = false\n{text}");
        refused(
            &text,
            &[
                "builtin: no such key; did you mean built_in?",
                "convention[1].Servce: no such key of a convention; did you mean service?",
                "convention[1].fields.port.optonal: no such key of a field; did you mean optional?",
            ],
        );
        assert_eq!(load(&text).0, good(VONAGE));
    }

    #[test]
    fn only_tables_are_conventions_and_not_too_many() {
        for text in ["convention = 1", "convention = [1]", "[convention]\nkind = \"a\""] {
            refused(text, &["convention: tables expected"]);
        }
        let tables = |count: usize| {
            let table = |number| VONAGE.replace("sms-vonage", &format!("kind-{number}"));
            (0..count).map(table).collect::<String>()
        };
        refused(&tables(TABLES_MAX), &[]);
        refused(&tables(TABLES_MAX + 1), &["convention: more than 100 tables"]);
    }

    #[test]
    fn what_is_no_toml_is_not_quoted() {
        let (found, mistakes) = load("key = = hunter2");
        assert!(mistakes[0].starts_with("SIDEKEY_CONVENTIONS: not TOML: "), "{mistakes:?}");
        assert!(!mistakes[0].contains("hunter2"), "{mistakes:?}");
        assert_eq!(found, Conventions::built_in());
    }

    #[test]
    fn a_file_that_is_not_there_is_told_with_its_path() {
        let (mut unknown, mut mistakes) = (Vec::new(), Mistakes::default());
        let path = Path::new("no/such/file.toml");
        let found = super::load(Some(path), &mut unknown, &mut mistakes);
        let told = mistakes.to_string();
        assert!(told.starts_with("SIDEKEY_CONVENTIONS: no/such/file.toml cannot be"), "{told}");
        assert_eq!(found, Conventions::built_in());
    }

    proptest! {
        #[test]
        fn for_any_file_a_convention_is_whole_or_its_mistake_is_told(text in mangled(VONAGE)) {
            let (found, mistakes) = load(&text);
            let is_own = found.iter().any(|one| one.kind() == "sms-vonage");
            prop_assert!(is_own || !mistakes.is_empty() || found.iter().count() >= 4);
            for one in found.iter() {
                prop_assert!(!one.fields().is_empty() && !one.markers().is_empty());
                let again = NamePattern::parse(&one.pattern().to_string());
                prop_assert_eq!(again.as_ref(), Ok(one.pattern()));
            }
        }
    }
}

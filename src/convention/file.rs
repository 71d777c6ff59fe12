//! Parses a conventions file: a TOML file with rules for the names of secrets and for the fields of
//! their values.

use super::definition::Convention;
use super::field::{Field, FieldType};
use super::list::Conventions;
use super::marker::Marker;
use super::pattern::NamePattern;
use std::fmt::Display;
use toml::{Table, Value};

const CONVENTION: &str = "convention";

/// The TOML key that switches Sidekey's built-in rules for secrets' names and fields on or off.
const BUILT_IN: &str = "built_in";

/// The maximum number of `[[convention]]` tables in a conventions file. The number is limited
/// because Sidekey compares the name of each fetched secret with the tables in turn.
const CONVENTIONS_MAX: usize = 100;

/// The pattern for dummy values that applies if a `[[convention]]` table has no key `placeholders`.
const DEFAULT_MARKER: &str = "PLACEHOLDER*";

#[derive(Debug)]
pub(crate) struct ParsedFile {
    /// The file's valid rules for secrets' names and values, followed by Sidekey's built-in rules
    /// unless the file switches them off.
    pub(crate) conventions: Conventions,
    pub(crate) mistakes: Vec<Mistake>,
    pub(crate) unknown_keys: Vec<UnknownKey>,
}

#[derive(Debug)]
pub(crate) struct Mistake {
    /// The place of the mistake in the conventions file, such as `convention[2].pattern`. The
    /// string is empty if the mistake concerns the whole file.
    pub(crate) location: String,
    /// A description of the mistake, for the user. A user may have written a secret into the file
    /// by accident, so the description quotes complete values only of the key `placeholders`.
    pub problem: String,
    /// The position of the syntax error in the file, in bytes, if the file is not valid TOML.
    pub(crate) syntax_error_at: Option<usize>,
}

#[derive(Debug)]
pub(crate) struct UnknownKey {
    /// The place of the unknown key in the conventions file, such as `convention[2].servce`.
    pub(crate) location: String,
    pub(crate) key: String,
    /// The kind of TOML table that contains the unknown key, such as `a field`, for error messages.
    /// `None` if the unknown key is outside all tables.
    pub(crate) table: Option<&'static str>,
    /// The valid keys of the TOML table that contains the unknown key. The error message suggests
    /// the most similar of these keys.
    pub(crate) known: Vec<&'static str>,
}

/// A key that TOML tables of a conventions file can have. `T` is the struct that stores the parsed
/// values of such a table.
#[derive(Debug)]
pub struct Key<T> {
    /// The name of the TOML key, such as `pattern`.
    pub name: &'static str,
    /// The value that applies if the TOML key is left out. The string is empty if the key is
    /// required.
    pub default: &'static str,
    /// The help text for the TOML key, in one or two sentences.
    pub help: &'static str,
    parse: fn(&mut T, &Value, &str, &mut Report),
}

/// The keys that a `[[convention]]` table of a conventions file can have, in the order of the
/// documentation. Such a table has the rules for one kind of secret.
pub const KEYS: &[Key<Draft>] = &[
    Key {
        name: "kind",
        default: "",
        help: "The unique name of this kind of secret, made of lower-case letters, digits and single hyphens.",
        parse: |draft, value, location, report| {
            draft.kind = report.or_default(location, text(value)).to_owned();
        },
    },
    Key {
        name: "pattern",
        default: "",
        help: "The pattern of the secrets' names, with a {placeholder} for each variable part.",
        parse: |draft, value, location, report| {
            draft.pattern = report.or_default(location, pattern(value).map(Some));
        },
    },
    Key {
        name: "service",
        default: "",
        help: "The name of the service that these secrets are for, such as Twilio.",
        parse: |draft, value, location, report| {
            draft.service = report.or_default(location, text(value)).to_owned();
        },
    },
    Key {
        name: "fields",
        default: "",
        help: "A table of the fields that the JSON value of a secret must have, each with its type.",
        parse: |draft, value, location, report| match value.as_table() {
            Some(table) => draft.fields = fields(table, location, report),
            None => {
                report.add(location, "the value must be a table, such as { token = \"string\" }")
            }
        },
    },
    Key {
        name: "placeholders",
        default: DEFAULT_MARKER,
        help: "Dummy values, which mean that a field is not filled in yet. Each dummy value can contain one `*`, which matches any characters.",
        parse: |draft, value, location, report| {
            draft.markers = report.or_default(location, markers(value));
        },
    },
];

/// The keys of the TOML table that describes one field of a secret's value, such as `type` for the
/// JSON type of the field.
pub const FIELD_KEYS: &[Key<Field>] = &[
    Key {
        name: "type",
        default: "string",
        help: "The JSON type of the field: `string`, `number`, `boolean`, `object` or `array`.",
        parse: |field, value, location, report| match field_type(value) {
            Ok(field_type) => field.field_type = field_type,
            Err(problem) => report.add(location, problem),
        },
    },
    Key {
        name: "secret",
        default: "true",
        help: "Whether the field is secret, and not only an identifier such as an account id.",
        parse: |field, value, location, report| {
            field.is_secret = report.or_default(location, boolean(value));
        },
    },
    Key {
        name: "optional",
        default: "false",
        help: "Whether the field may be missing, null or empty.",
        parse: |field, value, location, report| {
            field.is_optional = report.or_default(location, boolean(value));
        },
    },
    Key {
        name: "multiline",
        default: "false",
        help: "Whether the field may have several lines and white space around them, like a key in PEM.",
        parse: |field, value, location, report| {
            field.is_multiline = report.or_default(location, boolean(value));
        },
    },
];

/// The values of a `[[convention]]` table that have been parsed so far. Such a table has the rules
/// for one kind of secret.
#[derive(Debug)]
pub struct Draft {
    kind: String,
    pattern: Option<NamePattern>,
    service: String,
    fields: Vec<Field>,
    markers: Vec<Marker>,
}

/// Parses a conventions file: a TOML file with rules for secrets. If the file is not valid TOML,
/// returns Sidekey's built-in rules and one mistake.
pub(crate) fn parse(text: &str) -> ParsedFile {
    let mut report = Report::default();
    let conventions = match text.parse() {
        Ok(table) => root(&table, &mut report),
        Err(error) => {
            // Only the short error text is used. The complete error quotes the line, and the line
            // may contain a secret by accident.
            let error: toml::de::Error = error;
            report.mistakes.push(Mistake {
                location: String::new(),
                problem: format!("the file is not valid TOML: {}", error.message()),
                syntax_error_at: error.span().map(|span| span.start),
            });
            Conventions::built_in()
        }
    };
    let Report { mistakes, unknown_keys } = report;
    ParsedFile { conventions, mistakes, unknown_keys }
}

fn root(table: &Table, report: &mut Report) -> Conventions {
    let (mut base, mut own) = (Conventions::built_in(), Vec::new());
    for (key, value) in table {
        match (key.as_str(), value.as_bool()) {
            (CONVENTION, _) => own = conventions(value, report),
            (BUILT_IN, Some(true)) => {}
            (BUILT_IN, Some(false)) => base = Conventions::default(),
            (BUILT_IN, None) => report.add(key, BOOLEAN_EXPECTED),
            _ => report.unknown_keys.push(UnknownKey {
                location: key.clone(),
                key: key.clone(),
                table: None,
                known: vec![CONVENTION, BUILT_IN],
            }),
        }
    }
    base.with(own)
}

fn conventions(value: &Value, report: &mut Report) -> Vec<Convention> {
    let tables: Option<Vec<&Table>> =
        value.as_array().and_then(|items| items.iter().map(Value::as_table).collect());
    let Some(tables) = tables else {
        report.add(
            CONVENTION,
            "the value must be a list of tables, each with the heading [[convention]]",
        );
        return Vec::new();
    };
    if tables.len() > CONVENTIONS_MAX {
        report.add(
            CONVENTION,
            format!("at most {CONVENTIONS_MAX} [[convention]] tables are allowed"),
        );
        return Vec::new();
    }
    let mut found: Vec<Convention> = Vec::new();
    for (table, number) in tables.into_iter().zip(1..) {
        let location = format!("{CONVENTION}[{number}]");
        let Some(convention) = convention(table, &location, report) else { continue };
        if found.iter().any(|earlier| earlier.kind() == convention.kind()) {
            report.add(
                format!("{location}.kind"),
                "an earlier [[convention]] table is for the same kind of secret",
            );
        }
        found.push(convention);
    }
    found
}

fn convention(table: &Table, location: &str, report: &mut Report) -> Option<Convention> {
    let mistakes_before = report.mistakes.len();
    let mut draft = Draft {
        kind: String::new(),
        pattern: None,
        service: String::new(),
        fields: Vec::new(),
        markers: vec![
            Marker::parse(DEFAULT_MARKER)
                .expect("the default pattern for dummy values must be valid"),
        ],
    };
    parse_keys(&mut draft, KEYS, "a convention", table, location, report);
    for key in KEYS.iter().filter(|key| key.default.is_empty()) {
        if !table.contains_key(key.name) {
            report.add(location, format!("the key '{}' is missing", key.name));
        }
    }
    if report.mistakes.len() > mistakes_before {
        return None;
    }
    let Draft { kind, pattern, service, fields, markers } = draft;
    Convention::new(&kind, pattern?, &service, fields, markers)
        .map_err(|bad| report.add(location, bad.to_string()))
        .ok()
}

/// Parses the TOML table `fields`, which lists the fields of a secret's value. Returns the fields,
/// sorted by name.
fn fields(table: &Table, location: &str, report: &mut Report) -> Vec<Field> {
    let mut fields = Vec::new();
    for (name, value) in table {
        let location = format!("{location}.{name}");
        let mut field = match Field::new(name, FieldType::String) {
            Ok(field) => field,
            Err(bad) => {
                report.add(location, bad.to_string());
                continue;
            }
        };
        match value {
            Value::Table(table) => {
                parse_keys(&mut field, FIELD_KEYS, "a field", table, &location, report);
            }
            value => match field_type(value) {
                Ok(field_type) => field.field_type = field_type,
                Err(problem) => report.add(location, problem),
            },
        }
        fields.push(field);
    }
    fields
}

/// Parses the keys of one TOML table, and stores the values in `target`. `kind_of_table`, such as
/// `a field`, names the table in error messages about unknown keys.
fn parse_keys<T>(
    target: &mut T,
    keys: &[Key<T>],
    kind_of_table: &'static str,
    table: &Table,
    location: &str,
    report: &mut Report,
) {
    for (name, value) in table {
        let location = format!("{location}.{name}");
        match keys.iter().find(|key| key.name == name) {
            Some(key) => (key.parse)(target, value, &location, report),
            None => report.unknown_keys.push(UnknownKey {
                location,
                key: name.clone(),
                table: Some(kind_of_table),
                known: keys.iter().map(|key| key.name).collect(),
            }),
        }
    }
}

fn text(value: &Value) -> Result<&str, &'static str> {
    value.as_str().ok_or("the value must be a string")
}

fn pattern(value: &Value) -> Result<NamePattern, String> {
    NamePattern::parse(text(value)?).map_err(|bad| bad.to_string())
}

fn markers(value: &Value) -> Result<Vec<Marker>, String> {
    value
        .as_array()
        .and_then(|items| items.iter().map(Value::as_str).collect::<Option<Vec<_>>>())
        .filter(|texts| !texts.is_empty())
        .ok_or("the value must be a list of at least one string")?
        .into_iter()
        .map(|text| Marker::parse(text).map_err(|bad| format!("'{text}': {bad}")))
        .collect()
}

fn field_type(value: &Value) -> Result<FieldType, &'static str> {
    value
        .as_str()
        .and_then(FieldType::from_label)
        .ok_or("the type must be string, number, boolean, object or array")
}

const BOOLEAN_EXPECTED: &str = "the value must be true or false";

fn boolean(value: &Value) -> Result<bool, &'static str> {
    value.as_bool().ok_or(BOOLEAN_EXPECTED)
}

#[derive(Debug, Default)]
struct Report {
    mistakes: Vec<Mistake>,
    unknown_keys: Vec<UnknownKey>,
}

impl Report {
    fn add(&mut self, location: impl Into<String>, problem: impl Into<String>) {
        self.mistakes.push(Mistake {
            location: location.into(),
            problem: problem.into(),
            syntax_error_at: None,
        });
    }

    /// Returns the value of `result`. If `result` is an error, records the error and returns the
    /// default value, so that the parser can also find later mistakes of the file.
    fn or_default<T: Default>(&mut self, location: &str, result: Result<T, impl Display>) -> T {
        result.unwrap_or_else(|problem| {
            self.add(location, problem.to_string());
            T::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostile::mangled;
    use crate::secret::version::Content;
    use proptest::prelude::*;

    const PRESET: &str = include_str!("../../presets/channel-processors/conventions.toml");

    const VONAGE: &str = r#"
        [[convention]]
        kind = "sms-vonage"
        pattern = "sms-credentials/{company_name}/{stage:dev|prod}/vonage"
        service = "Vonage"
        placeholders = ["TODO*", "change me"]
        [convention.fields]
        key = "string"
        port = { type = "number", secret = false, optional = true }
        name = { secret = false, multiline = true }
    "#;

    fn lines(file: &ParsedFile) -> Vec<String> {
        let mistakes = file
            .mistakes
            .iter()
            .map(|mistake| format!("{}: {}", mistake.location, mistake.problem));
        let unknown = file.unknown_keys.iter().map(|unknown| format!("{}: ?", unknown.location));
        mistakes.chain(unknown).collect()
    }

    #[track_caller]
    fn valid(text: &str) -> Conventions {
        let file = parse(text);
        assert_eq!(lines(&file), [""; 0]);
        file.conventions
    }

    #[track_caller]
    fn refused(text: &str, expected: &[&str]) {
        let found = lines(&parse(text));
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(
                found.starts_with(expected),
                "the reported mistake must begin with '{expected}': {found}"
            );
        }
    }

    fn kinds(text: &str) -> Vec<String> {
        valid(text).iter().map(|convention| convention.kind().to_owned()).collect()
    }

    #[test]
    fn preset_is_parsed_without_mistakes_and_equals_the_built_in_conventions() {
        assert_eq!(valid(PRESET), Conventions::built_in());
    }

    #[test]
    fn convention_that_is_deleted_from_a_copy_of_the_preset_is_gone() {
        let end = PRESET
            .find("[[convention]]\nkind = \"email")
            .expect("the preset must have a [[convention]] table for e-mail");
        assert_eq!(kinds(&PRESET[..end]), ["whatsapp-twilio", "sms-twilio"]);
    }

    #[test]
    fn every_key_is_parsed() {
        let all = valid(VONAGE);
        let first = all.iter().next().expect("the parsed file must have at least one convention");
        assert_eq!((first.kind(), first.service()), ("sms-vonage", "Vonage"));
        let pattern = "sms-credentials/{company_name}/{stage:dev|prod}/vonage";
        assert_eq!(first.pattern().to_string(), pattern);
        let fields: Vec<_> = first
            .fields()
            .iter()
            .map(|field| (field.name(), field.field_type, field.is_secret, field.is_optional))
            .collect();
        let multiline: Vec<_> = first.fields().iter().map(|field| field.is_multiline).collect();
        assert_eq!(multiline, [false, true, false]);
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
    fn own_conventions_come_first_and_built_in_ones_can_be_switched_off() {
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
    fn placeholder_marker_has_a_default() {
        let all = valid(&VONAGE.replace("placeholders = [\"TODO*\", \"change me\"]", ""));
        let first = all.iter().next().expect("the parsed file must have at least one convention");
        assert!(first.markers().iter().any(|marker| marker.matches("PLACEHOLDER_KEY")));
    }

    #[test]
    fn all_mistakes_are_reported_at_once_with_their_locations() {
        refused(
            "built_in = 1\n\
             [[convention]]\nkind = 1\npattern = \"a/{b\"\nservice = []\nfields = \"a\"\nplaceholders = []\n\
             [[convention]]\nkind = \"a\"\nplaceholders = [\"*\"]\n\
             [convention.fields]\n\"a b\" = \"string\"\nc = \"text\"\nd = { type = 1, secret = \"no\" }\n\
             [[convention]]\nkind = \"A\"\npattern = \"a\"\nservice = \"S\"\nfields = { a = \"string\" }\n\
             [[convention]]\nkind = \"a\"\npattern = \"a\"\nservice = \"S\"\nfields = {}\n",
            &[
                "built_in: the value must be true or false",
                "convention[1].fields: the value must be a table",
                "convention[1].kind: the value must be a string",
                "convention[1].pattern: the '{' at character 3 of the name pattern has no '}'",
                "convention[1].placeholders: the value must be a list of at least one string",
                "convention[1].service: the value must be a string",
                "convention[2].fields.a b: a field's name must have 1 to 64 characters",
                "convention[2].fields.c: the type must be string, number",
                "convention[2].fields.d.secret: the value must be true or false",
                "convention[2].fields.d.type: the type must be string, number",
                "convention[2].placeholders: '*': a string in the list 'placeholders' needs",
                "convention[2]: the key 'pattern' is missing",
                "convention[2]: the key 'service' is missing",
                "convention[3]: the name of the kind of secret must begin with a lower-case letter",
                "convention[4]: the table 'fields' must have at least one field",
            ],
        );
        refused(
            &VONAGE.repeat(2),
            &["convention[2].kind: an earlier [[convention]] table is for the same kind"],
        );
    }

    #[test]
    fn unknown_keys_are_reported_and_do_not_invalidate_the_rest() {
        let text = VONAGE
            .replace("service =", "Servce = 1\nservice =")
            .replace("optional = true", "optional = true, optonal = 1");
        let text = format!("builtin = false\n{text}");
        refused(
            &text,
            &["builtin: ?", "convention[1].Servce: ?", "convention[1].fields.port.optonal: ?"],
        );
        let file = parse(&text);
        assert_eq!(file.conventions, valid(VONAGE));
        let tables: Vec<_> = file.unknown_keys.iter().map(|unknown| unknown.table).collect();
        assert_eq!(tables, [None, Some("a convention"), Some("a field")]);
        let known: Vec<usize> = file.unknown_keys.iter().map(|key| key.known.len()).collect();
        assert_eq!(known, [2, KEYS.len(), FIELD_KEYS.len()]);
    }

    #[test]
    fn conventions_must_be_tables_and_are_limited_in_number() {
        for text in ["convention = 1", "convention = [1]", "[convention]\nkind = \"a\""] {
            refused(text, &["convention: the value must be a list of tables"]);
        }
        let tables = |count: usize| {
            (0..count)
                .map(|number| VONAGE.replace("sms-vonage", &format!("kind-{number}")))
                .collect::<String>()
        };
        refused(&tables(CONVENTIONS_MAX), &[]);
        refused(
            &tables(CONVENTIONS_MAX + 1),
            &["convention: at most 100 [[convention]] tables are allowed"],
        );
    }

    #[test]
    fn text_that_is_not_toml_is_not_quoted() {
        let file = parse("key = = hunter2");
        assert!(lines(&file)[0].starts_with(": the file is not valid TOML: "), "{file:?}");
        assert!(!lines(&file)[0].contains("hunter2"), "{file:?}");
        assert_eq!(file.conventions, Conventions::built_in());
    }

    proptest! {
        #[test]
        fn for_any_file_a_convention_is_complete_or_a_mistake_is_reported(text in mangled(VONAGE)) {
            let file = parse(&text);
            let all = &file.conventions;
            let is_own = all.iter().any(|convention| convention.kind() == "sms-vonage");
            prop_assert!(is_own || !lines(&file).is_empty() || all.iter().count() >= 4);
            for convention in all.iter() {
                prop_assert!(!convention.fields().is_empty() && !convention.markers().is_empty());
                let again = NamePattern::parse(&convention.pattern().to_string());
                prop_assert_eq!(again.as_ref(), Ok(convention.pattern()));
            }
        }
    }
}

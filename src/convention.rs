//! What does a secret of some kind look like?
//!
//! A convention says how secrets of one kind are named, and which fields their JSON has. Pure words:
//! nothing here knows of sockets, of files or of time passing.

pub mod pattern;
pub mod field;
pub mod marker;
pub mod problem;
mod shape;
mod built_in;

use crate::secret::version::Content;
use field::Field;
use marker::Marker;
use pattern::{NamePattern, PlaceholderValues};
use problem::Problem;
use serde_json::{Map, Value};

/// The longest name of a kind.
const KIND_CHARS_MAX: usize = 64;

/// The longest name of a service.
const SERVICE_CHARS_MAX: usize = 64;

/// The most fields of one convention.
const FIELDS_MAX: usize = 64;

/// The most marks of one convention.
const MARKERS_MAX: usize = 16;

/// How secrets of one kind are named, and what their values have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Convention {
    kind: Box<str>,
    pattern: NamePattern,
    service: Box<str>,
    fields: Vec<Field>,
    markers: Vec<Marker>,
}

/// What is wrong with a convention whose parts are each right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadConvention {
    /// The kind is not what a label can be.
    #[error(
        "a kind has small letters, digits and single hyphens, begins with a letter, and is at most {KIND_CHARS_MAX} characters long"
    )]
    Kind,
    /// The service is not what can be shown.
    #[error("a service is 1 to {SERVICE_CHARS_MAX} printable ASCII characters")]
    Service,
    /// There is no field.
    #[error("at least one field expected")]
    NoFields,
    /// There are too many fields.
    #[error("more than {FIELDS_MAX} fields")]
    TooManyFields,
    /// A field is there twice.
    #[error("the field '{0}' is named twice")]
    FieldTwice(Box<str>),
    /// There is nothing to tell a placeholder by.
    #[error("at least one mark of placeholders expected, such as PLACEHOLDER*")]
    NoMarkers,
    /// There are too many marks.
    #[error("more than {MARKERS_MAX} marks of placeholders")]
    TooManyMarkers,
}

impl Convention {
    /// Makes a convention of its parts. `marks` tell a placeholder from a value; the first is the one
    /// that new secrets get.
    ///
    /// # Errors
    ///
    /// Names the first thing that is wrong.
    pub fn new(
        kind: &str,
        pattern: NamePattern,
        service: &str,
        fields: Vec<Field>,
        markers: Vec<Marker>,
    ) -> Result<Self, BadConvention> {
        if !is_kind(kind) {
            return Err(BadConvention::Kind);
        }
        let is_shown = |c: char| c.is_ascii_graphic() || c == ' ';
        if service.trim().is_empty()
            || service.len() > SERVICE_CHARS_MAX
            || !service.chars().all(is_shown)
        {
            return Err(BadConvention::Service);
        }
        if fields.is_empty() {
            return Err(BadConvention::NoFields);
        }
        if fields.len() > FIELDS_MAX {
            return Err(BadConvention::TooManyFields);
        }
        for (at, field) in fields.iter().enumerate() {
            if fields[..at].iter().any(|earlier| earlier.name() == field.name()) {
                return Err(BadConvention::FieldTwice(field.name().into()));
            }
        }
        if markers.is_empty() {
            return Err(BadConvention::NoMarkers);
        }
        if markers.len() > MARKERS_MAX {
            return Err(BadConvention::TooManyMarkers);
        }
        Ok(Self { kind: kind.into(), pattern, service: service.into(), fields, markers })
    }

    /// Returns what secrets of this kind are called together, such as `whatsapp-twilio`.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// Returns how they are named.
    pub fn pattern(&self) -> &NamePattern {
        &self.pattern
    }

    /// Returns whose credentials they are, such as `Twilio`.
    pub fn service(&self) -> &str {
        &self.service
    }

    /// Returns the fields that their JSON has.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// Returns what tells a placeholder from a value.
    pub fn markers(&self) -> &[Marker] {
        &self.markers
    }

    /// Returns a value for a new secret: a placeholder in every field, whatever the field's type, so
    /// that none passes for the real one.
    ///
    /// It is named after the field, and after what the name says of a placeholder with allowed
    /// values: `PLACEHOLDER_WHATSAPP_AI_API_KEY`.
    pub fn placeholder_value(&self, bindings: &PlaceholderValues) -> Map<String, Value> {
        let restricted =
            self.pattern.placeholders().filter(|name| self.pattern.allowed(name).is_some());
        let told: Vec<&str> = restricted.filter_map(|name| bindings.get(name)).collect();
        let text = |field: &Field| {
            let words = told.iter().copied().chain([field.name()]).collect::<Vec<_>>().join("_");
            self.markers.first().map_or_else(|| words.clone(), |mark| mark.placeholder(&words))
        };
        let fields = self.fields.iter();
        fields.map(|field| (field.name().to_owned(), Value::String(text(field)))).collect()
    }

    /// Returns what is wrong with a value, in the order of the fields; nothing, where it is as it
    /// should be. Fields that the convention does not name are let be.
    pub fn problems(&self, content: &Content) -> Vec<Problem> {
        shape::problems(content, &self.fields, &self.markers)
    }
}

fn is_kind(text: &str) -> bool {
    let is_word = |word: &str| {
        !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
    };
    text.len() <= KIND_CHARS_MAX
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.split('-').all(is_word)
}

/// The conventions that hold, in the order in which they are looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conventions(Vec<Convention>);

impl Conventions {
    /// Returns those that hold where nothing else is said: credentials of Twilio and SendGrid by
    /// company and project, and keys of OpenAI by channel.
    pub fn built_in() -> Self {
        Self(built_in::conventions())
    }

    /// Puts `others` first, in their order. One with the kind of a convention that is here already
    /// takes its place.
    #[must_use]
    pub fn with(self, others: Vec<Convention>) -> Self {
        let mut all = others;
        for convention in self.0 {
            if all.iter().all(|other| other.kind != convention.kind) {
                all.push(convention);
            }
        }
        Self(all)
    }

    /// Returns the first convention by which a secret of this name is named, and what its name says.
    pub fn of_name(&self, name: &str) -> Option<(&Convention, PlaceholderValues)> {
        self.iter().find_map(|convention| Some((convention, convention.pattern.matches(name)?)))
    }

    /// Returns the convention of a kind.
    pub fn of_kind(&self, kind: &str) -> Option<&Convention> {
        self.iter().find(|convention| &*convention.kind == kind)
    }

    /// Returns all of them, in their order.
    pub fn iter(&self) -> impl Iterator<Item = &Convention> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::field::FieldType;
    use super::*;

    fn convention(kind: &str, pattern: &str) -> Convention {
        let pattern = NamePattern::parse(pattern).expect("a good pattern");
        let fields = vec![
            Field::new("token", FieldType::String).expect("a good name"),
            Field::new("port", FieldType::Number).expect("a good name"),
        ];
        let markers = vec![Marker::parse("TODO*").expect("a good mark")];
        Convention::new(kind, pattern, "Acme", fields, markers).expect("a good convention")
    }

    #[test]
    fn the_first_that_matches_is_that_of_a_name() {
        let all = Conventions::default()
            .with(vec![convention("one", "a/{x}"), convention("other", "{x}/{y}")]);
        let kind = |name| all.of_name(name).map(|(found, _)| found.kind());
        assert_eq!((kind("a/b"), kind("b/b"), kind("a")), (Some("one"), Some("other"), None));
        let (_, bindings) = all.of_name("a/b").expect("it is named so");
        assert_eq!(bindings.get("x"), Some("b"));
    }

    #[test]
    fn those_that_are_added_are_looked_at_first_and_take_a_place_of_their_kind() {
        let own =
            vec![convention("any", "openai-api-key/{x}"), convention("sms-twilio", "sms/{x}")];
        let all = Conventions::built_in().with(own);
        let kinds: Vec<&str> = all.iter().map(Convention::kind).collect();
        assert_eq!(
            kinds,
            ["any", "sms-twilio", "whatsapp-twilio", "email-sendgrid", "openai-api-key"]
        );
        let of = |name| all.of_name(name).map(|(found, _)| found.kind());
        assert_eq!(of("openai-api-key/sms"), Some("any"));
        assert_eq!(of("sms-credentials/acme/support/twilio"), None);
        assert_eq!(all.of_kind("sms-twilio").map(Convention::service), Some("Acme"));
        assert_eq!(all.of_kind("none"), None);
    }

    #[test]
    fn a_new_secret_has_a_placeholder_in_every_field_and_each_is_found() {
        let made = convention("any", "{env:dev|prod-1}/{x}");
        let bindings = PlaceholderValues::from([("env", "prod-1"), ("x", "acme")]);
        let value = made.placeholder_value(&bindings);
        let text = Value::Object(value).to_string();
        assert_eq!(text, r#"{"port":"TODO_PROD_1_PORT","token":"TODO_PROD_1_TOKEN"}"#);
        let problems = made.problems(&Content::Text(text.into()));
        let expected = ["token", "port"].map(|field| Problem::Placeholder { field: field.into() });
        assert_eq!(problems, expected);
    }

    #[test]
    fn a_convention_that_says_too_little_or_too_much_is_refused() {
        let pattern = || NamePattern::parse("a").expect("a good pattern");
        let mark = || Marker::parse("TODO*").expect("a good mark");
        let field = |name: &str| Field::new(name, FieldType::String).expect("a good name");
        let make = |kind: &str, service: &str, fields, markers| {
            Convention::new(kind, pattern(), service, fields, markers).expect_err("a bad one")
        };
        let one = || vec![field("a")];
        for kind in ["", "A", "a--b", "-a", "a-", "1a", "a_b", "é", &"a".repeat(65)] {
            assert_eq!(make(kind, "S", one(), vec![mark()]), BadConvention::Kind, "{kind}");
        }
        for service in ["", " ", "a\nb", "é", &"a".repeat(65)] {
            assert_eq!(make("a", service, one(), vec![mark()]), BadConvention::Service);
        }
        assert_eq!(make("a", "S", vec![], vec![mark()]), BadConvention::NoFields);
        let many = (0..65).map(|number| field(&format!("f{number}"))).collect();
        assert_eq!(make("a", "S", many, vec![mark()]), BadConvention::TooManyFields);
        let twice = vec![field("a"), field("b"), field("a")];
        assert_eq!(make("a", "S", twice, vec![mark()]), BadConvention::FieldTwice("a".into()));
        assert_eq!(make("a", "S", one(), vec![]), BadConvention::NoMarkers);
        assert_eq!(make("a", "S", one(), vec![mark(); 17]), BadConvention::TooManyMarkers);
    }
}

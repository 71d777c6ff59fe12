//! The definition of a naming convention: the name pattern of one kind of secret, the fields of the
//! value, and the markers that recognise dummy texts.

use super::check;
use super::field::Field;
use super::marker::Marker;
use super::pattern::{NamePattern, PlaceholderValues};
use super::problem::Problem;
use crate::secret::version::Content;
use serde_json::{Map, Value};

/// The maximum length of the name of a kind of secret, such as `sms-twilio`, in characters.
const KIND_CHARS_MAX: usize = 64;

/// The maximum length of the name of a service, such as `Twilio`, in characters.
const SERVICE_CHARS_MAX: usize = 64;

/// The maximum number of fields in one convention.
const FIELDS_MAX: usize = 64;

/// The maximum number of markers in one convention. A marker recognises dummy texts in new secrets.
const MARKERS_MAX: usize = 16;

/// A naming convention: how the secrets of one kind are named, and which fields their values have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Convention {
    kind: Box<str>,
    pattern: NamePattern,
    service: Box<str>,
    fields: Vec<Field>,
    markers: Vec<Marker>,
}

/// The reason why parts that are valid one by one do not make a valid naming convention.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadConvention {
    /// Error: the convention's `kind` is empty, too long, or has characters that are not allowed in
    /// a label of a metric.
    #[error(
        "the kind must begin with a lower-case letter, have at most {KIND_CHARS_MAX} characters, and contain only lower-case letters, digits and, between these, single hyphens"
    )]
    Kind,
    /// Error: the convention's `service` is empty, too long, or has characters that cannot be
    /// printed.
    #[error(
        "the name of the service must have 1 to {SERVICE_CHARS_MAX} printable ASCII characters"
    )]
    Service,
    /// Error: the naming convention has no field.
    #[error("a convention needs at least one field")]
    NoFields,
    /// Error: the naming convention has more than `FIELDS_MAX` fields.
    #[error("a convention can have at most {FIELDS_MAX} fields")]
    TooManyFields,
    /// Error: two fields of the naming convention have the same name.
    #[error("two fields are named '{0}'")]
    FieldTwice(Box<str>),
    /// Error: the naming convention has no marker. Sidekey needs a marker to distinguish a dummy
    /// text from a real value.
    #[error("a convention needs at least one text in 'placeholders', such as PLACEHOLDER*")]
    NoMarkers,
    /// Error: the naming convention has more than `MARKERS_MAX` markers for dummy texts.
    #[error("a convention can have at most {MARKERS_MAX} texts in 'placeholders'")]
    TooManyMarkers,
}

impl Convention {
    /// Makes a naming convention from its parts. The first marker is also used to make the dummy
    /// texts of new secrets.
    ///
    /// # Errors
    ///
    /// Returns the first rule that the parts break.
    pub(crate) fn new(
        kind: &str,
        pattern: NamePattern,
        service: &str,
        fields: Vec<Field>,
        markers: Vec<Marker>,
    ) -> Result<Self, BadConvention> {
        if !is_kind(kind) {
            return Err(BadConvention::Kind);
        }
        if !is_service(service) {
            return Err(BadConvention::Service);
        }
        if fields.is_empty() {
            return Err(BadConvention::NoFields);
        }
        if fields.len() > FIELDS_MAX {
            return Err(BadConvention::TooManyFields);
        }
        for (index, field) in fields.iter().enumerate() {
            if fields[..index].iter().any(|earlier| earlier.name() == field.name()) {
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

    /// Returns the unique name of the kind of secret, such as `whatsapp-twilio`.
    pub(crate) fn kind(&self) -> &str {
        &self.kind
    }

    /// Returns the pattern that matches the names of the secrets of this kind.
    pub(crate) fn pattern(&self) -> &NamePattern {
        &self.pattern
    }

    /// Returns the service that the secrets of this kind are for, such as `Twilio`.
    #[cfg(test)]
    pub(crate) fn service(&self) -> &str {
        &self.service
    }

    /// Returns the fields that the JSON values of the secrets of this kind must have.
    #[cfg(test)]
    pub(crate) fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// Returns the markers of the convention. A marker recognises a dummy text, such as
    /// `PLACEHOLDER_TOKEN`, in place of a real value.
    #[cfg(test)]
    pub(crate) fn markers(&self) -> &[Marker] {
        &self.markers
    }

    /// Returns the JSON value of a new secret, with a dummy text in every field. Even a number or
    /// an object gets a dummy text, so that it cannot be mistaken for a real value.
    ///
    /// A dummy text contains the field's name, and those variable parts of the secret's name that
    /// have a list of allowed values. Example: the field `ai_api_key` of the secret
    /// `openai-api-key/whatsapp` gets `PLACEHOLDER_WHATSAPP_AI_API_KEY`.
    pub(crate) fn placeholder_value(&self, values: &PlaceholderValues) -> Map<String, Value> {
        let prefix: Vec<&str> = self
            .pattern
            .placeholders()
            .filter(|name| self.pattern.allowed(name).is_some())
            .filter_map(|name| values.get(name))
            .collect();
        let mut value = Map::new();
        for field in &self.fields {
            let words = [&prefix[..], &[field.name()]].concat().join("_");
            let text = match self.markers.first() {
                Some(marker) => marker.placeholder(&words),
                None => words,
            };
            value.insert(field.name().to_owned(), Value::String(text));
        }
        value
    }

    /// Returns the problems of a secret's value, in the order of the convention's fields. A value
    /// without problems follows the convention. Fields that the convention does not name are not
    /// checked.
    pub(crate) fn problems(&self, content: &Content) -> Vec<Problem> {
        check::problems(content, &self.fields, &self.markers)
    }
}

fn is_kind(text: &str) -> bool {
    text.len() <= KIND_CHARS_MAX
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.split('-').all(|word| {
            !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
        })
}

fn is_service(text: &str) -> bool {
    !text.trim().is_empty()
        && text.len() <= SERVICE_CHARS_MAX
        && text.chars().all(|c| c.is_ascii_graphic() || c == ' ')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convention::field::FieldType;

    #[test]
    fn new_secret_has_a_recognised_placeholder_in_every_field() {
        let convention = Convention::new(
            "any",
            NamePattern::parse("{env:dev|prod-1}/{x}").expect("the pattern is valid"),
            "Acme",
            vec![
                Field::new("token", FieldType::String).expect("the name is valid"),
                Field::new("port", FieldType::Number).expect("the name is valid"),
            ],
            vec![Marker::parse("TODO*").expect("the marker is valid")],
        )
        .expect("the convention is valid");
        let values = PlaceholderValues::from([("env", "prod-1"), ("x", "acme")]);
        let text = Value::Object(convention.placeholder_value(&values)).to_string();
        assert_eq!(text, r#"{"port":"TODO_PROD_1_PORT","token":"TODO_PROD_1_TOKEN"}"#);
        let problems = convention.problems(&Content::Text(text.into()));
        let expected = ["token", "port"].map(|field| Problem::Placeholder { field: field.into() });
        assert_eq!(problems, expected);
    }

    #[test]
    fn convention_with_too_few_or_too_many_parts_is_refused() {
        let marker = || Marker::parse("TODO*").expect("the marker is valid");
        let field = |name: &str| Field::new(name, FieldType::String).expect("the name is valid");
        let refused = |kind: &str, service: &str, fields, markers| {
            let pattern = NamePattern::parse("a").expect("the pattern is valid");
            Convention::new(kind, pattern, service, fields, markers)
                .expect_err("the convention is refused")
        };
        for kind in ["", "A", "a--b", "-a", "a-", "1a", "a_b", "é", &"a".repeat(65)] {
            let found = refused(kind, "S", vec![field("a")], vec![marker()]);
            assert_eq!(found, BadConvention::Kind, "{kind}");
        }
        for service in ["", " ", "a\nb", "é", &"a".repeat(65)] {
            let found = refused("a", service, vec![field("a")], vec![marker()]);
            assert_eq!(found, BadConvention::Service, "{service}");
        }
        assert_eq!(refused("a", "S", vec![], vec![marker()]), BadConvention::NoFields);
        let many = (0..65).map(|number| field(&format!("f{number}"))).collect();
        assert_eq!(refused("a", "S", many, vec![marker()]), BadConvention::TooManyFields);
        let twice = vec![field("a"), field("b"), field("a")];
        let found = refused("a", "S", twice, vec![marker()]);
        assert_eq!(found, BadConvention::FieldTwice("a".into()));
        assert_eq!(refused("a", "S", vec![field("a")], vec![]), BadConvention::NoMarkers);
        let found = refused("a", "S", vec![field("a")], vec![marker(); 17]);
        assert_eq!(found, BadConvention::TooManyMarkers);
    }
}

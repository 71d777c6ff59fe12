//! A convention: the rules for one kind of secret. A convention has a pattern for the secrets'
//! names, the fields of their JSON values, and markers (patterns for dummy values, such as
//! `PLACEHOLDER*`).

use super::check;
use super::field::Field;
use super::marker::Marker;
use super::pattern::{NamePattern, PlaceholderValues};
use super::problem::Problem;
use crate::secret::version::Content;
use serde_json::{Map, Value};

/// The maximum length of the name for a kind of secret, such as `sms-twilio`, in characters.
const KIND_CHARS_MAX: usize = 64;

/// The maximum length of the name of an external service, such as `Twilio`, in characters.
const SERVICE_CHARS_MAX: usize = 64;

const FIELDS_MAX: usize = 64;

/// The maximum number of patterns for dummy values, such as `PLACEHOLDER*`, for one kind of secret.
const MARKERS_MAX: usize = 16;

/// The rules for the names and values of one kind of secret, such as `sms-twilio`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Convention {
    kind: Box<str>,
    pattern: NamePattern,
    service: Box<str>,
    fields: Vec<Field>,
    markers: Vec<Marker>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadConvention {
    /// Error: the name of a kind of secret, such as `sms-twilio`, has an invalid character or
    /// length. Metrics use this name as a label, so only some characters are allowed.
    #[error(
        "the name of the kind of secret must begin with a lower-case letter, have at most \
         {KIND_CHARS_MAX} characters, and contain only lower-case letters, digits and single \
         hyphens between them"
    )]
    Kind,
    #[error(
        "the name of the service must have 1 to {SERVICE_CHARS_MAX} printable ASCII characters"
    )]
    Service,
    #[error("the table 'fields' must have at least one field")]
    NoFields,
    #[error("the table 'fields' can have at most {FIELDS_MAX} fields")]
    TooManyFields,
    #[error("the table 'fields' has two fields named '{0}'")]
    FieldTwice(Box<str>),
    /// Error: no pattern for dummy values is given. Sidekey could then not distinguish a dummy
    /// value from a real value.
    #[error(
        "the list 'placeholders' needs at least one pattern for dummy values, such as PLACEHOLDER*"
    )]
    NoMarkers,
    #[error("the list 'placeholders' can have at most {MARKERS_MAX} patterns for dummy values")]
    TooManyMarkers,
}

impl Convention {
    /// Makes the rules for one kind of secret. `markers` are patterns for dummy values, such as
    /// `PLACEHOLDER*`. Sidekey makes the dummy values of new secrets from the first pattern.
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

    pub(crate) fn kind(&self) -> &str {
        &self.kind
    }

    pub(crate) fn pattern(&self) -> &NamePattern {
        &self.pattern
    }

    #[cfg(test)]
    pub(crate) fn service(&self) -> &str {
        &self.service
    }

    pub(crate) fn fields(&self) -> &[Field] {
        &self.fields
    }

    #[cfg(test)]
    pub(crate) fn markers(&self) -> &[Marker] {
        &self.markers
    }

    /// Returns the JSON value for a new secret of this kind. Every field gets a dummy string that
    /// contains the field's name.
    ///
    /// The string also contains each variable part of the secret's name that has a list of allowed
    /// values. For example, the field `ai_api_key` of `openai-api-key/whatsapp` gets
    /// `PLACEHOLDER_WHATSAPP_AI_API_KEY`.
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

    /// Returns the mistakes in a secret's value, in the order of the fields that Sidekey expects.
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
            NamePattern::parse("{env:dev|prod-1}/{x}").expect("the name pattern must be valid"),
            "Acme",
            vec![
                Field::new("token", FieldType::String).expect("the field's name must be valid"),
                Field::new("port", FieldType::Number).expect("the field's name must be valid"),
            ],
            vec![Marker::parse("TODO*").expect("the pattern for dummy values must be valid")],
        )
        .expect("all parts of the convention must be valid");
        let values = PlaceholderValues::from([("env", "prod-1"), ("x", "acme")]);
        let text = Value::Object(convention.placeholder_value(&values)).to_string();
        assert_eq!(text, r#"{"port":"TODO_PROD_1_PORT","token":"TODO_PROD_1_TOKEN"}"#);
        let problems = convention.problems(&Content::Text(text.into()));
        let expected = ["token", "port"].map(|field| Problem::Placeholder { field: field.into() });
        assert_eq!(problems, expected);
    }

    #[test]
    fn convention_with_too_few_or_too_many_parts_is_refused() {
        let marker = || Marker::parse("TODO*").expect("the pattern for dummy values must be valid");
        let field = |name: &str| {
            Field::new(name, FieldType::String).expect("the field's name must be valid")
        };
        let refused = |kind: &str, service: &str, fields, markers| {
            let pattern = NamePattern::parse("a").expect("the name pattern must be valid");
            Convention::new(kind, pattern, service, fields, markers)
                .expect_err("a convention with an invalid part must be refused")
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

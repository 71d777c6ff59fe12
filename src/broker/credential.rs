//! The credential that a route adds to its calls, and how the credential is made from the fields of
//! a secret.

use super::redact::Needles;
use crate::convention::problem::Problem;
use crate::secret::field::{FieldError, Fields};
use crate::secret::version::Content;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{AUTHORIZATION, HeaderName, HeaderValue};
use zeroize::Zeroizing;

/// A template from the configuration, such as `#api_key` or `Key #api_key`. `#api_key` stands for
/// the field `api_key` of the secret, and `#` without a name for the complete value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template {
    prefix: Box<str>,
    /// The name of the field. Empty for the complete value. `None` if the template has no `#`.
    field: Option<Box<str>>,
}

impl Template {
    pub(crate) fn parse(text: &str) -> Self {
        match text.split_once('#') {
            Some((prefix, field)) => Self { prefix: prefix.into(), field: Some(field.into()) },
            None => Self { prefix: text.into(), field: None },
        }
    }

    /// Returns whether the template contains a part of the secret, such as `#api_key`.
    pub(crate) fn has_field(&self) -> bool {
        self.field.is_some()
    }

    /// Returns the constant text before the `#` of the template, such as `Key ` in `Key #api_key`.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    fn field(&self) -> Option<&str> {
        self.field.as_deref().filter(|field| !field.is_empty())
    }

    /// Returns the part of the secret for which the `#` stands. Empty if the template has no `#`.
    fn secret_part(&self, secret: &Secret<'_>) -> Result<Zeroizing<Vec<u8>>, BadCredential> {
        let part = match (self.field.as_deref(), secret.content) {
            (None, _) => return Ok(Zeroizing::default()),
            (Some(""), Content::Text(text)) => text,
            (Some(""), Content::Binary(_)) => return Err(BadCredential::Binary),
            (Some(field), _) => secret.fields.field(field)?,
        };
        if part.expose().trim_ascii().is_empty() {
            return Err(BadCredential::Empty);
        }
        Ok(part.expose().to_vec().into())
    }
}

/// The credential that the agent adds to calls to one external API, and the header that contains
/// it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Credential {
    /// The header `Authorization: Bearer …`.
    Bearer(Template),
    /// The header `Authorization: Basic …`.
    Basic {
        user: Template,
        password: Template,
    },
    Header {
        name: HeaderName,
        value: Template,
    },
}

/// The value of a secret, as a whole and divided into its fields.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Secret<'a> {
    pub(crate) content: &'a Content,
    pub(crate) fields: &'a Fields,
    /// How the value breaks the convention (the rules for secrets with such a name).
    pub(crate) problems: &'a [Problem],
    /// The names of the fields that the convention for the secret's name marks as confidential.
    pub(crate) confidential: &'a [&'a str],
}

/// Why the agent cannot make a credential from a secret. The error contains no part of the secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadCredential {
    #[error(transparent)]
    Field(#[from] FieldError),
    #[error("the secret is binary, and a credential must be text")]
    Binary,
    #[error("the part of the secret that the call needs is empty")]
    Empty,
    #[error("the part of the secret that the call needs has a line break or a control character")]
    NotAHeader,
    #[error("the user of Basic authentication must not contain a colon")]
    Colon,
    #[error("{0}")]
    Malformed(Problem),
}

/// The credential that the agent made from a secret for one call.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) value: HeaderValue,
    /// The confidential texts that the agent replaces in the answer to the call.
    pub(crate) needles: Needles,
}

impl Credential {
    /// Returns the name of the header that contains the credential.
    pub(crate) fn header(&self) -> &HeaderName {
        match self {
            Self::Bearer(_) | Self::Basic { .. } => &AUTHORIZATION,
            Self::Header { name, .. } => name,
        }
    }

    /// Returns the constant text before the secret in a configured header. Empty for bearer tokens
    /// and Basic authentication.
    pub(crate) fn prefix(&self) -> &str {
        match self {
            Self::Bearer(_) | Self::Basic { .. } => "",
            Self::Header { value, .. } => value.prefix(),
        }
    }

    /// Returns the names of the fields from which the credential is made.
    #[cfg(feature = "host")]
    pub(crate) fn fields(&self) -> impl Iterator<Item = &str> {
        self.templates().filter_map(Template::field)
    }

    fn templates(&self) -> impl Iterator<Item = &Template> {
        let (first, second) = match self {
            Self::Bearer(value) | Self::Header { value, .. } => (value, None),
            Self::Basic { user, password } => (user, Some(password)),
        };
        std::iter::once(first).chain(second)
    }

    /// Makes the value of the credential's header from a secret. `path_fields` are the fields of
    /// the secret that the path of a call can contain.
    ///
    /// # Errors
    ///
    /// Returns an error if a field of the credential or of the path is missing, empty or a
    /// placeholder, or breaks another rule for the secret.
    pub(crate) fn make(
        &self,
        secret: &Secret<'_>,
        path_fields: &[Box<str>],
    ) -> Result<Made, BadCredential> {
        let is_needed = |field: &str| {
            self.templates().any(|template| template.field() == Some(field))
                || path_fields.iter().any(|needed| **needed == *field)
        };
        let mut problems = secret.problems.iter();
        if let Some(problem) = problems.find(|problem| problem.field().is_none_or(is_needed)) {
            return Err(BadCredential::Malformed(problem.clone()));
        }
        let mut confidential: Vec<Zeroizing<Vec<u8>>> = Vec::new();
        for field in secret.confidential {
            confidential
                .extend(secret.fields.field(field).ok().map(|text| text.expose().to_vec().into()));
        }
        let value: Zeroizing<Vec<u8>> = match self {
            Self::Bearer(token) => {
                let part = token.secret_part(secret)?;
                confidential.push(needle(&part));
                [b"Bearer ", token.prefix.as_bytes(), &part].concat().into()
            }
            Self::Header { value, .. } => {
                let part = value.secret_part(secret)?;
                confidential.push(needle(&part));
                [value.prefix.as_bytes(), &part].concat().into()
            }
            Self::Basic { user, password } => {
                let (user_part, part) = (user.secret_part(secret)?, password.secret_part(secret)?);
                // In base64, these characters would not be visible to the check of the header.
                if [&user_part, &part].iter().any(|part| part.iter().any(u8::is_ascii_control)) {
                    return Err(BadCredential::NotAHeader);
                }
                let user_text = Zeroizing::new([user.prefix.as_bytes(), &user_part].concat());
                if user_text.contains(&b':') {
                    return Err(BadCredential::Colon);
                }
                let pair: Zeroizing<Vec<u8>> =
                    [&user_text, &b":"[..], password.prefix.as_bytes(), &part].concat().into();
                let encoded = Zeroizing::new(STANDARD.encode(&*pair));
                // With a password from the secret, the user is usually an account number, which
                // answers may contain.
                let key = if password.has_field() { &part } else { &user_part };
                confidential.push(needle(key));
                confidential.push(encoded.as_bytes().to_vec().into());
                [b"Basic ", encoded.as_bytes()].concat().into()
            }
        };
        let mut value = HeaderValue::from_bytes(&value).map_err(|_| BadCredential::NotAHeader)?;
        value.set_sensitive(true);
        Ok(Made { value, needles: Needles::new(confidential) })
    }
}

/// Returns the text that must not be in an answer: the key without white space around it, which
/// servers ignore.
fn needle(key: &[u8]) -> Zeroizing<Vec<u8>> {
    key.trim_ascii().to_vec().into()
}

/// Returns the text of a field that becomes a part of the path of a call.
///
/// # Errors
///
/// Returns an error if the secret has no such field, or if the field is empty.
pub(crate) fn path_text(secret: &Secret<'_>, field: &str) -> Result<String, BadCredential> {
    let text = secret.fields.field(field)?.expose();
    match std::str::from_utf8(text) {
        Ok(text) if !text.trim().is_empty() => Ok(text.to_owned()),
        _ => Err(BadCredential::Empty),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUE: &str = r#"{"key":"secret-key-1","user":"user","empty":" ","lines":"a\nb"}"#;

    fn made(
        credential: &Credential,
        value: &str,
        problems: &[Problem],
    ) -> Result<Made, BadCredential> {
        let content = Content::Text(value.to_owned().into());
        let fields = Fields::of(&content);
        let secret =
            Secret { content: &content, fields: &fields, problems, confidential: &["user"] };
        credential.make(&secret, &["sid".into()])
    }

    fn bearer(text: &str) -> Credential {
        Credential::Bearer(Template::parse(text))
    }

    #[test]
    fn credential_is_made_from_fields_of_the_secret() {
        let basic = |user, password| Credential::Basic {
            user: Template::parse(user),
            password: Template::parse(password),
        };
        let name = HeaderName::from_static("x-api-key");
        let header = Credential::Header { name, value: Template::parse("Key #key") };
        for (credential, value, expected) in [
            (bearer("#key"), VALUE, "Bearer secret-key-1"),
            (bearer("#"), "plain-text", "Bearer plain-text"),
            (basic("#user", "#key"), VALUE, "Basic dXNlcjpzZWNyZXQta2V5LTE="),
            (basic("#key", ""), VALUE, "Basic c2VjcmV0LWtleS0xOg=="),
            (basic("api", "#key"), VALUE, "Basic YXBpOnNlY3JldC1rZXktMQ=="),
            (header, VALUE, "Key secret-key-1"),
        ] {
            let made = made(&credential, value, &[]).expect("the fields exist");
            assert_eq!(made.value, expected);
            assert!(made.value.is_sensitive() && !format!("{made:?}").contains("secret-key"));
            for echo in [expected.rsplit(' ').next().unwrap_or_default(), "plain-text"] {
                let is_hidden = made.needles.redact(echo.as_bytes()).is_some();
                assert_eq!(is_hidden, expected.contains(echo), "{expected}: {echo}");
            }
        }
    }

    #[test]
    fn key_of_basic_authentication_is_hidden_whether_user_or_password() {
        for (user, password, is_user_hidden) in
            [("#name", "", true), ("#name", "x", true), ("#name", "#key", false)]
        {
            let (user, password) = (Template::parse(user), Template::parse(password));
            let value = r#"{"key":"secret-key-1","name":"account-1"}"#;
            let made = made(&Credential::Basic { user, password }, value, &[]);
            let needles = made.expect("the fields must exist").needles;
            assert_eq!(needles.redact(b"account-1").is_some(), is_user_hidden);
        }
    }

    #[test]
    fn key_is_hidden_without_the_white_space_around_it() {
        let made = made(&bearer("#"), "secret-key-1 ", &[]).expect("the value must be usable");
        assert!(made.needles.redact(b"secret-key-1").is_some());
    }

    #[test]
    fn basic_authentication_needs_a_user_without_colon_and_no_control_characters() {
        let value = r#"{"key":"secret-key-1","lines":"a\nb","colon":"a:b"}"#;
        for (user, password, expected) in [
            ("#lines", "", BadCredential::NotAHeader),
            ("x", "#lines", BadCredential::NotAHeader),
            ("#colon", "#key", BadCredential::Colon),
        ] {
            let (user, password) = (Template::parse(user), Template::parse(password));
            let error = made(&Credential::Basic { user, password }, value, &[]);
            assert_eq!(error.expect_err("the credential must be unusable"), expected);
        }
    }

    #[test]
    fn unusable_secret_is_an_error_without_its_value() {
        let placeholder = |field: &str| Problem::Placeholder { field: field.into() };
        let check = |credential, problems: &[Problem], expected: &str| {
            let error = made(&bearer(credential), VALUE, problems).expect_err("unusable");
            assert!(error.to_string().contains(expected), "{error}");
        };
        check("#other", &[], "no field 'other'");
        check("#empty", &[], "is empty");
        check("#lines", &[], "line break");
        check("#key", &[placeholder("key")], "placeholder");
        check("#key", &[placeholder("sid")], "placeholder");
        check("#key", &[Problem::NotJson], "not JSON");
        assert!(made(&bearer("#key"), VALUE, &[placeholder("other")]).is_ok());
    }
}

//! A version of a secret or parameter, as AWS returned it.

use super::parameter_path::ParameterPath;
use super::value::SecretValue;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::SystemTime;

/// The staging label of a secret's current version. A read with neither a staging label nor a
/// version id returns the current version.
///
/// Source: `VersionStage` of `GetSecretValue` in AWS's API reference.
pub const AWSCURRENT: &str = "AWSCURRENT";

/// The staging labels, in addition to [`AWSCURRENT`], that AWS moves when it rotates a secret.
///
/// Source: `VersionStages` of `PutSecretValue` in AWS's API reference.
pub(crate) const OTHER_LABELS: [&str; 2] = ["AWSPREVIOUS", "AWSPENDING"];

/// One version of a secret or parameter, as AWS returned it: the value and the metadata.
#[derive(Clone, Debug)]
pub struct Version {
    /// The full ARN of the secret or parameter.
    pub arn: Box<str>,
    /// The name of the secret or parameter.
    pub name: Box<str>,
    /// The id of this version of the secret, or the number of this version of the parameter.
    pub id: Box<str>,
    /// The time when this version was created, to the millisecond. `None` if AWS did not return the
    /// time.
    pub created: Option<SystemTime>,
    /// The value of this version of the secret or parameter.
    pub content: Content,
    /// The metadata that depends on the kind: secret, parameter, or path of parameters.
    pub details: Details,
}

/// The metadata of a version, which differs for a secret, a parameter, and a path of parameters.
#[derive(Clone, Debug)]
pub enum Details {
    /// The metadata of a secret.
    Secret {
        /// The staging labels (such as `AWSCURRENT`) that this version of the secret had when
        /// Sidekey fetched it.
        labels: Vec<Box<str>>,
    },
    /// The metadata of a parameter.
    Parameter(Parameter),
    /// All parameters under a path, sorted by name. The field `content` of the [`Version`] contains
    /// the JSON of the request's filters.
    Path(Vec<Version>),
}

/// The metadata of one version of a parameter.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// The number of this version of the parameter. Each change of the parameter increases the
    /// number by 1.
    pub number: u64,
    /// The type of the parameter.
    pub kind: ParameterKind,
    /// The data type of the parameter's value, such as `text` or `aws:ec2:image`. `None` if
    /// Parameter Store did not return it.
    pub data_type: Option<Box<str>>,
}

/// The type of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParameterKind {
    /// The parameter's value is a text.
    String,
    /// The parameter's value is a list of texts, written as one text with commas between them.
    StringList,
    /// The parameter's value is a text that Parameter Store encrypts with a KMS key.
    SecureString,
}

impl ParameterKind {
    /// All types of parameters.
    pub const ALL: [Self; 3] = [Self::String, Self::StringList, Self::SecureString];

    /// Returns the type of parameter that AWS's API calls `name`, such as `SecureString`.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.label() == name)
    }

    /// Returns the name of this type of parameter in AWS's API, such as `SecureString`.
    pub fn label(self) -> &'static str {
        match self {
            Self::String => "String",
            Self::StringList => "StringList",
            Self::SecureString => "SecureString",
        }
    }
}

/// The value of a secret: text or binary data.
#[derive(Clone, Debug)]
pub enum Content {
    /// The value is text, from `SecretString` in a response of Secrets Manager, or from `Value` in
    /// a response of Parameter Store.
    Text(SecretValue),
    /// The secret's value is binary data, decoded from `SecretBinary` in a response of Secrets
    /// Manager.
    Binary(SecretValue),
}

impl Content {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Text(value) | Self::Binary(value) => value.len(),
        }
    }
}

impl Version {
    /// Makes one value from all `parameters` under a path, so that the cache can store them
    /// together.
    pub(crate) fn of_path(path: &ParameterPath, mut parameters: Vec<Self>) -> Self {
        parameters.sort_by(|one, other| one.name.cmp(&other.name));
        parameters.dedup_by(|one, other| one.name == other.name);
        let mut hasher = DefaultHasher::new();
        for parameter in &parameters {
            (&parameter.arn, &parameter.id, parameter.created).hash(&mut hasher);
        }
        Self {
            arn: path.as_str().into(),
            name: path.path().into(),
            id: format!("{:016x}", hasher.finish()).into(),
            created: None,
            // The limit of the cache's memory counts the filters, which can be long.
            content: Content::Text(path.filters().unwrap_or_default().to_owned().into()),
            details: Details::Path(parameters),
        }
    }

    /// Returns the parameters under a path. Returns no parameters for a single secret or parameter.
    pub(crate) fn parameters(&self) -> &[Self] {
        match &self.details {
            Details::Path(parameters) => parameters,
            Details::Secret { .. } | Details::Parameter(_) => &[],
        }
    }

    /// Returns the total length of the values in bytes: one value for a secret or parameter, and
    /// several values for a path.
    pub(crate) fn value_bytes(&self) -> usize {
        match &self.details {
            Details::Secret { .. } | Details::Parameter(_) => self.content.len(),
            Details::Path(parameters) => {
                self.content.len() + parameters.iter().map(Self::value_bytes).sum::<usize>()
            }
        }
    }

    /// Returns the staging labels of this version of a secret. A parameter has no staging labels.
    pub(crate) fn labels(&self) -> &[Box<str>] {
        match &self.details {
            Details::Secret { labels } => labels,
            Details::Parameter(_) | Details::Path(_) => &[],
        }
    }

    /// Returns whether `other` is the same version of the same secret or parameter.
    ///
    /// The times of creation are compared too, because a parameter that was deleted and created
    /// again has the same version numbers as before.
    pub(crate) fn is_same_as(&self, other: &Self) -> bool {
        self.arn == other.arn && self.id == other.id && self.created == other.created
    }

    /// Returns whether this version is older than `other`. Two versions of a parameter are compared
    /// by their numbers. For secrets, returns `false` if AWS did not return both times of creation.
    pub(crate) fn is_older_than(&self, other: &Self) -> bool {
        match (&self.details, &other.details) {
            (Details::Parameter(own), Details::Parameter(other)) => own.number < other.number,
            _ => self.created.zip(other.created).is_some_and(|(own, other)| own < other),
        }
    }

    pub(crate) fn carries(&self, label: &str) -> bool {
        self.labels().iter().any(|own| &**own == label)
    }
}

//! One parameter: its versions, and the labels that move between the versions. Callers pass the
//! current time as an argument.

use super::error;
use super::parameter_value::ParameterValue;
use crate::error::AwsError;
use std::time::SystemTime;

/// The maximum number of versions of a parameter. Above this number, the oldest version is removed.
///
/// Source: quotas of Parameter Store, "Maximum number of parameter versions".
const VERSIONS_MAX: usize = 100;

/// The maximum number of labels of one version.
///
/// Source: `Labels` of `LabelParameterVersion` in AWS's API reference.
const LABELS_MAX: usize = 10;

/// The data type of a parameter if the request that creates the parameter contains no data type.
pub(crate) const DATA_TYPE_DEFAULT: &str = "text";

#[derive(Debug)]
pub(crate) struct Parameter {
    /// The name with which the parameter was created.
    pub(crate) name: String,
    pub(crate) arn: String,
    /// The versions, oldest first. There is always at least one version.
    versions: Vec<Version>,
}

#[derive(Debug)]
pub(crate) struct Version {
    /// The number of this version. A parameter counts its versions from 1.
    pub(crate) number: u64,
    pub(crate) content: Content,
    pub(crate) labels: Vec<String>,
}

/// The value of a version, and the properties that are stored with the value.
#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) value: ParameterValue,
    pub(crate) data_type: String,
    pub(crate) modified: SystemTime,
    /// A number that differs for each stored value, so that each value gets a different ciphertext.
    pub(crate) write: u64,
}

impl Parameter {
    pub(crate) fn new(name: &str, arn: String, content: Content) -> Self {
        let first = Version { number: 1, content, labels: Vec::new() };
        Self { name: name.to_owned(), arn, versions: vec![first] }
    }

    /// Returns the version with the highest number. A request without a version or a label reads
    /// this version.
    pub(crate) fn latest(&self) -> &Version {
        self.versions.last().expect("a parameter must have at least one version")
    }

    /// Returns the version with the number or the label `selector`, or the latest version if
    /// `selector` is `None`.
    pub(crate) fn select(&self, selector: Option<&str>) -> Result<&Version, AwsError> {
        let Some(selector) = selector else { return Ok(self.latest()) };
        // A label cannot start with a digit, so a number is never a label.
        let found = match selector.parse::<u64>() {
            Ok(number) => self.versions.iter().find(|version| version.number == number),
            Err(_) => self.version_with_label(selector),
        };
        found.ok_or_else(|| error::version_not_found(&self.name, selector))
    }

    pub(crate) fn version_with_label(&self, label: &str) -> Option<&Version> {
        self.versions.iter().find(|version| version.labels.iter().any(|it| it == label))
    }

    /// Adds a version, and returns its number. If the parameter already has the maximum number of
    /// versions, removes the oldest version, or returns an error if the oldest version has a label.
    pub(crate) fn put(&mut self, content: Content) -> Result<u64, AwsError> {
        if self.versions.len() >= VERSIONS_MAX {
            if !self.versions[0].labels.is_empty() {
                return Err(AwsError::new(
                    "ParameterMaxVersionLimitExceeded",
                    format!(
                        "You attempted to create a new version of {} by calling the PutParameter \
                         API with the overwrite flag. Version {}, the oldest version, can't be \
                         deleted because it has a label associated with it. Move the label to \
                         another version of the parameter, and try again.",
                        self.name, self.versions[0].number
                    ),
                ));
            }
            self.versions.remove(0);
        }
        let number = self.latest().number + 1;
        self.versions.push(Version { number, content, labels: Vec::new() });
        Ok(number)
    }

    /// Moves labels to the version `number`. If `number` is `None`, moves them to the latest
    /// version. Returns the number of the version.
    pub(crate) fn attach(
        &mut self,
        labels: &[String],
        number: Option<u64>,
    ) -> Result<u64, AwsError> {
        let number = number.unwrap_or_else(|| self.latest().number);
        let Some(index) = self.versions.iter().position(|version| version.number == number) else {
            return Err(error::version_not_found(&self.name, &number.to_string()));
        };
        let mut attached = self.versions[index].labels.clone();
        for label in labels {
            if !attached.contains(label) {
                attached.push(label.clone());
            }
        }
        if attached.len() > LABELS_MAX {
            return Err(AwsError::new(
                "ParameterVersionLabelLimitExceeded",
                "A parameter version can have maximum 10 labels.Move one or more labels to another \
                 version and try again.",
            ));
        }
        for version in &mut self.versions {
            version.labels.retain(|label| !labels.contains(label));
        }
        self.versions[index].labels = attached;
        Ok(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(text: &str) -> Content {
        Content {
            value: text.into(),
            data_type: DATA_TYPE_DEFAULT.to_owned(),
            modified: SystemTime::UNIX_EPOCH,
            write: 0,
        }
    }

    fn parameter(values: &[&str]) -> Parameter {
        let mut parameter = Parameter::new("/url", "arn".to_owned(), content(values[0]));
        for value in &values[1..] {
            parameter.put(content(value)).expect("adding a version to the parameter must succeed");
        }
        parameter
    }

    fn attach(
        parameter: &mut Parameter,
        labels: &[&str],
        number: Option<u64>,
    ) -> Result<u64, AwsError> {
        let labels: Vec<String> = labels.iter().map(ToString::to_string).collect();
        parameter.attach(&labels, number)
    }

    #[track_caller]
    fn check(parameter: &Parameter, selector: Option<&str>, value: &str) {
        let version = parameter.select(selector).expect("the version must exist");
        assert_eq!(version.content.value.text(), value);
    }

    #[test]
    fn selector_is_a_number_or_a_label() {
        let mut parameter = parameter(&["a", "b", "c"]);
        assert_eq!(attach(&mut parameter, &["live"], Some(2)), Ok(2));
        check(&parameter, None, "c");
        check(&parameter, Some("1"), "a");
        check(&parameter, Some("live"), "b");
        for selector in ["4", "0", "test"] {
            let error = parameter
                .select(Some(selector))
                .expect_err("the parameter must not have this version");
            assert_eq!(error, error::version_not_found("/url", selector));
        }
    }

    #[test]
    fn label_moves_from_one_version_to_another() {
        let mut parameter = parameter(&["a", "b"]);
        assert_eq!(attach(&mut parameter, &["live", "test"], Some(1)), Ok(1));
        assert_eq!(attach(&mut parameter, &["live"], None), Ok(2));
        check(&parameter, Some("live"), "b");
        check(&parameter, Some("test"), "a");
        let error = attach(&mut parameter, &["live"], Some(3))
            .expect_err("a label must not move to a missing version");
        assert_eq!(error.kind, "ParameterVersionNotFound");
    }

    #[test]
    fn version_has_at_most_ten_labels() {
        let mut parameter = parameter(&["a", "b"]);
        let labels = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
        assert_eq!(attach(&mut parameter, &labels, Some(1)), Ok(1));
        assert_eq!(attach(&mut parameter, &labels, Some(1)), Ok(1));
        let error =
            attach(&mut parameter, &["k"], Some(1)).expect_err("an eleventh label must be refused");
        assert_eq!(error.kind, "ParameterVersionLabelLimitExceeded");
        assert_eq!(attach(&mut parameter, &["k"], Some(2)), Ok(2));
    }

    #[test]
    fn oldest_version_is_removed_unless_it_has_a_label() {
        let mut parameter = parameter(&["x"; VERSIONS_MAX]);
        assert_eq!(parameter.put(content("x")), Ok(101));
        assert!(parameter.select(Some("1")).is_err() && parameter.select(Some("2")).is_ok());
        attach(&mut parameter, &["live"], Some(2)).expect("the version must exist");
        let error = parameter.put(content("x")).expect_err("removing the oldest version must fail");
        assert_eq!(error.kind, "ParameterMaxVersionLimitExceeded");
    }
}

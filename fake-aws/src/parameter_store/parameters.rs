//! The handle with which a test changes parameters directly, without sending HTTP requests.

use super::parameter::DATA_TYPE_DEFAULT;
use super::parameter_id::{PUBLIC_PREFIX, ParameterId, check_new_name};
use super::parameter_value::ParameterValue;
use super::store::Store;
use super::write::{check_value, is_valid_label};
use crate::changes::Changes;
use crate::clock::Now;
use crate::error::AwsError;
use crate::location::Location;
use crate::lock::lock;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

/// A handle with which a test reads and changes the parameters of a fake AWS server. All clones of
/// this handle change the same server.
///
/// In all methods, the argument `id` is the name or the ARN of a parameter. A name always refers to
/// a parameter of account 123456789012 in region eu-north-1.
///
/// If a parameter does not exist, the methods return the same error as AWS.
#[derive(Clone)]
pub struct Parameters {
    store: Arc<Mutex<Store>>,
    now: Now,
}

impl Parameters {
    pub(crate) fn new(home: Location, now: Now) -> Self {
        Self { store: Arc::new(Mutex::new(Store::new(home))), now }
    }

    /// Creates a parameter in the default account and region of the fake AWS server, or adds a
    /// version to an existing parameter. Returns the number of the version.
    ///
    /// A name that starts with `/aws/service/` creates a public parameter, which AWS owns. A
    /// request cannot create such a parameter.
    pub fn put(&self, name: &str, value: impl Into<ParameterValue>) -> Result<u64, AwsError> {
        let home = self.store().home().clone();
        self.put_version(&home, name, value.into())
    }

    /// Creates a parameter in any account and region, or adds a version to an existing parameter.
    /// Returns the ARN of the parameter.
    ///
    /// If the location is not the default account and region, requests must use this ARN and not
    /// the name.
    pub fn put_in(
        &self,
        location: &Location,
        name: &str,
        value: impl Into<ParameterValue>,
    ) -> Result<String, AwsError> {
        self.put_version(location, name, value.into())?;
        let id = ParameterId { location: Some(location.clone()), name, selector: None };
        Ok(self.store().find(&id)?.arn.clone())
    }

    /// Adds a version with the same value to a parameter. Returns the number of the version.
    pub fn rotate(&self, id: &str) -> Result<u64, AwsError> {
        let id = ParameterId::parse(id)?;
        let mut store = self.store();
        let parameter = store.find(&id)?;
        let (name, content) = (parameter.name.clone(), &parameter.latest().content);
        let (value, data_type) = (content.value.clone(), content.data_type.clone());
        let location = id.location.unwrap_or_else(|| store.home().clone());
        store.put(&location, &name, value, &data_type, (self.now)())
    }

    fn put_version(
        &self,
        location: &Location,
        name: &str,
        value: ParameterValue,
    ) -> Result<u64, AwsError> {
        // `check_new_name` rejects all names that start with `/aws`, so it gets only the part after
        // `/aws/service` of the name of a public parameter.
        match name.strip_prefix(PUBLIC_PREFIX) {
            Some(rest) => check_new_name(&format!("/{rest}"))?,
            None => check_new_name(name)?,
        }
        check_value(value.text())?;
        self.store().put(location, name, value, DATA_TYPE_DEFAULT, (self.now)())
    }

    /// Applies the parameters of a seed (a file of test secrets). Returns the changes.
    pub(crate) fn apply(&self, seed: &BTreeMap<String, ParameterValue>) -> Changes {
        self.store().apply(seed, (self.now)())
    }

    /// Moves a label to the version `version` of a parameter. Removes the label from the version
    /// that had it before.
    pub fn move_label(&self, id: &str, label: &str, version: u64) -> Result<(), AwsError> {
        if !is_valid_label(label) {
            let message = format!("The label `{label}` is invalid.");
            return Err(AwsError::validation(message));
        }
        let id = ParameterId::parse(id)?;
        self.store().find_mut(&id)?.attach(&[label.to_owned()], Some(version)).map(drop)
    }

    /// Deletes a parameter with all its versions.
    pub fn remove(&self, id: &str) -> Result<(), AwsError> {
        let id = ParameterId::parse(id)?;
        self.store().remove(&id).map(drop)
    }

    /// Returns the ARN of the parameter `id`.
    pub fn arn(&self, id: &str) -> Result<String, AwsError> {
        let id = ParameterId::parse(id)?;
        Ok(self.store().find(&id)?.arn.clone())
    }

    /// Returns the number of the latest version of the parameter `id`. If a label follows the name,
    /// as in `/app/url:live`, returns the number of the version with the label.
    pub fn version(&self, id: &str) -> Result<u64, AwsError> {
        let id = ParameterId::parse(id)?;
        Ok(self.store().find(&id)?.select(id.selector)?.number)
    }

    /// Returns the names of all parameters in the default account and region, in alphabetical
    /// order.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> =
            self.store().home_parameters().map(|parameter| parameter.name.clone()).collect();
        names.sort();
        names
    }

    pub(crate) fn store(&self) -> MutexGuard<'_, Store> {
        lock(&self.store)
    }
}

impl fmt::Debug for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parameters").field("names", &self.names()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    fn parameters() -> Parameters {
        Parameters::new(Location::default(), Arc::new(|| SystemTime::UNIX_EPOCH))
    }

    #[test]
    fn put_adds_versions_and_labels_move() {
        let parameters = parameters();
        assert_eq!(parameters.put("/app/url", "one"), Ok(1));
        assert_eq!(parameters.put("/app/url", ParameterValue::secure("two")), Ok(2));
        assert_eq!(parameters.version("/app/url"), Ok(2));
        parameters.move_label("/app/url", "live", 1).expect("the version must exist");
        assert_eq!(parameters.version("/app/url:live"), Ok(1));
        assert!(parameters.move_label("/app/url", "1st", 1).is_err());
        assert!(parameters.move_label("/app/url", "live", 3).is_err());
    }

    #[test]
    fn rotation_keeps_the_value_and_its_type() {
        let parameters = parameters();
        let value = ParameterValue::secure("one");
        parameters.put("/app/url", value.clone()).expect("the name must be valid");
        assert_eq!(parameters.rotate("/app/url"), Ok(2));
        let store = parameters.store();
        let id = ParameterId::parse("/app/url").expect("the name must be valid");
        let latest = store.find(&id).expect("the parameter must exist").latest();
        assert_eq!((latest.number, &latest.content.value), (2, &value));
    }

    #[test]
    fn public_parameters_have_no_account_in_their_arn() {
        let parameters = parameters();
        parameters.put("/aws/service/list/regions", "x").expect("the name must be valid");
        assert_eq!(
            parameters.arn("/aws/service/list/regions"),
            Ok("arn:aws:ssm:eu-north-1::parameter/aws/service/list/regions".to_owned())
        );
        assert!(parameters.put("/aws/other", "x").is_err());
        assert!(parameters.put("/aws/services", "x").is_err());
    }

    #[test]
    fn parameter_of_another_account_is_found_by_arn() {
        let parameters = parameters();
        let location = Location::new("999988887777", "us-east-1");
        let arn = parameters.put_in(&location, "/a", "x").expect("the name must be valid");
        assert_eq!(arn, "arn:aws:ssm:us-east-1:999988887777:parameter/a");
        assert_eq!(parameters.version(&arn), Ok(1));
        assert!(parameters.version("/a").is_err());
        assert!(parameters.names().is_empty());
    }

    #[test]
    fn clones_change_the_same_parameters() {
        let parameters = parameters();
        parameters.clone().put("b", "x").expect("the name must be valid");
        parameters.put("/a", "x").expect("the name must be valid");
        assert_eq!(parameters.names(), ["/a", "b"]);
        parameters.remove("b").expect("the parameter must exist");
        assert_eq!(format!("{parameters:?}"), r#"Parameters { names: ["/a"], .. }"#);
    }

    #[test]
    fn empty_and_long_values_are_rejected() {
        assert!(parameters().put("/a", "").is_err());
        assert!(parameters().put("/a", "x".repeat(8_193)).is_err());
        assert_eq!(parameters().put("/a", "x".repeat(8_192)), Ok(1));
    }
}

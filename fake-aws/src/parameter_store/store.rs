//! All parameters of a fake AWS server, and the lookup of a parameter by name or ARN. Callers pass
//! the current time as an argument.

use super::error;
use super::parameter::{Content, DATA_TYPE_DEFAULT, Parameter};
use super::parameter_id::{ParameterId, arn};
use super::parameter_value::ParameterValue;
use crate::changes::Changes;
use crate::error::AwsError;
use crate::location::Location;
use crate::resource::Resource;
use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

/// All parameters of a fake AWS server. Requests can use a parameter's name only if the parameter
/// is in the server's default account and region. All other parameters need the ARN.
#[derive(Debug)]
pub(crate) struct Store {
    home: Location,
    parameters: BTreeMap<(Location, String), Parameter>,
    /// The number of versions that were ever stored.
    writes: u64,
    /// The names of the parameters that the last applied seed contained.
    seeded: BTreeSet<String>,
}

impl Store {
    pub(crate) fn new(home: Location) -> Self {
        Self { home, parameters: BTreeMap::new(), writes: 0, seeded: BTreeSet::new() }
    }

    /// Returns the default account and region. If a request contains a name and not an ARN, the
    /// fake AWS server looks for the parameter only there.
    pub(crate) fn home(&self) -> &Location {
        &self.home
    }

    /// Runs `work` with `home` as the default account and region. `home` contains the account to
    /// which the caller's credentials belong.
    pub(crate) fn seen_from<R>(&mut self, home: Location, work: impl FnOnce(&mut Self) -> R) -> R {
        let own = std::mem::replace(&mut self.home, home);
        let result = work(self);
        self.home = own;
        result
    }

    /// Returns the parameters in the default account and region, sorted by name.
    pub(crate) fn home_parameters(&self) -> impl Iterator<Item = &Parameter> {
        self.parameters
            .iter()
            .filter(|((location, _), _)| *location == self.home)
            .map(|(_, parameter)| parameter)
    }

    pub(crate) fn find(&self, id: &ParameterId<'_>) -> Result<&Parameter, AwsError> {
        self.parameters.get(&self.key(id)).ok_or_else(error::parameter_not_found)
    }

    pub(crate) fn find_mut(&mut self, id: &ParameterId<'_>) -> Result<&mut Parameter, AwsError> {
        let key = self.key(id);
        self.parameters.get_mut(&key).ok_or_else(error::parameter_not_found)
    }

    /// Creates a parameter, or adds a version to an existing parameter. Returns the number of the
    /// version.
    pub(crate) fn put(
        &mut self,
        location: &Location,
        name: &str,
        value: ParameterValue,
        data_type: &str,
        now: SystemTime,
    ) -> Result<u64, AwsError> {
        self.writes += 1;
        let data_type = data_type.to_owned();
        let content = Content { value, data_type, modified: now, write: self.writes };
        let key = (location.clone(), unique_name(name).to_owned());
        if let Some(parameter) = self.parameters.get_mut(&key) {
            return parameter.put(content);
        }
        let parameter = Parameter::new(name, arn(location, name), content);
        let number = parameter.latest().number;
        self.parameters.insert(key, parameter);
        Ok(number)
    }

    /// Applies a seed (names and values of parameters). Adds a version to each parameter whose
    /// latest value differs from the seed. Removes the parameters that an earlier seed contained
    /// and this seed does not contain.
    pub(crate) fn apply(
        &mut self,
        seed: &BTreeMap<String, ParameterValue>,
        now: SystemTime,
    ) -> Changes {
        let mut changes = Changes::default();
        let home = self.home.clone();
        let id = |name| ParameterId { location: None, name, selector: None };
        for (name, value) in seed {
            let latest = self.find(&id(name)).ok().map(|parameter| &parameter.latest().content);
            let list = match latest {
                None => &mut changes.created,
                Some(content) if content.value == *value => &mut changes.unchanged,
                Some(_) => &mut changes.updated,
            };
            list.push(format!("ssm:{name}"));
            if latest.is_none_or(|content| content.value != *value) {
                self.put(&home, name, value.clone(), DATA_TYPE_DEFAULT, now)
                    .expect("a parameter without labels must accept any number of versions");
            }
        }
        let obsolete = std::mem::take(&mut self.seeded);
        for name in obsolete.iter().filter(|name| !seed.contains_key(*name)) {
            if self.remove(&id(name)).is_ok() {
                changes.removed.push(format!("ssm:{name}"));
            }
        }
        self.seeded = seed.keys().cloned().collect();
        changes
    }

    pub(crate) fn remove(&mut self, id: &ParameterId<'_>) -> Result<Parameter, AwsError> {
        let key = self.key(id);
        self.parameters.remove(&key).ok_or_else(error::parameter_not_found)
    }

    /// Returns the ARN of the parameter `text`, and the spellings of its name, such as `flat` and
    /// `/flat`. `text` is a name or ARN. A test can use any of these strings to deny access to the
    /// parameter or to inject a fault.
    ///
    /// The ARN comes first, because IAM's error messages quote it. `text` can also be the path of a
    /// `GetParametersByPath` request, such as `/app/`. The result is then the ARN of the path, and
    /// its spellings `/app` and `/app/`.
    pub(crate) fn aliases(&self, text: &str) -> Vec<Resource> {
        let mut aliases = Vec::new();
        if let Ok(id) = ParameterId::parse(text) {
            let name = if id.name == "/" { id.name } else { id.name.trim_end_matches('/') };
            let location = id.location.as_ref().unwrap_or(&self.home);
            aliases.push(Resource::Parameter(arn(location, name)));
            aliases.push(Resource::parameter(name));
            aliases.extend(self.find(&id).map(|parameter| Resource::parameter(&parameter.name)));
        }
        aliases.push(Resource::parameter(text));
        aliases
    }

    /// Returns the key under which the store keeps a parameter: its account, region and unique
    /// name.
    fn key(&self, id: &ParameterId<'_>) -> (Location, String) {
        let mut location = id.location.clone().unwrap_or_else(|| self.home.clone());
        if location.account.is_empty() {
            location.account.clone_from(&self.home.account);
        }
        (location, unique_name(id.name).to_owned())
    }
}

/// Returns the name without the slash at the beginning if the name has one level. `url` and `/url`
/// are the same parameter, because their ARNs are equal.
fn unique_name(name: &str) -> &str {
    name.strip_prefix('/').filter(|rest| !rest.contains('/')).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn store(names: &[&str]) -> Store {
        let mut store = Store::new(Location::default());
        for name in names {
            put(&mut store, &Location::default(), name);
        }
        store
    }

    fn put(store: &mut Store, location: &Location, name: &str) {
        store
            .put(location, name, "x".into(), "text", NOW)
            .expect("storing the parameter must succeed");
    }

    #[test]
    fn applying_a_seed_reports_the_changes() {
        let seed = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).into())).collect()
        };
        let mut store = store(&["/own"]);
        let first = store.apply(&seed(&[("/a", "1"), ("/b", "1"), ("/c", "1")]), NOW);
        assert_eq!(first.created, ["ssm:/a", "ssm:/b", "ssm:/c"]);
        let second = store.apply(&seed(&[("/a", "1"), ("/b", "2"), ("/d", "1")]), NOW);
        assert_eq!(second.unchanged, ["ssm:/a"]);
        assert_eq!(second.updated, ["ssm:/b"]);
        assert_eq!(second.removed, ["ssm:/c"]);
        assert_eq!(second.created, ["ssm:/d"]);
        check(&store, "/own", Some("/own"));
        check(&store, "/c", None);
    }

    #[track_caller]
    fn check(store: &Store, text: &str, name: Option<&str>) {
        let id = ParameterId::parse(text).expect("the name must be valid");
        assert_eq!(store.find(&id).ok().map(|it| it.name.as_str()), name, "{text}");
    }

    #[test]
    fn parameter_is_found_by_name_and_arn() {
        let mut store = store(&["/app/url", "flat", "/aws/service/list/regions"]);
        put(&mut store, &Location::new("999988887777", "us-east-1"), "/app/theirs");
        let home = "arn:aws:ssm:eu-north-1:123456789012:parameter";
        check(&store, "/app/url", Some("/app/url"));
        check(&store, &format!("{home}/app/url:1"), Some("/app/url"));
        check(&store, "flat", Some("flat"));
        check(&store, "/flat", Some("flat"));
        check(&store, &format!("{home}/flat"), Some("flat"));
        let public = "/aws/service/list/regions";
        check(&store, public, Some(public));
        check(&store, &format!("arn:aws:ssm:eu-north-1::parameter{public}"), Some(public));
        let theirs = "arn:aws:ssm:us-east-1:999988887777:parameter/app/theirs";
        check(&store, theirs, Some("/app/theirs"));
        check(&store, "/app/theirs", None);
        check(&store, "/app", None);
    }

    #[test]
    fn each_stored_value_has_its_own_number() {
        let mut store = store(&["/a"]);
        let id = ParameterId::parse("/a").expect("the name must be valid");
        let removed = store.remove(&id).expect("the parameter must exist");
        put(&mut store, &Location::default(), "/a");
        let again = store.find(&id).expect("the parameter must exist");
        assert_eq!((removed.latest().number, again.latest().number), (1, 1));
        assert_ne!(removed.latest().content.write, again.latest().content.write);
    }

    #[test]
    fn first_alias_is_the_arn() {
        let store = store(&["flat"]);
        let arn = "arn:aws:ssm:eu-north-1:123456789012:parameter";
        let check = |text: &str, expected: &[&str]| {
            let expected: Vec<_> = expected.iter().copied().map(Resource::parameter).collect();
            assert_eq!(store.aliases(text), expected, "{text}");
        };
        check("/flat:3", &[&format!("{arn}/flat"), "/flat", "flat", "/flat:3"]);
        check("/app/", &[&format!("{arn}/app"), "/app", "/app/"]);
        check("/", &[&format!("{arn}/"), "/", "/"]);
        check("a b", &["a b"]);
    }
}

//! Fetches the parameters that the keys of the cache name.

use super::{Parameter, ParameterStore, Parameters};
use crate::secret::arn::Arn;
use crate::secret::key::Key;
use crate::secret::parameter_path::ParameterPath;
use crate::secret::reference::SecretId;
use crate::secret::selector::Selector;
use crate::secret::version::{self, Content, Details, Version};
use crate::source::aws::aws_error;
use crate::source::{BatchResult, FetchError};
use serde_json::value::RawValue;

impl ParameterStore {
    /// Fetches the parameter that `key` names, or all parameters under the path that `key` names.
    pub(in crate::source::aws) async fn fetch(&self, key: &Key) -> Result<Version, FetchError> {
        get(self, key).await
    }

    /// Fetches several parameters of one AWS region with one call. The results have the same order
    /// as `keys`.
    pub(in crate::source::aws) async fn fetch_batch(
        &self,
        keys: &[Key],
    ) -> Result<Vec<BatchResult>, FetchError> {
        get_many(self, keys).await
    }
}

async fn get(store: &ParameterStore, key: &Key) -> Result<Version, FetchError> {
    let with_decryption = !key.selector.is_encrypted();
    if let SecretId::Path(path) = &key.id {
        return by_path(store, path, with_decryption).await;
    }
    let name = requested_name(key);
    store.get(&name, with_decryption, key.id.region()).await.map(Version::from)
}

/// Fetches several parameters of one AWS region with one call. The results have the same order as
/// `keys`.
///
/// If AWS finds no parameter for a name with a version or label, the result is `None`, because AWS
/// does not say whether the parameter exists.
async fn get_many(store: &ParameterStore, keys: &[Key]) -> Result<Vec<BatchResult>, FetchError> {
    let Some(first) = keys.first() else { return Ok(Vec::new()) };
    let names: Vec<String> = keys.iter().map(requested_name).collect();
    let with_decryption = !first.selector.is_encrypted();
    let region = first.id.region();
    let Parameters { found, invalid } = store.get_many(&names, with_decryption, region).await?;
    let result = |(key, name): (&Key, &String)| {
        let wanted = found.iter().find(|parameter| is_wanted(parameter, key));
        match wanted {
            Some(parameter) => Some(Ok(Version::from(parameter.clone()))),
            None if !key.selector.is_current() => None,
            None if invalid.iter().any(|own| **own == **name) => Some(Err(store.not_found(region))),
            None => Some(Err(unmentioned())),
        }
    };
    Ok(keys.iter().zip(&names).map(result).collect())
}

/// Returns the error for a requested parameter that the answer to `GetParameters` does not mention.
fn unmentioned() -> FetchError {
    let message = "the answer to GetParameters does not contain this parameter";
    let advice =
        "check SIDEKEY_SSM_ENDPOINT, SIDEKEY_ENDPOINT and the proxies between Sidekey and AWS";
    FetchError { advice: Some(advice.into()), ..aws_error::unreadable(message) }
}

async fn by_path(
    store: &ParameterStore,
    path: &ParameterPath,
    with_decryption: bool,
) -> Result<Version, FetchError> {
    // The text is valid JSON, because the agent's HTTP server wrote it from a parsed value.
    let filters = path.filters().and_then(|text| RawValue::from_string(text.to_owned()).ok());
    let filters = filters.as_deref();
    let found = store.by_path(path.path(), path.is_recursive(), with_decryption, filters, None);
    let parameters = found.await?.into_iter().map(Version::from).collect();
    Ok(Version::of_path(path, parameters))
}

/// Returns the name or ARN of a parameter with its version or label, such as `/app/url:3`.
fn requested_name(key: &Key) -> String {
    let id = key.id.aws_id();
    match selector(&key.selector) {
        Some(selector) => format!("{id}:{selector}"),
        None => id.to_owned(),
    }
}

fn selector(selector: &Selector) -> Option<&str> {
    selector.version().or_else(|| selector.stage())
}

fn is_wanted(parameter: &Parameter, key: &Key) -> bool {
    let answered = parameter.selector.as_deref().map(|selector| selector.trim_start_matches(':'));
    answered == selector(&key.selector)
        && Arn::parse(&parameter.arn).is_ok_and(|arn| key.id.means(&arn, &parameter.name))
}

impl From<Parameter> for Version {
    fn from(parameter: Parameter) -> Self {
        Self {
            arn: parameter.arn,
            name: parameter.name,
            id: parameter.version.to_string().into(),
            created: parameter.last_modified,
            content: Content::Text(parameter.value),
            details: Details::Parameter(version::Parameter {
                number: parameter.version,
                kind: parameter.kind,
                data_type: parameter.data_type,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::reference::Reference;
    use crate::secret::value::SecretValue;
    use crate::secret::version::ParameterKind;

    fn key(text: &str) -> Key {
        let Reference { id, selector, .. } =
            Reference::parse(text).expect("the name must be valid");
        Key::own(id, selector)
    }

    #[test]
    fn name_is_sent_without_the_prefix_and_with_the_version_or_label() {
        const ARN: &str = "arn:aws:ssm:eu-north-1:123456789012:parameter/app/url";
        for (text, expected) in [
            ("ssm:/app/url", "/app/url"),
            ("ssm:/app/url:3", "/app/url:3"),
            ("ssm:url:live", "url:live"),
            (ARN, ARN),
            (&format!("{ARN}:live"), &format!("{ARN}:live")),
        ] {
            assert_eq!(requested_name(&key(text)), expected, "{text}");
        }
    }

    #[test]
    fn answer_belongs_to_the_name_and_selector_that_was_asked_for() {
        for (text, name, selector, expected) in [
            ("ssm:/app/url", "/app/url", None, true),
            ("ssm:/app/url", "/app/other", None, false),
            ("ssm:/app/url", "/app/url", Some(":3"), false),
            ("ssm:/app/url:3", "/app/url", Some(":3"), true),
            ("ssm:/app/url:live", "/app/url", Some(":3"), false),
        ] {
            let parameter = Parameter {
                arn: format!("arn:aws:ssm:eu-north-1:123456789012:parameter{name}").into(),
                name: name.into(),
                kind: ParameterKind::String,
                version: 3,
                data_type: None,
                last_modified: None,
                selector: selector.map(Into::into),
                value: SecretValue::from(String::new()),
            };
            assert_eq!(is_wanted(&parameter, &key(text)), expected, "{text} {name} {selector:?}");
        }
    }
}

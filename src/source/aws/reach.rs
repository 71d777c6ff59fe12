//! Reads secrets and parameters with one set of AWS credentials: the agent's own credentials, or
//! those of an assumed role.

use super::account::Account;
use super::endpoint::Endpoint;
use super::http::{self, Timeouts};
use super::parameter_store::ParameterStore;
use super::secrets_manager::{Rotation, SecretsManager};
use crate::clock::Clock;
use crate::secret::key::Key;
use crate::secret::reference::SecretId;
use crate::secret::secret_pattern::SecretPattern;
use crate::secret::service::Service;
use crate::secret::version::Version;
use crate::source::{BatchResult, FetchError, FoundPage};
use std::sync::Arc;
use std::time::Duration;

/// What the clients of Secrets Manager and Parameter Store need in addition to AWS credentials.
#[derive(Clone)]
pub(super) struct Means {
    pub(super) http: http::Client,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) endpoint: Option<Endpoint>,
    /// The URL that the agent calls for Parameter Store. If `None`, the agent uses `endpoint`.
    pub(super) parameter_store_endpoint: Option<Endpoint>,
    /// The maximum time for one attempt to call Secrets Manager.
    pub(super) attempt_timeout: Duration,
    pub(super) parameter_store_timeouts: Timeouts,
    /// The name of the variable that sets `parameter_store_timeouts`. Error messages contain it.
    pub(super) parameter_store_timeout_setting: &'static str,
}

/// The clients of Secrets Manager and Parameter Store with the AWS credentials of one account.
pub(super) struct Reach {
    pub(super) account: Arc<Account>,
    secrets_manager: SecretsManager,
    parameter_store: ParameterStore,
    attempt_timeout: Duration,
}

impl Reach {
    /// Creates the clients. They open connections only when they are first used.
    pub(super) fn new(account: Arc<Account>, means: &Means) -> Self {
        let means = means.clone();
        let parameter_store = ParameterStore::new(
            account.clone(),
            means.http.clone(),
            means.clock.clone(),
            means.parameter_store_endpoint.or_else(|| means.endpoint.clone()),
            means.parameter_store_timeouts,
            means.parameter_store_timeout_setting,
        );
        Self {
            parameter_store,
            attempt_timeout: means.attempt_timeout,
            secrets_manager: SecretsManager::new(
                account.clone(),
                means.http,
                means.clock,
                means.endpoint,
                Timeouts::for_attempt(means.attempt_timeout),
            ),
            account,
        }
    }

    pub(super) fn deadline(&self, id: &SecretId) -> Duration {
        match (id, id.service()) {
            (SecretId::Path(_), _) => self.parameter_store.deadline_by_path(),
            (_, Service::ParameterStore) => self.parameter_store.deadline(),
            (_, Service::SecretsManager) => self.secrets_manager_deadline(),
        }
    }

    /// Returns the maximum duration of one call to Secrets Manager, including an attempt to get AWS
    /// credentials before the call.
    pub(super) fn secrets_manager_deadline(&self) -> Duration {
        self.account.session.timeout() + self.attempt_timeout
    }

    pub(super) async fn fetch(&self, key: &Key) -> Result<Version, FetchError> {
        match key.id.service() {
            Service::SecretsManager => self.secrets_manager.get(key).await,
            Service::ParameterStore => self.parameter_store.fetch(key).await,
        }
    }

    /// Fetches a secret in `region`, which is not the agent's own region.
    pub(super) async fn fetch_in(&self, region: &str, key: &Key) -> Result<Version, FetchError> {
        self.secrets_manager.get_in(region, key).await
    }

    pub(super) async fn fetch_batch(&self, keys: &[Key]) -> Result<Vec<BatchResult>, FetchError> {
        match keys.first().map(|key| key.id.service()) {
            Some(Service::ParameterStore) => self.parameter_store.fetch_batch(keys).await,
            _ => self.secrets_manager.batch(keys).await,
        }
    }

    /// Finds secrets that match `pattern`, with one call.
    pub(super) async fn find(
        &self,
        pattern: &SecretPattern,
        page: Option<&str>,
    ) -> Result<FoundPage, FetchError> {
        self.secrets_manager.find(pattern, page).await
    }

    pub(super) async fn rotation(&self, id: &SecretId) -> Result<Rotation, FetchError> {
        self.secrets_manager.rotation(id).await
    }

    #[cfg(test)]
    pub(super) fn parameter_store(&self) -> &ParameterStore {
        &self.parameter_store
    }
}

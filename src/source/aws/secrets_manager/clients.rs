//! Creates and caches the clients of the AWS SDK, one for each AWS region.

use crate::secret::arn::{Arn, partition_of};
use crate::secret::reference::SecretId;
use crate::source::FetchError;
use crate::source::aws::account::{Account, wrong_region};
use crate::source::aws::endpoint::Endpoint;
use crate::source::aws::public_endpoint::{SECRETS_MANAGER, public_url};
use aws_config::{Region, SdkConfig};
use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::config::Builder;
use aws_types::sdk_ua_metadata::FrameworkMetadata;
use std::sync::{Arc, Mutex};

/// The maximum number of cached AWS SDK clients for regions other than the agent's own region.
/// Without a limit, requests for ARNs of invented regions could fill the memory.
pub(crate) const REGIONS_MAX: usize = 8;

pub(super) struct Clients {
    account: Arc<Account>,
    endpoint: Option<Endpoint>,
    home: Client,
    /// The AWS SDK clients for regions other than the agent's own region, each with the name of its
    /// region. The least recently used client is first.
    other_regions: Mutex<Vec<(Box<str>, Client)>>,
}

impl Clients {
    /// Creates the AWS SDK client for the region of `account`. A client for another region is
    /// created when a call first needs it.
    pub(super) fn new(account: Arc<Account>, endpoint: Option<Endpoint>) -> Self {
        let region = &account.region;
        let url = endpoint.as_ref().map(|endpoint| endpoint.for_home_region(region));
        let home = client(&account.sdk_config, region, url);
        let other_regions = Mutex::default();
        Self { account, endpoint, home, other_regions }
    }

    /// Returns the URL that a call to the AWS region `region` uses, for error messages. If no
    /// custom endpoint is set, this is the URL of AWS's public endpoint.
    pub(super) fn url(&self, region: &str) -> String {
        let endpoint = self.endpoint.as_ref();
        endpoint
            .and_then(|endpoint| endpoint.for_region(region, &self.account.region))
            .unwrap_or_else(|| public_url(SECRETS_MANAGER, region, self.account.variant()))
    }

    /// Returns the AWS SDK client for the region in Sidekey's configuration.
    pub(super) fn home(&self) -> &Client {
        &self.home
    }

    /// Returns the AWS SDK client for the region of the secret `id`. If `id` is a name and not an
    /// ARN, this is the region in Sidekey's configuration. Returns an error if the configuration
    /// does not allow other regions, or if the region in the ARN is invalid.
    pub(super) fn for_secret(&self, id: &SecretId) -> Result<Client, FetchError> {
        let arn = match id {
            SecretId::Arn(arn) if arn.region() != &*self.account.region => arn,
            _ => return Ok(self.home.clone()),
        };
        self.check_other_region(arn)?;
        Ok(self.for_other_region(arn.region()))
    }

    /// Returns the AWS SDK client for `region`, which is not the region in Sidekey's configuration.
    /// The caller must have checked that Sidekey may call this region.
    pub(super) fn for_other_region(&self, region: &str) -> Client {
        let mut clients = self
            .other_regions
            .lock()
            .expect("the lock is never poisoned, because no code panics while it holds the lock");
        let known = clients.iter().position(|(known, _)| **known == *region);
        let client = match known {
            Some(index) => clients.remove(index).1,
            None => {
                let endpoint = self.endpoint.as_ref();
                let url = endpoint.and_then(|endpoint| endpoint.for_other_region(region));
                client(&self.account.sdk_config, region, url)
            }
        };
        if clients.len() >= REGIONS_MAX {
            // Replacing a client is cheap, because a new client opens no connection. Callers that
            // send ARNs of many regions therefore do not slow down other callers.
            clients.remove(0);
        }
        clients.push((region.into(), client.clone()));
        client
    }

    fn check_other_region(&self, arn: &Arn) -> Result<(), FetchError> {
        self.account.check_region(arn.region(), "the secret")?;
        if partition_of(arn.region()) != arn.partition() {
            return Err(wrong_region(format!(
                "the ARN is invalid: region {} does not belong to partition {}",
                arn.region(),
                arn.partition()
            )));
        }
        Ok(())
    }
}

fn client(sdk_config: &SdkConfig, region: &str, endpoint: Option<String>) -> Client {
    let metadata = FrameworkMetadata::new("sidekey", Some(env!("CARGO_PKG_VERSION")))
        .expect("Sidekey's name and version contain only characters that the SDK allows");
    let mut config = Builder::from(sdk_config)
        .region(Region::new(region.to_owned()))
        .framework_metadata(metadata);
    // The endpoint is set even if it is `None`. Otherwise the SDK would use the endpoint in the AWS
    // profile, which is meant for the SDK of the application and not for the agent.
    config.set_endpoint_url(endpoint);
    Client::from_conf(config.build())
}

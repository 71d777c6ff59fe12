//! The clients of the AWS SDK, one for each region.

use super::endpoint::Endpoint;
use crate::secret::arn::{Arn, is_region, partition_of};
use crate::secret::reference::SecretId;
use crate::source::{FetchError, FetchErrorKind};
use aws_config::{Region, SdkConfig};
use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::config::Builder;
use aws_types::sdk_ua_metadata::FrameworkMetadata;
use std::sync::Mutex;

/// The maximum number of cached AWS SDK clients for regions other than the agent's own region.
/// Without a limit, callers could fill the memory with ARNs of invented regions.
pub(crate) const REGIONS_MAX: usize = 8;

pub(super) struct Clients {
    region: Box<str>,
    is_home_region_only: bool,
    endpoint: Option<Endpoint>,
    sdk_config: SdkConfig,
    home: Client,
    /// The clients for regions other than the agent's own region, each with the name of its region.
    /// The least recently used client is first.
    other_regions: Mutex<Vec<(Box<str>, Client)>>,
}

impl Clients {
    /// Creates the AWS SDK client for `region`, the region of Sidekey's own configuration. Clients
    /// for other regions are created when a call first needs them.
    pub(super) fn new(
        region: Box<str>,
        is_home_region_only: bool,
        endpoint: Option<Endpoint>,
        sdk_config: SdkConfig,
    ) -> Self {
        let url = endpoint.as_ref().map(|endpoint| endpoint.for_home_region(&region));
        let home = client(&sdk_config, &region, url);
        let other_regions = Mutex::default();
        Self { region, is_home_region_only, endpoint, sdk_config, home, other_regions }
    }

    pub(super) fn region(&self) -> &str {
        &self.region
    }

    pub(super) fn has_custom_endpoint(&self) -> bool {
        self.endpoint.is_some()
    }

    /// Returns the URL that a call to `region` uses, for messages. If no custom endpoint is set, this
    /// is the URL of AWS's public endpoint.
    pub(super) fn url(&self, region: &str) -> String {
        let custom = self.endpoint.as_ref().and_then(|endpoint| match *region == *self.region {
            true => Some(endpoint.for_home_region(region)),
            false => endpoint.for_other_region(region),
        });
        custom.unwrap_or_else(|| {
            let fips = if self.sdk_config.use_fips() == Some(true) { "-fips" } else { "" };
            let domain = match partition_of(region) {
                "aws-cn" => "amazonaws.com.cn",
                _ => "amazonaws.com",
            };
            format!("https://secretsmanager{fips}.{region}.{domain}")
        })
    }

    /// Returns the AWS SDK client for the region of Sidekey's own configuration.
    pub(super) fn home(&self) -> &Client {
        &self.home
    }

    /// Returns the AWS SDK client for the region of a secret. If `id` is a name and not an ARN, the
    /// secret belongs to the region of Sidekey's own configuration.
    ///
    /// # Errors
    ///
    /// Returns an error if the configuration does not allow other regions, or if the region in the
    /// ARN is invalid.
    pub(super) fn for_secret(&self, id: &SecretId) -> Result<Client, FetchError> {
        let arn = match id {
            SecretId::Arn(arn) if arn.region() != &*self.region => arn,
            _ => return Ok(self.home.clone()),
        };
        self.check_other_region(arn)?;
        let mut clients = self
            .other_regions
            .lock()
            .expect("the lock is never poisoned, because no code panics while it holds the lock");
        let known = clients.iter().position(|(region, _)| **region == *arn.region());
        let client = match known {
            Some(index) => clients.remove(index).1,
            None => {
                let endpoint = self.endpoint.as_ref();
                let url = endpoint.and_then(|endpoint| endpoint.for_other_region(arn.region()));
                client(&self.sdk_config, arn.region(), url)
            }
        };
        if clients.len() >= REGIONS_MAX {
            // Replacing a client is cheap, because a new client opens no connection. Callers that
            // send ARNs of many regions therefore do not slow down other callers.
            clients.remove(0);
        }
        clients.push((arn.region().into(), client.clone()));
        Ok(client)
    }

    fn check_other_region(&self, arn: &Arn) -> Result<(), FetchError> {
        if self.is_home_region_only {
            return Err(wrong_region(format!(
                "the secret is in region {}, but SIDEKEY_REGION_ONLY allows only region {}",
                arn.region(),
                self.region
            )));
        }
        if !is_region(arn.region()) || partition_of(arn.region()) != arn.partition() {
            return Err(wrong_region(format!(
                "the ARN is invalid: region {} does not belong to partition {}",
                arn.region(),
                arn.partition()
            )));
        }
        Ok(())
    }
}

fn wrong_region(message: String) -> FetchError {
    FetchError::new(FetchErrorKind::OtherRegion, "InvalidParameterException", message)
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

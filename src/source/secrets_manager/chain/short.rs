//! A search that knows two places: the environment itself, and the endpoint of a container. It is for a
//! build without the command line: a layer is loaded from cold, and STS, profiles and instance metadata,
//! which no function has, would make it larger.

use super::{Chain, app_name, behavior, given};
use aws_config::ecs::EcsCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::{Region, SdkConfig};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_secretsmanager::config::retry::RetryConfig;
use aws_sdk_secretsmanager::config::{IdentityCache, StalledStreamProtectionConfig};

/// Loads what the environment says.
#[expect(clippy::unused_async, reason = "the other search reads files")]
pub(super) async fn load(chain: &Chain) -> SdkConfig {
    let value = |name: &str| chain.environment.get(name).filter(|value| !value.is_empty());
    let is_on = |name: &str| value(name).is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let region = chain.region.as_ref().or_else(|| value("AWS_REGION"));
    let region = region.or_else(|| value("AWS_DEFAULT_REGION")).cloned();
    let credentials = match given(&chain.environment) {
        Some(given) => SharedCredentialsProvider::new(given),
        None => SharedCredentialsProvider::new(container(chain)),
    };
    SdkConfig::builder()
        .behavior_version(behavior())
        .region(region.map(Region::new))
        .credentials_provider(credentials)
        .http_client(chain.http.clone())
        .app_name(app_name())
        // One place decides on retries, and it is not this one.
        .retry_config(RetryConfig::disabled())
        .timeout_config(chain.timeouts.clone())
        // Made for long downloads; after a freeze it would see a stall where there was none.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        // `Session` is the cache.
        .identity_cache(IdentityCache::no_cache())
        .use_fips(is_on("AWS_USE_FIPS_ENDPOINT"))
        .use_dual_stack(is_on("AWS_USE_DUALSTACK_ENDPOINT"))
        .build()
}

/// The provider reads its variables, `AWS_CONTAINER_…`, from the process's environment by itself.
fn container(chain: &Chain) -> EcsCredentialsProvider {
    let config = ProviderConfig::without_region()
        .with_http_client(chain.http.clone())
        .with_retry_config(RetryConfig::disabled())
        .with_timeout_config(chain.timeouts.clone());
    EcsCredentialsProvider::builder().configure(&config).build()
}

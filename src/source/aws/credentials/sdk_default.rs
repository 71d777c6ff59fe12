//! Loads the configuration of the AWS SDK from all default sources of the AWS SDK.
//!
//! The sources are environment variables, profile files, web identity, container endpoint, instance
//! metadata and credential processes.

use super::credential_process::{self, CredentialProcess};
use super::found::Found;
use super::settings::{Settings, environment_credentials};
use crate::source::aws::aws_error::ProcessFailure;
use crate::source::aws::public_endpoint::Variant;
use aws_config::identity::IdentityCache;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion, ConfigLoader, Region, SdkConfig, profile};
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{self, ProvideCredentials, future};
use aws_runtime::env_config::file::{EnvConfigFileKind, EnvConfigFiles};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_types::os_shim_internal::{Env, Fs};
use std::fmt;
use std::time::Duration;

/// An environment variable that makes the AWS SDK of an application call Sidekey for every service.
/// The AWS SDK in the agent must ignore it. Otherwise the agent would call itself for credentials.
const IGNORED_VARIABLE: &str = "AWS_ENDPOINT_URL";

/// The name of an AWS profile that exists only in memory. The profile contains the credentials that
/// a `credential_process` printed, so that the AWS SDK can assume a role with these credentials.
const PROCESS_PROFILE: &str = "sidekey-credential-process";

/// Loads the region and the chain of credential providers from all default sources of the AWS SDK,
/// such as environment variables and profile files.
///
/// Sidekey runs a `credential_process` itself, because the AWS SDK never ends a program that hangs.
pub(super) async fn load(settings: &Settings) -> Found {
    let (config, timeout) = configuration(settings).await;
    let provider = config
        .credentials_provider()
        .expect("the AWS SDK configuration must contain a provider of credentials");
    Found {
        region: config.region().map(Region::to_string),
        variant: Variant {
            is_fips: config.use_fips() == Some(true),
            is_dual_stack: config.use_dual_stack() == Some(true),
        },
        provider,
        timeout,
    }
}

/// Returns the configuration of the AWS SDK, and the maximum time for getting AWS credentials with
/// this configuration.
async fn configuration(settings: &Settings) -> (SdkConfig, Duration) {
    let loader = loader(settings);
    let Some(process) = credential_process(settings).await else {
        return (loader.load().await, settings.timeouts.attempt);
    };
    // After the program, the SDK may call STS to assume a role.
    let timeout = settings.process_runner.timeout() + settings.timeouts.attempt;
    let settings = settings.clone();
    let loader = loader.credentials_provider(ProcessProvider { process, settings });
    (loader.load().await, timeout)
}

/// Returns the version of the AWS SDK's default settings. The version is fixed, so that an update
/// of the AWS SDK does not change the defaults.
fn behavior() -> BehaviorVersion {
    BehaviorVersion::v2026_01_12()
}

fn app_name() -> AppName {
    AppName::new("sidekey").expect("the AWS SDK must accept the app name `sidekey`")
}

/// Returns the `credential_process` that provides the AWS credentials, or `None` if the credentials
/// have another source. Reads the profile files only if the environment variables contain no
/// credentials.
async fn credential_process(settings: &Settings) -> Option<CredentialProcess> {
    if environment_credentials(&settings.environment).is_some() {
        return None;
    }
    // If the profile files are malformed, the SDK's own provider reports the error.
    let profiles =
        profile::load(&Fs::real(), &variables(settings), &EnvConfigFiles::default(), None).await;
    credential_process::find(&profiles.ok()?)
}

fn variables(settings: &Settings) -> Env {
    let variables: Vec<(&str, &str)> = settings
        .environment
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .filter(|(name, _)| *name != IGNORED_VARIABLE)
        .collect();
    Env::from_slice(&variables)
}

fn loader(settings: &Settings) -> ConfigLoader {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(settings.timeouts.connect)
        .operation_attempt_timeout(settings.timeouts.attempt)
        .build();
    let mut loader = aws_config::defaults(behavior())
        .env(variables(settings))
        .http_client(SharedHttpClient::from(&settings.http))
        .app_name(app_name())
        // The SDK must not retry failed calls, because Sidekey's cache decides about retries.
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts)
        // This protection is meant for long downloads. After Lambda has frozen the process, the
        // protection would report a stalled stream although no stream has stalled.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        // The SDK must not cache the credentials, because `Session` caches them.
        .identity_cache(IdentityCache::no_cache());
    if let Some(credentials) = environment_credentials(&settings.environment) {
        loader = loader.credentials_provider(credentials);
    }
    if let Some(region) = settings.region.clone() {
        loader = loader.region(Region::new(region));
    }
    loader
}

/// Provides the AWS credentials that a `credential_process` prints, or the credentials of a role
/// that the AWS SDK assumes with the printed credentials.
struct ProcessProvider {
    process: CredentialProcess,
    settings: Settings,
}

/// The `Debug` output omits the command of the `credential_process` and the settings, because both
/// may contain keys.
impl fmt::Debug for ProcessProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessProvider").finish_non_exhaustive()
    }
}

impl ProcessProvider {
    async fn credentials(&self) -> provider::Result {
        let run = self.settings.process_runner.run(&self.process.command).await;
        let printed = run.map_err(CredentialsError::provider_error)?;
        let Some(profile) = &self.process.role_profile else { return Ok(printed) };
        let files = with_process_profile(profile, &printed)
            .ok_or_else(|| CredentialsError::provider_error(ProcessFailure::Malformed))?;
        let config = loader(&self.settings).profile_files(files).load().await;
        let role = config
            .credentials_provider()
            .expect("the AWS SDK must set a provider of credentials in the loaded configuration");
        role.provide_credentials().await
    }
}

impl ProvideCredentials for ProcessProvider {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.credentials())
    }
}

/// Returns the AWS profile files, with a change in memory: the role of the profile `role_profile`
/// is assumed with the credentials `printed` by a `credential_process`. Returns `None` if these
/// credentials contain a character that is invalid in a profile file.
fn with_process_profile(role_profile: &str, printed: &Credentials) -> Option<EnvConfigFiles> {
    let mut text = vec![
        "[",
        role_profile,
        "]\nsource_profile = ",
        PROCESS_PROFILE,
        "\n[",
        PROCESS_PROFILE,
        "]\n",
    ];
    for (name, value) in [
        ("aws_access_key_id", Some(printed.access_key_id())),
        ("aws_secret_access_key", Some(printed.secret_access_key())),
        ("aws_session_token", printed.session_token()),
    ] {
        let Some(value) = value else { continue };
        if !value.bytes().all(|byte| byte.is_ascii_graphic()) {
            return None;
        }
        text.extend([name, " = ", value, "\n"]);
    }
    // `concat` allocates once, so that no copy of a key stays in freed memory.
    let files = EnvConfigFiles::builder()
        .include_default_config_file(true)
        .include_default_credentials_file(true)
        .with_contents(EnvConfigFileKind::Credentials, text.concat());
    Some(files.build())
}

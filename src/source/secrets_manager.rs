//! Secrets Manager through AWS's SDK: the only code that knows AWS.

mod chain;
mod endpoint;
mod failure;
mod http;
mod rotation;
mod session;

pub use endpoint::{BadEndpoint, Endpoint};
pub use http::{BadTrust, Trust};
pub use rotation::Rotation;

use chain::Chain;
use http::Idle;
use session::{Session, Signing};

use super::{FetchError, FetchErrorKind, Fetching, Source};
use crate::clock::Clock;
use crate::secret::arn::{Arn, is_region, partition_of};
use crate::secret::key::Key;
use crate::secret::reference::SecretId;
use crate::secret::value::SecretValue;
use crate::secret::version::{Content, Version};
use crate::tokens::{Renew, Tokens};
use aws_config::{Region, SdkConfig};
use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::config::SharedCredentialsProvider;
use aws_sdk_secretsmanager::config::timeout::TimeoutConfig;
use aws_sdk_secretsmanager::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_secretsmanager::operation::RequestId;
use aws_sdk_secretsmanager::types::SecretValueEntry;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_types::{Blob, DateTime};
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

/// How many regions' clients are kept. A caller's ARN can name any region.
pub const REGIONS_MAX: usize = 8;

/// The most time for a TCP and TLS handshake. The SDK's own default.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(3100);

/// How to reach Secrets Manager.
///
/// `Debug` names the variables and leaves their values out: keys and tokens are among them.
pub struct Config {
    /// The function's region; without one, what the SDK finds.
    pub region: Option<String>,
    /// Where to call instead of AWS's own endpoints.
    pub endpoint: Option<Endpoint>,
    /// Whether a secret of another region is refused.
    pub region_only: bool,
    /// The most time for one attempt, connecting included.
    pub attempt_timeout: Duration,
    /// The roots of trust.
    pub trust: Trust,
    /// The environment that the SDK reads.
    pub environment: BTreeMap<String, String>,
    /// Whether the process may be restored from a snapshot. Then credentials are got anew for each
    /// call, from the environment itself, and connections are used once.
    pub is_snapshot: bool,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("region", &self.region)
            .field("endpoint", &self.endpoint)
            .field("region_only", &self.region_only)
            .field("attempt_timeout", &self.attempt_timeout)
            .field("trust", &self.trust)
            .field("environment", &self.environment.keys())
            .field("is_snapshot", &self.is_snapshot)
            .finish()
    }
}

/// No region is known, so that a plain name means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no region is known: set SIDEKEY_REGION or AWS_REGION")]
pub struct NoRegion;

/// Secrets Manager.
///
/// `Debug` leaves the SDK's parts out: they print the environment that they were made from.
pub struct SecretsManager {
    region: Box<str>,
    region_only: bool,
    endpoint: Option<Endpoint>,
    deadline: Duration,
    session: Arc<Session>,
    shared: SdkConfig,
    home: Client,
    /// Clients of other regions than the function's, the one used last at the end.
    abroad: Mutex<Vec<(Box<str>, Client)>>,
}

impl fmt::Debug for SecretsManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretsManager")
            .field("region", &self.region)
            .field("region_only", &self.region_only)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

impl SecretsManager {
    /// Prepares the clients. Nothing is called but, outside Lambda, what the SDK asks to find its
    /// region. Session tokens of the credentials that are got later are noted in `tokens`. `own_ports`
    /// are the ports on loopback that the agent listens on, and so must never call.
    ///
    /// # Errors
    ///
    /// Where no region is known.
    pub async fn prepare(
        config: Config,
        own_ports: Vec<u16>,
        tokens: Arc<Tokens>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, NoRegion> {
        let attempt = config.attempt_timeout;
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT.min(attempt))
            .operation_attempt_timeout(attempt)
            .build();
        let idle = if config.is_snapshot { Idle::Closed } else { Idle::Kept };
        let http = http::client(config.trust, own_ports, idle, clock.clone());
        let (environment, region) = (config.environment, config.region);
        let mut chain = Chain { environment, region, http, timeouts };
        let loaded = chain.load().await;
        let region: Box<str> = loaded.region().ok_or(NoRegion)?.as_ref().into();
        chain.region = Some(region.to_string());
        let first = loaded.credentials_provider();
        let session =
            Arc::new(Session::new(chain, first, attempt, config.is_snapshot, clock, tokens));
        let signing = SharedCredentialsProvider::new(Signing(session.clone()));
        let shared = loaded.into_builder().credentials_provider(signing).build();
        let home = client(&shared, &region, config.endpoint.as_ref().map(|own| own.of(&region)));
        Ok(Self {
            region,
            region_only: config.region_only,
            endpoint: config.endpoint,
            // Before the attempt, credentials may have to be got.
            deadline: attempt * 2,
            session,
            shared,
            home,
            abroad: Mutex::default(),
        })
    }

    /// Returns the function's region.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// Returns the client of the region that `id` is in.
    fn client_of(&self, id: &SecretId) -> Result<Client, FetchError> {
        let arn = match id {
            SecretId::Arn(arn) if arn.region() != &*self.region => arn,
            _ => return Ok(self.home.clone()),
        };
        self.check_abroad(arn)?;
        let mut abroad = self.abroad.lock().expect("no holder panics");
        let known = abroad.iter().position(|(region, _)| **region == *arn.region());
        let client = match known {
            Some(at) => abroad.remove(at).1,
            None => {
                let endpoint = self.endpoint.as_ref().and_then(|own| own.abroad(arn.region()));
                client(&self.shared, arn.region(), endpoint)
            }
        };
        if abroad.len() >= REGIONS_MAX {
            // Whoever invents regions keeps nobody from a real one: a client is soon made again.
            abroad.remove(0);
        }
        abroad.push((arn.region().into(), client.clone()));
        Ok(client)
    }

    fn check_abroad(&self, arn: &Arn) -> Result<(), FetchError> {
        if self.region_only {
            let message = format!(
                "the secret is in region {}, and SIDEKEY_REGION_ONLY allows {} only",
                arn.region(),
                self.region
            );
            return Err(elsewhere(message));
        }
        if !is_region(arn.region()) || partition_of(arn.region()) != arn.partition() {
            let message =
                format!("region {} is not of partition {}", arn.region(), arn.partition());
            return Err(elsewhere(message));
        }
        Ok(())
    }

    /// Makes a call once there are credentials to sign it with, and notes where they are refused.
    async fn signed<T, E>(
        &self,
        call: Pin<&mut impl Future<Output = Result<T, SdkError<E, HttpResponse>>>>,
    ) -> Result<T, FetchError>
    where
        E: ProvideErrorMetadata + RequestId + Error + 'static,
    {
        let held = self.session.ready().await?;
        call.await.map_err(|error| {
            let error = failure::read(&error);
            if error.kind == FetchErrorKind::Credentials {
                held.refuse();
            }
            error
        })
    }

    async fn get(&self, key: &Key) -> Result<Version, FetchError> {
        let request = self
            .client_of(&key.id)?
            .get_secret_value()
            .secret_id(key.id.as_str())
            .set_version_stage(sent_stage(key))
            .set_version_id(key.selector.version().map(str::to_owned));
        let answer = self.signed(pin!(request.send())).await?;
        version(Parts {
            arn: answer.arn,
            name: answer.name,
            id: answer.version_id,
            labels: answer.version_stages,
            created: answer.created_date,
            text: answer.secret_string,
            binary: answer.secret_binary,
        })
    }

    async fn batch(&self, keys: &[Key]) -> Result<Vec<Result<Version, FetchError>>, FetchError> {
        let ids = keys.iter().map(|key| key.id.as_str().to_owned()).collect();
        let request = self.home.batch_get_secret_value().set_secret_id_list(Some(ids));
        let answer = self.signed(pin!(request.send())).await?;
        let values = answer.secret_values.unwrap_or_default().into_iter();
        let versions: Vec<Version> = values.filter_map(|value| from_batch(value).ok()).collect();
        let errors = answer.errors.unwrap_or_default();
        let of = |key: &Key| {
            if let Some(version) = versions.iter().find(|version| is_of(version, &key.id)) {
                return Ok(version.clone());
            }
            let id = Some(key.id.as_str());
            let error = errors.iter().find(|error| error.secret_id() == id);
            Err(error.map_or_else(failure::left_out, |error| {
                failure::of_code(error.error_code(), error.message(), None)
            }))
        };
        Ok(keys.iter().map(of).collect())
    }
}

impl Renew for SecretsManager {
    fn renew(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(self.session.renew())
    }
}

impl Source for SecretsManager {
    fn deadline(&self) -> Duration {
        self.deadline
    }

    fn fetch<'a>(&'a self, key: &'a Key) -> Fetching<'a, Version> {
        Box::pin(self.get(key))
    }

    fn fetch_batch<'a>(
        &'a self,
        keys: &'a [Key],
    ) -> Fetching<'a, Vec<Result<Version, FetchError>>> {
        Box::pin(self.batch(keys))
    }
}

fn client(shared: &SdkConfig, region: &str, endpoint: Option<String>) -> Client {
    let mut config = aws_sdk_secretsmanager::config::Builder::from(shared)
        .region(Region::new(region.to_owned()))
        .framework_metadata(
            aws_types::sdk_ua_metadata::FrameworkMetadata::new(
                "sidekey",
                Some(env!("CARGO_PKG_VERSION")),
            )
            .expect("a name and a version of plain characters"),
        );
    // Also where there is none: an endpoint in the profile is the function's, not ours.
    config.set_endpoint_url(endpoint);
    Client::from_conf(config.build())
}

/// Returns the stage to send: none for a plain read, which means the same and is what everybody
/// sends.
fn sent_stage(key: &Key) -> Option<String> {
    let stage = key.selector.stage().filter(|_| !key.selector.is_current());
    stage.map(str::to_owned)
}

/// What an answer says of one version.
struct Parts {
    arn: Option<String>,
    name: Option<String>,
    id: Option<String>,
    labels: Option<Vec<String>>,
    created: Option<DateTime>,
    text: Option<String>,
    binary: Option<Blob>,
}

fn from_batch(value: SecretValueEntry) -> Result<Version, FetchError> {
    version(Parts {
        arn: value.arn,
        name: value.name,
        id: value.version_id,
        labels: value.version_stages,
        created: value.created_date,
        text: value.secret_string,
        binary: value.secret_binary,
    })
}

fn version(parts: Parts) -> Result<Version, FetchError> {
    let content = match (parts.text, parts.binary) {
        (Some(text), _) => Content::Text(SecretValue::from(text)),
        (None, Some(binary)) => Content::Binary(SecretValue::new(binary.into_inner())),
        (None, None) => return Err(failure::unreadable("the answer has no value")),
    };
    let named = |part: Option<String>, what: &str| {
        part.map(String::into_boxed_str)
            .ok_or_else(|| failure::unreadable(&format!("the answer has no {what}")))
    };
    Ok(Version {
        arn: named(parts.arn, "ARN")?,
        name: named(parts.name, "name")?,
        id: named(parts.id, "version id")?,
        labels: parts.labels.unwrap_or_default().into_iter().map(String::into_boxed_str).collect(),
        created: parts.created.and_then(to_the_millisecond),
        content,
    })
}

/// Returns the time to the millisecond: what AWS sends, freed of the error of a floating number.
fn to_the_millisecond(time: DateTime) -> Option<SystemTime> {
    let millis = (time.as_nanos() + 500_000).div_euclid(1_000_000);
    let millis = u64::try_from(millis).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(millis))
}

/// Returns whether a batch's answer is the one for `id`. Which of its answers a partial ARN asked
/// for, the answer itself says: its ARN is the partial one, a hyphen and six characters.
fn is_of(version: &Version, id: &SecretId) -> bool {
    match id {
        SecretId::Name(name) => version.name == *name,
        SecretId::Arn(arn) => {
            *version.arn == *arn.as_str()
                || Arn::parse(&version.arn).is_ok_and(|full| {
                    full.as_str().starts_with(arn.as_str()) && *version.name == *arn.resource()
                })
        }
    }
}

fn elsewhere(message: String) -> FetchError {
    FetchError::new(FetchErrorKind::Abroad, "InvalidParameterException", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn creation_dates_are_whole_milliseconds() {
        let date = DateTime::from_secs_f64(1_569_534_789.046);
        let expected = SystemTime::UNIX_EPOCH + Duration::from_millis(1_569_534_789_046);
        assert_eq!(to_the_millisecond(date), Some(expected));
        assert_eq!(to_the_millisecond(DateTime::from_secs(-5)), None);
    }

    #[test]
    fn an_answer_without_value_is_unreadable_and_says_what_is_missing() {
        let parts = |text: Option<&str>, arn: Option<&str>| Parts {
            arn: arn.map(str::to_owned),
            name: Some("n".to_owned()),
            id: Some("v".to_owned()),
            labels: None,
            created: None,
            text: text.map(str::to_owned),
            binary: None,
        };
        for (parts, expected) in
            [(parts(None, Some("a")), "no value"), (parts(Some("x"), None), "no ARN")]
        {
            let error = version(parts).expect_err("unreadable");
            assert_eq!(error.kind, FetchErrorKind::Unreadable);
            assert!(error.message.contains(expected), "{error}");
        }
    }
}

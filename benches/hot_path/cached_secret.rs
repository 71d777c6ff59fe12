//! A cache that contains one secret, without a server.

use sidekey::cache::freshness::Policy;
use sidekey::cache::policies::Policies;
use sidekey::cache::{self, Cache, Config};
use sidekey::clock::SystemClock;
use sidekey::secret::key::Key;
use sidekey::secret::reference::SecretId;
use sidekey::secret::scope::{Home, Scope};
use sidekey::secret::selector::Selector;
use sidekey::secret::value::SecretValue;
use sidekey::secret::version::{AWSCURRENT, Content, Details, Version};
use sidekey::source::{BatchResult, FetchFuture, Source};
use sidekey::telemetry::metrics::Metrics;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const NAME: &str = "bench/secret";

/// A replacement for AWS, which returns the same version for every secret.
#[derive(Debug)]
struct Fixed;

impl Source for Fixed {
    fn deadline(&self, _key: &Key) -> Duration {
        Duration::from_secs(2)
    }

    fn fetch<'a>(&'a self, _key: &'a Key) -> FetchFuture<'a, Version> {
        Box::pin(async { Ok(version()) })
    }

    fn fetch_batch<'a>(&'a self, keys: &'a [Key]) -> FetchFuture<'a, Vec<BatchResult>> {
        Box::pin(async { Ok(keys.iter().map(|_| Some(Ok(version()))).collect()) })
    }
}

fn version() -> Version {
    Version {
        arn: "arn:aws:secretsmanager:eu-north-1:123456789012:secret:bench/secret-AbC123".into(),
        name: NAME.into(),
        id: "a1b2c3d4-5678-90ab-cdef-EXAMPLE11111".into(),
        details: Details::Secret { labels: vec![AWSCURRENT.into()] },
        created: None,
        content: Content::Text(SecretValue::from("of the bench".to_owned())),
    }
}

/// Creates a cache, and reads its only secret once.
pub(crate) fn cache() -> Cache {
    let config = Config {
        policies: Policies::new(
            Policy { ttl: Duration::from_secs(24 * 3600), ..Policy::default() },
            Vec::new(),
        ),
        reader_wait: Duration::from_secs(5),
        entries_max: 1000,
        bytes_max: usize::MAX,
        calls_max: 32,
        listed: Vec::new(),
        discovery: cache::discovery::Config::default(),
        scope: Scope::default(),
        conventions: Arc::default(),
        is_strict: false,
        use_only: None,
        is_snapshot: false,
        seed: Some(1),
    };
    let home = Home { region: "eu-north-1".into(), account: None };
    let (cache, _) = cache::open(
        config,
        home,
        Arc::new(Fixed),
        Arc::new(SystemClock::new()),
        Arc::new(Metrics::new()),
        TaskTracker::new(),
        CancellationToken::new(),
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("the tokio runtime must start");
    runtime.block_on(cache.read(key())).expect("the cache must receive the secret");
    cache
}

/// Returns the key of the cached secret.
pub(crate) fn key() -> Key {
    let id = SecretId::parse(NAME).expect("the name is valid");
    Key::own(id, Selector::current())
}

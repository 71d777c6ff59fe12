//! An agent that runs in the test process. As in production, environment variables configure the
//! agent.

use super::client::{Answer, Connection, get};
use super::clock::ManualClock;
use super::metrics::Metrics;
use super::with_timeout;
use fake_aws::Fake;
use sidekey::agent::{Agent, BindError, Listeners};
use sidekey::config::{self, Host, Loaded};
use sidekey::telemetry::metrics::Metrics as AgentMetrics;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// The token that the agents of these tests accept.
pub(crate) const TOKEN: &str = "token-of-these-tests";

/// The request header that carries the token.
pub(crate) const TOKEN_HEADER: (&str, &str) = ("X-Aws-Parameters-Secrets-Token", TOKEN);

/// The AWS region of the fake and of every agent.
pub(crate) const REGION: &str = "eu-north-1";

/// The environment variables and the clock for an agent that is not yet started.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    vars: BTreeMap<String, String>,
    clock: Arc<ManualClock>,
}

impl Setup {
    /// Returns the settings of an agent that calls `fake`.
    pub(crate) fn for_fake(fake: &Fake, clock: &Arc<ManualClock>) -> Self {
        Self::for_endpoint(&fake.url(), clock)
    }

    /// Returns the settings of an agent that calls the URL `endpoint` instead of AWS.
    ///
    /// All timeouts are 10 minutes, so that a slow machine cannot cause a failure. Tests of a
    /// timeout set their own value.
    pub(crate) fn for_endpoint(endpoint: &str, clock: &Arc<ManualClock>) -> Self {
        let setup = Self { vars: BTreeMap::new(), clock: clock.clone() };
        setup
            .with("SIDEKEY_PORT", 0)
            .with("SIDEKEY_ENDPOINT", endpoint)
            .with("SIDEKEY_REGION", REGION)
            .with("SIDEKEY_TOKEN", TOKEN)
            .with("SIDEKEY_READER_WAIT", "10m")
            .with("SIDEKEY_UPSTREAM_TIMEOUT", "10m")
            .with("SIDEKEY_PREFETCH_DEADLINE", "10m")
            .with("AWS_ACCESS_KEY_ID", "AKIATESTS")
            .with("AWS_SECRET_ACCESS_KEY", "secret-key-of-these-tests")
            .with("AWS_EC2_METADATA_DISABLED", "true")
    }

    pub(crate) fn with(mut self, name: &str, value: impl Display) -> Self {
        self.vars.insert(name.to_owned(), value.to_string());
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.vars.remove(name);
        self
    }

    pub(crate) fn vars(&self) -> &BTreeMap<String, String> {
        &self.vars
    }

    /// Reads the configuration from the environment variables.
    pub(crate) fn load(&self) -> Loaded {
        config::load(&self.vars, Host::Standalone)
    }

    /// Starts the agent and waits until the prefetch is complete.
    pub(crate) async fn start(self) -> Sidekey {
        let sidekey = self.launch().await;
        with_timeout("the prefetch", sidekey.agent.prefetched())
            .await
            .expect("the prefetch must report its outcome");
        sidekey
    }

    /// Starts the agent without waiting for the prefetch.
    pub(crate) async fn launch(self) -> Sidekey {
        self.try_launch().await.expect("the agent starts")
    }

    /// Starts the agent, or returns an error if the agent cannot listen.
    pub(crate) async fn try_launch(self) -> Result<Sidekey, BindError> {
        self.try_launch_with(Arc::default()).await
    }

    /// Starts an agent that counts in `metrics`.
    pub(crate) async fn launch_with(self, metrics: Arc<AgentMetrics>) -> Sidekey {
        self.try_launch_with(metrics).await.expect("the agent starts")
    }

    async fn try_launch_with(self, metrics: Arc<AgentMetrics>) -> Result<Sidekey, BindError> {
        let Loaded { config, mistakes, .. } = self.load();
        assert!(mistakes.is_empty(), "{mistakes}");
        let listeners = Listeners::bind(&config.listen).await?;
        let agent = Agent::start(listeners, config, metrics, self.clock.clone()).await;
        let agent = agent.expect("the configuration must contain a region");
        let address = agent.addresses()[0];
        Ok(Sidekey { agent, address, clock: self.clock })
    }
}

#[derive(Debug)]
pub(crate) struct Sidekey {
    pub(crate) agent: Agent,
    pub(crate) address: SocketAddr,
    pub(crate) clock: Arc<ManualClock>,
}

impl Sidekey {
    pub(crate) async fn connect(&self) -> Connection {
        Connection::open(self.address).await
    }

    /// Sends a GET request with the token on a new connection.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.connect().await.exchange(get(path, &[TOKEN_HEADER])).await
    }

    /// Reads a secret. `id` is inserted into the URL unchanged and may contain query parameters.
    pub(crate) async fn read(&self, id: &str) -> Answer {
        self.get(&read_path(id)).await
    }

    pub(crate) async fn metrics(&self) -> Metrics {
        let answer = self.connect().await.exchange(get("/metrics", &[])).await;
        assert_eq!(answer.status, 200);
        Metrics::parse(answer.text())
    }

    pub(crate) fn advance(&self, span: Duration) {
        self.clock.advance(span);
    }
}

/// Returns the URL path that reads the secret `id`.
pub(crate) fn read_path(id: &str) -> String {
    format!("/secretsmanager/get?secretId={id}")
}

/// Returns the HTTP request that reads the secret `id`.
pub(crate) fn read_request(id: &str) -> String {
    get(&read_path(id), &[TOKEN_HEADER])
}

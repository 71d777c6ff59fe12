//! An agent in this process, set up by variables as anywhere else.

use super::client::{Answer, Connection, get};
use super::clock::ManualClock;
use super::metrics::Metrics;
use super::soon;
use fake_aws::Fake;
use sidekey::agent::{Agent, BindError, Listeners};
use sidekey::config::{self, Host, Loaded};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// The token that readers show.
pub(crate) const TOKEN: &str = "token-of-these-tests";

/// The header in which they show it.
pub(crate) const TOKEN_HEADER: (&str, &str) = ("X-Aws-Parameters-Secrets-Token", TOKEN);

/// The region of the fake, and of every agent.
pub(crate) const REGION: &str = "eu-north-1";

/// The variables of an agent to be, and its clock.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    vars: BTreeMap<String, String>,
    clock: Arc<ManualClock>,
}

impl Setup {
    /// An agent in front of `fake`.
    pub(crate) fn of(fake: &Fake, clock: &Arc<ManualClock>) -> Self {
        Self::at(&fake.url(), clock)
    }

    /// An agent that calls `endpoint`.
    ///
    /// Its waits are so long that no machine is too slow for them; whoever tests a wait sets it.
    pub(crate) fn at(endpoint: &str, clock: &Arc<ManualClock>) -> Self {
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

    /// Sets a variable.
    pub(crate) fn with(mut self, name: &str, value: impl Display) -> Self {
        self.vars.insert(name.to_owned(), value.to_string());
        self
    }

    /// Leaves a variable out.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.vars.remove(name);
        self
    }

    /// The variables as they are.
    pub(crate) fn vars(&self) -> &BTreeMap<String, String> {
        &self.vars
    }

    /// Reads the configuration.
    pub(crate) fn load(&self) -> Loaded {
        config::load(&self.vars, Host::Standalone)
    }

    /// Starts the agent and waits until its prefetch is over.
    pub(crate) async fn start(self) -> Sidekey {
        let sidekey = self.launch().await;
        soon("the prefetch", sidekey.agent.prefetched()).await.expect("a report");
        sidekey
    }

    /// Starts the agent, whose prefetch goes on.
    pub(crate) async fn launch(self) -> Sidekey {
        self.try_launch().await.expect("an agent that starts")
    }

    /// Starts the agent, or says why it cannot listen.
    pub(crate) async fn try_launch(self) -> Result<Sidekey, BindError> {
        let Loaded { config, mistakes, .. } = self.load();
        assert!(mistakes.is_empty(), "{mistakes}");
        let metrics = Arc::new(sidekey::telemetry::metrics::Metrics::new());
        let listeners = Listeners::bind(&config.listen).await?;
        let agent = Agent::start(listeners, config, metrics, self.clock.clone()).await;
        let agent = agent.expect("a region is set");
        let address = agent.addresses()[0];
        Ok(Sidekey { agent, address, clock: self.clock })
    }
}

/// A running agent.
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

    /// Asks for a path with the token, on a connection of its own.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.connect().await.exchange(get(path, &[TOKEN_HEADER])).await
    }

    /// Reads a secret. What `id` says is sent as it is, parameters included.
    pub(crate) async fn read(&self, id: &str) -> Answer {
        self.get(&read_path(id)).await
    }

    pub(crate) async fn metrics(&self) -> Metrics {
        let answer = self.connect().await.exchange(get("/metrics", &[])).await;
        assert_eq!(answer.status, 200);
        Metrics::parse(answer.text())
    }

    /// Lets time pass.
    pub(crate) fn pass(&self, span: Duration) {
        self.clock.pass(span);
    }
}

/// Returns the path at which a secret is read.
pub(crate) fn read_path(id: &str) -> String {
    format!("/secretsmanager/get?secretId={id}")
}

/// Writes the request that reads a secret.
pub(crate) fn read_request(id: &str) -> String {
    get(&read_path(id), &[TOKEN_HEADER])
}

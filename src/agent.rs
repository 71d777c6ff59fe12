//! Builds an agent from its configuration, and runs the agent until it is stopped.

use crate::cache::prefetch::{self, Report};
use crate::cache::status::Status;
use crate::cache::{Writer, refresh};
use crate::clock::{Clock, within};
use crate::config::{ChosenDialect, Config, Mistakes, Prefetch};
use crate::descriptors::{self, Descriptors};
use crate::secret::scope::Home;
use crate::server::gate;
use crate::server::listener;
pub use crate::server::listener::{BindError, Listeners};
use crate::server::memory_budget::MemoryBudget;
use crate::server::renewal::Renewal;
use crate::server::resolving;
use crate::server::{Context, Server};
use crate::source::secrets_manager::{NoRegion, SecretsManager};
use crate::source::{Misconfigured, Source};
use crate::telemetry::log_limiter::LogLimiter;
use crate::telemetry::metrics::Metrics;
use crate::tokens::{Renew, Tokens};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The pause before a task that panicked is restarted. Without a pause, a task that panics
/// immediately would keep a CPU busy.
const RESTART_PAUSE: Duration = Duration::from_millis(100);

/// The maximum time that [`Agent::drain`] waits for background tasks to end after the agent has
/// aborted its calls to AWS.
pub const ABORT_MAX: Duration = Duration::from_millis(100);

/// A running agent, as `sidekey serve` and the Lambda extension use it.
#[derive(Debug)]
pub struct Agent {
    server: Arc<Server>,
    /// The reason for the format of the agent's responses, such as `SIDEKEY_DIALECT is set`.
    dialect_reason: String,
    addresses: Vec<SocketAddr>,
    prefetched: watch::Receiver<Option<Report>>,
    clock: Arc<dyn Clock>,
    /// The tasks that accept connections and answer callers.
    connections: TaskTracker,
    stop: CancellationToken,
    /// The tasks that call AWS, and the loop that schedules refreshes.
    upstream: TaskTracker,
    abort: CancellationToken,
}

impl Agent {
    /// Starts to serve at `listeners`, and to prefetch the secrets in `SIDEKEY_SECRETS`. If a
    /// caller reads such a secret during the prefetch, the caller waits for the prefetch's own call
    /// to AWS.
    ///
    /// # Errors
    ///
    /// Returns an error if neither the configuration nor the AWS SDK provides a region.
    pub async fn start(
        listeners: Listeners,
        config: Config,
        metrics: Arc<Metrics>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, NoRegion> {
        let tokens = Arc::new(Tokens::new(config.tokens));
        let bound = listeners.addresses().into_iter().chain(listeners.metrics_address());
        let source = SecretsManager::prepare(
            config.source,
            bound.map(|address| address.port()).collect(),
            tokens.clone(),
            clock.clone(),
        );
        let source = Arc::new(source.await?);
        let parts = Parts {
            tokens,
            metrics,
            clock,
            home: Home { region: source.region().into(), account: config.account },
            renew: Some(source.clone()),
            source,
            resolving: config.resolving,
            is_misconfigured: false,
        };
        Ok(Self::run(parts, listeners, config.cache, config.prefetch, config.dialect))
    }

    /// Starts an agent whose configuration has mistakes. This agent answers every read with a
    /// description of the mistakes, and never calls AWS.
    pub fn start_misconfigured(
        listeners: Listeners,
        config: Config,
        mistakes: &Mistakes,
        metrics: Arc<Metrics>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let parts = Parts {
            tokens: Arc::new(Tokens::new(config.tokens)),
            metrics,
            clock,
            home: Home { region: "".into(), account: None },
            renew: None,
            source: Arc::new(Misconfigured::new(&mistakes.to_string())),
            resolving: config.resolving,
            is_misconfigured: true,
        };
        let cache = crate::cache::Config { listed: Vec::new(), ..config.cache };
        Self::run(parts, listeners, cache, config.prefetch, config.dialect)
    }

    fn run(
        parts: Parts,
        listeners: Listeners,
        cache_config: crate::cache::Config,
        prefetch: Prefetch,
        ChosenDialect { dialect, reason: dialect_reason }: ChosenDialect,
    ) -> Self {
        let (connections, stop) = (TaskTracker::new(), CancellationToken::new());
        let (upstream, abort) = (TaskTracker::new(), CancellationToken::new());
        parts.metrics.announce_gate_refusals(&gate::REASONS);
        let (cache, writer) = crate::cache::open(
            cache_config,
            parts.home,
            parts.source,
            parts.clock.clone(),
            parts.metrics.clone(),
            upstream.clone(),
            abort.clone(),
        );
        let server = Arc::new(Server {
            context: Context {
                dialect,
                cache,
                metrics: parts.metrics,
                is_settled: AtomicBool::new(false),
                is_misconfigured: parts.is_misconfigured,
                refusals_logged: LogLimiter::default(),
                stop: stop.clone(),
            },
            tokens: parts.tokens,
            renewal: Renewal::new(parts.renew),
            resolving: parts.resolving,
            memory: MemoryBudget::default(),
        });
        let addresses = listeners.addresses();
        if listeners.is_v6_taken {
            tracing::warn!(
                "another process listens on [::1] at this port, so clients that resolve localhost \
                 to IPv6 (Go, Java) send their token to that process; stop that process, or make \
                 clients use http://127.0.0.1"
            );
        }
        listeners.serve(&server, &connections, &stop);
        let (report, prefetched) = watch::channel(None);
        let (begun, has_begun) = oneshot::channel();
        upstream.spawn(prefetch_once(server.clone(), writer.clone(), prefetch, begun, report));
        let refreshing =
            restarting(parts.clock.clone(), abort.clone(), move || refresh::run(writer.clone()));
        upstream.spawn(async {
            // The refresh loop must not start before the prefetch has started its calls: otherwise
            // the loop would fetch the same secrets by its own calls. The `await` fails if the
            // prefetch panicked; the loop then fetches these secrets itself.
            let _ = has_begun.await;
            refreshing.await;
        });
        Self {
            server,
            dialect_reason,
            addresses,
            prefetched,
            clock: parts.clock,
            connections,
            stop,
            upstream,
            abort,
        }
    }

    /// Returns the loopback addresses that the agent listens on.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Waits until each required secret in `SIDEKEY_SECRETS` was prefetched or its prefetch failed,
    /// but at most until the deadline of the prefetch. Returns `None` if the prefetch was aborted.
    pub async fn prefetched(&self) -> Option<Report> {
        let mut prefetched = self.prefetched.clone();
        // `wait_for` fails if the prefetch task ended without a report.
        let report = prefetched.wait_for(Option::is_some).await.ok()?;
        report.clone()
    }

    /// Returns the state of the cache and of every cached secret.
    pub fn status(&self) -> Status {
        self.server.context.cache.status()
    }

    /// Sets the AWS account that the Lambda function runs in.
    pub fn learn_account(&self, account: &str) {
        self.server.context.cache.learn_account(account);
    }

    /// Stops the agent. It accepts no more connections, answers open requests for at most `wait`,
    /// aborts its calls to AWS, and then waits for at most [`ABORT_MAX`] until its tasks have
    /// ended.
    pub async fn drain(self, wait: Duration) {
        self.stop.cancel();
        self.connections.close();
        if within(&*self.clock, wait, self.connections.wait()).await.is_none() {
            tracing::warn!(
                open = self.connections.len(),
                "the agent stops, although some callers still wait for a response"
            );
        }
        self.abort.cancel();
        self.upstream.close();
        let _ = within(&*self.clock, ABORT_MAX, self.upstream.wait()).await;
        tracing::info!("stopped");
    }
}

/// The parts of an agent that differ if the configuration has mistakes.
struct Parts {
    tokens: Arc<Tokens>,
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
    home: Home,
    source: Arc<dyn Source>,
    resolving: resolving::Config,
    renew: Option<Arc<dyn Renew>>,
    is_misconfigured: bool,
}

async fn prefetch_once(
    server: Arc<Server>,
    writer: Writer,
    prefetch: Prefetch,
    begun: oneshot::Sender<()>,
    done: watch::Sender<Option<Report>>,
) {
    let underway = prefetch::begin(&writer, prefetch.mode).await;
    // `send` fails if the agent was stopped in the meantime.
    let _ = begun.send(());
    let report = underway.settle(&writer, prefetch.deadline).await;
    server.context.metrics.prefetch_duration.set(report.took.as_secs_f64());
    server.context.is_settled.store(true, Ordering::Release);
    done.send_replace(Some(report));
}

/// Runs a task, and restarts the task whenever it panics.
async fn restarting<F, T>(clock: Arc<dyn Clock>, abort: CancellationToken, mut task: F)
where
    F: FnMut() -> T,
    T: Future<Output = ()> + Send + 'static,
{
    while !abort.is_cancelled() {
        match tokio::spawn(task()).await {
            Err(ended) if ended.is_panic() => clock.sleep(RESTART_PAUSE).await,
            _ => return,
        }
    }
}

/// Raises the process's limit of open files and sockets. If the limit is still too low, reduces the
/// maximum number of connections in `listen`, so that sockets remain for calls to AWS.
///
/// Must be called before the agent binds its addresses, because binding uses that maximum.
pub fn reserve_descriptors(listen: &mut listener::Config) {
    let Descriptors { limit, raised_from } = descriptors::raise();
    let limits = listen.limits.within(limit);
    if raised_from.is_some() || limits != listen.limits {
        tracing::info!(
            limit,
            raised_from,
            connections = limits.trusted,
            connections_without_token = limits.untrusted,
            connections_of_probes = limits.metrics,
            "the process may open only a limited number of files and sockets; Sidekey reserves \
             some of them for calls to AWS"
        );
    }
    listen.limits = limits;
}

/// Logs one line about the start of the agent and the result of the prefetch.
pub fn log_start(agent: &Agent, report: &Report) {
    let addresses: Vec<String> = agent.addresses.iter().map(SocketAddr::to_string).collect();
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        addresses = addresses.join(" "),
        dialect = agent.server.context.dialect.label(),
        dialect_because = agent.dialect_reason,
        prefetched = report.listed - report.missing.len(),
        listed = report.listed,
        settled = report.is_settled,
        took_ms = u64::try_from(report.took.as_millis()).unwrap_or(u64::MAX),
        "sidekey serves"
    );
}

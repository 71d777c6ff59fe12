//! Builds the agent from its configuration, and runs the agent until it is stopped.

pub mod reports;

use crate::cache::prefetch::{self, Report};
use crate::cache::status::Status;
use crate::cache::{Writer, refresh, search};
use crate::clock::{Clock, within};
use crate::config::{ChosenDialect, Config, Mistakes, Prefetch};
use crate::descriptors::{self, Descriptors};
use crate::outbound::{IdlePolicy, Outbound, Trust};
use crate::secret::role_rules::RoleRules;
use crate::secret::scope::Home;
use crate::server::calls::{self, Calls};
use crate::server::gate;
use crate::server::listener;
pub use crate::server::listener::{BindError, Listeners};
use crate::server::memory_budget::MemoryBudget;
use crate::server::renewal::Renewal;
use crate::server::resolving;
use crate::server::{Context, Server};
use crate::source::Source;
use crate::source::aws::{Aws, RegionError};
use crate::source::misconfigured::Misconfigured;
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

/// How long the agent waits before it restarts a background task that panicked. Without this pause,
/// a task that panics at its start would keep a CPU busy.
const RESTART_PAUSE: Duration = Duration::from_millis(100);

/// How long [`Agent::drain`] waits for the agent's background tasks to end, after it has aborted
/// the calls to AWS.
pub const ABORT_MAX: Duration = Duration::from_millis(100);

/// A running agent: an HTTP server with a cache of secrets, and the tasks that refresh these
/// secrets. `sidekey serve` and the Lambda extension each run one agent.
#[derive(Debug)]
pub struct Agent {
    server: Arc<Server>,
    dialect_reason: String,
    addresses: Vec<SocketAddr>,
    prefetched: watch::Receiver<Option<Report>>,
    clock: Arc<dyn Clock>,
    connections: TaskTracker,
    stop: CancellationToken,
    /// The tasks that call AWS, and the task that decides when to refresh cached secrets.
    upstream: TaskTracker,
    abort: CancellationToken,
}

impl Agent {
    /// Starts an agent that serves secrets at the addresses in `listeners`, and that begins to
    /// prefetch the secrets in `SIDEKEY_SECRETS`.
    ///
    /// # Errors
    ///
    /// Returns an error if neither the configuration nor the AWS SDK provides a valid AWS region.
    pub async fn start(
        listeners: Listeners,
        config: Config,
        metrics: Arc<Metrics>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, RegionError> {
        let tokens = Arc::new(Tokens::new(config.tokens));
        let bound = listeners.addresses().into_iter().chain(listeners.metrics_address());
        let source = Aws::prepare(
            config.source,
            bound.map(|address| address.port()).collect(),
            tokens.clone(),
            clock.clone(),
        );
        let source = Arc::new(source.await?);
        if let Some(nearest) = source.nearest_region_if_unknown() {
            let region = source.region();
            tracing::warn!(
                region,
                "the region is not a known region of AWS, so calls to AWS will probably fail; did you \
                 mean {nearest}? Check SIDEKEY_REGION and AWS_REGION"
            );
        }
        let parts = Parts {
            tokens,
            metrics,
            clock,
            home: Home { region: source.region().into(), account: config.account },
            renew: Some(source.clone()),
            outbound: source.outbound().clone(),
            source,
            role_rules: config.role_rules,
            resolving: config.resolving,
            calls: config.calls,
            is_misconfigured: false,
        };
        Ok(Self::run(parts, listeners, config.cache, config.prefetch, config.dialect))
    }

    /// Starts an agent whose configuration has mistakes. This agent never calls AWS, and answers
    /// every read of a secret with a description of the mistakes.
    ///
    /// The Lambda extension uses such an agent, because Lambda would end the environment of the
    /// function if the extension exited.
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
            // No call is ever made, because no secret can be read.
            outbound: Arc::new(Outbound::new(
                Trust::default(),
                Vec::new(),
                IdlePolicy::Close,
                clock.clone(),
            )),
            clock,
            home: Home { region: "".into(), account: None },
            renew: None,
            source: Arc::new(Misconfigured::new(&mistakes.to_string())),
            role_rules: config.role_rules,
            resolving: config.resolving,
            calls: config.calls,
            is_misconfigured: true,
        };
        let (listed, discovery) = Default::default();
        let cache = crate::cache::Config { listed, discovery, ..config.cache };
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
        let addresses = listeners.addresses();
        let server = Arc::new(Server {
            context: Context {
                dialect,
                cache,
                role_rules: parts.role_rules,
                metrics: parts.metrics,
                is_settled: AtomicBool::new(false),
                is_misconfigured: parts.is_misconfigured,
                is_stopping: AtomicBool::new(false),
                refusals_logged: LogLimiter::default(),
                stop: stop.clone(),
            },
            tokens: parts.tokens,
            renewal: Renewal::new(parts.renew),
            resolving: parts.resolving,
            memory: MemoryBudget::default(),
            calls: Calls {
                config: parts.calls,
                outbound: parts.outbound,
                kept: Arc::default(),
                address: addresses.first().copied(),
            },
        });
        if listeners.is_v6_taken {
            tracing::warn!(
                "another process listens on [::1] at the agent's port, and clients that resolve \
                 localhost to IPv6 (as Go and Java do) send their token to that process; stop that \
                 process, or make clients use http://127.0.0.1"
            );
        }
        listeners.serve(&server, &connections, &stop);
        let (report, prefetched) = watch::channel(None);
        let (begun, has_begun) = oneshot::channel();
        upstream.spawn(prefetch_once(server.clone(), writer.clone(), prefetch, begun, report));
        if search::is_needed(&writer) {
            let writer = writer.clone();
            let searching = move || search::run(writer.clone());
            upstream.spawn(restarting(parts.clock.clone(), abort.clone(), searching));
        }
        let refreshing =
            restarting(parts.clock.clone(), abort.clone(), move || refresh::run(writer.clone()));
        upstream.spawn(async {
            // The refresh loop must start after the prefetch has started its calls. Otherwise the
            // loop would call AWS for the same secrets. The `await` fails if the prefetch
            // panicked. The loop then fetches these secrets itself.
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

    /// Returns the loopback addresses at which the agent accepts connections.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Waits until the prefetch of the secrets in `SIDEKEY_SECRETS` has ended, or until its time
    /// limit. Returns `None` if the prefetch was aborted.
    ///
    /// This function does not wait for the optional secrets: those for which a `[[policy]]` table
    /// in the configuration file sets `required = false`.
    pub async fn prefetched(&self) -> Option<Report> {
        let mut prefetched = self.prefetched.clone();
        // `wait_for` fails if the prefetch task ended without a report.
        let report = prefetched.wait_for(Option::is_some).await.ok()?;
        report.clone()
    }

    /// Returns the state of the cache, including the state of each cached secret.
    pub fn status(&self) -> Status {
        self.server.context.cache.status()
    }

    /// Tells the agent the id of the AWS account that owns the Lambda function.
    ///
    /// The agent needs the id for the name patterns in `SIDEKEY_ALLOW`, because such a pattern
    /// allows only the ARNs of this account.
    pub fn learn_account(&self, account: &str) {
        self.server.context.cache.learn_account(account);
    }

    /// Makes the agent answer requests for `/ready` with status 503, and then waits for `delay`.
    /// During this time the agent still serves secrets, because the program that uses the agent may
    /// need them.
    ///
    /// `sidekey serve` calls this method before [`Agent::drain`].
    pub async fn announce_stop(&self, delay: Duration) {
        self.server.context.is_stopping.store(true, Ordering::Release);
        if !delay.is_zero() {
            tracing::info!(
                ?delay,
                "the agent received a stop signal, and serves until SIDEKEY_DRAIN_DELAY has passed"
            );
            self.clock.sleep(delay).await;
        }
    }

    /// Stops the agent in three steps:
    ///
    /// 1. Refuses new connections, and waits for at most `wait` until open requests are answered.
    /// 2. Aborts the agent's calls to AWS.
    /// 3. Waits for at most [`ABORT_MAX`] until the background tasks have ended.
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

struct Parts {
    tokens: Arc<Tokens>,
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
    home: Home,
    source: Arc<dyn Source>,
    role_rules: RoleRules,
    resolving: resolving::Config,
    calls: calls::Config,
    outbound: Arc<Outbound>,
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
    if report.missing.iter().any(|missing| missing.is_required) {
        server.context.metrics.report_trouble();
    }
    done.send_replace(Some(report));
}

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
/// Call this function before the agent opens its ports.
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
            "the system lets the agent open only a limited number of files and sockets; the agent \
             accepts fewer connections of callers if it needs the sockets for calls to AWS"
        );
    }
    listen.limits = limits;
}

/// Logs one line with the agent's version and addresses, and with the result of the prefetch.
pub fn log_start(agent: &Agent, report: &Report) {
    let addresses: Vec<String> = agent.addresses.iter().map(SocketAddr::to_string).collect();
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        addresses = addresses.join(" "),
        dialect = agent.server.context.dialect.label(),
        dialect_because = agent.dialect_reason,
        prefetched = report.listed - report.missing.len(),
        listed = report.listed,
        found = report.found,
        settled = report.is_settled,
        took_ms = u64::try_from(report.took.as_millis()).unwrap_or(u64::MAX),
        "sidekey serves"
    );
}

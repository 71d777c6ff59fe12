//! Wires the rooms: a configuration becomes an agent, an agent runs until it is drained.

use crate::cache::prefetch::{self, Report};
use crate::cache::status::Status;
use crate::cache::{Cache, refresh};
use crate::clock::{Clock, within};
use crate::config::{ChosenDialect, Config, Mistakes, Prefetch};
use crate::descriptors::{self, Descriptors};
use crate::secret::scope::Home;
use crate::server::Server;
use crate::server::gate;
use crate::server::in_hand::InHand;
use crate::server::listener;
pub use crate::server::listener::{BindError, Listeners};
use crate::server::renewal::Renewal;
use crate::server::resolving;
use crate::source::secrets_manager::{NoRegion, SecretsManager};
use crate::source::{Misconfigured, Source};
use crate::telemetry::limited::Limited;
use crate::telemetry::metrics::Metrics;
use crate::tokens::{Renew, Tokens};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long a task that panicked rests before it is started again.
const RESTART_PAUSE: Duration = Duration::from_millis(100);

/// How long tasks may take to end once nobody is being answered any more.
pub const ABORT_MAX: Duration = Duration::from_millis(100);

/// A running agent: what its host, a command or a Lambda extension, sees of it.
#[derive(Debug)]
pub struct Agent {
    server: Arc<Server>,
    /// Why it speaks the dialect that it speaks.
    dialect_reason: String,
    addresses: Vec<SocketAddr>,
    prefetched: watch::Receiver<Option<Report>>,
    clock: Arc<dyn Clock>,
    /// Accepting, and answering readers.
    readers: TaskTracker,
    stop: CancellationToken,
    /// Flights, and the loop that plans them.
    upstream: TaskTracker,
    abort: CancellationToken,
}

impl Agent {
    /// Starts to serve at `listeners` and to prefetch. A reader who comes at once waits for the call
    /// that is already under way.
    ///
    /// # Errors
    ///
    /// Where no region is known.
    pub async fn start(
        listeners: Listeners,
        config: Config,
        metrics: Arc<Metrics>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, NoRegion> {
        let tokens = Arc::new(Tokens::new(config.tokens));
        let own = listeners.addresses().into_iter().chain(listeners.probes_address());
        let own_ports = own.map(|address| address.port()).collect();
        let source =
            SecretsManager::prepare(config.source, own_ports, tokens.clone(), clock.clone())
                .await?;
        let home = Home { region: source.region().into(), account: config.account };
        let source = Arc::new(source);
        let renew: Arc<dyn Renew> = source.clone();
        let resolving = config.resolving;
        let renew = Some(renew);
        let is_misconfigured = false;
        let parts =
            Parts { tokens, metrics, clock, home, source, resolving, renew, is_misconfigured };
        Ok(Self::run(parts, listeners, config.cache, config.prefetch, config.dialect))
    }

    /// Starts an agent whose configuration is mistaken: every read is answered with the mistakes,
    /// and nothing is fetched.
    pub fn start_misconfigured(
        listeners: Listeners,
        config: Config,
        mistakes: &Mistakes,
        metrics: Arc<Metrics>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let tokens = Arc::new(Tokens::new(config.tokens));
        let home = Home { region: "".into(), account: None };
        let source = Arc::new(Misconfigured::new(&mistakes.to_string()));
        let cache = crate::cache::Config { listed: Vec::new(), ..config.cache };
        let resolving = config.resolving;
        let renew = None;
        let is_misconfigured = true;
        let parts =
            Parts { tokens, metrics, clock, home, source, resolving, renew, is_misconfigured };
        Self::run(parts, listeners, cache, config.prefetch, config.dialect)
    }

    fn run(
        parts: Parts,
        listeners: Listeners,
        cache: crate::cache::Config,
        prefetch: Prefetch,
        dialect: ChosenDialect,
    ) -> Self {
        let (readers, stop) = (TaskTracker::new(), CancellationToken::new());
        let (upstream, abort) = (TaskTracker::new(), CancellationToken::new());
        parts.metrics.announce_gate_refusals(&gate::REASONS);
        let cache = Cache::new(
            cache,
            parts.home,
            parts.source,
            parts.clock.clone(),
            parts.metrics.clone(),
            upstream.clone(),
            abort.clone(),
        );
        let server = Arc::new(Server {
            dialect: dialect.dialect,
            cache: cache.clone(),
            resolving: parts.resolving,
            in_hand: InHand::default(),
            tokens: parts.tokens,
            renewal: Renewal::new(parts.renew),
            metrics: parts.metrics,
            is_settled: AtomicBool::new(false),
            is_misconfigured: parts.is_misconfigured,
            refusals_logged: Limited::default(),
            stop: stop.clone(),
        });
        let addresses = listeners.addresses();
        if listeners.is_v6_taken {
            tracing::warn!(
                "another process holds [::1] at this port: clients that ask localhost over IPv6 \
                 (Go, Java) send it their token; use http://127.0.0.1 or stop that process"
            );
        }
        listeners.serve(&server, &readers, &stop);
        let (report, prefetched) = watch::channel(None);
        let (begun, beginning) = oneshot::channel();
        upstream.spawn(prefetch_once(server.clone(), prefetch, begun, report));
        let refreshing =
            restarting(parts.clock.clone(), abort.clone(), move || refresh::run(cache.clone()));
        upstream.spawn(async {
            // An error means that the prefetch panicked: there is the more to make up for.
            let _ = beginning.await;
            refreshing.await;
        });
        Self {
            server,
            dialect_reason: dialect.reason,
            addresses,
            prefetched,
            clock: parts.clock,
            readers,
            stop,
            upstream,
            abort,
        }
    }

    /// Returns the loopback addresses at which one asks.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Waits until every required listed secret has been answered for, or the deadline has passed.
    pub async fn prefetched(&self) -> Option<Report> {
        let mut prefetched = self.prefetched.clone();
        // An error means that the task was given up: there is no report then.
        let report = prefetched.wait_for(Option::is_some).await.ok()?;
        report.clone()
    }

    /// Returns what is held, and how it stands.
    pub fn status(&self) -> Status {
        self.server.cache.status()
    }

    /// Lets it be known that the process was restored from a snapshot.
    pub fn restored(&self) {
        self.server.cache.restored();
    }

    /// Lets it be known which account the function runs in.
    pub fn learn_account(&self, account: &str) {
        self.server.cache.learn_account(account);
    }

    /// Stops: accepts nothing new, answers what is in hand for at most `wait`, gives up calls to
    /// upstream, and joins every task.
    pub async fn drain(self, wait: Duration) {
        self.stop.cancel();
        self.readers.close();
        if within(&*self.clock, wait, self.readers.wait()).await.is_none() {
            tracing::warn!(open = self.readers.len(), "gave up on readers that were still waiting");
        }
        self.abort.cancel();
        self.upstream.close();
        let _ = within(&*self.clock, ABORT_MAX, self.upstream.wait()).await;
        tracing::info!("stopped");
    }
}

/// What an agent is made of, whether its configuration is good or not.
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
    prefetch: Prefetch,
    begun: oneshot::Sender<()>,
    done: watch::Sender<Option<Report>>,
) {
    let underway = prefetch::begin(&server.cache, prefetch.mode).await;
    // Nobody hears it where the agent has been given up meanwhile.
    let _ = begun.send(());
    let report = underway.settle(&server.cache, prefetch.deadline).await;
    server.metrics.prefetch_duration.set(report.took.as_secs_f64());
    server.is_settled.store(true, Ordering::Release);
    done.send_replace(Some(report));
}

/// Runs a task, and starts it again where it panics.
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

/// Raises the limit of descriptors, and leaves some of them to calls to AWS: connections must not take
/// all. Comes before the addresses are bound.
pub fn leave_descriptors(listen: &mut listener::Config) {
    let Descriptors { limit, raised_from } = descriptors::raise();
    let room = listen.room.within(limit);
    if raised_from.is_some() || room != listen.room {
        tracing::info!(
            limit,
            raised_from,
            connections = room.kept,
            connections_without_token = room.waiting,
            connections_of_probes = room.probes,
            "open files and sockets are limited; some are left to calls to AWS"
        );
    }
    listen.room = room;
}

/// Logs the one line that says how the start went.
pub fn log_start(agent: &Agent, report: &Report) {
    let addresses: Vec<String> = agent.addresses.iter().map(SocketAddr::to_string).collect();
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        addresses = addresses.join(" "),
        dialect = agent.server.dialect.label(),
        dialect_because = agent.dialect_reason,
        prefetched = report.listed - report.missing.len(),
        listed = report.listed,
        settled = report.is_settled,
        took_ms = u64::try_from(report.took.as_millis()).unwrap_or(u64::MAX),
        "sidekey serves"
    );
}

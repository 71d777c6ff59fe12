//! Agents in trouble. Each scenario provokes certain alerts, with faults of the fake AWS server or
//! with requests that the agent refuses.

use super::prometheus::Prometheus;
use crate::port::Port;
use crate::support::agent::{Setup, Sidekey, TOKEN_HEADER, read_path, read_request};
use crate::support::client::{Connection, get};
use crate::support::clock::ManualClock;
use crate::support::metrics::Metrics;
use crate::support::program::Program;
use crate::support::{TempFolder, eventually, fake};
use fake_aws::{Fake, Fault, Match};
use rustix::process::Signal;
use sidekey::telemetry::{metrics, panics};
use std::any::Any;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// The TTL of all secrets in the scenarios.
const TTL: Duration = Duration::from_secs(60);

/// The parts of a scenario that must live until the test has seen the alerts.
type Alive = Box<dyn Any>;

/// A future that causes the trouble of a scenario.
type Provoking = Pin<Box<dyn Future<Output = Alive>>>;

/// A running agent, and the trouble that the test will cause.
pub(super) struct Scenario {
    pub(super) name: &'static str,
    pub(super) address: SocketAddr,
    /// The names of the alerts that must fire for this agent, in alphabetical order. No other alert
    /// may fire.
    pub(super) alerts: &'static [&'static str],
    pub(super) provoke: Box<dyn FnOnce(Arc<Prometheus>) -> Provoking>,
}

impl Scenario {
    fn new<F: Future<Output: 'static> + 'static>(
        name: &'static str,
        address: SocketAddr,
        alerts: &'static [&'static str],
        provoke: impl FnOnce(Arc<Prometheus>) -> F + 'static,
    ) -> Self {
        let provoke = |prometheus| -> Provoking {
            Box::pin(async { Box::new(provoke(prometheus).await) as Alive })
        };
        Self { name, address, alerts, provoke: Box::new(provoke) }
    }
}

/// Starts an agent for each scenario.
pub(super) async fn all() -> Vec<Scenario> {
    vec![
        healthy().await,
        outage().await,
        denied().await,
        throttled().await,
        expired_credentials().await,
        incomplete_prefetch().await,
        malformed_value().await,
        wrong_token().await,
        forged_requests().await,
        busy_connections().await,
        unreachable_service().await,
        small_cache().await,
        panic().await,
        stopped().await,
        restarts().await,
    ]
}

/// Starts a fake AWS server with the secrets `app/db` and `app/other`, and returns the settings of an
/// agent that prefetches the first.
async fn prepare() -> (Fake, Setup) {
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    for name in ["app/db", "app/other"] {
        fake.secrets().create(name, "hunter2").expect("the fake AWS server must create the secret");
    }
    let setup = Setup::for_fake(&fake, &clock)
        .with("SIDEKEY_SECRETS", "app/db")
        .with("SIDEKEY_TTL", format!("{}s", TTL.as_secs()));
    (fake, setup)
}

async fn start() -> (Fake, Sidekey) {
    let (fake, setup) = prepare().await;
    (fake, setup.start().await)
}

async fn healthy() -> Scenario {
    let (fake, sidekey) = start().await;
    Scenario::new("healthy", sidekey.address, &[], async |_| {
        for name in ["app/db", "app/other"] {
            assert_eq!(sidekey.read(name).await.value(), "hunter2");
        }
        (fake, sidekey)
    })
}

async fn outage() -> Scenario {
    let (fake, sidekey) = start().await;
    let alerts = &["SidekeyServesStaleValues", "SidekeyValuesOverdue"];
    Scenario::new("outage", sidekey.address, alerts, async |_| {
        assert_eq!(sidekey.read("app/db").await.cache(), "hit");
        fake.faults().always(Match::any(), Fault::InternalError);
        sidekey.advance(2 * TTL);
        assert_eq!(sidekey.read("app/db").await.cache(), "stale");
        // The first read may come before the failure of the refresh.
        eventually("the refresh fails", async || {
            sidekey.read("app/db").await;
            let series = "sidekey_stale_reads_total{reason=\"failing\"}";
            (sidekey.metrics().await.get(series) > 0.0).then_some(())
        })
        .await;
        (fake, sidekey)
    })
}

async fn denied() -> Scenario {
    let (fake, sidekey) = start().await;
    let alerts = &["SidekeyReadsFail", "SidekeyRefusedByIam"];
    Scenario::new("denied", sidekey.address, alerts, async |_| {
        fake.faults().deny_secret("app/other");
        assert_eq!(sidekey.read("app/other").await.kind(), "AccessDeniedException");
        (fake, sidekey)
    })
}

async fn throttled() -> Scenario {
    let (fake, sidekey) = start().await;
    let alerts = &["SidekeyReadsFail", "SidekeyThrottled"];
    Scenario::new("throttled", sidekey.address, alerts, async |_| {
        fake.faults().throttle_above(0);
        assert_eq!(sidekey.read("app/other").await.kind(), "ThrottlingException");
        (fake, sidekey)
    })
}

async fn expired_credentials() -> Scenario {
    let (fake, sidekey) = start().await;
    let alerts = &["SidekeyCredentialsFail", "SidekeyReadsFail"];
    Scenario::new("expired credentials", sidekey.address, alerts, async |_| {
        let kind = "ExpiredTokenException".to_owned();
        let fault = Fault::Error { status: 400, kind, message: "expired".to_owned() };
        fake.faults().always(Match::any(), fault);
        assert_eq!(sidekey.read("app/other").await.kind(), "ExpiredTokenException");
        (fake, sidekey)
    })
}

async fn incomplete_prefetch() -> Scenario {
    let (fake, setup) = prepare().await;
    let sidekey = setup.with("SIDEKEY_SECRETS", "app/db app/none").start().await;
    let alerts = &["SidekeySecretsMissing"];
    Scenario::new("incomplete prefetch", sidekey.address, alerts, async |_| (fake, sidekey))
}

async fn malformed_value() -> Scenario {
    let (fake, sidekey) = start().await;
    let alerts = &["SidekeyValuesMalformed"];
    Scenario::new("malformed value", sidekey.address, alerts, async |_| {
        let name = "openai-api-key/sms";
        let value = r#"{"ai_api_key":"PLACEHOLDER_SMS"}"#;
        fake.secrets().create(name, value).expect("the fake AWS server must create the secret");
        assert_eq!(sidekey.read(name).await.status, 200);
        (fake, sidekey)
    })
}

/// Several wrong tokens within a second also exceed the limit of log lines of one kind.
async fn wrong_token() -> Scenario {
    let (fake, sidekey) = start().await;
    let alerts = &["SidekeyLogLinesDropped", "SidekeyTokenRefused"];
    Scenario::new("wrong token", sidekey.address, alerts, async |_| {
        for _ in 0..3 {
            let request = get(&read_path("app/db"), &[(TOKEN_HEADER.0, "wrong")]);
            assert_eq!(sidekey.connect().await.exchange(request).await.status, 403);
        }
        (fake, sidekey)
    })
}

async fn forged_requests() -> Scenario {
    let (fake, sidekey) = start().await;
    let alerts = &["SidekeyForgedRequests"];
    Scenario::new("forged requests", sidekey.address, alerts, async |_| {
        let headers = [TOKEN_HEADER, ("Origin", "https://evil.example")];
        let answer = sidekey.connect().await.exchange(get(&read_path("app/db"), &headers)).await;
        assert_eq!(answer.status, 400);
        (fake, sidekey)
    })
}

async fn busy_connections() -> Scenario {
    let (fake, setup) = prepare().await;
    let sidekey = setup.with("SIDEKEY_MAX_CONNECTIONS", 1).start().await;
    let alerts = &["SidekeyConnectionsExhausted"];
    Scenario::new("busy connections", sidekey.address, alerts, async |_| {
        let mut busy = sidekey.connect().await;
        let read = busy.exchange(read_request("app/db")).await;
        let version = read.header("etag").expect("every response must contain a version");
        let path = read_path("app/db&wait=20");
        busy.send(get(&path, &[TOKEN_HEADER, ("If-None-Match", version)])).await;
        eventually("the agent refuses a connection", async || {
            (sidekey.read("app/db").await.status == 429).then_some(())
        })
        .await;
        (fake, sidekey, busy)
    })
}

/// The server of a route is not reachable.
async fn unreachable_service() -> Scenario {
    let (fake, setup) = prepare().await;
    let folder = TempFolder::new();
    let route = "[[route]]\nname = \"crm\"\nupstream = \"http://127.0.0.1:1\"\n\
                 secret = \"app/db\"\nbearer = \"#\"\n";
    let file = folder.write("sidekey.toml", route);
    let sidekey = setup.with("SIDEKEY_CONFIG", file.display()).start().await;
    Scenario::new("unreachable service", sidekey.address, &["SidekeyRouteCallsFail"], async |_| {
        assert_eq!(sidekey.get("/to/crm/x").await.kind(), "UpstreamException");
        (fake, sidekey)
    })
}

async fn small_cache() -> Scenario {
    let (fake, setup) = prepare().await;
    let sidekey = setup.without("SIDEKEY_SECRETS").with("SIDEKEY_CACHE_SIZE", 1).start().await;
    Scenario::new("small cache", sidekey.address, &["SidekeyCacheTooSmall"], async |_| {
        for name in ["app/db", "app/other"] {
            assert_eq!(sidekey.read(name).await.value(), "hunter2");
        }
        (fake, sidekey)
    })
}

/// No request and no answer of AWS is known to make an agent panic, so a thread of the test panics.
async fn panic() -> Scenario {
    let (fake, setup) = prepare().await;
    let metrics = Arc::new(metrics::Metrics::new());
    let sidekey = setup.launch_with(metrics.clone()).await;
    Scenario::new("panic", sidekey.address, &["SidekeyPanicked"], async |_| {
        panics::observe(metrics);
        let ended = std::thread::spawn(|| panic!("a panic that the agent counts")).join();
        // Restores the usual hook, which prints the panics of other tests.
        drop(std::panic::take_hook());
        assert!(ended.is_err(), "the thread must panic");
        (fake, sidekey)
    })
}

async fn stopped() -> Scenario {
    let (fake, sidekey) = start().await;
    Scenario::new("stopped", sidekey.address, &["SidekeyDown"], async |_| {
        sidekey.agent.drain(Duration::ZERO).await;
        fake
    })
}

/// A process that starts three times more at the same port.
async fn restarts() -> Scenario {
    let (fake, setup) = prepare().await;
    let port = Port::reserve();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port.number()));
    let setup = setup.with("SIDEKEY_PORT", port.number());
    let serve = move || Program::start(&["serve"], setup.vars());
    let first = serve();
    let mut started = start_time(address).await;
    Scenario::new("restarts", address, &["SidekeyRestarts"], async move |prometheus| {
        let mut program = first;
        for restarts in 1..=3 {
            let before = started;
            while started == before {
                program.signal(Signal::KILL);
                program.ended().await;
                program = serve();
                // The time has a resolution of up to a second.
                started = start_time(address).await;
            }
            let changes = "changes(process_start_time_seconds{instance=\"INSTANCE\"}[5m])";
            let changes = changes.replace("INSTANCE", &address.to_string());
            prometheus.until(&format!("{changes} >= {restarts}"), 1).await;
        }
        (fake, port, program)
    })
}

/// Waits until the agent at `address` answers, and returns the start time of its process.
async fn start_time(address: SocketAddr) -> u64 {
    eventually("the agent answers", async || {
        let socket = tokio::net::TcpStream::connect(address).await.ok()?;
        let page = Connection::from_socket(socket).exchange(get("/metrics", &[])).await;
        Some(Metrics::parse(page.text()).get("process_start_time_seconds").to_bits())
    })
    .await
}

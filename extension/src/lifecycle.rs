//! The life of an environment: bind, register, prefetch, serve, drain.
//!
//! Lambda takes the whole environment down when an extension exits before it is told to, even with
//! code 0. So nothing here ends the process but the shutdown event, and `SIDEKEY_ON_INIT_FAILURE`
//! where it says so.

use crate::api::{Api, ApiError, Event, Registered};
use sidekey::agent::{ABORT_MAX, Agent, BindError, Listeners, log_start, reserve_descriptors};
use sidekey::cache::prefetch::Report;
use sidekey::clock::{Clock, SystemClock};
use sidekey::config::vars::Vars;
use sidekey::config::{self, Host, Loaded, OnInitFailure};
use sidekey::hardening;
use sidekey::telemetry::metrics::Metrics;
use sidekey::telemetry::{log, panics};
use std::error::Error;
use std::future::pending;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// How long what is in hand may take at shutdown. Lambda leaves 2 s to everybody, and the function
/// has ended by then.
const DRAIN_MAX: Duration = Duration::from_millis(300);

/// Lambda's 2 s are for everybody: a quarter of them is enough for Sidekey.
const _: () =
    assert!(DRAIN_MAX.as_millis() + ABORT_MAX.as_millis() + log::FLUSH_MAX.as_millis() < 500);

/// How long to rest after a call of the API failed, before it is made again.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// The longest rest, which grows from [`RETRY_PAUSE`]: each failure is a line of a log that costs.
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(5);

/// How often registering is tried. Lambda waits for it with the function's start.
const REGISTER_TRIES_MAX: u32 = 5;

/// Where AWS's Parameters and Secrets Lambda Extension is, which wants the same port. Lambda knows an
/// extension by the name of its file.
const AWS_EXTENSION: &str = "/opt/extensions/AWSParametersAndSecretsLambdaExtension";

/// Explains itself to whoever runs the extension outside Lambda.
#[expect(clippy::print_stderr, reason = "there is nobody else to tell")]
pub(crate) fn not_on_lambda() -> ExitCode {
    eprintln!(
        "sidekey: this is the Lambda extension, and AWS_LAMBDA_RUNTIME_API is not set; \
         run `sidekey serve` outside Lambda"
    );
    ExitCode::from(2)
}

/// Lives until Lambda says shutdown.
pub(crate) async fn run(vars: &dyn Vars, authority: &str, name: &str) -> ExitCode {
    let mut loaded = config::load(vars, Host::Lambda);
    let metrics = Arc::new(Metrics::new());
    let _log = log::start(loaded.config.log, &metrics.log_lines_dropped);
    panics::observe(metrics.clone());
    if let Err(error) = hardening::harden() {
        tracing::warn!(%error, "the process could not be made undumpable");
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let on_init_failure = loaded.config.on_init_failure;
    reserve_descriptors(&mut loaded.config.listen);
    // The addresses are held before Lambda hears of us: it starts the function only afterwards, so
    // the function can never meet a refused connection.
    let listeners = Listeners::bind_possible(&loaded.config.listen).await;
    let registered = register(authority, name, &*clock).await;
    // The prefetch begins only now: what SIDEKEY_ALLOW says of an ARN may depend on the account.
    let account = registered.as_ref().and_then(|registered| registered.account.as_deref());
    let started = start(listeners, loaded, account, metrics, clock.clone()).await;
    let Some(registered) = registered else {
        // There is no identifier to ask for events with. Serving on is all that can be done.
        return pending().await;
    };
    let agent = match started {
        Ok(agent) => agent,
        Err(problem) => {
            return without_agent(&registered, &problem, on_init_failure, &*clock).await;
        }
    };
    // The first `next` says that the extension is ready. Until then handlers do not start.
    if let Some(report) = agent.prefetched().await {
        log_start(&agent, &report);
        if on_init_failure == OnInitFailure::Fail
            && let Some(problem) = missed(&report)
        {
            return fail_init(&registered, "Extension.PrefetchFailed", &problem).await;
        }
    }
    let reason = shutdown(&registered, &*clock).await;
    tracing::info!(reason, "shutting down");
    agent.drain(DRAIN_MAX).await;
    ExitCode::SUCCESS
}

/// Starts the agent; where its configuration is mistaken, one that answers every read with what is
/// wrong. Addresses that cannot be held are logged, and the others are served. Where nobody could
/// read anything, or the start is to fail, says why.
async fn start(
    (listeners, unheld): (Listeners, Vec<BindError>),
    loaded: Loaded,
    account: Option<&str>,
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
) -> Result<Agent, String> {
    let Loaded { config, mistakes, warnings } = loaded;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    for mistake in &mistakes.0 {
        tracing::error!(name = mistake.name, problem = mistake.problem, "misconfigured");
    }
    if config.on_init_failure == OnInitFailure::Fail && !mistakes.is_empty() {
        return Err(mistakes.to_string());
    }
    let cannot = |error: &(dyn Error + 'static)| {
        tracing::error!(error, "the agent cannot start; the function runs without it");
        error.to_string()
    };
    let must_fail = config.on_init_failure == OnInitFailure::Fail || !listeners.can_serve_secrets();
    for error in &unheld {
        if let Some(rival) = rival(error, Path::new(AWS_EXTENSION).exists()) {
            tracing::error!("{rival}");
        }
        if must_fail {
            return Err(cannot(error));
        }
        let error: &(dyn Error + 'static) = error;
        tracing::error!(error, "not served there; the other addresses are");
    }
    if !mistakes.is_empty() {
        return Ok(Agent::start_misconfigured(listeners, config, &mistakes, metrics, clock));
    }
    let started = Agent::start(listeners, config, metrics, clock).await;
    let agent = started.map_err(|error| cannot(&error))?;
    // Before this task waits again, and so before any other begins.
    if let Some(account) = account {
        agent.learn_account(account);
    }
    Ok(agent)
}

/// Registers, again where a call fails on its way.
async fn register(authority: &str, name: &str, clock: &dyn Clock) -> Option<Registered> {
    for attempt in 1..=REGISTER_TRIES_MAX {
        let registered = match Api::parse(authority) {
            Ok(api) => api.register(name).await,
            Err(error) => Err(error),
        };
        match registered {
            Ok(registered) => return Some(registered),
            Err(error) => {
                tracing::error!(error = as_error(&error), attempt, "registering failed");
                if matches!(error, ApiError::Refused { .. } | ApiError::Address) {
                    return None;
                }
            }
        }
        clock.sleep(RETRY_PAUSE).await;
    }
    None
}

/// Stays alive without an agent, so that the function does too; or fails the start where that was
/// asked for.
async fn without_agent(
    registered: &Registered,
    problem: &str,
    on_init_failure: OnInitFailure,
    clock: &dyn Clock,
) -> ExitCode {
    if on_init_failure == OnInitFailure::Fail {
        return fail_init(registered, "Extension.ConfigurationInvalid", problem).await;
    }
    shutdown(registered, clock).await;
    ExitCode::SUCCESS
}

async fn fail_init(registered: &Registered, kind: &str, message: &str) -> ExitCode {
    tracing::error!(
        kind,
        problem = message,
        "failing the function's start, as SIDEKEY_ON_INIT_FAILURE says"
    );
    if let Err(error) = registered.fail_init(kind, message).await {
        tracing::error!(error = as_error(&error), "the failure could not be reported");
    }
    ExitCode::FAILURE
}

/// Waits for the shutdown event and returns its reason.
async fn shutdown(registered: &Registered, clock: &dyn Clock) -> String {
    let mut pause = RETRY_PAUSE;
    loop {
        match registered.next().await {
            Ok(Event::Shutdown(reason)) => return reason,
            Ok(Event::Other(kind)) => {
                tracing::debug!(kind, "an event that was not asked for");
                // An emulator that sends these waits for the next call.
                if kind == "INVOKE" {
                    continue;
                }
            }
            Err(error) => {
                tracing::warn!(error = as_error(&error), "waiting for the next event failed");
            }
        }
        clock.sleep(pause).await;
        pause = RETRY_PAUSE_MAX.min(pause * 2);
    }
}

/// Says which secrets the function cannot start without, if any is missing.
fn missed(report: &Report) -> Option<String> {
    let required = report.missing.iter().filter(|missing| missing.is_required);
    let why = required.map(|missing| match &missing.failure {
        Some(failure) => format!("{}: {failure}", missing.key.id.as_str()),
        None => format!("{}: no answer", missing.key.id.as_str()),
    });
    let why: Vec<String> = why.collect();
    (!why.is_empty()).then(|| why.join("; "))
}

/// Returns who has most likely taken the port, where AWS's own extension is there too.
fn rival(error: &BindError, is_there: bool) -> Option<String> {
    (matches!(error, BindError::Taken(..)) && is_there).then(|| {
        format!(
            "{error}. AWS's Parameters and Secrets Lambda Extension ({AWS_EXTENSION}) is in this \
             function too and wants the same port: take its layer out, or give Sidekey another \
             port; the function runs without Sidekey"
        )
    })
}

/// Has the log write an error with its causes.
fn as_error(error: &ApiError) -> &(dyn Error + 'static) {
    error
}

#[cfg(test)]
mod tests {
    use super::*;
    use fake_aws::Fake;
    use sidekey::cache::Missing;
    use sidekey::clock::{Moment, Sleep};
    use sidekey::secret::key::Key;
    use sidekey::secret::reference::SecretId;
    use sidekey::secret::selector::Selector;
    use sidekey::source::{FetchError, FetchErrorKind};
    use std::collections::BTreeMap;
    use std::sync::Mutex;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// A clock that never waits, and remembers for how long it should have.
    #[derive(Debug, Default)]
    struct Hurried(Mutex<Vec<u128>>);

    impl Clock for Hurried {
        fn now(&self) -> Moment {
            Moment { wall: std::time::UNIX_EPOCH, steady: Duration::ZERO }
        }

        fn sleep(&self, span: Duration) -> Sleep {
            self.0.lock().expect("no panic").push(span.as_millis());
            Box::pin(async {})
        }
    }

    /// Answers registering, then `answers`, one connection each.
    async fn api(answers: Vec<&'static str>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let authority = listener.local_addr().expect("bound").to_string();
        let registered =
            "HTTP/1.1 200 OK\r\nlambda-extension-identifier: i\r\ncontent-length: 2\r\n\r\n{}";
        tokio::spawn(async move {
            for answer in [registered].into_iter().chain(answers) {
                let (mut socket, _) = listener.accept().await.expect("a connection");
                let mut asked = Vec::new();
                while !asked.windows(4).any(|end| end == b"\r\n\r\n") {
                    socket.read_buf(&mut asked).await.expect("a request");
                }
                socket.write_all(answer.as_bytes()).await.expect("an answer");
            }
        });
        authority
    }

    #[tokio::test]
    async fn an_api_that_keeps_failing_is_asked_ever_more_rarely() {
        const REFUSED: &str = "HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\n{}";
        const NONSENSE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
        const INVOKE: &str =
            "HTTP/1.1 200 OK\r\ncontent-length: 22\r\n\r\n{\"eventType\":\"INVOKE\"}";
        const SHUTDOWN: &str =
            "HTTP/1.1 200 OK\r\ncontent-length: 24\r\n\r\n{\"eventType\":\"SHUTDOWN\"}";
        let mut answers = vec![REFUSED; 7];
        answers.extend([INVOKE, NONSENSE, SHUTDOWN]);
        let clock = Hurried::default();
        let registered = register(&api(answers).await, "sidekey", &clock).await.expect("an API");
        assert_eq!(shutdown(&registered, &clock).await, "unknown");
        let rests = clock.0.lock().expect("no panic").clone();
        assert_eq!(rests, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
    }

    #[test]
    fn only_what_is_required_fails_a_start() {
        let error = FetchError::new(FetchErrorKind::NotFound, "ResourceNotFoundException", "none");
        let missing = |id: &str, is_required, failure| {
            let id = SecretId::parse(id).expect("a good id");
            Missing { key: Key { id, selector: Selector::current() }, is_required, failure }
        };
        let report =
            |missing| Report { listed: 9, missing, took: Duration::ZERO, is_settled: true };
        assert_eq!(missed(&report(vec![])), None);
        let spare = missing("spare", false, Some(error.clone()));
        assert_eq!(missed(&report(vec![spare.clone()])), None);
        let needed = vec![missing("a", true, None), spare, missing("b", true, Some(error.clone()))];
        assert_eq!(missed(&report(needed)), Some(format!("a: no answer; b: {error}")));
    }

    #[test]
    fn a_port_that_awss_extension_has_is_told_as_such() {
        let taken = BindError::Taken("127.0.0.1:2773".to_owned(), "SIDEKEY_PORT");
        assert_eq!(rival(&taken, false), None);
        let told = rival(&taken, true).expect("it is there");
        for part in ["127.0.0.1:2773 is taken", "set SIDEKEY_PORT", AWS_EXTENSION] {
            assert!(told.contains(part), "{told}");
        }
        assert_eq!(rival(&BindError::NotASocket("/x".into()), true), None);
    }

    #[tokio::test]
    async fn the_account_is_known_before_the_prefetch_begins() {
        #[expect(clippy::disallowed_methods, reason = "the fake dates its versions")]
        let fake = Fake::start(Arc::new(std::time::SystemTime::now)).await.expect("a port");
        let arn = fake.secrets().create("app/db", "value").expect("a new name");
        let vars: BTreeMap<String, String> = [
            ("SIDEKEY_SECRETS", arn.as_str()),
            ("SIDEKEY_ALLOW", "app/*"),
            ("SIDEKEY_PORT", "0"),
            ("SIDEKEY_ENDPOINT", &fake.url()),
            ("AWS_REGION", "eu-north-1"),
            ("AWS_ACCESS_KEY_ID", "AKIATESTS"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_SESSION_TOKEN", "token"),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
        let loaded = config::load(&vars, Host::Lambda);
        let listeners = Listeners::bind_possible(&loaded.config.listen).await;
        let account = Some("123456789012");
        let (metrics, clock) = (Arc::new(Metrics::new()), Arc::new(SystemClock::new()));
        let agent = start(listeners, loaded, account, metrics, clock).await.expect("it starts");
        let report = agent.prefetched().await.expect("a report");
        assert_eq!(report.missing, [], "a pattern of names covers the ARNs of the own account");
        agent.drain(DRAIN_MAX).await;
        fake.stop().await;
    }
}

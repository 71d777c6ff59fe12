//! The life of the extension: listen, register, prefetch, serve, drain.
//!
//! An extension must not exit before Lambda tells it to: Lambda would end the whole environment, even
//! with exit code 0. So the extension exits only on the shutdown event, or if
//! `SIDEKEY_ON_INIT_FAILURE` asks for a failed start.

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

/// The time for open requests to complete at shutdown. The Lambda function itself has already ended.
const DRAIN_MAX: Duration = Duration::from_millis(300);

/// Lambda gives all extensions together 2 s to shut down. Sidekey may use a quarter of that time.
const _: () =
    assert!(DRAIN_MAX.as_millis() + ABORT_MAX.as_millis() + log::FLUSH_MAX.as_millis() < 500);

/// The first pause after a failed call of the Extensions API.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause between retries. The pause doubles from [`RETRY_PAUSE`] up to this limit, because
/// each failure writes a log line, and log lines cost money.
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(5);

/// The maximum number of attempts to register. Lambda delays the start of the function until the
/// extension has registered.
const REGISTER_TRIES_MAX: u32 = 5;

/// The file of AWS's Parameters and Secrets Lambda Extension, which uses the same port by default.
const AWS_EXTENSION: &str = "/opt/extensions/AWSParametersAndSecretsLambdaExtension";

/// Reports that the extension was run outside Lambda.
#[expect(clippy::print_stderr, reason = "no log is set up yet, and a user reads standard error")]
pub(crate) fn not_on_lambda() -> ExitCode {
    eprintln!(
        "sidekey: this program is a Lambda extension, and AWS_LAMBDA_RUNTIME_API is not set; \
         outside Lambda, run `sidekey serve`"
    );
    ExitCode::from(2)
}

/// Runs the extension until Lambda shuts the environment down.
pub(crate) async fn run(vars: &dyn Vars, authority: &str, name: &str) -> ExitCode {
    let mut loaded = config::load(vars, Host::Lambda);
    let metrics = Arc::new(Metrics::new());
    let _log = log::start(loaded.config.log, &metrics.log_lines_dropped);
    panics::observe(metrics.clone());
    if let Err(error) = hardening::harden() {
        tracing::warn!(%error, "the agent continues, but other processes of this user may read its memory");
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let on_init_failure = loaded.config.on_init_failure;
    reserve_descriptors(&mut loaded.config.listen);
    // The agent listens before it registers. Lambda starts the function only after the registration,
    // so the function never meets a refused connection.
    let listeners = Listeners::bind_possible(&loaded.config.listen).await;
    let registered = register(authority, name, &*clock).await;
    // The prefetch begins after the registration, which reports the account: whether SIDEKEY_ALLOW
    // covers an ARN may depend on the account.
    let account = registered.as_ref().and_then(|registered| registered.account.as_deref());
    let started = start(listeners, loaded, account, metrics, clock.clone()).await;
    let Some(registered) = registered else {
        // Without an identifier the extension cannot ask for events. It can only keep serving.
        return pending().await;
    };
    let agent = match started {
        Ok(agent) => agent,
        Err(problem) => {
            return without_agent(&registered, &problem, on_init_failure, &*clock).await;
        }
    };
    // The first call of `next` tells Lambda that the extension is ready. Until then Lambda does not
    // invoke the function, so the prefetch ends first.
    if let Some(report) = agent.prefetched().await {
        log_start(&agent, &report);
        if on_init_failure == OnInitFailure::Fail
            && let Some(problem) = missing_secrets(&report)
        {
            return fail_init(&registered, "Extension.PrefetchFailed", &problem).await;
        }
    }
    let reason = shutdown(&registered, &*clock).await;
    tracing::info!(reason, "shutting down");
    agent.drain(DRAIN_MAX).await;
    ExitCode::SUCCESS
}

/// Starts the agent.
///
/// If the configuration has mistakes, the agent answers every read with these mistakes. If some
/// addresses cannot be bound, the failure is logged and the agent listens on the other addresses.
///
/// # Errors
///
/// The reason why no agent was started: no caller could reach the agent, or
/// `SIDEKEY_ON_INIT_FAILURE` asks for a failed start.
async fn start(
    (listeners, failed): (Listeners, Vec<BindError>),
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
    let must_fail = config.on_init_failure == OnInitFailure::Fail || !listeners.can_serve_secrets();
    for error in &failed {
        if let Some(message) = port_conflict(error, Path::new(AWS_EXTENSION).exists()) {
            tracing::error!("{message}");
        }
        if must_fail {
            return Err(log_failed_start(error));
        }
        let error: &(dyn Error + 'static) = error;
        tracing::error!(error, "the agent does not listen at this address, but at the others");
    }
    if !mistakes.is_empty() {
        return Ok(Agent::start_misconfigured(listeners, config, &mistakes, metrics, clock));
    }
    let started = Agent::start(listeners, config, metrics, clock).await;
    let agent = started.map_err(|error| log_failed_start(&error))?;
    // The prefetch runs in another task of this thread. That task begins only when this task waits
    // again, so the account is known in time.
    if let Some(account) = account {
        agent.learn_account(account);
    }
    Ok(agent)
}

/// Logs why the agent cannot start, and returns the reason.
fn log_failed_start(error: &(dyn Error + 'static)) -> String {
    tracing::error!(error, "the agent cannot start; the function runs without it");
    error.to_string()
}

/// Registers the extension. A call that fails on the network is repeated.
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

/// Keeps the extension alive without an agent, so that the function stays alive too. If
/// `SIDEKEY_ON_INIT_FAILURE` asks for it, fails the start of the function instead.
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

/// Reports a failed start to Lambda, and returns the exit code for the process.
async fn fail_init(registered: &Registered, kind: &str, message: &str) -> ExitCode {
    tracing::error!(
        kind,
        problem = message,
        "failing the start of the function, because SIDEKEY_ON_INIT_FAILURE is set to fail"
    );
    if let Err(error) = registered.fail_init(kind, message).await {
        tracing::error!(error = as_error(&error), "Lambda could not be told of the failed start");
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
                tracing::debug!(kind, "ignoring an event that the extension did not register for");
                // Some emulators send INVOKE all the same, and wait for the next call.
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

/// Returns the required secrets that the prefetch could not read, each with the reason.
fn missing_secrets(report: &Report) -> Option<String> {
    let reasons: Vec<String> = report
        .missing
        .iter()
        .filter(|missing| missing.is_required)
        .map(|missing| match &missing.failure {
            Some(failure) => format!("{}: {failure}", missing.key.id.as_str()),
            None => format!("{}: no answer", missing.key.id.as_str()),
        })
        .collect();
    (!reasons.is_empty()).then(|| reasons.join("; "))
}

/// Returns advice if the port is taken and AWS's own extension, which most likely took the port, is
/// present.
fn port_conflict(error: &BindError, is_aws_extension_present: bool) -> Option<String> {
    (matches!(error, BindError::Taken(..)) && is_aws_extension_present).then(|| {
        format!(
            "{error}. AWS's Parameters and Secrets Lambda Extension ({AWS_EXTENSION}) is in this \
             function too and uses the same port: remove its layer, or give Sidekey another port; \
             until then the function runs without Sidekey"
        )
    })
}

/// Converts an error to a type that the log writes with all causes.
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

    /// A clock whose sleeps return at once. It records their lengths in milliseconds.
    #[derive(Debug, Default)]
    struct RecordingClock(Mutex<Vec<u128>>);

    impl Clock for RecordingClock {
        fn now(&self) -> Moment {
            Moment { wall: std::time::UNIX_EPOCH, steady: Duration::ZERO }
        }

        fn sleep(&self, span: Duration) -> Sleep {
            self.0.lock().expect("no holder of the lock panicked").push(span.as_millis());
            Box::pin(async {})
        }
    }

    /// Starts a server that answers a registration and then sends each of `answers`. Each connection
    /// gets one answer.
    async fn api(answers: Vec<&'static str>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let authority = listener.local_addr().expect("the listener is bound").to_string();
        let registered =
            "HTTP/1.1 200 OK\r\nlambda-extension-identifier: i\r\ncontent-length: 2\r\n\r\n{}";
        tokio::spawn(async move {
            for answer in [registered].into_iter().chain(answers) {
                let (mut socket, _) = listener.accept().await.expect("a connection");
                let mut received = Vec::new();
                while !received.windows(4).any(|end| end == b"\r\n\r\n") {
                    socket.read_buf(&mut received).await.expect("a request");
                }
                socket.write_all(answer.as_bytes()).await.expect("an answer");
            }
        });
        authority
    }

    #[tokio::test]
    async fn pause_between_failed_calls_grows() {
        const REFUSED: &str = "HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\n{}";
        const NONSENSE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
        const INVOKE: &str =
            "HTTP/1.1 200 OK\r\ncontent-length: 22\r\n\r\n{\"eventType\":\"INVOKE\"}";
        const SHUTDOWN: &str =
            "HTTP/1.1 200 OK\r\ncontent-length: 24\r\n\r\n{\"eventType\":\"SHUTDOWN\"}";
        let mut answers = vec![REFUSED; 7];
        answers.extend([INVOKE, NONSENSE, SHUTDOWN]);
        let clock = RecordingClock::default();
        let registered =
            register(&api(answers).await, "sidekey", &clock).await.expect("the API answers");
        assert_eq!(shutdown(&registered, &clock).await, "unknown");
        let pauses = clock.0.lock().expect("no holder of the lock panicked").clone();
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
    }

    #[test]
    fn only_missing_required_secrets_fail_a_start() {
        let error = FetchError::new(FetchErrorKind::NotFound, "ResourceNotFoundException", "none");
        let missing = |id: &str, is_required, failure| {
            let id = SecretId::parse(id).expect("the id is valid");
            Missing { key: Key { id, selector: Selector::current() }, is_required, failure }
        };
        let report =
            |missing| Report { listed: 9, missing, took: Duration::ZERO, is_settled: true };
        assert_eq!(missing_secrets(&report(vec![])), None);
        let spare = missing("spare", false, Some(error.clone()));
        assert_eq!(missing_secrets(&report(vec![spare.clone()])), None);
        let needed = vec![missing("a", true, None), spare, missing("b", true, Some(error.clone()))];
        assert_eq!(missing_secrets(&report(needed)), Some(format!("a: no answer; b: {error}")));
    }

    #[test]
    fn port_taken_by_awss_extension_is_reported() {
        let taken = BindError::Taken("127.0.0.1:2773".to_owned(), "SIDEKEY_PORT");
        assert_eq!(port_conflict(&taken, false), None);
        let message = port_conflict(&taken, true).expect("the extension is present");
        for part in ["127.0.0.1:2773 is in use", "change SIDEKEY_PORT", AWS_EXTENSION] {
            assert!(message.contains(part), "{message}");
        }
        assert_eq!(port_conflict(&BindError::NotASocket("/x".into()), true), None);
    }

    #[tokio::test]
    async fn account_is_known_before_the_prefetch_begins() {
        #[expect(clippy::disallowed_methods, reason = "the fake dates its versions")]
        let fake = Fake::start(Arc::new(std::time::SystemTime::now)).await.expect("a port is free");
        let arn = fake.secrets().create("app/db", "value").expect("the name is new");
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
        let agent =
            start(listeners, loaded, account, metrics, clock).await.expect("the agent starts");
        let report = agent.prefetched().await.expect("the prefetch has a report");
        assert_eq!(report.missing, [], "a pattern of names covers ARNs of the agent's account");
        agent.drain(DRAIN_MAX).await;
        fake.stop().await;
    }
}

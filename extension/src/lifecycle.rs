//! Runs the Lambda extension: opens its ports, registers with Lambda, prefetches secrets, serves
//! them to the function, and stops at Lambda's shutdown event.
//!
//! If an extension exits earlier, Lambda ends the whole execution environment, even after exit code
//! 0. So this extension exits early only if `SIDEKEY_ON_INIT_FAILURE` is `fail`.

use crate::api::{Api, ApiError, Event, Registered};
use sidekey::agent::reports::Reports;
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

/// The longest time for which the extension still answers open requests after Lambda's shutdown
/// event. Few requests are open then, because the function has already ended.
const DRAIN_MAX: Duration = Duration::from_millis(300);

/// Checks at compile time that the extension shuts down in less than 500 ms. Lambda gives all
/// extensions of a function together 2 s.
const _: () =
    assert!(DRAIN_MAX.as_millis() + ABORT_MAX.as_millis() + log::FLUSH_MAX.as_millis() < 500);

const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause between two attempts to get the next event from Lambda. The first pause is
/// [`RETRY_PAUSE`], and each further pause is twice as long.
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(5);

/// The maximum number of attempts to register with Lambda. The number is small, because Lambda
/// starts the function only after the extension has registered or failed.
const REGISTER_TRIES_MAX: u32 = 5;

/// The program file of AWS's own extension for secrets, which has the same default port as Sidekey.
/// If this file exists, AWS's extension may already use the port.
const AWS_EXTENSION: &str = "/opt/extensions/AWSParametersAndSecretsLambdaExtension";

#[expect(
    clippy::print_stderr,
    reason = "the program prints to standard error, because no log is set up yet"
)]
pub(crate) fn not_on_lambda() -> ExitCode {
    eprintln!(
        "sidekey: this program runs only on Lambda, as an extension, but the environment variable \
         AWS_LAMBDA_RUNTIME_API is not set; outside Lambda, run `sidekey serve` instead"
    );
    ExitCode::from(2)
}

/// Runs the extension until Lambda shuts down the execution environment. `authority` is the address
/// of Lambda's API, and `name` is the file name of this program.
pub(crate) async fn run(vars: &dyn Vars, authority: &str, name: &str) -> ExitCode {
    let mut loaded = config::load(vars, Host::Lambda);
    let metrics = Arc::new(Metrics::new());
    let log = log::start(loaded.config.log, &metrics.log_lines_dropped);
    panics::observe(metrics.clone());
    if let Err(error) = hardening::harden() {
        tracing::warn!(%error, "could not protect the agent's memory; other processes of this user may read secrets from this memory");
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let emf = loaded.config.emf.take();
    let on_init_failure = loaded.config.on_init_failure;
    reserve_descriptors(&mut loaded.config.listen);
    // The agent listens before it registers. Lambda starts the function only after the
    // registration, so the function's connections are never refused.
    let listeners = Listeners::bind_possible(&loaded.config.listen).await;
    let registered = register(authority, name, &*clock).await;
    // The prefetch begins after the registration. Lambda's answer contains the account id, which
    // the agent may need to decide whether SIDEKEY_ALLOW covers an ARN.
    let account = registered.as_ref().and_then(|registered| registered.account.as_deref());
    let started = start(listeners, loaded, account, metrics, clock.clone()).await;
    let Some(registered) = registered else {
        // Without a registration, Lambda sends no events. The agent serves until Lambda ends the
        // process.
        return pending().await;
    };
    let agent = match started {
        Ok(agent) => agent,
        Err(problem) => {
            return without_agent(&registered, &problem, on_init_failure, &*clock).await;
        }
    };
    let mut reports = emf.map(|emf| agent.reports(emf, log.records()));
    // The first call of `next` tells Lambda that the extension is ready. Lambda invokes the
    // function only after this call, so the extension waits here until the prefetch has ended.
    if let Some(report) = agent.prefetched().await {
        log_start(&agent, &report);
        if on_init_failure == OnInitFailure::Fail
            && let Some(problem) = missing_secrets(&report)
        {
            finish(reports);
            return fail_init(&registered, "Extension.PrefetchFailed", &problem).await;
        }
    }
    let reason = match &mut reports {
        None => shutdown(&registered, &*clock).await,
        Some(reports) => {
            reports.start_ended();
            tokio::select! {
                biased;
                reason = shutdown(&registered, &*clock) => reason,
                never = reports.run() => match never {},
            }
        }
    };
    tracing::info!(reason, "shutting down");
    agent.drain(DRAIN_MAX).await;
    finish(reports);
    ExitCode::SUCCESS
}

/// Writes the last metrics for CloudWatch, if `SIDEKEY_EMF` is set.
fn finish(reports: Option<Reports>) {
    if let Some(reports) = reports {
        reports.finish();
    }
}

/// Starts the agent. If the configuration has mistakes, the agent answers every read of a secret
/// with an error that lists the mistakes.
///
/// If the agent cannot listen at one of its addresses, the agent logs the reason and uses its other
/// addresses.
///
/// # Errors
///
/// Returns an error message if the agent can listen at none of its addresses, or if the start had a
/// problem and `SIDEKEY_ON_INIT_FAILURE` is `fail`.
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
        tracing::error!(
            error,
            "the agent cannot listen at one of its addresses (see the field `error`), but it \
             listens at its other addresses"
        );
    }
    if !mistakes.is_empty() {
        return Ok(Agent::start_misconfigured(listeners, config, &mistakes, metrics, clock));
    }
    let started = Agent::start(listeners, config, metrics, clock).await;
    let agent = started.map_err(|error| log_failed_start(&error))?;
    // The prefetch runs in another task of this thread. That task runs only when the current task
    // awaits again, so the agent has the account id before the prefetch begins.
    if let Some(account) = account {
        agent.learn_account(account);
    }
    Ok(agent)
}

fn log_failed_start(error: &(dyn Error + 'static)) -> String {
    tracing::error!(
        error,
        "the agent cannot start; the Lambda function runs without Sidekey, unless \
         SIDEKEY_ON_INIT_FAILURE is `fail`"
    );
    error.to_string()
}

/// Registers the extension with Lambda, with further attempts after network errors. Returns `None`
/// if Lambda rejects the registration, or if all attempts failed.
async fn register(authority: &str, name: &str, clock: &dyn Clock) -> Option<Registered> {
    for attempt in 1..=REGISTER_TRIES_MAX {
        let registered = match Api::parse(authority) {
            Ok(api) => api.register(name).await,
            Err(error) => Err(error),
        };
        match registered {
            Ok(registered) => return Some(registered),
            Err(error) => {
                tracing::error!(
                    error = as_error(&error),
                    attempt,
                    "could not register the extension with Lambda"
                );
                if matches!(error, ApiError::Refused { .. } | ApiError::Address) {
                    return None;
                }
            }
        }
        clock.sleep(RETRY_PAUSE).await;
    }
    None
}

/// Decides what happens to the Lambda function if the agent could not start. Returns the exit code
/// of the extension.
///
/// If `SIDEKEY_ON_INIT_FAILURE` is `fail`, the function does not start either. Otherwise, the
/// function runs without Sidekey, and the extension waits for Lambda's shutdown event.
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
        "Sidekey makes the start of the function fail, because SIDEKEY_ON_INIT_FAILURE is \
         `fail`; the field `problem` contains the reason"
    );
    if let Err(error) = registered.fail_init(kind, message).await {
        tracing::error!(
            error = as_error(&error),
            "could not tell Lambda that the extension failed to start"
        );
    }
    ExitCode::FAILURE
}

/// Waits for Lambda's shutdown event, and returns Lambda's reason for the shutdown.
async fn shutdown(registered: &Registered, clock: &dyn Clock) -> String {
    let mut pause = RETRY_PAUSE;
    loop {
        match registered.next().await {
            Ok(Event::Shutdown(reason)) => return reason,
            Ok(Event::Other(kind)) => {
                tracing::debug!(
                    kind,
                    "Lambda sent an event that the extension did not register for; the extension \
                     ignores the event"
                );
                // Some emulators of Lambda also send INVOKE events, although the extension does not
                // want them. They wait until the extension asks for the next event, so the loop
                // asks at once.
                if kind == "INVOKE" {
                    continue;
                }
            }
            Err(error) => {
                tracing::warn!(
                    error = as_error(&error),
                    "could not get the next event from Lambda"
                );
            }
        }
        clock.sleep(pause).await;
        pause = RETRY_PAUSE_MAX.min(pause * 2);
    }
}

/// Returns an error message with the required secrets that the prefetch could not read, and the
/// reasons. Returns `None` if the prefetch could read all required secrets.
fn missing_secrets(report: &Report) -> Option<String> {
    let reasons: Vec<String> = report
        .missing
        .iter()
        .filter(|missing| missing.is_required)
        .map(|missing| match &missing.failure {
            Some(failure) => format!("{}: {failure}", missing.key.id.as_str()),
            None => format!("{}: AWS did not answer", missing.key.id.as_str()),
        })
        .collect();
    (!reasons.is_empty()).then(|| reasons.join("; "))
}

/// Returns advice for the user if another process uses Sidekey's port, and this process is probably
/// AWS's own extension for secrets. Otherwise returns `None`.
fn port_conflict(error: &BindError, is_aws_extension_present: bool) -> Option<String> {
    (matches!(error, BindError::Taken(..)) && is_aws_extension_present).then(|| {
        format!(
            "{error}. AWS's Parameters and Secrets Lambda Extension ({AWS_EXTENSION}) is \
             installed in this function and probably uses this port: remove the layer of AWS's \
             extension, or set SIDEKEY_PORT to another port; until then, the function runs \
             without Sidekey"
        )
    })
}

/// Converts the error to the type `dyn Error`, because the logging library prints the causes of an
/// error only for this type.
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

    /// A test clock whose sleeps return at once. The clock records the requested length of each
    /// sleep, in milliseconds.
    #[derive(Debug, Default)]
    struct RecordingClock(Mutex<Vec<u128>>);

    impl Clock for RecordingClock {
        fn now(&self) -> Moment {
            Moment { wall: std::time::UNIX_EPOCH, steady: Duration::ZERO }
        }

        fn sleep(&self, span: Duration) -> Sleep {
            self.0
                .lock()
                .expect("no thread may panic while it holds the lock")
                .push(span.as_millis());
            Box::pin(async {})
        }
    }

    /// Starts a fake server of Lambda's Extensions API, and returns the server's address. The
    /// server accepts the registration on the first connection, and sends one of `answers` on each
    /// later connection.
    async fn api(answers: Vec<&'static str>) -> String {
        let listener =
            TcpListener::bind("127.0.0.1:0").await.expect("the fake server must get a free port");
        let authority = listener.local_addr().expect("the listener must be bound").to_string();
        let registered =
            "HTTP/1.1 200 OK\r\nlambda-extension-identifier: i\r\ncontent-length: 2\r\n\r\n{}";
        tokio::spawn(async move {
            for answer in [registered].into_iter().chain(answers) {
                let (mut socket, _) = listener.accept().await.expect("the client must connect");
                let mut received = Vec::new();
                while !received.windows(4).any(|end| end == b"\r\n\r\n") {
                    socket.read_buf(&mut received).await.expect("the client must send a request");
                }
                socket.write_all(answer.as_bytes()).await.expect("the client must read the answer");
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
        let registered = register(&api(answers).await, "sidekey", &clock)
            .await
            .expect("the registration must succeed");
        assert_eq!(shutdown(&registered, &clock).await, "unknown");
        let pauses = clock.0.lock().expect("no thread may panic while it holds the lock").clone();
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
    }

    #[test]
    fn only_missing_required_secrets_fail_a_start() {
        let error = FetchError::new(FetchErrorKind::NotFound, "ResourceNotFoundException", "none");
        let missing = |id: &str, is_required, failure| {
            let id = SecretId::parse(id).expect("the name must be valid");
            Missing { key: Key::own(id, Selector::current()), is_required, failure }
        };
        let report = |missing| Report {
            listed: 9,
            found: 0,
            missing,
            took: Duration::ZERO,
            is_settled: true,
        };
        assert_eq!(missing_secrets(&report(vec![])), None);
        let spare = missing("spare", false, Some(error.clone()));
        assert_eq!(missing_secrets(&report(vec![spare.clone()])), None);
        let needed = vec![
            missing("app/db", true, None),
            spare,
            missing("app/key", true, Some(error.clone())),
        ];
        assert_eq!(
            missing_secrets(&report(needed)),
            Some(format!("app/db: AWS did not answer; app/key: {error}"))
        );
    }

    #[test]
    fn port_taken_by_awss_extension_is_reported() {
        let taken = BindError::Taken("127.0.0.1:2773".to_owned(), "SIDEKEY_PORT");
        assert_eq!(port_conflict(&taken, false), None);
        let message = port_conflict(&taken, true).expect("the port conflict must be reported");
        for part in ["127.0.0.1:2773 is in use", "change SIDEKEY_PORT", AWS_EXTENSION] {
            assert!(message.contains(part), "{message}");
        }
        assert_eq!(port_conflict(&BindError::NotASocket("/x".into()), true), None);
    }

    #[tokio::test]
    async fn account_is_known_before_the_prefetch_begins() {
        #[expect(
            clippy::disallowed_methods,
            reason = "the fake of AWS needs the current time for the dates of secret versions"
        )]
        let fake = Fake::start(Arc::new(std::time::SystemTime::now))
            .await
            .expect("the fake of AWS must get a free port");
        let arn = fake
            .secrets()
            .create("app/db", "value")
            .expect("the fake of AWS must not contain this secret yet");
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
            start(listeners, loaded, account, metrics, clock).await.expect("the agent must start");
        let report = agent.prefetched().await.expect("the prefetch must end and return a report");
        assert_eq!(
            report.missing,
            [],
            "SIDEKEY_ALLOW=app/* must also allow the ARN of `app/db` in the agent's account"
        );
        agent.drain(DRAIN_MAX).await;
        fake.stop().await;
    }
}

//! The life of an environment: bind, register, prefetch, serve, drain.
//!
//! Lambda takes the whole environment down when an extension exits before it is told to, even with
//! code 0. So nothing here ends the process but the shutdown event, and `SIDEKEY_ON_INIT_FAILURE`
//! where it says so.

use crate::api::{Api, ApiError, Event, Registered};
use sidekey::agent::{Agent, Listeners, log_start};
use sidekey::cache::prefetch::Report;
use sidekey::clock::{Clock, SystemClock};
use sidekey::config::vars::Vars;
use sidekey::config::{self, Host, Loaded, OnInitFailure};
use sidekey::hardening;
use sidekey::telemetry::metrics::Metrics;
use sidekey::telemetry::{log, panics};
use std::error::Error;
use std::future::pending;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// How long what is in hand may take at shutdown. Lambda leaves 2 s to everybody, and the function
/// has ended by then.
const DRAIN_MAX: Duration = Duration::from_millis(300);

/// How long to rest after a call of the API failed, before it is made again.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// How often registering is tried. Lambda waits for it with the function's start.
const REGISTER_TRIES_MAX: u32 = 5;

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
    let loaded = config::load(vars, Host::Lambda);
    log::start(loaded.config.log);
    let metrics = Arc::new(Metrics::new());
    panics::observe(metrics.clone());
    if let Err(error) = hardening::harden() {
        tracing::warn!(%error, "the process could not be made undumpable");
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let on_init_failure = loaded.config.on_init_failure;
    // The addresses are held before Lambda hears of us: it starts the function only afterwards, so
    // the function can never meet a refused connection.
    let started = start(loaded, metrics, clock.clone()).await;
    let Some(registered) = register(authority, name, &*clock).await else {
        // There is no identifier to ask for events with. Serving on is all that can be done.
        return pending().await;
    };
    let agent = match started {
        Ok(agent) => agent,
        Err(problem) => {
            return without_agent(&registered, &problem, on_init_failure, &*clock).await;
        }
    };
    if let Some(account) = &registered.account {
        agent.learn_account(account);
    }
    // The first `next` says that the extension is ready. Until then handlers do not start.
    if let Some(report) = agent.prefetched().await {
        log_start(&agent, &report);
        if on_init_failure == OnInitFailure::Fail && !report.missing.is_empty() {
            return fail_init(&registered, "Extension.PrefetchFailed", &missing(&report)).await;
        }
    }
    let reason = shutdown(&registered, &*clock).await;
    tracing::info!(reason, "shutting down");
    agent.drain(DRAIN_MAX).await;
    ExitCode::SUCCESS
}

/// Starts the agent; where its configuration is mistaken, one that answers every read with what is
/// wrong. Where it cannot even listen, or the start is to fail, says why.
async fn start(
    loaded: Loaded,
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
    let listeners = Listeners::bind(&config.listen).await.map_err(|error| cannot(&error))?;
    if !mistakes.is_empty() {
        return Ok(Agent::start_misconfigured(listeners, config, &mistakes, metrics, clock));
    }
    Agent::start(listeners, config, metrics, clock).await.map_err(|error| cannot(&error))
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
    tracing::error!(kind, message, "failing the function's start, as SIDEKEY_ON_INIT_FAILURE says");
    if let Err(error) = registered.fail_init(kind, message).await {
        tracing::error!(error = as_error(&error), "the failure could not be reported");
    }
    ExitCode::FAILURE
}

/// Waits for the shutdown event and returns its reason.
async fn shutdown(registered: &Registered, clock: &dyn Clock) -> String {
    loop {
        match registered.next().await {
            Ok(Event::Shutdown(reason)) => return reason,
            Ok(Event::Other(kind)) => tracing::debug!(kind, "an event that was not asked for"),
            Err(error) => {
                tracing::warn!(error = as_error(&error), "waiting for the next event failed");
                clock.sleep(RETRY_PAUSE).await;
            }
        }
    }
}

fn missing(report: &Report) -> String {
    let why = |(key, error): &(sidekey::secret::key::Key, Option<sidekey::source::FetchError>)| {
        let id = key.id.as_str();
        error.as_ref().map_or_else(|| format!("{id}: no answer"), |error| format!("{id}: {error}"))
    };
    report.missing.iter().map(why).collect::<Vec<_>>().join("; ")
}

/// Has the log write an error with its causes.
fn as_error(error: &ApiError) -> &(dyn Error + 'static) {
    error
}

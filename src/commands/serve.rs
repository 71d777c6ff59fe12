//! `sidekey serve`: runs the agent, for example next to a container or on a laptop.

use super::stop_signals::StopSignals;
use super::token_file;
use crate::agent::{Agent, Listeners, log_start, reserve_descriptors};
use crate::clock::SystemClock;
use crate::config::vars::Environment;
use crate::config::{self, Host, Loaded};
use crate::hardening;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::{log, panics};
use std::error::Error;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// The exit code of `sidekey serve` if the configuration has mistakes.
const MISCONFIGURED: u8 = 2;

/// How long the agent may take to answer open requests after SIGTERM.
///
/// The time is longer than any request takes with the default settings. It is shorter than the 30 s
/// after which ECS and Kubernetes kill a process by default.
const DRAIN_MAX: Duration = Duration::from_secs(10);

/// Runs the agent until SIGTERM or Ctrl-C. A second signal ends the agent at once, with exit code 1.
/// If the configuration has mistakes, returns exit code 2 without starting the agent.
pub(super) async fn run() -> ExitCode {
    let Loaded { mut config, mistakes, warnings } = config::load(&Environment, Host::Standalone);
    let metrics = Arc::new(Metrics::new());
    let _log = log::start(config.log, &metrics.log_lines_dropped);
    panics::observe(metrics.clone());
    if let Err(error) = hardening::harden() {
        tracing::warn!(%error, "could not protect the agent's memory; other processes of this user may read secrets from this memory");
    }
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    if !mistakes.is_empty() {
        for mistake in &mistakes.0 {
            tracing::error!(name = mistake.name, problem = mistake.problem, "misconfigured");
        }
        return ExitCode::from(MISCONFIGURED);
    }
    // The signal handlers are registered before the agent starts, so that a signal during the start
    // also stops the agent cleanly.
    let mut signals = match StopSignals::register() {
        Ok(signals) => signals,
        Err(error) => {
            tracing::error!(%error, "could not register the handlers for SIGTERM and SIGINT");
            return ExitCode::FAILURE;
        }
    };
    reserve_descriptors(&mut config.listen);
    // The agent listens at its port before it writes its token file. Otherwise, a second agent on
    // the same port would overwrite the token file of the first agent, and would then fail.
    let listeners = match Listeners::bind(&config.listen).await {
        Ok(listeners) => listeners,
        Err(error) => {
            let error: &(dyn Error + 'static) = &error;
            tracing::error!(error, "the agent cannot listen at its configured addresses");
            return ExitCode::FAILURE;
        }
    };
    if config.tokens.is_empty() {
        let port = listeners.addresses().first().map_or(config.listen.port, SocketAddr::port);
        match token_file::make(&Environment, port) {
            Ok((token, path)) => {
                tracing::info!(path = %path.display(), "no token is configured, so the agent wrote a random token to this file");
                config.tokens.push(token);
            }
            Err(error) => {
                tracing::error!(%error, "no token is configured, and no token file could be written; set SIDEKEY_TOKEN");
                return ExitCode::FAILURE;
            }
        }
    }
    let clock = Arc::new(SystemClock::new());
    let drain_delay = config.drain_delay;
    let agent = match Agent::start(listeners, config, metrics, clock).await {
        Ok(agent) => agent,
        Err(error) => {
            tracing::error!(%error, "misconfigured");
            return ExitCode::from(MISCONFIGURED);
        }
    };
    tokio::select! {
        report = agent.prefetched() => {
            if let Some(report) = report {
                log_start(&agent, &report);
            }
            signals.next().await;
        }
        () = signals.next() => {}
    }
    let stop = async {
        agent.announce_stop(drain_delay).await;
        agent.drain(DRAIN_MAX).await;
    };
    if signals.complete(stop).await { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

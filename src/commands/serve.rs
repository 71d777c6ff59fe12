//! `sidekey serve`: the agent beside a container or on a laptop.

use super::token_file;
use crate::agent::{Agent, Listeners, log_start, reserve_descriptors};
use crate::clock::SystemClock;
use crate::config::vars::Environment;
use crate::config::{self, Host, Loaded};
use crate::hardening;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::{log, panics};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// The exit code of a mistaken configuration.
const MISCONFIGURED: u8 = 2;

/// How long readers in hand are answered after SIGTERM: half of what ECS and Kubernetes leave by
/// default before they kill, and more than any reader waits by default.
const DRAIN_MAX: Duration = Duration::from_secs(10);

/// Runs until SIGTERM or Ctrl-C. A mistake in the configuration ends it with exit code 2.
pub(super) async fn run() -> ExitCode {
    let Loaded { mut config, mistakes, warnings } = config::load(&Environment, Host::Standalone);
    let metrics = Arc::new(Metrics::new());
    let _log = log::start(config.log, &metrics.log_lines_dropped);
    panics::observe(metrics.clone());
    if let Err(error) = hardening::harden() {
        tracing::warn!(%error, "the process could not be made undumpable");
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
    // From here on a signal ends the agent as it should, also while it starts.
    let mut stopped = match stop_signal() {
        Ok(stopped) => pin!(stopped),
        Err(error) => {
            tracing::error!(%error, "signals cannot be received");
            return ExitCode::FAILURE;
        }
    };
    reserve_descriptors(&mut config.listen);
    // The address comes first: an agent that has it keeps its token file.
    let listeners = match Listeners::bind(&config.listen).await {
        Ok(listeners) => listeners,
        Err(error) => {
            let error: &(dyn std::error::Error + 'static) = &error;
            tracing::error!(error, "cannot listen");
            return ExitCode::FAILURE;
        }
    };
    if config.tokens.is_empty() {
        let port = listeners.addresses().first().map_or(config.listen.port, SocketAddr::port);
        match token_file::make(&Environment, port) {
            Ok((token, path)) => {
                tracing::info!(path = %path.display(), "no token is configured; readers find one in this file");
                config.tokens.push(token);
            }
            Err(error) => {
                tracing::error!(%error, "no token is configured, and none could be made; set SIDEKEY_TOKEN");
                return ExitCode::FAILURE;
            }
        }
    }
    let clock = Arc::new(SystemClock::new());
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
            stopped.await;
        }
        () = &mut stopped => {}
    }
    agent.drain(DRAIN_MAX).await;
    ExitCode::SUCCESS
}

/// Listens for SIGTERM and SIGINT from now on; what it returns completes at the first.
pub(super) fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

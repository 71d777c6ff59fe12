//! `sidekey serve`: runs the agent, for example next to a container or on a laptop.

use super::agent_file::{self, AgentFile, Kind};
use super::stop_signals::StopSignals;
use crate::agent::{Agent, Listeners, log_start, reserve_descriptors};
use crate::clock::SystemClock;
use crate::config::variables::CONFIG_FILE;
use crate::config::vars::{Environment, Overridden};
use crate::config::{self, Host, Loaded};
use crate::hardening;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::{log, panics};
use crate::tokens::Token;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// The exit code of `sidekey serve` if the configuration has mistakes.
const MISCONFIGURED: u8 = 2;

/// How long the agent may take to answer open requests after SIGTERM. By default, ECS and
/// Kubernetes kill a process 30 s after SIGTERM.
const DRAIN_MAX: Duration = Duration::from_secs(10);

pub(super) const EXAMPLES: &str = "\
Examples:
  SIDEKEY_SECRETS='app/db app/mail' AWS_REGION=eu-north-1 sidekey serve
  sidekey serve --config sidekey.toml --port 2774

Without SIDEKEY_TOKEN, the agent writes a random token to a file, and `sidekey get` and `sidekey exec` \
of the same user read this file.

Exit codes: 0 a signal ended the agent; 1 the agent could not start, or a second signal ended it at once; \
2 a setting is wrong.";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Read settings from this TOML file [default: SIDEKEY_CONFIG]
    #[arg(long, value_name = "FILE")]
    config: Option<String>,
    /// Listen on this localhost port; 0 picks a free port [default: SIDEKEY_PORT, else 2773]
    #[arg(long)]
    port: Option<u16>,
}

impl Args {
    /// Returns the environment variables. Options of the command line, such as `--port`, override
    /// variables.
    fn variables(&self) -> Overridden<'static> {
        let mut vars = Overridden::new(&Environment);
        if let Some(path) = &self.config {
            vars.set(CONFIG_FILE, path);
        }
        if let Some(port) = self.port {
            vars.set("SIDEKEY_PORT", &port.to_string());
        }
        vars
    }
}

/// Runs the agent until SIGTERM or Ctrl-C. Returns exit code 1 if a second signal ended the agent
/// at once, and exit code 2 if the configuration has mistakes.
pub(super) async fn run(args: Args) -> ExitCode {
    let Loaded { mut config, mistakes, warnings } =
        config::load(&args.variables(), Host::Standalone);
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
            tracing::error!(%error, "the agent cannot start, because the system refused to register handlers for SIGTERM and SIGINT");
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
            tracing::error!(
                error,
                "the agent cannot start, because it cannot listen at its configured addresses"
            );
            return ExitCode::FAILURE;
        }
    };
    // The file is removed when the variable is dropped, after the agent has stopped.
    let mut _token_file = None;
    if config.tokens.is_empty() {
        let port = listeners.addresses().first().map_or(config.listen.port, SocketAddr::port);
        match generate_token(port) {
            Ok((token, file)) => {
                tracing::info!(path = %file.path.display(), "no token is configured, so the agent wrote a random token to a file, whose path is in the field `path` of this log line");
                config.tokens.push(token);
                _token_file = Some(file);
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

/// Generates a token for the agent at `port`, and writes the token to a file for other commands of
/// the same user.
fn generate_token(port: u16) -> io::Result<(Token, AgentFile)> {
    let text = agent_file::random_token()?;
    let file = AgentFile::write(&Environment, Kind::Token, port, &text)?;
    Ok((Token::new(text).map_err(io::Error::other)?, file))
}

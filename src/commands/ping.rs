//! `sidekey ping`: checks that an agent is running.

use super::agent_file;
use crate::client::{Address, Answer, Client, ClientError};
use crate::clock::{SystemClock, within};
use crate::config::contact::contact;
use crate::config::vars::{Environment, Overridden};
use crate::config::{self, Host};
use crate::printable::Printable;
use crate::tokens::Token;
use anyhow::Context;
use serde_json::Value;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

/// How long `sidekey ping` waits for an answer from the agent.
const WAIT_MAX: Duration = Duration::from_secs(2);

const EXAMPLES: &str = "\
Examples:
  sidekey ping
  sidekey ping --ready --port 2774
  HEALTHCHECK CMD [\"sidekey\", \"ping\", \"--ready\"]

The command writes nothing if the agent runs, and otherwise says why not. With the agent's token, it \
also names the secrets that are not cached.

Exit codes: 0 yes; 1 no.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Connect to this port [default: SIDEKEY_PORT, else 2773]
    #[arg(long)]
    port: Option<u16>,
    /// Also check that every secret in SIDEKEY_SECRETS is cached
    #[arg(long)]
    ready: bool,
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let mut vars = Overridden::new(&Environment);
    if let Some(port) = args.port {
        vars.set("SIDEKEY_PORT", &port.to_string());
    }
    // The command needs no token, so it also works with a mistake in the configuration. With a token,
    // the agent names the secrets that are not cached.
    let contact = contact(&vars, Host::Standalone).ok();
    let token = contact.and_then(|contact| contact.or_generated(agent_file::token).token);
    let port = config::load(&vars, Host::Standalone).config.listen.port;
    let address = Address::Loopback(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let path = if args.ready { "/ready" } else { "/ping" };
    let answer = within(&SystemClock::new(), WAIT_MAX, request(&address, path, token.as_ref()))
        .await
        .with_context(|| format!("the agent at {address} did not answer within {WAIT_MAX:?}"))?
        .context("start an agent with `sidekey serve`, or set SIDEKEY_PORT to the agent's port")?;
    if answer.status.is_success() {
        return Ok(ExitCode::SUCCESS);
    }
    anyhow::bail!(
        "the agent at {address} {}",
        problem(answer.status.as_u16(), answer.body.expose())
    )
}

async fn request(
    address: &Address,
    path: &str,
    token: Option<&Token>,
) -> Result<Answer, ClientError> {
    Client::connect(address, token).await?.get(path).await
}

/// Returns why an agent is not ready, for the end of a sentence. `body` is the agent's answer to
/// `/ready`, which names the missing secrets only if the request had a valid token.
fn problem(status: u16, body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let Some(count) = body["listed_missing"].as_u64() else {
        return format!("answered with HTTP status {status}; another program may use this port");
    };
    let names: Vec<String> = body["missing"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|name| name.as_str())
        .map(|name| Printable(name).to_string())
        .collect();
    match (count, names.is_empty()) {
        (0, _) => "is not ready: it is still starting, or it is stopping".to_owned(),
        (_, true) => format!(
            "is not ready: {count} secrets of SIDEKEY_SECRETS are not cached yet; to see their names, \
             set SIDEKEY_TOKEN to the agent's token"
        ),
        (_, false) => format!(
            "is not ready: it has not cached {}; run `sidekey check` to see why",
            names.join(", ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answer_that_is_not_ready_is_explained() {
        for (body, expected) in [
            (r#"{"ready":false,"listed_missing":0}"#, "it is still starting, or it is stopping"),
            (r#"{"ready":false,"listed_missing":2}"#, "2 secrets of SIDEKEY_SECRETS"),
            (r#"{"listed_missing":2,"missing":["a","b\u001b"]}"#, "it has not cached a, b?; run"),
            ("<html>", "answered with HTTP status 503; another program"),
        ] {
            let problem = problem(503, body.as_bytes());
            assert!(problem.contains(expected), "{problem}");
        }
    }
}

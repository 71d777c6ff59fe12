//! `sidekey ping`: checks that an agent is running.

use super::agent_file;
use crate::client::{Address, Answer, Client, ClientError};
use crate::clock::{SystemClock, within};
use crate::config::contact::contact;
use crate::config::vars::{Environment, Overridden};
use crate::config::{self, Host};
use crate::tokens::Token;
use anyhow::Context;
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

The command writes nothing if the check succeeds, and otherwise writes the reason. With --ready and the \
agent's token, the command also names the secrets that are not cached.

Exit codes: 0 the check succeeded; 1 the check failed.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Connect to this port [default: SIDEKEY_PORT, else 2773]
    #[arg(long)]
    port: Option<u16>,
    /// Also check that the secrets in SIDEKEY_SECRETS are cached
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
    let contact = contact(&vars, Host::Standalone).ok().filter(|_| args.ready);
    let token = contact.and_then(|contact| contact.or_generated(agent_file::token).token);
    let port = config::load(&vars, Host::Standalone).config.listen.port;
    let address = Address::Loopback(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let path = if args.ready { "/ready" } else { "/ping" };
    let answer = within(&SystemClock::new(), WAIT_MAX, request(&address, path, token.as_ref()))
        .await
        .with_context(|| format!("the agent at {address} did not answer within {WAIT_MAX:?}"))?
        .map_err(|error| match error {
            ClientError::NoAgent(..) => anyhow::anyhow!(
                "{error}; start an agent with `sidekey serve`, or set SIDEKEY_PORT to the agent's port"
            ),
            other => other.into(),
        })?;
    if answer.status.is_success() && answer.is_of_an_agent() {
        return Ok(ExitCode::SUCCESS);
    }
    anyhow::bail!("the check of the agent at {address} failed: {}", answer.why_not_ready())
}

async fn request(
    address: &Address,
    path: &str,
    token: Option<&Token>,
) -> Result<Answer, ClientError> {
    Client::connect(address, token).await?.get(path).await
}

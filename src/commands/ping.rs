//! `sidekey ping`: checks that an agent is running.

use crate::client::{Address, Answer, Client, ClientError};
use crate::clock::{SystemClock, within};
use crate::config::vars::Environment;
use crate::config::{self, Host};
use anyhow::Context;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

/// How long `sidekey ping` waits for an answer from the agent.
const WAIT_MAX: Duration = Duration::from_secs(2);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Connect to this port [default: SIDEKEY_PORT, else 2773]
    #[arg(long)]
    port: Option<u16>,
    /// Also check that every secret in SIDEKEY_SECRETS is cached
    #[arg(long)]
    ready: bool,
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let port = args
        .port
        .unwrap_or_else(|| config::load(&Environment, Host::Standalone).config.listen.port);
    let address = Address::Loopback(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let path = if args.ready { "/ready" } else { "/ping" };
    let answer = within(&SystemClock::new(), WAIT_MAX, request(&address, path))
        .await
        .with_context(|| format!("the agent at {address} did not answer within {WAIT_MAX:?}"))??;
    Ok(if answer.status.is_success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn request(address: &Address, path: &str) -> Result<Answer, ClientError> {
    Client::connect(address, None).await?.get(path).await
}

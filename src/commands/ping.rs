//! `sidekey ping`: asks a running agent whether it lives.

use crate::client::{Address, Client};
use crate::clock::{SystemClock, within};
use crate::config::vars::Environment;
use crate::config::{self, Host};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

/// How long an agent may take to answer.
const WAIT_MAX: Duration = Duration::from_secs(2);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Port of the agent [default: SIDEKEY_PORT, else 2773]
    #[arg(long)]
    port: Option<u16>,
    /// Ask whether every listed secret is held, not only whether the agent lives
    #[arg(long)]
    ready: bool,
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let configured = || config::load(&Environment, Host::Standalone).config.listen.port;
    let port = args.port.unwrap_or_else(configured);
    let path = if args.ready { "/ready" } else { "/ping" };
    let asked = async {
        let address = Address::Loopback(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        Client::connect(&address, None).await?.get(path).await
    };
    let answered = within(&SystemClock::new(), WAIT_MAX, asked).await;
    let status = answered.ok_or_else(|| anyhow::anyhow!("no answer within {WAIT_MAX:?}"))??.status;
    Ok(if status.is_success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

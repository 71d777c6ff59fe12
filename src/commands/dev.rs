//! `sidekey dev`: the agent in front of an embedded Secrets Manager, for a first look and for work
//! without an AWS account.

mod secrets;
mod watch;

use super::serve::stop_signal;
use super::streams::out;
use super::token_file;
use crate::agent::{Agent, Listeners, reserve_descriptors};
use crate::cache::prefetch::Report;
use crate::client::{Address, Client};
use crate::clock::{Clock, SystemClock};
use crate::config::vars::{Environment, Vars};
use crate::config::{self, Config, Host, Loaded, span};
use crate::hardening;
use crate::secret::key::Key;
use crate::secret::reference::SecretId;
use crate::secret::selector::Selector;
use crate::source::Source;
use crate::source::secrets_manager::SecretsManager;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::{log, panics};
use crate::tokens::{Token, Tokens};
use anyhow::Context;
use fake_aws::Fake;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrets::Secrets;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// How many reads are timed on either side.
const TIMED_READS: usize = 20;

/// How long readers in hand are answered after Ctrl-C.
const DRAIN_MAX: Duration = Duration::from_secs(1);

/// What a name keeps as it is in a query.
const AS_IS: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.');

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// JSON or TOML file of secrets, NAME: VALUE, watched for changes [default: six examples]
    #[arg(long, value_name = "FILE")]
    secrets: Option<PathBuf>,
    /// How long each call to the embedded Secrets Manager takes
    #[arg(long, value_name = "SPAN", default_value = "20ms", value_parser = span::parse)]
    latency: Duration,
    /// Port on localhost; 0 takes a free one [default: SIDEKEY_PORT, else 2773]
    #[arg(long)]
    port: Option<u16>,
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let stopped = stop_signal()?;
    let secrets = Secrets::load(args.secrets.clone())?;
    let clock = Arc::new(SystemClock::new());
    let wall = clock.clone();
    let fake = Fake::start(Arc::new(move || wall.now().wall)).await?;
    fake.secrets().apply(secrets.seed());
    fake.faults().set_latency(args.latency);

    let (vars, shown_token) = variables(&args, &secrets, &fake.url())?;
    let Loaded { mut config, mistakes, .. } = config::load(&vars, Host::Standalone);
    if !mistakes.is_empty() {
        anyhow::bail!(mistakes);
    }
    config.log.format = log::Format::Text;
    let is_told =
        ["SIDEKEY_CONVENTIONS", "SIDEKEY_STRICT"].iter().any(|name| vars.contains_key(*name));
    if args.secrets.is_none() && !is_told {
        // The examples are placeholders on purpose: a warning about each would tell nobody anything.
        config.cache.conventions = Arc::default();
    }
    let direct = direct(&vars, clock.clone()).await?;
    let token = Token::new(vars["SIDEKEY_TOKEN"].clone())?;
    let metrics = Arc::new(Metrics::new());
    let _log = log::start(config.log, &metrics.log_lines_dropped);
    let agent = start(config, metrics, clock.clone()).await?;
    let report = agent.prefetched().await.context("the prefetch was given up")?;
    let address = *agent.addresses().first().context("no address is held")?;
    let mut client = Client::connect(&Address::Loopback(address), Some(&token)).await?;

    out(&started(&fake.url(), &args, &report, &secrets));
    out(&how_to_ask(address, &shown_token, &secrets));
    out(&side_by_side(&*clock, &direct, &mut client, &secrets).await?);
    out(&match &args.secrets {
        Some(path) => format!("Change {}, and see it picked up. Ctrl-C ends it.\n", path.display()),
        None => "Give your own with --secrets FILE. Ctrl-C ends it.\n".to_owned(),
    });
    tokio::select! {
        () = stopped => {}
        ended = watch::run(&*clock, &fake, secrets, &mut client, out) => ended?,
    }
    drop(client);
    agent.drain(DRAIN_MAX).await;
    fake.stop().await;
    Ok(ExitCode::SUCCESS)
}

/// Returns the variables of this run, and the token as the printed command shows it. `AWS_*`
/// variables of whoever runs it are left out: nothing here may reach their account.
fn variables(
    args: &Args,
    secrets: &Secrets,
    endpoint: &str,
) -> anyhow::Result<(BTreeMap<String, String>, String)> {
    let own = Environment.names().into_iter().filter(|name| name.starts_with("SIDEKEY_"));
    let mut vars: BTreeMap<String, String> =
        own.filter_map(|name| Environment.get(&name).map(|value| (name, value))).collect();
    let mut default = |name: &str, value: String| {
        vars.entry(name.to_owned()).or_insert(value);
    };
    default("SIDEKEY_SECRETS", secrets.names().collect::<Vec<_>>().join(","));
    default("SIDEKEY_TTL", "10s".to_owned());
    default("SIDEKEY_LOG", "warn".to_owned());
    let shown_token = match Environment.get("SIDEKEY_TOKEN") {
        Some(_) => "'\"$SIDEKEY_TOKEN\"'".to_owned(),
        None => token_file::random()?,
    };
    default("SIDEKEY_TOKEN", shown_token.clone());
    for (name, value) in [
        ("SIDEKEY_ENDPOINT", endpoint),
        ("SIDEKEY_REGION", "eu-north-1"),
        ("AWS_ACCESS_KEY_ID", "ASIADEVELOPMENT00000"),
        ("AWS_SECRET_ACCESS_KEY", "development"),
        ("AWS_SESSION_TOKEN", "development"),
    ] {
        vars.insert(name.to_owned(), value.to_owned());
    }
    if let Some(port) = args.port {
        vars.insert("SIDEKEY_PORT".to_owned(), port.to_string());
    }
    Ok((vars, shown_token))
}

async fn start(
    mut config: Config,
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
) -> anyhow::Result<Agent> {
    panics::observe(metrics.clone());
    hardening::harden().context("the process could not be made undumpable")?;
    reserve_descriptors(&mut config.listen);
    let bound = Listeners::bind(&config.listen).await;
    let listeners = bound.context("cannot listen; for another port: --port 0")?;
    Ok(Agent::start(listeners, config, metrics, clock).await?)
}

/// Prepares a client of the embedded Secrets Manager as a function without Sidekey would have it.
async fn direct(
    vars: &BTreeMap<String, String>,
    clock: Arc<dyn Clock>,
) -> anyhow::Result<SecretsManager> {
    let tokens = Arc::new(Tokens::new(Vec::new()));
    let config = config::load(vars, Host::Standalone).config;
    let own_ports = vec![config.listen.port];
    Ok(SecretsManager::prepare(config.source, own_ports, tokens, clock).await?)
}

fn started(endpoint: &str, args: &Args, report: &Report, secrets: &Secrets) -> String {
    let held = report.listed - report.missing.len();
    let mut text = format!(
        "Secrets Manager, embedded: {endpoint}, {} secrets, {:?} a call\n\
         Prefetched {held} of {} in {:.1} ms\n",
        secrets.len(),
        args.latency,
        report.listed,
        report.took.as_secs_f64() * 1000.0,
    );
    for name in secrets.names() {
        text.push_str(&format!("  {name}\n"));
    }
    text
}

fn how_to_ask(address: SocketAddr, token: &str, secrets: &Secrets) -> String {
    let name = secrets.names().next().unwrap_or("NAME");
    format!(
        "\nAsk for one:\n\n  curl -H 'X-Aws-Parameters-Secrets-Token: {token}' \
         'http://{address}{}'\n\n",
        path_of(name)
    )
}

/// Returns the path at which the secret called `name` is read.
fn path_of(name: &str) -> String {
    format!("/secretsmanager/get?secretId={}", utf8_percent_encode(name, AS_IS))
}

/// Times the same read on both sides.
async fn side_by_side(
    clock: &dyn Clock,
    direct: &SecretsManager,
    client: &mut Client,
    secrets: &Secrets,
) -> anyhow::Result<String> {
    let Some(name) = secrets.names().next() else {
        return Ok(String::new());
    };
    let key = Key { id: SecretId::parse(name)?, selector: Selector::current() };
    let path = path_of(name);
    let (mut from_aws, mut from_sidekey) = (Vec::new(), Vec::new());
    for _ in 0..TIMED_READS {
        let started = clock.now();
        direct.fetch(&key).await?;
        from_aws.push(since(clock, started));
        let started = clock.now();
        let answered = client.get(&path).await?;
        from_sidekey.push(since(clock, started));
        if !answered.status.is_success() {
            // It may be meant: SIDEKEY_ALLOW, SIDEKEY_STRICT.
            return Ok(format!("That one is refused, with {}.\n\n", answered.status));
        }
    }
    let (from_aws, from_sidekey) = (median(from_aws), median(from_sidekey));
    Ok(format!(
        "The same read, median of {TIMED_READS}:\n\
         \x20 from Secrets Manager, with the AWS SDK  {:>9.3} ms\n\
         \x20 from Sidekey, over HTTP                 {:>9.3} ms\n\n",
        from_aws.as_secs_f64() * 1000.0,
        from_sidekey.as_secs_f64() * 1000.0,
    ))
}

fn since(clock: &dyn Clock, started: crate::clock::Moment) -> Duration {
    clock.now().since(started).unwrap_or_default()
}

fn median(mut spans: Vec<Duration>) -> Duration {
    spans.sort_unstable();
    spans[spans.len() / 2]
}

//! The command `sidekey dev`: runs the agent together with a fake Secrets Manager, so that users
//! can try Sidekey without an AWS account.

mod secrets;
mod watch;

use super::stop_signals::StopSignals;
use super::streams::out;
use super::token_file;
use crate::agent::{Agent, Listeners, reserve_descriptors};
use crate::cache::prefetch::Report;
use crate::client::{Address, Client};
use crate::clock::{Clock, Moment, SystemClock};
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
use secrets::{Secrets, path_of};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// The number of reads that `sidekey dev` times. It reads a secret this many times from Sidekey and
/// this many times from the fake Secrets Manager, and then prints both durations.
const TIMED_READS: usize = 20;

/// How long requests in progress may continue after the user presses Ctrl-C.
const DRAIN_MAX: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Serve secrets from a JSON or TOML file, reloading changes [default: six examples]
    #[arg(long, value_name = "FILE")]
    secrets: Option<PathBuf>,
    /// Delay each call to the fake Secrets Manager by SPAN
    #[arg(long, value_name = "SPAN", default_value = "20ms", value_parser = span::parse)]
    latency: Duration,
    /// Listen on this localhost port; 0 picks a free port [default: SIDEKEY_PORT, else 2773]
    #[arg(long)]
    port: Option<u16>,
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let mut signals = StopSignals::register()?;
    let secrets = Secrets::load(args.secrets.clone())?;
    let clock = Arc::new(SystemClock::new());
    let wall = clock.clone();
    let fake = Fake::start(Arc::new(move || wall.now().wall)).await?;
    fake.secrets().apply(secrets.seed());
    fake.faults().set_latency(args.latency);

    let (vars, displayed_token) = variables(&args, &secrets, &fake.url())?;
    let Loaded { mut config, mistakes, .. } = config::load(&vars, Host::Standalone);
    if !mistakes.is_empty() {
        anyhow::bail!(mistakes);
    }
    config.log.format = log::Format::Text;
    let checks_conventions =
        ["SIDEKEY_CONVENTIONS", "SIDEKEY_STRICT"].iter().any(|name| vars.contains_key(*name));
    if args.secrets.is_none() && !checks_conventions {
        // The example secrets contain dummy values and therefore violate Sidekey's conventions on
        // purpose. Warnings about the dummy values would only confuse the user.
        config.cache.conventions = Arc::default();
    }
    let direct = direct(&vars, clock.clone()).await?;
    let token = Token::new(vars["SIDEKEY_TOKEN"].clone())?;
    let metrics = Arc::new(Metrics::new());
    let _log = log::start(config.log, &metrics.log_lines_dropped);
    let agent = start(config, metrics, clock.clone()).await?;
    let report = agent
        .prefetched()
        .await
        .context("Sidekey stopped before it had prefetched all secrets: run `sidekey dev` again")?;
    let address = *agent.addresses().first().context("the agent does not listen on any address")?;
    let mut client = Client::connect(&Address::Loopback(address), Some(&token)).await?;

    out(&summary(&fake.url(), &args, &report, &secrets));
    out(&read_example(address, &displayed_token, &secrets));
    out(&comparison(&*clock, &direct, &mut client, &secrets).await?);
    out(&match &args.secrets {
        Some(path) => {
            format!(
                "Edit {}, and Sidekey serves the new values. Press Ctrl-C to stop.\n",
                path.display()
            )
        }
        None => {
            "Use `--secrets FILE` to serve your own secrets. Press Ctrl-C to stop.\n".to_owned()
        }
    });
    tokio::select! {
        () = signals.next() => {}
        result = watch::run(&*clock, &fake, secrets, &mut client, out) => result?,
    }
    drop(client);
    let stop = async {
        agent.drain(DRAIN_MAX).await;
        fake.stop().await;
    };
    let is_complete = signals.complete(stop).await;
    Ok(if is_complete { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Returns the environment variables for the agent, and the token for the curl command that
/// `sidekey dev` prints.
///
/// The result omits the user's `AWS_*` variables, so that the agent cannot call the user's AWS
/// account.
fn variables(
    args: &Args,
    secrets: &Secrets,
    endpoint: &str,
) -> anyhow::Result<(BTreeMap<String, String>, String)> {
    let own = Environment.names().into_iter().filter(|name| name.starts_with("SIDEKEY_"));
    let mut vars: BTreeMap<String, String> =
        own.filter_map(|name| Environment.get(&name).map(|value| (name, value))).collect();
    let mut default = |name: &str, value: String| {
        let entry = vars.entry(name.to_owned()).or_default();
        // An empty variable counts as unset.
        if entry.trim().is_empty() {
            *entry = value;
        }
    };
    default("SIDEKEY_SECRETS", secrets.names().collect::<Vec<_>>().join(","));
    default("SIDEKEY_TTL", "10s".to_owned());
    default("SIDEKEY_LOG", "warn".to_owned());
    let token = Environment.get("SIDEKEY_TOKEN");
    let displayed_token = match token.filter(|token| !token.trim().is_empty()) {
        Some(_) => "'\"$SIDEKEY_TOKEN\"'".to_owned(),
        None => token_file::random()?,
    };
    default("SIDEKEY_TOKEN", displayed_token.clone());
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
    Ok((vars, displayed_token))
}

async fn start(
    mut config: Config,
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
) -> anyhow::Result<Agent> {
    panics::observe(metrics.clone());
    hardening::harden().context(
        "Sidekey could not disable core dumps of its process, which would contain secrets",
    )?;
    reserve_descriptors(&mut config.listen);
    let bound = Listeners::bind(&config.listen).await;
    let listeners = bound
        .context("Sidekey could not listen on the port: add `--port 0` to use any free port")?;
    Ok(Agent::start(listeners, config, metrics, clock).await?)
}

/// Creates a client of the fake Secrets Manager. The command needs it to compare the speed with and
/// without Sidekey.
async fn direct(
    vars: &BTreeMap<String, String>,
    clock: Arc<dyn Clock>,
) -> anyhow::Result<SecretsManager> {
    let tokens = Arc::new(Tokens::new(Vec::new()));
    let config = config::load(vars, Host::Standalone).config;
    let own_ports = vec![config.listen.port];
    Ok(SecretsManager::prepare(config.source, own_ports, tokens, clock).await?)
}

fn summary(endpoint: &str, args: &Args, report: &Report, secrets: &Secrets) -> String {
    let prefetched = report.listed - report.missing.len();
    let mut text = format!(
        "Fake Secrets Manager: {endpoint}, {} secrets, {:?} per call\n\
         Prefetched {prefetched} of {} secrets in {:.1} ms\n",
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

fn read_example(address: SocketAddr, token: &str, secrets: &Secrets) -> String {
    let name = secrets.names().next().unwrap_or("NAME");
    format!(
        "\nRead a secret:\n\n  curl -H 'X-Aws-Parameters-Secrets-Token: {token}' \
         'http://{address}{}'\n\n",
        path_of(name)
    )
}

/// Measures how long it takes to read one secret from the fake Secrets Manager and from Sidekey.
/// Returns a text for the user with both times.
async fn comparison(
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
        from_aws.push(elapsed(clock, started));
        let started = clock.now();
        let response = client.get(&path).await?;
        from_sidekey.push(elapsed(clock, started));
        if !response.status.is_success() {
            // A refused read is not an error of this command, because the user may have set
            // SIDEKEY_ALLOW or SIDEKEY_STRICT on purpose.
            return Ok(format!(
                "Sidekey refused to serve {name}, with HTTP status {}.\n\n",
                response.status
            ));
        }
    }
    let (from_aws, from_sidekey) = (median(from_aws), median(from_sidekey));
    Ok(format!(
        "Median time of {TIMED_READS} reads:\n\
         \x20 from Secrets Manager, with the AWS SDK  {:>9.3} ms\n\
         \x20 from Sidekey, over HTTP                 {:>9.3} ms\n\n",
        from_aws.as_secs_f64() * 1000.0,
        from_sidekey.as_secs_f64() * 1000.0,
    ))
}

fn elapsed(clock: &dyn Clock, started: Moment) -> Duration {
    clock.now().since(started).unwrap_or_default()
}

fn median(mut spans: Vec<Duration>) -> Duration {
    spans.sort_unstable();
    spans[spans.len() / 2]
}

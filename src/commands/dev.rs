//! The command `sidekey dev`: runs the agent together with a fake of AWS, so that users can try
//! Sidekey without an AWS account.

mod page;
mod secrets;
mod watch;

use super::agent_file::{self, AgentFile, Kind};
use super::beside_dev::fake_variables;
use super::stop_signals::StopSignals;
use super::streams::out;
use crate::agent::{Agent, Listeners, reserve_descriptors};
use crate::cache::prefetch::Report;
use crate::client::{Address, Client};
use crate::clock::{Clock, Moment, SystemClock};
use crate::config::variables::DEFAULT_PORT;
use crate::config::vars::{Environment, Vars};
use crate::config::{self, Config, Host, Loaded, span};
use crate::hardening;
use crate::secret::key::Key;
use crate::secret::reference::Reference;
use crate::source::Source;
use crate::source::aws::Aws;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::{log, panics};
use crate::tokens::{Token, Tokens};
use anyhow::Context;
use fake_aws::Fake;
use page::{Page, PageState, Stage};
use secrets::{Secrets, path_of};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// How many times `sidekey dev` reads one secret from Sidekey and from the fake Secrets Manager, to
/// print the median durations of both.
const TIMED_READS: usize = 20;

/// How long requests in progress may continue after the user presses Ctrl-C.
const DRAIN_MAX: Duration = Duration::from_secs(1);

const EXAMPLES: &str = "\
Examples:
  sidekey dev
  sidekey dev --secrets secrets.toml --latency 200ms
  SIDEKEY_STRICT=true sidekey dev --port 2774

A file of secrets has lines such as 'app/db = { user = \"joan\", password = \"example\" }' in TOML, or one \
JSON object. The name of a parameter begins with ssm:, as in '\"ssm:/app/url\" = \"https://example.com\"'; a \
list of strings is a StringList, and { \"$secure\" = \"example\" } is a SecureString. The command uses SIDEKEY_* variables, but no AWS_* variables, and never calls AWS. While it \
runs, `sidekey get`, `sidekey exec` and `sidekey check` in another terminal read its secrets.

Exit codes: 0 Ctrl-C or SIGTERM ended the command; 1 the command could not start, or failed.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Serve secrets from a JSON or TOML file, and reload changes [default: six example secrets and a parameter]
    #[arg(long, value_name = "FILE")]
    secrets: Option<PathBuf>,
    /// Delay each call to the fake Secrets Manager by this duration
    #[arg(long, value_name = "SPAN", default_value = "20ms", value_parser = latency)]
    latency: Duration,
    /// Listen on this localhost port; 0 picks a free port [default: SIDEKEY_PORT, else 2773]
    #[arg(long)]
    port: Option<u16>,
    /// Do not serve the page that shows the cache in a browser
    #[arg(long)]
    no_page: bool,
}

/// Parses the value of `--latency`, such as `20ms`. Refuses a number without a unit, because users
/// usually mean milliseconds, but Sidekey's settings mean seconds.
fn latency(text: &str) -> Result<Duration, String> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number && text != "0" {
        return Err(format!("the duration has no unit: write {text}ms or {text}s"));
    }
    span::parse(text).map_err(|bad| bad.to_string())
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let mut signals = StopSignals::register()?;
    let secrets = Secrets::load(args.secrets.clone())?;
    let clock = Arc::new(SystemClock::new());
    let wall = clock.clone();
    let fake = Fake::start(Arc::new(move || wall.now().wall)).await?;
    fake.apply(secrets.seed());
    fake.faults().set_latency(args.latency);

    let vars = variables(&args, &secrets, &fake.url());
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
    let has_own_token = vars.get("SIDEKEY_TOKEN").is_some_and(|token| !token.trim().is_empty());
    let mut generated = None;
    if !has_own_token {
        let text = agent_file::random_token()?;
        config.tokens = vec![Token::new(text.clone())?];
        generated = Some(text);
    }
    let metrics = Arc::new(Metrics::new());
    let _log = log::start(config.log, &metrics.log_lines_dropped);
    let page = if args.no_page { None } else { Some(Page::bind().await?) };
    let listeners = listen(&mut config, metrics.clone()).await?;
    let address = *listeners
        .addresses()
        .first()
        .context("the agent of `sidekey dev` listens on no address")?;
    // The files are removed when the variable is dropped, after the agent has stopped.
    let files = agent_files(address.port(), &fake.url(), generated.as_deref());
    let agent = Agent::start(listeners, config, metrics.clone(), clock.clone()).await?;
    let report = agent
        .prefetched()
        .await
        .context("Sidekey stopped before it had prefetched all secrets: run `sidekey dev` again")?;
    let token = match &generated {
        Some(text) => Some(Token::new(text.clone())?),
        None => config::load(&vars, Host::Standalone).config.tokens.into_iter().next(),
    };
    let mut client = Client::connect(&Address::Loopback(address), token.as_ref()).await?;

    out(&summary(&fake.url(), &args, &report, &secrets));
    out(&read_example(address, generated.as_deref(), &files, &secrets));
    out(&comparison(&*clock, &direct, &mut client, &secrets).await?);
    if let Some(page) = &page {
        out(&format!(
            "To watch the cache, rotate secrets and make AWS fail, open {}\n",
            page.url()
        ));
    }
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
    let stage = Stage {
        agent: &agent,
        fake: &fake,
        metrics: &metrics,
        clock: &*clock,
        address: Address::Loopback(address),
        token,
        latency: args.latency,
        own: PageState::default(),
    };
    tokio::select! {
        () = signals.next() => {}
        result = watch::run(&*clock, &fake, secrets, &mut client, out) => result?,
        result = serve(page, stage) => match result? {},
    }
    drop(client);
    let stop = async {
        agent.drain(DRAIN_MAX).await;
        fake.stop().await;
    };
    let is_complete = signals.complete(stop).await;
    drop(files);
    Ok(if is_complete { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Serves the page until the caller drops the future. Does nothing if there is no page.
async fn serve(page: Option<Page>, stage: Stage<'_>) -> anyhow::Result<Infallible> {
    match page {
        Some(page) => page.serve(stage).await,
        None => pending().await,
    }
}

/// Returns the environment variables for the agent that `sidekey dev` runs.
///
/// The result omits the user's `AWS_*` variables, so that the agent cannot call the user's AWS
/// account.
fn variables(args: &Args, secrets: &Secrets, endpoint: &str) -> BTreeMap<String, String> {
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
    for (name, value) in fake_variables(endpoint) {
        vars.insert(name.to_owned(), value.to_owned());
    }
    if let Some(port) = args.port {
        vars.insert("SIDEKEY_PORT".to_owned(), port.to_string());
    }
    vars
}

/// Disables core dumps of this process, because a core dump would contain secrets. Then opens the
/// agent's ports.
async fn listen(config: &mut Config, metrics: Arc<Metrics>) -> anyhow::Result<Listeners> {
    panics::observe(metrics);
    hardening::harden().context(
        "Sidekey could not disable core dumps of its process, and a core dump would contain secrets",
    )?;
    reserve_descriptors(&mut config.listen);
    let bound = Listeners::bind(&config.listen).await;
    bound.context("Sidekey could not listen on the port: add `--port 0` to use any free port")
}

/// Writes the files from which other commands read the agent's token and the URL of the fake
/// Secrets Manager. Returns no files if writing fails.
fn agent_files(port: u16, endpoint: &str, token: Option<&str>) -> Vec<AgentFile> {
    let token = token.map(|token| (Kind::Token, token));
    let contents = token.into_iter().chain([(Kind::FakeEndpoint, endpoint)]);
    let files: io::Result<Vec<AgentFile>> =
        contents.map(|(kind, text)| AgentFile::write(&Environment, kind, port, text)).collect();
    files.unwrap_or_default()
}

/// Creates a client that reads directly from the fake Secrets Manager, to compare the speed of such
/// reads with reads from Sidekey.
async fn direct(vars: &BTreeMap<String, String>, clock: Arc<dyn Clock>) -> anyhow::Result<Aws> {
    let tokens = Arc::new(Tokens::new(Vec::new()));
    let config = config::load(vars, Host::Standalone).config;
    let own_ports = vec![config.listen.port];
    Ok(Aws::prepare(config.source, own_ports, tokens, clock).await?)
}

fn summary(endpoint: &str, args: &Args, report: &Report, secrets: &Secrets) -> String {
    let prefetched = report.listed - report.missing.len();
    let mut text = format!(
        "Fake AWS: {endpoint}, {}, {:?} per call\n\
         Prefetched {prefetched} of {} values in {:.1} ms\n",
        secrets.count(),
        args.latency,
        report.listed,
        report.took.as_secs_f64() * 1000.0,
    );
    for name in secrets.names() {
        text.push_str(&format!("  {name}\n"));
    }
    text
}

/// Returns the text that tells the user how to read a secret. `token` is the generated token of the
/// agent, or `None` if the user has set a token.
fn read_example(
    address: SocketAddr,
    token: Option<&str>,
    files: &[AgentFile],
    secrets: &Secrets,
) -> String {
    let name = secrets.names().next().unwrap_or_else(|| "NAME".into());
    // With `cargo run`, this is a path such as target/debug/sidekey.
    let program = std::env::args().next().unwrap_or_else(|| "sidekey".to_owned());
    let mut exports = Vec::new();
    if address.port().to_string() != DEFAULT_PORT {
        exports.push(format!("  export SIDEKEY_PORT={}\n", address.port()));
    }
    exports.extend(token.map(|token| format!("  export SIDEKEY_TOKEN={token}\n")));
    let mut text = format!(
        "\nIn another terminal:\n\n{}  curl -H \"X-Aws-Parameters-Secrets-Token: $SIDEKEY_TOKEN\" \
         'http://{address}{}'\n  {program} get --show {name}\n",
        exports.concat(),
        path_of(&name)
    );
    if token.is_some() && !files.is_empty() {
        text.push_str(
            "\nThe commands `sidekey get`, `sidekey exec` and `sidekey check` need no SIDEKEY_TOKEN.\n",
        );
    }
    text.push('\n');
    text
}

/// Measures how long it takes to read one secret from the fake Secrets Manager and from Sidekey.
/// Returns a text for the user with both times.
async fn comparison(
    clock: &dyn Clock,
    direct: &Aws,
    client: &mut Client,
    secrets: &Secrets,
) -> anyhow::Result<String> {
    let Some(name) = secrets.names().next() else {
        return Ok(String::new());
    };
    let Reference { id, selector, .. } = Reference::parse(&name)?;
    let key = Key::own(id, selector);
    let path = path_of(&name);
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
                "Sidekey refused to serve the secret {name}, with HTTP status {}.\n\n",
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latency_without_a_unit_is_refused() {
        assert_eq!(latency("20ms"), Ok(Duration::from_millis(20)));
        assert_eq!(latency("0"), Ok(Duration::ZERO));
        assert_eq!(latency("20"), Err("the duration has no unit: write 20ms or 20s".to_owned()));
        assert!(latency("").is_err_and(|bad| bad.starts_with("the value must be a duration")));
    }
}

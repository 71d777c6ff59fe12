//! `sidekey get`: one secret for a script, through the agent that runs or directly from AWS.

mod shown;

use super::streams::err;
use super::{advice, token_file};
use crate::client::secret::Unread;
use crate::client::{AskError, Client};
use crate::clock::{Clock, SystemClock, within};
use crate::config::contact::{Contact, contact};
use crate::config::vars::Environment;
use crate::config::{self, Host, Loaded, Mistakes};
use crate::hardening;
use crate::secret::key::Key;
use crate::secret::reference::Reference;
use crate::secret::version::Version;
use crate::source::Source;
use crate::source::secrets_manager::SecretsManager;
use crate::tokens::Tokens;
use shown::{From, Shown};
use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// The exit codes.
const UNREAD: u8 = 1;
const USAGE: u8 = 2;

/// How long an agent may take to answer. It gives up first, and says why: after 5 s by default.
const AGENT_WAIT_MAX: Duration = Duration::from_secs(30);

const EXAMPLES: &str = "\
Examples:
  PGPASSWORD=\"$(sidekey get app/db#password)\" psql
  sidekey get app/certificate > certificate.p12
  sidekey get --json app/db | jq -r .versionId
  sidekey get --direct arn:aws:secretsmanager:eu-north-1:123456789012:secret:app/db-AbC123

The agent is asked where one listens, as SIDEKEY_PORT, SIDEKEY_SOCKET and SIDEKEY_TOKEN say; where
nobody does, Secrets Manager, as an agent with these variables would. A refusal of the agent's is
final: Secrets Manager is not asked instead.

To a pipe or a file goes the value and nothing else, a binary one byte for byte. A terminal gets it
only with --show, and a newline behind it.

Exit codes: 0 the secret was read; 1 it was not; 2 a mistake in what was given or configured.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// A name or an ARN, for one field of a JSON value with #FIELD
    reference: String,
    /// Ask the running agent, and nobody else
    #[arg(long, conflicts_with = "direct")]
    agent: bool,
    /// Ask Secrets Manager, also where an agent runs
    #[arg(long)]
    direct: bool,
    /// Write the value also where a person may see it
    #[arg(long)]
    show: bool,
    /// Write JSON: reference, arn, name, versionId, versionStages, createdDate, source, and value or
    /// valueBase64; the value to a terminal only with --show
    #[arg(long)]
    json: bool,
}

/// Why nothing was written: what is told, and the exit code.
struct Failure {
    told: Vec<String>,
    code: u8,
}

impl Failure {
    fn usage(told: impl Into<String>) -> Self {
        Self { told: vec![told.into()], code: USAGE }
    }

    fn unread(told: impl Into<String>) -> Self {
        Self { told: vec![told.into()], code: UNREAD }
    }
}

impl std::convert::From<Mistakes> for Failure {
    fn from(mistakes: Mistakes) -> Self {
        Self { told: mistakes.0.iter().map(ToString::to_string).collect(), code: USAGE }
    }
}

pub(super) async fn run(args: Args) -> ExitCode {
    // A system that refuses leaves this process as open as any other.
    let _ = hardening::harden();
    match written(&args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { told, code }) => {
            told.iter().for_each(|line| err(&format!("sidekey: {line}\n")));
            ExitCode::from(code)
        }
    }
}

async fn written(args: &Args) -> Result<(), Failure> {
    let is_terminal = io::stdout().is_terminal();
    if is_terminal && !args.show && !args.json {
        // Before anything is read: what was not asked for cannot be seen.
        let why = "standard output is a terminal; pipe the value on, or give --show to see it";
        return Err(Failure::usage(why));
    }
    let reference = Reference::parse(&args.reference)
        .map_err(|bad| Failure::usage(format!("'{}': {bad}", args.reference)))?;
    let key = Key { id: reference.id, selector: reference.selector };
    let (version, from) = read(args, &key).await?;
    let shown = Shown {
        reference: &args.reference,
        field: reference.field.as_deref(),
        from,
        has_value: !is_terminal || args.show,
        is_terminal,
    };
    let bytes = match args.json {
        true => shown.json(&version),
        false => shown.bare(&version),
    };
    let bytes = bytes.map_err(|why| Failure::unread(format!("{}: {why}", args.reference)))?;
    // Who has stopped reading has read enough.
    match shown::write(&bytes) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::unread(format!("the value could not be written: {error}")))
        }
        _ => Ok(()),
    }
}

/// Reads the secret from whoever is to be asked.
async fn read(args: &Args, key: &Key) -> Result<(Version, From), Failure> {
    if args.direct {
        return direct(args, key).await;
    }
    let contact = contact(&Environment, Host::Standalone)?;
    let token = contact.token.or_else(|| token_file::made(contact.port));
    let contact = Contact { token, ..contact };
    let asked = async {
        let mut client = match Client::connect(&contact.address, contact.token.as_ref()).await {
            Ok(client) => client,
            Err(error) if is_absent(&error) && !args.agent => return Ok(None),
            Err(error) => return Err(Failure::unread(error.to_string())),
        };
        client.secret(key).await.map(Some).map_err(|unread| {
            let hint = match unread {
                Unread::Foreign { .. } => "; --direct asks Secrets Manager",
                _ if contact.token.is_none() => {
                    "; no token is known: set SIDEKEY_TOKEN as the agent has it, or give --direct"
                }
                _ => "",
            };
            Failure::unread(format!("{}: {unread}{hint}", args.reference))
        })
    };
    match within(&SystemClock::new(), AGENT_WAIT_MAX, asked).await {
        Some(Ok(Some(version))) => Ok((version, From::Agent)),
        Some(Ok(None)) => direct(args, key).await,
        Some(Err(failure)) => Err(failure),
        None => Err(Failure::unread(format!("no answer within {AGENT_WAIT_MAX:?}"))),
    }
}

/// Returns whether nobody listens, rather than somebody who cannot be reached.
fn is_absent(error: &AskError) -> bool {
    let AskError::NoAgent(_, error) = error else { return false };
    matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound)
}

/// Reads the secret as an agent would that is configured alike.
async fn direct(args: &Args, key: &Key) -> Result<(Version, From), Failure> {
    let Loaded { config, mistakes, .. } = config::load(&Environment, Host::Standalone);
    if !mistakes.is_empty() {
        return Err(mistakes.into());
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let tokens = Arc::new(Tokens::new(Vec::new()));
    let source =
        SecretsManager::prepare(config.source, vec![config.listen.port], tokens, clock).await;
    let source = source.map_err(|no_region| Failure::usage(no_region.to_string()))?;
    let version = source.fetch(key).await.map_err(|error| {
        Failure::unread(format!("{}: {error}{}", args.reference, advice::of(&error)))
    })?;
    Ok((version, From::Aws))
}

//! `sidekey get`: prints one secret. The command reads the secret from the running agent, or
//! directly from AWS.

mod output;

use super::streams::print_messages;
use super::{advice, agent_file};
use crate::client::secret::ReadError;
use crate::client::{Client, ClientError};
use crate::clock::{Clock, SystemClock, within};
use crate::config::contact::{Contact, contact};
use crate::config::vars::Environment;
use crate::config::{self, Host, Loaded, Mistakes};
use crate::hardening;
use crate::secret::key::Key;
use crate::secret::reference::Reference;
use crate::secret::version::Version;
use crate::source::Source;
use crate::source::aws::Aws;
use crate::tokens::Tokens;
use output::{Output, ReadFrom};
use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// The exit code of `sidekey get` if the secret could not be read.
const UNREAD: u8 = 1;

/// The exit code of `sidekey get` if an argument or a setting is wrong.
const USAGE: u8 = 2;

/// How long `sidekey get` waits for an answer from the agent. The agent answers earlier, because it
/// waits only 5 s for AWS by default.
const AGENT_WAIT_MAX: Duration = Duration::from_secs(30);

const EXAMPLES: &str = "\
Examples:
  PGPASSWORD=\"$(sidekey get app/db#password)\" psql
  sidekey get app/certificate > certificate.p12
  sidekey get ssm:/app/url
  sidekey get --json app/db | jq -r .versionId
  sidekey get --direct arn:aws:secretsmanager:eu-north-1:123456789012:secret:app/db-AbC123

The command asks the agent at SIDEKEY_PORT or SIDEKEY_SOCKET, with the token of SIDEKEY_TOKEN. If no \
agent listens there, the command asks AWS, with the same settings as an agent. If the \
agent refuses the request, the command fails and does not ask AWS.

If standard output is a pipe or a file, the command writes only the value. A binary value is written \
byte for byte. On a terminal the value is printed only with --show, and a newline follows the value.

--json writes reference, arn, name, versionId, versionStages, createdDate, source, and value or \
valueBase64; for a parameter, also parameterType, and versionId is its version number. On a terminal the JSON contains the value only with --show.

Exit codes: 0 the secret was read; 1 the secret could not be read; 2 an argument or setting is wrong.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Read the secret or parameter with this name or ARN; #FIELD selects a field
    reference: String,
    /// Read only from a running agent, never directly from AWS
    #[arg(long, conflicts_with = "direct")]
    agent: bool,
    /// Read directly from AWS, even if an agent runs
    #[arg(long)]
    direct: bool,
    /// Print the value even if the output is a terminal
    #[arg(long)]
    show: bool,
    /// Write JSON with the metadata of the secret
    #[arg(long)]
    json: bool,
}

struct Failure {
    messages: Vec<String>,
    code: u8,
}

impl Failure {
    fn usage(message: impl Into<String>) -> Self {
        Self { messages: vec![message.into()], code: USAGE }
    }

    fn unread(message: impl Into<String>) -> Self {
        Self { messages: vec![message.into()], code: UNREAD }
    }
}

impl From<Mistakes> for Failure {
    fn from(mistakes: Mistakes) -> Self {
        Self { messages: mistakes.0.iter().map(ToString::to_string).collect(), code: USAGE }
    }
}

pub(super) async fn run(args: Args) -> ExitCode {
    // A failure is ignored: if the system cannot protect the memory of this process, the command
    // still works.
    let _ = hardening::harden();
    match print_secret(&args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { messages, code }) => {
            print_messages(&messages);
            ExitCode::from(code)
        }
    }
}

async fn print_secret(args: &Args) -> Result<(), Failure> {
    let is_terminal = io::stdout().is_terminal();
    if is_terminal && !args.show && !args.json {
        // This check comes before the read, so that the command fails without reading the secret.
        return Err(Failure::usage(
            "standard output is a terminal; use a pipe or a file, or use --show to print the value",
        ));
    }
    let Reference { id, selector, field } = Reference::parse(&args.reference)
        .map_err(|bad| Failure::usage(format!("'{}': {bad}", args.reference)))?;
    let (version, from) = read(args, &Key::own(id, selector)).await?;
    let output = Output {
        reference: &args.reference,
        field: field.as_deref(),
        from,
        has_value: !is_terminal || args.show,
        is_terminal,
    };
    let bytes = match args.json {
        true => output.json(&version),
        false => output.bare(&version),
    }
    .map_err(|error| Failure::unread(format!("{}: {error}", args.reference)))?;
    match output::write(&bytes) {
        // A closed pipe is not an error: the reading program has closed the pipe because it needs
        // no more data.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::unread(format!(
            "the secret's value could not be written to standard output: {error}"
        ))),
        _ => Ok(()),
    }
}

async fn read(args: &Args, key: &Key) -> Result<(Version, ReadFrom), Failure> {
    if args.direct {
        return read_from_aws(args, key).await;
    }
    let contact = contact(&Environment, Host::Standalone)?.or_generated(agent_file::token);
    match within(&SystemClock::new(), AGENT_WAIT_MAX, read_from_agent(args, &contact, key)).await {
        Some(Ok(Some(version))) => Ok((version, ReadFrom::Agent)),
        Some(Ok(None)) => read_from_aws(args, key).await,
        Some(Err(failure)) => Err(failure),
        None => Err(Failure::unread(format!(
            "the agent did not answer within {AGENT_WAIT_MAX:?}; use --direct to read from AWS"
        ))),
    }
}

/// Reads the secret from the agent. If no agent listens, returns `None`, or an error if the user
/// gave the option `--agent`.
async fn read_from_agent(
    args: &Args,
    contact: &Contact,
    key: &Key,
) -> Result<Option<Version>, Failure> {
    let mut client = match Client::connect(&contact.address, contact.token.as_ref()).await {
        Ok(client) => client,
        Err(error) if is_absent(&error) && !args.agent => return Ok(None),
        Err(error) if is_absent(&error) => {
            return Err(Failure::unread(format!(
                "{error}; start an agent with `sidekey serve` or `sidekey dev`, set SIDEKEY_PORT to the \
                 agent's port, or use --direct to read from AWS"
            )));
        }
        Err(error) => return Err(Failure::unread(error.to_string())),
    };
    client.secret(key).await.map(Some).map_err(|error| {
        let hint = match error {
            ReadError::NotSidekey { .. } => "; use --direct to read from AWS",
            _ if contact.token.is_none() => {
                "; no token is configured: set SIDEKEY_TOKEN to the agent's token, or use --direct to read from AWS"
            }
            _ => "",
        };
        Failure::unread(format!("{}: {error}{hint}", args.reference))
    })
}

/// Returns whether the error means that no agent listens at the address.
fn is_absent(error: &ClientError) -> bool {
    let ClientError::NoAgent(_, error) = error else { return false };
    matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound)
}

async fn read_from_aws(args: &Args, key: &Key) -> Result<(Version, ReadFrom), Failure> {
    let Loaded { config, mistakes, warnings } = config::load(&Environment, Host::Standalone);
    print_messages(&warnings);
    if !mistakes.is_empty() {
        return Err(mistakes.into());
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let own_ports = vec![config.listen.port];
    let tokens = Arc::new(Tokens::new(Vec::new()));
    let source = Aws::prepare(config.source, own_ports, tokens, clock)
        .await
        .map_err(|no_region| Failure::usage(no_region.to_string()))?;
    let key = Key { role: config.role_rules.role_of_id(&key.id).cloned(), ..key.clone() };
    let version = source.fetch(&key).await.map_err(|error| {
        Failure::unread(format!("{}: {error}{}", args.reference, advice::of(&error)))
    })?;
    Ok((version, ReadFrom::Aws))
}

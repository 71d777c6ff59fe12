//! Step 3 of reading the configuration: builds the configuration of each module from the parsed
//! settings.

use super::aws_extension;
use super::host::Host;
use super::settings::Resolved;
use super::values::{DialectSetting, OnInitFailure};
use crate::cache::{self, prefetch};
use crate::secret::arn::is_account;
use crate::secret::key::Key;
use crate::server::dialect::Dialect;
use crate::server::{listener, resolving};
use crate::source::secrets_manager::{self, Endpoint};
use crate::telemetry::log;
use crate::tokens::Token;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long the prefetch of secrets may delay the start of the agent on Lambda. Lambda restarts the
/// environment if all extensions and the runtime together need more than 10 seconds to start. So
/// this value leaves two seconds for other work.
const LAMBDA_DEADLINE_MAX: Duration = Duration::from_secs(8);

/// The configuration of every module of the agent.
#[derive(Debug)]
pub struct Config {
    /// The configuration of the cache.
    pub cache: cache::Config,
    /// The AWS account in which secrets are looked up by name, if the operator configured one.
    pub(crate) account: Option<Box<str>>,
    /// The configuration of `POST /resolve`. A caller sends a message to this path and receives the
    /// secrets that the message refers to.
    pub(crate) resolving: resolving::Config,
    pub(crate) prefetch: Prefetch,
    /// The addresses at which the agent accepts connections, and the maximum numbers of
    /// connections.
    pub listen: listener::Config,
    pub(crate) dialect: ChosenDialect,
    /// The tokens that callers can use. The list is empty if no token is configured. In this case,
    /// `sidekey serve` generates a token.
    pub(crate) tokens: Vec<Token>,
    /// The configuration of the client that calls AWS Secrets Manager.
    pub source: secrets_manager::Config,
    /// The level, the format and the destination of the log.
    pub log: log::Config,
    /// How long `sidekey serve` still serves after a stop signal, before it refuses connections.
    pub(crate) drain_delay: Duration,
    /// What the Lambda extension does if its start fails.
    pub on_init_failure: OnInitFailure,
}

/// The dialect (the AWS agent whose responses Sidekey imitates), and the reason for this choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChosenDialect {
    pub(crate) dialect: Dialect,
    /// Why Sidekey imitates the responses of this AWS agent, such as `SIDEKEY_DIALECT is set`.
    /// Sidekey logs the reason when it starts.
    pub(crate) reason: String,
}

/// How the secrets in `SIDEKEY_SECRETS` are prefetched.
#[derive(Clone, Copy, Debug)]
pub struct Prefetch {
    /// Whether the prefetch makes one call to AWS for each secret, or one call for up to 20
    /// secrets.
    pub(crate) mode: prefetch::Mode,
    /// How long the start of the agent waits for the prefetch.
    pub(crate) deadline: Duration,
}

pub(super) fn configure(resolved: Resolved, host: Host, warnings: &mut Vec<String>) -> Config {
    let Resolved { settings, policies, conventions, tenant_check, tokens, trust, environment } =
        resolved;
    let initialization = environment.get("AWS_LAMBDA_INITIALIZATION_TYPE");
    let is_snapshot = initialization.is_some_and(|kind| kind == "snap-start");
    let listed = settings.secrets.into_iter();
    if settings.allow_http_endpoint && settings.endpoint.as_ref().is_some_and(Endpoint::is_exposed)
    {
        warnings.push(
            "INSECURE: SIDEKEY_ENDPOINT uses http, so secrets cross the network unencrypted, and \
             every host on the way can read and change them; use this only for development, with \
             an emulator of AWS"
                .to_owned(),
        );
    }
    Config {
        cache: cache::Config {
            policies,
            reader_wait: settings.reader_wait,
            entries_max: settings.cache_size,
            bytes_max: settings.cache_bytes,
            calls_max: settings.calls_max,
            listed: listed.map(|secret| Key { id: secret.id, selector: secret.selector }).collect(),
            scope: settings.scope,
            conventions,
            is_strict: settings.is_strict,
            is_snapshot,
            seed: None,
        },
        account: account(&environment, host, warnings),
        resolving: resolving::Config { paths: settings.resolve_paths, tenant_check },
        prefetch: Prefetch {
            mode: settings.prefetch,
            deadline: prefetch_deadline(settings.prefetch_deadline, host, warnings),
        },
        listen: listener::Config {
            port: settings.port,
            socket: settings.socket,
            metrics: settings.metrics_listen,
            limits: listener::ConnectionLimits::new(settings.max_connections),
        },
        dialect: dialect(settings.dialect, &environment, host),
        tokens,
        log: log_config(settings.log, &environment, host),
        source: secrets_manager::Config {
            region: settings.region,
            endpoint: settings.endpoint,
            region_only: settings.region_only,
            attempt_timeout: settings.upstream_timeout,
            credential_process_timeout: settings.credential_process_timeout,
            trust,
            environment,
            is_snapshot,
        },
        drain_delay: settings.drain_delay,
        on_init_failure: settings.on_init_failure,
    }
}

/// Returns the AWS account id in `AWS_ACCOUNT_ID`. Returns `None`, with a warning, if the variable
/// does not contain 12 digits. On Lambda, always returns `None`: Lambda itself reports the
/// function's account, and the user's code may use this variable for another account.
fn account(
    environment: &BTreeMap<String, String>,
    host: Host,
    warnings: &mut Vec<String>,
) -> Option<Box<str>> {
    let account = environment.get("AWS_ACCOUNT_ID").filter(|_| host == Host::Standalone)?;
    if !is_account(account) {
        warnings.push(
            "AWS_ACCOUNT_ID is ignored, because an account id has exactly 12 digits".to_owned(),
        );
        return None;
    }
    Some(account.as_str().into())
}

/// Returns how long the start of the agent waits for the prefetch. On Lambda, a time that exceeds
/// [`LAMBDA_DEADLINE_MAX`] is reduced to it, with a warning.
fn prefetch_deadline(configured: Duration, host: Host, warnings: &mut Vec<String>) -> Duration {
    if host == Host::Standalone || configured <= LAMBDA_DEADLINE_MAX {
        return configured;
    }
    let max = LAMBDA_DEADLINE_MAX.as_secs();
    warnings.push(format!(
        "SIDEKEY_PREFETCH_DEADLINE is reduced to {max}s, because Lambda aborts the start of a function after 10 s"
    ));
    LAMBDA_DEADLINE_MAX
}

/// Chooses the dialect (the AWS agent whose responses Sidekey imitates). On Lambda the default is
/// AWS's extension, even if none of its variables is set: many functions that used this extension
/// set no variables.
fn dialect(
    setting: DialectSetting,
    environment: &BTreeMap<String, String>,
    host: Host,
) -> ChosenDialect {
    let variable_of_extension =
        environment.keys().find(|name| name.starts_with(aws_extension::PREFIX));
    let (dialect, reason) = match (setting, host, variable_of_extension) {
        (DialectSetting::Agent, _, _) => (Dialect::Agent, "SIDEKEY_DIALECT is set".to_owned()),
        (DialectSetting::Extension, _, _) => {
            (Dialect::Extension, "SIDEKEY_DIALECT is set".to_owned())
        }
        (DialectSetting::Auto, Host::Lambda, _) => {
            (Dialect::Extension, "this is the default in the Lambda layer".to_owned())
        }
        (DialectSetting::Auto, Host::Standalone, Some(name)) => {
            (Dialect::Extension, format!("{name} is set"))
        }
        (DialectSetting::Auto, Host::Standalone, None) => {
            (Dialect::Agent, "this is the default outside Lambda".to_owned())
        }
    };
    ChosenDialect { dialect, reason }
}

/// Returns the configuration of the log. `level` is the level that a variable of Sidekey or of
/// AWS's extension sets.
///
/// On Lambda, Lambda's own variables set the format. They also set the level if `level` is `None`.
fn log_config(
    level: Option<log::Level>,
    environment: &BTreeMap<String, String>,
    host: Host,
) -> log::Config {
    let is_text = environment.get("AWS_LAMBDA_LOG_FORMAT").is_some_and(|format| format == "Text");
    let (default_level, format, stream) = match host {
        Host::Lambda => (
            environment.get("AWS_LAMBDA_LOG_LEVEL").and_then(|level| lambda_level(level)),
            if is_text { log::Format::Text } else { log::Format::Json },
            log::Stream::Out,
        ),
        Host::Standalone => (None, log::Format::TextOnTerminal, log::Stream::Err),
    };
    log::Config { level: level.or(default_level).unwrap_or(log::Level::INFO), format, stream }
}

/// Parses a log level in the form that Lambda uses, such as `DEBUG`.
///
/// Source: "Log-level filtering" in AWS's Lambda developer guide.
fn lambda_level(text: &str) -> Option<log::Level> {
    match text {
        "TRACE" => Some(log::Level::TRACE),
        "DEBUG" => Some(log::Level::DEBUG),
        "INFO" => Some(log::Level::INFO),
        "WARN" => Some(log::Level::WARN),
        "ERROR" | "FATAL" => Some(log::Level::ERROR),
        _ => None,
    }
}

//! Step 3 of reading the configuration: builds the configuration of each module from the typed
//! values of the settings.

use super::aws_extension;
use super::host::Host;
use super::settings::Resolved;
use super::values::{DialectSetting, OnInitFailure};
use crate::cache::{self, prefetch};
use crate::secret::key::Key;
use crate::server::dialect::Dialect;
use crate::server::{listener, resolving};
use crate::source::secrets_manager;
use crate::telemetry::log;
use crate::tokens::Token;
use std::collections::BTreeMap;
use std::time::Duration;

/// The maximum time that prefetching secrets may delay the agent's start on Lambda. Lambda allows
/// 10 s for the start of all extensions and of the runtime together, and then restarts the
/// environment.
const LAMBDA_DEADLINE_MAX: Duration = Duration::from_secs(8);

/// The configuration of every module of the agent.
#[derive(Debug)]
pub struct Config {
    /// The configuration of the cache.
    pub cache: cache::Config,
    /// The AWS account in which secrets are looked up by name. `None` if the operator configured no
    /// account.
    pub(crate) account: Option<Box<str>>,
    /// The configuration of `POST /resolve`, which reads the secrets that a message refers to.
    pub(crate) resolving: resolving::Config,
    /// How the secrets in `SIDEKEY_SECRETS` are prefetched.
    pub(crate) prefetch: Prefetch,
    /// The addresses that the agent listens on.
    pub listen: listener::Config,
    /// The dialect of the agent's responses: which of AWS's agents Sidekey imitates.
    pub(crate) dialect: ChosenDialect,
    /// The tokens that the agent accepts. Empty if no token is configured: `sidekey serve` then
    /// generates a token.
    pub(crate) tokens: Vec<Token>,
    /// The configuration of the client that calls Secrets Manager.
    pub source: secrets_manager::Config,
    /// The configuration of the log.
    pub log: log::Config,
    /// What the Lambda extension does if its start fails.
    pub on_init_failure: OnInitFailure,
}

/// The dialect of the agent's responses (which of AWS's agents Sidekey imitates), and the reason
/// for choosing this dialect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChosenDialect {
    /// The dialect of the agent's responses: which of AWS's agents Sidekey imitates.
    pub(crate) dialect: Dialect,
    /// The reason for choosing the dialect, such as `SIDEKEY_DIALECT is set`. The agent logs the
    /// reason when it starts.
    pub(crate) reason: String,
}

/// How the secrets in `SIDEKEY_SECRETS` are prefetched.
#[derive(Clone, Copy, Debug)]
pub struct Prefetch {
    /// How the prefetch calls AWS: one call for each secret, or one call for up to 20 secrets.
    pub(crate) mode: prefetch::Mode,
    /// The maximum time that the agent's start waits for the prefetch.
    pub(crate) deadline: Duration,
}

/// Builds the configuration of every module of the agent.
pub(super) fn configure(resolved: Resolved, host: Host, warnings: &mut Vec<String>) -> Config {
    let Resolved { settings, policies, conventions, tenant_check, tokens, trust, environment } =
        resolved;
    let initialization = environment.get("AWS_LAMBDA_INITIALIZATION_TYPE");
    let is_snapshot = initialization.is_some_and(|kind| kind == "snap-start");
    let listed = settings.secrets.into_iter();
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
        account: account(&environment, host),
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
            trust,
            environment,
            is_snapshot,
        },
        on_init_failure: settings.on_init_failure,
    }
}

/// Returns the AWS account id in `AWS_ACCOUNT_ID`. On Lambda, the variable is ignored: Lambda
/// itself reports the function's account, and the function may use the variable for another
/// account.
fn account(environment: &BTreeMap<String, String>, host: Host) -> Option<Box<str>> {
    let account = environment.get("AWS_ACCOUNT_ID").filter(|_| host == Host::Standalone)?;
    let is_valid = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
    is_valid.then(|| account.as_str().into())
}

/// Returns the maximum time that the agent's start waits for the prefetch. On Lambda, a time that
/// is too long for Lambda's own limit is reduced, with a warning.
fn prefetch_deadline(configured: Duration, host: Host, warnings: &mut Vec<String>) -> Duration {
    if host == Host::Standalone || configured <= LAMBDA_DEADLINE_MAX {
        return configured;
    }
    let max = LAMBDA_DEADLINE_MAX.as_secs();
    warnings.push(format!(
        "SIDEKEY_PREFETCH_DEADLINE: reduced to {max}s, because Lambda aborts the start of a function after 10 s"
    ));
    LAMBDA_DEADLINE_MAX
}

/// Chooses the dialect: which of AWS's agents Sidekey imitates. On Lambda the default is the
/// dialect of AWS's extension, because functions that used that extension often set none of its
/// variables.
fn dialect(
    setting: DialectSetting,
    environment: &BTreeMap<String, String>,
    host: Host,
) -> ChosenDialect {
    let variable_of_extension = environment
        .iter()
        .find(|(name, value)| name.starts_with(aws_extension::PREFIX) && !value.trim().is_empty());
    let (dialect, reason) = match (setting, host, variable_of_extension) {
        (DialectSetting::Agent, _, _) => (Dialect::Agent, "SIDEKEY_DIALECT is set".to_owned()),
        (DialectSetting::Extension, _, _) => {
            (Dialect::Extension, "SIDEKEY_DIALECT is set".to_owned())
        }
        (DialectSetting::Auto, Host::Lambda, _) => {
            (Dialect::Extension, "this is the default in the Lambda layer".to_owned())
        }
        (DialectSetting::Auto, Host::Standalone, Some((name, _))) => {
            (Dialect::Extension, format!("{name} is set"))
        }
        (DialectSetting::Auto, Host::Standalone, None) => {
            (Dialect::Agent, "this is the default outside Lambda".to_owned())
        }
    };
    ChosenDialect { dialect, reason }
}

/// Returns the configuration of the log. On Lambda, the log variables of Lambda set the format.
/// They also set the level, unless `level` was set by a variable of Sidekey or of AWS's extension.
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

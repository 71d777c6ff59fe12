//! Builds the configuration of each module of the agent from the parsed settings. This is step 3 of
//! reading the configuration.

use super::aws_extension;
use super::emf;
use super::failover;
use super::host::Host;
use super::route::secrets_of;
use super::settings::{Resolved, exposed_endpoints};
use super::values::{DialectSetting, OnInitFailure};
use crate::cache::withheld::UseOnly;
use crate::cache::{self, discovery, prefetch};
use crate::secret::arn::is_account;
use crate::secret::role_rules::RoleRules;
use crate::server::dialect::Dialect;
use crate::server::{calls, listener, resolving};
use crate::source::aws;
use crate::telemetry;
use crate::telemetry::log;
use crate::tokens::Token;
use std::collections::BTreeMap;
use std::time::Duration;

/// The maximum time for which the agent's start on Lambda waits for prefetched secrets. Lambda
/// gives a function's runtime and extensions 10 s to start, and 2 s of them are left for other
/// work.
const LAMBDA_DEADLINE_MAX: Duration = Duration::from_secs(8);

/// The configuration of the agent, with one field for each module of the agent.
#[derive(Debug)]
pub struct Config {
    /// How the agent caches secrets: the TTLs, the limits, and the secrets that are never evicted.
    pub cache: cache::Config,
    /// The id of the agent's own AWS account, from the variable `AWS_ACCOUNT_ID`. The field is
    /// `None` on Lambda, because Lambda itself reports the account.
    pub(crate) account: Option<Box<str>>,
    /// The configuration of the HTTP request `POST /resolve`, which returns all secrets that a JSON
    /// message names.
    pub(crate) resolving: resolving::Config,
    /// The external servers to which the agent forwards calls of programs, with the secrets that it
    /// adds to these calls.
    pub(crate) calls: calls::Config,
    pub(crate) prefetch: Prefetch,
    /// The rules that choose the role with which the agent reads a secret.
    pub(crate) role_rules: RoleRules,
    /// The addresses on which the agent listens, and the maximum numbers of connections.
    pub listen: listener::Config,
    pub(crate) dialect: ChosenDialect,
    /// The tokens with which callers can authenticate. If no token is configured, this list is
    /// empty and `sidekey serve` generates a token.
    pub(crate) tokens: Vec<Token>,
    /// The configuration of the client with which the agent calls AWS.
    pub source: aws::Config,
    /// The level, the format and the destination of the log lines.
    pub log: log::Config,
    /// How Sidekey writes metrics for CloudWatch. `None` if Sidekey writes none.
    pub emf: Option<telemetry::emf::Config>,
    /// How long `sidekey serve` still serves requests after a stop signal, before it refuses new
    /// connections.
    pub(crate) drain_delay: Duration,
    /// Whether the Lambda extension keeps running if its start fails.
    pub on_init_failure: OnInitFailure,
}

/// The format of the HTTP responses (that of AWS's Secrets Manager Agent, or that of AWS's Lambda
/// extension), and the reason why Sidekey chose this format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChosenDialect {
    pub(crate) dialect: Dialect,
    /// Why Sidekey chose the format of its HTTP responses, such as `SIDEKEY_DIALECT is set`. The
    /// agent logs this reason.
    pub(crate) reason: String,
}

/// How the agent prefetches the secrets in `SIDEKEY_SECRETS`.
#[derive(Clone, Copy, Debug)]
pub struct Prefetch {
    /// Whether the agent makes one call to AWS for each prefetched secret, or one call for up to 20
    /// secrets.
    pub(crate) mode: prefetch::Mode,
    /// How long the start of the agent waits until all secrets are prefetched.
    pub(crate) deadline: Duration,
}

pub(super) fn configure(resolved: Resolved, host: Host, warnings: &mut Vec<String>) -> Config {
    let Resolved {
        mut settings,
        policies,
        conventions,
        roles,
        role_rules,
        tenant_check,
        routes,
        tokens,
        trust,
        environment,
    } = resolved;
    let initialization = environment.get("AWS_LAMBDA_INITIALIZATION_TYPE");
    let is_snapshot = initialization.is_some_and(|kind| kind == "snap-start");
    if settings.allow_http_endpoint {
        warnings.extend(exposed_endpoints(&settings).map(|name| {
            format!(
                "INSECURE: {name} uses http, so secrets cross the network unencrypted, and every \
                 host on the way can read and change them; use this only for development, with \
                 an emulator of AWS"
            )
        }));
    }
    warnings.extend(failover::warnings(&settings));
    Config {
        emf: emf::configure(&mut settings, &environment, host, is_snapshot),
        cache: cache::Config {
            policies,
            reader_wait: settings.reader_wait,
            entries_max: settings.cache_size,
            bytes_max: settings.cache_bytes,
            calls_max: settings.calls_max,
            listed: settings.listed.keys,
            discovery: discovery::Config {
                patterns: settings.listed.patterns,
                interval: settings.discover,
            },
            scope: settings.scope,
            use_only: settings
                .use_only
                .map(|patterns| UseOnly { patterns, routes: secrets_of(&routes) }),
            conventions: conventions.clone(),
            is_strict: settings.is_strict,
            is_snapshot,
            seed: None,
        },
        account: account(&environment, host, warnings),
        resolving: resolving::Config { paths: settings.resolve_paths, tenant_check },
        calls: calls::Config { routes, conventions },
        prefetch: Prefetch {
            mode: settings.prefetch,
            deadline: prefetch_deadline(settings.prefetch_deadline, host, warnings),
        },
        role_rules,
        listen: listener::Config {
            port: settings.port,
            socket: settings.socket,
            metrics: settings.metrics_listen,
            limits: listener::ConnectionLimits::new(settings.max_connections),
        },
        dialect: dialect(settings.dialect, &environment, host),
        tokens,
        log: log_config(settings.log, &environment, host),
        source: aws::Config {
            region: settings.region,
            endpoint: settings.endpoint,
            parameter_store_endpoint: settings.parameter_store_endpoint,
            sts_endpoint: settings.sts_endpoint,
            roles,
            failover_region: settings.failover_region,
            region_only: settings.region_only,
            attempt_timeout: settings.upstream_timeout.secrets.duration,
            parameter_store_timeout: settings.upstream_timeout.parameters,
            credential_process_timeout: settings.credential_process_timeout,
            trust,
            environment,
            is_snapshot,
        },
        drain_delay: settings.drain_delay,
        on_init_failure: settings.on_init_failure,
    }
}

/// Returns the AWS account id in `AWS_ACCOUNT_ID`. If the variable does not contain 12 digits, adds
/// a warning and returns `None`.
///
/// On Lambda, always returns `None`, because Lambda itself reports the account of the function.
fn account(
    environment: &BTreeMap<String, String>,
    host: Host,
    warnings: &mut Vec<String>,
) -> Option<Box<str>> {
    let account = environment.get("AWS_ACCOUNT_ID").filter(|_| host == Host::Standalone)?;
    if !is_account(account) {
        warnings.push(
            "AWS_ACCOUNT_ID is ignored, because its value is not an account id of 12 digits"
                .to_owned(),
        );
        return None;
    }
    Some(account.as_str().into())
}

/// Returns how long the start of the agent waits for prefetched secrets. On Lambda, reduces a
/// longer time to [`LAMBDA_DEADLINE_MAX`], and adds a warning.
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

/// Chooses the format of the HTTP responses: that of AWS's Secrets Manager Agent, or that of AWS's
/// Lambda extension. On Lambda, the default is the format of the extension.
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
        (DialectSetting::Auto, Host::Lambda, _) => (
            Dialect::Extension,
            "SIDEKEY_DIALECT is `auto`, which means `extension` in the Lambda layer".to_owned(),
        ),
        (DialectSetting::Auto, Host::Standalone, Some(name)) => {
            (Dialect::Extension, format!("{name} is set"))
        }
        (DialectSetting::Auto, Host::Standalone, None) => (
            Dialect::Agent,
            "SIDEKEY_DIALECT is `auto`, which means `agent` outside Lambda".to_owned(),
        ),
    };
    ChosenDialect { dialect, reason }
}

/// Returns the configuration of the log. `level` is the level that the user has configured. Without
/// such a level, the level on Lambda comes from `AWS_LAMBDA_LOG_LEVEL`.
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

/// Parses the value of `AWS_LAMBDA_LOG_LEVEL`, such as `DEBUG`.
///
/// Source: AWS's page *Log-level filtering* in the Lambda developer guide.
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

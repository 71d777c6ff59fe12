//! The table of Sidekey's own environment variables, and the struct with their parsed values.

use super::key::Key;
use super::listed::Listed;
use super::values::{
    DialectSetting, OnInitFailure, boolean, choice, interval, list, number, path, patterns,
    positive_span, region, role_patterns, size, span,
};
use crate::cache::flight::FLIGHTS_MAX;
use crate::cache::prefetch::Mode;
use crate::message::paths::{BUILT_IN_PATHS, Paths};
use crate::secret::role::RolePattern;
use crate::secret::scope::Scope;
use crate::secret::service::PerService;
use crate::source::aws::{CallTimeout, Endpoint};
use crate::telemetry::emf::dimension::{Dimension, dimensions, namespace};
use crate::telemetry::emf::group::Groups;
use crate::telemetry::log::Level;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// The beginning of the names of all environment variables of Sidekey.
pub const PREFIX: &str = "SIDEKEY_";

/// The environment variable that contains the path of the configuration file. The table
/// [`VARIABLES`] lacks this variable, because the configuration file cannot contain its own path.
pub const CONFIG_FILE: &str = "SIDEKEY_CONFIG";

/// The environment variable that contains the path of the conventions file. That file contains
/// patterns for the names of secrets, and the JSON fields that the secrets' values must have.
pub const CONVENTIONS_FILE: &str = "SIDEKEY_CONVENTIONS";

/// The agent's port if no port is configured. AWS's agents use the same port.
pub(crate) const DEFAULT_PORT: &str = "2773";

pub(crate) const CACHE_SIZE_MAX: usize = 100_000;

/// Declares the struct [`Settings`] and the table [`VARIABLES`] together, so that a new variable is
/// added in one place.
///
/// Each row has the form `field: Type { name, default, help, parse }`. The function `parse`
/// converts the variable's string to a `Type`, which is stored in `field` of [`Settings`].
macro_rules! settings {
    (
        without_variable { $($extra:ident: $extra_type:ty = $initial:expr,)* }
        $($field:ident: $type:ty {
            name: $name:expr,
            default: $default:expr,
            help: $help:expr,
            parse: $parse:expr,
        })*
    ) => {
        /// The parsed values of all settings. Each environment variable in [`VARIABLES`] sets one
        /// field.
        pub struct Settings {
            $(pub(super) $extra: $extra_type,)*
            $(pub(super) $field: $type,)*
        }

        /// The environment variables of Sidekey, in the order of `docs/configuration.md`.
        pub const VARIABLES: &[Key<Settings>] = &[$(Key {
            name: $name,
            default: $default,
            help: $help,
            parse: |settings, text| {
                let parse: fn(&str) -> Result<$type, String> = $parse;
                settings.$field = parse(text)?;
                Ok(())
            },
        },)*];

        impl Settings {
            fn initial() -> Self {
                Self {
                    $($extra: $initial,)*
                    $($field: Default::default(),)*
                }
            }
        }
    };
}

impl Default for Settings {
    fn default() -> Self {
        let mut settings = Self::initial();
        for variable in VARIABLES.iter().filter(|variable| !variable.default.is_empty()) {
            (variable.parse)(&mut settings, variable.default)
                .expect("every default value in the table VARIABLES must be valid");
        }
        // `None` means that SIDEKEY_LOG is unset. On Lambda, a variable of Lambda then sets the log
        // level.
        settings.log = None;
        settings
    }
}

/// Prints no settings, because one of the settings is the token.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").finish_non_exhaustive()
    }
}

settings! {
    without_variable {
        // Only PARAMETERS_SECRETS_EXTENSION_MAX_CONNECTIONS, a variable of AWS's extension, sets
        // this value.
        calls_max: usize = FLIGHTS_MAX,
    }
    listed: Listed {
        name: "SIDEKEY_SECRETS",
        default: "",
        help: "Secrets to prefetch: names or ARNs, separated by commas or white space. `ssm:NAME` is a parameter, and `ssm:/app/*` means all parameters directly under `/app`. Patterns of names (`app/*/db`) and tags (`tag:channel=sms` or `tag:channel`) mean all secrets that match. Secrets that are listed by name or ARN are never evicted, even above the limits of the cache.",
        parse: Listed::parse,
    }
    scope: Scope {
        name: "SIDEKEY_ALLOW",
        default: "",
        help: "Patterns of the secrets that callers may read; `*` matches any characters except `/`. Patterns of parameters begin with `ssm:`. If unset, callers may read every secret and parameter that IAM allows.",
        parse: |text| {
            patterns(text, "the value must not be empty; unset the variable to allow every secret that IAM allows")
        },
    }
    use_only: Option<Scope> {
        name: "SIDEKEY_USE_ONLY",
        default: "",
        help: "Patterns of secrets that no caller can read, in the format of SIDEKEY_ALLOW. The agent uses these secrets only to call external APIs for programs. A pattern that is not an ARN applies to all accounts and regions.",
        parse: |text| patterns(text, "the value must not be empty").map(Some),
    }
    allowed_roles: Option<Vec<RolePattern>> {
        name: "SIDEKEY_ROLES",
        default: "",
        help: "Patterns of the ARNs of roles that the agent may assume; `*` matches any characters. If unset, the agent may assume every role that IAM allows.",
        parse: |text| role_patterns(text).map(Some),
    }
    port: u16 {
        name: "SIDEKEY_PORT",
        default: DEFAULT_PORT,
        help: "The port that the agent listens on, at 127.0.0.1 and ::1; 0 picks a free port.",
        parse: |text| number(text, 0..=65535),
    }
    socket: Option<PathBuf> {
        name: "SIDEKEY_SOCKET",
        default: "",
        help: "Path of a Unix socket that the agent listens on in addition to the port. The socket's folder must belong to the agent's user and have mode 0700.",
        parse: |text| path(text).map(Some),
    }
    metrics_listen: Option<SocketAddr> {
        name: "SIDEKEY_METRICS_LISTEN",
        default: "",
        help: "ADDRESS:PORT at which other hosts can read only /ping, /ready and /metrics.",
        parse: |text| match text.parse() {
            Ok(address) => Ok(Some(address)),
            Err(_) => Err("the value must be ADDRESS:PORT, such as 0.0.0.0:9277".to_owned()),
        },
    }
    ttl: PerService<Duration> {
        name: "SIDEKEY_TTL",
        default: "5m",
        help: "How long a cached value is served before it must be refreshed; 0 turns the cache off.",
        parse: |text| span(text).map(PerService::from),
    }
    stale_while_revalidate: Duration {
        name: "SIDEKEY_STALE_WHILE_REVALIDATE",
        default: "0s",
        help: "How long a cached value is still served after the end of its TTL while a refresh runs.",
        parse: span,
    }
    stale_if_error: Duration {
        name: "SIDEKEY_STALE_IF_ERROR",
        default: "1h",
        help: "How long a cached value is still served after the end of its TTL while AWS fails.",
        parse: span,
    }
    denied_grace: Duration {
        name: "SIDEKEY_DENIED_GRACE",
        default: "60s",
        help: "How long a cached value is still served after AWS first refused to return the secret, for example because IAM denies access.",
        parse: span,
    }
    cache_size: usize {
        name: "SIDEKEY_CACHE_SIZE",
        default: "1000",
        help: "The maximum number of cached entries; each version of a secret is one entry.",
        parse: |text| number(text, 0..=CACHE_SIZE_MAX),
    }
    cache_bytes: usize {
        name: "SIDEKEY_CACHE_BYTES",
        default: "32MiB",
        help: "The maximum memory for cached values and for the responses made from them.",
        parse: size,
    }
    max_connections: usize {
        name: "SIDEKEY_MAX_CONNECTIONS",
        default: "256",
        help: "The maximum number of open connections from callers with a valid token.",
        parse: |text| number(text, 1..=10_000),
    }
    reader_wait: Duration {
        name: "SIDEKEY_READER_WAIT",
        default: "5s",
        help: "How long a caller waits for AWS before the agent answers with an error.",
        parse: positive_span,
    }
    upstream_timeout: PerService<CallTimeout> {
        name: "SIDEKEY_UPSTREAM_TIMEOUT",
        default: "2s",
        help: "The timeout of one call to Secrets Manager or Parameter Store.",
        parse: |text| {
            let duration = positive_span(text)?;
            Ok(PerService::from(CallTimeout { duration, variable: "SIDEKEY_UPSTREAM_TIMEOUT" }))
        },
    }
    credential_process_timeout: Duration {
        name: "SIDEKEY_CREDENTIAL_PROCESS_TIMEOUT",
        default: "30s",
        help: "How long the credential_process of an AWS profile may run before Sidekey kills it.",
        parse: positive_span,
    }
    prefetch: Mode {
        name: "SIDEKEY_PREFETCH",
        default: "get",
        help: "How the secrets of Secrets Manager in SIDEKEY_SECRETS are prefetched: `get` makes one call for each secret, `batch` one call for up to 20 secrets, and `auto` chooses one of these two. For parameters, one call always reads up to ten.",
        parse: |text| {
            choice(text, &[("get", Mode::Get), ("batch", Mode::Batch), ("auto", Mode::Auto)])
        },
    }
    prefetch_deadline: Duration {
        name: "SIDEKEY_PREFETCH_DEADLINE",
        default: "3s",
        help: "How long the start of the agent waits for the secrets in SIDEKEY_SECRETS.",
        parse: span,
    }
    discover: Duration {
        name: "SIDEKEY_DISCOVER",
        default: "5m",
        help: "How often Sidekey searches again for the secrets that match the patterns, tags and paths in SIDEKEY_SECRETS; 0 means only at start.",
        parse: interval,
    }
    drain_delay: Duration {
        name: "SIDEKEY_DRAIN_DELAY",
        default: "0s",
        help: "How long `sidekey serve` still answers all requests after SIGTERM, while /ready answers 503. The Lambda extension ignores this setting.",
        parse: span,
    }
    on_init_failure: OnInitFailure {
        name: "SIDEKEY_ON_INIT_FAILURE",
        default: "serve",
        help: "What the Lambda extension does if its start fails: `serve` means that the extension serves the secrets that it can read; `fail` means that the start of the function fails too.",
        parse: |text| choice(text, &[("serve", OnInitFailure::Serve), ("fail", OnInitFailure::Fail)]),
    }
    dialect: DialectSetting {
        name: "SIDEKEY_DIALECT",
        default: "auto",
        help: "The AWS agent whose responses Sidekey imitates: `extension` means AWS's Lambda extension, `agent` means AWS's Secrets Manager Agent, and `auto` chooses one of the two.",
        parse: |text| choice(
            text,
            &[
                ("auto", DialectSetting::Auto),
                ("agent", DialectSetting::Agent),
                ("extension", DialectSetting::Extension),
            ],
        ),
    }
    endpoint: Option<Endpoint> {
        name: "SIDEKEY_ENDPOINT",
        default: "",
        help: "The URL that the agent calls instead of AWS's endpoints of Secrets Manager, Parameter Store and STS: https, or http with a loopback address. `{region}` in the URL is replaced by the region.",
        parse: |text| Endpoint::parse(text).map(Some).map_err(|bad| bad.to_string()),
    }
    parameter_store_endpoint: Option<Endpoint> {
        name: "SIDEKEY_SSM_ENDPOINT",
        default: "",
        help: "The URL that the agent calls for Parameter Store instead of SIDEKEY_ENDPOINT, in the same format.",
        parse: |text| Endpoint::parse(text).map(Some).map_err(|bad| bad.to_string()),
    }
    sts_endpoint: Option<Endpoint> {
        name: "SIDEKEY_STS_ENDPOINT",
        default: "",
        help: "The URL that the agent calls for STS (to assume roles) instead of SIDEKEY_ENDPOINT, in the same format.",
        parse: |text| Endpoint::parse(text).map(Some).map_err(|bad| bad.to_string()),
    }
    allow_http_endpoint: bool {
        name: "SIDEKEY_ALLOW_HTTP_ENDPOINT",
        default: "false",
        help: "Whether SIDEKEY_ENDPOINT, SIDEKEY_SSM_ENDPOINT and SIDEKEY_STS_ENDPOINT may use http with any host, such as an emulator of AWS. Secrets then cross the network unencrypted.",
        parse: boolean,
    }
    region: Option<String> {
        name: "SIDEKEY_REGION",
        default: "",
        help: "The AWS region of secrets that callers request by name. If unset, the AWS SDK finds the region.",
        parse: |text| region(text).map(Some),
    }
    region_only: bool {
        name: "SIDEKEY_REGION_ONLY",
        default: "false",
        help: "Whether to refuse secrets outside the agent's own region.",
        parse: boolean,
    }
    failover_region: Option<String> {
        name: "SIDEKEY_FAILOVER_REGION",
        default: "",
        help: "Another AWS region, to which your secrets are replicated. Sidekey reads a replica if the agent's own region fails and no fresh value is cached. Parameters have no replicas.",
        parse: |text| region(text).map(Some),
    }
    token: Option<String> {
        name: "SIDEKEY_TOKEN",
        default: "",
        help: "The token that callers must send, or file://PATH for a token in a file. If unset, the agent accepts the token in AWS_TOKEN, or else those in AWS_SESSION_TOKEN and AWS_CONTAINER_AUTHORIZATION_TOKEN.",
        parse: |text| Ok(Some(text.to_owned())),
    }
    resolve_paths: Paths {
        name: "SIDEKEY_RESOLVE_PATHS",
        default: BUILT_IN_PATHS,
        help: "The paths at which a JSON message contains names or ARNs of secrets; POST /resolve returns these secrets. A path consists of keys separated by dots; `*` matches any one key or index.",
        parse: |text| Paths::parse(list(text)).map_err(|bad| bad.to_string()),
    }
    log: Option<Level> {
        name: "SIDEKEY_LOG",
        default: "info",
        help: "The lowest level of log lines that Sidekey writes: `off`, `error`, `warn`, `info`, `debug` or `trace`.",
        parse: |text| match text.parse() {
            Ok(level) => Ok(Some(level)),
            Err(_) => Err("the value must be off, error, warn, info, debug or trace".to_owned()),
        },
    }
    emf: Groups {
        name: "SIDEKEY_EMF",
        default: "off",
        help: "Which metrics the Lambda extension writes to the log for CloudWatch: `on` means all, `off` means none, and a list selects groups: `reads`, `latency`, `upstream`, `refusals`, `cache`, `versions`, `routes`. CloudWatch charges for each metric.",
        parse: |text| Groups::parse(list(text)),
    }
    emf_namespace: String {
        name: "SIDEKEY_EMF_NAMESPACE",
        default: "Sidekey",
        help: "The CloudWatch namespace of the metrics of SIDEKEY_EMF.",
        parse: namespace,
    }
    emf_dimensions: Vec<Dimension> {
        name: "SIDEKEY_EMF_DIMENSIONS",
        default: "function",
        help: "The dimensions of the metrics of SIDEKEY_EMF: a list in which each item is `function` (the name of the function) or NAME=VALUE, such as `team=payments`. `none` means no dimensions. CloudWatch charges for each combination of values.",
        parse: |text| dimensions(list(text)),
    }
    conventions: Option<PathBuf> {
        name: CONVENTIONS_FILE,
        default: "",
        help: "Path of a TOML file of conventions: the rules for the names and values of each kind of secret. If unset, the built-in conventions apply.",
        parse: |text| path(text).map(Some),
    }
    is_strict: bool {
        name: "SIDEKEY_STRICT",
        default: "false",
        help: "Whether to return an error if a secret's value breaks the convention (the rules) for the secret's name.",
        parse: boolean,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::freshness::Policy;
    use crate::config::listed::{PATTERNS_MAX, SECRETS_MAX};
    use crate::config::span::SPAN_MAX;
    use crate::hostile::text_of;
    use crate::secret::arn::is_region;
    use proptest::prelude::*;

    #[track_caller]
    fn set(name: &str, text: &str) -> Result<Settings, String> {
        let mut settings = Settings::default();
        let variable = VARIABLES.iter().find(|variable| variable.name == name);
        (variable.expect("the table VARIABLES must contain the tested variable").parse)(
            &mut settings,
            text,
        )?;
        Ok(settings)
    }

    #[test]
    fn every_default_is_valid() {
        let mut settings = Settings::default();
        for variable in VARIABLES {
            assert!(variable.name.starts_with(PREFIX), "{}", variable.name);
            assert!(
                variable.help.ends_with('.'),
                "{}: the help text must end with a full stop",
                variable.name
            );
            if !variable.default.is_empty() {
                let set = (variable.parse)(&mut settings, variable.default);
                assert_eq!(set, Ok(()), "{}", variable.name);
            }
        }
        assert_eq!(
            (settings.port, settings.cache_size, settings.max_connections),
            (2773, 1000, 256)
        );
        let Policy { ttl, stale_while_revalidate, stale_if_error, denied_grace, .. } =
            Policy::default();
        assert_eq!(
            [ttl, stale_while_revalidate, stale_if_error, denied_grace],
            [
                settings.ttl.secrets,
                settings.stale_while_revalidate,
                settings.stale_if_error,
                settings.denied_grace
            ]
        );
    }

    #[test]
    fn lists_are_split_at_commas_and_white_space() {
        let settings = set("SIDEKEY_SECRETS", "a, b\n\tc#d,").expect("the list must be valid");
        let ids: Vec<&str> = settings.listed.keys.iter().map(|key| key.id.as_str()).collect();
        assert_eq!(ids, ["a", "b", "c"]);
    }

    #[test]
    fn secrets_parameters_and_paths_can_be_listed() {
        let arn = "arn:aws:ssm:eu-north-1:123456789012:parameter/app/url";
        let text = format!("app/db ssm:/app/url:3 {arn} ssm:/app/* ssm:/app/db/* ssm:url#host");
        let listed = set("SIDEKEY_SECRETS", &text).expect("the list must be valid").listed.keys;
        let ids: Vec<&str> = listed.iter().map(|key| key.id.as_str()).collect();
        let expected =
            ["app/db", "ssm:/app/url", arn, "ssm:/app/*#path", "ssm:/app/db/*#path", "ssm:url"];
        assert_eq!(ids, expected);
        assert_eq!(listed[1].selector.version(), Some("3"));
    }

    #[test]
    fn every_variable_refuses_invalid_text() {
        for (name, text, expected) in [
            ("SIDEKEY_SECRETS", "a,#", "'#': expected a field's name"),
            ("SIDEKEY_SECRETS", "ssm:/a/**", "'ssm:/a/**': '**' is not supported; write a path"),
            ("SIDEKEY_SECRETS", "ssm:/a/*/b", "'ssm:/a/*/b': a path of parameters must begin"),
            ("SIDEKEY_SECRETS", "ssm:/a+b", "'ssm:/a+b': character 7 is not allowed"),
            ("SIDEKEY_SECRETS", "app/**", "'app/**': '**' is not supported"),
            ("SIDEKEY_SECRETS", "tag:", "'tag:': the key of the tag is missing"),
            ("SIDEKEY_DISCOVER", "9s", "0, or at least 10s"),
            ("SIDEKEY_ALLOW", "ssm:/a/**", "'ssm:/a/**'"),
            ("SIDEKEY_ALLOW", "ssm:/a+b", "'ssm:/a+b'"),
            ("SIDEKEY_ALLOW", "a/**", "'a/**'"),
            ("SIDEKEY_ALLOW", " , ", "must not be empty"),
            ("SIDEKEY_PORT", "65536", "from 0 to 65535"),
            ("SIDEKEY_SOCKET", "", "must not be empty"),
            ("SIDEKEY_METRICS_LISTEN", "9277", "ADDRESS:PORT"),
            ("SIDEKEY_TTL", "5 minutes", "the value must be a duration"),
            ("SIDEKEY_CACHE_SIZE", "-1", "from 0 to 100000"),
            ("SIDEKEY_MAX_CONNECTIONS", "0", "from 1 to 10000"),
            ("SIDEKEY_READER_WAIT", "0", "longer than zero"),
            ("SIDEKEY_UPSTREAM_TIMEOUT", "0s", "longer than zero"),
            ("SIDEKEY_PREFETCH", "all", "get, batch or auto"),
            ("SIDEKEY_ON_INIT_FAILURE", "exit", "serve or fail"),
            ("SIDEKEY_DIALECT", "lambda", "auto, agent or extension"),
            ("SIDEKEY_ENDPOINT", "localstack:4566", "must be a URL"),
            ("SIDEKEY_SSM_ENDPOINT", "localstack:4566", "must be a URL"),
            ("SIDEKEY_ALLOW_HTTP_ENDPOINT", "yes", "true, false, 1 or 0"),
            ("SIDEKEY_REGION", "evil.example", "the value must be a region"),
            ("SIDEKEY_REGION_ONLY", "TRUE", "true, false, 1 or 0"),
            ("SIDEKEY_FAILOVER_REGION", "Ireland", "the value must be a region"),
            ("SIDEKEY_RESOLVE_PATHS", " , ", "must not be empty"),
            ("SIDEKEY_RESOLVE_PATHS", "a.b, c..d", "'c..d': expected a key or '*' at character 3"),
            ("SIDEKEY_LOG", "loud", "off, error"),
            ("SIDEKEY_CONVENTIONS", "", "must not be empty"),
            ("SIDEKEY_STRICT", "yes", "true, false, 1 or 0"),
        ] {
            let problem = set(name, text).map(|_| ()).expect_err(name);
            assert!(problem.contains(expected), "{name}: {problem}");
        }
    }

    const PIECES: &[&str] = &[
        "5m",
        "0",
        "1",
        "true",
        "arn:",
        "*",
        "**",
        "[",
        "/",
        ",",
        " ",
        ".",
        "-1",
        "99999999999999999999",
        "get",
        "serve",
        "auto",
        "info",
        "file://",
        "http://",
        "https://",
        "127.0.0.1",
        "{region}",
        ":",
        "eu-north-1",
        "tag:",
    ];

    proptest! {
        #[test]
        fn for_any_text_a_variable_is_within_its_bounds_or_refused_with_a_reason(
            text in text_of(PIECES),
        ) {
            for Key { name, .. } in VARIABLES {
                match set(name, &text) {
                    Ok(settings) => {
                        prop_assert!(settings.ttl.parameters <= SPAN_MAX);
                        prop_assert!(settings.stale_if_error <= SPAN_MAX);
                        prop_assert!(settings.cache_size <= CACHE_SIZE_MAX);
                        prop_assert!((1..=10_000).contains(&settings.max_connections));
                        prop_assert!(!settings.reader_wait.is_zero());
                        prop_assert!(!settings.upstream_timeout.parameters.duration.is_zero());
                        prop_assert!(settings.listed.keys.len() <= SECRETS_MAX);
                        prop_assert!(settings.listed.patterns.len() <= PATTERNS_MAX);
                        prop_assert!(settings.region.is_none_or(|region| is_region(&region)));
                        if *name == "SIDEKEY_ALLOW" {
                            prop_assert!(!settings.scope.is_open());
                        }
                    }
                    Err(why) => prop_assert!(!why.is_empty()),
                }
            }
        }
    }
}

//! Fills each part's own configuration. The only reader of the environment, and of the file.

pub mod aws_extension;
pub mod contact;
mod conventions;
pub mod credentials;
pub mod file;
pub mod policy;
mod resolve;
pub mod size;
pub mod span;
mod toml_setting;
pub mod variables;
pub mod vars;

use crate::cache::policies::Policies;
use crate::cache::{self, prefetch};
use crate::convention::Conventions;
use crate::message::tenant::TenantCheck;
use crate::secret::key::Key;
use crate::secret::reference::SecretId;
use crate::secret::scope::Home;
use crate::server::dialect::Dialect;
use crate::server::{listener, resolving};
use crate::source::secrets_manager::{self, Trust};
use crate::telemetry::log;
use crate::tokens::Token;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use variables::{DialectChoice, Settings, VARIABLES};
use vars::Vars;

/// The longest that an extension may delay the start of its function: Lambda gives everybody 10 s
/// together, and then starts all over.
const LAMBDA_DEADLINE_MAX: Duration = Duration::from_secs(8);

/// By how many letters, left out, added, changed or swapped, a name still means a guard.
const GUARD_SLIPS_MAX: usize = 2;

/// How many bytes of a misspelt name are compared with the right ones.
const COMPARED_BYTES_MAX: usize = 128;

/// Where the agent runs. It decides what a mistake means, and where a file may lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// A container, a virtual machine, a laptop: a mistake ends the process.
    Standalone,
    /// Lambda: a mistake never does.
    Lambda,
}

/// The configuration of every part.
#[derive(Debug)]
pub struct Config {
    /// What the cache holds and for how long.
    pub cache: cache::Config,
    /// The account that names are in, where the operator says so.
    pub account: Option<Box<str>>,
    /// How messages are resolved.
    pub resolving: resolving::Config,
    /// How the listed secrets are fetched at start.
    pub prefetch: Prefetch,
    /// Where one asks.
    pub listen: listener::Config,
    /// In which form one is answered.
    pub dialect: Spoken,
    /// The tokens that are accepted. None where the host has to make one.
    pub tokens: Vec<Token>,
    /// How Secrets Manager is reached.
    pub source: secrets_manager::Config,
    /// How the log is written.
    pub log: log::Config,
    /// What happens where the start fails.
    pub on_init_failure: OnInitFailure,
}

/// The dialect of the deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spoken {
    /// Which one.
    pub dialect: Dialect,
    /// Why that one.
    pub reason: String,
}

/// How the listed secrets are fetched at start.
#[derive(Clone, Copy, Debug)]
pub struct Prefetch {
    /// By which operation.
    pub mode: prefetch::Mode,
    /// How long the start waits for it.
    pub deadline: Duration,
}

/// What an extension does where its start fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnInitFailure {
    /// It serves what it can.
    #[default]
    Serve,
    /// It has Lambda fail the start of the function.
    Fail,
}

/// One thing wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The variable, or the file.
    pub name: String,
    /// What is wrong. It shows no token.
    pub problem: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.problem)
    }
}

/// Everything wrong with a configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error)]
pub struct Mistakes(pub Vec<Mistake>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(Mistake::to_string).collect();
        f.write_str(&lines.join("; "))
    }
}

impl Mistakes {
    /// Returns whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn add(&mut self, name: impl Into<String>, problem: impl Into<String>) {
        self.0.push(Mistake { name: name.into(), problem: problem.into() });
    }

    /// Notes what is wrong, and goes on with what stands in for it.
    fn noted<T: Default>(&mut self, name: &str, result: Result<T, impl fmt::Display>) -> T {
        result.unwrap_or_else(|problem| {
            self.add(name, problem.to_string());
            T::default()
        })
    }
}

/// A configuration, and all that is wrong with it. A mistaken variable counts as unset in it.
#[derive(Debug)]
pub struct Loaded {
    /// What was read.
    pub config: Config,
    /// What is wrong.
    pub mistakes: Mistakes,
    /// What is odd, and does not matter.
    pub warnings: Vec<String>,
}

/// Reads the configuration: the environment, and below it the file.
pub fn load(vars: &dyn Vars, host: Host) -> Loaded {
    let mut mistakes = Mistakes::default();
    let mut warnings = Vec::new();
    let mut file = file::load(vars, host, &mut mistakes);
    let value = |name: &str| vars.get(name).or_else(|| file.settings.get(name).cloned());

    let mut settings = Settings::default();
    let is_unset = |own: &str| own.is_empty() || value(own).is_none();
    for variable in aws_extension::VARIABLES.iter().filter(|variable| is_unset(variable.own)) {
        // An empty one is none, as for AWS's extension.
        let text = vars.get(variable.name).filter(|text| !text.trim().is_empty());
        if let Some(text) = text {
            let set = (variable.parse)(&mut settings, text.trim());
            mistakes.noted(variable.name, set);
        }
    }
    for variable in VARIABLES {
        if let Some(text) = value(variable.name) {
            let set = variable.set(&mut settings, text.trim());
            mistakes.noted(variable.name, set);
        }
    }
    let conventions = settings.conventions.as_deref();
    let conventions = conventions::load(conventions, &mut file.unknown, &mut mistakes);
    let conventions = Arc::new(conventions);
    for name in unreadable_names(vars) {
        mistakes.add(name, "its value is not UTF-8");
    }
    for Unknown { name, hint, is_guard } in unknown_names(vars).into_iter().chain(file.unknown) {
        match host {
            Host::Lambda if !is_guard => warnings.push(format!("{name}: {hint}")),
            Host::Lambda | Host::Standalone => mistakes.add(name, hint),
        }
    }
    check_relations(&settings, &mut mistakes);
    policy::check(&file.policies, &settings.policy, &mut mistakes);
    resolve::check(&file.tenant_bindings, &conventions, &mut mistakes);
    let tenant_check = TenantCheck::new(conventions.clone(), file.tenant_bindings);
    if host == Host::Lambda && settings.prefetch_deadline > LAMBDA_DEADLINE_MAX {
        settings.prefetch_deadline = LAMBDA_DEADLINE_MAX;
        let most = LAMBDA_DEADLINE_MAX.as_secs();
        warnings.push(format!(
            "SIDEKEY_PREFETCH_DEADLINE: cut to {most}s, since Lambda ends a start after 10 s"
        ));
    }
    let tokens = credentials::tokens(vars, settings.token.as_deref(), &mut mistakes);
    if tokens.is_empty() && host == Host::Lambda {
        mistakes.add(
            "SIDEKEY_TOKEN",
            "no token is known: neither this nor AWS_SESSION_TOKEN nor \
             AWS_CONTAINER_AUTHORIZATION_TOKEN is set",
        );
    }
    let trust = trust(vars, &mut mistakes);
    let policies = policy::resolved(settings.policy, file.policies);
    let parts = Parts { policies, conventions, tenant_check, tokens, trust };
    let config = fill(settings, parts, vars, host);
    Loaded { config, mistakes, warnings }
}

/// Reads the conventions alone, for whoever needs no agent: what is wrong with other variables is of
/// no account then.
///
/// # Errors
///
/// All that is wrong with their file, or with the one of other settings, which may name it.
pub fn conventions(vars: &dyn Vars) -> Result<Arc<Conventions>, Mistakes> {
    let Loaded { config, mut mistakes, .. } = load(vars, Host::Standalone);
    let files = [variables::CONVENTIONS_FILE, variables::CONFIG_FILE];
    mistakes.0.retain(|mistake| files.iter().any(|file| mistake.name.starts_with(file)));
    if mistakes.is_empty() { Ok(config.cache.conventions) } else { Err(mistakes) }
}

/// What a configuration is made of beside the settings.
struct Parts {
    policies: Policies,
    conventions: Arc<Conventions>,
    tenant_check: TenantCheck,
    tokens: Vec<Token>,
    trust: Trust,
}

/// Hands each room what it needs of the settings.
fn fill(settings: Settings, parts: Parts, vars: &dyn Vars, host: Host) -> Config {
    let Parts { policies, conventions, tenant_check, tokens, trust } = parts;
    let is_snapshot = vars.get("AWS_LAMBDA_INITIALIZATION_TYPE").as_deref() == Some("snap-start");
    let listed = settings.secrets.into_iter();
    let listed: Vec<Key> =
        listed.map(|secret| Key { id: secret.id, selector: secret.selector }).collect();
    Config {
        cache: cache::Config {
            policies,
            reader_wait: settings.reader_wait,
            entries_max: settings.cache_size,
            bytes_max: settings.cache_bytes,
            calls_max: settings.calls_max,
            listed,
            scope: settings.scope,
            conventions,
            is_strict: settings.is_strict,
            is_snapshot,
            seed: None,
        },
        account: account(vars, host),
        resolving: resolving::Config { paths: settings.resolve_paths, tenant_check },
        prefetch: Prefetch { mode: settings.prefetch, deadline: settings.prefetch_deadline },
        listen: listener::Config {
            port: settings.port,
            socket: settings.socket,
            probes: settings.metrics_listen,
            room: listener::Room::of(settings.max_connections),
        },
        dialect: spoken(settings.dialect, vars, host),
        tokens,
        source: secrets_manager::Config {
            region: settings.region,
            endpoint: settings.endpoint,
            region_only: settings.region_only,
            attempt_timeout: settings.upstream_timeout,
            trust,
            environment: environment(vars),
            is_snapshot,
            own_ports: vec![settings.port],
        },
        log: logging(settings.log, vars, host),
        on_init_failure: settings.on_init_failure,
    }
}

/// Returns the account that the SDK's own variable names. On Lambda the platform tells it, and the
/// variable may be the function's, for some account that it deals with.
fn account(vars: &dyn Vars, host: Host) -> Option<Box<str>> {
    let named = vars.get("AWS_ACCOUNT_ID").filter(|_| host == Host::Standalone)?;
    let is_account = named.len() == 12 && named.bytes().all(|byte| byte.is_ascii_digit());
    is_account.then(|| named.into())
}

/// Chooses the dialect. Functions that had AWS's extension often set no variable at all, so in the
/// layer its dialect is the one to expect.
fn spoken(choice: DialectChoice, vars: &dyn Vars, host: Host) -> Spoken {
    let is_set = |name: &str| vars.get(name).is_some_and(|value| !value.trim().is_empty());
    let of_extension = || {
        let mut names = vars.names().into_iter();
        names.find(|name| name.starts_with(aws_extension::PREFIX) && is_set(name))
    };
    let because = |dialect, reason: &str| Spoken { dialect, reason: reason.to_owned() };
    match (choice, host) {
        (DialectChoice::Agent, _) => because(Dialect::Agent, "SIDEKEY_DIALECT says so"),
        (DialectChoice::Extension, _) => because(Dialect::Extension, "SIDEKEY_DIALECT says so"),
        (DialectChoice::Auto, Host::Lambda) => {
            because(Dialect::Extension, "the default in the Lambda layer")
        }
        (DialectChoice::Auto, Host::Standalone) => match of_extension() {
            Some(name) => because(Dialect::Extension, &format!("{name} is set")),
            None => because(Dialect::Agent, "the default outside Lambda"),
        },
    }
}

/// Returns how the log is written. On Lambda its own variables count where `SIDEKEY_LOG` is unset.
fn logging(level: Option<log::Level>, vars: &dyn Vars, host: Host) -> log::Config {
    let of_lambda = || vars.get("AWS_LAMBDA_LOG_LEVEL").and_then(|level| lambda_level(&level));
    let is_text = || vars.get("AWS_LAMBDA_LOG_FORMAT").is_some_and(|format| format == "Text");
    let (of_host, format, stream) = match host {
        Host::Lambda if is_text() => (of_lambda(), log::Format::Text, log::Stream::Out),
        Host::Lambda => (of_lambda(), log::Format::Json, log::Stream::Out),
        Host::Standalone if vars.is_terminal() => (None, log::Format::Text, log::Stream::Err),
        Host::Standalone => (None, log::Format::Json, log::Stream::Err),
    };
    log::Config { level: level.or(of_host).unwrap_or(log::Level::INFO), format, stream }
}

/// Reads a level as Lambda writes it.
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

/// Returns the environment for the SDK: all but Sidekey's own variables.
fn environment(vars: &dyn Vars) -> BTreeMap<String, String> {
    let names = vars.names().into_iter().filter(|name| !name.starts_with(variables::PREFIX));
    names.filter_map(|name| vars.get(&name).map(|value| (name, value))).collect()
}

/// Returns the names that begin like ours and whose values are no text. They do not count as unset:
/// without `SIDEKEY_ALLOW`, everything may be read.
fn unreadable_names(vars: &dyn Vars) -> impl Iterator<Item = String> {
    let names = vars.names().into_iter().filter(|name| name.starts_with(variables::PREFIX));
    names.filter(|name| vars.get(name).is_none())
}

/// A variable or key that there is not.
#[derive(Debug)]
struct Unknown {
    name: String,
    /// The nearest right one.
    hint: String,
    /// Whether one that keeps others out was meant: taken for unset, it would let them in.
    is_guard: bool,
}

/// Returns the names that begin like ours and are none.
fn unknown_names(vars: &dyn Vars) -> Vec<Unknown> {
    let known = |name: &str| {
        name == variables::CONFIG_FILE || VARIABLES.iter().any(|variable| variable.name == name)
    };
    let names = vars.names().into_iter();
    let unknown = names.filter(|name| name.starts_with(variables::PREFIX) && !known(name));
    let told = |name: String| {
        let known = VARIABLES.iter().map(|variable| variable.name);
        let nearest = nearest(known, &name).unwrap_or(variables::CONFIG_FILE);
        let hint = format!("no such variable; did you mean {nearest}?");
        Unknown { is_guard: is_guard(&name), name, hint }
    };
    unknown.map(told).collect()
}

/// Returns whether whoever wrote `name` meant a guard.
fn is_guard(name: &str) -> bool {
    variables::GUARDS.iter().any(|guard| is_nearly(name, guard))
}

/// Returns whether `name` is `guard` but for a slip.
fn is_nearly(name: &str, guard: &str) -> bool {
    // Without a comparison of a long name, which takes time in proportion to it.
    name.len().abs_diff(guard.len()) <= GUARD_SLIPS_MAX * char::MAX.len_utf8()
        && strsim::damerau_levenshtein(name, guard) <= GUARD_SLIPS_MAX
}

/// Returns which of the names is nearest to the beginning of `name`.
fn nearest<T: AsRef<str>>(known: impl Iterator<Item = T>, name: &str) -> Option<T> {
    let name = &name[..name.floor_char_boundary(COMPARED_BYTES_MAX)];
    known.min_by_key(|known| strsim::damerau_levenshtein(name, known.as_ref()))
}

/// Checks what no variable can be checked for alone.
fn check_relations(settings: &Settings, mistakes: &mut Mistakes) {
    if settings.upstream_timeout > settings.reader_wait {
        mistakes.add(
            "SIDEKEY_READER_WAIT",
            "shorter than SIDEKEY_UPSTREAM_TIMEOUT (or SECRETS_MANAGER_TIMEOUT_MILLIS): a reader \
             would give up before upstream can",
        );
    }
    let nowhere = Home { region: "".into(), account: None };
    for secret in &settings.secrets {
        // Whether an ARN is covered may depend on the account, which is not known yet.
        let is_name = matches!(secret.id, SecretId::Name(_));
        if is_name && !settings.scope.admits(&secret.id, &nowhere) {
            let problem = format!("{} is not covered by SIDEKEY_ALLOW", secret.id.as_str());
            mistakes.add("SIDEKEY_SECRETS", problem);
        }
    }
}

/// Reads the company's own roots of trust.
fn trust(vars: &dyn Vars, mistakes: &mut Mistakes) -> Trust {
    let given = ["AWS_CA_BUNDLE", "SSL_CERT_FILE"]
        .into_iter()
        .find_map(|name| vars.get(name).filter(|path| !path.is_empty()).map(|path| (name, path)));
    let Some((name, path)) = given else {
        return Trust::default();
    };
    let trust = std::fs::read(&path)
        .map_err(|error| format!("{path} cannot be read: {error}"))
        .and_then(|pem| Trust::with_bundle(&pem).map_err(|bad| format!("{path}: {bad}")));
    mistakes.noted(name, trust)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::arn::Arn;

    fn load_from(pairs: &[(&str, &str)], host: Host) -> Loaded {
        let vars: BTreeMap<String, String> =
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        load(&vars, host)
    }

    #[track_caller]
    fn mistakes(pairs: &[(&str, &str)], expected: &[&str]) {
        let found = load_from(pairs, Host::Standalone).mistakes;
        let names: Vec<&str> = found.0.iter().map(|mistake| &*mistake.name).collect();
        assert_eq!(names, expected, "{found}");
    }

    /// Returns the policy of a secret that no table names.
    fn of_any_secret(config: &Config) -> cache::freshness::Policy {
        let arn = "arn:aws:secretsmanager:eu-north-1:123456789012:secret:any/secret-AbC123";
        let home = Home { region: "eu-north-1".into(), account: Some("123456789012".into()) };
        let arn = Arn::parse(arn).expect("an ARN");
        config.cache.policies.of_answer(&arn, "any/secret", &home)
    }

    #[test]
    fn nothing_set_is_the_defaults_and_no_mistake() {
        let loaded = load_from(&[], Host::Standalone);
        assert!(loaded.mistakes.is_empty() && loaded.warnings.is_empty());
        assert_eq!(loaded.config.listen.port, 2773);
        let policy = of_any_secret(&loaded.config);
        assert_eq!(policy, cache::freshness::Policy::default());
        assert!(loaded.config.tokens.is_empty());
    }

    #[test]
    fn all_mistakes_are_told_at_once_by_name() {
        mistakes(
            &[
                ("SIDEKEY_TTL", "five minutes"),
                ("SIDEKEY_PORT", "99999"),
                ("SIDEKEY_REGION_ONLY", "yes"),
                ("SIDEKEY_SECRETS", "good, b\u{e4}d"),
                ("SIDEKEY_TTTL", "1m"),
            ],
            &[
                "SIDEKEY_SECRETS",
                "SIDEKEY_PORT",
                "SIDEKEY_TTL",
                "SIDEKEY_REGION_ONLY",
                "SIDEKEY_TTTL",
            ],
        );
    }

    /// On Lambda each round of mending is a deployment.
    #[test]
    fn every_bad_item_of_a_list_is_told() {
        let bad =
            [("SIDEKEY_SECRETS", "b\u{e4}, ok, d\u{f6}, #"), ("SIDEKEY_ALLOW", "a/**,b,c/**")];
        let found = load_from(&bad, Host::Standalone).mistakes.to_string();
        for part in ["'b\u{e4}'", "'d\u{f6}'", "'#'", "'a/**'", "'c/**'"] {
            assert!(found.contains(part), "{part} is not in: {found}");
        }
        assert!(!found.contains("ok"), "{found}");
    }

    #[test]
    fn a_value_that_is_no_text_is_a_mistake_and_not_unset() {
        struct NoText;
        impl Vars for NoText {
            fn get(&self, _name: &str) -> Option<String> {
                None
            }
            fn names(&self) -> Vec<String> {
                ["LANG", "SIDEKEY_ALLOW"].map(str::to_owned).into()
            }
        }
        let found = load(&NoText, Host::Standalone).mistakes;
        assert_eq!(found.to_string(), "SIDEKEY_ALLOW: its value is not UTF-8");
    }

    #[test]
    fn a_long_name_is_compared_by_its_beginning() {
        let long = format!("port{}s.e.c.r.e.t.s", "é".repeat(1_000));
        assert_eq!(nearest(["ttl", "port", "secrets"].into_iter(), &long), Some("port"));
        assert!(!is_guard(&format!("SIDEKEY_TOKEN{long}")));
        assert!(is_guard("SIDEKEY_TÖKÉN"), "letters are counted, and not bytes");
    }

    #[test]
    fn an_unknown_name_shows_the_nearest_right_one() {
        let loaded = load_from(&[("SIDEKEY_SECRET", "x")], Host::Standalone);
        assert_eq!(
            loaded.mistakes.to_string(),
            "SIDEKEY_SECRET: no such variable; did you mean SIDEKEY_SECRETS?"
        );
        let loaded =
            load_from(&[("SIDEKEY_SECRET", "x"), ("AWS_SESSION_TOKEN", "t")], Host::Lambda);
        assert!(loaded.mistakes.is_empty(), "on Lambda it only warns");
        assert_eq!(loaded.warnings.len(), 1);
    }

    #[test]
    fn on_lambda_a_misspelt_guard_is_a_mistake() {
        let token = ("AWS_SESSION_TOKEN", "t");
        for (name, meant) in [
            ("SIDEKEY_ALOW", Some("SIDEKEY_ALLOW")),
            ("SIDEKEY_ALLOWED", Some("SIDEKEY_ALLOW")),
            ("SIDEKEY_TOEKN", Some("SIDEKEY_TOKEN")),
            ("SIDEKEY_TOKENS", Some("SIDEKEY_TOKEN")),
            ("SIDEKEY_TOKEN_CACHE", None),
            ("SIDEKEY_TTTL", None),
            ("SIDEKEY_SECRET", None),
        ] {
            let Loaded { mistakes, warnings, .. } = load_from(&[(name, "x"), token], Host::Lambda);
            let expected =
                meant.map(|meant| format!("{name}: no such variable; did you mean {meant}?"));
            assert_eq!(mistakes.to_string(), expected.unwrap_or_default());
            assert_eq!(warnings.len(), usize::from(meant.is_none()), "{name}");
        }
    }

    #[test]
    fn variables_of_awss_extension_count_where_sidekeys_own_are_unset() {
        let load = |own: &[(&str, &str)]| {
            let foreign = [
                ("PARAMETERS_SECRETS_EXTENSION_HTTP_PORT", "8080"),
                ("PARAMETERS_SECRETS_EXTENSION_MAX_CONNECTIONS", "3"),
                ("PARAMETERS_SECRETS_EXTENSION_LOG_LEVEL", "Error"),
                ("SECRETS_MANAGER_TTL", " 20 "),
                ("SECRETS_MANAGER_TIMEOUT_MILLIS", ""),
            ];
            let loaded = load_from(&[&foreign[..], own].concat(), Host::Standalone);
            assert!(loaded.mistakes.is_empty(), "{}", loaded.mistakes);
            loaded.config
        };
        let foreign = load(&[]);
        assert_eq!((foreign.listen.port, foreign.cache.calls_max), (8080, 3));
        assert_eq!(of_any_secret(&foreign).ttl, Duration::from_secs(20));
        assert_eq!(foreign.log.level, log::Level::ERROR);
        assert_eq!(foreign.source.attempt_timeout, Duration::from_secs(2));
        let own = load(&[
            ("SIDEKEY_PORT", "1"),
            ("SIDEKEY_TTL", "1m"),
            ("SIDEKEY_LOG", "warn"),
            ("PARAMETERS_SECRETS_EXTENSION_CACHE_SIZE", "0"),
        ]);
        assert_eq!((own.listen.port, own.log.level), (1, log::Level::WARN));
        assert_eq!(of_any_secret(&own).ttl, Duration::from_secs(60));
        let off = load(&[("PARAMETERS_SECRETS_EXTENSION_CACHE_SIZE", "0")]);
        assert_eq!(of_any_secret(&off).ttl, Duration::ZERO);
    }

    #[test]
    fn a_bad_one_of_awss_extension_is_a_mistake_unless_sidekeys_own_is_set() {
        let bad = ("SECRETS_MANAGER_TTL", "soon");
        mistakes(&[bad], &["SECRETS_MANAGER_TTL"]);
        mistakes(&[bad, ("SIDEKEY_TTL", "1m")], &[]);
        mistakes(
            &[("SECRETS_MANAGER_TIMEOUT_MILLIS", "9000"), ("SIDEKEY_READER_WAIT", "3s")],
            &["SIDEKEY_READER_WAIT"],
        );
    }

    #[test]
    fn the_dialect_follows_from_where_and_with_what_it_runs() {
        let check = |pairs: &[(&str, &str)], host, dialect, reason: &str| {
            let spoken = load_from(pairs, host).config.dialect;
            assert_eq!((spoken.dialect, &*spoken.reason), (dialect, reason), "{pairs:?}");
        };
        let foreign = ("PARAMETERS_SECRETS_EXTENSION_LOG_LEVEL", "info");
        check(&[], Host::Standalone, Dialect::Agent, "the default outside Lambda");
        let reason = "PARAMETERS_SECRETS_EXTENSION_LOG_LEVEL is set";
        check(&[foreign], Host::Standalone, Dialect::Extension, reason);
        let empty = ("PARAMETERS_SECRETS_EXTENSION_HTTP_PORT", "");
        check(&[empty], Host::Standalone, Dialect::Agent, "the default outside Lambda");
        check(&[], Host::Lambda, Dialect::Extension, "the default in the Lambda layer");
        for (choice, dialect) in [("agent", Dialect::Agent), ("extension", Dialect::Extension)] {
            for host in [Host::Standalone, Host::Lambda] {
                let pairs = [foreign, ("SIDEKEY_DIALECT", choice)];
                check(&pairs, host, dialect, "SIDEKEY_DIALECT says so");
            }
        }
    }

    #[test]
    fn a_mistaken_variable_counts_as_unset() {
        let config =
            load_from(&[("SIDEKEY_TTL", "x"), ("SIDEKEY_PORT", "1234")], Host::Lambda).config;
        let ttl = of_any_secret(&config).ttl;
        assert_eq!((ttl, config.listen.port), (Duration::from_secs(300), 1234));
    }

    #[test]
    fn relations_are_checked() {
        mistakes(&[("SIDEKEY_READER_WAIT", "1s")], &["SIDEKEY_READER_WAIT"]);
        mistakes(&[("SIDEKEY_SECRETS", "a b"), ("SIDEKEY_ALLOW", "a")], &["SIDEKEY_SECRETS"]);
        mistakes(&[("AWS_CA_BUNDLE", "/nonexistent")], &["AWS_CA_BUNDLE"]);
    }

    #[test]
    fn the_sdk_sees_the_environment_without_our_variables() {
        let loaded =
            load_from(&[("SIDEKEY_TTL", "1m"), ("AWS_REGION", "eu-north-1")], Host::Standalone);
        let environment = loaded.config.source.environment;
        assert_eq!(
            environment.into_iter().collect::<Vec<_>>(),
            [("AWS_REGION".into(), "eu-north-1".into())]
        );
    }

    #[test]
    fn the_own_account_may_be_told_outside_lambda() {
        for (text, host, expected) in [
            ("123456789012", Host::Standalone, Some("123456789012")),
            ("123456789012", Host::Lambda, None),
            ("12345678901", Host::Standalone, None),
            ("12345678901x", Host::Standalone, None),
            ("", Host::Standalone, None),
        ] {
            let config = load_from(&[("AWS_ACCOUNT_ID", text)], host).config;
            assert_eq!(config.account.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn the_log_follows_its_host() {
        let log = |pairs: &[(&str, &str)], host| load_from(pairs, host).config.log;
        let lambda = log(&[("AWS_LAMBDA_LOG_LEVEL", "DEBUG")], Host::Lambda);
        assert_eq!((lambda.level, lambda.format), (log::Level::DEBUG, log::Format::Json));
        let text = log(&[("AWS_LAMBDA_LOG_FORMAT", "Text"), ("SIDEKEY_LOG", "warn")], Host::Lambda);
        assert_eq!((text.level, text.format), (log::Level::WARN, log::Format::Text));
        let piped = log(&[("AWS_LAMBDA_LOG_LEVEL", "DEBUG")], Host::Standalone);
        assert_eq!((piped.level, piped.stream), (log::Level::INFO, log::Stream::Err));
    }

    #[test]
    fn on_lambda_the_start_never_waits_for_longer_than_lambda_does() {
        let token = ("AWS_SESSION_TOKEN", "t");
        let load = |host| load_from(&[("SIDEKEY_PREFETCH_DEADLINE", "1h"), token], host);
        let lambda = load(Host::Lambda);
        assert_eq!(lambda.config.prefetch.deadline, LAMBDA_DEADLINE_MAX);
        assert!(lambda.mistakes.is_empty() && lambda.warnings.len() == 1, "{:?}", lambda.warnings);
        let elsewhere = load(Host::Standalone).config.prefetch.deadline;
        assert_eq!(elsewhere, Duration::from_secs(3600));
    }

    #[test]
    fn on_lambda_a_token_must_be_known() {
        assert_eq!(load_from(&[], Host::Lambda).mistakes.0.len(), 1);
        let loaded = load_from(&[("AWS_CONTAINER_AUTHORIZATION_TOKEN", "t")], Host::Lambda);
        assert!(loaded.mistakes.is_empty());
    }
}

//! Every variable: its name, its default, its help and its parser, in one table.

use super::OnInitFailure;
use super::size;
use super::span;
use crate::cache::flight::FLIGHTS_MAX;
use crate::cache::freshness::Policy;
use crate::cache::prefetch::Mode;
use crate::message::paths::{BUILT_IN_PATHS, Paths};
use crate::secret::arn::is_region;
use crate::secret::reference::Reference;
use crate::secret::scope::Scope;
use crate::source::secrets_manager::Endpoint;
use crate::telemetry::log::Level;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// How the name of every variable begins.
pub const PREFIX: &str = "SIDEKEY_";

/// The variables that keep others out. A misspelt one must not go unnoticed: it leaves open what was
/// to be closed.
pub(super) const GUARDS: [&str; 2] = ["SIDEKEY_ALLOW", "SIDEKEY_TOKEN"];

/// The variable that names the TOML file. It is the one that no file can hold.
pub const CONFIG_FILE: &str = "SIDEKEY_CONFIG";

/// The variable that names the file of conventions.
pub const CONVENTIONS_FILE: &str = "SIDEKEY_CONVENTIONS";

/// The most secrets that can be listed.
const SECRETS_MAX: usize = 1000;

/// The most entries that can be asked for.
pub const CACHE_SIZE_MAX: usize = 100_000;

/// What the variables set. A [`Default`] is what the table says.
#[derive(Debug)]
pub struct Settings {
    pub(super) secrets: Vec<Reference>,
    pub(super) scope: Scope,
    pub(super) port: u16,
    pub(super) socket: Option<PathBuf>,
    pub(super) metrics_listen: Option<SocketAddr>,
    pub(super) policy: Policy,
    pub(super) cache_size: usize,
    pub(super) cache_bytes: usize,
    pub(super) max_connections: usize,
    pub(super) calls_max: usize,
    pub(super) reader_wait: Duration,
    pub(super) upstream_timeout: Duration,
    pub(super) prefetch: Mode,
    pub(super) prefetch_deadline: Duration,
    pub(super) on_init_failure: OnInitFailure,
    pub(super) dialect: DialectChoice,
    pub(super) endpoint: Option<Endpoint>,
    pub(super) region: Option<String>,
    pub(super) region_only: bool,
    pub(super) token: Option<String>,
    pub(super) resolve_paths: Paths,
    pub(super) log: Option<Level>,
    pub(super) conventions: Option<PathBuf>,
    pub(super) is_strict: bool,
}

/// What `SIDEKEY_DIALECT` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DialectChoice {
    /// Whatever fits where the agent runs.
    Auto,
    /// That of AWS's agent.
    Agent,
    /// That of AWS's extension.
    Extension,
}

/// Sets what a variable's text says, or says what is wrong with it.
pub(super) type Parse = fn(&mut Settings, &str) -> Result<(), String>;

/// One variable.
#[derive(Debug)]
pub struct Variable {
    /// Its name. In a file it is the same without the prefix, in small letters.
    pub name: &'static str,
    /// What it is where it is unset, as it would be written; empty where that is nothing.
    pub default: &'static str,
    /// What it does.
    pub help: &'static str,
    parse: Parse,
}

impl Variable {
    /// Sets what `text` says.
    ///
    /// # Errors
    ///
    /// What is wrong with the text.
    pub(super) fn set(&self, settings: &mut Settings, text: &str) -> Result<(), String> {
        (self.parse)(settings, text)
    }
}

/// Every variable, in the order of the documentation.
pub const VARIABLES: &[Variable] = &[
    Variable {
        name: "SIDEKEY_SECRETS",
        default: "",
        help: "Secrets to fetch at start and never to push out: names or ARNs, separated by commas or white space.",
        parse: |settings, text| {
            let listed = list(text)
                .map(|item| Reference::parse(item).map_err(|bad| format!("'{item}': {bad}")));
            settings.secrets = at_most(all_good(listed)?, SECRETS_MAX)?;
            Ok(())
        },
    },
    Variable {
        name: "SIDEKEY_ALLOW",
        default: "",
        help: "Patterns of what may be read; `*` stays within one path segment. Unset: whatever IAM allows.",
        parse: |settings, text| {
            let scope = Scope::new(list(text)).map_err(|bad| bad.to_string())?;
            // A template that came out empty must not open everything.
            if scope.is_open() {
                return Err("must not be empty; leave it out to allow whatever IAM allows".into());
            }
            settings.scope = scope;
            Ok(())
        },
    },
    Variable {
        name: "SIDEKEY_PORT",
        default: "2773",
        help: "Port on 127.0.0.1 and ::1; 0 takes a free one.",
        parse: |settings, text| number(text, 0..=65535).map(|port: u16| settings.port = port),
    },
    Variable {
        name: "SIDEKEY_SOCKET",
        default: "",
        help: "Path of a Unix socket to listen on as well, in a folder of its own.",
        parse: |settings, text| {
            settings.socket = Some(PathBuf::from(given(text)?));
            Ok(())
        },
    },
    Variable {
        name: "SIDEKEY_METRICS_LISTEN",
        default: "",
        help: "ADDRESS:PORT that serves /ping, /ready and /metrics to other hosts, and nothing else.",
        parse: |settings, text| {
            let address = text.parse().map_err(|_| "ADDRESS:PORT expected, like 0.0.0.0:9277")?;
            settings.metrics_listen = Some(address);
            Ok(())
        },
    },
    Variable {
        name: "SIDEKEY_TTL",
        default: "5m",
        help: "How long a value is served before a new one must be had; 0 means no cache.",
        parse: |settings, text| span(text).map(|span| settings.policy.ttl = span),
    },
    Variable {
        name: "SIDEKEY_STALE_WHILE_REVALIDATE",
        default: "0s",
        help: "How much longer a value is served while a refresh runs.",
        parse: |settings, text| {
            span(text).map(|span| settings.policy.stale_while_revalidate = span)
        },
    },
    Variable {
        name: "SIDEKEY_STALE_IF_ERROR",
        default: "1h",
        help: "How much longer a value is served while Secrets Manager fails.",
        parse: |settings, text| span(text).map(|span| settings.policy.stale_if_error = span),
    },
    Variable {
        name: "SIDEKEY_DENIED_GRACE",
        default: "60s",
        help: "How long a value is served after Secrets Manager first refused it.",
        parse: |settings, text| span(text).map(|span| settings.policy.denied_grace = span),
    },
    Variable {
        name: "SIDEKEY_CACHE_SIZE",
        default: "1000",
        help: "The most entries held; listed secrets do not give way to it.",
        parse: |settings, text| {
            number(text, 0..=CACHE_SIZE_MAX).map(|size| settings.cache_size = size)
        },
    },
    Variable {
        name: "SIDEKEY_CACHE_BYTES",
        default: "32MiB",
        help: "The most memory for cached values and their rendered answers; listed secrets do not give way to it.",
        parse: |settings, text| {
            settings.cache_bytes = size::parse(text).map_err(|bad| bad.to_string())?;
            Ok(())
        },
    },
    Variable {
        name: "SIDEKEY_MAX_CONNECTIONS",
        default: "256",
        help: "The most connections of readers with a good token that are kept.",
        parse: |settings, text| number(text, 1..=10_000).map(|max| settings.max_connections = max),
    },
    Variable {
        name: "SIDEKEY_READER_WAIT",
        default: "5s",
        help: "How long a reader waits for Secrets Manager.",
        parse: |settings, text| positive_span(text).map(|span| settings.reader_wait = span),
    },
    Variable {
        name: "SIDEKEY_UPSTREAM_TIMEOUT",
        default: "2s",
        help: "How long one call to Secrets Manager may take.",
        parse: |settings, text| positive_span(text).map(|span| settings.upstream_timeout = span),
    },
    Variable {
        name: "SIDEKEY_PREFETCH",
        default: "get",
        help: "How listed secrets are fetched at start: get, batch or auto.",
        parse: |settings, text| {
            settings.prefetch = match text {
                "get" => Mode::Get,
                "batch" => Mode::Batch,
                "auto" => Mode::Auto,
                _ => return Err("get, batch or auto expected".to_owned()),
            };
            Ok(())
        },
    },
    Variable {
        name: "SIDEKEY_PREFETCH_DEADLINE",
        default: "3s",
        help: "How long the start waits for the listed secrets.",
        parse: |settings, text| span(text).map(|span| settings.prefetch_deadline = span),
    },
    Variable {
        name: "SIDEKEY_ON_INIT_FAILURE",
        default: "serve",
        help: "What an extension does where its start fails: serve what it can, or fail the function's start.",
        parse: |settings, text| {
            settings.on_init_failure = match text {
                "serve" => OnInitFailure::Serve,
                "fail" => OnInitFailure::Fail,
                _ => return Err("serve or fail expected".to_owned()),
            };
            Ok(())
        },
    },
    Variable {
        name: "SIDEKEY_DIALECT",
        default: "auto",
        help: "The form of answers: extension is that of AWS's Lambda extension, agent that of AWS's agent; auto chooses.",
        parse: |settings, text| {
            settings.dialect = match text {
                "auto" => DialectChoice::Auto,
                "agent" => DialectChoice::Agent,
                "extension" => DialectChoice::Extension,
                _ => return Err("auto, agent or extension expected".to_owned()),
            };
            Ok(())
        },
    },
    Variable {
        name: "SIDEKEY_ENDPOINT",
        default: "",
        help: "Where to call instead of AWS's own endpoint: https, or http on loopback; {region} stands for the region.",
        parse: |settings, text| {
            settings.endpoint = Some(Endpoint::parse(text).map_err(|bad| bad.to_string())?);
            Ok(())
        },
    },
    Variable {
        name: "SIDEKEY_REGION",
        default: "",
        help: "The region that plain names mean. Unset: the SDK's own.",
        parse: |settings, text| {
            if !is_region(text) {
                return Err("a region like eu-north-1 expected".to_owned());
            }
            settings.region = Some(text.to_owned());
            Ok(())
        },
    },
    Variable {
        name: "SIDEKEY_REGION_ONLY",
        default: "false",
        help: "Whether secrets of other regions are refused.",
        parse: |settings, text| boolean(text).map(|flag| settings.region_only = flag),
    },
    Variable {
        name: "SIDEKEY_TOKEN",
        default: "",
        help: "The token that readers show, or file://PATH. Unset: AWS_TOKEN, else AWS_SESSION_TOKEN and AWS_CONTAINER_AUTHORIZATION_TOKEN.",
        parse: |settings, text| {
            settings.token = Some(text.to_owned());
            Ok(())
        },
    },
    Variable {
        name: "SIDEKEY_RESOLVE_PATHS",
        default: BUILT_IN_PATHS,
        help: "Where a message sent to /resolve has its references: keys parted by dots; `*` is any one key or index.",
        parse: |settings, text| {
            settings.resolve_paths = Paths::parse(list(text)).map_err(|bad| bad.to_string())?;
            Ok(())
        },
    },
    Variable {
        name: "SIDEKEY_LOG",
        default: "info",
        help: "Level of Sidekey's own lines: off, error, warn, info, debug or trace.",
        parse: |settings, text| {
            let level =
                text.parse().map_err(|_| "off, error, warn, info, debug or trace expected")?;
            settings.log = Some(level);
            Ok(())
        },
    },
    Variable {
        name: "SIDEKEY_CONVENTIONS",
        default: "",
        help: "Path of a TOML file of conventions: what the values of secrets must have, by their names. Unset: the built-in ones.",
        parse: |settings, text| {
            settings.conventions = Some(PathBuf::from(given(text)?));
            Ok(())
        },
    },
    Variable {
        name: "SIDEKEY_STRICT",
        default: "false",
        help: "Whether a value that is not as its convention says is withheld, and its readers told why.",
        parse: |settings, text| boolean(text).map(|flag| settings.is_strict = flag),
    },
];

impl Default for Settings {
    fn default() -> Self {
        let mut settings = Self {
            secrets: Vec::new(),
            scope: Scope::default(),
            port: 0,
            socket: None,
            metrics_listen: None,
            policy: Policy::default(),
            cache_size: 0,
            cache_bytes: 0,
            max_connections: 0,
            calls_max: FLIGHTS_MAX,
            reader_wait: Duration::ZERO,
            upstream_timeout: Duration::ZERO,
            prefetch: Mode::Get,
            prefetch_deadline: Duration::ZERO,
            on_init_failure: OnInitFailure::Serve,
            dialect: DialectChoice::Auto,
            endpoint: None,
            region: None,
            region_only: false,
            token: None,
            resolve_paths: Paths::default(),
            log: None,
            conventions: None,
            is_strict: false,
        };
        for variable in VARIABLES.iter().filter(|variable| !variable.default.is_empty()) {
            variable.set(&mut settings, variable.default).expect("defaults are tested to be good");
        }
        // Unset, the level is the host's to choose.
        settings.log = None;
        settings
    }
}

/// Parts a list at commas and white space.
pub(super) fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c == ',' || c.is_whitespace()).filter(|item| !item.is_empty())
}

/// Returns the items, or all that is wrong with any.
fn all_good<T>(items: impl Iterator<Item = Result<T, String>>) -> Result<Vec<T>, String> {
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for item in items {
        match item {
            Ok(item) => good.push(item),
            Err(why) => bad.push(why),
        }
    }
    if bad.is_empty() { Ok(good) } else { Err(bad.join("; ")) }
}

fn at_most<T>(items: Vec<T>, max: usize) -> Result<Vec<T>, String> {
    if items.len() > max { Err(format!("more than {max} given")) } else { Ok(items) }
}

fn given(text: &str) -> Result<&str, String> {
    if text.is_empty() { Err("must not be empty".to_owned()) } else { Ok(text) }
}

fn number<T>(text: &str, range: std::ops::RangeInclusive<T>) -> Result<T, String>
where
    T: std::str::FromStr + PartialOrd + std::fmt::Display,
{
    text.parse()
        .ok()
        .filter(|number| range.contains(number))
        .ok_or_else(|| format!("a number from {} to {} expected", range.start(), range.end()))
}

pub(super) fn span(text: &str) -> Result<Duration, String> {
    span::parse(text).map_err(|bad| bad.to_string())
}

fn positive_span(text: &str) -> Result<Duration, String> {
    match span(text)? {
        Duration::ZERO => Err("must be longer than zero".to_owned()),
        span => Ok(span),
    }
}

pub(super) fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err("true, false, 1 or 0 expected".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostile::text_of;
    use proptest::prelude::*;

    #[track_caller]
    fn set(name: &str, text: &str) -> Result<Settings, String> {
        let mut settings = Settings::default();
        let variable = VARIABLES.iter().find(|variable| variable.name == name);
        variable.expect("there is such a variable").set(&mut settings, text)?;
        Ok(settings)
    }

    #[test]
    fn every_default_is_a_good_value() {
        let mut settings = Settings::default();
        for variable in VARIABLES {
            assert!(variable.name.starts_with(PREFIX));
            assert!(variable.help.ends_with('.'), "{} has a sentence", variable.name);
            if !variable.default.is_empty() {
                assert_eq!(
                    variable.set(&mut settings, variable.default),
                    Ok(()),
                    "{}",
                    variable.name
                );
            }
        }
        assert_eq!(
            (settings.port, settings.cache_size, settings.max_connections),
            (2773, 1000, 256)
        );
        assert_eq!(settings.policy, Policy::default());
    }

    #[test]
    fn lists_are_parted_at_commas_and_white_space() {
        let settings = set("SIDEKEY_SECRETS", "a, b\n\tc#d,").expect("a good list");
        let ids: Vec<&str> = settings.secrets.iter().map(|secret| secret.id.as_str()).collect();
        assert_eq!(ids, ["a", "b", "c"]);
    }

    #[test]
    fn every_variable_refuses_what_makes_no_sense() {
        for (name, text, expected) in [
            ("SIDEKEY_SECRETS", "a,#", "'#': a field's name expected"),
            ("SIDEKEY_ALLOW", "a/**", "'a/**'"),
            ("SIDEKEY_ALLOW", " , ", "must not be empty"),
            ("SIDEKEY_PORT", "65536", "from 0 to 65535"),
            ("SIDEKEY_SOCKET", "", "must not be empty"),
            ("SIDEKEY_METRICS_LISTEN", "9277", "ADDRESS:PORT"),
            ("SIDEKEY_TTL", "5 minutes", "a span like"),
            ("SIDEKEY_CACHE_SIZE", "-1", "from 0 to 100000"),
            ("SIDEKEY_MAX_CONNECTIONS", "0", "from 1 to 10000"),
            ("SIDEKEY_READER_WAIT", "0", "longer than zero"),
            ("SIDEKEY_UPSTREAM_TIMEOUT", "0s", "longer than zero"),
            ("SIDEKEY_PREFETCH", "all", "get, batch or auto"),
            ("SIDEKEY_ON_INIT_FAILURE", "exit", "serve or fail"),
            ("SIDEKEY_DIALECT", "lambda", "auto, agent or extension"),
            ("SIDEKEY_ENDPOINT", "http://10.0.0.1", "https expected"),
            ("SIDEKEY_REGION", "evil.example", "a region like"),
            ("SIDEKEY_REGION_ONLY", "TRUE", "true, false, 1 or 0"),
            ("SIDEKEY_RESOLVE_PATHS", " , ", "must not be empty"),
            ("SIDEKEY_RESOLVE_PATHS", "a.b, c..d", "'c..d': a key or '*' expected at character 3"),
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
    ];

    proptest! {
        #[test]
        fn for_any_text_a_variable_is_within_its_bounds_or_refused_with_a_reason(
            text in text_of(PIECES),
        ) {
            for Variable { name, .. } in VARIABLES {
                match set(name, &text) {
                    Ok(settings) => {
                        let Policy { ttl, stale_if_error, .. } = settings.policy;
                        prop_assert!(ttl <= span::SPAN_MAX && stale_if_error <= span::SPAN_MAX);
                        prop_assert!(settings.cache_size <= CACHE_SIZE_MAX);
                        prop_assert!((1..=10_000).contains(&settings.max_connections));
                        prop_assert!(!settings.reader_wait.is_zero());
                        prop_assert!(!settings.upstream_timeout.is_zero());
                        prop_assert!(settings.secrets.len() <= SECRETS_MAX);
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

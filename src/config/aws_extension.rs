//! The variables of AWS's Lambda extension, each used where Sidekey's own is unset, so that a layer can
//! be exchanged without a change of the function.
//!
//! What that extension takes is taken here: any case, and numbers beyond its bounds, which it cuts
//! with a warning. What nobody can make sense of is a mistake, as in every variable.

use super::span::SPAN_MAX;
use super::variables::{CACHE_SIZE_MAX, Parse};
use crate::cache::flight::FLIGHTS_MAX;
use crate::telemetry::log::Level;
use std::time::Duration;

/// How the names of most of them begin. One that is set says that its extension is to be replaced.
pub const PREFIX: &str = "PARAMETERS_SECRETS_EXTENSION_";

/// One variable of AWS's extension.
#[derive(Debug)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// The variable of Sidekey that goes before it; empty where there is none.
    pub own: &'static str,
    /// What it does here.
    pub help: &'static str,
    pub(super) parse: Parse,
}

/// Every variable that has a meaning here. Later ones win: without a cache there is no time to live.
///
/// Source: "AWS Parameters and Secrets Lambda Extension environment variables" in AWS's Secrets
/// Manager user guide.
pub const VARIABLES: &[Variable] = &[
    Variable {
        name: "PARAMETERS_SECRETS_EXTENSION_HTTP_PORT",
        own: "SIDEKEY_PORT",
        help: "The port.",
        parse: |settings, text| {
            let port = text.parse().ok().filter(|port| *port != 0);
            settings.port = port.ok_or("a number from 1 to 65535 expected")?;
            Ok(())
        },
    },
    Variable {
        name: "SECRETS_MANAGER_TTL",
        own: "SIDEKEY_TTL",
        help: "How long a value is served, in seconds; 0 means no cache. Not cut at 300 here.",
        parse: |settings, text| {
            settings.policy.ttl = Duration::from_secs(whole(text)?).min(SPAN_MAX);
            Ok(())
        },
    },
    Variable {
        name: "PARAMETERS_SECRETS_EXTENSION_CACHE_ENABLED",
        own: "SIDEKEY_TTL",
        help: "FALSE means no cache.",
        parse: |settings, text| match text.to_ascii_lowercase().as_str() {
            "true" | "1" => Ok(()),
            "false" | "0" => {
                settings.policy.ttl = Duration::ZERO;
                Ok(())
            }
            _ => Err("TRUE or FALSE expected".to_owned()),
        },
    },
    Variable {
        name: "PARAMETERS_SECRETS_EXTENSION_CACHE_SIZE",
        own: "SIDEKEY_CACHE_SIZE",
        help: "The most entries held; 0 means no cache.",
        parse: |settings, text| {
            let size = usize::try_from(whole(text)?).unwrap_or(CACHE_SIZE_MAX);
            settings.cache_size = size.min(CACHE_SIZE_MAX);
            if size == 0 {
                settings.policy.ttl = Duration::ZERO;
            }
            Ok(())
        },
    },
    Variable {
        name: "SECRETS_MANAGER_TIMEOUT_MILLIS",
        own: "SIDEKEY_UPSTREAM_TIMEOUT",
        help: "How long one call to Secrets Manager may take, in milliseconds; 0 means Sidekey's default. A reader waits as long.",
        parse: |settings, text| {
            let timeout = Duration::from_millis(whole(text)?).min(SPAN_MAX);
            if !timeout.is_zero() {
                settings.upstream_timeout = timeout;
                settings.reader_wait = settings.reader_wait.max(timeout);
            }
            Ok(())
        },
    },
    Variable {
        name: "PARAMETERS_SECRETS_EXTENSION_MAX_CONNECTIONS",
        own: "",
        help: "The most calls to Secrets Manager at once, up to 32; not the connections of readers.",
        parse: |settings, text| {
            let max = whole(text)?;
            if max == 0 {
                return Err("a number from 1 on expected".to_owned());
            }
            settings.calls_max = usize::try_from(max).unwrap_or(FLIGHTS_MAX).min(FLIGHTS_MAX);
            Ok(())
        },
    },
    Variable {
        name: "PARAMETERS_SECRETS_EXTENSION_LOG_LEVEL",
        own: "SIDEKEY_LOG",
        help: "Level of Sidekey's own lines: debug, info, warn, error or none.",
        parse: |settings, text| {
            settings.log = Some(match text.to_ascii_lowercase().as_str() {
                "debug" => Level::DEBUG,
                "info" => Level::INFO,
                "warn" => Level::WARN,
                "error" => Level::ERROR,
                "none" => Level::OFF,
                _ => return Err("debug, info, warn, error or none expected".to_owned()),
            });
            Ok(())
        },
    },
];

fn whole(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "a whole number expected".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::variables::{self, Settings};
    use crate::hostile::text_of;
    use proptest::prelude::*;

    #[track_caller]
    fn set(name: &str, text: &str) -> Result<Settings, String> {
        let mut settings = Settings::default();
        let variable = VARIABLES.iter().find(|variable| variable.name == name);
        (variable.expect("there is such a variable").parse)(&mut settings, text)?;
        Ok(settings)
    }

    #[test]
    fn each_stands_for_a_variable_that_there_is() {
        for variable in VARIABLES {
            let is_own = |own: &variables::Variable| own.name == variable.own;
            let is_there = variable.own.is_empty() || variables::VARIABLES.iter().any(is_own);
            assert!(is_there, "{}", variable.name);
            assert!(variable.help.ends_with('.'), "{} has a sentence", variable.name);
        }
    }

    #[test]
    fn what_awss_extension_takes_is_taken() {
        let get = |name, text| set(name, text).expect("a good value");
        assert_eq!(get("PARAMETERS_SECRETS_EXTENSION_HTTP_PORT", "8080").port, 8080);
        let ttl = |text| get("SECRETS_MANAGER_TTL", text).policy.ttl;
        assert_eq!([ttl("0"), ttl("2700")], [0, 2700].map(Duration::from_secs));
        assert_eq!(ttl("99999999999999"), SPAN_MAX);
        let enabled = |text| get("PARAMETERS_SECRETS_EXTENSION_CACHE_ENABLED", text).policy.ttl;
        let default = Settings::default().policy.ttl;
        assert_eq!(["TRUE", "true", "True", "1"].map(enabled), [default; 4]);
        assert_eq!(["FALSE", "false", "0"].map(enabled), [Duration::ZERO; 3]);
        let size = |text| {
            let settings = get("PARAMETERS_SECRETS_EXTENSION_CACHE_SIZE", text);
            (settings.cache_size, settings.policy.ttl.is_zero())
        };
        assert_eq!([size("0"), size("1"), size("2000")], [(0, true), (1, false), (2000, false)]);
        assert_eq!(size("99999999999999"), (CACHE_SIZE_MAX, false));
        let calls = |text| get("PARAMETERS_SECRETS_EXTENSION_MAX_CONNECTIONS", text).calls_max;
        assert_eq!([calls("1"), calls("3"), calls("1000")], [1, 3, FLIGHTS_MAX]);
        let level = |text| get("PARAMETERS_SECRETS_EXTENSION_LOG_LEVEL", text).log;
        assert_eq!(level("DEBUG"), Some(Level::DEBUG));
        assert_eq!(level("none"), Some(Level::OFF));
    }

    #[test]
    fn a_timeout_is_as_long_as_a_reader_waits_at_least() {
        let waits = |text| {
            let settings = set("SECRETS_MANAGER_TIMEOUT_MILLIS", text).expect("a good value");
            (settings.upstream_timeout, settings.reader_wait)
        };
        let default = Settings::default();
        assert_eq!(waits("0"), (default.upstream_timeout, default.reader_wait));
        assert_eq!(waits("1500"), (Duration::from_millis(1500), default.reader_wait));
        assert_eq!(waits("60000"), (Duration::from_secs(60), Duration::from_secs(60)));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (name, text) in [
            ("PARAMETERS_SECRETS_EXTENSION_HTTP_PORT", "0"),
            ("PARAMETERS_SECRETS_EXTENSION_HTTP_PORT", "65536"),
            ("SECRETS_MANAGER_TTL", "5m"),
            ("SECRETS_MANAGER_TTL", "-1"),
            ("PARAMETERS_SECRETS_EXTENSION_CACHE_ENABLED", "yes"),
            ("PARAMETERS_SECRETS_EXTENSION_CACHE_SIZE", "1.5"),
            ("SECRETS_MANAGER_TIMEOUT_MILLIS", "2s"),
            ("PARAMETERS_SECRETS_EXTENSION_MAX_CONNECTIONS", "0"),
            ("PARAMETERS_SECRETS_EXTENSION_LOG_LEVEL", "loud"),
        ] {
            let problem = set(name, text).map(|_| ()).expect_err(name);
            assert!(problem.ends_with("expected"), "{name}: {problem}");
        }
    }

    proptest! {
        #[test]
        fn for_any_text_what_is_taken_is_cut_at_sidekeys_own_bounds(
            text in text_of(&["0", "1", "9999999999", "-", "TRUE", "false", "debug", "none", "."]),
        ) {
            for variable in VARIABLES {
                let Ok(settings) = set(variable.name, &text) else { continue };
                prop_assert!(settings.port != 0);
                prop_assert!(settings.policy.ttl <= SPAN_MAX && settings.reader_wait <= SPAN_MAX);
                prop_assert!(settings.cache_size <= CACHE_SIZE_MAX);
                prop_assert!((1..=FLIGHTS_MAX).contains(&settings.calls_max));
                prop_assert!(!settings.upstream_timeout.is_zero());
            }
        }
    }
}

//! The environment variables of AWS's Lambda extension. Sidekey reads these variables too, so that
//! users can replace AWS's Lambda layer by Sidekey's layer without new settings.
//!
//! Sidekey accepts every value that AWS's extension accepts, but reduces numbers to its own limits.

use super::key::Key;
use super::span::SPAN_MAX;
use super::values::choice;
use super::variables::{CACHE_SIZE_MAX, Settings};
use crate::cache::flight::FLIGHTS_MAX;
use crate::secret::service::PerService;
use crate::source::aws::CallTimeout;
use crate::telemetry::log::Level;
use std::time::Duration;

/// The beginning of the names of most variables of AWS's Lambda extension. By default, if such a
/// variable is set, Sidekey's HTTP responses have the format of AWS's extension.
pub const PREFIX: &str = "PARAMETERS_SECRETS_EXTENSION_";

/// The environment variables of AWS's Lambda extension that Sidekey reads.
///
/// Here, the field `default` contains the name of Sidekey's own variable for the same setting. If
/// both variables are set, Sidekey ignores AWS's variable. If two of AWS's variables change the
/// same setting, the later variable in this list wins.
///
/// Source: AWS's page *AWS Parameters and Secrets Lambda Extension environment variables* in the
/// Secrets Manager user guide.
pub const VARIABLES: &[Key<Settings>] = &[
    Key {
        name: "PARAMETERS_SECRETS_EXTENSION_HTTP_PORT",
        default: "SIDEKEY_PORT",
        help: "The port that the agent listens on.",
        parse: |settings, text| {
            let port = text.parse().ok().filter(|port| *port != 0);
            settings.port = port.ok_or("the value must be a number from 1 to 65535")?;
            Ok(())
        },
    },
    Key {
        name: "SECRETS_MANAGER_TTL",
        default: "SIDEKEY_TTL",
        help: "How long a cached secret is served, in seconds; 0 turns the cache off for secrets.",
        parse: |settings, text| {
            settings.ttl.secrets = Duration::from_secs(whole_number(text)?).min(SPAN_MAX);
            Ok(())
        },
    },
    Key {
        name: "SSM_PARAMETER_STORE_TTL",
        default: "SIDEKEY_TTL",
        help: "How long a cached parameter is served, in seconds; 0 turns the cache off for parameters.",
        parse: |settings, text| {
            settings.ttl.parameters = Duration::from_secs(whole_number(text)?).min(SPAN_MAX);
            Ok(())
        },
    },
    Key {
        name: "PARAMETERS_SECRETS_EXTENSION_CACHE_ENABLED",
        default: "SIDEKEY_TTL",
        help: "`FALSE` turns the cache off; `TRUE` has no effect.",
        parse: |settings, text| match text.to_ascii_lowercase().as_str() {
            "true" | "1" => Ok(()),
            "false" | "0" => {
                settings.ttl = PerService::from(Duration::ZERO);
                Ok(())
            }
            _ => Err("the value must be TRUE or FALSE".to_owned()),
        },
    },
    Key {
        name: "PARAMETERS_SECRETS_EXTENSION_CACHE_SIZE",
        default: "SIDEKEY_CACHE_SIZE",
        help: "The maximum number of cached entries; 0 turns the cache off.",
        parse: |settings, text| {
            let size = usize::try_from(whole_number(text)?).unwrap_or(CACHE_SIZE_MAX);
            settings.cache_size = size.min(CACHE_SIZE_MAX);
            if size == 0 {
                settings.ttl = PerService::from(Duration::ZERO);
            }
            Ok(())
        },
    },
    Key {
        name: "SECRETS_MANAGER_TIMEOUT_MILLIS",
        default: "SIDEKEY_UPSTREAM_TIMEOUT",
        help: "The timeout of one call to Secrets Manager, in milliseconds; 0 means Sidekey's default. If SIDEKEY_READER_WAIT is unset, its value is at least this timeout.",
        parse: |settings, text| {
            if let Some(duration) = timeout(text)? {
                let variable = "SECRETS_MANAGER_TIMEOUT_MILLIS";
                settings.upstream_timeout.secrets = CallTimeout { duration, variable };
                settings.reader_wait = settings.reader_wait.max(duration);
            }
            Ok(())
        },
    },
    Key {
        name: "SSM_PARAMETER_STORE_TIMEOUT_MILLIS",
        default: "SIDEKEY_UPSTREAM_TIMEOUT",
        help: "The timeout of one call to Parameter Store, in milliseconds; 0 means Sidekey's default. If SIDEKEY_READER_WAIT is unset, its value is at least this timeout.",
        parse: |settings, text| {
            if let Some(duration) = timeout(text)? {
                let variable = "SSM_PARAMETER_STORE_TIMEOUT_MILLIS";
                settings.upstream_timeout.parameters = CallTimeout { duration, variable };
                settings.reader_wait = settings.reader_wait.max(duration);
            }
            Ok(())
        },
    },
    Key {
        name: "PARAMETERS_SECRETS_EXTENSION_MAX_CONNECTIONS",
        default: "",
        help: "The maximum number of concurrent calls to AWS, up to 32; it does not limit the callers' connections.",
        parse: |settings, text| {
            let max = whole_number(text)?;
            if max == 0 {
                return Err("the value must be a number of at least 1".to_owned());
            }
            settings.calls_max = usize::try_from(max).unwrap_or(FLIGHTS_MAX).min(FLIGHTS_MAX);
            Ok(())
        },
    },
    Key {
        name: "PARAMETERS_SECRETS_EXTENSION_LOG_LEVEL",
        default: "SIDEKEY_LOG",
        help: "The lowest level of log lines that Sidekey writes: `debug`, `info`, `warn`, `error` or `none`.",
        parse: |settings, text| {
            let levels = [
                ("debug", Level::DEBUG),
                ("info", Level::INFO),
                ("warn", Level::WARN),
                ("error", Level::ERROR),
                ("none", Level::OFF),
            ];
            settings.log = Some(choice(&text.to_ascii_lowercase(), &levels)?);
            Ok(())
        },
    },
];

/// Parses a number of milliseconds. Returns `None` for 0, which means Sidekey's default.
fn timeout(text: &str) -> Result<Option<Duration>, String> {
    let timeout = Duration::from_millis(whole_number(text)?).min(SPAN_MAX);
    Ok(Some(timeout).filter(|timeout| !timeout.is_zero()))
}

fn whole_number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "the value must be a whole number".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::variables;
    use crate::hostile::text_of;
    use crate::secret::service::Service;
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
    fn every_default_names_a_variable_of_sidekey() {
        for Key { name, default, help, .. } in VARIABLES {
            let is_known = variables::VARIABLES.iter().any(|own| own.name == *default);
            assert!(default.is_empty() || is_known, "{name}");
            assert!(help.ends_with('.'), "{name}: the help text must end with a full stop");
        }
    }

    #[test]
    fn values_of_awss_extension_are_accepted() {
        let get = |name, text| set(name, text).expect("the value must be valid");
        assert_eq!(get("PARAMETERS_SECRETS_EXTENSION_HTTP_PORT", "8080").port, 8080);
        let ttl = |text| get("SECRETS_MANAGER_TTL", text).ttl.secrets;
        let parameter_ttl = |text| get("SSM_PARAMETER_STORE_TTL", text).ttl.parameters;
        for (text, expected) in [
            ("0", Duration::ZERO),
            ("2700", Duration::from_secs(2700)),
            ("99999999999999", SPAN_MAX),
        ] {
            assert_eq!([ttl(text), parameter_ttl(text)], [expected; 2], "{text}");
        }
        let enabled = |text| get("PARAMETERS_SECRETS_EXTENSION_CACHE_ENABLED", text).ttl;
        let default = Settings::default().ttl;
        assert_eq!(["TRUE", "true", "True", "1"].map(enabled), [default; 4]);
        assert_eq!(["FALSE", "false", "0"].map(enabled), [PerService::from(Duration::ZERO); 3]);
        let size = |text| {
            let settings = get("PARAMETERS_SECRETS_EXTENSION_CACHE_SIZE", text);
            (settings.cache_size, settings.ttl == PerService::from(Duration::ZERO))
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
    fn callers_wait_at_least_as_long_as_the_timeout() {
        let default = Settings::default();
        let long = Duration::from_secs(60);
        for (text, timeout, reader_wait) in [
            ("0", default.upstream_timeout.secrets.duration, default.reader_wait),
            ("1500", Duration::from_millis(1500), default.reader_wait),
            ("60000", long, long),
        ] {
            for name in ["SECRETS_MANAGER_TIMEOUT_MILLIS", "SSM_PARAMETER_STORE_TIMEOUT_MILLIS"] {
                let settings = set(name, text).expect("the value must be valid");
                let PerService { secrets, parameters } = settings.upstream_timeout;
                let (own, other) = match name.starts_with("SSM") {
                    true => (parameters, secrets),
                    false => (secrets, parameters),
                };
                assert_eq!(
                    (own.duration, settings.reader_wait),
                    (timeout, reader_wait),
                    "{name}={text}"
                );
                assert_eq!(other, default.upstream_timeout.secrets, "{name}={text}");
            }
        }
    }

    #[test]
    fn each_ttl_counts_only_for_its_service() {
        let default = Settings::default().ttl;
        let secrets = set("SECRETS_MANAGER_TTL", "20").expect("the value must be valid").ttl;
        let parameters = set("SSM_PARAMETER_STORE_TTL", "20").expect("the value must be valid").ttl;
        let changed = Duration::from_secs(20);
        assert_eq!(secrets, PerService { secrets: changed, ..default });
        assert_eq!(parameters, PerService { parameters: changed, ..default });
    }

    #[test]
    fn other_values_are_refused() {
        for (name, text) in [
            ("PARAMETERS_SECRETS_EXTENSION_HTTP_PORT", "0"),
            ("PARAMETERS_SECRETS_EXTENSION_HTTP_PORT", "65536"),
            ("SECRETS_MANAGER_TTL", "5m"),
            ("SECRETS_MANAGER_TTL", "-1"),
            ("SSM_PARAMETER_STORE_TTL", "5m"),
            ("SSM_PARAMETER_STORE_TIMEOUT_MILLIS", "2s"),
            ("PARAMETERS_SECRETS_EXTENSION_CACHE_ENABLED", "yes"),
            ("PARAMETERS_SECRETS_EXTENSION_CACHE_SIZE", "1.5"),
            ("SECRETS_MANAGER_TIMEOUT_MILLIS", "2s"),
            ("PARAMETERS_SECRETS_EXTENSION_MAX_CONNECTIONS", "0"),
            ("PARAMETERS_SECRETS_EXTENSION_LOG_LEVEL", "loud"),
        ] {
            let problem = set(name, text).map(|_| ()).expect_err(name);
            assert!(problem.starts_with("the value must be "), "{name}: {problem}");
        }
    }

    proptest! {
        #[test]
        fn for_any_text_accepted_values_are_within_sidekeys_bounds(
            text in text_of(&["0", "1", "9999999999", "-", "TRUE", "false", "debug", "none", "."]),
        ) {
            for variable in VARIABLES {
                let Ok(settings) = set(variable.name, &text) else { continue };
                prop_assert!(settings.port != 0);
                for service in Service::ALL {
                    prop_assert!(*settings.ttl.of(service) <= SPAN_MAX);
                    prop_assert!(!settings.upstream_timeout.of(service).duration.is_zero());
                }
                prop_assert!(settings.reader_wait <= SPAN_MAX);
                prop_assert!(settings.cache_size <= CACHE_SIZE_MAX);
                prop_assert!((1..=FLIGHTS_MAX).contains(&settings.calls_max));
            }
        }
    }
}

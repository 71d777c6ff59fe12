//! Tests that load a complete configuration.

use super::*;
use crate::cache::freshness::Policy;
use crate::secret::arn::Arn;
use crate::secret::scope::Home;
use crate::server::dialect::Dialect;
use crate::source::aws::CallTimeout;
use crate::telemetry::log;
use std::collections::BTreeMap;
use std::time::Duration;

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

fn of_any_secret(config: &Config) -> Policy {
    let arn = "arn:aws:secretsmanager:eu-north-1:123456789012:secret:any/secret-AbC123";
    let home = Home { region: "eu-north-1".into(), account: Some("123456789012".into()) };
    let arn = Arn::parse(arn).expect("the ARN must be valid");
    config.cache.policies.of_answer(&arn, "any/secret", &home)
}

fn of_any_parameter(config: &Config) -> Policy {
    let arn = "arn:aws:ssm:eu-north-1:123456789012:parameter/any/parameter";
    let home = Home { region: "eu-north-1".into(), account: Some("123456789012".into()) };
    let arn = Arn::parse(arn).expect("the ARN must be valid");
    config.cache.policies.of_answer(&arn, "/any/parameter", &home)
}

#[test]
fn without_variables_all_defaults_apply() {
    let loaded = load_from(&[], Host::Standalone);
    assert!(loaded.mistakes.is_empty() && loaded.warnings.is_empty());
    assert_eq!(loaded.config.listen.port, 2773);
    let policy = of_any_secret(&loaded.config);
    assert_eq!(policy, Policy::default());
    assert!(loaded.config.tokens.is_empty());
}

#[test]
fn all_mistakes_are_reported_at_once_by_name() {
    mistakes(
        &[
            ("SIDEKEY_TTL", "five minutes"),
            ("SIDEKEY_PORT", "99999"),
            ("SIDEKEY_REGION_ONLY", "yes"),
            ("SIDEKEY_SECRETS", "good, b\u{e4}d"),
            ("SIDEKEY_TTTL", "1m"),
        ],
        &["SIDEKEY_SECRETS", "SIDEKEY_PORT", "SIDEKEY_TTL", "SIDEKEY_REGION_ONLY", "SIDEKEY_TTTL"],
    );
}

/// The agent reports all mistakes at once. Otherwise a user of Lambda would have to deploy the
/// function again after each correction.
#[test]
fn every_malformed_item_of_a_list_is_reported() {
    let bad = [("SIDEKEY_SECRETS", "b\u{e4}, ok, d\u{f6}, #"), ("SIDEKEY_ALLOW", "a/**,b,c/**")];
    let found = load_from(&bad, Host::Standalone).mistakes.to_string();
    for part in ["'b\u{e4}'", "'d\u{f6}'", "'#'", "'a/**'", "'c/**'"] {
        assert!(found.contains(part), "the error message must contain {part}, but is: {found}");
    }
    assert!(!found.contains("ok"), "{found}");
}

#[test]
fn variable_that_is_not_utf_8_is_a_mistake_and_not_unset() {
    struct NotUtf8;
    impl Vars for NotUtf8 {
        fn get(&self, _name: &str) -> Option<String> {
            None
        }
        fn names(&self) -> Vec<String> {
            ["LANG", "SIDEKEY_ALLOW"].map(str::to_owned).into()
        }
    }
    let found = load(&NotUtf8, Host::Standalone).mistakes;
    assert_eq!(found.to_string(), "SIDEKEY_ALLOW: the value is not UTF-8");
}

#[test]
fn unknown_variable_gets_a_hint_with_the_nearest_name() {
    let loaded = load_from(&[("SIDEKEY_SECRET", "x")], Host::Standalone);
    assert_eq!(
        loaded.mistakes.to_string(),
        "SIDEKEY_SECRET: Sidekey has no such variable; did you mean SIDEKEY_SECRETS?"
    );
    let loaded = load_from(&[("SIDEKEY_SECRET", "x"), ("AWS_SESSION_TOKEN", "t")], Host::Lambda);
    assert!(loaded.mistakes.is_empty(), "on Lambda, an unknown variable must cause only a warning");
    assert_eq!(loaded.warnings.len(), 1);
}

#[test]
fn misspelt_security_setting_is_a_mistake_on_lambda_too() {
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
        let expected = meant
            .map(|meant| format!("{name}: Sidekey has no such variable; did you mean {meant}?"));
        assert_eq!(mistakes.to_string(), expected.unwrap_or_default());
        assert_eq!(warnings.len(), usize::from(meant.is_none()), "{name}");
    }
}

#[test]
fn variables_of_awss_extension_count_if_sidekeys_are_unset() {
    let load = |own: &[(&str, &str)]| {
        let foreign = [
            ("PARAMETERS_SECRETS_EXTENSION_HTTP_PORT", "8080"),
            ("PARAMETERS_SECRETS_EXTENSION_MAX_CONNECTIONS", "3"),
            ("PARAMETERS_SECRETS_EXTENSION_LOG_LEVEL", "Error"),
            ("SECRETS_MANAGER_TTL", " 20 "),
            ("SECRETS_MANAGER_TIMEOUT_MILLIS", ""),
            ("SSM_PARAMETER_STORE_TTL", "30"),
            ("SSM_PARAMETER_STORE_TIMEOUT_MILLIS", "1000"),
        ];
        let loaded = load_from(&[&foreign[..], own].concat(), Host::Standalone);
        assert!(loaded.mistakes.is_empty(), "{}", loaded.mistakes);
        loaded.config
    };
    let foreign = load(&[]);
    assert_eq!((foreign.listen.port, foreign.cache.calls_max), (8080, 3));
    assert_eq!(of_any_secret(&foreign).ttl, Duration::from_secs(20));
    assert_eq!(of_any_parameter(&foreign).ttl, Duration::from_secs(30));
    assert_eq!(foreign.log.level, log::Level::ERROR);
    assert_eq!(foreign.source.attempt_timeout, Duration::from_secs(2));
    assert_eq!(foreign.source.parameter_store_timeout.duration, Duration::from_secs(1));
    let own = load(&[
        ("SIDEKEY_PORT", "1"),
        ("SIDEKEY_TTL", "1m"),
        ("SIDEKEY_UPSTREAM_TIMEOUT", "3s"),
        ("SIDEKEY_LOG", "warn"),
        ("PARAMETERS_SECRETS_EXTENSION_CACHE_SIZE", "0"),
    ]);
    assert_eq!((own.listen.port, own.log.level), (1, log::Level::WARN));
    assert_eq!([of_any_secret(&own).ttl, of_any_parameter(&own).ttl], [Duration::from_secs(60); 2]);
    let timeouts = [own.source.attempt_timeout, own.source.parameter_store_timeout.duration];
    assert_eq!(timeouts, [Duration::from_secs(3); 2]);
    let off = load(&[("PARAMETERS_SECRETS_EXTENSION_CACHE_SIZE", "0")]);
    assert_eq!([of_any_secret(&off).ttl, of_any_parameter(&off).ttl], [Duration::ZERO; 2]);
}

#[test]
fn timeout_of_parameters_has_the_name_of_the_variable_that_sets_it() {
    let (own, secrets, parameters) = (
        ("SIDEKEY_UPSTREAM_TIMEOUT", "3s"),
        ("SECRETS_MANAGER_TIMEOUT_MILLIS", "1000"),
        ("SSM_PARAMETER_STORE_TIMEOUT_MILLIS", "2000"),
    );
    for (variables, expected, seconds) in [
        (&[][..], own.0, 2),
        (&[secrets], own.0, 2),
        (&[parameters], parameters.0, 2),
        (&[("SSM_PARAMETER_STORE_TIMEOUT_MILLIS", "0")], own.0, 2),
        (&[own, parameters], own.0, 3),
    ] {
        let loaded = load_from(variables, Host::Standalone);
        let duration = Duration::from_secs(seconds);
        let timeout = CallTimeout { duration, variable: expected };
        assert_eq!(loaded.config.source.parameter_store_timeout, timeout, "{variables:?}");
    }
}

#[test]
fn mistaken_variable_of_awss_extension_counts_only_if_sidekeys_is_unset() {
    let bad = ("SECRETS_MANAGER_TTL", "soon");
    mistakes(&[bad], &["SECRETS_MANAGER_TTL"]);
    mistakes(&[bad, ("SIDEKEY_TTL", "1m")], &[]);
    mistakes(
        &[("SECRETS_MANAGER_TIMEOUT_MILLIS", "9000"), ("SIDEKEY_READER_WAIT", "3s")],
        &["SIDEKEY_READER_WAIT"],
    );
}

#[test]
fn dialect_follows_from_host_and_variables() {
    let check = |pairs: &[(&str, &str)], host, dialect, reason: &str| {
        let chosen = load_from(pairs, host).config.dialect;
        assert_eq!((chosen.dialect, &*chosen.reason), (dialect, reason), "{pairs:?}");
    };
    let foreign = ("PARAMETERS_SECRETS_EXTENSION_LOG_LEVEL", "info");
    check(
        &[],
        Host::Standalone,
        Dialect::Agent,
        "SIDEKEY_DIALECT is `auto`, which means `agent` outside Lambda",
    );
    let reason = "PARAMETERS_SECRETS_EXTENSION_LOG_LEVEL is set";
    check(&[foreign], Host::Standalone, Dialect::Extension, reason);
    let empty = ("PARAMETERS_SECRETS_EXTENSION_HTTP_PORT", "");
    check(
        &[empty],
        Host::Standalone,
        Dialect::Agent,
        "SIDEKEY_DIALECT is `auto`, which means `agent` outside Lambda",
    );
    check(
        &[],
        Host::Lambda,
        Dialect::Extension,
        "SIDEKEY_DIALECT is `auto`, which means `extension` in the Lambda layer",
    );
    for (choice, dialect) in [("agent", Dialect::Agent), ("extension", Dialect::Extension)] {
        for host in [Host::Standalone, Host::Lambda] {
            let pairs = [foreign, ("SIDEKEY_DIALECT", choice)];
            check(&pairs, host, dialect, "SIDEKEY_DIALECT is set");
        }
    }
}

#[test]
fn mistaken_variable_counts_as_unset() {
    let config = load_from(&[("SIDEKEY_TTL", "x"), ("SIDEKEY_PORT", "1234")], Host::Lambda).config;
    let ttl = of_any_secret(&config).ttl;
    assert_eq!((ttl, config.listen.port), (Duration::from_secs(300), 1234));
}

#[test]
fn settings_that_depend_on_each_other_are_checked() {
    mistakes(&[("SIDEKEY_READER_WAIT", "1s")], &["SIDEKEY_READER_WAIT"]);
    mistakes(&[("SIDEKEY_SECRETS", "a b"), ("SIDEKEY_ALLOW", "a")], &["SIDEKEY_SECRETS"]);
    for (listed, allowed, expected) in [
        ("ssm:/app/url", "ssm:/app/*", ""),
        ("ssm:/app/*", "ssm:/app/*", ""),
        ("ssm:/app/url", "/app/*", "no pattern in SIDEKEY_ALLOW matches the secret ssm:/app/url"),
        (
            "ssm:/app/*",
            "ssm:/app/url",
            "no pattern in SIDEKEY_ALLOW matches all parameters of the path ssm:/app/*: add the \
             pattern ssm:/app/*",
        ),
    ] {
        let pairs = [("SIDEKEY_SECRETS", listed), ("SIDEKEY_ALLOW", allowed)];
        let found = load_from(&pairs, Host::Standalone).mistakes;
        assert_eq!(found.0.len(), usize::from(!expected.is_empty()), "{listed}: {found}");
        assert!(found.0.iter().all(|one| one.problem.starts_with(expected)), "{found}");
    }
    let secret = "ssm:/aws/reference/secretsmanager/app/db";
    mistakes(&[("SIDEKEY_SECRETS", secret), ("SIDEKEY_ALLOW", "app/db")], &[]);
    let allowed = load_from(&[("SIDEKEY_ALLOW", secret)], Host::Standalone).mistakes;
    let path = "ssm:/aws/reference/secretsmanager/*";
    let listed = load_from(&[("SIDEKEY_SECRETS", path)], Host::Standalone).mistakes;
    for found in [allowed, listed] {
        assert!(found.to_string().contains("write the secret's name"), "{found}");
    }
    mistakes(&[("AWS_CA_BUNDLE", "/nonexistent")], &["AWS_CA_BUNDLE"]);
}

#[test]
fn sdk_gets_the_environment_without_sidekeys_variables() {
    let loaded =
        load_from(&[("SIDEKEY_TTL", "1m"), ("AWS_REGION", "eu-north-1")], Host::Standalone);
    let environment = loaded.config.source.environment;
    assert_eq!(
        environment.into_iter().collect::<Vec<_>>(),
        [("AWS_REGION".into(), "eu-north-1".into())]
    );
}

/// Kubernetes sets these variables in each pod of a namespace that contains the Services
/// `sidekey-metrics` and `sidekey`.
#[test]
fn variables_of_kubernetes_services_are_no_settings() {
    let links = [
        ("SIDEKEY_METRICS_SERVICE_HOST", "10.96.3.4"),
        ("SIDEKEY_METRICS_SERVICE_PORT", "9277"),
        ("SIDEKEY_METRICS_PORT", "tcp://10.96.3.4:9277"),
        ("SIDEKEY_METRICS_PORT_9277_TCP", "tcp://10.96.3.4:9277"),
        ("SIDEKEY_METRICS_PORT_9277_TCP_PROTO", "tcp"),
        ("SIDEKEY_METRICS_PORT_9277_TCP_PORT", "9277"),
        ("SIDEKEY_METRICS_PORT_9277_TCP_ADDR", "10.96.3.4"),
        ("SIDEKEY_SERVICE_HOST", "10.96.3.4"),
        ("SIDEKEY_SERVICE_PORT", "9277"),
        ("SIDEKEY_PORT", "tcp://10.96.3.4:9277"),
        ("SIDEKEY_PORT_9277_TCP", "tcp://10.96.3.4:9277"),
        ("SIDEKEY_PORT_9277_TCP_PROTO", "tcp"),
        ("SIDEKEY_PORT_9277_TCP_PORT", "9277"),
        ("SIDEKEY_PORT_9277_TCP_ADDR", "10.96.3.4"),
    ];
    for host in [Host::Standalone, Host::Lambda] {
        let loaded = load_from(&[&links[..], &[("AWS_SESSION_TOKEN", "t")]].concat(), host);
        assert!(loaded.mistakes.is_empty() && loaded.warnings.is_empty(), "{}", loaded.mistakes);
        assert_eq!(loaded.config.listen.port, 2773);
    }
    mistakes(&[("SIDEKEY_PORT", "http://10.96.3.4:9277")], &["SIDEKEY_PORT"]);
}

#[test]
fn empty_variable_counts_as_unset() {
    let names = variables::VARIABLES.iter().map(|variable| variable.name);
    let aws = ["AWS_REGION", "AWS_TOKEN", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_CA_BUNDLE"];
    let of_extension = aws_extension::VARIABLES.iter().map(|variable| variable.name);
    let others = ["SIDEKEY_CONFIG", "AWS_ACCOUNT_ID"];
    for name in names.chain(aws).chain(of_extension).chain(others) {
        for text in ["", " \r\n", "\u{feff}"] {
            let loaded = load_from(&[(name, text)], Host::Standalone);
            let is_guard = ["SIDEKEY_ALLOW", "SIDEKEY_ROLES", "SIDEKEY_USE_ONLY"].contains(&name);
            let expected: &[&str] = if is_guard { &[name] } else { &[] };
            let found: Vec<&str> = loaded.mistakes.0.iter().map(|mistake| &*mistake.name).collect();
            assert_eq!(found, expected, "{name}={text:?}: {}", loaded.mistakes);
            assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
            assert!(loaded.config.source.environment.is_empty(), "{name}");
        }
    }
    // A misspelt SIDEKEY_ALLOW is reported even if it is empty.
    mistakes(&[("SIDEKEY_ALOW", "")], &["SIDEKEY_ALOW"]);
    mistakes(&[("SIDEKEY_TTTL", "")], &[]);
}

#[test]
fn white_space_and_quotes_around_variables_of_aws_are_removed() {
    let loaded = load_from(
        &[
            ("AWS_REGION", " \"eu-north-1\"\n"),
            ("AWS_PROFILE", "'app'"),
            ("AWS_ACCESS_KEY_ID", "AKIA1\n"),
            ("AWS_SECRET_ACCESS_KEY", "\u{feff}key "),
            ("SECRETS_MANAGER_TTL", "\"20\""),
            ("AWS_DEFAULT_REGION", "''"),
        ],
        Host::Standalone,
    );
    assert!(loaded.mistakes.is_empty(), "{}", loaded.mistakes);
    assert_eq!(of_any_secret(&loaded.config).ttl, Duration::from_secs(20));
    let environment = loaded.config.source.environment;
    let environment: Vec<(&str, &str)> = environment.iter().map(|(k, v)| (&**k, &**v)).collect();
    let expected = [
        ("AWS_ACCESS_KEY_ID", "AKIA1"),
        ("AWS_PROFILE", "app"),
        ("AWS_REGION", "eu-north-1"),
        ("AWS_SECRET_ACCESS_KEY", "key"),
        ("SECRETS_MANAGER_TTL", "20"),
    ];
    assert_eq!(environment, expected);
}

#[test]
fn quotes_around_settings_and_credentials_are_mistakes() {
    for variable in variables::VARIABLES {
        for text in [" \"a\"\n", "''"] {
            mistakes(&[(variable.name, text)], &[variable.name]);
        }
    }
    mistakes(&[("SIDEKEY_CONFIG", "\"/etc/sidekey.toml\"")], &["SIDEKEY_CONFIG"]);
    mistakes(&[("AWS_TOKEN", "\"a\"")], &["AWS_TOKEN"]);
    let key = [("AWS_ACCESS_KEY_ID", "'a'"), ("AWS_SECRET_ACCESS_KEY", "\"b\"")];
    mistakes(&key, &["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]);
}

#[test]
fn variables_of_aws_are_validated_at_start() {
    mistakes(&[("AWS_REGION", "Stockholm")], &["AWS_REGION"]);
    mistakes(&[("AWS_REGION", "eu-north-1 # home")], &["AWS_REGION"]);
    mistakes(&[("AWS_DEFAULT_REGION", "eu-north")], &["AWS_DEFAULT_REGION"]);
    // The SDK uses only the first region that is set.
    mistakes(&[("AWS_DEFAULT_REGION", "eu-north"), ("AWS_REGION", "eu-north-1")], &[]);
    mistakes(&[("AWS_REGION", "Stockholm"), ("SIDEKEY_REGION", "eu-north-1")], &[]);
    let key = [("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b")];
    for token in [("AWS_SESSION_TOKEN", "a\nb"), ("AWS_TOKEN", "a\nb")] {
        mistakes(&[&key[..], &[token]].concat(), &[token.0]);
    }
}

#[test]
fn account_can_be_configured_outside_lambda() {
    for (text, host, expected) in [
        ("123456789012", Host::Standalone, Some("123456789012")),
        ("123456789012", Host::Lambda, None),
        ("1234-5678-9012", Host::Standalone, None),
        ("12345678901", Host::Standalone, None),
        ("12345678901x", Host::Standalone, None),
        ("", Host::Standalone, None),
    ] {
        let Loaded { config, warnings, .. } = load_from(&[("AWS_ACCOUNT_ID", text)], host);
        assert_eq!(config.account.as_deref(), expected, "{text}");
        let is_ignored = host == Host::Standalone && expected.is_none() && !text.is_empty();
        assert_eq!(warnings.len(), usize::from(is_ignored), "{text}: {warnings:?}");
    }
}

#[test]
fn log_follows_the_host() {
    let log = |pairs: &[(&str, &str)], host| load_from(pairs, host).config.log;
    let lambda = log(&[("AWS_LAMBDA_LOG_LEVEL", "DEBUG")], Host::Lambda);
    assert_eq!((lambda.level, lambda.format), (log::Level::DEBUG, log::Format::Json));
    let text = log(&[("AWS_LAMBDA_LOG_FORMAT", "Text"), ("SIDEKEY_LOG", "warn")], Host::Lambda);
    assert_eq!((text.level, text.format), (log::Level::WARN, log::Format::Text));
    let piped = log(&[("AWS_LAMBDA_LOG_LEVEL", "DEBUG")], Host::Standalone);
    assert_eq!(
        (piped.level, piped.format, piped.stream),
        (log::Level::INFO, log::Format::TextOnTerminal, log::Stream::Err)
    );
}

#[test]
fn prefetch_deadline_is_reduced_on_lambda() {
    let token = ("AWS_SESSION_TOKEN", "t");
    let load = |host| load_from(&[("SIDEKEY_PREFETCH_DEADLINE", "1h"), token], host);
    let lambda = load(Host::Lambda);
    assert_eq!(lambda.config.prefetch.deadline, Duration::from_secs(8));
    assert!(lambda.mistakes.is_empty() && lambda.warnings.len() == 1, "{:?}", lambda.warnings);
    let elsewhere = load(Host::Standalone).config.prefetch.deadline;
    assert_eq!(elsewhere, Duration::from_secs(3600));
}

#[test]
fn missing_token_is_a_mistake_on_lambda() {
    assert_eq!(load_from(&[], Host::Lambda).mistakes.0.len(), 1);
    let loaded = load_from(&[("AWS_CONTAINER_AUTHORIZATION_TOKEN", "t")], Host::Lambda);
    assert!(loaded.mistakes.is_empty());
}

#[test]
fn conventions_are_read_although_other_variables_have_mistakes() {
    let read = |pairs: &[(&str, &str)]| {
        let vars: BTreeMap<String, String> =
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        conventions(&vars).map_err(|mistakes| mistakes.to_string())
    };
    let others =
        [("SIDEKEY_TTL", "soon"), ("SIDEKEY_TTTL", "1m"), ("AWS_CA_BUNDLE", "/nonexistent")];
    assert_eq!(
        *read(&others)
            .expect("a mistake in another variable must not prevent reading SIDEKEY_CONVENTIONS"),
        Conventions::built_in()
    );
    for name in ["SIDEKEY_CONVENTIONS", "SIDEKEY_CONFIG"] {
        let mistakes = read(&[(name, "/nonexistent")])
            .expect_err("a file that does not exist must cause an error");
        assert!(
            mistakes.starts_with(&format!("{name}: the file /nonexistent cannot be read")),
            "{mistakes}"
        );
    }
}

#[test]
fn http_endpoint_on_another_host_needs_its_own_variable() {
    for name in ["SIDEKEY_ENDPOINT", "SIDEKEY_SSM_ENDPOINT"] {
        let endpoint = (name, "http://localstack:4566");
        let refused = load_from(&[endpoint], Host::Standalone);
        let problem = refused.mistakes.to_string();
        assert!(problem.starts_with(&format!("{name}: ")), "{problem}");
        assert!(problem.ends_with("set SIDEKEY_ALLOW_HTTP_ENDPOINT=true"), "{problem}");

        let allowed = [endpoint, ("SIDEKEY_ALLOW_HTTP_ENDPOINT", "true")];
        let Loaded { mistakes, warnings, .. } = load_from(&allowed, Host::Standalone);
        assert_eq!(mistakes.to_string(), "");
        assert!(warnings.len() == 1, "{warnings:?}");
        assert!(warnings[0].starts_with(&format!("INSECURE: {name} uses http")), "{warnings:?}");

        let encrypted = [(name, "https://localstack:4566"), allowed[1]];
        assert!(load_from(&encrypted, Host::Standalone).warnings.is_empty());
    }
}

#[test]
fn parameter_store_can_have_an_endpoint_of_its_own() {
    let endpoints = |pairs: &[(&str, &str)]| {
        let aws = load_from(pairs, Host::Standalone).config.source;
        (aws.endpoint.is_some(), aws.parameter_store_endpoint.is_some())
    };
    let both = ("SIDEKEY_ENDPOINT", "https://all.example");
    let own = ("SIDEKEY_SSM_ENDPOINT", "https://ssm.example");
    assert_eq!(endpoints(&[both]), (true, false));
    assert_eq!(endpoints(&[own]), (false, true));
    assert_eq!(endpoints(&[both, own]), (true, true));
}

#[test]
fn compose_files_configure_an_agent_without_mistakes() {
    for file in [
        include_str!("../../examples/compose/localstack.yaml"),
        include_str!("../../examples/compose/moto.yaml"),
    ] {
        let pairs: Vec<(&str, &str)> = file
            .lines()
            .filter_map(|line| line.trim().split_once(": "))
            .filter(|(name, _)| name.starts_with("SIDEKEY_") || name.starts_with("AWS_"))
            .map(|(name, value)| (name, value.split(" #").next().unwrap_or_default()))
            .map(|(name, value)| (name, value.trim_matches('"')))
            .collect();
        let Loaded { config, mistakes, warnings } = load_from(&pairs, Host::Standalone);
        assert_eq!(mistakes.to_string(), "");
        assert_eq!(warnings.len(), 1, "only the http endpoint must cause a warning: {warnings:?}");
        assert!(config.source.endpoint.is_some() && !config.tokens.is_empty(), "{pairs:?}");
    }
}

//! Builds the configuration of the metrics for CloudWatch.

use super::host::Host;
use super::variables::Settings;
use crate::telemetry::emf::Config;
use std::collections::BTreeMap;

/// The Lambda function's name in CloudWatch metrics if the variable `AWS_LAMBDA_FUNCTION_NAME` is
/// unset. Only emulators of Lambda leave the variable unset.
const UNKNOWN_FUNCTION: &str = "unknown";

/// Returns how Sidekey writes metrics for CloudWatch. Returns `None` if `SIDEKEY_EMF` is `off`, or
/// outside Lambda.
pub(super) fn configure(
    settings: &mut Settings,
    environment: &BTreeMap<String, String>,
    host: Host,
    is_snapshot: bool,
) -> Option<Config> {
    if host != Host::Lambda || settings.emf.is_empty() {
        return None;
    }
    let function = environment.get("AWS_LAMBDA_FUNCTION_NAME");
    let function = function.map_or(UNKNOWN_FUNCTION, |name| name);
    let dimensions = std::mem::take(&mut settings.emf_dimensions).into_iter();
    Some(Config {
        groups: std::mem::take(&mut settings.emf),
        namespace: std::mem::take(&mut settings.emf_namespace),
        dimensions: dimensions.map(|dimension| dimension.resolved(function)).collect(),
        level: level(environment.get("AWS_LAMBDA_LOG_LEVEL").map(String::as_str)).to_owned(),
        is_snapshot,
    })
}

/// Returns the log level for lines that contain metrics. The level is at least `function`, the log
/// level of the Lambda function, because Lambda drops lines with a lower level.
fn level(function: Option<&str>) -> &str {
    match function {
        Some(level @ ("WARN" | "ERROR" | "FATAL")) => level,
        _ => "INFO",
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Loaded, load};
    use super::*;

    fn load_on(host: Host, pairs: &[(&str, &str)]) -> Loaded {
        let token = ("AWS_SESSION_TOKEN", "t");
        let pairs = pairs.iter().chain([&token]);
        let vars: BTreeMap<String, String> =
            pairs.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        load(&vars, host)
    }

    fn emf(pairs: &[(&str, &str)]) -> Option<Config> {
        let loaded = load_on(Host::Lambda, pairs);
        assert!(loaded.mistakes.is_empty(), "{}", loaded.mistakes);
        loaded.config.emf
    }

    #[test]
    fn metrics_are_off_unless_switched_on_on_lambda() {
        assert_eq!(emf(&[]), None);
        assert_eq!(emf(&[("SIDEKEY_EMF", "off")]), None);
        let elsewhere = load_on(Host::Standalone, &[("SIDEKEY_EMF", "on")]);
        assert!(elsewhere.mistakes.is_empty() && elsewhere.config.emf.is_none());
    }

    #[test]
    fn namespace_and_dimensions_can_be_set() {
        let name = ("AWS_LAMBDA_FUNCTION_NAME", "f");
        let default = emf(&[("SIDEKEY_EMF", "on"), name]).expect("the metrics must be on");
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(default.namespace, "Sidekey");
        assert_eq!(default.dimensions, [pair("FunctionName", "f")]);
        assert!(!default.is_snapshot);
        let set = emf(&[
            ("SIDEKEY_EMF", "reads, upstream"),
            ("SIDEKEY_EMF_NAMESPACE", "My Team/Secrets"),
            ("SIDEKEY_EMF_DIMENSIONS", "stage=dev,function"),
            ("AWS_LAMBDA_INITIALIZATION_TYPE", "snap-start"),
            name,
        ]);
        let set = set.expect("the metrics must be on");
        assert_eq!(set.namespace, "My Team/Secrets");
        assert_eq!(set.dimensions, [pair("stage", "dev"), pair("FunctionName", "f")]);
        assert!(set.is_snapshot);
    }

    #[test]
    fn mistakes_are_reported_by_name_with_the_others() {
        let loaded = load_on(
            Host::Lambda,
            &[
                ("SIDEKEY_EMF", "reeds"),
                ("SIDEKEY_EMF_NAMESPACE", "AWS/Lambda"),
                ("SIDEKEY_EMF_DIMENSIONS", "secret"),
                ("SIDEKEY_TTL", "soon"),
            ],
        );
        let names: Vec<&str> = loaded.mistakes.0.iter().map(|mistake| &*mistake.name).collect();
        let expected =
            ["SIDEKEY_TTL", "SIDEKEY_EMF", "SIDEKEY_EMF_NAMESPACE", "SIDEKEY_EMF_DIMENSIONS"];
        assert_eq!(names, expected);
    }

    #[test]
    fn level_of_records_passes_the_filter_of_lambda() {
        for (function, expected) in [
            (None, "INFO"),
            (Some("DEBUG"), "INFO"),
            (Some("INFO"), "INFO"),
            (Some("WARN"), "WARN"),
            (Some("FATAL"), "FATAL"),
        ] {
            assert_eq!(level(function), expected, "{function:?}");
        }
    }
}

//! Checks that all packages of a release have the same version.

use crate::repository::root;
use std::fs;

/// The files that contain the version of the release, each with the text before the version and
/// the text after it.
const PLACES: &[(&str, &str, &str)] = &[
    ("Cargo.toml", "\n[workspace.package]\nversion = \"", "\""),
    ("Cargo.toml", "fake-aws = { path = \"fake-aws\", version = \"", "\""),
    ("CHANGELOG.md", "\n## [", "]"),
    ("deploy/kubernetes/chart/Chart.yaml", "\nversion: ", "\n"),
    ("deploy/kubernetes/chart/Chart.yaml", "\nappVersion: ", "\n"),
    ("deploy/kubernetes/chart/example.yaml", "/sidekey:", "\n"),
    ("deploy/kubernetes/kustomize/example/kustomization.yaml", "newTag: ", "\n"),
    ("deploy/cdk/package.json", "\"version\": \"", "\""),
    ("deploy/cdk/package-lock.json", "\"version\": \"", "\""),
];

/// Finds places whose version differs from that of the first place. `read` returns the text of a
/// file.
fn different(places: &[(&str, &str, &str)], read: impl Fn(&str) -> String) -> Vec<String> {
    let versions = places.iter().map(|(path, before, after)| {
        let text = read(path);
        let rest = text.split_once(before).map(|(_, rest)| rest);
        let version = rest.and_then(|rest| rest.split_once(after)).map(|(version, _)| version);
        (*path, version.unwrap_or("none").to_owned())
    });
    let versions: Vec<(&str, String)> = versions.collect();
    let expected = &versions[0].1;
    let different = versions.iter().filter(|(_, version)| version != expected);
    different.map(|(path, version)| format!("{path}: {version}, and not {expected}")).collect()
}

mod tests {
    use super::*;
    use crate::repository::{assert_finds, assert_none};

    #[test]
    fn all_packages_have_the_same_version() {
        let read = |path: &str| fs::read_to_string(root().join(path)).expect("the file exists");
        assert_none(&different(PLACES, read), "Write the version of Cargo.toml to these files.");
        let places = [("a", "v=", ";"), ("b", "v=", ";"), ("c", "v=", ";"), ("d", "v=", ";")];
        let read = |path: &str| match path {
            "a" | "b" => "v=1.0.0;".to_owned(),
            "c" => "v=1.0.1;".to_owned(),
            _ => "no version".to_owned(),
        };
        assert_finds(&different(&places, read), &["c: 1.0.1", "d: none"]);
    }
}

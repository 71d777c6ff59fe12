//! Checks that all packages of a release have the same version, and that `cargo binstall` asks for the
//! archive that a release contains.

use crate::repository::root;
use std::fs;

/// The files that contain the version of the release, each with the text before the version and
/// the text after it.
const PLACES: &[(&str, &str, &str)] = &[
    ("Cargo.toml", "\n[workspace.package]\nversion = \"", "\""),
    ("Cargo.toml", "fake-aws = { path = \"fake-aws\", version = \"", "\""),
    ("CHANGELOG.md", "\n## [", "]"),
    ("deploy/README.md", "--tag registry.example.com/sidekey:", " "),
    ("deploy/README.md", "push registry.example.com/sidekey:", "\n"),
    ("deploy/README.md", "image=registry.example.com/sidekey:", "\n"),
    ("deploy/README.md", "packages/sidekey_", "_"),
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

/// Returns the name of the archive that `cargo binstall` downloads. `manifest` is the text of
/// Cargo.toml. Version and target are written as variables of a shell.
fn archive(manifest: &str) -> Option<String> {
    let (_, rest) = manifest.split_once("\n[package.metadata.binstall]\n")?;
    let (_, url) = rest.split_once("pkg-url = \"")?;
    let (url, _) = url.split_once('"')?;
    let (_, name) = url.rsplit_once('/')?;
    let name = name.replace("{ name }", "sidekey").replace("{ version }", "$version");
    Some(name.replace("{ target }", "$target"))
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

    #[test]
    fn binstall_downloads_the_archive_of_a_release() {
        let read = |path: &str| fs::read_to_string(root().join(path)).expect("the file exists");
        let name = archive(&read("Cargo.toml")).expect("Cargo.toml has metadata for binstall");
        let written = format!(">\"$dist/{name}\"");
        assert!(read(".ci/dist").contains(&written), "`.ci/dist` must write {name}");

        let manifest = "\n[package.metadata.binstall]\npkg-url = \"{ repo }/a/v{ version }/{ name }-{ \
                        version }-{ target }.zip\"\n";
        assert_eq!(archive(manifest).as_deref(), Some("sidekey-$version-$target.zip"));
    }
}

//! Checks which modules import each other: each module imports only allowed modules, and no two
//! files import each other.
//!
//! A file is identified by its module, from the root of its package: `cache/plan`, `extension/api`.

use crate::repository::{File, is_of_word, sources};
use std::collections::BTreeSet;

/// Each module, and the other modules that it may import. A module without a row fails the check.
///
/// An entry such as `cache/prefetch`, which has no row, allows only this file of a module.
#[rustfmt::skip]
const MAY_IMPORT: &[(&str, &str)] = &[
    ("printable", ""),
    ("http1", ""),
    ("clock", ""),
    ("hardening", ""),
    ("descriptors", ""),
    ("tokens", ""),
    ("secret", ""),
    ("convention", "secret"),
    ("message", "convention secret"),
    ("broker", "convention secret tokens"),
    ("source", "secret"),
    ("outbound", "clock http1"),
    ("source/aws", "source secret clock tokens http1 outbound"),
    ("telemetry", "clock source"),
    ("cache", "source secret convention clock telemetry printable"),
    ("server", "message cache source secret clock tokens telemetry printable broker convention outbound http1"),
    ("client", "http1 printable secret tokens"),
    ("config", "broker outbound server client convention message cache source/aws secret clock tokens telemetry"),
    ("agent", "config descriptors outbound server cache source source/aws secret clock tokens telemetry"),
    ("exec", "client config secret clock tokens hardening"),
    ("commands", "commands/policy commands/check commands/status commands/scaffold commands/dev agent client config exec \
                  secret source source/aws clock hardening tokens telemetry"),
    ("commands/policy", "commands config secret"),
    ("commands/check", "commands commands/policy config convention message secret source \
                        source/aws clock hardening tokens printable"),
    ("commands/status", "commands client config source secret clock printable"),
    ("commands/scaffold", "commands commands/policy config convention secret clock hardening printable"),
    ("commands/dev", "commands agent client config cache/prefetch source source/aws fake-aws \
                      secret clock hardening tokens telemetry"),
    ("main", "commands"),
    ("extension", "agent config exec clock hardening telemetry http1 cache/prefetch"),
    ("fake-aws", ""),
];

/// The use of an item of one file in another file.
#[derive(Debug)]
struct Import {
    /// The module that contains the import.
    from: String,
    /// The path and the line of the import.
    place: String,
    /// The module whose item is imported.
    to: String,
}

/// Returns all imports between files.
fn imports(files: &[File]) -> Vec<Import> {
    let sources: Vec<&File> = sources(files).filter(|file| file.path != "src/lib.rs").collect();
    let modules: BTreeSet<String> = sources.iter().map(|file| module(&file.path)).collect();
    let mut imports = Vec::new();
    for file in sources {
        let from = module(&file.path);
        for (line, path) in paths(&file.code().join("\n")) {
            if let Some(to) = target(&from, &path, &modules) {
                let place = format!("{}:{line}", file.path);
                imports.push(Import { from: from.clone(), place, to });
            }
        }
    }
    imports.dedup_by(|one, other| one.place == other.place && one.to == other.to);
    imports
}

/// Returns the module of a file: the module of `extension/src/api.rs` is `extension/api`.
fn module(path: &str) -> String {
    let path = path.replacen("src/", "", 1);
    let path = path.trim_end_matches(".rs").trim_end_matches("/lib");
    path.strip_suffix("/main").unwrap_or(path).to_owned()
}

/// Returns the module that contains the item at `path`. `from` is the module that uses the item.
/// Returns `None` if the item is in `from` itself or outside of the repository.
fn target(from: &str, path: &[&str], modules: &BTreeSet<String>) -> Option<String> {
    let package = ["extension", "fake-aws"].into_iter().find(|package| from.starts_with(package));
    let supers = path.iter().take_while(|part| **part == "super").count();
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.truncate(parts.len().saturating_sub(supers));
    let (mut parts, rest) = match path[0] {
        "crate" => (Vec::from_iter(package), &path[1..]),
        "sidekey" => (Vec::new(), &path[1..]),
        "fake_aws" => (vec!["fake-aws"], &path[1..]),
        "self" => (parts, &path[1..]),
        // A path without a root begins in a child module, or leads out of the repository.
        _ => (parts, &path[supers..]),
    };
    parts.extend(rest);
    let mut ends = (1..=parts.len()).rev().map(|end| parts[..end].join("/"));
    ends.find(|end| modules.contains(end)).filter(|end| end != from)
}

/// Returns the paths with `::` in a Rust file, each with its line. A group in braces is returned as
/// one path for each of its members.
fn paths(code: &str) -> Vec<(usize, Vec<&str>)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("::") {
        let start = code[..at].rfind(|c| !is_of_word(c)).map_or(0, |before| before + 1);
        // A path in `pub(in crate::server)` is no import.
        if start < at && !code[..start].ends_with(':') && !code[..start].ends_with("(in ") {
            let line = code[..at].matches('\n').count() + 1;
            let mut ends = Vec::new();
            read_tree(&code[start..], &mut Vec::new(), &mut ends);
            found.extend(ends.into_iter().map(|end| (line, end)));
        }
    }
    found
}

/// Adds each path of the `use` tree at the beginning of `text` to `ends`, with the path `stem`
/// before it. Returns the text after the tree.
fn read_tree<'a>(text: &'a str, stem: &mut Vec<&'a str>, ends: &mut Vec<Vec<&'a str>>) -> &'a str {
    let text = text.trim_start();
    if let Some(mut rest) = text.strip_prefix('{') {
        while !rest.trim_start().starts_with('}') && !rest.trim().is_empty() {
            let depth = stem.len();
            rest = read_tree(rest, stem, ends);
            stem.truncate(depth);
            rest = &rest[rest.find([',', '}']).unwrap_or(rest.len())..];
            rest = rest.trim_start_matches(',');
        }
        return rest.trim_start().strip_prefix('}').unwrap_or_default();
    }
    let (name, rest) = text.split_at(text.find(|c| !is_of_word(c)).unwrap_or(text.len()));
    stem.push(name);
    match rest.strip_prefix("::").filter(|rest| !rest.starts_with('<')) {
        Some(rest) => return read_tree(rest, stem, ends),
        None => ends.push(stem.clone()),
    }
    rest
}

/// Finds imports that the table [`MAY_IMPORT`] does not allow, and modules without a row in this
/// table.
fn forbidden(files: &[File]) -> Vec<String> {
    let row = |module: &str| {
        let rows = MAY_IMPORT.iter().filter(|(own, _)| is_within(module, own));
        rows.max_by_key(|(own, _)| own.len())
    };
    let unknown = sources(files).filter(|file| file.path != "src/lib.rs");
    let unknown = unknown.filter(|file| row(&module(&file.path)).is_none());
    let mut problems: Vec<String> = unknown
        .map(|file| {
            format!("{}: the module of the file has no row in the table MAY_IMPORT", file.path)
        })
        .collect();
    for import in imports(files) {
        let (Some((from, allowed)), Some((to, _))) = (row(&import.from), row(&import.to)) else {
            continue;
        };
        if from != to && allowed.split_whitespace().all(|may| may != *to && may != import.to) {
            problems.push(format!("{}: `{from}` imports `{}`", import.place, import.to));
        }
    }
    problems
}

fn is_within(module: &str, outer: &str) -> bool {
    module.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Finds imports between files that import each other, directly or through other files. A module
/// and its submodule count, too.
fn cyclic(files: &[File]) -> Vec<String> {
    let imports = imports(files);
    let reaches = |from: &str, to: &str| {
        let (mut seen, mut open) = (BTreeSet::from([from]), vec![from]);
        while let Some(file) = open.pop() {
            let next = imports.iter().filter(|import| import.from == file);
            open.extend(next.map(|import| &*import.to).filter(|next| seen.insert(*next)));
        }
        seen.contains(to)
    };
    let cyclic = imports.iter().filter(|import| reaches(&import.to, &import.from));
    cyclic
        .map(|import| {
            format!(
                "{}: the file imports `{}`, which also imports this file",
                import.place, import.to
            )
        })
        .collect()
}

mod tests {
    use super::*;
    use crate::repository::{assert_finds, assert_none, repository};

    #[test]
    fn modules_import_only_what_they_may() {
        let remedy = "Pass the needed data as an argument, or move the type to an allowed module.";
        assert_none(&forbidden(&repository()), remedy);
        let files = |path, text| {
            let others = ["src/clock.rs", "src/config.rs", "src/source/aws.rs", "src/server.rs"];
            let others = others.map(|path| File::new(path, ""));
            others.into_iter().chain([File::new(path, text)]).collect::<Vec<_>>()
        };
        for (path, text, expected) in [
            ("src/server/x.rs", "use crate::source::aws::Config;", "`server` imports"),
            ("src/server/x.rs", "use super::super::config::Config;", "`config`"),
            ("src/cache.rs", "fn f() { super::server::serve() }", "`server`"),
            (
                "src/secret/x.rs",
                "use crate::{\n    clock::{Moment},\n};",
                ":1: `secret` imports `clock`",
            ),
            ("src/novel/x.rs", "", "no row"),
            ("extension/src/x.rs", "use sidekey::server::{self};", "`extension` imports `server`"),
        ] {
            assert_finds(&forbidden(&files(path, text)), &[expected]);
        }
        for (path, text) in [
            (
                "src/server/x.rs",
                "// crate::config::X\nuse crate::clock::X;\npub(in crate::config) fn f() {}",
            ),
            ("src/server/x.rs", "\n#[cfg(test)]\nmod tests {\n    use crate::config::Config;\n}"),
            ("extension/src/x.rs", "use crate::server::Api;\nuse sidekey::clock;"),
        ] {
            assert_finds(&forbidden(&files(path, text)), &[]);
        }
    }

    #[test]
    fn no_two_files_import_each_other() {
        let remedy =
            "Move the code that both files need to a third file that imports neither file.";
        assert_none(&cyclic(&repository()), remedy);
        let files = |child: &str, other: &str| {
            let parent = "mod child;\nmod other;\nuse child::Child;";
            let files = [("x.rs", parent), ("x/child.rs", child), ("x/other.rs", other)];
            files.map(|(path, text)| File::new(&format!("extension/src/{path}"), text))
        };
        assert_finds(&cyclic(&files("use super::Parent;", "")), &["x.rs:3", "child.rs:1"]);
        let three = ["x.rs:3", "child.rs:1", "other.rs:1"];
        assert_finds(&cyclic(&files("use super::other::Other;", "use crate::x::Parent;")), &three);
        assert_finds(&cyclic(&files("use super::other::Other;", "")), &[]);
        let tests = "\n#[cfg(test)]\nmod tests {\n    use super::super::Parent;\n}";
        assert_finds(&cyclic(&files(tests, "")), &[]);
    }
}

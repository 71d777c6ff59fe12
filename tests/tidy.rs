//! The house rules, as tests: who may import whom, what stays pure, and that the documentation says
//! what the code does.
//!
//! Each check takes files and returns what is wrong with them. `mod tests` at the foot runs every
//! check over the repository, and over a planted violation, so that none is a check that cannot
//! fail.

use sidekey::cache::freshness::Reason;
use sidekey::config::variables::VARIABLES;
use sidekey::config::{aws_extension, variables};
use sidekey::config::{conventions, policy};
use sidekey::convention::problem::Problem;
use sidekey::server::gate;
use sidekey::telemetry::metrics::Metrics;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The rooms, and which others each may import. A room not named here cannot exist. `source` is the
/// trait alone: what lies below it are rooms of their own.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("printable", &[]),
    ("http1", &[]),
    ("secret", &[]),
    ("convention", &["secret"]),
    ("message", &["convention", "secret"]),
    ("clock", &[]),
    ("hardening", &[]),
    ("descriptors", &[]),
    ("hostile", &[]),
    ("tokens", &[]),
    ("source", &["secret"]),
    ("client", &["http1", "printable", "secret", "tokens"]),
    ("telemetry", &["clock", "source"]),
    ("source::double", &[]),
    ("source::secrets_manager", &["source", "secret", "clock", "tokens", "http1"]),
    ("cache", &["source", "secret", "convention", "clock", "telemetry", "printable"]),
    (
        "server",
        &["message", "cache", "source", "secret", "clock", "tokens", "telemetry", "printable"],
    ),
    (
        "config",
        &[
            "server",
            "client",
            "convention",
            "message",
            "cache",
            "source::secrets_manager",
            "secret",
            "convention",
            "clock",
            "tokens",
            "telemetry",
        ],
    ),
    (
        "agent",
        &[
            "config",
            "descriptors",
            "server",
            "cache",
            "source",
            "source::secrets_manager",
            "secret",
            "clock",
            "tokens",
            "telemetry",
        ],
    ),
    ("exec", &["client", "config", "secret", "clock", "tokens", "hardening"]),
    (
        "commands",
        &[
            "agent",
            "client",
            "config",
            "exec",
            "secret",
            "source",
            "source::secrets_manager",
            "clock",
            "hardening",
            "tokens",
            "telemetry",
        ],
    ),
    ("commands::policy", &["commands", "config", "secret"]),
    (
        "commands::check",
        &[
            "commands",
            "commands::policy",
            "config",
            "convention",
            "message",
            "secret",
            "source",
            "source::secrets_manager",
            "clock",
            "hardening",
            "printable",
            "tokens",
        ],
    ),
    (
        "commands::scaffold",
        &[
            "commands",
            "commands::policy",
            "config",
            "convention",
            "secret",
            "clock",
            "hardening",
            "printable",
        ],
    ),
    (
        "commands::dev",
        &[
            "commands",
            "agent",
            "client",
            "config",
            "cache::prefetch::Report",
            "source",
            "source::double",
            "source::secrets_manager",
            "secret",
            "clock",
            "hardening",
            "tokens",
            "telemetry",
        ],
    ),
    ("main", &["commands"]),
    (
        "extension",
        &[
            "agent",
            "config",
            "exec",
            "clock",
            "hardening",
            "http1",
            "telemetry",
            // What `agent` reports of the prefetch.
            "cache::prefetch::Report",
        ],
    ),
];

/// Files, and folders, that decide and do nothing else.
const PURE: &[&str] = &[
    "src/secret.rs",
    "src/secret/",
    "src/convention.rs",
    "src/convention/",
    "src/cache/freshness.rs",
    "src/cache/malformed.rs",
    "src/cache/plan.rs",
    "src/cache/policies.rs",
    "src/cache/snapshot.rs",
    "src/commands/check/dynamo.rs",
    "src/commands/check/candidates.rs",
    "src/commands/check/gateway_key.rs",
    "src/commands/check/report.rs",
    "src/commands/policy/",
    "src/commands/scaffold/plan.rs",
    "src/commands/table.rs",
    "src/exec/variable.rs",
    "src/message.rs",
    "src/message/",
    "src/server/dialect/aws_api/operation.rs",
    "src/server/gate.rs",
    "src/server/problem.rs",
    "src/server/request.rs",
    "src/server/resolving/",
    "src/server/route.rs",
];

/// What a pure file does not have.
const IMPURE: &[&str] = &["tokio", "async", "await", "std::fs", "std::net::Tcp", "tracing"];

/// How the names of the AWS SDK's crates begin.
const AWS_CRATES: &[&str] = &[
    "aws_config",
    "aws_credential",
    "aws_runtime",
    "aws_sdk",
    "aws_sig",
    "aws_smithy",
    "aws_types",
];

/// Words that have one place: the words, where they may stand, and what to do about it elsewhere.
const PLACES: &[(&[&str], &[&str], &str)] = &[
    (
        AWS_CRATES,
        &["src/source/secrets_manager.rs", "src/source/secrets_manager/"],
        "only `source::secrets_manager` knows AWS's SDK; go through the trait `Source`",
    ),
    (
        &["hyper", "http_body_util"],
        &[
            "src/server.rs",
            "src/server/",
            "src/source/double/",
            // An endpoint is a URI, and the client's connector is handed one.
            "src/source/secrets_manager/",
            "src/http1.rs",
            "src/client.rs",
            "src/commands/dev/watch.rs",
            "extension/src/api.rs",
        ],
        "only `server`, `source` and the two clients on this machine know HTTP",
    ),
    (
        &["env::var", "env::set_var", "env::remove_var"],
        &["src/config/vars.rs"],
        "only `config::vars` reads the environment; add a variable to `config::variables`",
    ),
    (
        &[
            "Instant::now",
            "SystemTime::now",
            "now_utc",
            "now_local",
            "thread::sleep",
            "tokio::time::interval",
            "tokio::time::sleep",
            "tokio::time::timeout",
        ],
        // The double is late on purpose, in one place.
        &["src/clock.rs", "src/source/double.rs"],
        "only `clock` reads a clock or sleeps; take a `Moment`, or a `Clock`",
    ),
    (
        &["snapshot.store("],
        &["src/cache/writer.rs"],
        "the snapshot has one writer; publish through `Cache::settle`",
    ),
    (
        &[".expose("],
        &[
            "src/secret/",
            "src/convention/shape.rs",
            "src/server/dialect.rs",
            "src/server/dialect/",
            "src/client/secret.rs",
            "src/exec/",
            "src/commands/get/output.rs",
            "src/commands/check/gateway_key.rs",
            "src/commands/scaffold/aws_cli.rs",
        ],
        "a secret's bytes are seen where they are parted, looked over, rendered and handed over, and \
         nowhere else",
    ),
    (
        &[".share()"],
        &["src/secret/value.rs", "src/server/reading.rs"],
        "a secret's bytes leave for a socket in one place",
    ),
    (
        &["Mutex", "RwLock"],
        &[
            // For whoever waits for upstream, writes, or draws.
            "src/cache.rs",
            "src/cache/absent.rs",
            "src/cache/entry.rs",
            "src/cache/flight.rs",
            "src/cache/slots.rs",
            "src/cache/simulation/world.rs",
            "src/cache/told.rs",
            // Locked when a connection is accepted, shows its first token, and ends.
            "src/server/places.rs",
            "src/server/renewal.rs",
            "src/source/",
            "src/tokens.rs",
            // For refusals.
            "src/telemetry/limited.rs",
            // For the log's own thread.
            "src/telemetry/lines.rs",
            // The clock of tests.
            "src/clock.rs",
        ],
        "a cached read takes no lock: keep what it reads in an `ArcSwap`, an atomic or a `OnceLock`",
    ),
    (
        &["tokio::spawn"],
        &["src/agent.rs"],
        "a task is spawned on a `TaskTracker`, so that somebody joins it",
    ),
    (
        &["process::exit", "process::abort"],
        &[],
        "nothing ends the process but `main`: on Lambda it would take the function along",
    ),
];

/// Names that say nothing of what is in a file.
const NAMES_BANNED: &[&str] =
    &["util", "utils", "helper", "helpers", "common", "types", "constants", "manager", "misc"];

/// The most lines of a source file before its tests. The longest have one noun and need about 430;
/// past this a second one has moved in.
const LINES_MAX: usize = 500;

/// What no Rust file has: tests that do not run, and marks of unfinished work.
const MARKS_BANNED: &[(&str, &str)] = &[
    (concat!("#[", "ignore"), "run the test, or delete it"),
    (concat!("#[should", "_panic"), "return an error and check it"),
    (concat!("todo", "!("), "finish it, or leave it out"),
    (concat!("unimplemented", "!("), "finish it, or leave it out"),
    (concat!("dbg", "!("), "take the trace out"),
];

/// Where paths of the repository begin, as the documentation writes them.
const FOLDERS: &[&str] =
    &["src/", "extension/", "tests/", "benches/", "docs/", "examples/", ".cargo/"];

/// A file of the repository.
#[derive(Clone, Debug)]
struct File {
    /// Its path from the root, parted by `/`.
    path: String,
    text: String,
}

impl File {
    fn is_in(&self, places: &[&str]) -> bool {
        places.iter().any(|place| match place.strip_suffix('/') {
            Some(_) => self.path.starts_with(place),
            None => self.path == **place,
        })
    }

    /// Returns whether this is code of a binary or the library: no test, no bench.
    fn is_source(&self) -> bool {
        self.is_in(&["src/", "extension/src/"]) && !self.path.ends_with("/tests.rs")
    }

    fn is_doc(&self) -> bool {
        self.path.ends_with(".md")
    }

    /// Returns the lines of code: up to the tests at the foot, comments left empty.
    fn code(&self) -> Vec<&str> {
        let end = self.text.find("\n#[cfg(test)]\nmod tests {").unwrap_or(self.text.len());
        let bare = |line| match line {
            line if str::trim_start(line).starts_with("//") => "",
            line => line.split_once(" // ").map_or(line, |(code, _)| code),
        };
        self.text[..end].lines().map(bare).collect()
    }

    /// Returns what stands between backticks, outside fenced blocks, each with its line.
    fn spans(&self) -> Vec<(usize, &str)> {
        let mut is_fenced = false;
        let mut spans = Vec::new();
        for (at, line) in self.text.lines().enumerate() {
            is_fenced ^= line.trim_start().starts_with("```");
            if !is_fenced {
                spans.extend(line.split('`').skip(1).step_by(2).map(|span| (at + 1, span)));
            }
        }
        spans
    }

    /// Returns the cells of every row of a table whose first cell is a name between backticks that
    /// begins with one of `prefixes`.
    fn rows(&self, prefixes: &[&str]) -> Vec<(usize, Vec<&str>)> {
        let lines = self.text.lines().enumerate();
        let cells = lines.filter_map(|(at, line)| {
            let row = line.strip_prefix('|')?.trim_end().strip_suffix('|')?;
            Some((at + 1, row.split('|').map(str::trim).collect::<Vec<_>>()))
        });
        cells
            .filter(|(_, row)| prefixes.iter().any(|prefix| unquoted(row[0]).starts_with(prefix)))
            .collect()
    }
}

fn unquoted(cell: &str) -> &str {
    cell.trim_matches('`')
}

/// Returns where `needle` stands in `line` as the beginning of a word.
fn begins_word(line: &str, needle: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    line.match_indices(needle).any(|(at, _)| {
        !needle.starts_with(is_word) || !line[..at].chars().next_back().is_some_and(is_word)
    })
}

/// Returns the words of a text that begin with `prefix`.
fn words<'a>(text: &'a str, prefix: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(move |word| word.starts_with(prefix) && word.len() > prefix.len())
}

// === Who may import whom ===

/// Returns the module that a source file is, from the root of its crate.
fn module(path: &str) -> Vec<String> {
    let inner = path.trim_start_matches("extension/").trim_start_matches("src/");
    let inner = inner.trim_end_matches(".rs");
    inner.split('/').filter(|part| !["lib", "main"].contains(part)).map(str::to_owned).collect()
}

/// Returns the paths that code names from the root of a crate, each with its line. `super::` is
/// resolved; a group in braces is one path for each of its ends.
fn named_paths(file: &File) -> Vec<(usize, Vec<String>)> {
    let code = file.code().join("\n");
    let mut found = Vec::new();
    for root in ["crate::", "super::", "sidekey::"] {
        for (at, _) in code.match_indices(root) {
            let before = code[..at].chars().next_back().unwrap_or(' ');
            if before.is_ascii_alphanumeric() || "_:".contains(before) {
                continue;
            }
            let line = code[..at].matches('\n').count() + 1;
            let mut ends = Vec::new();
            ends_of(&code[at..], &mut Vec::new(), &mut ends);
            found.extend(ends.into_iter().map(|end| (line, resolved(&file.path, end))));
        }
    }
    found
}

/// Collects every end of the tree of paths that `text` begins with, and returns what is left.
fn ends_of<'a>(text: &'a str, stem: &mut Vec<String>, ends: &mut Vec<Vec<String>>) -> &'a str {
    let text = text.trim_start();
    if let Some(mut rest) = text.strip_prefix('{') {
        while !rest.trim_start().starts_with('}') && !rest.trim().is_empty() {
            let depth = stem.len();
            rest = ends_of(rest, stem, ends);
            stem.truncate(depth);
            let next = rest.find([',', '}']).unwrap_or(rest.len());
            rest = rest[next..].trim_start_matches(',');
        }
        return rest.trim_start().strip_prefix('}').unwrap_or_default();
    }
    let len = text.find(|c: char| !(c.is_ascii_alphanumeric() || "_*".contains(c)));
    let (name, rest) = text.split_at(len.unwrap_or(text.len()));
    stem.push(name.to_owned());
    match rest.strip_prefix("::").filter(|rest| !rest.starts_with('<')) {
        Some(rest) => ends_of(rest, stem, ends),
        None => {
            ends.push(stem.clone());
            rest
        }
    }
}

fn resolved(path: &str, mut named: Vec<String>) -> Vec<String> {
    if named[0] != "super" {
        return named.split_off(1);
    }
    let supers = named.iter().take_while(|part| *part == "super").count();
    let mut whole = module(path);
    whole.truncate(whole.len().saturating_sub(supers));
    whole.extend(named.split_off(supers));
    whole
}

/// Returns the room that a path leads into: the longest that it begins with.
fn room_of(path: &[String]) -> Option<&'static str> {
    let rooms = MAY_IMPORT.iter().map(|(room, _)| *room);
    rooms.filter(|room| leads_into(path, room)).max_by_key(|room| room.len())
}

fn leads_into(path: &[String], place: &str) -> bool {
    let place: Vec<&str> = place.split("::").collect();
    path.len() >= place.len() && path.iter().zip(&place).all(|(a, b)| a == b)
}

fn may_import(room: &str, path: &[String]) -> bool {
    let target = room_of(path);
    let allowed = MAY_IMPORT.iter().find(|(own, _)| *own == room).map_or(&[][..], |(_, may)| may);
    let is_room = |name: &str| MAY_IMPORT.iter().any(|(room, _)| *room == name);
    target == Some(room)
        || allowed.iter().any(|may| match is_room(may) {
            true => target == Some(may),
            false => leads_into(path, may),
        })
}

fn imports(files: &[File]) -> Vec<String> {
    let mut problems = Vec::new();
    for file in files.iter().filter(|file| file.is_source() && file.path != "src/lib.rs") {
        let is_extension = file.path.starts_with("extension/");
        let room = match &*file.path {
            "src/main.rs" => Some("main"),
            _ if is_extension => Some("extension"),
            path => room_of(&module(path)),
        };
        let Some(room) = room else {
            problems.push(format!("{}: its room is not in MAY_IMPORT of tests/tidy.rs", file.path));
            continue;
        };
        let of_other_crate = |line: usize| file.code()[line - 1].contains("sidekey::");
        for (line, path) in named_paths(file) {
            let is_own = is_extension && !of_other_crate(line);
            if !is_own && !may_import(room, &path) {
                let path = path.join("::");
                problems.push(format!("{}:{line}: `{room}` imports `{path}`", file.path));
            }
        }
    }
    problems
}

// === Where words may stand ===

fn impure(files: &[File]) -> Vec<String> {
    let mut problems = Vec::new();
    for file in files.iter().filter(|file| file.is_in(PURE)) {
        for (at, line) in file.code().into_iter().enumerate() {
            for word in IMPURE.iter().chain(AWS_CRATES).filter(|word| begins_word(line, word)) {
                problems.push(format!("{}:{}: a pure file has `{word}`", file.path, at + 1));
            }
        }
    }
    let is_there = |place: &&&str| files.iter().any(|file| file.is_in(&[place]));
    let gone = PURE.iter().filter(|place| !is_there(place));
    problems.extend(gone.map(|place| format!("{place} is called pure and does not exist")));
    problems
}

fn misplaced(files: &[File]) -> Vec<String> {
    let mut problems = Vec::new();
    for (needles, places, remedy) in PLACES {
        for file in files.iter().filter(|file| file.is_source() && !file.is_in(places)) {
            for (at, line) in file.code().into_iter().enumerate() {
                for needle in needles.iter().filter(|needle| begins_word(line, needle)) {
                    problems.push(format!("{}:{}: `{needle}`: {remedy}", file.path, at + 1));
                }
            }
        }
    }
    problems
}

// === Files ===

fn badly_named(files: &[File]) -> Vec<String> {
    let parts = |path: &str| -> Vec<String> {
        path.trim_end_matches(".rs").split('/').map(str::to_owned).collect()
    };
    let rust = files.iter().filter(|file| file.path.ends_with(".rs"));
    rust.filter(|file| parts(&file.path).iter().any(|part| NAMES_BANNED.contains(&&**part)))
        .map(|file| format!("{}: name it after the noun that it holds", file.path))
        .collect()
}

fn undocumented(files: &[File]) -> Vec<String> {
    let rust = files.iter().filter(|file| file.path.ends_with(".rs"));
    rust.filter(|file| !file.text.starts_with("//! "))
        .map(|file| format!("{}: begin it with `//!` and what it holds", file.path))
        .collect()
}

fn too_long(files: &[File]) -> Vec<String> {
    let lines = files.iter().filter(|file| file.is_source()).map(|file| (file, file.code().len()));
    lines
        .filter(|(_, lines)| *lines > LINES_MAX)
        .map(|(file, lines)| format!("{}: {lines} lines; part it by its nouns", file.path))
        .collect()
}

fn marked(files: &[File]) -> Vec<String> {
    let mut problems = Vec::new();
    for file in files.iter().filter(|file| file.path.ends_with(".rs")) {
        for (at, line) in file.text.lines().enumerate() {
            let is_comment = line.trim_start().starts_with("//");
            let marks = MARKS_BANNED.iter().filter(|(mark, _)| !is_comment && line.contains(mark));
            problems.extend(
                marks.map(|(mark, remedy)| format!("{}:{}: {mark}: {remedy}", file.path, at + 1)),
            );
        }
    }
    problems
}

/// Finds comments that read like code: a statement's end, or the beginning of an item.
fn commented_out(files: &[File]) -> Vec<String> {
    let is_code = |line: &str| {
        let comment = line.trim_start().strip_prefix("// ").map(str::trim_end);
        comment.is_some_and(|text| {
            let begins = ["let ", "use ", "fn ", "pub ", "if ", "match ", "return ", "#["];
            let ends = [";", "{", "}"];
            ends.iter().any(|end| text.ends_with(end))
                && (begins.iter().any(|begin| text.starts_with(begin)) || text.contains("();"))
        })
    };
    let mut problems = Vec::new();
    for file in files.iter().filter(|file| file.path.ends_with(".rs")) {
        let lines = file.text.lines().enumerate().filter(|(_, line)| is_code(line));
        problems.extend(lines.map(|(at, _)| {
            format!("{}:{}: code in a comment: delete it, history keeps it", file.path, at + 1)
        }));
    }
    problems
}

// === Documentation ===

/// Whether something of this path is in the repository.
type Exists<'a> = &'a dyn Fn(&str) -> bool;

fn missing_paths(files: &[File], exists: Exists<'_>) -> Vec<String> {
    let is_path = |span: &str| {
        let begins = FOLDERS.iter().any(|folder| span.starts_with(folder));
        let is_root_doc = span.ends_with(".md") && !span.contains('/');
        (begins || is_root_doc) && !span.contains([' ', '*', '{', '<', ':'])
    };
    let mut problems = Vec::new();
    for doc in files.iter().filter(|file| file.is_doc()) {
        for (line, span) in doc.spans() {
            if is_path(span) && !exists(span.trim_end_matches('/')) {
                problems.push(format!("{}:{line}: there is no `{span}`", doc.path));
            }
        }
    }
    problems
}

fn unmapped(files: &[File]) -> Vec<String> {
    let map = doc(files, "ARCHITECTURE.md");
    let named = |file: &&File| map.spans().iter().any(|(_, span)| *span == file.path);
    let sources = files.iter().filter(|file| file.is_source());
    sources
        .filter(|file| !named(file))
        .map(|file| format!("ARCHITECTURE.md does not say what `{}` holds", file.path))
        .collect()
}

/// Finds limits that the table of ARCHITECTURE.md lacks, or of which it says another value.
fn untold_limits(files: &[File]) -> Vec<String> {
    let map = doc(files, "ARCHITECTURE.md");
    let mut problems = Vec::new();
    for file in files.iter().filter(|file| file.is_source()) {
        for line in file.code() {
            let Some((_, rest)) = line.split_once("const ") else { continue };
            let Some((name, rest)) = rest.split_once(": ") else { continue };
            let value = rest.split_once(" = ").map(|(_, value)| value.trim_end_matches(';'));
            let Some(value) = value.filter(|_| name.ends_with("_MAX")) else { continue };
            let told = [name, value, &file.path].map(|part| format!("`{part}`"));
            let is_told = |row: &str| told.iter().all(|part| row.contains(&**part));
            if !map.text.lines().any(is_told) {
                problems.push(format!("ARCHITECTURE.md has no row with {}", told.join(", ")));
            }
        }
    }
    problems
}

/// Writes a row of docs/configuration.md.
fn setting_row(name: &str, default: &str, help: &str) -> String {
    match default {
        "" => format!("`{name}` |  | {help}"),
        default => format!("`{name}` | `{default}` | {help}"),
    }
}

fn misdescribed_variables(files: &[File]) -> Vec<String> {
    let page = doc(files, "docs/configuration.md");
    let own = VARIABLES.iter().map(|one| setting_row(one.name, one.default, one.help));
    let of_aws = aws_extension::VARIABLES.iter();
    let of_aws = of_aws.map(|one| setting_row(one.name, one.own, one.help));
    let rows = page.rows(&["SIDEKEY_", aws_extension::PREFIX, "SECRETS_MANAGER_"]);
    misdescribed(own.chain(of_aws).collect(), &rows)
}

/// Compares the keys of a policy, and those of a convention, with the tables of their chapters.
fn misdescribed_keys(files: &[File]) -> Vec<String> {
    let of_policy = policy::KEYS.iter().map(|one| setting_row(one.name, one.default, one.help));
    let of_convention =
        conventions::KEYS.iter().map(|one| setting_row(one.name, one.default, one.help));
    let of_field =
        conventions::FIELD_KEYS.iter().map(|one| setting_row(one.name, one.default, one.help));
    let chapters = [
        ("What holds for some secrets: policy", of_policy.collect()),
        ("What values must have: conventions", of_convention.chain(of_field).collect()),
    ];
    let compared = chapters.into_iter().flat_map(|(chapter, expected): (&str, Vec<String>)| {
        let mut page = doc(files, "docs/configuration.md");
        let is_it = |text: &&str| text.starts_with(chapter);
        page.text = page.text.split("\n## ").find(is_it).unwrap_or_default().to_owned();
        let mut rows = page.rows(&[""]);
        rows.retain(|(_, row)| row[0].starts_with('`'));
        misdescribed(expected, &rows)
    });
    compared.collect()
}

fn misdescribed(expected: Vec<String>, rows: &[(usize, Vec<&str>)]) -> Vec<String> {
    let rows: Vec<String> = rows.iter().map(|(_, row)| row.join(" | ")).collect();
    let missing = expected.iter().filter(|row| !rows.contains(row));
    let extra = rows.iter().filter(|row| !expected.contains(row));
    let mut problems: Vec<String> =
        missing.map(|row| format!("docs/configuration.md lacks the row | {row} |")).collect();
    problems.extend(extra.map(|row| format!("docs/configuration.md has a row of nothing: {row}")));
    if problems.is_empty() && rows != expected {
        problems.push("docs/configuration.md has its rows in another order".to_owned());
    }
    problems
}

fn unknown_variables(files: &[File]) -> Vec<String> {
    let is_known = |word: &str| {
        word == variables::CONFIG_FILE || VARIABLES.iter().any(|variable| variable.name == word)
    };
    let mut problems = Vec::new();
    for doc in files.iter().filter(|file| file.is_doc()) {
        let unknown = words(&doc.text, "SIDEKEY_").filter(|word| !is_known(word));
        problems.extend(unknown.map(|word| format!("{}: there is no variable {word}", doc.path)));
    }
    problems
}

/// Returns the name and the type of every metric that a page of metrics shows.
fn metrics_of(page: &str) -> BTreeMap<&str, &str> {
    page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect()
}

/// Returns the values of every label whose values are a fixed set.
fn labels_of(page: &str) -> impl Iterator<Item = &str> {
    let fixed = ["result=\"", "reason=\"", "operation=\"", "outcome=\"", "problem=\""];
    fixed.into_iter().flat_map(|label| page.split(label).skip(1)).map(until_quote)
}

fn until_quote(text: &str) -> &str {
    text.split_once('"').map_or(text, |(value, _)| value)
}

fn misdescribed_metrics(files: &[File], page: &str) -> Vec<String> {
    let told = doc(files, "docs/metrics.md");
    let metrics = metrics_of(page);
    let rows = told.rows(&["sidekey_", "process_"]);
    let mut problems = Vec::new();
    for (name, kind) in &metrics {
        let row = rows.iter().find(|(_, row)| unquoted(row[0]) == *name);
        match row.and_then(|(_, row)| row.get(1)) {
            None => problems.push(format!("docs/metrics.md lacks `{name}`, a {kind}")),
            Some(told) if told != kind => {
                problems.push(format!("docs/metrics.md calls the {kind} `{name}` a {told}"));
            }
            Some(_) => {}
        }
    }
    let is_known = |word: &str| {
        let series = ["_bucket", "_sum", "_count"].iter().filter_map(|end| word.strip_suffix(end));
        series.chain([word]).any(|name| metrics.contains_key(name))
    };
    let values = labels_of(page).filter(|value| !told.text.contains(&format!("`{value}`")));
    problems.extend(values.map(|value| format!("docs/metrics.md lacks the label `{value}`")));
    let named = words(&told.text, "sidekey_").chain(words(&told.text, "process_"));
    let unknown = named.filter(|word| !is_known(word));
    problems.extend(unknown.map(|word| format!("docs/metrics.md: there is no metric {word}")));
    problems
}

/// Returns what a heading is called in a link.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn broken_links(files: &[File], exists: Exists<'_>) -> Vec<String> {
    let mut problems = Vec::new();
    for from in files.iter().filter(|file| file.is_doc()) {
        let targets = from.text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.contains("://")) {
            let (path, wanted) = target.split_once('#').unwrap_or((target, ""));
            let folder = from.path.rsplit_once('/').map_or("", |(folder, _)| folder);
            let path = if path.is_empty() { from.path.clone() } else { joined(folder, path) };
            let page = files.iter().find(|file| file.path == path);
            let headings = page.into_iter().flat_map(|page| page.text.lines());
            let mut headings = headings.filter(|line| line.starts_with('#'));
            if !exists(&path) {
                problems.push(format!("{}: the link {target} leads nowhere", from.path));
            } else if !wanted.is_empty() && !headings.any(|line| anchor(line) == wanted) {
                problems.push(format!("{}: {path} has no heading #{wanted}", from.path));
            }
        }
    }
    problems
}

/// Joins a relative path to a folder.
fn joined(folder: &str, path: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/').filter(|part| !part.is_empty() && *part != ".") {
        if part == ".." {
            parts.pop();
        } else {
            parts.push(part);
        }
    }
    parts.join("/")
}

/// Finds guards that do not exist: `--test NAME` and `--bench NAME` in a command, and
/// `room::file::tests::name` for a unit test.
fn missing_guards(files: &[File], exists: Exists<'_>) -> Vec<String> {
    let mut problems = Vec::new();
    for doc in files.iter().filter(|file| file.is_doc()) {
        for (line, span) in doc.spans() {
            let is_there = match span.split_once("::tests::") {
                Some((module, name)) => has_test(files, module, name),
                None => has_target(span, exists),
            };
            if !is_there {
                problems.push(format!("{}:{line}: nothing answers to `{span}`", doc.path));
            }
        }
    }
    problems
}

fn has_test(files: &[File], module: &str, name: &str) -> bool {
    let (folder, module) = match module.strip_prefix("sidekey_extension::") {
        Some(module) => ("extension/src", module),
        None => ("src", module),
    };
    let stem = format!("{folder}/{}", module.replace("::", "/"));
    let places = [format!("{stem}.rs"), format!("{stem}/tests.rs")];
    let function = format!("fn {name}(");
    files.iter().any(|file| places.contains(&file.path) && file.text.contains(&function))
}

/// Returns whether the test or bench that a command runs is there, or the command runs none.
fn has_target(command: &str, exists: Exists<'_>) -> bool {
    let folder = if command.contains("sidekey-extension") { "extension/" } else { "" };
    let of = |option: &str| {
        command.split_once(option).and_then(|(_, rest)| rest.split(' ').next()).unwrap_or_default()
    };
    [("--test ", "tests"), ("--bench ", "benches")].iter().all(|(option, kind)| {
        let name = of(option);
        name.is_empty()
            || exists(&format!("{folder}{kind}/{name}.rs"))
            || exists(&format!("{folder}{kind}/{name}/main.rs"))
    })
}

/// Finds clients that docs/clients.md names in a version other than the one that is installed. `pins`
/// are the files that say which one that is.
fn misdescribed_clients(files: &[File], pins: &str) -> Vec<String> {
    let pins = pins.replace("</artifactId>", " ").replace("<version>", " ");
    let is_part = |c: char| c.is_ascii_alphanumeric() || "/.-_@".contains(c);
    let pins: Vec<&str> = pins.split(|c| !is_part(c)).filter(|part| !part.is_empty()).collect();
    let is_pinned = |name: &str, version: &str| {
        let mut pairs = pins.windows(2);
        pairs.any(|pair| pair[0] == name && pair[1].trim_start_matches('v') == version)
    };
    let page = doc(files, "docs/clients.md");
    let rows = page.rows(&["@", "a", "b", "g"]);
    let packages = rows.iter().filter(|(_, row)| row[0].starts_with('`') && row.len() == 3);
    let wrong = packages.filter(|(_, row)| !is_pinned(unquoted(row[0]), row[1]));
    wrong
        .map(|(line, row)| format!("docs/clients.md:{line}: {} {} is not it", row[0], row[1]))
        .collect()
}

/// Returns a page of the documentation; one that is missing is empty, and so fails its check.
fn doc(files: &[File], path: &str) -> File {
    let missing = File { path: path.to_owned(), text: String::new() };
    files.iter().find(|file| file.path == path).cloned().unwrap_or(missing)
}

// === The repository ===

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn exists(path: &str) -> bool {
    root().join(path).exists()
}

/// Reads every Rust file and every page of the repository.
fn repository() -> Vec<File> {
    let mut files = Vec::new();
    collect("", &mut files);
    assert!(files.len() > 50, "the repository is at {}", root().display());
    files
}

fn collect(folder: &str, files: &mut Vec<File>) {
    let mut names: Vec<String> = fs::read_dir(root().join(folder))
        .expect("a folder of the repository can be read")
        .map(|item| item.expect("readable").file_name().to_string_lossy().into_owned())
        .filter(|name| !["target", "node_modules"].contains(&&**name) && !name.starts_with('.'))
        .collect();
    names.sort();
    for name in names {
        let path = joined(folder, &name);
        if root().join(&path).is_dir() {
            collect(&path, files);
        } else if path.ends_with(".rs") || path.ends_with(".md") {
            let text = fs::read_to_string(root().join(&path)).expect("text");
            files.push(File { path, text });
        }
    }
}

mod tests {
    use super::*;

    #[track_caller]
    fn none(problems: &[String], remedy: &str) {
        assert!(problems.is_empty(), "\n{}\n\n{remedy}\n", problems.join("\n"));
    }

    fn planted(path: &str, text: &str) -> File {
        File { path: path.to_owned(), text: text.to_owned() }
    }

    /// Plants one file, and checks that the check finds exactly `expected` in it, in order.
    #[track_caller]
    fn caught(check: fn(&[File]) -> Vec<String>, path: &str, text: &str, expected: &[&str]) {
        finds(&check(&[planted(path, text)]), expected);
    }

    #[track_caller]
    fn finds(problems: &[String], expected: &[&str]) {
        assert_eq!(problems.len(), expected.len(), "{problems:#?}");
        for (problem, expected) in problems.iter().zip(expected) {
            assert!(problem.contains(expected), "{expected} is not in {problem}");
        }
    }

    #[test]
    fn rooms_import_only_what_they_may() {
        let remedy = "Ask through what the room is given, or move the noun; who may import whom is \
                      in ARCHITECTURE.md and in MAY_IMPORT of tests/tidy.rs.";
        none(&imports(&repository()), remedy);
        let catch = |path, text, expected| caught(imports, path, text, expected);
        catch("src/server/x.rs", "use crate::source::secrets_manager::Config;", &["`server`"]);
        catch("src/server/x.rs", "use crate::source::{FetchError, double::Double};", &["double"]);
        catch("src/server/x.rs", "use super::super::config::Config;", &["config::Config"]);
        catch("src/cache.rs", "fn f() { super::server::serve() }", &["server::serve"]);
        catch("src/secret/x.rs", "use crate::{\n    clock::{Clock, Moment},\n};", &["1", "Moment"]);
        catch("src/source/double/x.rs", "use super::super::FetchError;", &["FetchError"]);
        catch("src/novel/x.rs", "", &["its room is not"]);
        catch("extension/src/x.rs", "use sidekey::server::Server;", &["`extension`"]);
        catch("extension/src/x.rs", "use sidekey::cache::Cache;", &["cache::Cache"]);
        for (path, text) in [
            ("src/cache/x.rs", "use crate::source::Source;\nuse super::{Cache, plan::Next};"),
            ("src/server/x.rs", "// crate::config is not asked\n"),
            ("src/server/x.rs", "\n#[cfg(test)]\nmod tests {\n    use crate::config::Config;\n}"),
            ("src/server/tests.rs", "use crate::config::Config;"),
            ("extension/src/x.rs", "use crate::api::Api;\nuse sidekey::cache::prefetch::Report;"),
        ] {
            caught(imports, path, text, &[]);
        }
    }

    #[test]
    fn what_decides_does_nothing_else() {
        let remedy = "Take what is needed as an argument, and do it where the decision is asked.";
        none(&impure(&repository()), remedy);
        let mut files = repository();
        let text = "async fn f() {}\nuse tokio::net;\nuse aws_config::Region;\nlet is_async = 1;";
        files.push(planted("src/secret/planted.rs", text));
        finds(&impure(&files), &[":1", ":2", ":3"]);
        files.retain(|file| file.path != "src/cache/plan.rs" && !file.path.contains("planted"));
        finds(&impure(&files), &["does not exist"]);
    }

    #[test]
    fn each_outside_thing_has_its_place() {
        none(&misplaced(&repository()), "Go through the place that the line names.");
        for line in [
            "use aws_sdk_secretsmanager::Client;",
            "use hyper::Uri;",
            "let home = std::env::var(\"HOME\");",
            "let now = std::time::Instant::now();",
            "tokio::time::sleep(span).await;",
            "self.0.snapshot.store(next);",
            "print(value.expose());",
            "send(value.share());",
            "tokio::spawn(work);",
            "std::process::exit(1);",
        ] {
            caught(misplaced, "src/cache/planted.rs", line, &["src/cache/planted.rs:1"]);
            caught(misplaced, "tests/planted.rs", line, &[]);
        }
        caught(misplaced, "src/server/planted.rs", "use hyper::Uri; // aws_config", &[]);
    }

    #[test]
    fn files_are_named_after_what_they_hold() {
        none(&badly_named(&repository()), "A name that fits everything says nothing.");
        for path in ["src/cache/utils.rs", "tests/common/x.rs", "src/secret/manager.rs"] {
            caught(badly_named, path, "", &[path]);
        }
        caught(badly_named, "src/source/secrets_manager.rs", "", &[]);
    }

    #[test]
    fn every_file_says_what_it_holds() {
        none(&undocumented(&repository()), "The first line is the file's noun in a sentence.");
        caught(undocumented, "src/x.rs", "use std::fmt;\n", &["src/x.rs"]);
        caught(undocumented, "src/x.rs", "//! What x holds.\n", &[]);
    }

    #[test]
    fn no_file_holds_two_nouns() {
        none(&too_long(&repository()), "LINES_MAX of tests/tidy.rs says why.");
        caught(too_long, "src/x.rs", &"x\n".repeat(LINES_MAX + 1), &["501 lines"]);
        let tests = format!("x\n#[cfg(test)]\nmod tests {{\n{}}}", "x\n".repeat(LINES_MAX));
        caught(too_long, "src/x.rs", &tests, &[]);
    }

    #[test]
    fn every_test_runs_and_nothing_is_half_done() {
        none(&marked(&repository()), "What is not run is not kept.");
        for (mark, _) in MARKS_BANNED {
            caught(marked, "tests/x.rs", &format!("    {mark}"), &[mark]);
            caught(marked, "tests/x.rs", &format!("    // {mark}"), &[]);
        }
    }

    #[test]
    fn no_code_sleeps_in_a_comment() {
        none(&commented_out(&repository()), "A comment gives a reason.");
        caught(commented_out, "src/x.rs", "    // let x = 1;\n    // self.stop();", &[":1", ":2"]);
        caught(commented_out, "src/x.rs", "// One reason; and another.\n/// let x = 1;\n", &[]);
    }

    #[test]
    fn documented_paths_exist() {
        none(&missing_paths(&repository(), &exists), "Name what is there.");
        let text = "`src/gone.rs` and `GONE.md`, `tests/` and `src/*`\n```\n`src/fenced.rs`\n```";
        let there = |path: &str| path == "tests";
        finds(&missing_paths(&[planted("README.md", text)], &there), &["src/gone.rs", "GONE.md"]);
    }

    #[test]
    fn the_map_has_every_source_file() {
        none(&unmapped(&repository()), "Add a row to the code map: its path, and its noun.");
        caught(unmapped, "src/x.rs", "", &["`src/x.rs`"]);
        let map = planted("ARCHITECTURE.md", "| `src/x.rs` | x |");
        finds(&unmapped(&[planted("src/x.rs", ""), map]), &[]);
    }

    #[test]
    fn the_map_has_every_limit() {
        none(&untold_limits(&repository()), "Add it to the table of limits: name, value, file.");
        let code = "pub const X_MAX: usize = 4 * 1024;\nconst Y: u8 = 1;\n";
        caught(untold_limits, "src/x.rs", code, &["`X_MAX`, `4 * 1024`, `src/x.rs`"]);
        let map = |value| {
            let row = format!("| `X_MAX` | `{value}` | bytes | `src/x.rs` |");
            untold_limits(&[planted("src/x.rs", code), planted("ARCHITECTURE.md", &row)])
        };
        finds(&map("4 * 1024"), &[]);
        finds(&map("8 * 1024"), &["`X_MAX`"]);
    }

    #[test]
    fn every_variable_is_documented_as_it_is() {
        let remedy = "The table of docs/configuration.md is that of src/config/variables.rs.";
        none(&misdescribed_variables(&repository()), remedy);
        let page = doc(&repository(), "docs/configuration.md").text;
        let with = |from: &str, to: &str| {
            let page = planted("docs/configuration.md", &page.replace(from, to));
            misdescribed_variables(&[page])
        };
        finds(&with("| `5m` |", "| `6m` |"), &["lacks the row | `SIDEKEY_TTL` | `5m`", "`6m`"]);
        finds(
            &with("| `SIDEKEY_TTL` | `5m`", "| `SIDEKEY_TTTL` | `5m`"),
            &["`SIDEKEY_TTL`", "TTTL"],
        );
        let of_aws = with("| `SECRETS_MANAGER_TTL` | `SIDEKEY_TTL`", "| `SECRETS_MANAGER_TTL` | ");
        finds(&of_aws, &["`SECRETS_MANAGER_TTL` | `SIDEKEY_TTL`", "`SECRETS_MANAGER_TTL` |  |"]);
        assert!(with("Port on", "Gate on").len() == 2, "a help of its own");
    }

    #[test]
    fn every_key_of_a_table_is_documented_as_it_is() {
        let remedy = "The tables of docs/configuration.md are those of src/config.";
        none(&misdescribed_keys(&repository()), remedy);
        let page = doc(&repository(), "docs/configuration.md").text;
        let with = |from: &str, to: &str| {
            let page = planted("docs/configuration.md", &page.replace(from, to));
            misdescribed_keys(&[page])
        };
        finds(&with("| `when-read` |", "| `always` |"), &["lacks the row | `refresh`", "`always`"]);
        finds(&with("| `required` |", "| `needed` |"), &["`required`", "`needed`"]);
        finds(&with("| `service` |", "| `servant` |"), &["`service`", "`servant`"]);
    }

    #[test]
    fn no_page_names_a_variable_that_is_none() {
        none(&unknown_variables(&repository()), "Documentation says what this release has.");
        caught(unknown_variables, "docs/x.md", "SIDEKEY_* and SIDEKEY_TTTL", &["SIDEKEY_TTTL"]);
    }

    #[test]
    fn every_metric_is_documented_as_it_is() {
        let metrics = Metrics::new();
        metrics.announce_stale_reasons(&Reason::ALL.map(Reason::label));
        metrics.announce_gate_refusals(&gate::REASONS);
        metrics.show_problems(&Problem::CODES.map(|code| (code, 0)));
        let page = metrics.render();
        let remedy = "The tables of docs/metrics.md are those of src/telemetry/metrics.rs.";
        none(&misdescribed_metrics(&repository(), &page), remedy);
        let told = "| `sidekey_a_total` | gauge |\n\nrate(sidekey_b_bucket[5m])";
        let page = "# TYPE sidekey_a_total counter\n# TYPE sidekey_c histogram\n\
                    sidekey_a_total{reason=\"new\"} 0\n";
        let expected =
            ["calls the counter", "lacks `sidekey_c`", "label `new`", "no metric sidekey_b_bucket"];
        finds(&misdescribed_metrics(&[planted("docs/metrics.md", told)], page), &expected);
    }

    #[test]
    fn clients_are_documented_in_the_versions_that_are_tried() {
        let folder = "tests/promises/real_clients";
        let pins = ["node/package.json", "go/go.mod", "java/pom.xml"];
        let pins = pins.map(|pin| format!("{folder}/{pin}")).into_iter();
        let pins: Vec<String> = pins
            .chain(["tests/support/clients.rs".to_owned()])
            .map(|pin| fs::read_to_string(root().join(pin)).expect("a file of pins"))
            .collect();
        let pins = pins.join("\n");
        let remedy = "The versions of docs/clients.md are those of tests/promises/real_clients.";
        none(&misdescribed_clients(&repository(), &pins), remedy);
        let page = doc(&repository(), "docs/clients.md").text;
        for version in ["1.44.5", "1.46.2", "3.1162.0", "1.50.11", "2.57.8", "2.2.0"] {
            let page = planted("docs/clients.md", &page.replace(version, "9.9.9"));
            finds(&misdescribed_clients(&[page], &pins), &["9.9.9 is not it"]);
        }
    }

    #[test]
    fn links_lead_somewhere() {
        none(&broken_links(&repository(), &exists), "Links are relative to the page.");
        let from = "[a](b.md) [c](../README.md#one-two) [d](#none) [e](https://x.example/y)";
        let files = [planted("docs/a.md", from), planted("README.md", "# One, two\n")];
        let there = |path: &str| ["docs/a.md", "README.md"].contains(&path);
        finds(&broken_links(&files, &there), &["b.md leads nowhere", "no heading #none"]);
    }

    #[test]
    fn promises_name_guards_that_exist() {
        none(&missing_guards(&repository(), &exists), "A promise without a guard is `[pending]`.");
        let text = "`cargo test --test gone` `cargo bench --bench here` `cargo test -p \
                    sidekey-extension --test here` `a::b::tests::c` `a::b::tests::d`";
        let files = [planted("SPECIFICATION.md", text), planted("src/a/b.rs", "    fn c() {}")];
        let there = |path: &str| path == "benches/here.rs";
        let expected = ["--test gone", "sidekey-extension --test here", "a::b::tests::d"];
        finds(&missing_guards(&files, &there), &expected);
    }
}

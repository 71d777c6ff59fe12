//! Compares the documentation with tables and tests in the code.

use crate::repository::{File, is_of_word, page, root};
use sidekey::config::{aws_extension, policy, role, route_keys, variables};
use sidekey::convention::file::{FIELD_KEYS, KEYS};
use std::collections::BTreeMap;

/// Returns the cells of each row of a Markdown table whose first cell is a name in backticks that
/// begins with one of `prefixes`.
fn rows<'a>(text: &'a str, prefixes: &[&str]) -> Vec<Vec<&'a str>> {
    let rows = text.lines().filter_map(|line| line.strip_prefix('|')?.trim_end().strip_suffix('|'));
    let rows = rows.map(|row| row.split('|').map(str::trim).collect::<Vec<_>>());
    rows.filter(|row| prefixes.iter().any(|prefix| row[0].starts_with(&format!("`{prefix}"))))
        .collect()
}

/// Returns the words of a text that begin with `prefix` and are longer than `prefix`.
fn words<'a>(text: &'a str, prefix: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(|c: char| !is_of_word(c))
        .filter(move |word| word.starts_with(prefix) && word.len() > prefix.len())
}

fn pages(files: &[File]) -> impl Iterator<Item = &File> {
    files.iter().filter(|file| file.path.ends_with(".md"))
}

// === Settings ===

/// Compares the tables of variables and keys in `docs/configuration.md` with the settings in the
/// code.
fn wrong_settings(files: &[File]) -> Vec<String> {
    let row = |name: &str, default: &str, help: &str| match default {
        "" => format!("`{name}` |  | {help}"),
        default => format!("`{name}` | `{default}` | {help}"),
    };
    let variables = variables::VARIABLES.iter().map(|one| row(one.name, one.default, one.help));
    let of_aws = aws_extension::VARIABLES.iter().map(|one| row(one.name, one.default, one.help));
    let policy = policy::KEYS.iter().map(|key| row(key.name, key.default, key.help));
    let role = role::KEYS.iter().map(|key| row(key.name, key.default, key.help));
    let route = route_keys::KEYS.iter().map(|key| row(key.name, key.default, key.help));
    let convention = KEYS.iter().map(|key| row(key.name, key.default, key.help));
    let field = FIELD_KEYS.iter().map(|key| row(key.name, key.default, key.help));
    let page = page(files, "docs/configuration.md");
    let names = ["SIDEKEY_", aws_extension::PREFIX, "SECRETS_MANAGER_", "SSM_PARAMETER_STORE_"];
    let key_tables =
        page.text.split("\n| key |").skip(1).filter_map(|rest| rest.split("\n\n").next());
    let tables: [(Vec<String>, Vec<Vec<&str>>); 2] = [
        (variables.chain(of_aws).collect(), rows(&page.text, &names)),
        (
            policy.chain(role).chain(route).chain(convention).chain(field).collect(),
            key_tables.flat_map(|table| rows(table, &[""])).collect(),
        ),
    ];
    let mut problems = Vec::new();
    for (expected, rows) in tables {
        let rows: Vec<String> = rows.iter().map(|row| row.join(" | ")).collect();
        let missing = expected.iter().filter(|row| !rows.contains(row));
        problems.extend(missing.map(|row| format!("the page does not contain the row | {row} |")));
        let unknown = rows.iter().filter(|row| !expected.contains(row));
        problems.extend(unknown.map(|row| format!("the code does not contain the row | {row} |")));
        if problems.is_empty() && rows != expected {
            problems.push(format!("the order of the rows differs from {expected:#?}"));
        }
    }
    problems
}

/// Finds environment variables in the documentation that no setting in the code has.
fn unknown_variables(files: &[File]) -> Vec<String> {
    let mut known = vec![variables::CONFIG_FILE];
    known.extend(variables::VARIABLES.iter().map(|variable| variable.name));
    let mut problems = Vec::new();
    for page in pages(files) {
        let unknown = words(&page.text, "SIDEKEY_").filter(|word| !known.contains(word));
        problems.extend(unknown.map(|word| format!("{}: {word} is not a variable", page.path)));
    }
    problems
}

// === Metrics ===

/// Compares the tables in `docs/metrics.md` with `exposition`, the text of the page `/metrics`.
fn wrong_metrics(files: &[File], exposition: &str) -> Vec<String> {
    let page = page(files, "docs/metrics.md").text;
    let types = exposition.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let metrics: BTreeMap<&str, &str> = types.collect();
    let mut problems = Vec::new();
    for (name, kind) in &metrics {
        let mut rows = rows(&page, &[name]).into_iter();
        if !rows.any(|row| row[0].trim_matches('`') == *name && row.get(1) == Some(kind)) {
            problems.push(format!("docs/metrics.md does not contain the {kind} `{name}`"));
        }
    }
    // Only the values of these labels are known in advance.
    let labels = ["result=\"", "reason=\"", "operation=\"", "outcome=\"", "problem=\""];
    let values = labels.into_iter().flat_map(|label| exposition.split(label).skip(1));
    let values = values.filter_map(|rest| rest.split('"').next());
    let missing = values.filter(|value| !page.contains(&format!("`{value}`")));
    problems.extend(
        missing.map(|value| format!("docs/metrics.md does not contain the label `{value}`")),
    );
    let is_metric = |word: &str| {
        let series = ["_bucket", "_sum", "_count"].iter().filter_map(|end| word.strip_suffix(end));
        series.chain([word]).any(|name| metrics.contains_key(name))
    };
    let unknown = words(&page, "sidekey_").chain(words(&page, "process_"));
    let unknown = unknown.filter(|word| !is_metric(word));
    problems.extend(unknown.map(|word| format!("docs/metrics.md: {word} is not a metric")));
    problems
}

// === Clients ===

/// Finds clients in `docs/clients.md` with another version than the tests install. `pins` is the
/// text of the files that contain the installed versions.
fn wrong_clients(files: &[File], pins: &str) -> Vec<String> {
    let pins = pins.replace("</artifactId>", " ").replace("<version>", " ");
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || "/.-_@".contains(c);
    let pins: Vec<&str> = pins.split(|c| !is_of_name(c)).filter(|part| !part.is_empty()).collect();
    let is_pinned = |row: &[&str]| {
        let pair = [row[0].trim_matches('`'), row[1]];
        pins.windows(2).any(|pin| [pin[0], pin[1].trim_start_matches('v')] == pair)
    };
    let page = page(files, "docs/clients.md");
    let rows = rows(&page.text, &["@", "a", "b", "g"]).into_iter().filter(|row| row.len() == 3);
    rows.filter(|row| !is_pinned(row)).map(|row| format!("not tested: {}", row.join(" "))).collect()
}

// === Paths, tests and benches ===

/// Finds paths, tests and benchmarks that the documentation names in backticks but that do not
/// exist.
///
/// The path of a test begins with the name of its crate, unless it is in the library:
/// `cache::plan::tests::NAME`, `promises::outage::NAME`. The paths `promises::outage` and
/// `cache::plan::tests` mean all tests of a file.
fn missing(files: &[File]) -> Vec<String> {
    let mut problems = Vec::new();
    for page in pages(files) {
        let mut is_fenced = false;
        for (at, line) in page.text.lines().enumerate() {
            is_fenced ^= line.trim_start().starts_with("```");
            let spans = line.split('`').skip(1).step_by(2).filter(|_| !is_fenced);
            let missing = spans.filter(|span| {
                let is_test = span.contains("::tests::")
                    || span.contains("::") && span.ends_with("tests")
                    || TEST_PATHS.iter().any(|tests| span.starts_with(tests));
                is_path(span) && !exists(span)
                    || is_test && !has_test(files, span)
                    || !has_target(span)
            });
            problems.extend(missing.map(|span| format!("{}:{}: no `{span}`", page.path, at + 1)));
        }
    }
    problems
}

/// The beginnings of the paths of tests that are not in a module called `tests`.
const TEST_PATHS: &[&str] = &["promises::", "emulator::", "examples::", "cache::simulation::"];

const TEST_FOLDERS: &[&str] = &["src", "extension/src", "fake-aws/src", "tests", "extension/tests"];

fn is_path(span: &str) -> bool {
    let folders = [
        "src/",
        "extension/",
        "fake-aws/",
        "presets/",
        "tests/",
        "benches/",
        "docs/",
        "examples/",
        "deploy/",
        ".ci/",
    ];
    folders.iter().any(|folder| span.starts_with(folder))
        && !span.contains([' ', '*', '{', '<', ':'])
}

fn exists(path: &str) -> bool {
    root().join(path).exists()
}

fn has_test(files: &[File], path: &str) -> bool {
    let path = path.trim_start_matches("sidekey_extension::").trim_start_matches("fake_aws::");
    let Some((module, name)) = path.rsplit_once("::") else { return false };
    let (module, function) = (module.trim_end_matches("::tests"), format!("fn {name}("));
    let has = |stem: &str, text: &str| {
        let places = TEST_FOLDERS.iter().flat_map(|folder| {
            ["", "/tests", "/main"]
                .map(|end| format!("{folder}/{}{end}.rs", stem.replace("::", "/")))
        });
        let places: Vec<String> = places.collect();
        files.iter().any(|file| places.contains(&file.path) && file.text.contains(text))
    };
    has(module, &function)
        || has(path, "#[tokio::test")
        || has(path, "#[test")
        || name == "tests" && has(module, "mod tests")
}

/// Returns whether the test or benchmark that a cargo command runs exists. Returns `true` for other
/// commands.
fn has_target(command: &str) -> bool {
    let package = if command.contains("sidekey-extension") { "extension/" } else { "" };
    [("--test ", "tests"), ("--bench ", "benches")].iter().all(|(option, folder)| {
        let Some((_, rest)) = command.split_once(option) else { return true };
        let name = rest.split(' ').next().unwrap_or_default();
        ["", "/main"].iter().any(|file| exists(&format!("{package}{folder}/{name}{file}.rs")))
    })
}

/// Finds promises in `SPECIFICATION.md` that no test, benchmark, check of the Lambda layer or check
/// of `deploy` verifies.
fn unguarded(files: &[File]) -> Vec<String> {
    let page = page(files, "SPECIFICATION.md");
    let rows =
        page.text.split("\n## ").skip(1).flat_map(|chapter| {
            chapter.lines().skip_while(|line| !line.starts_with("|---")).skip(1)
        });
    let guards = ["::", "cargo bench --bench", "layer/check", "deploy/check", "[pending]"];
    let unguarded =
        rows.filter(|row| row.starts_with('|') && !guards.iter().any(|guard| row.contains(guard)));
    unguarded.map(str::to_owned).collect()
}

mod tests {
    use super::*;
    use crate::repository::{assert_finds, assert_none, repository};
    use sidekey::cache::freshness::Reason;
    use sidekey::convention::problem::Problem;
    use sidekey::server::gate;
    use sidekey::telemetry::metrics::Metrics;
    use std::fs;

    /// Returns a file of the repository in which the text `from` is replaced by `to`.
    fn changed(path: &str, from: &str, to: &str) -> [File; 1] {
        let text = page(&repository(), path).text;
        assert!(text.contains(from), "{path} does not contain `{from}`: change this test");
        [File::new(path, &text.replace(from, to))]
    }

    #[test]
    fn settings_are_documented_as_they_are() {
        let files = repository();
        assert_none(
            &wrong_settings(&files),
            "Copy the rows of the tables in src/config to docs/configuration.md.",
        );
        assert_none(
            &unknown_variables(&files),
            "Correct the names of variables that do not exist.",
        );
        for (from, to, expected) in [
            (
                "| `SIDEKEY_TTL` | `5m` |",
                "| `SIDEKEY_TTL` | `6m` |",
                ["page does not contain the row | `SIDEKEY_TTL` | `5m`", "`6m`"],
            ),
            ("| `required` |", "| `needed` |", ["`required`", "`needed`"]),
            ("| `service` |", "| `servant` |", ["`service`", "`servant`"]),
        ] {
            let page = changed("docs/configuration.md", from, to);
            assert_finds(&wrong_settings(&page), &expected);
        }
        let page = File::new("docs/x.md", "SIDEKEY_* and SIDEKEY_TTTL");
        assert_finds(&unknown_variables(&[page]), &["SIDEKEY_TTTL"]);
    }

    #[test]
    fn metrics_are_documented_as_they_are() {
        let metrics = Metrics::new();
        metrics.announce_stale_reasons(&Reason::ALL.map(Reason::label));
        metrics.announce_gate_refusals(&gate::REASONS);
        metrics.announce_calls(["openai"].into_iter());
        metrics.show_problems(&Problem::CODES.map(|code| (code, 0)));
        let remedy = "Copy names and types from src/telemetry/metrics.rs to docs/metrics.md.";
        assert_none(&wrong_metrics(&repository(), &metrics.render()), remedy);
        let exposition = "# TYPE sidekey_a_total counter\n# TYPE sidekey_c histogram\n\
                          sidekey_a_total{reason=\"new\"} 0\n";
        let page = "| `sidekey_a_total` | gauge |\n\nrate(sidekey_b_bucket[5m])";
        let page = [File::new("docs/metrics.md", page)];
        let expected =
            ["the counter `sidekey_a_total`", "the histogram", "label `new`", "b_bucket"];
        assert_finds(&wrong_metrics(&page, exposition), &expected);
    }

    #[test]
    fn clients_are_documented_in_the_tested_versions() {
        let folder = root().join("tests/promises/real_clients");
        let pins = [
            "node/package.json",
            "cdk/package.json",
            "go/go.mod",
            "java/pom.xml",
            "../../support/clients.rs",
            "../calls_libraries/node/package.json",
        ];
        let pins = pins.map(|pin| fs::read_to_string(folder.join(pin)).expect("the file exists"));
        let pins = pins.join("\n");
        assert_none(&wrong_clients(&repository(), &pins), "Correct docs/clients.md.");
        for version in ["1.44.5", "1.46.2", "2.35.0", "1.82.1", "2.57.8", "2.276.0"] {
            let page = changed("docs/clients.md", version, "9.9.9");
            assert_finds(&wrong_clients(&page, &pins), &["9.9.9"]);
        }
    }

    #[test]
    fn promises_name_tests_that_exist() {
        let files = repository();
        assert_none(
            &missing(&files),
            "Correct the names of files, tests and benches that do not exist.",
        );
        assert_none(
            &unguarded(&files),
            "Add the names of tests that fail if the promise is broken.",
        );
        let text = "`src/gone.rs` `tests/` `src/*`\n```\n`src/fenced.rs`\n```\n`cargo test --test gone` \
                    `cargo bench --bench fleet` `a::b::tests::c` `a::b::tests::d` `promises::e::f`";
        let files = [File::new("README.md", text), File::new("src/a/b.rs", "    fn c() {}")];
        let expected = ["src/gone.rs", "--test gone", "a::b::tests::d", "promises::e::f"];
        assert_finds(&missing(&files), &expected);
        let page = "\n## A\n\n| promise | tests |\n|---|---|\n| a | `b::c` |\n| d | `e` |\n";
        assert_finds(&unguarded(&[File::new("SPECIFICATION.md", page)]), &["| d |"]);
    }
}

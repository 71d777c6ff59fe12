//! Checks what the documentation says about AWS's agents: the keys of their configuration files,
//! and their names and colours in charts.

use crate::repository::File;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// All keys of the configuration file of the AWS Secrets Manager Agent, version 3.1.2.
const KEYS: &[&str] = &[
    "http_port",
    "ttl_seconds",
    "cache_size",
    "max_conn",
    "region",
    "credentials_file_path",
    "log_level",
    "log_to_file",
    "ssrf_headers",
    "ssrf_env_variables",
    "path_prefix",
    "prefetch.secrets",
    "prefetch.filter_tags",
    "cache_buffer_ratio",
    "max_jitter_seconds",
    "ignore_transient_errors",
    "validate_credentials",
    "max_roles",
];

/// Returns the configuration keys of AWS's agent that are missing in the tables of
/// `docs/migrating.md`.
fn missing_keys(files: &[File]) -> Vec<String> {
    let pages = files.iter().filter(|file| file.path == "docs/migrating.md");
    let rows: Vec<&str> =
        pages.flat_map(|page| page.text.lines()).filter(|line| line.starts_with('|')).collect();
    let missing =
        KEYS.iter().filter(|key| !rows.iter().any(|row| row.contains(&format!("`{key}`"))));
    missing.map(|key| format!("docs/migrating.md: the key {key} has no row")).collect()
}

/// Returns charts that do not say whether more is better, and programs that have several colours.
/// `charts` contains the file name and the SVG text of each chart.
fn unclear(charts: &[(String, String)]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut colours: BTreeMap<&str, &str> = BTreeMap::new();
    for (path, svg) in charts {
        if !svg.contains(" is better") {
            problems.push(format!("{path}: does not say whether more or less is better"));
        }
        for (name, colour) in legend(svg) {
            if *colours.entry(name).or_insert(colour) != colour {
                problems.push(format!("{path}: {name} has another colour than in other charts"));
            }
        }
    }
    problems
}

/// Returns the names in the legend of a chart, each with its colour.
fn legend(svg: &str) -> impl Iterator<Item = (&str, &str)> {
    let lines = svg.lines().zip(svg.lines().skip(1));
    lines.filter_map(|(square, text)| {
        let colour = square.split_once(r#"width="10" height="10" fill=""#)?.1.split('"').next()?;
        Some((text.split(['<', '>']).nth(2)?, colour))
    })
}

/// Returns all charts in the folder `docs`, each with its path.
fn charts() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut charts = Vec::new();
    for folder in ["docs/fleet", "docs/versus_peer"] {
        for entry in fs::read_dir(root.join(folder)).expect("the folder of charts must exist") {
            let path = entry.expect("the folder of charts must be readable").path();
            let svg = fs::read_to_string(&path).expect("the chart must be readable");
            charts.push((path.display().to_string(), svg));
        }
    }
    charts
}

mod tests {
    use super::*;
    use crate::repository::{assert_finds, assert_none, repository};

    #[test]
    fn every_key_of_awss_agent_is_explained() {
        assert_none(&missing_keys(&repository()), "Add a row to the page.");
        let rows: Vec<String> = KEYS[1..].iter().map(|key| format!("| `{key}` | |\n")).collect();
        let page = [File::new("docs/migrating.md", &rows.concat())];
        assert_finds(&missing_keys(&page), &["the key http_port has no row"]);
    }

    #[test]
    fn programs_have_one_colour_in_all_charts() {
        let charts = charts();
        assert!(legend(&charts[0].1).count() > 1, "each chart must have a legend");
        assert_none(&unclear(&charts), "Run the benchmark that draws the charts.");
        let chart = |colour: &str| {
            let square = format!(r#"<rect width="10" height="10" fill="{colour}"/>"#);
            ("a.svg".to_owned(), format!("{square}\n<text>sidekey</text>\nlower is better"))
        };
        let found = unclear(&[chart("red"), chart("blue"), ("b.svg".to_owned(), String::new())]);
        assert_finds(&found, &["sidekey has another colour", "does not say whether"]);
    }
}

//! Tests that the commands in `docs/walkthrough.md` work as written, with the fake AWS server and
//! with moto.

use crate::clients::{Clients, killed_with_test};
use crate::moto::Moto;
use crate::port::Port;
use crate::support::agent::REGION;
use crate::support::clock::ManualClock;
use crate::support::finished::Finished;
use crate::support::program::{PATH, SIDEKEY};
use crate::support::{TempFolder, fake};
use std::collections::BTreeMap;
use std::path::Path;

const PAGE: &str = include_str!("../../docs/walkthrough.md");

/// The line that separates the outputs of two blocks of commands.
const END_OF_BLOCK: &str = "== end of the block ==";

/// A block of commands on the page, and the documented output of the commands.
#[derive(Debug, PartialEq, Eq)]
struct Block<'a> {
    commands: &'a str,
    expected: Vec<&'a str>,
}

/// Returns the blocks of commands on a page: each `sh` block, with the `text` block that follows
/// it.
fn blocks(page: &str) -> Vec<Block<'_>> {
    let mut blocks: Vec<Block<'_>> = Vec::new();
    let mut rest = page;
    while let Some((_, fenced)) = rest.split_once("\n```") {
        let (language, fenced) = fenced
            .split_once('\n')
            .expect("the first line of a code block must end with a newline");
        let (body, after) = fenced.split_once("\n```").expect("every code block must have an end");
        match language {
            "sh" => blocks.push(Block { commands: body, expected: Vec::new() }),
            "text" => {
                let block = blocks.last_mut().expect("a text block must follow each sh block");
                block.expected = body.lines().collect();
            }
            _ => {}
        }
        rest = after;
    }
    blocks
}

/// Returns whether a line of output equals a documented line. `…` stands for any text, and several
/// spaces equal one space.
fn fits(line: &str, expected: &str) -> bool {
    let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let line = plain(line);
    let mut parts = expected.split('…').map(plain);
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(&*first) else { return false };
    let mut is_open = false;
    for part in parts {
        is_open = true;
        let Some((_, after)) = rest.split_once(&*part) else { return false };
        rest = after;
    }
    rest.is_empty() || is_open
}

/// Runs all commands of the page in one shell, with the Secrets Manager at `endpoint`. Compares the
/// output with the page.
async fn walk(clients: &Clients, endpoint: &str) {
    let (folder, port) = (TempFolder::new(), Port::reserve());
    let tools = clients.python().parent().expect("the path must be a folder").to_owned();
    let own = Path::new(SIDEKEY).parent().expect("the path must be a folder");
    let vars = [
        ("PATH", format!("{}:{}:{PATH}", own.display(), tools.display())),
        ("PYTHONPATH", concat!(env!("CARGO_MANIFEST_DIR"), "/examples/python").to_owned()),
        ("PYTHONDONTWRITEBYTECODE", "1".to_owned()),
        ("AWS_ENDPOINT_URL_SECRETS_MANAGER", endpoint.to_owned()),
        ("SIDEKEY_ENDPOINT", endpoint.to_owned()),
        ("SIDEKEY_PORT", port.to_string()),
        ("AWS_REGION", REGION.to_owned()),
        ("AWS_DEFAULT_REGION", REGION.to_owned()),
        ("AWS_ACCESS_KEY_ID", "AKIATESTS".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "secret-key-of-these-tests".to_owned()),
        ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ("SIDEKEY_UPSTREAM_TIMEOUT", "1m".to_owned()),
        ("SIDEKEY_READER_WAIT", "1m".to_owned()),
    ];
    let vars: BTreeMap<String, String> =
        vars.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let blocks = blocks(PAGE);
    assert!(blocks.len() > 8, "{blocks:?}");
    let mut script = format!("set -eu\ncd {}\n", folder.path().display());
    script.push_str("trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n");
    for block in &blocks {
        script.push_str(block.commands);
        script.push_str(&format!("\necho '{END_OF_BLOCK}'\n"));
    }
    let done = Finished::run(killed_with_test("bash"), &vars, script.as_bytes()).await;
    let log = std::fs::read_to_string(folder.path().join("sidekey.log")).unwrap_or_default();
    assert_eq!(done.code, Some(0), "{}\n{}\n{log}", done.text(), done.err);
    for (block, written) in blocks.iter().zip(done.text().split(END_OF_BLOCK)) {
        let mut lines = written.lines();
        for expected in &block.expected {
            let is_there = lines.any(|line| fits(line, expected));
            assert!(is_there, "{}\nwrote\n{written}\nwithout\n{expected}", block.commands);
        }
    }
    assert!(!log.contains("demo"), "the log contains a value: {log}");
    assert!(log.contains("AccessDeniedException") || log.contains("refused"), "{log}");
}

#[tokio::test]
async fn every_command_of_the_page_works_before_the_fake() {
    let clients = match Clients::install() {
        Ok(clients) => clients,
        Err(missing) => return missing.skip_or_fail(),
    };
    let fake = fake(&ManualClock::new()).await;
    walk(&clients, &fake.url()).await;
}

#[tokio::test]
async fn every_command_of_the_page_works_before_moto() {
    let clients = match Clients::install() {
        Ok(clients) => clients,
        Err(missing) => return missing.skip_or_fail(),
    };
    let moto = Moto::start(&clients).await;
    walk(&clients, &moto.endpoint()).await;
}

#[test]
fn lines_are_compared_around_placeholders() {
    for (line, expected, outcome) in [
        ("ok   a  5s", "ok … 5s", true),
        ("ok   a  5s", "ok a 5s", true),
        ("ok   a  5s", "ok", false),
        ("ok   a  5s", "ok …", true),
        ("not ok", "ok", false),
        ("ok b", "ok … a", false),
    ] {
        assert_eq!(fits(line, expected), outcome, "{line} as {expected}");
    }
}

//! Runs the commands of a page of the documentation in a shell, and compares their output with the
//! page.

use std::path::Path;

/// The line that separates the outputs of two blocks of commands.
const END_OF_BLOCK: &str = "== end of the block ==";

/// A block of commands on the page, and the documented output of the commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Block<'a> {
    pub(crate) commands: &'a str,
    pub(crate) expected: Vec<&'a str>,
}

/// Returns the blocks of commands on a page: each `sh` block, with the `text` block that follows
/// it.
pub(crate) fn blocks(page: &str) -> Vec<Block<'_>> {
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

/// Returns a shell script that runs all blocks in `folder`, and ends all programs that it started.
pub(crate) fn script(blocks: &[Block<'_>], folder: &Path) -> String {
    let mut script = format!("set -eu\ncd {}\n", folder.display());
    script.push_str("trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n");
    for block in blocks {
        script.push_str(block.commands);
        script.push_str(&format!("\necho '{END_OF_BLOCK}'\n"));
    }
    script
}

/// Checks that the output of the [`script`] contains the documented lines of each block.
pub(crate) fn check_output(blocks: &[Block<'_>], output: &str) {
    for (block, written) in blocks.iter().zip(output.split(END_OF_BLOCK)) {
        let mut lines = written.lines();
        for expected in &block.expected {
            let is_there = lines.any(|line| fits(line, expected));
            assert!(is_there, "{}\nwrote\n{written}\nwithout\n{expected}", block.commands);
        }
    }
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

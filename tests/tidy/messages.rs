//! Checks that the messages in `docs/troubleshooting.md` are those of the code.

use crate::repository::{File, page, sources};

/// Finds messages that no source file contains. A message is a text in backticks in the first cell
/// of a table. The sign `…` in a message stands for any text.
fn unknown(files: &[File]) -> Vec<String> {
    let code: Vec<String> = sources(files).map(|file| joined(&file.text)).collect();
    let page = page(files, "docs/troubleshooting.md");
    let cells = page.text.lines().filter_map(|line| line.strip_prefix("| ")?.split('|').next());
    let messages = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    let parts = messages.flat_map(|message| message.split('…')).map(str::trim);
    let unknown =
        parts.filter(|part| !part.is_empty() && !code.iter().any(|text| text.contains(part)));
    unknown.map(|part| format!("no message of Sidekey contains `{part}`")).collect()
}

/// Returns the code with each text literal in one line.
fn joined(code: &str) -> String {
    let mut lines = code.split("\\\n");
    let first = lines.next().unwrap_or_default().to_owned();
    lines.fold(first, |text, line| text + line.trim_start())
}

mod tests {
    use super::*;
    use crate::repository::{assert_finds, assert_none, repository};

    #[test]
    fn troubleshooting_quotes_messages_that_exist() {
        assert_none(&unknown(&repository()), "Copy the message from the code.");
        let code = "const A: &str = \"the port \\\n    is in use\";";
        let table =
            "| message | cause |\n|---|---|\n| `the port is in use` | `a` |\n| `no … port` | |";
        let files = [File::new("src/a.rs", code), File::new("docs/troubleshooting.md", table)];
        assert_finds(&unknown(&files), &["`no`"]);
    }
}

//! Compares code blocks in the documentation with the files from which they are copied.
//!
//! The line `<!-- PATH: NAME -->` before a code block names the file and the part of the file. In
//! the file, the part is between a comment `snippet: NAME` and a comment `snippet: end`.

use crate::repository::{File, root};
use std::fs;

/// A code block on a page, and the file that contains the original of the block.
struct Copy<'a> {
    page: &'a str,
    path: &'a str,
    name: &'a str,
    text: String,
}

/// Returns the code blocks of a page that name the file of their original.
fn copies(page: &File) -> Vec<Copy<'_>> {
    let marks = page.text.split("<!-- ").skip(1);
    let marks = marks.filter_map(|rest| rest.split_once(" -->\n```"));
    marks
        .filter_map(|(mark, rest)| {
            let (path, name) = mark.split_once(": ")?;
            let (_, code) = rest.split_once('\n')?;
            let text = code.split_once("\n```").map_or(code, |(text, _)| text).to_owned();
            Some(Copy { page: &page.path, path, name, text })
        })
        .collect()
}

/// Returns the part `name` of a file, without the indentation that all lines share.
fn part(text: &str, name: &str) -> Option<String> {
    let is_mark = |line: &&str, name: &str| line.trim().ends_with(&format!(" snippet: {name}"));
    let lines = text.lines().skip_while(|line| !is_mark(line, name)).skip(1);
    let lines: Vec<&str> = lines.take_while(|line| !is_mark(line, "end")).collect();
    let filled = lines.iter().filter(|line| !line.trim().is_empty());
    let indentation = filled.map(|line| line.len() - line.trim_start().len()).min()?;
    let lines = lines.iter().map(|line| line.get(indentation..).unwrap_or_default());
    Some(lines.collect::<Vec<_>>().join("\n"))
}

/// Finds code blocks that differ from their originals. `read` returns the text of a file.
fn outdated(pages: &[File], read: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let copies = pages.iter().filter(|file| file.path.ends_with(".md")).flat_map(copies);
    copies
        .filter_map(|copy| {
            let Copy { page, path, name, text } = copy;
            match read(path).and_then(|original| part(&original, name)) {
                None => Some(format!("{page}: {path} has no comment `snippet: {name}`")),
                Some(original) if original != text => {
                    Some(format!("{page}: the copy of `{name}` in {path} differs:\n{original}"))
                }
                Some(_) => None,
            }
        })
        .collect()
}

mod tests {
    use super::*;
    use crate::repository::{assert_finds, assert_none, repository};

    #[test]
    fn code_blocks_equal_the_files_that_they_name() {
        let files = repository();
        let read = |path: &str| fs::read_to_string(root().join(path)).ok();
        assert!(files.iter().flat_map(copies).count() >= 4, "the pages must have copies");
        assert_none(&outdated(&files, read), "Copy the part of the file to the page.");

        let page = "<!-- a.yaml: one -->\n```yaml\nb:\n  c\n```\n\
                    <!-- a.yaml: two -->\n```yaml\nd\n```\n\
                    <!-- b.yaml: one -->\n```yaml\n```\n";
        let original = "# snippet: one\n  b:\n    c\n# snippet: end\n# snippet: two\ne\n";
        let read = |path: &str| (path == "a.yaml").then(|| original.to_owned());
        let problems = outdated(&[File::new("docs/a.md", page)], read);
        assert_finds(&problems, &["the copy of `two`", "b.yaml has no"]);
    }
}

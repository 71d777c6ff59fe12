//! Compares code blocks in the documentation with the files from which they are copied.
//!
//! The line `<!-- PATH: NAME -->` before a code block names the file and the part of the file. In
//! the file, the part is between a comment `snippet: NAME` and a comment `snippet: end`.

use crate::repository::{File, root};
use std::fs;

/// The folders whose files may contain parts with a name.
const FOLDERS: &[&str] = &["deploy", "examples"];

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

/// Finds code blocks in languages of deployments that name no file. Such a block could become
/// outdated without a failed test.
fn unnamed(pages: &[File]) -> Vec<String> {
    let pages = pages.iter().filter(|file| file.path.ends_with(".md"));
    let problems = pages.flat_map(|page| {
        let lines: Vec<&str> = page.text.lines().collect();
        let blocks = lines.windows(2).enumerate().filter(|(_, pair)| {
            let language = pair[1].strip_prefix("```").unwrap_or_default();
            let is_of_deployment = ["hcl", "yaml"].contains(&language)
                || (language == "js" && page.path.starts_with("deploy/"));
            is_of_deployment && !pair[0].starts_with("<!-- ")
        });
        let problem = |(line, _)| format!("{}:{}: the block names no file", page.path, line + 2);
        blocks.map(problem).collect::<Vec<_>>()
    });
    problems.collect()
}

/// Finds parts of `files` that no page copies.
fn unused(pages: &[File], files: &[File]) -> Vec<String> {
    let copies: Vec<Copy<'_>> = pages.iter().flat_map(copies).collect();
    let parts = files.iter().flat_map(|file| {
        let names = file.text.lines().filter_map(|line| line.split_once(" snippet: "));
        names.map(|(_, name)| (&file.path, name.trim())).filter(|(_, name)| *name != "end")
    });
    let unused = parts
        .filter(|(path, name)| !copies.iter().any(|copy| copy.path == *path && copy.name == *name));
    unused.map(|(path, name)| format!("{path}: no page copies `{name}`")).collect()
}

mod tests {
    use super::*;
    use crate::repository::{assert_finds, assert_none, repository};

    /// Reads the text files in a folder of the repository, and in its folders.
    fn texts(folder: &str) -> Vec<File> {
        let names = fs::read_dir(root().join(folder)).expect("the test can list the folder");
        let names = names.map(|item| item.expect("the test can read the folder").file_name());
        let names = names.map(|name| name.to_string_lossy().into_owned());
        let is_built = |name: &str| ["target", "build", "node_modules"].contains(&name);
        let paths = names
            .filter(|name| !name.starts_with('.') && !is_built(name))
            .map(|name| format!("{folder}/{name}"));
        let files = paths.flat_map(|path| match root().join(&path).is_dir() {
            true => texts(&path),
            false => match fs::read_to_string(root().join(&path)) {
                Ok(text) => vec![File { path, text }],
                Err(_) => Vec::new(), // an image or an archive
            },
        });
        files.collect()
    }

    #[test]
    fn code_blocks_of_deployments_name_a_file() {
        assert_none(&unnamed(&repository()), "Move the block to a file, and name the file.");
        let page = "\n```hcl\na\n```\n<!-- a.yaml: one -->\n```yaml\nb\n```\n\n```yaml\nc\n```\n";
        let code = "<p>\n```js\nd\n```\n";
        let pages = [("a.md", page), ("deploy/b.md", code), ("docs/c.md", code)];
        let pages = pages.map(|(path, text)| File::new(path, text));
        assert_finds(&unnamed(&pages), &["a.md:2:", "a.md:10:", "deploy/b.md:2:"]);
    }

    #[test]
    fn named_parts_of_files_are_on_a_page() {
        let files: Vec<File> = FOLDERS.iter().flat_map(|folder| texts(folder)).collect();
        let parts = files.iter().filter(|file| file.text.contains(" snippet: "));
        assert!(parts.count() >= 4, "files must have parts with a name");
        assert_none(&unused(&repository(), &files), "Copy the part to a page, or delete its name.");

        let pages = [File::new("a.md", "<!-- a.yaml: one -->\n```yaml\nb\n```\n")];
        let file = File::new("a.yaml", "# snippet: one\nb\n# snippet: end\n# snippet: two\n");
        assert_finds(&unused(&pages, &[file]), &["a.yaml: no page copies `two`"]);
    }

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

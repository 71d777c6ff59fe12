//! The files of the repository, as the checks read them.

use std::fs;
use std::path::Path;

/// A Rust file or a Markdown page of the repository.
#[derive(Clone, Debug)]
pub(crate) struct File {
    /// The path of the file from the root of the repository, with `/` as the separator.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl File {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    /// Returns whether `places` contains this file or a folder around it. A folder ends with `/`.
    pub(crate) fn is_in(&self, places: &[&str]) -> bool {
        places.iter().any(|place| match place.strip_suffix('/') {
            Some(_) => self.path.starts_with(place),
            None => self.path == **place,
        })
    }

    /// Returns the lines of code, without comments and without the tests at the end of the file. A
    /// comment becomes an empty line.
    pub(crate) fn code(&self) -> Vec<&str> {
        let end = self.text.find("\n#[cfg(test)]\nmod tests {").unwrap_or(self.text.len());
        self.text[..end]
            .lines()
            .map(|line| match line.trim_start().starts_with("//") {
                true => "",
                false => line.split_once(" // ").map_or(line, |(code, _)| code),
            })
            .collect()
    }
}

/// Returns the files of the library and of the released binaries.
pub(crate) fn sources(files: &[File]) -> impl Iterator<Item = &File> {
    files.iter().filter(|file| {
        file.path.ends_with(".rs")
            && file.is_in(&["src/", "extension/src/", "fake-aws/src/"])
            && !is_test_code(files, &file.path)
    })
}

/// Returns whether `#[cfg(test)]` precedes the declaration of a file's module or of a module around
/// it.
fn is_test_code(files: &[File], path: &str) -> bool {
    let Some((folder, name)) = path.trim_end_matches(".rs").rsplit_once('/') else { return false };
    let parents = [format!("{folder}.rs"), format!("{folder}/lib.rs"), format!("{folder}/main.rs")];
    let declares_test = |file: &File| {
        let modules = file.text.split("\n#[cfg(test)]\n").skip(1);
        let mut modules = modules.filter_map(|rest| rest.lines().next()?.split("mod ").nth(1));
        modules.any(|module| module.strip_suffix(';') == Some(name))
    };
    files.iter().any(|file| parents.contains(&file.path) && declares_test(file))
        || is_test_code(files, folder)
}

/// Returns the page at `path`. If the page is missing, returns an empty page, so that its check
/// fails.
pub(crate) fn page(files: &[File], path: &str) -> File {
    files.iter().find(|file| file.path == path).cloned().unwrap_or_else(|| File::new(path, ""))
}

/// Returns whether `line` contains `needle` at the beginning of a word.
pub(crate) fn begins_word(line: &str, needle: &str) -> bool {
    line.match_indices(needle).any(|(at, _)| {
        !needle.starts_with(is_of_word) || !line[..at].chars().next_back().is_some_and(is_of_word)
    })
}

pub(crate) fn is_of_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Reads all Rust files and Markdown pages of the repository.
pub(crate) fn repository() -> Vec<File> {
    let mut files = Vec::new();
    collect("", &mut files);
    assert!(files.len() > 50, "{} is not the root of the repository", root().display());
    files
}

fn collect(folder: &str, files: &mut Vec<File>) {
    let mut names: Vec<String> = fs::read_dir(root().join(folder))
        .expect("the test must be able to list the folders of the repository")
        .map(|item| {
            item.expect("the test must be able to read the folder")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .filter(|name| !["target", "node_modules"].contains(&&**name) && !name.starts_with('.'))
        .collect();
    names.sort();
    for name in names {
        let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
        if root().join(&path).is_dir() {
            collect(&path, files);
        } else if path.ends_with(".rs") || path.ends_with(".md") {
            let text = fs::read_to_string(root().join(&path)).expect("the file is UTF-8");
            files.push(File { path, text });
        }
    }
}

/// Panics with all problems and with the advice `remedy`, if there are any problems.
#[track_caller]
pub(crate) fn assert_none(problems: &[String], remedy: &str) {
    assert!(problems.is_empty(), "\n{}\n\n{remedy}\n", problems.join("\n"));
}

/// Panics unless the number of problems equals the number of expected texts, and each problem
/// contains its expected text.
#[track_caller]
pub(crate) fn assert_finds(problems: &[String], expected: &[&str]) {
    assert_eq!(problems.len(), expected.len(), "unexpected problems: {problems:#?}");
    for (problem, expected) in problems.iter().zip(expected) {
        assert!(
            problem.contains(expected),
            "the problem `{problem}` does not contain `{expected}`"
        );
    }
}

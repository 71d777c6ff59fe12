//! Writes the generated parts of the documentation: a part of a page, and charts.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const BEGIN: &str = "<!-- written by a bench: begin -->\n";
const END: &str = "<!-- written by a bench: end -->";

/// Writes generated text to files, or only compares the text with the files.
#[derive(Debug)]
pub(crate) struct Generated {
    is_check: bool,
}

impl Generated {
    /// Replaces the text between two marks of a page by `text`. If `is_check` is set, only compares
    /// them.
    ///
    /// # Errors
    ///
    /// If the page cannot be read or written, or has no marks.
    pub(crate) fn new(page: &str, text: &str, is_check: bool) -> io::Result<Self> {
        let generated = Self { is_check };
        let before = fs::read_to_string(rooted(page))?;
        let parts = before.split_once(BEGIN).and_then(|(head, rest)| {
            rest.split_once(END).map(|(_, tail)| format!("{head}{BEGIN}\n{text}\n{END}{tail}"))
        });
        let after = parts.ok_or_else(|| io::Error::other(format!("{page} has no marks")))?;
        generated.file(page, &after)?;
        Ok(generated)
    }

    /// Writes `text` to a file, or compares `text` with the file.
    ///
    /// # Errors
    ///
    /// If the file cannot be written, or if it differs from `text`.
    pub(crate) fn file(&self, path: &str, text: &str) -> io::Result<()> {
        let full = rooted(path);
        if self.is_check {
            let is_same = fs::read_to_string(full).is_ok_and(|there| there == text);
            let stale = || io::Error::other(format!("{path} differs from the benchmark's output"));
            return is_same.then_some(()).ok_or_else(stale);
        }
        if let Some(folder) = full.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(full, text)
    }
}

fn rooted(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

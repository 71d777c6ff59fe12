//! What a bench writes into the documentation: between two marks of a page, and files of its own.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const BEGIN: &str = "<!-- written by a bench: begin -->\n";
const END: &str = "<!-- written by a bench: end -->";

/// What is written, or compared with what is there.
#[derive(Debug)]
pub(crate) struct Generated {
    is_check: bool,
}

impl Generated {
    /// Puts `text` between the marks of a page.
    ///
    /// # Errors
    ///
    /// Where the page cannot be read or written, or has no marks.
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

    /// Writes a file, or compares it.
    ///
    /// # Errors
    ///
    /// Where it cannot be written, or differs.
    pub(crate) fn file(&self, path: &str, text: &str) -> io::Result<()> {
        let full = rooted(path);
        if self.is_check {
            let is_same = fs::read_to_string(full).is_ok_and(|there| there == text);
            let stale = || io::Error::other(format!("{path} is not what the bench gives"));
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

//! The secrets of `sidekey dev`: a file's, or the examples.

use anyhow::Context;
use fake_aws::{Format, Seed};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What a file of secrets looks like, for whoever gets it wrong.
const EXAMPLE: &str = r#"{"openai-api-key/whatsapp": {"ai_api_key": "sk-..."}, "plain": "text"}"#;

/// The secrets, and where they come from.
#[derive(Debug)]
pub(super) struct Secrets {
    seed: Seed,
    file: Option<File>,
}

#[derive(Debug)]
struct File {
    path: PathBuf,
    format: Format,
    /// Time of its last change and size, when it was read.
    seen: Option<(SystemTime, u64)>,
}

impl Secrets {
    /// Reads the file, or takes the examples where there is none.
    pub(super) fn load(path: Option<PathBuf>) -> anyhow::Result<Self> {
        let Some(path) = path else {
            return Ok(Self { seed: Seed::built_in(), file: None });
        };
        let format = Format::of(&path).with_context(|| {
            format!("{}: a name ending in .json or .toml expected", path.display())
        })?;
        let seen = stamp(&path);
        let seed = read(&path, format)?;
        Ok(Self { seed, file: Some(File { path, format, seen }) })
    }

    pub(super) fn seed(&self) -> &Seed {
        &self.seed
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.seed.iter().map(|(name, _)| name)
    }

    pub(super) fn len(&self) -> usize {
        self.seed.len()
    }

    /// Reads the file again where it has changed, and returns whether it has. One that cannot be
    /// read leaves the secrets as they were.
    pub(super) fn reload(&mut self) -> anyhow::Result<bool> {
        let Some(file) = &mut self.file else { return Ok(false) };
        let seen = stamp(&file.path);
        if seen.is_none() || seen == file.seen {
            return Ok(false);
        }
        file.seen = seen;
        self.seed = read(&file.path, file.format)?;
        Ok(true)
    }
}

fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

fn read(path: &Path, format: Format) -> anyhow::Result<Seed> {
    let text = fs::read_to_string(path).with_context(|| {
        format!("{} cannot be read; it may look like {EXAMPLE}", path.display())
    })?;
    Seed::parse(format, &text).with_context(|| path.display().to_string())
}

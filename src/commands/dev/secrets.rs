//! The secrets that `sidekey dev` serves: from a file, or the built-in examples.

use anyhow::Context;
use fake_aws::{Format, Seed};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// An example of a secrets file for `sidekey dev`. Error messages about a malformed secrets file
/// show this example.
const EXAMPLE: &str = r#"{"openai-api-key/whatsapp": {"ai_api_key": "sk-..."}, "plain": "text"}"#;

/// The characters of a secret's name that are percent-encoded in a URL query. Characters that are
/// frequent in names, such as `/`, are not encoded, so that the URL stays readable.
const QUERY_ENCODED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.');

/// The current secrets of `sidekey dev`, and the file that contains them.
#[derive(Debug)]
pub(super) struct Secrets {
    seed: Seed,
    file: Option<File>,
}

#[derive(Debug)]
struct File {
    path: PathBuf,
    format: Format,
    /// The modification time and the size of the secrets file when `sidekey dev` last read the
    /// file.
    stamp: Option<(SystemTime, u64)>,
}

impl Secrets {
    /// Reads the secrets file at `path`. Without a path, returns the built-in example secrets.
    pub(super) fn load(path: Option<PathBuf>) -> anyhow::Result<Self> {
        let Some(path) = path else {
            return Ok(Self { seed: Seed::built_in(), file: None });
        };
        let format = Format::of(&path).with_context(|| {
            format!("{}: use a file name that ends in .json or .toml", path.display())
        })?;
        // The modification time is taken before the file is read. So a change during the read is
        // noticed at the next check.
        let stamp = stamp_of(&path);
        let seed = read(&path, format)?;
        Ok(Self { seed, file: Some(File { path, format, stamp }) })
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

    /// Reads the secrets file again if the file has changed, and returns whether it has changed. If
    /// the file cannot be read, the current secrets stay unchanged.
    pub(super) fn reload(&mut self) -> anyhow::Result<bool> {
        let Some(file) = &mut self.file else { return Ok(false) };
        let stamp = stamp_of(&file.path);
        if stamp.is_none() || stamp == file.stamp {
            return Ok(false);
        }
        file.stamp = stamp;
        self.seed = read(&file.path, file.format)?;
        Ok(true)
    }
}

/// Returns the modification time and the size of a file. Returns `None` if the file is missing.
fn stamp_of(path: &Path) -> Option<(SystemTime, u64)> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

fn read(path: &Path, format: Format) -> anyhow::Result<Seed> {
    let text = fs::read_to_string(path).map_err(|error| {
        anyhow::anyhow!("could not read {}: {error}; an example: {EXAMPLE}", path.display())
    })?;
    Seed::parse(format, &text).with_context(|| path.display().to_string())
}

/// Returns the URL path for reading the secret `name` from the agent. The path has the form that
/// AWS's Lambda extension uses.
pub(super) fn path_of(name: &str) -> String {
    format!("/secretsmanager/get?secretId={}", utf8_percent_encode(name, QUERY_ENCODED))
}

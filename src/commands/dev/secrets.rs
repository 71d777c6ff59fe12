//! The secrets that the command `sidekey dev` serves: from a file of the user, or the built-in
//! examples.

use anyhow::Context;
use fake_aws::{Format, Seed};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// An example of a secrets file, which error messages quote.
const EXAMPLE: &str = r#"{"openai-api-key/whatsapp": {"ai_api_key": "sk-..."}, "plain": "text"}"#;

/// The characters that are percent-encoded in the query of a URL. Some characters that names of
/// secrets often contain, such as `/`, are not encoded to keep the URL readable.
const QUERY_ENCODED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.');

/// The secrets that `sidekey dev` serves, and the file from which they were read, if any.
#[derive(Debug)]
pub(super) struct Secrets {
    seed: Seed,
    file: Option<File>,
}

#[derive(Debug)]
struct File {
    path: PathBuf,
    format: Format,
    /// The modification time and the size of the secrets file when the agent last read it.
    stamp: Option<(SystemTime, u64)>,
}

impl Secrets {
    /// Reads secrets from the file at `path`. If `path` is `None`, returns the built-in example
    /// secrets.
    pub(super) fn load(path: Option<PathBuf>) -> anyhow::Result<Self> {
        let Some(path) = path else {
            return Ok(Self { seed: Seed::built_in(), file: None });
        };
        let format = Format::of(&path).with_context(|| {
            format!(
                "the file name {} has an unknown ending: use a name that ends in `.json` or \
                 `.toml`",
                path.display()
            )
        })?;
        // The modification time is read before the file. If the file changes while it is read, the
        // next check therefore still notices the change.
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

    /// Reads the secrets file again if it has changed. Returns whether the secrets were replaced.
    ///
    /// If the function cannot read or parse the file, the secrets stay the same.
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

/// Returns the modification time and the size of a file, or `None` if they cannot be read.
fn stamp_of(path: &Path) -> Option<(SystemTime, u64)> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

fn read(path: &Path, format: Format) -> anyhow::Result<Seed> {
    let text = fs::read_to_string(path).map_err(|error| {
        anyhow::anyhow!(
            "Sidekey could not read the file {}: {error}; a secrets file looks like this: \
             {EXAMPLE}",
            path.display()
        )
    })?;
    Seed::parse(format, &text).with_context(|| path.display().to_string())
}

/// Returns the URL path for a read of the secret `name` from the agent. AWS's Lambda extension for
/// secrets uses the same form.
pub(super) fn path_of(name: &str) -> String {
    format!("/secretsmanager/get?secretId={}", utf8_percent_encode(name, QUERY_ENCODED))
}

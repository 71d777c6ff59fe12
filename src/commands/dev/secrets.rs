//! The secrets and parameters that the command `sidekey dev` serves: from a file of the user, or the
//! built-in examples.

use anyhow::Context;
use fake_aws::{Format, Seed};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// An example of a secrets file, which error messages quote.
const EXAMPLE: &str = r#"{"openai-api-key/whatsapp": {"ai_api_key": "sk-..."}, "plain": "text"}"#;

/// The characters that are percent-encoded if a URL contains a secret's name. Some characters that
/// are valid in a query, such as `/`, are not encoded, so that the URL stays readable.
const QUERY_ENCODED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.');

/// The secrets that `sidekey dev` serves, and the user's file from which the secrets come. There is
/// no file if the secrets are the built-in examples.
#[derive(Debug)]
pub(super) struct Secrets {
    seed: Seed,
    file: Option<File>,
}

#[derive(Debug)]
struct File {
    path: PathBuf,
    format: Format,
    /// The modification time of the secrets file, and its size in bytes, at the last read. If they
    /// differ later, the file has changed.
    stamp: Option<(SystemTime, u64)>,
}

impl Secrets {
    /// Reads the secrets of the user's file. Returns the built-in example secrets if `path` is
    /// `None`.
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

    /// Returns the names of all secrets, and then the names of all parameters, such as
    /// `ssm:/app/url`.
    pub(super) fn names(&self) -> impl Iterator<Item = Cow<'_, str>> {
        let secrets = self.seed.iter().map(|(name, _)| Cow::Borrowed(name));
        secrets.chain(self.seed.parameter_names().map(Cow::Owned))
    }

    /// Returns how many secrets and parameters there are, as text for users, such as
    /// `6 secrets, 1 parameter`.
    pub(super) fn count(&self) -> String {
        let parameters = match self.seed.parameter_names().count() {
            0 => String::new(),
            1 => ", 1 parameter".to_owned(),
            count => format!(", {count} parameters"),
        };
        format!("{} secrets{parameters}", self.seed.len())
    }

    /// Reads the secrets file again if the file has changed. Returns `true` if the file was read.
    ///
    /// If reading or parsing the file fails, the old secrets stay.
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

/// Returns the URL path for reading the secret `name` from the agent. AWS's Lambda extension for
/// secrets uses the same path, so programs for that extension also work with Sidekey.
pub(super) fn path_of(name: &str) -> String {
    format!("/secretsmanager/get?secretId={}", utf8_percent_encode(name, QUERY_ENCODED))
}

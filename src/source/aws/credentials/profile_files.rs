//! Detects changes of the AWS profile files, such as `~/.aws/credentials`.

use super::settings::environment_credentials;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The environment variables with the paths of the AWS profile files, and the default paths below
/// the home folder.
const FILES: [(&str, &str); 2] =
    [("AWS_CONFIG_FILE", ".aws/config"), ("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials")];

/// The AWS profile files, such as `~/.aws/credentials`, and the state of each file when this value
/// was made.
#[derive(Debug)]
pub(in super::super) struct ProfileFiles(Vec<(PathBuf, Option<FileState>)>);

#[derive(Debug, PartialEq, Eq)]
struct FileState {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl ProfileFiles {
    /// Returns the profile files of credentials that come from no profile: an empty list.
    pub(in super::super) fn none() -> Self {
        Self(Vec::new())
    }

    /// Reads the state of the AWS profile files. Ignores the files if environment variables contain
    /// the credentials, because changes of the files then have no effect.
    pub(super) fn of(environment: &BTreeMap<String, String>) -> Self {
        let home = environment.get("HOME").map(String::as_str).unwrap_or_default();
        let with_state = |(variable, default)| {
            let configured = environment.get(variable).map(String::as_str);
            let path = path(configured, default, Path::new(home));
            let state = state(&path);
            (path, state)
        };
        match environment_credentials(environment) {
            Some(_) => Self::none(),
            None => Self(FILES.map(with_state).into()),
        }
    }

    /// Returns whether an AWS profile file was changed, replaced, created or deleted since its
    /// state was read.
    pub(in super::super) fn have_changed(&self) -> bool {
        self.0.iter().any(|(path, earlier)| state(path) != *earlier)
    }
}

fn path(configured: Option<&str>, default: &str, home: &Path) -> PathBuf {
    match configured {
        None => home.join(default),
        Some(path) => match path.strip_prefix("~/") {
            Some(below_home) => home.join(below_home),
            None => path.into(),
        },
    }
}

fn state(path: &Path) -> Option<FileState> {
    let data = fs::metadata(path).ok()?;
    Some(FileState {
        device: data.dev(),
        inode: data.ino(),
        size: data.len(),
        modified: (data.mtime(), data.mtime_nsec()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_of_a_file_is_that_of_the_sdk() {
        for (configured, expected) in [
            (None, "/home/ann/.aws/config"),
            (Some("~/other"), "/home/ann/other"),
            (Some("/etc/aws"), "/etc/aws"),
        ] {
            let found = path(configured, ".aws/config", Path::new("/home/ann"));
            assert_eq!(found, Path::new(expected), "{configured:?}");
        }
    }
}

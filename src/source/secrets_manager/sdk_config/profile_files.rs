//! Detects changes of the files with AWS profiles.

use super::settings::{Settings, environment_credentials};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The environment variables with the paths of the files with AWS profiles, and the default paths
/// below the home folder.
const FILES: [(&str, &str); 2] =
    [("AWS_CONFIG_FILE", ".aws/config"), ("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials")];

/// The state of the files with AWS profiles. If two states differ, a file was changed, replaced,
/// created or deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct ProfileFiles([Option<FileState>; FILES.len()]);

#[derive(Clone, Debug, PartialEq, Eq)]
struct FileState {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

/// Returns the state of the files from which the AWS SDK reads profiles. If the credentials come
/// from environment variables, ignores the files, so that their changes have no effect.
pub(in super::super) fn profile_files(settings: &Settings) -> ProfileFiles {
    ProfileFiles(match environment_credentials(&settings.environment) {
        Some(_) => [None, None],
        None => FILES.map(|(variable, default)| {
            let home = settings.environment.get("HOME").map(String::as_str).unwrap_or_default();
            let configured = settings.environment.get(variable).map(String::as_str);
            state(&path(configured, default, Path::new(home)))
        }),
    })
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

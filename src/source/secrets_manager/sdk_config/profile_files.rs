//! Detects changes of the AWS profile files, such as `~/.aws/credentials`.

use super::settings::environment_credentials;
use crate::clock::Moment;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

/// The environment variables with the paths of the AWS profile files, and the default paths below
/// the home folder.
const FILES: [(&str, &str); 2] =
    [("AWS_CONFIG_FILE", ".aws/config"), ("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials")];

/// The minimum time between two checks of the AWS profile files. A check blocks the thread of the
/// agent, and a file system in the network may be slow.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// The files from which the AWS SDK reads profiles, such as `~/.aws/credentials`, and their state
/// at an earlier time.
#[derive(Debug)]
pub(in super::super) struct ProfileFiles {
    files: Vec<(PathBuf, Option<FileState>)>,
    /// When the files were last found unchanged.
    checked: Mutex<Option<Moment>>,
}

#[derive(Debug, PartialEq, Eq)]
struct FileState {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl ProfileFiles {
    /// Reads the state of the AWS profile files. If the credentials come from environment
    /// variables, ignores the files, so that their changes have no effect.
    pub(super) fn of(environment: &BTreeMap<String, String>) -> Self {
        let home = environment.get("HOME").map(String::as_str).unwrap_or_default();
        let with_state = |(variable, default)| {
            let configured = environment.get(variable).map(String::as_str);
            let path = path(configured, default, Path::new(home));
            let state = state(&path);
            (path, state)
        };
        let files = match environment_credentials(environment) {
            Some(_) => Vec::new(),
            None => FILES.map(with_state).into(),
        };
        Self { files, checked: Mutex::new(None) }
    }

    /// Returns whether a file was changed, replaced, created or deleted since its state was read.
    /// If the files were found unchanged less than [`CHECK_INTERVAL`] ago, returns `false` without
    /// another check.
    pub(in super::super) fn have_changed(&self, now: Moment) -> bool {
        let mut checked = self.checked.lock().expect("no thread panics while it holds the lock");
        let age = checked.and_then(|checked| now.since(checked));
        if age.is_some_and(|age| age < CHECK_INTERVAL) {
            return false;
        }
        let have_changed = self.files.iter().any(|(path, earlier)| state(path) != *earlier);
        if !have_changed {
            *checked = Some(now);
        }
        have_changed
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
    use std::time::UNIX_EPOCH;

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

    #[test]
    fn files_are_checked_at_most_once_per_second() {
        let name = format!("sidekey-profile-{}", std::process::id());
        let file = std::env::temp_dir().join(name);
        fs::write(&file, "old").expect("the test must be able to write its file");
        let variable = |name: &str| (name.to_owned(), file.display().to_string());
        let files = ProfileFiles::of(&FILES.map(|(name, _)| variable(name)).into());
        let after = |millis| Moment {
            wall: UNIX_EPOCH + Duration::from_millis(millis),
            steady: Duration::from_millis(millis),
        };
        assert!(!files.have_changed(after(0)), "the file has not changed");
        fs::write(&file, "newer").expect("the test must be able to write its file");
        assert!(!files.have_changed(after(999)), "the file must not be checked again so soon");
        for millis in [1000, 1001] {
            assert!(files.have_changed(after(millis)), "after {millis} ms");
        }
        fs::remove_file(&file).expect("the test must be able to remove its file");
    }
}

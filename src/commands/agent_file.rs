//! Files in which a running agent stores data for other commands of the same user: the token for
//! requests to the agent, and the URL of the fake Secrets Manager of `sidekey dev`.

use crate::config::vars::{Environment, Vars};
use crate::tokens::Token;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

const TOKEN_BYTES: usize = 32;

/// The content of a file that an agent writes for other commands of the same user.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Token,
    /// The URL of the fake Secrets Manager that `sidekey dev` runs.
    FakeEndpoint,
}

/// A file that a running agent writes for other commands of the same user, for example with its
/// token. Dropping the value removes the file.
///
/// The agent locks the file. The operating system releases the lock when the process ends, even
/// after SIGKILL. So if the file is not locked, its agent has ended, and readers ignore the file.
#[derive(Debug)]
pub(super) struct AgentFile {
    pub(super) path: PathBuf,
    file: File,
}

impl AgentFile {
    /// Writes `text` into a file for other commands of the same user. `port` is the agent's port.
    ///
    /// The file has mode 0600, in a folder of mode 0700. The file name contains the port, so that
    /// each agent of the user has its own file.
    ///
    /// # Errors
    ///
    /// Fails if neither `XDG_RUNTIME_DIR` nor `HOME` is set, or if the file cannot be written.
    pub(super) fn write(vars: &dyn Vars, kind: Kind, port: u16, text: &str) -> io::Result<Self> {
        let folder = folder(vars).ok_or_else(|| {
            io::Error::other(
                "the agent has no folder for its files: neither XDG_RUNTIME_DIR nor HOME is set",
            )
        })?;
        Self::write_in(&folder, kind, port, text)
    }

    fn write_in(folder: &Path, kind: Kind, port: u16, text: &str) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let path = folder.join(name(kind, port));
        // Replaces an old file instead of overwriting it. So the permissions apply from the start,
        // and a process that still has the old file open cannot read the new token.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(text.as_bytes())?;
        // A reader believes the file only from now on, when its content is complete.
        file.lock()?;
        Ok(Self { path, file })
    }

    fn is_in_place(&self) -> io::Result<bool> {
        let (own, found) = (self.file.metadata()?, fs::metadata(&self.path)?);
        Ok((own.dev(), own.ino()) == (found.dev(), found.ino()))
    }
}

impl Drop for AgentFile {
    fn drop(&mut self) {
        // The next agent at the same port may have replaced the file already.
        if self.is_in_place().unwrap_or(false) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

pub(super) fn random_token() -> io::Result<String> {
    let mut bytes = [0_u8; TOKEN_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Reads the token that the agent at `port` generated and wrote to a file. Returns `None` if no
/// running agent of this user wrote such a file.
pub(super) fn token(port: u16) -> Option<Token> {
    Token::new(read(Kind::Token, port)?).ok()
}

/// Returns the URL of the fake Secrets Manager that a running `sidekey dev` provides. `port` is the
/// port of the agent that this command runs. Returns `None` if no `sidekey dev` of this user uses
/// the port.
pub(super) fn fake_endpoint(port: u16) -> Option<String> {
    read(Kind::FakeEndpoint, port)
}

fn read(kind: Kind, port: u16) -> Option<String> {
    read_in(&folder(&Environment)?, kind, port)
}

fn read_in(folder: &Path, kind: Kind, port: u16) -> Option<String> {
    let mut file = File::open(folder.join(name(kind, port))).ok()?;
    // A lock that this process can get means that no agent holds the lock: the agent has ended. An
    // error also means that a file system has no locks. The file then counts as current.
    if file.try_lock_shared().is_ok() {
        return None;
    }
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    Some(text)
}

fn name(kind: Kind, port: u16) -> String {
    match kind {
        Kind::Token => format!("token-{port}"),
        Kind::FakeEndpoint => format!("dev-{port}"),
    }
}

/// Returns the folder in which an agent stores its token file and similar files:
/// `$XDG_RUNTIME_DIR/sidekey`, or `$HOME/.sidekey` if `XDG_RUNTIME_DIR` is not set.
fn folder(vars: &dyn Vars) -> Option<PathBuf> {
    if let Some(runtime) = vars.get("XDG_RUNTIME_DIR").filter(|path| !path.is_empty()) {
        return Some(PathBuf::from(runtime).join("sidekey"));
    }
    let home = vars.get("HOME").filter(|path| !path.is_empty())?;
    Some(PathBuf::from(home).join(".sidekey"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the path of a temporary folder for one test. The path contains the process id, so
    /// that two test runs at the same time do not share the folder.
    fn test_folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("sidekey-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        folder
    }

    #[test]
    fn only_the_file_of_a_running_agent_is_read() {
        let folder = test_folder("agent-file");
        let write = |text| AgentFile::write_in(&folder, Kind::Token, 2773, text);
        let read = || read_in(&folder, Kind::Token, 2773);
        assert_eq!(read(), None, "there is no file yet");
        let first = write("one").expect("the folder is writable");
        assert_eq!(read().as_deref(), Some("one"));
        assert_eq!(read_in(&folder, Kind::FakeEndpoint, 2773), None);
        assert_eq!(read_in(&folder, Kind::Token, 2774), None);

        let second = write("two").expect("a second agent must be able to replace the token file");
        drop(first);
        assert_eq!(
            read().as_deref(),
            Some("two"),
            "the first agent must not remove the token file of the second agent"
        );
        drop(second);
        assert!(
            !folder.join("token-2773").exists(),
            "an agent that stops must remove its own token file"
        );

        fs::write(folder.join("token-2773"), "left behind").expect("the folder is writable");
        assert_eq!(
            read(),
            None,
            "a token file without a lock must be ignored, because its agent has ended"
        );
        fs::remove_dir_all(&folder).expect("the test owns the folder");
    }
}

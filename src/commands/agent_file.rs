//! Files with which a running agent helps other commands of the same user to find it: the token
//! that the agent generated, and the address of the fake Secrets Manager of `sidekey dev`.

use crate::config::vars::{Environment, Vars};
use crate::tokens::Token;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The number of random bytes in a token that the agent generates.
const TOKEN_BYTES: usize = 32;

/// What a file of a running agent contains.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// The file contains the token that the agent generated.
    Token,
    /// The file contains the URL of the fake Secrets Manager that `sidekey dev` runs.
    FakeEndpoint,
}

/// A file that tells other commands something about a running agent. Dropping the value removes the
/// file.
///
/// The agent locks the file. The system releases the lock when the process ends, even after
/// SIGKILL. So a reader can tell the file of a running agent from a file that was left behind.
#[derive(Debug)]
pub(super) struct AgentFile {
    pub(super) path: PathBuf,
    file: File,
}

impl AgentFile {
    /// Writes a file about the agent at `port`, with the content `text`.
    ///
    /// The file has mode 0600, in a folder of mode 0700. Its name contains the port, so that each
    /// agent of the user has its own file.
    ///
    /// # Errors
    ///
    /// If no folder for the file is known, or if the file cannot be written.
    pub(super) fn write(vars: &dyn Vars, kind: Kind, port: u16, text: &str) -> io::Result<Self> {
        let folder = folder(vars)
            .ok_or_else(|| io::Error::other("neither XDG_RUNTIME_DIR nor HOME is set"))?;
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

/// Returns a new random token in hexadecimal.
pub(super) fn random_token() -> io::Result<String> {
    let mut bytes = [0_u8; TOKEN_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Returns the token that the agent at `port` generated. Returns `None` if no running agent of this
/// user has written a token for this port.
pub(super) fn token(port: u16) -> Option<Token> {
    Token::new(read(Kind::Token, port)?).ok()
}

/// Returns the URL of the fake Secrets Manager of the `sidekey dev` whose agent listens at `port`.
/// Returns `None` if no `sidekey dev` of this user runs there.
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

/// Returns the folder for the files: `$XDG_RUNTIME_DIR/sidekey`. If this variable is not set,
/// returns `$HOME/.sidekey`.
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

    /// A folder below the system's folder for temporary files. The name contains the process id, so
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

        let second = write("two").expect("a later agent may replace the file");
        drop(first);
        assert_eq!(read().as_deref(), Some("two"), "the first agent must not remove the new file");
        drop(second);
        assert!(!folder.join("token-2773").exists(), "the last agent must remove its own file");

        fs::write(folder.join("token-2773"), "left behind").expect("the folder is writable");
        assert_eq!(read(), None, "no process has locked this file, so its agent has ended");
        fs::remove_dir_all(&folder).expect("the test owns the folder");
    }
}

//! Files in which a running agent stores data for other commands of the same user: the token for
//! requests to the agent, and the URL of the fake Secrets Manager of `sidekey dev`.

use crate::config::vars::{Environment, Vars};
use crate::tokens::Token;
use rustix::io::Errno;
use rustix::process::geteuid;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

const TOKEN_BYTES: usize = 32;

/// The timeout for a connection to an agent on the same machine. The connection only shows whether
/// the agent runs.
const CONNECT_WAIT_MAX: Duration = Duration::from_millis(500);

/// The bits of a file's mode that give access to the file's group and to other users.
const ACCESS_OF_OTHERS: u32 = 0o077;

/// The bit of a folder's mode that lets other users create and replace files in the folder.
const WRITE_OF_OTHERS: u32 = 0o002;

/// What a file of a running agent contains: the agent's token, or the URL of the fake Secrets
/// Manager of `sidekey dev`.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Token,
    FakeEndpoint,
}

/// A file that a running agent writes for other commands of the same user, for example with the
/// agent's token. Dropping the value removes the file.
///
/// The agent locks the file while it runs, so that other commands can ignore the file of an agent
/// that has ended.
#[derive(Debug)]
pub(super) struct AgentFile {
    pub(super) path: PathBuf,
    file: File,
}

impl AgentFile {
    /// Writes `text` to a file that only the current user can read. The name of the file contains
    /// the agent's port, so that each agent has its own file.
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
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        // If a later step fails, dropping the value removes the file.
        let mut written = Self { path, file };
        written.file.write_all(text.as_bytes())?;
        // The lock comes last: other commands trust a file only if it is locked, and its content is
        // complete now.
        match written.file.lock() {
            Err(error) if !is_unsupported(&error) => Err(error),
            _ => Ok(written),
        }
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

/// Returns the token that the agent at `port` generated and wrote to a file. Returns `None` if no
/// running agent of this user wrote such a file.
pub(super) fn token(port: u16) -> Option<Token> {
    Token::new(read(Kind::Token, port)?).ok()
}

/// Returns the URL of the fake Secrets Manager of a running `sidekey dev`, whose agent listens at
/// `port`. Returns `None` if no `sidekey dev` of this user listens there.
pub(super) fn fake_endpoint(port: u16) -> Option<String> {
    read(Kind::FakeEndpoint, port)
}

fn read(kind: Kind, port: u16) -> Option<String> {
    read_in(&folder(&Environment)?, kind, port)
}

fn read_in(folder: &Path, kind: Kind, port: u16) -> Option<String> {
    let mut file = File::open(folder.join(name(kind, port))).ok()?;
    if !is_trusted(&fs::metadata(folder).ok()?, &file.metadata().ok()?) {
        return None;
    }
    let lock = Lock::of(&file.try_lock_shared());
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    lock.is_agent_running(|| is_listening(agent_address(kind, port, &text))).then_some(text)
}

/// Returns whether the file of an agent can be trusted: only the user of this process and root can
/// read the file, and only they can have written the file.
fn is_trusted(folder: &Metadata, file: &Metadata) -> bool {
    let own = geteuid().as_raw();
    file.is_file()
        && (file.uid(), folder.uid()) == (own, own)
        && file.mode() & ACCESS_OF_OTHERS == 0
        && folder.mode() & WRITE_OF_OTHERS == 0
}

/// Whether an agent has locked the file that it wrote. A locked file means that the agent still
/// runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lock {
    Held,
    Free,
    /// The file system supports no locks.
    Unsupported,
}

impl Lock {
    /// Returns the state of the lock on an agent's file. `attempt` is the result of trying to lock
    /// the file.
    fn of(attempt: &Result<(), TryLockError>) -> Self {
        match attempt {
            Err(TryLockError::WouldBlock) => Self::Held,
            Err(TryLockError::Error(error)) if is_unsupported(error) => Self::Unsupported,
            Ok(()) | Err(TryLockError::Error(_)) => Self::Free,
        }
    }

    fn is_agent_running(self, is_listening: impl FnOnce() -> bool) -> bool {
        match self {
            Self::Held => true,
            Self::Free => false,
            Self::Unsupported => is_listening(),
        }
    }
}

/// Returns whether locking a file failed because the file system supports no locks, for example a
/// network file system.
fn is_unsupported(error: &io::Error) -> bool {
    let codes = [Errno::NOLCK, Errno::NOSYS, Errno::OPNOTSUPP, Errno::INVAL];
    error.kind() == io::ErrorKind::Unsupported
        || codes.iter().any(|code| error.raw_os_error() == Some(code.raw_os_error()))
}

/// Returns the address at which the writer of a file listens: the agent at `port` for a token file,
/// and otherwise the fake Secrets Manager, whose URL is `text`, the content of the file.
fn agent_address(kind: Kind, port: u16, text: &str) -> Option<SocketAddr> {
    match kind {
        Kind::Token => Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
        Kind::FakeEndpoint => text.strip_prefix("http://")?.trim_end_matches('/').parse().ok(),
    }
}

fn is_listening(address: Option<SocketAddr>) -> bool {
    address.is_some_and(|address| TcpStream::connect_timeout(&address, CONNECT_WAIT_MAX).is_ok())
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
    use std::fs::Permissions;
    use std::net::TcpListener;
    use std::os::unix::fs::PermissionsExt;

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
        assert_eq!(read(), None, "no token must be found before an agent writes one");
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

    #[test]
    fn file_that_another_user_could_have_written_or_read_is_ignored() {
        let folder = test_folder("trusted-file");
        let written =
            AgentFile::write_in(&folder, Kind::Token, 2773, "one").expect("the folder is writable");
        let read = || read_in(&folder, Kind::Token, 2773);
        let set_mode = |path: &Path, mode| {
            fs::set_permissions(path, Permissions::from_mode(mode))
                .expect("the test owns the path");
        };
        for (file, inside, is_read) in [
            (0o600, 0o700, true),
            (0o400, 0o755, true),
            (0o640, 0o700, false),
            (0o604, 0o700, false),
            (0o600, 0o777, false),
            (0o600, 0o1777, false),
        ] {
            set_mode(&written.path, file);
            set_mode(&folder, inside);
            assert_eq!(read().is_some(), is_read, "file mode {file:o}, folder mode {inside:o}");
        }
        drop(written);
        fs::remove_dir_all(&folder).expect("the test owns the folder");
    }

    #[test]
    fn only_a_lock_that_another_process_holds_counts_as_held() {
        let error = |code: Errno| Err(TryLockError::Error(code.into()));
        assert_eq!(Lock::of(&Err(TryLockError::WouldBlock)), Lock::Held);
        assert_eq!(Lock::of(&Ok(())), Lock::Free);
        assert_eq!(Lock::of(&error(Errno::IO)), Lock::Free);
        for code in [Errno::NOLCK, Errno::NOSYS, Errno::OPNOTSUPP] {
            assert_eq!(Lock::of(&error(code)), Lock::Unsupported, "{code}");
        }
        assert!(
            !is_unsupported(&Errno::IO.into()),
            "an I/O error must not count as missing support for locks"
        );
    }

    #[test]
    fn agent_must_listen_if_the_file_system_has_no_locks() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let address = listener.local_addr().expect("a bound listener must have an address");
        let token = agent_address(Kind::Token, address.port(), "");
        let fake = agent_address(Kind::FakeEndpoint, 2773, &format!("http://{address}"));
        assert_eq!((token, fake), (Some(address), Some(address)));
        assert_eq!(agent_address(Kind::FakeEndpoint, 2773, "text"), None);
        assert!(Lock::Unsupported.is_agent_running(|| is_listening(token)));
        assert!(!Lock::Unsupported.is_agent_running(|| is_listening(None)));
        assert!(Lock::Held.is_agent_running(|| false) && !Lock::Free.is_agent_running(|| true));
    }
}

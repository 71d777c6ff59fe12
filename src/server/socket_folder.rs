//! Checks whether only the agent's own user and root can replace the agent's Unix socket.
//!
//! Any other user who could replace the socket, or a folder above it, would receive the requests of
//! callers with their tokens. So the check covers all folders of the socket's path.

use rustix::process::geteuid;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const ROOT: u32 = 0;

/// The mode bits that let the group and other users read, write or enter a folder.
const ACCESS: u32 = 0o077;

/// The mode bit that lets other users write to a folder. The group's bit is not included, because
/// many systems give each user a group without other members.
const OTHERS_WRITE: u32 = 0o002;

/// The mode bit of a shared folder, such as `/tmp`, that lets only the owner of a file delete or
/// rename the file.
const STICKY: u32 = 0o1000;

/// Why the folder of the Unix socket is unsafe: another user could replace the socket.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadFolder {
    /// Error: other users can read, write or enter the folder of the Unix socket.
    #[error("other users can access the folder {}", .0.display())]
    Accessible(PathBuf),
    /// Error: the folder of the Unix socket, or a folder above it, belongs to a user who could
    /// replace the socket.
    #[error("the folder {} belongs to another user (uid {uid})", folder.display())]
    Foreign { folder: PathBuf, uid: u32 },
    /// Error: other users can write to a folder above the Unix socket, and so replace the folders
    /// in it.
    #[error("other users can write to the folder {}", .0.display())]
    Writable(PathBuf),
}

#[derive(Clone, Copy, Debug)]
struct Access {
    uid: u32,
    mode: u32,
}

/// Checks the folder of the Unix socket, all folders above it, and the symbolic links in its path.
/// The inner result says whether the folders are safe.
///
/// # Errors
///
/// The outer result is an error if the system could not provide the owner and the mode of a folder.
pub(super) fn check(folder: &Path) -> io::Result<Result<(), BadFolder>> {
    let (real, given) = (folder.canonicalize()?, std::path::absolute(folder)?);
    let mut folders = Vec::new();
    for folder in real.ancestors().chain(given.ancestors().skip(1)) {
        let found = folder.metadata()?;
        folders.push((folder, Access { uid: found.uid(), mode: found.mode() }));
    }
    for path in given.ancestors() {
        let found = path.symlink_metadata()?;
        if found.is_symlink() {
            // Every symbolic link has mode 0777, which gives nobody access.
            folders.push((path, Access { uid: found.uid(), mode: 0 }));
        }
    }
    Ok(judge(&folders, geteuid().as_raw()))
}

/// Decides whether the folder of the Unix socket is safe. `folders` contains this folder first, and
/// then each folder above it. `own` is the id of the agent's own user.
fn judge(folders: &[(&Path, Access)], own: u32) -> Result<(), BadFolder> {
    for (above, (path, Access { uid, mode })) in folders.iter().enumerate() {
        let path = || path.to_path_buf();
        let is_socket_folder = above == 0;
        if *uid != own && (is_socket_folder || *uid != ROOT) {
            return Err(BadFolder::Foreign { folder: path(), uid: *uid });
        }
        if is_socket_folder && mode & ACCESS != 0 {
            return Err(BadFolder::Accessible(path()));
        }
        if mode & OTHERS_WRITE != 0 && mode & STICKY == 0 {
            return Err(BadFolder::Writable(path()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: u32 = 1000;
    const OTHER: u32 = 1001;

    /// Checks the result of `judge` for a socket's folder and the folders above it. Each pair is
    /// the id of the folder's owner and the folder's mode. `expected` is the error's text, or empty
    /// if the folder is safe.
    #[track_caller]
    fn check(own: u32, folders: &[(u32, u32)], expected: &str) {
        let paths = ["/a/b", "/a", "/"].map(Path::new);
        let folders: Vec<_> = paths
            .into_iter()
            .zip(folders)
            .map(|(path, (uid, mode))| (path, Access { uid: *uid, mode: 0o040_000 | mode }))
            .collect();
        let error = judge(&folders, own).err().map(|error| error.to_string()).unwrap_or_default();
        assert_eq!(error, expected);
    }

    #[test]
    fn folder_is_safe_if_only_own_user_and_root_can_replace_it() {
        let root = (ROOT, 0o755);
        check(OWN, &[(OWN, 0o700), (OWN, 0o755), root], "");
        check(OWN, &[(OWN, 0o700), (ROOT, 0o1777), root], "");
        check(OWN, &[(OWN, 0o500), (OWN, 0o775), root], "");
        check(ROOT, &[(ROOT, 0o700), (ROOT, 0o755), root], "");
    }

    #[test]
    fn folder_that_another_user_can_replace_is_refused() {
        let root = (ROOT, 0o755);
        let foreign = "the folder /a/b belongs to another user (uid 1001)";
        check(OWN, &[(OTHER, 0o700), root, root], foreign);
        check(ROOT, &[(OTHER, 0o700), root, root], foreign);
        check(OWN, &[(ROOT, 0o700), root, root], "the folder /a/b belongs to another user (uid 0)");
        let above = "the folder /a belongs to another user (uid 1001)";
        check(OWN, &[(OWN, 0o700), (OTHER, 0o755), root], above);
        check(OWN, &[(OWN, 0o700), (OTHER, 0o1777), root], above);
        for mode in [0o701, 0o710, 0o704, 0o770, 0o1777] {
            let accessible = "other users can access the folder /a/b";
            check(OWN, &[(OWN, mode), root, root], accessible);
        }
        for mode in [0o777, 0o757, 0o2777] {
            let writable = "other users can write to the folder /a";
            check(OWN, &[(OWN, 0o700), (ROOT, mode), root], writable);
            check(OWN, &[(OWN, 0o700), (OWN, mode), root], writable);
        }
    }
}

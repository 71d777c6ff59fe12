//! Creates and reads token files. A token file contains a random token, which only the owner of the
//! file can read. The agent creates the file if no token is configured.

use crate::config::vars::{Environment, Vars};
use crate::tokens::Token;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;

/// The number of random bytes in a token that the agent generates.
const TOKEN_BYTES: usize = 32;

/// Returns a new random token in hexadecimal.
pub(super) fn random() -> io::Result<String> {
    let mut bytes = [0_u8; TOKEN_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Creates a random token, and writes it to a file for programs of the same user. `port` is the
/// agent's port. Returns the token and the path of the file.
///
/// The file has mode 0600, in a folder of mode 0700. Its name contains the port, so that each agent
/// of the user has its own file.
///
/// # Errors
///
/// If no folder for the file is known, or if the file cannot be written.
pub(super) fn make(vars: &dyn Vars, port: u16) -> io::Result<(Token, PathBuf)> {
    let folder =
        folder(vars).ok_or_else(|| io::Error::other("neither XDG_RUNTIME_DIR nor HOME is set"))?;
    DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
    let path = folder.join(name(port));
    // Replaces an old token file instead of overwriting it. So the permissions apply from the
    // start, and a process that still has the old file open cannot read the new token.
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let text = random()?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    file.write_all(text.as_bytes())?;
    let token = Token::new(text).map_err(io::Error::other)?;
    Ok((token, path))
}

/// Reads the token of the agent at `port` from the file that the agent wrote. Returns `None` if the
/// file cannot be read.
pub(super) fn find(port: u16) -> Option<Token> {
    let text = fs::read_to_string(folder(&Environment)?.join(name(port))).ok()?;
    Token::new(text).ok()
}

fn name(port: u16) -> String {
    format!("token-{port}")
}

/// Returns the folder for token files: `$XDG_RUNTIME_DIR/sidekey`. If this variable is not set,
/// returns `$HOME/.sidekey`.
fn folder(vars: &dyn Vars) -> Option<PathBuf> {
    if let Some(runtime) = vars.get("XDG_RUNTIME_DIR").filter(|path| !path.is_empty()) {
        return Some(PathBuf::from(runtime).join("sidekey"));
    }
    let home = vars.get("HOME").filter(|path| !path.is_empty())?;
    Some(PathBuf::from(home).join(".sidekey"))
}

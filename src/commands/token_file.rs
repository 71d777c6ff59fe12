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
///
/// # Errors
///
/// If the system's random number generator fails.
pub(super) fn random() -> io::Result<String> {
    let mut bytes = [0_u8; TOKEN_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Writes a random token to the token file of the agent that listens at `port`. Returns the token
/// and the path of the file.
///
/// The file has mode 0600, in a folder of mode 0700. The file's name contains the port, so that two
/// agents of the same user do not share a file.
///
/// # Errors
///
/// If no folder for the file is known, or if the file cannot be written.
pub(super) fn make(vars: &dyn Vars, port: u16) -> io::Result<(Token, PathBuf)> {
    let folder =
        folder(vars).ok_or_else(|| io::Error::other("neither XDG_RUNTIME_DIR nor HOME is set"))?;
    DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
    let path = folder.join(name(port));
    // Recreates the token file, so that the permissions apply from the creation of the file. A
    // process that still has the old file open cannot read the new token.
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

/// Reads the token file that the agent at `port` wrote for the same user. Returns `None` if the
/// file is missing.
pub(super) fn find(port: u16) -> Option<Token> {
    let text = fs::read_to_string(folder(&Environment)?.join(name(port))).ok()?;
    Token::new(text).ok()
}

fn name(port: u16) -> String {
    format!("token-{port}")
}

/// Returns the folder for token files: `$XDG_RUNTIME_DIR/sidekey`, or `$HOME/.sidekey` if the first
/// variable is not set.
fn folder(vars: &dyn Vars) -> Option<PathBuf> {
    if let Some(runtime) = vars.get("XDG_RUNTIME_DIR").filter(|path| !path.is_empty()) {
        return Some(PathBuf::from(runtime).join("sidekey"));
    }
    let home = vars.get("HOME").filter(|path| !path.is_empty())?;
    Some(PathBuf::from(home).join(".sidekey"))
}

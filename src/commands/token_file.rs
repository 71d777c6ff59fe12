//! A random token in a file that only its owner reads, for where none is configured.

use crate::config::vars::{Environment, Vars};
use crate::tokens::Token;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;

/// How many random bytes make a token.
const TOKEN_BYTES: usize = 32;

/// Returns a random token, as text.
///
/// # Errors
///
/// Where the system has no randomness.
pub(super) fn random() -> io::Result<String> {
    let mut bytes = [0_u8; TOKEN_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Writes a random token to a file of mode 0600 in a folder of mode 0700, and returns both. The file
/// is named after the agent's port, so that two agents have one each.
///
/// # Errors
///
/// Where no folder is known or the file cannot be written.
pub(super) fn make(vars: &dyn Vars, port: u16) -> io::Result<(Token, PathBuf)> {
    let folder =
        folder(vars).ok_or_else(|| io::Error::other("neither XDG_RUNTIME_DIR nor HOME is set"))?;
    DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
    let path = folder.join(name(port));
    // An old file goes first: a new one gets its mode at birth, and nobody holds it open.
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

/// Finds the token that the agent with this port has made for its user, where none was configured.
pub(super) fn made(port: u16) -> Option<Token> {
    read(&Environment, port)
}

fn read(vars: &dyn Vars, port: u16) -> Option<Token> {
    let text = fs::read_to_string(folder(vars)?.join(name(port))).ok()?;
    Token::new(text).ok()
}

fn name(port: u16) -> String {
    format!("token-{port}")
}

fn folder(vars: &dyn Vars) -> Option<PathBuf> {
    let set = |name| vars.get(name).filter(|path| !path.is_empty()).map(PathBuf::from);
    let runtime = set("XDG_RUNTIME_DIR").map(|folder| folder.join("sidekey"));
    runtime.or_else(|| set("HOME").map(|folder| folder.join(".sidekey")))
}

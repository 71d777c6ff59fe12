//! The program that this process becomes.

use super::variable::Filled;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// The exit codes of whatever runs another program and cannot, as `env`, `timeout` and `docker run`
/// have them: a program that was started hardly ever ends with one of its own.
pub(super) const NOT_STARTED: u8 = 125;
const NOT_RUNNABLE: u8 = 126;
const NOT_FOUND: u8 = 127;

/// Why this process could not become the program: for a person, and as an exit code.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotRun {
    pub(super) why: String,
    pub(super) code: u8,
}

/// Replaces this process by the program, which keeps its id, its streams, its folder and, but for
/// what is filled, its variables. It returns only where that fails.
pub(super) fn become_program(name: &OsStr, args: &[OsString], filled: Vec<Filled>) -> NotRun {
    let mut program = Command::new(name);
    program.args(args);
    for Filled { name, value } in filled {
        program.env(name, OsStr::from_bytes(value.expose()));
    }
    not_run(name, &program.exec())
}

fn not_run(name: &OsStr, error: &io::Error) -> NotRun {
    let name = name.display();
    let (why, code) = match error.kind() {
        io::ErrorKind::NotFound => {
            (format!("{name} is not there, or what it names as its interpreter"), NOT_FOUND)
        }
        io::ErrorKind::ArgumentListTooLong => (
            format!(
                "{name} cannot be run: its arguments and variables are together more than the \
                 system takes (getconf ARG_MAX); hand over fields instead of whole secrets, or \
                 have the program ask the agent"
            ),
            NOT_RUNNABLE,
        ),
        _ => (format!("{name} cannot be run: {error}"), NOT_RUNNABLE),
    };
    NotRun { why, code }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, part: &str, code: u8) {
        let told = become_program(name.as_ref(), &[], Vec::new());
        assert_eq!(told.code, code);
        assert!(told.why.contains(part), "{}", told.why);
    }

    #[test]
    fn a_program_that_cannot_be_run_is_told_as_shells_do() {
        check("/nonexistent/program", "/nonexistent/program is not there", 127);
        check("/", "/ cannot be run: Permission denied", 126);
        let told = not_run("p".as_ref(), &io::ErrorKind::ArgumentListTooLong.into());
        assert_eq!(told.code, 126);
        assert!(told.why.contains("ARG_MAX"), "{}", told.why);
    }
}

//! Replaces the process of `sidekey exec` by the program that the user wants to run.

use super::variable::FilledVariable;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// The exit code of `sidekey exec` if the program was not started, for example because a secret
/// could not be read.
///
/// The commands `env`, `timeout` and `docker run` use the same exit code for their own failures.
pub(super) const NOT_STARTED: u8 = 125;

/// The exit code of `sidekey exec` if the program exists but cannot be run. Shells use the same
/// code.
const NOT_RUNNABLE: u8 = 126;

/// The exit code of `sidekey exec` if the program does not exist. Shells use the same code.
const NOT_FOUND: u8 = 127;

#[derive(Debug, PartialEq, Eq)]
pub(super) struct ExecError {
    pub(super) reason: String,
    pub(super) code: u8,
}

/// Replaces this process by the program `name`, and adds `variables` to the environment of the
/// program. Returns only if the program could not be run.
pub(super) fn become_program(
    name: &OsStr,
    args: &[OsString],
    variables: Vec<FilledVariable>,
) -> ExecError {
    let mut program = Command::new(name);
    program.args(args);
    for FilledVariable { name, value } in variables {
        program.env(name, OsStr::from_bytes(value.expose()));
    }
    exec_error(name, &program.exec())
}

fn exec_error(name: &OsStr, error: &io::Error) -> ExecError {
    let name = name.display();
    match error.kind() {
        io::ErrorKind::NotFound => ExecError {
            reason: format!(
                "the program {name} was not found; check its path, and if it is a script, also \
                 check the interpreter in its first line"
            ),
            code: NOT_FOUND,
        },
        io::ErrorKind::ArgumentListTooLong => ExecError {
            reason: format!(
                "the program {name} cannot be run: its arguments and variables together are longer \
                 than the system allows (`getconf ARG_MAX` prints the limit); fill variables with \
                 fields of secrets instead of complete secrets, or let the program read its \
                 secrets from the agent over HTTP"
            ),
            code: NOT_RUNNABLE,
        },
        _ => ExecError {
            reason: format!("the program {name} cannot be run: {error}"),
            code: NOT_RUNNABLE,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, part: &str, code: u8) {
        let error = become_program(name.as_ref(), &[], Vec::new());
        assert_eq!(error.code, code);
        assert!(error.reason.contains(part), "{}", error.reason);
    }

    #[test]
    fn failures_have_the_exit_codes_of_shells() {
        check("/nonexistent/program", "/nonexistent/program was not found", 127);
        check("/", "/ cannot be run: Permission denied", 126);
        let error = exec_error("p".as_ref(), &io::ErrorKind::ArgumentListTooLong.into());
        assert_eq!(error.code, 126);
        assert!(error.reason.contains("ARG_MAX"), "{}", error.reason);
    }
}

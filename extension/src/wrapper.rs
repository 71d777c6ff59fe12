//! Fills environment variables with secrets, and then starts the runtime of a Lambda function.
//!
//! Lambda starts the script `/opt/sidekey/exec-wrapper` if a user has set
//! `AWS_LAMBDA_EXEC_WRAPPER` to this path. The script calls Sidekey's program with the argument
//! `exec` and the command that starts the runtime.

use sidekey::config::Host;
use sidekey::config::contact::contact;
use sidekey::config::vars::Environment;
use sidekey::exec;
use std::ffi::OsString;
use std::process::ExitCode;

/// Returns the command from this program's arguments `exec [--] COMMAND [ARGUMENT]…`. Returns
/// `None` for arguments that do not begin with `exec`.
pub(crate) fn command(args: impl IntoIterator<Item = OsString>) -> Option<Vec<OsString>> {
    let mut args = args.into_iter();
    args.next().filter(|first| first == "exec")?;
    let mut command: Vec<OsString> = args.collect();
    if command.first().is_some_and(|first| first == "--") {
        command.remove(0);
    }
    Some(command)
}

pub(crate) async fn run(command: &[OsString]) -> ExitCode {
    let contact = contact(&Environment, Host::Lambda);
    // No token file exists on Lambda. So a missing token is a mistake in the configuration.
    let read_token_file = |_| None;
    exec::run(&Environment, Host::Lambda, contact, read_token_file, command).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(args: &[&str], expected: Option<&[&str]>) {
        let command = command(args.iter().map(OsString::from));
        let owned = |args: &[&str]| args.iter().map(OsString::from).collect::<Vec<_>>();
        assert_eq!(command, expected.map(owned));
    }

    #[test]
    fn only_exec_calls_have_a_command() {
        check(&[], None);
        check(&["serve", "exec"], None);
        check(&["exec"], Some(&[]));
        check(&["exec", "node", "--", "x"], Some(&["node", "--", "x"]));
        check(&["exec", "--", "--", "-x"], Some(&["--", "-x"]));
    }
}

//! The start of a runtime whose variables ask for secrets: `AWS_LAMBDA_EXEC_WRAPPER`.

use sidekey::config::Host;
use sidekey::config::contact::contact;
use sidekey::config::vars::Environment;
use sidekey::handover;
use std::ffi::OsString;
use std::process::ExitCode;

/// Returns the command of `exec [--] COMMAND [ARGUMENT]…`; `None` where this is no such call, and so
/// the extension. Lambda starts extensions without arguments.
pub(crate) fn command(args: impl IntoIterator<Item = OsString>) -> Option<Vec<OsString>> {
    let mut args = args.into_iter();
    args.next().filter(|first| first == "exec")?;
    let mut command: Vec<OsString> = args.collect();
    if command.first().is_some_and(|first| first == "--") {
        command.remove(0);
    }
    Some(command)
}

/// Becomes the command, with its variables filled.
pub(crate) async fn run(command: &[OsString]) -> ExitCode {
    // Where the function has no token, the contact is mistaken.
    let made_token = |_| None;
    let contact = contact(&Environment, Host::Lambda);
    handover::run(&Environment, Host::Lambda, contact, made_token, command).await
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
    fn only_exec_is_no_extension() {
        check(&[], None);
        check(&["serve", "exec"], None);
        check(&["exec"], Some(&[]));
        check(&["exec", "node", "--", "x"], Some(&["node", "--", "x"]));
        check(&["exec", "--", "--", "-x"], Some(&["--", "-x"]));
    }
}

//! Tests that the programs and commands in `README.md` work as written.

use crate::clients::{MissingTool, killed_with_test};
use crate::support::agent::{Setup, TOKEN};
use crate::support::clock::ManualClock;
use crate::support::fake;
use crate::support::finished::Finished;
use crate::support::program::{Program, SIDEKEY};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

const PAGE: &str = include_str!("../../README.md");

/// Returns the first code block after `heading` in `README.md`.
fn block_after(heading: &str) -> &'static str {
    let (_, rest) = PAGE.split_once(heading).expect("README.md must contain the heading");
    let (_, fenced) =
        rest.split_once("\n```").expect("a code block must follow the heading in README.md");
    let (_, code) =
        fenced.split_once('\n').expect("the first line of a code block must end with a newline");
    code.split_once("\n```").expect("every code block must have an end").0
}

/// Runs the program after `heading` in `README.md`, with `calls` after it. The program must print a
/// secret value, and then the agent's error for a missing secret.
async fn check_program(tool: &str, heading: &str, calls: &str) {
    if let Err(error) = Command::new(tool).arg("--version").output() {
        return MissingTool::new(format_args!("{tool}: {error}")).skip_or_fail();
    }
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    fake.secrets()
        .create("app/user", r#"{"name": "maria"}"#)
        .expect("no other secret may have this name");
    let sidekey = Setup::for_fake(&fake, &clock).start().await;
    let program = format!("{}\n{calls}\n", block_after(heading));
    let program = program.replace("127.0.0.1:2773", &sidekey.address.to_string());
    let vars = BTreeMap::from([("AWS_SESSION_TOKEN".to_owned(), TOKEN.to_owned())]);
    let mut command = killed_with_test(tool);
    command.arg(if tool == "node" { "-e" } else { "-c" }).arg(program);
    let finished = Finished::run(command, &vars, b"").await;
    let out = String::from_utf8_lossy(&finished.out);
    let (value, error) = out.trim().split_once('\n').unwrap_or_default();
    assert_eq!(value.trim(), "maria", "{out}{}", finished.err);
    assert!(
        error.contains("app/none: 400") && error.contains("ResourceNotFoundException"),
        "{out}"
    );
}

#[tokio::test]
async fn python_program_reads_a_secret_and_shows_errors() {
    let calls = "print(credential('app/user', 'name'))\n\
                 try:\n    credential('app/none', 'name')\nexcept RuntimeError as error:\n    print(error)";
    check_program("python3", "**Python**", calls).await;
}

#[tokio::test]
async fn node_program_reads_a_secret_and_shows_errors() {
    let calls = "credential('app/user', 'name').then(console.log)\n\
                 .then(() => credential('app/none', 'name'))\n\
                 .catch((error) => console.log(error.message));";
    check_program("node", "**Node**", calls).await;
}

/// Runs the command that starts the agent beside a container, but with a free port and with
/// credentials of this test.
#[tokio::test]
async fn serve_command_starts_the_agent() {
    let block = block_after("**As a sidecar container**");
    let serve = block.lines().find(|line| line.contains("sidekey serve")).expect("it is there");
    let folder = Path::new(SIDEKEY).parent().expect("the binary must be in a folder").display();
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    let setup = Setup::for_fake(&fake, &clock).without("SIDEKEY_REGION");
    let mut command = killed_with_test("sh");
    command.args(["-c", &format!("PATH={folder}:$PATH exec env {serve}")]);
    let program = Program::run(command, setup.vars());
    assert_ne!(program.address().await.port(), 0);
}

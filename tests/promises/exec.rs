//! Tests of `sidekey exec`, which runs a program with secrets in environment variables. Everything
//! else is as if the program had been started directly.

use crate::clients::killed_with_test;
use crate::port::Port;
use crate::support::agent::{Setup, Sidekey, TOKEN};
use crate::support::clock::ManualClock;
use crate::support::gateway::CannedUpstream;
use crate::support::program::{Program, SIDEKEY};
use crate::support::{TempFolder, eventually, fake};
use fake_aws::Fake;
use fake_aws::Operation::GetSecretValue;
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::Duration;

type Vars = BTreeMap<String, String>;

/// Starts a fake AWS server with several secrets, and an agent that calls this server.
async fn agent() -> (Fake, Sidekey) {
    let clock = ManualClock::new();
    let fake = start_fake(&clock).await;
    let sidekey = Setup::for_fake(&fake, &clock).start().await;
    (fake, sidekey)
}

async fn start_fake(clock: &Arc<ManualClock>) -> Fake {
    let fake = fake(clock).await;
    let secrets = fake.secrets();
    for (name, value) in [
        ("app/db", "hunter2 = 'two'"),
        ("app/json", r#"{"user": "joan \"a\"", "port": 5432, "nul": "\u0000"}"#),
        ("app/null", r#"{"user": null}"#),
        ("app/other", "hunter4"),
        ("other/db", "hunter5"),
    ] {
        secrets.create(name, value).expect("the fake AWS server must create the secret");
    }
    secrets
        .create("app/binary", b"hunter3".to_vec())
        .expect("the fake AWS server must create the secret");
    fake
}

fn vars(pairs: &[(&str, &str)]) -> Vars {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Returns the environment variables of a program that calls the agent `sidekey`, together with the
/// variables `pairs`.
fn vars_for(sidekey: &Sidekey, pairs: &[(&str, &str)]) -> Vars {
    let mut vars = vars(pairs);
    vars.insert("SIDEKEY_PORT".to_owned(), sidekey.address.port().to_string());
    vars.insert("SIDEKEY_TOKEN".to_owned(), TOKEN.to_owned());
    vars
}

/// Starts a shell script with `sidekey exec`.
fn shell(script: &str, vars: &Vars) -> Program {
    Program::start(&["exec", "--", "sh", "-c", script], vars)
}

/// Runs a shell script with `sidekey exec`. Returns its exit code and its output, without the lines
/// in which `exec` reports that it waits.
async fn run_shell(script: &str, vars: &Vars) -> (Option<i32>, String) {
    let (code, output) = shell(script, vars).ended().await;
    let lines = output.lines().filter(|line| !line.starts_with("sidekey: waits up to"));
    (code, lines.collect::<Vec<_>>().join("\n"))
}

/// Environment variables refer to a whole secret value, to fields, and to an old version. `exec`
/// inserts the values, and fetches each secret only once.
#[tokio::test]
async fn referenced_variables_are_filled_and_others_unchanged() {
    let (fake, sidekey) = agent().await;
    fake.secrets().put("app/other", "hunter6").expect("the secret exists");
    let arn = fake.secrets().arn("app/other").expect("the secret exists");
    let old = format!("sidekey:{arn}::AWSPREVIOUS:");
    let vars = vars_for(
        &sidekey,
        &[
            ("A", "sidekey:app/db"),
            ("B", "sidekey:app/json#user"),
            ("C", "sidekey:app/json#port"),
            ("D", &old),
            ("E", "app/db"),
            ("F", ""),
        ],
    );
    let plain = Program::run(killed_with_test("env"), &vars).ended().await.1;
    let (code, filled) = Program::start(&["exec", "env"], &vars).ended().await;
    assert_eq!(code, Some(0), "{filled}");
    let expected = plain
        .replace("A=sidekey:app/db", "A=hunter2 = 'two'")
        .replace("B=sidekey:app/json#user", r#"B=joan "a""#)
        .replace("C=sidekey:app/json#port", "C=5432")
        .replace(&format!("D={old}"), "D=hunter4");
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&filled), sorted(&expected));
    for id in ["app/db", "app/json", &arn] {
        assert_eq!(fake.calls().count_for(GetSecretValue, id), 1, "{id}");
    }
}

#[tokio::test]
async fn agent_is_not_called_without_references() {
    let vars = vars(&[("A", "b"), ("SIDEKEY_PORT", "1")]);
    assert_eq!(run_shell("echo $A", &vars).await, (Some(0), "b".to_owned()));
}

/// `exec` requests all secrets concurrently: AWS receives every call before it answers the first.
#[tokio::test]
async fn all_secrets_are_requested_at_once() {
    let (fake, sidekey) = agent().await;
    fake.faults().set_latency(Duration::from_secs(3600));
    let asking = [("A", "sidekey:app/db"), ("B", "sidekey:app/json"), ("C", "sidekey:app/other")];
    let _program = shell("true", &vars_for(&sidekey, &asking));
    eventually("three requests wait for an answer", async || {
        let connections = sidekey.metrics().await.get("sidekey_connections");
        let calls = fake.calls().count(GetSecretValue);
        ((connections, calls) == (4.0, 3)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn all_problems_are_reported_and_nothing_is_started() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock).await;
    let sidekey = Setup::for_fake(&fake, &clock).with("SIDEKEY_ALLOW", "app/*").start().await;
    let vars = vars_for(
        &sidekey,
        &[
            ("GOOD", "sidekey:app/db"),
            ("NONE", "sidekey:"),
            ("MALFORMED", "sidekey:hunter7 and more"),
            ("MISSING", "sidekey:app/missing"),
            ("OUTSIDE", "sidekey:other/db"),
            ("BINARY", "sidekey:app/binary"),
            ("FIELD", "sidekey:app/json#password"),
            ("NOT_JSON", "sidekey:app/db#x"),
            ("NUL", "sidekey:app/json#nul"),
            ("NULL", "sidekey:app/null#user"),
            ("QUOTED", "\"sidekey:app/db#user\""),
            ("UPPER_CASE", "Sidekey:app/db"),
            ("SPACE", " sidekey:app/db"),
        ],
    );
    let (code, output) = run_shell("echo it was started", &vars).await;
    assert_eq!(code, Some(125), "{output}");
    for part in [
        "sidekey: the program was not started:",
        "  NONE: the text after 'sidekey:' is not a valid reference to a secret: expected the name or ARN of a secret",
        "  MALFORMED: the text after 'sidekey:' is not a valid reference to a secret: character 8",
        "  MISSING: ResourceNotFoundException: Secrets Manager can't find the specified secret.",
        "  OUTSIDE: AccessDeniedException: ",
        "  BINARY: the secret is binary",
        "  FIELD: the secret has no field 'password'; it has 'nul', 'port', 'user'",
        "  NOT_JSON: the secret is not a JSON object",
        "  NUL: the secret's value has a NUL byte",
        "  NULL: the field 'user' of the secret is null",
        "  QUOTED: the text looks like a reference to a secret, but does not begin with 'sidekey:'",
        "  UPPER_CASE: the text looks like a reference",
        "  SPACE: the text looks like a reference",
    ] {
        assert!(output.contains(part), "{part}:\n{output}");
    }
    for part in ["it was started", "hunter", "joan", TOKEN, "GOOD"] {
        assert!(!output.contains(part), "{part}:\n{output}");
    }
}

/// `exec` waits for an agent that starts later. After one second, `exec` prints why it waits.
#[tokio::test]
async fn exec_waits_for_a_late_agent() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock).await;
    let port = Port::reserve();
    let setup = Setup::for_fake(&fake, &clock).with("SIDEKEY_PORT", &port);
    let vars = vars(&[
        ("A", "sidekey:app/other"),
        ("SIDEKEY_PORT", &port.to_string()),
        ("SIDEKEY_TOKEN", TOKEN),
    ]);
    let program = shell("echo $A", &vars);
    let line = program.line("waits").await;
    assert_eq!(line, format!("sidekey: waits up to 30s for an agent at 127.0.0.1:{port}"));
    let _sidekey = setup.start().await;
    let (code, output) = program.ended().await;
    assert!(code == Some(0) && output.ends_with("\nhunter4"), "{output}");
}

/// `exec` prints different error messages for a wrong token, a missing token, an invalid token, and
/// a port that another program uses.
#[tokio::test]
async fn unusable_tokens_and_agents_are_explained() {
    let (_fake, sidekey) = agent().await;
    let good = vars_for(&sidekey, &[("A", "sidekey:app/db")]);
    let other_port =
        CannedUpstream::with_response("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n<html>").await;
    let other_port = other_port
        .url()
        .rsplit_once(':')
        .map(|(_, port)| port.to_owned())
        .expect("the URL must contain a port");
    for (name, value, reported) in [
        (
            "SIDEKEY_TOKEN",
            "not-the-token",
            "A: UnrecognizedClientException: the agent refused the token: set SIDEKEY_TOKEN",
        ),
        ("SIDEKEY_TOKEN", "not\nthe-token", "SIDEKEY_TOKEN: character 4 is a line break"),
        ("SIDEKEY_TOKEN", "", "SIDEKEY_TOKEN: no token is configured"),
        ("SIDEKEY_PORT", "0", "SIDEKEY_PORT: the value 0 makes the agent choose"),
        (
            "SIDEKEY_PORT",
            &*other_port,
            "A: a program other than Sidekey answered, with HTTP status 200",
        ),
    ] {
        let mut vars = good.clone();
        vars.insert(name.to_owned(), value.to_owned());
        let (code, output) = run_shell("echo it was started", &vars).await;
        assert_eq!(code, Some(125), "{output}");
        assert!(output.contains(reported), "{reported}:\n{output}");
        assert!(!output.contains("the-token"), "{output}");
    }
    let mut vars = good;
    vars.remove("SIDEKEY_TOKEN");
    let (code, output) = run_shell("echo it was started", &vars).await;
    assert_eq!(code, Some(125), "{output}");
    assert!(output.contains("SIDEKEY_TOKEN: no token is configured"), "{output}");
}

/// `exec` finds the agent by its Unix socket. It reads the token from the configured file, or from
/// the file that `serve` has written.
#[tokio::test]
async fn agent_is_found_by_socket_and_token_file() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock).await;
    let folder = TempFolder::new();
    let socket = folder.path().join("socket").display().to_string();
    let setup = Setup::for_fake(&fake, &clock).with("SIDEKEY_SOCKET", &socket);
    let _sidekey = setup.start().await;
    let token = format!("file://{}", folder.write("token", TOKEN).display());
    let by_socket =
        vars(&[("A", "sidekey:app/other"), ("SIDEKEY_SOCKET", &socket), ("SIDEKEY_TOKEN", &token)]);
    assert_eq!(run_shell("echo $A", &by_socket).await, (Some(0), "hunter4".to_owned()));

    let home = folder.path().display().to_string();
    let setup = Setup::for_fake(&fake, &clock).without("SIDEKEY_TOKEN").with("HOME", &home);
    let serve = Program::start(&["serve"], setup.vars());
    let port = serve.address().await.port().to_string();
    serve.line("no token is configured").await;
    let by_file = vars(&[("A", "sidekey:app/other"), ("SIDEKEY_PORT", &port), ("HOME", &home)]);
    assert_eq!(run_shell("echo $A", &by_file).await, (Some(0), "hunter4".to_owned()));
}

#[tokio::test]
async fn arguments_are_passed_byte_for_byte() {
    let (_fake, sidekey) = agent().await;
    let vars = vars_for(&sidekey, &[("A", "sidekey:app/db")]);
    let mut command = killed_with_test(SIDEKEY);
    command.args(["exec", "--", "sh", "-c", r#"printf '<%s>' "$0" "$@" | od -An -v -tx1 -w4096"#]);
    let args: [&[u8]; 9] =
        [b"name", b"", b"a b", b"*", b"$HOME `x` \"q'", b"--", b"-x", b"\xff\n", "ü".as_bytes()];
    command.args(args.map(OsStr::from_bytes));
    let (code, output) = Program::run(command, &vars).ended().await;
    let expected: Vec<u8> = args.map(|arg| [b"<", arg, b">"].concat()).concat();
    let hex: String = expected.iter().map(|byte| format!(" {byte:02x}")).collect();
    assert_eq!((code, output), (Some(0), hex));
}

/// `exec` replaces its own process by the program. The program therefore gets all signals directly,
/// and its exit code is the exit code of `exec`.
#[tokio::test]
async fn program_replaces_the_process() {
    let (_fake, sidekey) = agent().await;
    let vars = vars_for(&sidekey, &[("A", "sidekey:app/db")]);
    assert_eq!(run_shell("exit 7", &vars).await.0, Some(7));
    assert_eq!(
        run_shell("kill -KILL $$", &vars).await.0,
        None,
        "a program that a signal ended must have no exit code"
    );

    let program = shell("trap 'exit 9' TERM; echo up $$; while :; do sleep 0.02; done", &vars);
    let line = program.line("up ").await;
    assert_eq!(line, format!("up {}", program.id()));
    program.signal(Signal::TERM);
    assert_eq!(program.ended().await.0, Some(9));
}

#[tokio::test]
async fn program_inherits_no_state_of_sidekey() {
    // The script inspects the shell's children, because the shell changes its own signal mask while
    // it waits.
    const SCRIPT: &str = "grep -E '^(Sig(Blk|Ign|Cgt)|Cap|NoNewPrivs|Seccomp)' /proc/self/status; \
                          cat /proc/self/limits; ls /proc/self/fd; pwd; umask; \
                          stat -c '%u %a' /proc/self/environ";
    let (_fake, sidekey) = agent().await;
    let vars = vars_for(&sidekey, &[("A", "sidekey:app/db")]);
    let mut command = killed_with_test("sh");
    command.args(["-c", SCRIPT]);
    let (code, plain) = Program::run(command, &vars).ended().await;
    assert_eq!(code, Some(0), "{plain}");
    assert_eq!(run_shell(SCRIPT, &vars).await, (Some(0), plain));
}

/// A variable can contain the largest possible secret. If the variables together exceed the
/// system's limit, `exec` exits with code 126.
#[tokio::test]
async fn too_large_environment_is_reported() {
    let (fake, sidekey) = agent().await;
    fake.secrets()
        .create("app/large", "x".repeat(65_536))
        .expect("the fake AWS server must create the secret");
    let large = |count: usize| {
        let mut vars = vars_for(&sidekey, &[]);
        vars.extend((0..count).map(|n| (format!("A{n}"), "sidekey:app/large".to_owned())));
        vars
    };
    assert_eq!(run_shell("echo ${#A0}", &large(1)).await, (Some(0), "65536".to_owned()));
    // Linux accepts at most 6 MiB of arguments and variables, whatever the stack limit.
    let (code, output) = run_shell("echo it was started", &large(100)).await;
    assert_eq!(code, Some(126), "{output}");
    assert!(output.contains("sh cannot be run: its arguments and variables"), "{output}");
}

/// As in a shell, the exit code for a missing program differs from the exit code for a program that
/// cannot be executed.
#[tokio::test]
async fn missing_and_unrunnable_programs_are_told_apart() {
    for (command, expected) in [("/nonexistent/program", 127), ("/etc", 126)] {
        let (code, output) = Program::start(&["exec", "--", command], &vars(&[])).ended().await;
        assert_eq!(code, Some(expected), "{output}");
        assert!(output.contains(&format!("the program {command} ")), "{output}");
    }
    assert_eq!(Program::start(&["exec"], &vars(&[])).ended().await.0, Some(2));
}

//! `sidekey exec`: a program that knows nothing of Sidekey finds secrets in its variables, and is
//! otherwise as if nobody had stood before it.

use crate::clients::tethered;
use crate::port::Port;
use crate::support::agent::{Setup, Sidekey, TOKEN};
use crate::support::clock::ManualClock;
use crate::support::gateway::Parrot;
use crate::support::program::{Program, SIDEKEY};
use crate::support::{Folder, eventually, fake};
use fake_aws::Fake;
use fake_aws::Operation::GetSecretValue;
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::Duration;

type Vars = BTreeMap<String, String>;

/// A fake with secrets of every kind, and an agent in front of it.
async fn agent() -> (Fake, Sidekey) {
    let clock = ManualClock::new();
    let fake = upstream(&clock).await;
    let sidekey = Setup::of(&fake, &clock).start().await;
    (fake, sidekey)
}

async fn upstream(clock: &Arc<ManualClock>) -> Fake {
    let fake = fake(clock).await;
    let secrets = fake.secrets();
    for (name, value) in [
        ("app/db", "hunter2 = 'two'"),
        ("app/json", r#"{"user": "ann \"a\"", "port": 5432, "nul": "\u0000"}"#),
        ("app/other", "hunter4"),
        ("other/db", "hunter5"),
    ] {
        secrets.create(name, value).expect("a new name");
    }
    secrets.create("app/binary", b"hunter3".to_vec()).expect("a new name");
    fake
}

fn vars(pairs: &[(&str, &str)]) -> Vars {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// The variables of a program beside `sidekey`.
fn beside(sidekey: &Sidekey, pairs: &[(&str, &str)]) -> Vars {
    let mut vars = vars(pairs);
    vars.insert("SIDEKEY_PORT".to_owned(), sidekey.address.port().to_string());
    vars.insert("SIDEKEY_TOKEN".to_owned(), TOKEN.to_owned());
    vars
}

/// Starts a shell by way of `sidekey exec`.
fn shell(script: &str, vars: &Vars) -> Program {
    Program::start(&["exec", "--", "sh", "-c", script], vars)
}

/// Runs a shell by way of `sidekey exec`, and returns its exit code and what was written.
async fn ran(script: &str, vars: &Vars) -> (Option<i32>, String) {
    shell(script, vars).ended().await
}

/// A whole value, one field of a secret and two of it, an old version by its ARN: each variable is
/// filled, the others are as they were, and each secret is asked for once.
#[tokio::test]
async fn referenced_variables_are_filled_and_others_unchanged() {
    let (fake, sidekey) = agent().await;
    fake.secrets().put("app/other", "hunter6").expect("it is there");
    let arn = fake.secrets().arn("app/other").expect("it is there");
    let old = format!("sidekey:{arn}::AWSPREVIOUS:");
    let vars = beside(
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
    let plain = Program::run(tethered("env"), &vars).ended().await.1;
    let (code, filled) = Program::start(&["exec", "env"], &vars).ended().await;
    assert_eq!(code, Some(0), "{filled}");
    let expected = plain
        .replace("A=sidekey:app/db", "A=hunter2 = 'two'")
        .replace("B=sidekey:app/json#user", r#"B=ann "a""#)
        .replace("C=sidekey:app/json#port", "C=5432")
        .replace(&format!("D={old}"), "D=hunter4");
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&filled), sorted(&expected));
    for asked in ["app/db", "app/json", &arn] {
        assert_eq!(fake.calls().count_for(GetSecretValue, asked), 1, "{asked}");
    }
}

/// Without a variable that asks, nobody is asked and no agent need be there.
#[tokio::test]
async fn agent_is_not_called_without_references() {
    let vars = vars(&[("A", "b"), ("SIDEKEY_PORT", "1")]);
    assert_eq!(ran("echo $A", &vars).await, (Some(0), "b".to_owned()));
}

/// All secrets are asked for at once: upstream hears of each before it has answered one.
#[tokio::test]
async fn all_secrets_are_requested_at_once() {
    let (fake, sidekey) = agent().await;
    fake.faults().set_latency(Duration::from_secs(3600));
    let asking = [("A", "sidekey:app/db"), ("B", "sidekey:app/json"), ("C", "sidekey:app/other")];
    let _program = shell("true", &beside(&sidekey, &asking));
    eventually("three readers that wait, and whoever looks", async || {
        let connections = sidekey.metrics().await.get("sidekey_connections");
        let calls = fake.calls().count(GetSecretValue);
        ((connections, calls) == (4.0, 3)).then_some(())
    })
    .await;
}

/// Everything that is wrong is told at once, by the variable's name and without any value; the
/// program is not started, and the exit code is 125.
#[tokio::test]
async fn all_problems_are_reported_and_nothing_is_started() {
    let clock = ManualClock::new();
    let fake = upstream(&clock).await;
    let sidekey = Setup::of(&fake, &clock).with("SIDEKEY_ALLOW", "app/*").start().await;
    let vars = beside(
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
        ],
    );
    let (code, output) = ran("echo it was started", &vars).await;
    assert_eq!(code, Some(125), "{output}");
    for part in [
        "sidekey: the program was not started:",
        "  NONE: the text after 'sidekey:' is not a reference: the name or ARN of a secret expected",
        "  MALFORMED: the text after 'sidekey:' is not a reference: character 8",
        "  MISSING: ResourceNotFoundException: Secrets Manager can't find the specified secret.",
        "  OUTSIDE: AccessDeniedException: ",
        "  BINARY: the secret is binary",
        "  FIELD: the secret has no field 'password'; it has 'nul', 'port', 'user'",
        "  NOT_JSON: the secret is not a JSON object",
        "  NUL: the value has a NUL byte",
    ] {
        assert!(output.contains(part), "{part}:\n{output}");
    }
    for part in ["it was started", "hunter", "ann", TOKEN, "GOOD"] {
        assert!(!output.contains(part), "{part}:\n{output}");
    }
}

/// An agent that comes up after the program is waited for.
#[tokio::test]
async fn exec_waits_for_a_late_agent() {
    let clock = ManualClock::new();
    let fake = upstream(&clock).await;
    let port = Port::reserve();
    let setup = Setup::of(&fake, &clock).with("SIDEKEY_PORT", &port);
    let vars = vars(&[
        ("A", "sidekey:app/other"),
        ("SIDEKEY_PORT", &port.to_string()),
        ("SIDEKEY_TOKEN", TOKEN),
    ]);
    let program = shell("echo $A", &vars);
    eventually("it rests and looks again", async || {
        let status = fs::read_to_string(format!("/proc/{}/status", program.id())).ok()?;
        let rests = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        let is_sidekey = status.starts_with("Name:\tsidekey\n");
        (is_sidekey && rests?.trim().parse::<u32>().ok()? > 10).then_some(())
    })
    .await;
    let _sidekey = setup.start().await;
    assert_eq!(program.ended().await, (Some(0), "hunter4".to_owned()));
}

/// A wrong token, none at all, one that HTTP cannot carry, and a port at which something else
/// listens: each is told for what it is, and no token is shown.
#[tokio::test]
async fn unusable_tokens_and_agents_are_explained() {
    let (_fake, sidekey) = agent().await;
    let good = beside(&sidekey, &[("A", "sidekey:app/db")]);
    let parrot = Parrot::saying("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n<html>").await;
    let parrot = parrot.url().rsplit_once(':').map(|(_, port)| port.to_owned()).expect("a port");
    for (name, value, told) in [
        ("SIDEKEY_TOKEN", "not-the-token", "A: UnrecognizedClientException: "),
        ("SIDEKEY_TOKEN", "not\nthe-token", "A: the path or the token has a character"),
        ("SIDEKEY_TOKEN", "", "SIDEKEY_TOKEN: a token must not be empty"),
        ("SIDEKEY_PORT", "0", "SIDEKEY_PORT: 0 is any free port"),
        ("SIDEKEY_PORT", &*parrot, "A: another program than Sidekey answered, with status 200"),
    ] {
        let mut vars = good.clone();
        vars.insert(name.to_owned(), value.to_owned());
        let (code, output) = ran("echo it was started", &vars).await;
        assert_eq!(code, Some(125), "{output}");
        assert!(output.contains(told), "{told}:\n{output}");
        assert!(!output.contains("the-token"), "{output}");
    }
    let mut vars = good;
    vars.remove("SIDEKEY_TOKEN");
    let (code, output) = ran("echo it was started", &vars).await;
    assert_eq!(code, Some(125), "{output}");
    assert!(output.contains("SIDEKEY_TOKEN: no token is configured"), "{output}");
}

/// The agent is found by its Unix socket too, and its token in a file: one that is named, or the one
/// that `serve` has made.
#[tokio::test]
async fn agent_is_found_by_socket_and_token_file() {
    let clock = ManualClock::new();
    let fake = upstream(&clock).await;
    let folder = Folder::new();
    let socket = folder.path().join("socket").display().to_string();
    let setup = Setup::of(&fake, &clock).with("SIDEKEY_SOCKET", &socket);
    let _sidekey = setup.start().await;
    let token = format!("file://{}", folder.write("token", TOKEN).display());
    let by_socket =
        vars(&[("A", "sidekey:app/other"), ("SIDEKEY_SOCKET", &socket), ("SIDEKEY_TOKEN", &token)]);
    assert_eq!(ran("echo $A", &by_socket).await, (Some(0), "hunter4".to_owned()));

    let home = folder.path().display().to_string();
    let setup = Setup::of(&fake, &clock).without("SIDEKEY_TOKEN").with("HOME", &home);
    let serve = Program::start(&["serve"], setup.vars());
    let port = serve.address().await.port().to_string();
    serve.line("no token is configured").await;
    let by_file = vars(&[("A", "sidekey:app/other"), ("SIDEKEY_PORT", &port), ("HOME", &home)]);
    assert_eq!(ran("echo $A", &by_file).await, (Some(0), "hunter4".to_owned()));
}

/// Arguments arrive byte for byte, whatever is in them.
#[tokio::test]
async fn arguments_are_passed_byte_for_byte() {
    let (_fake, sidekey) = agent().await;
    let vars = beside(&sidekey, &[("A", "sidekey:app/db")]);
    let mut command = tethered(SIDEKEY);
    command.args(["exec", "--", "sh", "-c", r#"printf '<%s>' "$0" "$@" | od -An -v -tx1 -w4096"#]);
    let args: [&[u8]; 9] =
        [b"name", b"", b"a b", b"*", b"$HOME `x` \"q'", b"--", b"-x", b"\xff\n", "ü".as_bytes()];
    command.args(args.map(OsStr::from_bytes));
    let (code, output) = Program::run(command, &vars).ended().await;
    let expected: Vec<u8> = args.map(|arg| [b"<", arg, b">"].concat()).concat();
    let hex: String = expected.iter().map(|byte| format!(" {byte:02x}")).collect();
    assert_eq!((code, output), (Some(0), hex));
}

/// The program has the process: its exit code is the exit code, and a signal reaches it itself.
#[tokio::test]
async fn program_replaces_the_process() {
    let (_fake, sidekey) = agent().await;
    let vars = beside(&sidekey, &[("A", "sidekey:app/db")]);
    assert_eq!(ran("exit 7", &vars).await.0, Some(7));
    assert_eq!(ran("kill -KILL $$", &vars).await.0, None, "ended by a signal");

    let program = shell("trap 'exit 9' TERM; echo up $$; while :; do sleep 0.02; done", &vars);
    let line = program.line("up ").await;
    assert_eq!(line, format!("up {}", program.id()));
    program.signal(Signal::TERM);
    assert_eq!(program.ended().await.0, Some(9));
}

/// Signals, limits, open files, folder and the right to look inside are those of a program that was
/// started without Sidekey.
#[tokio::test]
async fn program_inherits_no_state_of_sidekey() {
    // What the shell's children inherit: its own mask changes while it waits for them.
    const SCRIPT: &str = "grep -E '^(Sig(Blk|Ign|Cgt)|Cap|NoNewPrivs|Seccomp)' /proc/self/status; \
                          cat /proc/self/limits; ls /proc/self/fd; pwd; umask; \
                          stat -c '%u %a' /proc/self/environ";
    let (_fake, sidekey) = agent().await;
    let vars = beside(&sidekey, &[("A", "sidekey:app/db")]);
    let mut command = tethered("sh");
    command.args(["-c", SCRIPT]);
    let (code, plain) = Program::run(command, &vars).ended().await;
    assert_eq!(code, Some(0), "{plain}");
    assert_eq!(ran(SCRIPT, &vars).await, (Some(0), plain));
}

/// The largest secret there is fits into a variable. More than the system takes of all variables
/// together is told as that, with exit code 126.
#[tokio::test]
async fn too_large_environment_is_reported() {
    let (fake, sidekey) = agent().await;
    fake.secrets().create("app/large", "x".repeat(65_536)).expect("a new name");
    let large = |count: usize| {
        let mut vars = beside(&sidekey, &[]);
        vars.extend((0..count).map(|n| (format!("A{n}"), "sidekey:app/large".to_owned())));
        vars
    };
    assert_eq!(ran("echo ${#A0}", &large(1)).await, (Some(0), "65536".to_owned()));
    // 6 MiB are what Linux takes at most, however large a stack may be.
    let (code, output) = ran("echo it was started", &large(100)).await;
    assert_eq!(code, Some(126), "{output}");
    assert!(output.contains("sh cannot be run: its arguments and variables"), "{output}");
}

/// A program that is not there, and one that cannot be run, are told apart as shells do.
#[tokio::test]
async fn missing_and_unrunnable_programs_are_told_apart() {
    for (command, expected) in [("/nonexistent/program", 127), ("/etc", 126)] {
        let (code, output) = Program::start(&["exec", "--", command], &vars(&[])).ended().await;
        assert_eq!(code, Some(expected), "{output}");
        assert!(output.contains(&format!("sidekey: {command} ")), "{output}");
    }
    assert_eq!(Program::start(&["exec"], &vars(&[])).ended().await.0, Some(2));
}

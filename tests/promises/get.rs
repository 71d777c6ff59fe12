//! Tests of `sidekey get`, which prints one secret value. At a terminal, the command prints a value
//! only with the option `--show`.

use crate::clients::{killed_with_test, run};
use crate::port::Port;
use crate::support::agent::{Setup, Sidekey, TOKEN};
use crate::support::clock::ManualClock;
use crate::support::fake;
use crate::support::finished::Finished;
use crate::support::program::SIDEKEY;
use fake_aws::Fake;
use fake_aws::Operation::GetSecretValue;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::Command;

type Vars = BTreeMap<String, String>;

const BYTES: [u8; 5] = [0, 255, 10, 13, 251];

/// A Python script that runs a command in a new pseudo-terminal.
const AT_A_TERMINAL: &str = "import os, pty, sys
sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))";

/// Starts a fake AWS server, and an agent that may read most of its secrets. Returns both, and the
/// environment variables of a program that calls the agent.
async fn start_agent() -> (Fake, Sidekey, Vars) {
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    let secrets = fake.secrets();
    secrets
        .create("app/db", r#"{"user":"ann","pass":"hunter2"}"#)
        .expect("the fake AWS server must create the secret");
    secrets.create("app/text", "hunter3 \n").expect("the fake AWS server must create the secret");
    secrets
        .create("app/bytes", BYTES.to_vec())
        .expect("the fake AWS server must create the secret");
    secrets.create("other/text", "hunter4").expect("the fake AWS server must create the secret");
    let setup = Setup::for_fake(&fake, &clock).with("AWS_ACCOUNT_ID", "123456789012");
    let sidekey = setup.clone().with("SIDEKEY_ALLOW", "app/*").start().await;
    let port = sidekey.address.port();
    let vars = setup.with("SIDEKEY_PORT", port).vars().clone();
    (fake, sidekey, vars)
}

async fn get(args: &[&str], vars: &Vars) -> Finished {
    Finished::sidekey(&[&["get"][..], args].concat(), vars, b"").await
}

/// The endpoint of AWS uses plain HTTP on another host. `get` prints a warning if it calls the
/// endpoint itself, but not if it calls an agent.
#[tokio::test]
async fn warnings_about_the_configuration_appear_without_an_agent() {
    let (fake, _sidekey, mut vars) = start_agent().await;
    // Linux connects 0.0.0.0 to this machine, but Sidekey does not count it as a loopback address.
    vars.insert("SIDEKEY_ENDPOINT".to_owned(), fake.url().replace("127.0.0.1", "0.0.0.0"));
    vars.insert("SIDEKEY_ALLOW_HTTP_ENDPOINT".to_owned(), "true".to_owned());
    let done = get(&["--direct", "app/db#user"], &vars).await;
    assert_eq!((done.code, &*done.out), (Some(0), &b"ann"[..]), "{}", done.err);
    let warning = "sidekey: INSECURE: SIDEKEY_ENDPOINT uses http";
    assert!(done.err.starts_with(warning) && done.err.lines().count() == 1, "{}", done.err);
    let done = get(&["app/db#user"], &vars).await;
    assert_eq!((done.code, &*done.out, &*done.err), (Some(0), &b"ann"[..], ""));
}

/// If standard output is a pipe, `get` writes exactly the secret value, without an additional
/// newline.
#[tokio::test]
async fn pipe_receives_exactly_the_value() {
    let (fake, sidekey, vars) = start_agent().await;
    fake.secrets().put("app/text", "hunter5").expect("the secret exists");
    let arn = fake.secrets().arn("app/text").expect("the secret exists");
    for (reference, expected) in [
        (format!("{arn}::AWSPREVIOUS:"), &b"hunter3 \n"[..]),
        ("app/text".to_owned(), b"hunter5"),
        ("app/bytes".to_owned(), &BYTES),
        ("app/db#user".to_owned(), b"ann"),
    ] {
        let done = get(&[&reference], &vars).await;
        assert_eq!((done.code, &*done.out, &*done.err), (Some(0), expected, ""), "{reference}");
    }
    assert_eq!(sidekey.metrics().await.sum("sidekey_reads_total"), 4.0);
}

/// If no agent runs, `get` calls Secrets Manager, or fails with the option `--agent`. With the
/// option `--direct`, `get` never calls an agent.
#[tokio::test]
async fn secrets_manager_is_called_if_no_agent_listens() {
    let (fake, sidekey, vars) = start_agent().await;
    let port = Port::reserve();
    let mut alone = vars.clone();
    alone.insert("SIDEKEY_PORT".to_owned(), port.to_string());
    let done = get(&["other/text"], &alone).await;
    assert_eq!((done.code, &*done.out), (Some(0), &b"hunter4"[..]), "{}", done.err);
    let done = get(&["--agent", "other/text"], &alone).await;
    assert_eq!((done.code, &*done.out), (Some(1), &b""[..]));
    assert!(done.err.starts_with("sidekey: no agent listens at 127.0.0.1:"), "{}", done.err);

    let done = get(&["--direct", "other/text"], &vars).await;
    assert_eq!((done.code, &*done.out), (Some(0), &b"hunter4"[..]), "{}", done.err);
    assert_eq!(sidekey.metrics().await.sum("sidekey_reads_total"), 0.0);
    assert_eq!(fake.calls().count_for(GetSecretValue, "other/text"), 2);
}

/// `get --json` prints the metadata of the version, and whether the agent or AWS answered.
#[tokio::test]
async fn json_output_describes_the_version() {
    let (fake, _sidekey, vars) = start_agent().await;
    let version = fake.secrets().version_id("app/bytes", "AWSCURRENT").expect("the secret exists");
    let arn = fake.secrets().arn("app/bytes").expect("the secret exists");
    for (args, source) in [(&["--json"][..], "agent"), (&["--json", "--direct"], "aws")] {
        let done = get(&[args, &["app/bytes"]].concat(), &vars).await;
        let mut reported: Value = serde_json::from_str(done.text()).expect("the text is JSON");
        assert!(reported["createdDate"].take().is_string());
        let expected = json!({
            "reference": "app/bytes", "arn": arn, "name": "app/bytes", "versionId": version,
            "versionStages": ["AWSCURRENT"], "createdDate": null, "source": source,
            "valueBase64": "AP8KDfs=",
        });
        assert_eq!(reported, expected);
    }
}

/// If a secret cannot be read, `get` prints the error type and exits with code 1. For invalid
/// arguments, it exits with code 2.
#[tokio::test]
async fn read_failures_are_reported_by_type_and_exit_code() {
    let (fake, _sidekey, vars) = start_agent().await;
    fake.secrets()
        .create("app/denied", "hunter6")
        .expect("the fake AWS server must create the secret");
    fake.secrets()
        .create("app/null", r#"{"user":null}"#)
        .expect("the fake AWS server must create the secret");
    fake.faults().deny_secret("app/denied");
    let with = |name: &str, value: &str| {
        let mut vars = vars.clone();
        vars.insert(name.to_owned(), value.to_owned());
        vars
    };
    for (args, vars, code, reported) in [
        (&["app/none"][..], vars.clone(), 1, "app/none: ResourceNotFoundException: "),
        (&["other/text"], vars.clone(), 1, "other/text: AccessDeniedException: "),
        (&["--direct", "app/denied"], vars.clone(), 1, "(grant secretsmanager:GetSecretValue"),
        (&["app/db#password"], vars.clone(), 1, "has no field 'password'; it has 'pass', 'user'"),
        (&["app/null#user"], vars.clone(), 1, "the field 'user' of the secret is null"),
        (&["--json", "app/null#user"], vars.clone(), 1, "the field 'user' of the secret is null"),
        (&["app/text"], with("SIDEKEY_TOKEN", "not-the-token"), 1, "UnrecognizedClientException"),
        (&["a b"], vars.clone(), 2, "'a b': character 2"),
        (&["app/text"], with("SIDEKEY_PORT", "x"), 2, "SIDEKEY_PORT: "),
        (&["--direct", "app/text"], with("SIDEKEY_TTTL", "1"), 2, "did you mean SIDEKEY_TTL?"),
        (&["--direct", "--agent", "a"], vars.clone(), 2, "cannot be used with"),
        (&[], vars.clone(), 2, "<REFERENCE>"),
    ] {
        let done = get(args, &vars).await;
        assert_eq!((done.code, &*done.out), (Some(code), &b""[..]), "{args:?}: {}", done.err);
        assert!(done.err.contains(reported), "{args:?}: {}", done.err);
        for hidden in ["hunter", TOKEN, "not-the-token"] {
            assert!(!done.err.contains(hidden), "{args:?}: {}", done.err);
        }
    }
}

/// At a terminal, `get` does not even read the secret without `--show`. With `--show`, it prints
/// the value and a newline.
#[tokio::test]
async fn terminal_shows_a_value_only_on_request() {
    if let Err(missing) = run(Command::new("python3").args(["-c", "import pty"])) {
        return missing.skip_or_fail();
    }
    let (fake, _sidekey, vars) = start_agent().await;
    let at_a_terminal = async |args: &[&str]| {
        let mut command = killed_with_test("python3");
        command.args(["-c", AT_A_TERMINAL, SIDEKEY, "get"]).args(args);
        let done = Finished::run(command, &vars, b"").await;
        (done.code, done.text().replace("\r\n", "\n"))
    };
    let (code, reported) = at_a_terminal(&["app/db"]).await;
    assert_eq!(code, Some(2), "{reported}");
    assert!(
        reported.contains("use --show to print the value") && !reported.contains("hunter"),
        "{reported}"
    );
    assert_eq!(fake.calls().count(GetSecretValue), 0);
    assert_eq!(at_a_terminal(&["--show", "app/db#pass"]).await, (Some(0), "hunter2\n".to_owned()));
    let (code, reported) = at_a_terminal(&["--json", "app/db"]).await;
    assert!(
        code == Some(0) && reported.contains("versionId") && !reported.contains("hunter"),
        "{reported}"
    );
    let (code, reported) = at_a_terminal(&["--json", "--show", "app/db#pass"]).await;
    assert!(code == Some(0) && reported.contains(r#""value":"hunter2""#), "{reported}");
    let (code, reported) = at_a_terminal(&["--show", "app/bytes"]).await;
    assert!(code == Some(1) && reported.contains("the secret is binary"), "{reported}");
}

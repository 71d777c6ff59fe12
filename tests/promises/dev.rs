//! Tests of commands in another terminal while `sidekey dev` runs.

use crate::port::Port;
use crate::support::agent::{Setup, TOKEN};
use crate::support::clock::ManualClock;
use crate::support::finished::Finished;
use crate::support::program::Program;
use crate::support::{TempFolder, fake};
use rustix::process::Signal;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

/// The file of secrets that `sidekey dev` serves in these tests.
const SECRET: &str = r#"{"app/db": {"user": "the-value"}}"#;

/// A running `sidekey dev`, and the environment variables of another terminal of the same user.
struct Running {
    program: Program,
    vars: BTreeMap<String, String>,
    files: PathBuf,
    port: Port,
    home: TempFolder,
}

/// Starts `sidekey dev` with the secret `app/db`, and waits until the secret can be read.
async fn start() -> Running {
    let home = TempFolder::new();
    let secrets = home.write("secrets.json", SECRET);
    let port = Port::reserve();
    let pairs = [("HOME", home.path().display().to_string()), ("SIDEKEY_PORT", port.to_string())];
    let vars = BTreeMap::from(pairs.map(|(name, value)| (name.to_owned(), value)));
    let secrets = secrets.display().to_string();
    let program = Program::start(&["dev", "--latency", "0ms", "--secrets", &secrets], &vars);
    program.line("Press Ctrl-C to stop").await;
    Running { program, vars, files: home.path().join(".sidekey"), port, home }
}

/// The commands `get`, `exec`, `check`, `ping` and `status` find the running `sidekey dev` and its token
/// without any variable. At its end, `sidekey dev` removes its files.
#[tokio::test]
async fn commands_beside_dev_work_without_a_token() {
    let Running { program, mut vars, files, port: _port, home: _home } = start().await;
    for session in [None, Some("another-token")] {
        vars.extend(session.map(|it| ("AWS_SESSION_TOKEN".to_owned(), it.to_owned())));
        let get = Program::start(&["get", "app/db#user"], &vars).ended().await;
        assert_eq!((get.0, get.1.trim()), (Some(0), "the-value"));
        let filled =
            vars.clone().into_iter().chain([("A".to_owned(), "sidekey:app/db#user".to_owned())]);
        let exec = Program::start(&["exec", "printenv", "A"], &filled.collect()).ended().await;
        assert_eq!((exec.0, exec.1.trim()), (Some(0), "the-value"));
        let (code, output) = Program::start(&["check", "app/db", "app/no"], &vars).ended().await;
        assert_eq!(code, Some(1), "{output}");
        for part in [
            "reads from the fake Secrets Manager of `sidekey dev`",
            "The secrets were read from the fake Secrets Manager of `sidekey dev` at http://",
            "ok          app/db",
            "not-found:",
        ] {
            assert!(output.contains(part), "{part}:\n{output}");
        }
        assert_eq!(Program::start(&["ping", "--ready"], &vars).ended().await.0, Some(0));
        let (code, report) = Program::start(&["status"], &vars).ended().await;
        assert_eq!(code, Some(0), "{report}");
        assert!(report.contains("app/db") && !report.contains("the-value"), "{report}");
    }
    let left = || fs::read_dir(&files).expect("the folder exists").count();
    assert_eq!(left(), 2, "`dev` must have written the files with its token and its address");
    program.signal(Signal::INT);
    assert_eq!(program.ended().await.0, Some(0));
    assert_eq!(left(), 0, "`dev` must remove its files when it ends");
}

#[tokio::test]
async fn json_of_check_names_the_fake() {
    let running = start().await;
    let done = Finished::sidekey(&["check", "--json", "app/db"], &running.vars, b"").await;
    let reported: Value = serde_json::from_str(done.text()).expect("the output must be JSON");
    let endpoint =
        reported["fakeEndpoint"].as_str().expect("the report must name the fake AWS server");
    assert!(endpoint.starts_with("http://127.0.0.1:"), "{endpoint}");
}

#[tokio::test]
async fn check_beside_dev_uses_the_endpoint_of_its_configuration_file() {
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    fake.secrets()
        .create("app/own", "hunter2")
        .expect("the fake AWS server must create the secret");
    let running = start().await;
    let home = running.home.path();
    fs::create_dir(home.join(".aws")).expect("the test must be able to create the folder");
    let keys = "[default]\naws_access_key_id = AKIA1\naws_secret_access_key = key\n";
    fs::write(home.join(".aws/credentials"), keys)
        .expect("the test must be able to write the file");
    let text = format!("endpoint = \"{}\"\nregion = \"eu-north-1\"\n", fake.url());
    let file = running.home.write("sidekey.toml", &text).display().to_string();
    let done =
        Finished::sidekey(&["check", "--config", &file, "app/own"], &running.vars, b"").await;
    assert_eq!((done.code, &*done.err), (Some(0), ""), "{}", done.text());
}

#[tokio::test]
async fn check_beside_dev_calls_aws_if_a_variable_says_so() {
    let running = start().await;
    let mut vars = running.vars.clone();
    vars.insert("AWS_PROFILE".to_owned(), "unknown-profile".to_owned());
    vars.insert("SIDEKEY_REGION".to_owned(), "eu-north-1".to_owned());
    let (code, output) = Program::start(&["check", "app/db"], &vars).ended().await;
    assert_eq!(code, Some(1), "{output}");
    assert!(output.contains("credentials") && !output.contains("fake"), "{output}");
}

/// A killed `sidekey dev` leaves files behind. Later commands ignore these files if another agent
/// uses the same port.
#[tokio::test]
async fn files_of_a_killed_dev_are_ignored() {
    let Running { program, vars, files, port, home: _home } = start().await;
    program.signal(Signal::KILL);
    program.ended().await;
    assert!(files.join(format!("token-{port}")).exists(), "the file must exist after SIGKILL");

    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    fake.secrets().create("app/db", "hunter2").expect("the fake AWS server must create the secret");
    let setup = Setup::for_fake(&fake, &clock).with("SIDEKEY_PORT", &port);
    let _sidekey = setup.start().await;
    let (code, output) = Program::start(&["get", "--agent", "app/db"], &vars).ended().await;
    assert_eq!(code, Some(1), "{output}");
    assert!(output.contains("no token is configured: set SIDEKEY_TOKEN"), "{output}");
    let mut vars = vars;
    vars.insert("SIDEKEY_TOKEN".to_owned(), TOKEN.to_owned());
    let (code, output) = Program::start(&["get", "app/db"], &vars).ended().await;
    assert_eq!((code, output.trim()), (Some(0), "hunter2"));
}

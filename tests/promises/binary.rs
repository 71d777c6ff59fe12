//! Tests of the program `sidekey`: errors, exit codes, signals, and protection against other
//! processes.

use crate::clients::{MissingTool, killed_with_test, run};
use crate::port::Port;
use crate::support::agent::{Setup, TOKEN, TOKEN_HEADER, read_path, read_request};
use crate::support::client::{Connection, get};
use crate::support::clock::ManualClock;
use crate::support::gateway::Gateway;
use crate::support::program::{PATH, Program, SIDEKEY};
use crate::support::{TempFolder, eventually, fake};
use fake_aws::Fake;
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Output};
use tokio::net::TcpStream;

/// The numeric id of the user `nobody`. Any user other than root would do.
const NOBODY: &str = "65534";

/// Starts a fake AWS server with the secret `app/db`. Returns the server, and the environment
/// variables of an agent that calls this server.
async fn prepare() -> (Fake, Setup) {
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    fake.secrets().create("app/db", "hunter2").expect("the fake AWS server must create the secret");
    let setup = Setup::for_fake(&fake, &clock);
    (fake, setup)
}

fn vars(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Sets three invalid environment variables. The program must report all three at once, exit with
/// code 2, and not listen.
#[tokio::test]
async fn all_mistakes_are_reported_at_once() {
    let (_fake, setup) = prepare().await;
    let setup = setup
        .with("SIDEKEY_TTL", "five minutes")
        .with("SIDEKEY_SECRETS", "app/db#")
        .with("SIDEKEY_SECRET", "app/db");
    let (code, output) = Program::start(&["serve"], setup.vars()).ended().await;
    assert_eq!(code, Some(2), "{output}");
    for part in [
        r#""name":"SIDEKEY_TTL","problem":"the value must be a duration"#,
        r#""name":"SIDEKEY_SECRETS","problem":"'app/db#'"#,
        r#""name":"SIDEKEY_SECRET","problem":"Sidekey has no such variable; did you mean SIDEKEY_SECRETS?""#,
    ] {
        assert!(output.contains(part), "{part}:\n{output}");
    }
    assert!(!output.contains("sidekey serves"), "{output}");
}

/// The program reports a mistake in a TOML file with the name of the file, the line and the column.
#[tokio::test]
async fn mistake_in_a_file_has_its_line_and_column() {
    let (_fake, setup) = prepare().await;
    let folder = TempFolder::new();
    for (variable, text, expected) in [
        ("SIDEKEY_CONFIG", "ttl = \"5m\"\nport = = 1\n", "SIDEKEY_CONFIG|not valid TOML|2:8"),
        ("SIDEKEY_CONFIG", "\nttl = \"soon\"\n", "SIDEKEY_CONFIG: ttl|must be a duration|2:1"),
        ("SIDEKEY_CONFIG", "[[policy]]\n  tll = 1\n", "policy[1].tll|did you mean ttl|2:3"),
        ("SIDEKEY_CONVENTIONS", "\n\nx = 1", "SIDEKEY_CONVENTIONS: x|no such key|3:1"),
        ("SIDEKEY_CONVENTIONS", "x", "SIDEKEY_CONVENTIONS|not valid TOML|1:2"),
    ] {
        let path = folder.write("settings.toml", text).display().to_string();
        let setup = setup.clone().with(variable, &path);
        let (code, output) = Program::start(&["serve"], setup.vars()).ended().await;
        assert_eq!(code, Some(2), "{output}");
        let (rest, place) =
            expected.rsplit_once('|').expect("the expected text must have several parts");
        let place = format!("({path}:{place})");
        for part in rest.split('|').chain([&*place]) {
            assert!(output.contains(part), "{part}:\n{output}");
        }
    }
}

#[tokio::test]
async fn misspelt_region_is_reported_with_the_nearest_region() {
    let (_fake, setup) = prepare().await;
    let setup = setup.without("SIDEKEY_ENDPOINT").with("SIDEKEY_REGION", "eu-wset-1");
    let program = Program::start(&["serve"], setup.vars());
    let line = program.line("the region is not a known region of AWS").await;
    assert!(line.contains("did you mean eu-west-1?"), "{line}");
}

#[tokio::test]
async fn missing_region_error_names_the_variables_to_set() {
    let (_fake, setup) = prepare().await;
    let setup = setup.without("SIDEKEY_REGION");
    let (code, output) = Program::start(&["serve"], setup.vars()).ended().await;
    assert_eq!(code, Some(2), "{output}");
    assert!(output.contains("set SIDEKEY_REGION or AWS_REGION"), "{output}");
}

#[tokio::test]
async fn serve_runs_until_sigterm_or_sigint() {
    let (_fake, setup) = prepare().await;
    let setup = setup.with("SIDEKEY_SECRETS", "app/db");
    for signal in [Signal::TERM, Signal::INT] {
        let program = Program::start(&["serve"], setup.vars());
        let mut connection = Connection::open(program.address().await).await;
        assert_eq!(connection.exchange(read_request("app/db")).await.value(), "hunter2");
        program.signal(signal);
        connection.closed().await;
        let (code, output) = program.ended().await;
        assert_eq!(code, Some(0), "{signal:?}: {output}");
    }
}

/// After the first stop signal, `serve` answers requests until `SIDEKEY_DRAIN_DELAY` has passed. A
/// second signal ends the process at once.
#[tokio::test]
async fn second_signal_ends_serve_at_once() {
    let (_fake, setup) = prepare().await;
    let folder = TempFolder::new();
    let socket = folder.path().join("s");
    let setup = setup.with("SIDEKEY_DRAIN_DELAY", "1h").with("SIDEKEY_SOCKET", socket.display());
    for signal in [Signal::TERM, Signal::INT] {
        let program = Program::start(&["serve"], setup.vars());
        let address = program.address().await;
        program.signal(Signal::TERM);
        program.line("the agent received a stop signal").await;
        let mut connection = Connection::open(address).await;
        assert_eq!(connection.exchange(get("/ready", &[TOKEN_HEADER])).await.status, 503);
        assert_eq!(connection.exchange(read_request("app/db")).await.value(), "hunter2");
        program.signal(signal);
        let (code, output) = program.ended().await;
        assert_eq!(code, Some(1), "{signal:?}: {output}");
        assert!(output.contains("a second signal to stop arrived"), "{output}");
        assert!(!socket.exists(), "the agent must remove its Unix socket");
    }
}

/// A second stop signal ends the process at once, even if a request still waits for AWS.
#[tokio::test]
async fn second_signal_ends_the_drain_at_once() {
    let (fake, setup) = prepare().await;
    let gateway = Gateway::start(&fake).await;
    let setup = setup.with("SIDEKEY_ENDPOINT", gateway.url());
    gateway.hold();
    let program = Program::start(&["serve"], setup.vars());
    let address = program.address().await;
    let mut waiting = Connection::open(address).await;
    waiting.send(read_request("app/db")).await;
    eventually("the read waits for AWS", async || (gateway.regions().len() == 1).then_some(()))
        .await;
    program.signal(Signal::TERM);
    eventually("the agent accepts no connection", async || {
        TcpStream::connect(address).await.is_err().then_some(())
    })
    .await;
    program.signal(Signal::TERM);
    let (code, output) = program.ended().await;
    assert_eq!(code, Some(1), "{output}");
    assert!(output.contains("a second signal to stop arrived"), "{output}");
}

#[tokio::test]
async fn serve_takes_its_file_and_port_from_options() {
    let (_fake, setup) = prepare().await;
    let folder = TempFolder::new();
    let file = folder.write("sidekey.toml", "secrets = [\"app/db\"]\n").display().to_string();
    let port = Port::reserve();
    let setup = setup.with("SIDEKEY_CONFIG", "/nonexistent").with("SIDEKEY_PORT", "none");
    let args = ["serve", "--config", &file, "--port", &port.to_string()];
    let program = Program::start(&args, setup.vars());
    assert_eq!(program.address().await.port(), port.number());
    assert!(program.output().contains(r#""prefetched":1"#), "{}", program.output());
}

#[tokio::test]
async fn port_in_use_error_says_what_to_do() {
    let (_fake, setup) = prepare().await;
    let holder = TcpListener::bind("127.0.0.1:0").expect("the test must find a free port");
    let address = holder.local_addr().expect("the bound socket must have an address");
    let setup = setup.with("SIDEKEY_PORT", address.port());
    let (code, output) = Program::start(&["serve"], setup.vars()).ended().await;
    assert_eq!(code, Some(1), "{output}");
    let expected = format!(
        "{address} is in use by another process; stop that process, or change SIDEKEY_PORT"
    );
    assert!(output.contains(&expected), "{output}");
}

/// Without a configured token, `serve` writes a random token to a file that only its owner can
/// read. A second agent on the same port must not change this file.
#[tokio::test]
async fn missing_token_is_generated_in_a_private_file() {
    let (_fake, setup) = prepare().await;
    let home = TempFolder::new();
    for (variable, below) in [("HOME", ".sidekey"), ("XDG_RUNTIME_DIR", "sidekey")] {
        let setup = setup.clone().without("SIDEKEY_TOKEN").with(variable, home.path().display());
        let program = Program::start(&["serve"], setup.vars());
        let address = program.address().await;
        let path = home.path().join(below).join(format!("token-{}", address.port()));
        let line = program.line("no token is configured").await;
        assert!(line.contains(&path.display().to_string()), "{line}");
        assert_eq!(
            fs::metadata(&path).expect("the file exists").permissions().mode() & 0o777,
            0o600
        );
        let folder = path.parent().expect("the file must have a parent folder");
        assert_eq!(
            fs::metadata(folder).expect("the folder exists").permissions().mode() & 0o777,
            0o700
        );

        let token = fs::read_to_string(&path).expect("the test must be able to read the file");
        assert!(token.len() >= 32, "the token must be too long to be guessed");
        assert!(
            !program.output().contains(&token),
            "the log must contain the path of the file, but not the token"
        );
        for (token, status) in [(&*token, 200), (&token[1..], 403), (TOKEN, 403)] {
            let sent = get(&read_path("app/db"), &[(TOKEN_HEADER.0, token)]);
            let mut connection = Connection::open(address).await;
            assert_eq!(connection.exchange(sent).await.status, status);
        }

        // `sidekey get` and `sidekey status` also find the agent by its socket and read the generated
        // token.
        let socket = home.path().join(below).join("agent.sock");
        let at_socket = setup.clone().with("SIDEKEY_SOCKET", socket.display());
        let (found, at_socket) = (Port::reserve(), at_socket);
        let at_socket = at_socket.with("SIDEKEY_PORT", &found);
        let agent = Program::start(&["serve"], at_socket.vars());
        agent.address().await;
        let (code, value) = Program::start(&["get", "app/db"], at_socket.vars()).ended().await;
        assert_eq!((code, value.trim()), (Some(0), "hunter2"));
        let (code, report) = Program::start(&["status"], at_socket.vars()).ended().await;
        assert_eq!(code, Some(0), "{report}");
        assert!(report.contains("app/db") && report.contains(": ready"), "{report}");

        let taken = setup.with("SIDEKEY_PORT", address.port());
        let second = Program::start(&["serve"], taken.vars());
        assert_eq!(second.ended().await.0, Some(1));
        let unchanged = fs::read_to_string(&path).expect("the test must be able to read the file");
        assert_eq!(unchanged, token, "a second agent that cannot listen must not change the file");
    }
}

/// `sidekey ping` exits with code 0 if an agent runs. `sidekey ping --ready` also requires that all
/// configured secrets are cached.
#[tokio::test]
async fn ping_reports_by_exit_code() {
    let (_fake, setup) = prepare().await;
    let port = Port::reserve();
    let own = vars(&[("SIDEKEY_PORT", &port.to_string())]);
    let ping = async |args: &[&str]| Program::start(args, &own).ended().await.0;
    assert_eq!(ping(&["ping"]).await, Some(1), "no agent listens on the port");

    let setup = setup.with("SIDEKEY_PORT", &port);
    for (secrets, ready) in [("app/db", 0), ("app/db,app/missing", 1)] {
        let sidekey = setup.clone().with("SIDEKEY_SECRETS", secrets).start().await;
        assert_eq!(ping(&["ping"]).await, Some(0));
        assert_eq!(ping(&["ping", "--ready"]).await, Some(ready), "{secrets}");
        let with_token = [("SIDEKEY_PORT", &*port.to_string()), ("SIDEKEY_TOKEN", TOKEN)];
        let named = Program::start(&["ping", "--ready"], &vars(&with_token)).ended().await.1;
        assert_eq!(named.contains("has not cached app/missing"), ready == 1, "{named}");
        assert_eq!(ping(&["ping", "--port", &port.to_string()]).await, Some(0));
        sidekey.agent.drain(std::time::Duration::ZERO).await;
    }
}

/// Runs the commands that `sidekey dev` prints, in a shell. Then changes the file of secrets, and
/// later makes the file invalid.
#[tokio::test]
async fn command_printed_by_dev_works() {
    if let Err(missing) = run(Command::new("curl").arg("--version")) {
        return missing.skip_or_fail();
    }
    let folder = TempFolder::new();
    for token in [None, Some(("SIDEKEY_TOKEN", TOKEN))] {
        let file = folder.write("secrets.json", r#"{"app/db": {"user": "first-value"}}"#);
        let mut vars = vars(&[("SIDEKEY_TTL", "100ms")]);
        vars.extend(token.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let args = ["dev", "--port", "0", "--latency", "0ms", "--secrets"];
        let file_text = file.display().to_string();
        let program = Program::start(&[&args[..], &[&file_text]].concat(), &vars);
        program.line("Press Ctrl-C to stop").await;
        let output = program.output();
        let is_command = |line: &&str| ["export ", "curl -H"].iter().any(|it| line.contains(it));
        let line = output.lines().filter(is_command).collect::<Vec<_>>().join("\n");
        assert!(paste(&line, &vars).await.contains("first-value"), "{}", program.output());

        folder.write("secrets.json", "{");
        program.line("Sidekey could not reload the secrets file").await;
        assert!(paste(&line, &vars).await.contains("first-value"));

        folder.write("secrets.json", r#"{"app/db": {"user": "the-second-value"}}"#);
        program.line("Sidekey now serves a new version of app/db").await;
        eventually("the agent serves the new value", async || {
            paste(&line, &vars).await.contains("the-second-value").then_some(())
        })
        .await;

        program.signal(Signal::INT);
        let (code, output) = program.ended().await;
        assert_eq!(code, Some(0), "{output}");
        assert!(!output.contains("-value"), "{output}");
    }
}

/// In strict mode (`SIDEKEY_STRICT`), the agent refuses to serve the first example secret. `sidekey
/// dev` reports this and keeps running.
#[tokio::test]
async fn dev_keeps_serving_if_its_first_secret_is_refused() {
    let vars = vars(&[("SIDEKEY_STRICT", "true")]);
    let program = Program::start(&["dev", "--port", "0", "--latency", "0ms"], &vars);
    program.line("with HTTP status 400").await;
    program.line("Press Ctrl-C to stop").await;
    program.signal(Signal::INT);
    let (code, output) = program.ended().await;
    assert_eq!(code, Some(0), "{output}");
}

/// Runs a command line in a shell and returns its standard output.
async fn paste(line: &str, vars: &BTreeMap<String, String>) -> String {
    let mut shell = Command::new("sh");
    shell.args(["-c", line]).env_clear().env("PATH", PATH).envs(vars);
    let ran = tokio::process::Command::from(shell).output().await;
    let Output { stdout, .. } = ran.expect("the test must be able to start a shell");
    String::from_utf8_lossy(&stdout).into_owned()
}

/// Other processes of the same user can read neither the memory nor the environment of the agent
/// and of `sidekey exec`. An unprotected process shows that the check works.
#[tokio::test]
async fn processes_cannot_be_dumped_or_traced() {
    let (_fake, setup) = prepare().await;
    let own_id = fs::metadata("/proc/self").expect("the folder /proc must exist on Linux").uid();
    let as_nobody = own_id == 0;
    if let Err(missing) = check_nobody(as_nobody) {
        return missing.skip_or_fail();
    }
    let sidekey = Program::run(with_user(as_nobody, SIDEKEY, &["serve"]), setup.vars());
    sidekey.address().await;
    let limits = fs::read_to_string(format!("/proc/{}/limits", sidekey.id()))
        .expect("the test must be able to read the limits");
    let core = limits.lines().find(|line| line.starts_with("Max core file size"));
    let core: Vec<&str> = core.unwrap_or_default().split_whitespace().skip(4).take(2).collect();
    assert_eq!(core, ["0", "0"], "{limits}");

    let unprotected = Program::run(with_user(as_nobody, "sleep", &["1000"]), setup.vars());
    let port = Port::reserve();
    let waiting = Program::run(
        with_user(as_nobody, SIDEKEY, &["exec", "true"]),
        &vars(&[
            ("A", "sidekey:app/db"),
            ("SIDEKEY_PORT", &port.to_string()),
            ("SIDEKEY_TOKEN", TOKEN),
        ]),
    );
    eventually("other processes cannot read the memory of `exec`", async || {
        let comm = fs::read_to_string(format!("/proc/{}/comm", waiting.id())).ok()?;
        let owner = fs::metadata(format!("/proc/{}/environ", waiting.id())).ok()?.uid();
        (comm == "sidekey\n" && owner == 0).then_some(())
    })
    .await;
    for (program, is_readable) in [(&unprotected, true), (&waiting, false), (&sidekey, false)] {
        eventually("the program runs as the user `nobody`", async || {
            let status = fs::read_to_string(format!("/proc/{}/status", program.id())).ok()?;
            let user = if as_nobody { NOBODY.to_owned() } else { own_id.to_string() };
            let is_user = status.contains(&format!("Uid:\t{user}\t"));
            (is_user && !status.starts_with("Name:\tsetpriv")).then_some(())
        })
        .await;
        for file in ["environ", "maps"] {
            let path = format!("/proc/{}/{file}", program.id());
            let owner = fs::metadata(&path).expect("the process runs").uid();
            assert_eq!(owner != 0, is_readable, "{path} belongs to {owner}");
            let read = run(&mut with_user(as_nobody, "cat", &[&path]));
            assert_eq!(read.is_ok(), is_readable, "{path}: {read:?}");
        }
    }
}

/// Returns a command that runs as the user `nobody` if `as_nobody` is set. Tests that run as root
/// need this.
fn with_user(as_nobody: bool, program: &str, args: &[&str]) -> Command {
    let mut command = killed_with_test(if as_nobody { "setpriv" } else { program });
    if as_nobody {
        let user = ["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"];
        command.args(user).args(["--pdeathsig", "KILL", "--", program]);
    }
    command.args(args);
    command
}

/// Checks that the user `nobody` can run the program, if `as_nobody` is set.
fn check_nobody(as_nobody: bool) -> Result<(), MissingTool> {
    let is_reachable = |path: &Path| {
        let found = fs::metadata(path);
        found.is_ok_and(|found| found.permissions().mode() & 0o001 != 0)
    };
    if as_nobody && !Path::new(SIDEKEY).ancestors().all(is_reachable) {
        return Err(MissingTool::new(
            "the user `nobody` cannot run the program: move the program to a public folder",
        ));
    }
    run(&mut with_user(as_nobody, "true", &[]))
}

//! The program itself: what it takes, what it says, how it ends, and how it is protected.

use crate::clients::{Missing, run, tethered};
use crate::port::Port;
use crate::support::agent::{Setup, TOKEN, TOKEN_HEADER, read_path, read_request};
use crate::support::client::{Connection, get};
use crate::support::clock::ManualClock;
use crate::support::program::{PATH, Program, SIDEKEY};
use crate::support::{Folder, eventually, fake};
use fake_aws::Fake;
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Output};

/// Somebody who is not root.
const NOBODY: &str = "65534";

/// A fake that has `app/db`, and the variables of a program in front of it.
async fn upstream() -> (Fake, Setup) {
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    fake.secrets().create("app/db", "hunter2").expect("a new name");
    let setup = Setup::of(&fake, &clock);
    (fake, setup)
}

fn vars(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Three mistakes are told at once, each by the name of its variable and with what is expected, an
/// unknown one with the name that was meant; the exit code is 2 and nothing was listened on.
#[tokio::test]
async fn all_mistakes_are_reported_at_once() {
    let (_fake, setup) = upstream().await;
    let setup = setup
        .with("SIDEKEY_TTL", "five minutes")
        .with("SIDEKEY_SECRETS", "app/db#")
        .with("SIDEKEY_SECRET", "app/db");
    let (code, output) = Program::start(&["serve"], setup.vars()).ended().await;
    assert_eq!(code, Some(2), "{output}");
    for part in [
        r#""name":"SIDEKEY_TTL","problem":"a duration like 250ms"#,
        r#""name":"SIDEKEY_SECRETS","problem":"'app/db#'"#,
        r#""name":"SIDEKEY_SECRET","problem":"no such variable; did you mean SIDEKEY_SECRETS?""#,
    ] {
        assert!(output.contains(part), "{part}:\n{output}");
    }
    assert!(!output.contains("sidekey serves"), "{output}");
}

/// Where no region is known, the program says which variables to set, with exit code 2.
#[tokio::test]
async fn missing_region_error_names_the_variables_to_set() {
    let (_fake, setup) = upstream().await;
    let setup = setup.without("SIDEKEY_REGION");
    let (code, output) = Program::start(&["serve"], setup.vars()).ended().await;
    assert_eq!(code, Some(2), "{output}");
    assert!(output.contains("set SIDEKEY_REGION or AWS_REGION"), "{output}");
}

/// `serve` says where it serves, serves, and ends with exit code 0 at SIGTERM and at SIGINT.
#[tokio::test]
async fn serve_runs_until_sigterm_or_sigint() {
    let (_fake, setup) = upstream().await;
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

/// A port that somebody else holds ends it with exit code 1 and a line that names the address and
/// what to do.
#[tokio::test]
async fn port_in_use_error_says_what_to_do() {
    let (_fake, setup) = upstream().await;
    let holder = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = holder.local_addr().expect("a bound socket has an address");
    let setup = setup.with("SIDEKEY_PORT", address.port());
    let (code, output) = Program::start(&["serve"], setup.vars()).ended().await;
    assert_eq!(code, Some(1), "{output}");
    let told = format!("{address} is taken by another process; stop it, or set SIDEKEY_PORT");
    assert!(output.contains(&told), "{output}");
}

/// Without any token the program makes one, in a file that only its owner reads and that the log
/// names: it lets a reader in, and another text does not. A second one at the same port changes nothing.
#[tokio::test]
async fn missing_token_is_generated_in_a_private_file() {
    let (_fake, setup) = upstream().await;
    let home = Folder::new();
    for (variable, below) in [("HOME", ".sidekey"), ("XDG_RUNTIME_DIR", "sidekey")] {
        let setup = setup.clone().without("SIDEKEY_TOKEN").with(variable, home.path().display());
        let program = Program::start(&["serve"], setup.vars());
        let address = program.address().await;
        let path = home.path().join(below).join(format!("token-{}", address.port()));
        let line = program.line("no token is configured").await;
        assert!(line.contains(&path.display().to_string()), "{line}");
        assert_eq!(fs::metadata(&path).expect("the file").permissions().mode() & 0o777, 0o600);
        let folder = path.parent().expect("it lies in a folder");
        assert_eq!(fs::metadata(folder).expect("it").permissions().mode() & 0o777, 0o700);

        let token = fs::read_to_string(&path).expect("a text");
        assert!(token.len() >= 32, "long enough not to be guessed");
        assert!(!program.output().contains(&token), "the log names the file, not the token");
        for (token, status) in [(&*token, 200), (&token[1..], 403), (TOKEN, 403)] {
            let asked = get(&read_path("app/db"), &[(TOKEN_HEADER.0, token)]);
            let mut connection = Connection::open(address).await;
            assert_eq!(connection.exchange(asked).await.status, status);
        }

        // By its socket the agent is found with that token too.
        let socket = home.path().join(below).join("agent.sock");
        let at_socket = setup.clone().with("SIDEKEY_SOCKET", socket.display());
        let (found, at_socket) = (Port::reserve(), at_socket);
        let at_socket = at_socket.with("SIDEKEY_PORT", &found);
        let agent = Program::start(&["serve"], at_socket.vars());
        agent.address().await;
        let (code, value) = Program::start(&["get", "app/db"], at_socket.vars()).ended().await;
        assert_eq!((code, value.trim()), (Some(0), "hunter2"));

        let taken = setup.with("SIDEKEY_PORT", address.port());
        let second = Program::start(&["serve"], taken.vars());
        assert_eq!(second.ended().await.0, Some(1));
        let kept = fs::read_to_string(&path).expect("a text");
        assert_eq!(kept, token, "an agent that cannot listen leaves the file of the one that does");
    }
}

/// `ping` tells by its exit code whether an agent lives, and with `--ready` whether everything that
/// is listed is held.
#[tokio::test]
async fn ping_reports_by_exit_code() {
    let (_fake, setup) = upstream().await;
    let port = Port::reserve();
    let own = vars(&[("SIDEKEY_PORT", &port.to_string())]);
    let ping = async |args: &[&str]| Program::start(args, &own).ended().await.0;
    assert_eq!(ping(&["ping"]).await, Some(1), "nobody is there");

    let setup = setup.with("SIDEKEY_PORT", &port);
    for (secrets, ready) in [("app/db", 0), ("app/db,app/missing", 1)] {
        let sidekey = setup.clone().with("SIDEKEY_SECRETS", secrets).start().await;
        assert_eq!(ping(&["ping"]).await, Some(0));
        assert_eq!(ping(&["ping", "--ready"]).await, Some(ready), "{secrets}");
        assert_eq!(ping(&["ping", "--port", &port.to_string()]).await, Some(0));
        sidekey.agent.drain(std::time::Duration::ZERO).await;
    }
}

/// The line that `dev` prints answers when it is pasted into a shell, with a token of its own and
/// with one from the environment. A change of the file is picked up, one that cannot be read leaves
/// the old values in use; no value is ever printed. Ctrl-C ends it with exit code 0.
#[tokio::test]
async fn command_printed_by_dev_works() {
    if let Err(missing) = run(Command::new("curl").arg("--version")) {
        return missing.skip_or_fail();
    }
    let folder = Folder::new();
    for token in [None, Some(("SIDEKEY_TOKEN", TOKEN))] {
        let file = folder.write("secrets.json", r#"{"app/db": {"user": "first-value"}}"#);
        let mut vars = vars(&[("SIDEKEY_TTL", "100ms")]);
        vars.extend(token.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let args = ["dev", "--port", "0", "--latency", "0ms", "--secrets"];
        let file_text = file.display().to_string();
        let program = Program::start(&[&args[..], &[&file_text]].concat(), &vars);
        let line = program.line("curl -H").await;
        assert!(paste(&line, &vars).await.contains("first-value"), "{}", program.output());

        program.line("Press Ctrl-C to stop").await;
        folder.write("secrets.json", "{");
        program.line("Could not reload the file").await;
        assert!(paste(&line, &vars).await.contains("first-value"));

        folder.write("secrets.json", r#"{"app/db": {"user": "the-second-value"}}"#);
        program.line("Sidekey now serves app/db version").await;
        eventually("the new value", async || {
            paste(&line, &vars).await.contains("the-second-value").then_some(())
        })
        .await;

        program.signal(Signal::INT);
        let (code, output) = program.ended().await;
        assert_eq!(code, Some(0), "{output}");
        assert!(!output.contains("-value"), "{output}");
    }
}

/// Where the first secret is refused, as the examples are by `SIDEKEY_STRICT`, `dev` says so and serves on.
#[tokio::test]
async fn dev_keeps_serving_if_its_first_secret_is_refused() {
    let vars = vars(&[("SIDEKEY_STRICT", "true")]);
    let program = Program::start(&["dev", "--port", "0", "--latency", "0ms"], &vars);
    program.line("Sidekey refused this secret with status 400").await;
    program.line("Press Ctrl-C to stop").await;
    program.signal(Signal::INT);
    let (code, output) = program.ended().await;
    assert_eq!(code, Some(0), "{output}");
}

/// Runs a line in a shell and returns what it prints.
async fn paste(line: &str, vars: &BTreeMap<String, String>) -> String {
    let mut shell = Command::new("sh");
    shell.args(["-c", line]).env_clear().env("PATH", PATH).envs(vars);
    let ran = tokio::process::Command::from(shell).output().await;
    let Output { stdout, .. } = ran.expect("a shell");
    String::from_utf8_lossy(&stdout).into_owned()
}

/// The agent writes no core and is not dumpable, and nor is `exec` until it is another program: whoever
/// has the user, and is not root, can read neither environment nor memory. A process that took no such care is read all the same.
#[tokio::test]
async fn processes_cannot_be_dumped_or_traced() {
    let (_fake, setup) = upstream().await;
    let own_id = fs::metadata("/proc/self").expect("Linux has /proc").uid();
    let as_nobody = own_id == 0;
    if let Err(missing) = check_nobody(as_nobody) {
        return missing.skip_or_fail();
    }
    let sidekey = Program::run(with_user(as_nobody, SIDEKEY, &["serve"]), setup.vars());
    sidekey.address().await;
    let limits = fs::read_to_string(format!("/proc/{}/limits", sidekey.id())).expect("limits");
    let core = limits.lines().find(|line| line.starts_with("Max core file size"));
    let core: Vec<&str> = core.unwrap_or_default().split_whitespace().skip(4).take(2).collect();
    assert_eq!(core, ["0", "0"], "{limits}");

    let careless = Program::run(with_user(as_nobody, "sleep", &["1000"]), setup.vars());
    let port = Port::reserve();
    let waiting = Program::run(
        with_user(as_nobody, SIDEKEY, &["exec", "true"]),
        &vars(&[
            ("A", "sidekey:app/db"),
            ("SIDEKEY_PORT", &port.to_string()),
            ("SIDEKEY_TOKEN", TOKEN),
        ]),
    );
    eventually("what waits for an agent hides", async || {
        let comm = fs::read_to_string(format!("/proc/{}/comm", waiting.id())).ok()?;
        let owner = fs::metadata(format!("/proc/{}/environ", waiting.id())).ok()?.uid();
        (comm == "sidekey\n" && owner == 0).then_some(())
    })
    .await;
    for (program, is_readable) in [(&careless, true), (&waiting, false), (&sidekey, false)] {
        eventually("the program runs as who it is to", async || {
            let status = fs::read_to_string(format!("/proc/{}/status", program.id())).ok()?;
            let user = if as_nobody { NOBODY.to_owned() } else { own_id.to_string() };
            let is_theirs = status.contains(&format!("Uid:\t{user}\t"));
            (is_theirs && !status.starts_with("Name:\tsetpriv")).then_some(())
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

/// A command that is run by somebody who is not root, though the test may be.
fn with_user(as_nobody: bool, program: &str, args: &[&str]) -> Command {
    let mut command = tethered(if as_nobody { "setpriv" } else { program });
    if as_nobody {
        let user = ["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"];
        command.args(user).args(["--pdeathsig", "KILL", "--", program]);
    }
    command.args(args);
    command
}

/// Tells whether the program can be run by somebody who is not root.
fn check_nobody(as_nobody: bool) -> Result<(), Missing> {
    let is_reachable = |path: &Path| {
        let found = fs::metadata(path);
        found.is_ok_and(|found| found.permissions().mode() & 0o001 != 0)
    };
    if as_nobody && !Path::new(SIDEKEY).ancestors().all(is_reachable) {
        return Err(Missing::new("the tests run as root, and only root reaches the program"));
    }
    run(&mut with_user(as_nobody, "true", &[]))
}

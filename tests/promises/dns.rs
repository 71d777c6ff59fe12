//! Tests in which the host name of the AWS endpoint cannot be resolved. The error must name the
//! network as the cause, and the agent must still serve cached values.

use crate::clients::{MissingTool, killed_with_test, run};
use crate::support::agent::{Setup, TOKEN_HEADER, read_request};
use crate::support::client::{Connection, get};
use crate::support::clock::ManualClock;
use crate::support::metrics::Metrics;
use crate::support::program::{Program, SIDEKEY};
use crate::support::{TempFolder, eventually, fake};
use rustix::process::Signal;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

/// A shell script that runs a command with other contents of `/etc/hosts` and `/etc/nsswitch.conf`.
/// The first two arguments name the files with these contents.
const WITH_FILES: &str = "mount --bind \"$1\" /etc/hosts && mount --bind \"$2\" /etc/nsswitch.conf \
                          && shift 2 && exec \"$@\"";

const RESOLVES: &str = "127.0.0.1 localhost\n";

/// Returns a host name that is too long for DNS. A lookup of this name fails without any network
/// traffic.
fn no_name() -> String {
    format!("{}.invalid", "a".repeat(64))
}

#[tokio::test]
async fn unresolvable_endpoint_is_a_connection_error() {
    let clock = ManualClock::new();
    let sidekey = Setup::for_endpoint(&format!("https://{}", no_name()), &clock).start().await;
    let answer = sidekey.read("app/db").await;
    assert_eq!((answer.status, answer.kind().as_str()), (502, "ConnectionError"));
    let hint = answer.json()["hint"].as_str().expect("the error must contain a hint").to_owned();
    assert!(hint.contains("DNS"), "{hint}");
    let metrics = sidekey.metrics().await;
    let failed =
        "sidekey_upstream_requests_total{operation=\"GetSecretValue\",outcome=\"connection\"}";
    assert_eq!(metrics.get(failed), 1.0);
}

/// DNS fails for longer than the TTL. Reads return the cached value, marked as stale, and the new
/// value when DNS works again.
#[tokio::test]
async fn cached_values_survive_a_dns_outage() {
    let folder = TempFolder::new();
    let hosts = folder.write("hosts", RESOLVES);
    let sources = folder.write("nsswitch.conf", "hosts: files\n");
    if let Err(missing) = check_mounts(&hosts, &sources) {
        return missing.skip_or_fail();
    }
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    fake.secrets().create("app/db", "old").expect("the fake AWS server must create the secret");
    let setup = Setup::for_endpoint(&format!("http://localhost:{}", fake.addr().port()), &clock)
        .with("SIDEKEY_SECRETS", "app/db")
        .with("SIDEKEY_TTL", "1s");
    let program = Program::run(resolving_by(&hosts, &sources, &[SIDEKEY, "serve"]), setup.vars());
    let mut connection = Connection::open(program.address().await).await;
    let answer = connection.exchange(read_request("app/db")).await;
    assert_eq!(answer.value(), "old");

    fs::write(&hosts, "").expect("the test must be able to write the folder");
    fake.close_connections();
    let failed = "sidekey_stale_reads_total{reason=\"failing\"}";
    for _ in 0..3 {
        eventually("the cached value becomes stale", async || {
            let answer = connection.exchange(read_request("app/db")).await;
            assert_eq!(answer.value(), "old", "{}", program.output());
            (answer.cache() == "stale").then_some(())
        })
        .await;
        // The value changes only here, because a call before the DNS outage could fetch the new
        // value.
        fake.secrets().put("app/db", "new").expect("the secret exists");
    }
    let metrics =
        Metrics::parse(connection.exchange(get("/metrics", &[TOKEN_HEADER])).await.text());
    assert!(metrics.get(failed) >= 3.0);
    assert!(metrics.get("sidekey_refreshes_total{outcome=\"connection\"}") >= 1.0);

    fs::write(&hosts, RESOLVES).expect("the test must be able to write the folder");
    eventually("the agent fetches the new value", async || {
        let answer = connection.exchange(read_request("app/db")).await;
        (answer.value() == "new").then_some(())
    })
    .await;
}

/// A lookup of a host name never ends, because the file of host names is a pipe without a writer.
/// The agent must still exit at once.
#[tokio::test]
async fn hanging_dns_lookup_does_not_delay_the_exit() {
    let folder = TempFolder::new();
    let hosts = folder.path().join("hosts");
    let sources = folder.write("nsswitch.conf", "hosts: files\n");
    if let Err(missing) = run(Command::new("mkfifo").arg(&hosts)) {
        return missing.skip_or_fail();
    }
    if let Err(missing) = check_mounts(&hosts, &sources) {
        return missing.skip_or_fail();
    }
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    let setup = Setup::for_endpoint(&format!("http://localhost:{}", fake.addr().port()), &clock)
        .with("SIDEKEY_SECRETS", "app/db")
        .with("SIDEKEY_PREFETCH_DEADLINE", "1ms");
    let program = Program::run(resolving_by(&hosts, &sources, &[SIDEKEY, "serve"]), setup.vars());
    program.address().await;
    let threads = format!("/proc/{}/task", program.id());
    eventually("the lookup of the host name runs on a thread of its own", async || {
        let mut threads = fs::read_dir(&threads).expect("the process runs");
        let is_looking_up = threads.any(|thread| {
            let name = thread.and_then(|thread| fs::read_to_string(thread.path().join("comm")));
            name.is_ok_and(|name| name.starts_with("tokio-rt"))
        });
        is_looking_up.then_some(())
    })
    .await;
    program.signal(Signal::TERM);
    assert_eq!(program.ended().await.0, Some(0));
    assert_eq!(fake.calls().total(), 0);
}

/// Returns a command that runs `command` with other contents of `/etc/hosts` and
/// `/etc/nsswitch.conf`.
fn resolving_by(hosts: &Path, sources: &Path, command: &[&str]) -> Command {
    let is_root = fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    let user: &[&str] = if is_root { &[] } else { &["--user", "--map-root-user"] };
    let mut unshare = killed_with_test("unshare");
    unshare.args(user).args(["--mount", "sh", "-c", WITH_FILES, "sh"]);
    unshare.args([hosts, sources]).args(command);
    unshare
}

/// Checks that the current user can replace `/etc/hosts` and `/etc/nsswitch.conf` for one process.
fn check_mounts(hosts: &Path, sources: &Path) -> Result<(), MissingTool> {
    run(&mut resolving_by(hosts, sources, &["true"])).map_err(|missing| missing.context("mounts"))
}

//! A program that a benchmark measures: Sidekey, or one of AWS's own agents.

use crate::cgroup;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The token that readers send.
pub(crate) const TOKEN: &str = "bench";

/// The maximum time to wait until a program listens. With 1/14 of a CPU, a program starts slowly.
const LISTEN_MAX: Duration = Duration::from_secs(60);

/// A program that a benchmark measures, with the function that configures the program.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    pub(crate) path: PathBuf,
    /// The function that adds arguments and environment variables to the command that starts the
    /// program. Returns the configuration file that it has written, if any.
    pub(crate) configure: Configure,
}

/// A function that prepares the command that starts a program. The number is the port on which the
/// program must listen.
pub(crate) type Configure = fn(&mut Command, &Start<'_>, u16) -> io::Result<Option<PathBuf>>;

/// The settings with which a benchmark starts a program.
#[derive(Clone, Debug)]
pub(crate) struct Start<'a> {
    /// The URL that the program calls instead of AWS.
    pub(crate) endpoint: &'a str,
    /// The file with the root certificate that the program must trust, or `None` if calls use plain
    /// HTTP.
    pub(crate) bundle: Option<&'a Path>,
    /// The names of the secrets to prefetch.
    pub(crate) listed: &'a [String],
    pub(crate) ttl: Duration,
    /// The files `cgroup.procs` of the control groups that limit the program. The process id is
    /// written to them.
    pub(crate) cgroup: &'a [PathBuf],
}

impl Subject {
    /// Starts the program on a free port.
    ///
    /// # Errors
    ///
    /// If the program cannot be started.
    #[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
    pub(crate) fn start(&self, start: &Start<'_>) -> io::Result<Running> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut command = match start.cgroup {
            [] => Command::new(&self.path),
            members => cgroup::command_in_groups(Command::new("/bin/sh"), members, &self.path),
        };
        command
            .env_clear()
            .env("AWS_ACCESS_KEY_ID", "ASIABENCH00000000000")
            .env("AWS_SECRET_ACCESS_KEY", "bench")
            .env("AWS_SESSION_TOKEN", "bench")
            .env("AWS_REGION", "eu-north-1")
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let config = (self.configure)(&mut command, start, port)?;
        let started = Instant::now();
        let child = command.spawn()?;
        Ok(Running { child, address, started, config })
    }

    /// Returns Sidekey as the program to measure. `path` is the path of its binary.
    pub(crate) fn sidekey(path: &str) -> Self {
        Self { path: path.into(), configure: configure_sidekey }
    }
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "all functions of this type return a result, and others can fail"
)]
fn configure_sidekey(
    command: &mut Command,
    start: &Start<'_>,
    port: u16,
) -> io::Result<Option<PathBuf>> {
    command
        .arg("serve")
        .env("SIDEKEY_PORT", port.to_string())
        .env("SIDEKEY_ENDPOINT", start.endpoint)
        .env("SIDEKEY_SECRETS", start.listed.join(","))
        .env("SIDEKEY_TTL", format!("{}s", start.ttl.as_secs()))
        .env("SIDEKEY_TOKEN", TOKEN)
        .env("SIDEKEY_LOG", "error");
    if let Some(bundle) = start.bundle {
        command.env("AWS_CA_BUNDLE", bundle);
    }
    Ok(None)
}

/// A running program. The kernel kills the program when the benchmark ends.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    /// The socket address on which the program listens.
    pub(crate) address: SocketAddr,
    pub(crate) started: Instant,
    config: Option<PathBuf>,
}

impl Running {
    /// Connects to the program as soon as the program listens.
    ///
    /// # Errors
    ///
    /// If the program exits, or does not listen in time.
    pub(crate) fn connect(&mut self) -> io::Result<TcpStream> {
        loop {
            if let Ok(socket) = TcpStream::connect(self.address) {
                return Ok(socket);
            }
            if let Some(status) = self.child.try_wait()? {
                return Err(io::Error::other(format!(
                    "the program exited before it listened: {status}"
                )));
            }
            if self.started.elapsed() > LISTEN_MAX {
                return Err(io::Error::other(
                    "the program did not accept a connection within the timeout",
                ));
            }
            #[expect(
                clippy::disallowed_methods,
                reason = "a program does not report when it listens, so the benchmark polls"
            )]
            thread::sleep(Duration::from_micros(100));
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns the CPU time that all threads of the program have used.
    ///
    /// # Errors
    ///
    /// If the program has ended.
    pub(crate) fn processor_time(&self) -> io::Result<Duration> {
        processor_time(self.id())
    }

    /// Returns a value in kilobytes from `/proc/PID/status`, such as `VmRSS`.
    ///
    /// # Errors
    ///
    /// If the file does not contain this value.
    pub(crate) fn kilobytes(&self, line: &str) -> io::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let found = status.lines().find_map(|text| text.strip_prefix(line)?.strip_prefix(':'));
        let number = found.and_then(|text| text.trim().trim_end_matches(" kB").parse().ok());
        number.ok_or_else(|| io::Error::other(format!("no {line}")))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(config) = &self.config {
            let _ = fs::remove_file(config);
        }
    }
}

/// Returns the CPU time that all threads of a process have used.
///
/// # Errors
///
/// If the process does not exist.
pub(crate) fn processor_time(process: u32) -> io::Result<Duration> {
    let mut total = Duration::ZERO;
    for task in fs::read_dir(format!("/proc/{process}/task"))? {
        // The thread may have ended since the folder was read.
        let Ok(stat) = fs::read_to_string(task?.path().join("schedstat")) else { continue };
        let nanos = stat.split(' ').next().and_then(|nanos| nanos.parse().ok());
        total += Duration::from_nanos(nanos.unwrap_or_default());
    }
    Ok(total)
}

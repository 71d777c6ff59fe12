//! A program that serves secrets over localhost: Sidekey, or one of AWS's own agents.

use crate::cgroup;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// What readers send to be let in.
pub(crate) const TOKEN: &str = "bench";

/// The longest wait for a program to listen. A fourteenth of a processor starts slowly.
const LISTEN_MAX: Duration = Duration::from_secs(60);

/// A program, and how it is told what to do.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    /// Its binary.
    pub(crate) path: PathBuf,
    /// Adds its arguments and variables, and returns a file that was written for it.
    pub(crate) configure: Configure,
}

/// See [`Subject::configure`]. The number is the port to listen at.
pub(crate) type Configure = fn(&mut Command, &Start<'_>, u16) -> io::Result<Option<PathBuf>>;

/// What a program is started with.
#[derive(Clone, Debug)]
pub(crate) struct Start<'a> {
    /// Where Secrets Manager is.
    pub(crate) endpoint: &'a str,
    /// A file that says whom to trust, where that is over TLS.
    pub(crate) bundle: Option<&'a Path>,
    /// What is fetched ahead.
    pub(crate) listed: &'a [String],
    /// How old values may get.
    pub(crate) ttl: Duration,
    /// Files in which the program's id is written before it starts: those of a control group.
    pub(crate) cgroup: &'a [PathBuf],
}

impl Subject {
    /// Starts the program on a free port.
    ///
    /// # Errors
    ///
    /// Where it cannot be started.
    #[expect(clippy::disallowed_methods, reason = "a bench times")]
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

    /// Returns this program.
    pub(crate) fn sidekey(path: &str) -> Self {
        Self { path: path.into(), configure: configure_sidekey }
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the peers' counterparts write a file")]
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

/// A running program; it ends with the bench, however that ends.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    /// Where one asks.
    pub(crate) address: SocketAddr,
    /// When it was started.
    pub(crate) started: Instant,
    config: Option<PathBuf>,
}

impl Running {
    /// Connects as soon as the address is held.
    ///
    /// # Errors
    ///
    /// Where the program ends before, or takes too long.
    pub(crate) fn connect(&mut self) -> io::Result<TcpStream> {
        loop {
            if let Ok(socket) = TcpStream::connect(self.address) {
                return Ok(socket);
            }
            if let Some(status) = self.child.try_wait()? {
                return Err(io::Error::other(format!("the program ended: {status}")));
            }
            if self.started.elapsed() > LISTEN_MAX {
                return Err(io::Error::other("the program does not listen"));
            }
            #[expect(
                clippy::disallowed_methods,
                reason = "there is nothing to wait on before a bind"
            )]
            thread::sleep(Duration::from_micros(100));
        }
    }

    /// Returns its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns the processor time that all its threads have used, as the scheduler counts it.
    ///
    /// # Errors
    ///
    /// Where the program has ended.
    pub(crate) fn processor_time(&self) -> io::Result<Duration> {
        processor_time(self.id())
    }

    /// Returns a line of `/proc/PID/status` that counts kilobytes, such as `VmRSS`.
    ///
    /// # Errors
    ///
    /// Where there is none.
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

/// Returns the processor time that all threads of a process have used.
///
/// # Errors
///
/// Where there is no such process.
pub(crate) fn processor_time(process: u32) -> io::Result<Duration> {
    let mut total = Duration::ZERO;
    for task in fs::read_dir(format!("/proc/{process}/task"))? {
        // A thread may end meanwhile.
        let Ok(stat) = fs::read_to_string(task?.path().join("schedstat")) else { continue };
        let nanos = stat.split(' ').next().and_then(|nanos| nanos.parse().ok());
        total += Duration::from_nanos(nanos.unwrap_or_default());
    }
    Ok(total)
}

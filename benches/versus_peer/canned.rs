//! The minimal server in C, with which the benchmark compares all programs.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A running minimal server. Dropping this value stops the server.
#[derive(Debug)]
pub(crate) struct Canned {
    child: Child,
    /// The socket address on which the minimal server listens.
    pub(crate) address: SocketAddr,
}

impl Canned {
    /// Compiles the minimal server with `cc`, and starts it. The server answers every request with
    /// `answer`.
    ///
    /// # Errors
    ///
    /// If no C compiler is installed.
    pub(crate) fn start(answer: &[u8]) -> io::Result<Self> {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let (binary, file) = (folder.join("epoll"), folder.join("answer"));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/versus_peer/epoll.c");
        let status = Command::new("cc").arg("-O2").arg("-o").arg(&binary).arg(source).status()?;
        if !status.success() {
            return Err(io::Error::other("cc cannot compile epoll.c"));
        }
        fs::write(&file, answer)?;
        let mut child = Command::new(binary).arg(file).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        let output = child.stdout.take().expect("the stream must be a pipe");
        BufReader::new(output).read_line(&mut line)?;
        let port: u16 = line.trim().parse().map_err(io::Error::other)?;
        Ok(Self { child, address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)) })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Canned {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

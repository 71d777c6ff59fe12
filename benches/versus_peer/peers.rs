//! Installs and configures AWS's own agents.

use crate::subject::{Configure, Start, Subject, TOKEN};
use std::fmt::Write;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One of AWS's own agents, which is installed from the crate registry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    /// The label of the agent in tables.
    pub(crate) label: &'static str,
    package: &'static str,
    version: &'static str,
    binary: &'static str,
    configure: Configure,
}

/// AWS's current agent, and the older agent that it replaces.
pub(crate) const PEERS: [Peer; 2] = [
    Peer {
        label: "AWS provider 3.1.2",
        package: "aws_workload_credentials_provider",
        version: "3.1.2",
        binary: "aws-workload-credentials-provider",
        configure: configure_provider,
    },
    Peer {
        label: "AWS agent 2.1.0",
        package: "aws_secretsmanager_agent",
        version: "2.1.0",
        binary: "aws_secretsmanager_agent",
        configure: configure_agent,
    },
];

impl Peer {
    fn path(&self) -> PathBuf {
        root().join("bin").join(self.binary)
    }

    pub(crate) fn is_installed(&self) -> bool {
        self.path().exists()
    }

    /// Returns the agent as a program to measure. Installs the agent if necessary, which takes
    /// minutes.
    ///
    /// # Errors
    ///
    /// If the agent cannot be installed.
    pub(crate) fn installed(&self) -> io::Result<Subject> {
        if !self.is_installed() {
            let package = format!("{}@{}", self.package, self.version);
            let status = Command::new("cargo")
                .args(["install", "--locked", "--root"])
                .arg(root())
                .arg(&package)
                // The agent is built outside this repository, so that the repository's build
                // settings do not apply.
                .current_dir(std::env::temp_dir())
                .env_remove("AWS_LC_SYS_NO_JITTER_ENTROPY")
                .status()?;
            if !status.success() {
                return Err(io::Error::other(format!("{package} cannot be installed")));
            }
        }
        Ok(Subject { path: self.path(), configure: self.configure })
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers")
}

fn configure_provider(
    command: &mut Command,
    start: &Start<'_>,
    port: u16,
) -> io::Result<Option<PathBuf>> {
    command.args(["sm", "start"]);
    configure_agent(command, start, port)
}

fn configure_agent(
    command: &mut Command,
    start: &Start<'_>,
    port: u16,
) -> io::Result<Option<PathBuf>> {
    let mut toml = format!(
        "log_level = \"error\"\nlog_to_file = false\nhttp_port = \"{port}\"\n\
         ttl_seconds = \"{}\"\nmax_conn = \"1000\"\nregion = \"eu-north-1\"\n\
         validate_credentials = false\n",
        start.ttl.as_secs()
    );
    for name in start.listed {
        let _ = write!(toml, "[[prefetch.secrets]]\nsecret_id = \"{name}\"\n");
    }
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("peer-{port}.toml"));
    fs::write(&file, toml)?;
    command
        .arg("--config")
        .arg(&file)
        .env("AWS_TOKEN", TOKEN)
        .env("AWS_ENDPOINT_URL_SECRETS_MANAGER", start.endpoint);
    if let Some(bundle) = start.bundle {
        command.env("SSL_CERT_FILE", bundle);
    }
    Ok(Some(file))
}

//! The fake AWS server and the programs that the benchmark compares.

use crate::peers::PEERS;
use crate::pinning;
use crate::subject::{Start, Subject};
use crate::tls::TlsFront;
use fake_aws::{Fake, Operation};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::runtime::Runtime;

/// The number of secrets in the fake AWS server.
pub(crate) const SECRETS: usize = 20;

/// The label of Sidekey in tables, as cargo builds Sidekey for a benchmark.
pub(crate) const SIDEKEY: &str = "sidekey";

/// The label of Sidekey in tables, as Sidekey is released: a static binary, optimised for size.
pub(crate) const STATIC: &str = "sidekey, static";

/// The path of the static binary that `extension/layer/static x86_64 --package sidekey --bin
/// sidekey` builds.
const STATIC_PATH: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/target/x86_64-unknown-linux-musl/layer/sidekey");

/// The path of the extension's binary that `extension/layer/build` builds.
pub(crate) const LAYER_PATH: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/target/x86_64-unknown-linux-musl/layer/sidekey-extension"
);

/// The latency of a call to the fake AWS server, if a measurement sets no other latency.
pub(crate) const LATENCY: Duration = Duration::from_millis(20);

/// The fake AWS server, over plain HTTP and over TLS, and the programs to compare.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) fake: Fake,
    front: TlsFront,
    /// The names of the secrets in the fake AWS server.
    pub(crate) names: Vec<String>,
    /// The programs to compare, with their labels. Sidekey is the first program.
    pub(crate) subjects: Vec<(&'static str, Subject)>,
    /// The tokio runtime on which the fake AWS server and its TLS server run.
    _runtime: Runtime,
}

impl Bench {
    /// Starts the fake AWS server. `binary` is the path of Sidekey. If `installs` is set, installs
    /// missing agents of AWS, and otherwise omits them.
    ///
    /// # Errors
    ///
    /// If a program cannot be installed, or the fake AWS server cannot be started.
    #[expect(clippy::disallowed_methods, reason = "the fake AWS server uses the real time")]
    pub(crate) fn set_up(binary: &str, installs: bool) -> io::Result<Self> {
        let runtime = pinning::runtime()?;
        let fake = runtime.block_on(Fake::start(Arc::new(SystemTime::now)))?;
        fake.faults().set_latency(LATENCY);
        let names: Vec<String> = (0..SECRETS).map(|n| format!("bench/secret-{n:02}")).collect();
        for name in &names {
            fake.secrets()
                .create(name, format!("{{\"password\":\"{name}\"}}"))
                .expect("the fake AWS server must create the secret");
        }
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let front = runtime.block_on(TlsFront::start(fake.addr(), folder))?;
        let mut subjects = vec![(SIDEKEY, Subject::sidekey(binary))];
        if Path::new(STATIC_PATH).exists() {
            subjects.push((STATIC, Subject::sidekey(STATIC_PATH)));
        }
        for peer in PEERS.iter().filter(|peer| installs || peer.is_installed()) {
            subjects.push((peer.label, peer.installed()?));
        }
        let bench = Self { fake, front, names, subjects, _runtime: runtime };
        bench.allow_batches(false);
        Ok(bench)
    }

    /// Sets whether the programs may call `BatchGetSecretValue`. Many IAM roles do not allow this
    /// operation.
    pub(crate) fn allow_batches(&self, are_allowed: bool) {
        let faults = self.fake.faults();
        match are_allowed {
            true => faults.allow_operation(Operation::BatchGetSecretValue),
            false => faults.deny_operation(Operation::BatchGetSecretValue),
        }
    }

    /// Returns the URL of the fake AWS server, and the file with its root certificate if `is_tls`
    /// is set.
    pub(crate) fn upstream(&self, is_tls: bool) -> (String, Option<&Path>) {
        match is_tls {
            true => (self.front.url(), Some(self.front.bundle())),
            false => (self.fake.url(), None),
        }
    }

    /// Returns the settings for a start in which Sidekey prefetches the secrets `listed`. AWS's
    /// agents can prefetch only with `BatchGetSecretValue`, and otherwise fetch secrets at the
    /// first read.
    pub(crate) fn start<'a>(
        endpoint: &'a str,
        bundle: Option<&'a Path>,
        label: &str,
        listed: &'a [String],
    ) -> Start<'a> {
        let listed = if [SIDEKEY, STATIC].contains(&label) { listed } else { &[] };
        Start { endpoint, bundle, listed, ttl: Duration::from_secs(300), cgroup: &[] }
    }
}

//! The environment of all measurements: the fake of Secrets Manager, and the programs to compare.

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

/// The number of secrets in the fake.
pub(crate) const SECRETS: usize = 20;

/// The label in tables of Sidekey as cargo builds it for a benchmark.
pub(crate) const SIDEKEY: &str = "sidekey";

/// The label in tables of Sidekey as it ships: a static binary, optimised for size.
pub(crate) const STATIC: &str = "sidekey, static";

/// The path at which `extension/layer/static x86_64 --package sidekey --bin sidekey` places the
/// static binary.
const STATIC_PATH: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/target/x86_64-unknown-linux-musl/layer/sidekey");

/// The path at which `extension/layer/build` places the extension's binary.
pub(crate) const LAYER_PATH: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/target/x86_64-unknown-linux-musl/layer/sidekey-extension"
);

/// The default latency of a call to AWS.
pub(crate) const LATENCY: Duration = Duration::from_millis(20);

/// The fake of Secrets Manager, over plain HTTP and over TLS, and the programs to compare.
#[derive(Debug)]
pub(crate) struct Bench {
    /// The fake of Secrets Manager.
    pub(crate) fake: Fake,
    front: TlsFront,
    /// The names of the secrets.
    pub(crate) names: Vec<String>,
    /// The programs with their labels. Sidekey is the first program.
    pub(crate) subjects: Vec<(&'static str, Subject)>,
    /// The runtime of the fake and of its TLS front. Both run as long as this value lives.
    _runtime: Runtime,
}

impl Bench {
    /// Starts the fake. `binary` is Sidekey's path. With `installs`, missing agents of AWS are
    /// installed first; otherwise they are left out.
    ///
    /// # Errors
    ///
    /// If a program cannot be installed, or the fake cannot be started.
    #[expect(clippy::disallowed_methods, reason = "the fake needs the machine's time")]
    pub(crate) fn set_up(binary: &str, installs: bool) -> io::Result<Self> {
        let runtime = pinning::runtime()?;
        let fake = runtime.block_on(Fake::start(Arc::new(SystemTime::now)))?;
        fake.faults().set_latency(LATENCY);
        let names: Vec<String> = (0..SECRETS).map(|n| format!("bench/secret-{n:02}")).collect();
        for name in &names {
            fake.secrets()
                .create(name, format!("{{\"password\":\"{name}\"}}"))
                .expect("the secret name is unused");
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

    /// Sets whether the role may call `BatchGetSecretValue`, which needs a permission on `*`.
    pub(crate) fn allow_batches(&self, are_allowed: bool) {
        let faults = self.fake.faults();
        match are_allowed {
            true => faults.allow_operation(Operation::BatchGetSecretValue),
            false => faults.deny_operation(Operation::BatchGetSecretValue),
        }
    }

    /// Returns the URL of the fake, over TLS or not, and the file with the root certificate.
    pub(crate) fn upstream(&self, is_tls: bool) -> (String, Option<&Path>) {
        match is_tls {
            true => (self.front.url(), Some(self.front.bundle())),
            false => (self.fake.url(), None),
        }
    }

    /// Returns the parameters of a start in which Sidekey prefetches `listed`. AWS's agents can
    /// prefetch only by batches, which roles seldom permit. So they fetch secrets at the first
    /// read.
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

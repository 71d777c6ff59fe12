//! What every measurement needs: Secrets Manager, and the programs that are compared.

use crate::aside;
use crate::peers::PEERS;
use crate::subject::{Start, Subject};
use crate::tls::TlsFront;
use fake_aws::{Fake, Operation};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::runtime::Runtime;

/// Secrets that there are.
pub(crate) const SECRETS: usize = 20;

/// How tables name this program, as cargo builds it for a bench.
pub(crate) const SIDEKEY: &str = "sidekey";

/// And as it ships: static, and built for size like the layer.
pub(crate) const STATIC: &str = "sidekey, static";

/// Where `extension/layer/static x86_64 --package sidekey --bin sidekey` puts that.
const STATIC_PATH: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/target/x86_64-unknown-linux-musl/layer/sidekey");

/// Where `extension/layer/build` puts what goes into the layer.
pub(crate) const LAYER_PATH: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/target/x86_64-unknown-linux-musl/layer/sidekey-extension"
);

/// What a call takes, unless a measurement says otherwise.
pub(crate) const LATENCY: Duration = Duration::from_millis(20);

/// Secrets Manager, plain and behind TLS, and the programs.
#[derive(Debug)]
pub(crate) struct Bench {
    /// The fake.
    pub(crate) fake: Fake,
    front: TlsFront,
    /// The secrets' names.
    pub(crate) names: Vec<String>,
    /// The programs, each with its label; this one is the first.
    pub(crate) subjects: Vec<(&'static str, Subject)>,
    /// Where the fake and its front run, as long as it is held.
    _runtime: Runtime,
}

impl Bench {
    /// Starts Secrets Manager. `binary` is this program; peers that are not installed are left out, or
    /// are installed first.
    ///
    /// # Errors
    ///
    /// Where something cannot be started or installed.
    #[expect(clippy::disallowed_methods, reason = "a fake tells the time")]
    pub(crate) fn set_up(binary: &str, installs: bool) -> io::Result<Self> {
        let runtime = aside::runtime()?;
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

    /// Says whether the role may call `BatchGetSecretValue`, which needs a permission on `*`.
    pub(crate) fn allow_batches(&self, are_allowed: bool) {
        let faults = self.fake.faults();
        match are_allowed {
            true => faults.allow_operation(Operation::BatchGetSecretValue),
            false => faults.deny_operation(Operation::BatchGetSecretValue),
        }
    }

    /// Returns where Secrets Manager is, over TLS or not, and whom to trust there.
    pub(crate) fn upstream(&self, is_tls: bool) -> (String, Option<&Path>) {
        match is_tls {
            true => (self.front.url(), Some(self.front.bundle())),
            false => (self.fake.url(), None),
        }
    }

    /// Returns what this program is started with where it prefetches `listed`. The others prefetch by
    /// batches alone, which need a permission that a role seldom has: they fetch when they are asked.
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

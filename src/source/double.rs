//! A double of AWS Secrets Manager: speaks its API over HTTP on loopback, in this process.
//!
//! `sidekey dev` runs one so that nobody needs an account to start with; tests and benches run one
//! to see what happens when the real service is slow, broken or gone.
//!
//! ```text
//!  listener ── exchange ──┬─ calls      what was asked
//!  (sockets)   (HTTP)     ├─ faults     what goes wrong, and how late the answer is
//!                         ├─ tokens     whose requests are taken
//!                         ├─ api        Secrets Manager's operations ── store ── secret
//!                         └─ sts        credentials for a web identity's token
//! ```
//!
//! Signatures are not verified. A secret's value cannot be printed from here, and the handles that
//! tests hold ([`Secrets`], [`Faults`], [`Calls`], [`Tokens`]) are cheap to clone.

pub mod address;
pub mod bucket;
pub mod calls;
pub mod error;
pub mod faults;
pub mod operation;
pub mod plaintext;
pub mod secrets;
pub mod seed;
pub mod tokens;

mod api;
mod body;
mod draw;
mod exchange;
mod listener;
mod policy;
mod secret;
mod store;
mod sts;

use address::Place;
use calls::Calls;
use exchange::Desk;
use faults::Faults;
use listener::Listener;
use secrets::Secrets;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime};
use tokens::Tokens;
use tokio::net::TcpListener;
use tokio::time::Sleep;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// Tells the time of day.
pub type Now = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// What is decided before a double starts.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// The account and the region whose secrets are found by name.
    pub home: Place,
}

/// A running double. Dropping it ends its tasks, [`stop`](Self::stop) waits for their end.
pub struct Double {
    listener: Listener,
    desk: Arc<Desk>,
    tasks: TaskTracker,
    stop: DropGuard,
}

impl Config {
    /// Starts a double that serves `listener`. Needs a tokio runtime.
    pub fn build(self, listener: TcpListener, now: Now) -> io::Result<Double> {
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let desk = Arc::new(Desk::new(self.home, now));
        let listener = Listener::start(listener, Arc::clone(&desk), tasks.clone(), stop.clone())?;
        Ok(Double { listener, desk, tasks, stop: stop.drop_guard() })
    }
}

impl Double {
    /// Starts a double on a free port of 127.0.0.1.
    pub async fn start(now: Now) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        Self::start_on(listener, now)
    }

    /// Starts a double on a socket that listens already. Needs a tokio runtime.
    pub fn start_on(listener: TcpListener, now: Now) -> io::Result<Self> {
        Config::default().build(listener, now)
    }

    /// Returns the address that the double listens on.
    pub fn addr(&self) -> SocketAddr {
        self.listener.addr()
    }

    /// Returns the URL to give to a client as its endpoint.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr())
    }

    /// Returns a handle on the secrets.
    pub fn secrets(&self) -> &Secrets {
        &self.desk.secrets
    }

    /// Returns a handle on what is made to go wrong.
    pub fn faults(&self) -> &Faults {
        &self.desk.faults
    }

    /// Returns a handle on the record of calls.
    pub fn calls(&self) -> &Calls {
        &self.desk.calls
    }

    /// Returns a handle on the session tokens that are taken.
    pub fn tokens(&self) -> &Tokens {
        &self.desk.tokens
    }

    /// Returns how many connections have been accepted so far.
    pub fn connections(&self) -> u64 {
        self.listener.connections()
    }

    /// Closes every connection that is open now, in the middle of an answer too. New ones are
    /// accepted.
    pub fn hang_up(&self) {
        self.listener.hang_up();
    }

    /// Refuses connections, and hangs up on those that are open. The port stays ours.
    pub async fn pause(&self) -> io::Result<()> {
        self.listener.pause().await
    }

    /// Accepts connections again, on the same port.
    pub async fn resume(&self) -> io::Result<()> {
        self.listener.resume().await
    }

    /// Stops the double and waits until the last of its tasks has ended.
    pub async fn stop(self) {
        drop(self.stop);
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl fmt::Debug for Double {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Double").field("addr", &self.addr()).finish_non_exhaustive()
    }
}

/// Completes once `span` has passed.
#[expect(clippy::disallowed_methods, reason = "being late is this double's trade")]
fn wait(span: Duration) -> Sleep {
    tokio::time::sleep(span)
}

/// How late the runtime's timers may be: they tick in milliseconds and round up twice, so that by
/// them alone a latency of 20 ms would be one of 21 to 22.
const TIMER_LATENESS: Duration = Duration::from_millis(2);

/// Completes once `span` has passed, to a tenth of a millisecond: it sleeps for most of it and spends
/// the rest looking.
#[expect(clippy::disallowed_methods, reason = "being late is this double's trade")]
async fn wait_precisely(span: Duration) {
    let started = Instant::now();
    if let Some(most) = span.checked_sub(TIMER_LATENESS) {
        wait(most).await;
    }
    while started.elapsed() < span {
        tokio::task::yield_now().await;
    }
}

/// Locks what handles share. No holder runs code that could panic while it is locked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no holder panics")
}

#[cfg(test)]
mod tests;

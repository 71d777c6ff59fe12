//! The reads of all secrets that are asked for, at once.

use crate::client::secret::Unread;
use crate::client::{Address, AskError, Client};
use crate::clock::{Clock, within};
use crate::config::contact::Contact;
use crate::secret::key::Key;
use crate::secret::version::Content;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// How many reads are under way at once: as many as an agent makes calls.
const READS_MAX: usize = 32;

/// How long one read may take. The agent gives up first, and says why: after 5 s by default.
const READ_WAIT_MAX: Duration = Duration::from_secs(30);

/// How long to rest before looking again for an agent that does not listen yet.
const PAUSE: Duration = Duration::from_millis(20);

/// Waits until somebody listens at `address`, for `wait` at most.
///
/// # Errors
///
/// What connecting failed with at last; at once where waiting would not help.
pub(super) async fn reach(
    address: &Address,
    wait: Duration,
    clock: &dyn Clock,
) -> Result<(), AskError> {
    let started = clock.now();
    loop {
        let error = match Client::connect(address, None).await {
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        let is_over = clock.now().since(started).is_none_or(|waited| waited >= wait);
        if is_over || !may_come_up(&error) {
            return Err(error);
        }
        clock.sleep(PAUSE).await;
    }
}

/// Returns whether an agent that starts now would end the error.
fn may_come_up(error: &AskError) -> bool {
    let AskError::NoAgent(_, error) = error else { return false };
    matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound)
}

/// Reads every secret, up to [`READS_MAX`] at once.
pub(super) async fn read_all(
    contact: Contact,
    keys: Vec<Key>,
    clock: Arc<dyn Clock>,
) -> HashMap<Key, Result<Content, Unread>> {
    let (contact, turns) = (Arc::new(contact), Arc::new(Semaphore::new(READS_MAX)));
    let mut reads = JoinSet::new();
    for key in keys {
        let (contact, turns, clock) = (contact.clone(), turns.clone(), clock.clone());
        reads.spawn(async move {
            let _turn = turns.acquire().await;
            let read = within(&*clock, READ_WAIT_MAX, read(&contact, &key)).await;
            let late = || Unread::Unasked(format!("no answer within {READ_WAIT_MAX:?}"));
            (key, read.unwrap_or_else(|| Err(late())))
        });
    }
    // A read that panicked is not among them, and is told as one without an answer.
    let mut answers = HashMap::new();
    while let Some(read) = reads.join_next().await {
        answers.extend(read);
    }
    answers
}

async fn read(contact: &Contact, key: &Key) -> Result<Content, Unread> {
    let client = Client::connect(&contact.address, contact.token.as_ref()).await;
    let mut client = client.map_err(|error| Unread::Unasked(error.to_string()))?;
    client.secret(key).await.map(|version| version.content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Moment, Sleep};
    use std::net::TcpListener;
    use std::sync::Mutex;

    /// A clock that stands still but for sleeps, which take no time.
    #[derive(Debug, Default)]
    struct Hurried(Mutex<Duration>);

    impl Clock for Hurried {
        fn now(&self) -> Moment {
            let steady = *self.0.lock().expect("no panic");
            Moment { wall: std::time::UNIX_EPOCH + steady, steady }
        }

        fn sleep(&self, span: Duration) -> Sleep {
            *self.0.lock().expect("no panic") += span;
            Box::pin(async {})
        }
    }

    #[tokio::test]
    async fn an_agent_that_does_not_listen_is_waited_for_and_not_for_ever() {
        let held = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let free = held.local_addr().expect("bound");
        let clock = Hurried::default();
        let wait = Duration::from_secs(1);
        assert!(reach(&Address::Loopback(free), wait, &clock).await.is_ok());
        assert_eq!(clock.now().steady, Duration::ZERO);

        let absent = Address::Socket("/nonexistent/socket".into());
        let error = reach(&absent, wait, &clock).await.expect_err("nobody is there");
        assert_eq!(error.to_string(), "no agent answers at /nonexistent/socket");
        assert_eq!(clock.now().steady, wait);

        let nowhere = Address::Socket("x".repeat(1000).into());
        assert!(reach(&nowhere, wait, &clock).await.is_err(), "no path of a socket");
        assert_eq!(clock.now().steady, wait, "an agent that starts would change nothing");
    }
}

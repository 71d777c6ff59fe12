//! Waits until an agent listens, and then reads the secrets for all environment variables from the
//! agent. Several reads run at the same time.

use super::variable::Answers;
use crate::client::route::RouteAccess;
use crate::client::secret::ReadError;
use crate::client::{Address, Client, ClientError};
use crate::clock::{Clock, within};
use crate::config::contact::Contact;
use crate::secret::key::Key;
use crate::secret::version::Content;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// How many secrets `sidekey exec` reads from the agent at the same time. A larger number would not
/// be faster, because the agent makes at most this number of calls to AWS at the same time.
const READS_MAX: usize = 32;

/// How long `sidekey exec` waits for the agent's answer about one secret.
///
/// The agent waits for AWS for 5 s by default. `sidekey exec` waits longer, so that the agent can
/// still report that AWS does not answer.
pub(super) const READ_WAIT_MAX: Duration = Duration::from_secs(30);

/// The pause between two attempts to connect to an agent that does not listen yet.
pub(super) const PAUSE: Duration = Duration::from_millis(20);

/// Tries to connect to `address` until an agent listens there, but at most for the time `wait`.
///
/// # Errors
///
/// Returns the error of the last attempt. Returns at once if waiting cannot help, for example if
/// the system denies access to the socket.
pub(super) async fn wait_for_listener(
    address: &Address,
    wait: Duration,
    clock: &dyn Clock,
) -> Result<(), ClientError> {
    let started = clock.now();
    loop {
        let error = match Client::connect(address, None).await {
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        let is_over = clock.now().since(started).is_none_or(|waited| waited >= wait);
        if is_over || !may_start_later(&error) {
            return Err(error);
        }
        clock.sleep(PAUSE).await;
    }
}

/// Returns whether `error` means that no process listens at the agent's address. In this case, the
/// agent may still be starting.
fn may_start_later(error: &ClientError) -> bool {
    let ClientError::NoAgent(_, error) = error else { return false };
    matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound)
}

/// Reads from the agent the values of the secrets `keys`, up to [`READS_MAX`] at the same time, and
/// the base URLs and phantom tokens of the `routes`.
///
/// If the task that reads a secret panics, the result does not contain this secret.
pub(super) async fn read_all(
    contact: Contact,
    keys: Vec<Key>,
    routes: Vec<Box<str>>,
    clock: Arc<dyn Clock>,
) -> Answers {
    let (contact, permits) = (Arc::new(contact), Arc::new(Semaphore::new(READS_MAX)));
    let mut answers = Answers::default();
    // The agent answers requests for routes without a call to AWS, so these few requests are fast.
    for segment in routes {
        let access = within(&*clock, READ_WAIT_MAX, route(&contact, &segment)).await;
        answers.routes.insert(segment, access.unwrap_or_else(|| Err(late())));
    }
    let mut reads = JoinSet::new();
    for key in keys {
        let (contact, permits, clock) = (contact.clone(), permits.clone(), clock.clone());
        reads.spawn(async move {
            let _permit = permits.acquire().await;
            let content = within(&*clock, READ_WAIT_MAX, read(&contact, &key)).await;
            (key, content.unwrap_or_else(|| Err(late())))
        });
    }
    while let Some(read) = reads.join_next().await {
        answers.secrets.extend(read);
    }
    answers
}

async fn route(contact: &Contact, segment: &str) -> Result<RouteAccess, ReadError> {
    let mut client = Client::connect(&contact.address, contact.token.as_ref())
        .await
        .map_err(|error| ReadError::NoAnswer(error.to_string()))?;
    client.route(segment).await
}

fn late() -> ReadError {
    ReadError::NoAnswer(format!("the Sidekey agent did not answer within {READ_WAIT_MAX:?}"))
}

async fn read(contact: &Contact, key: &Key) -> Result<Content, ReadError> {
    let mut client = Client::connect(&contact.address, contact.token.as_ref())
        .await
        .map_err(|error| ReadError::NoAnswer(error.to_string()))?;
    client.secret(key).await.map(|version| version.content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Moment, Sleep};
    use std::net::TcpListener;
    use std::sync::Mutex;

    /// A test clock that advances only through sleeps. Each sleep returns at once, so that tests of
    /// timeouts are fast.
    #[derive(Debug, Default)]
    struct SleepClock(Mutex<Duration>);

    impl Clock for SleepClock {
        fn now(&self) -> Moment {
            let steady = *self.0.lock().expect("no thread may panic while it holds the lock");
            Moment { wall: std::time::UNIX_EPOCH + steady, steady }
        }

        fn sleep(&self, span: Duration) -> Sleep {
            *self.0.lock().expect("no thread may panic while it holds the lock") += span;
            Box::pin(async {})
        }
    }

    #[tokio::test]
    async fn absent_agent_is_awaited_up_to_the_timeout() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("the listener must get a free port");
        let address = listener.local_addr().expect("the listener is bound");
        let clock = SleepClock::default();
        let wait = Duration::from_secs(1);
        assert!(wait_for_listener(&Address::Loopback(address), wait, &clock).await.is_ok());
        assert_eq!(clock.now().steady, Duration::ZERO);

        let absent = Address::Socket("/nonexistent/socket".into());
        let error = wait_for_listener(&absent, wait, &clock).await.expect_err("no agent listens");
        assert_eq!(error.to_string(), "no agent listens at /nonexistent/socket");
        assert_eq!(clock.now().steady, wait);

        let invalid = Address::Socket("x".repeat(1000).into());
        assert!(
            wait_for_listener(&invalid, wait, &clock).await.is_err(),
            "a socket path of 1,000 bytes must be refused as too long"
        );
        assert_eq!(
            clock.now().steady,
            wait,
            "an error that waiting cannot fix must be returned at once"
        );
    }
}

//! Answers a call of the AWS API: from the cache, and what is missing through its flight.

use super::body::{self, Arriving, BODY_BYTES_MAX};
use super::dialect::answer;
use super::dialect::aws_api::operation::{Call, Named, Operation};
use super::dialect::aws_api::{Batch, JSON, description, value};
use super::problem::Problem;
use super::reading::{describe, hand_over, keep_out, result};
use super::{Response, Server};
use crate::cache::Served;
use crate::secret::reference::{Beside, Wanted};
use crate::secret::selector::Selector;
use crate::telemetry::metrics::ReadResult;
use hyper::StatusCode;
use std::future::{Future, poll_fn};
use std::task::Poll;

impl Server {
    /// Reads the body of a call and answers it.
    pub(super) async fn call(
        &self,
        operation: Operation,
        body: &mut impl Arriving,
    ) -> Result<(Response, ReadResult), Problem> {
        let body = body::read(body, BODY_BYTES_MAX, self.cache.clock()).await?;
        match operation.parse(&body)? {
            Call::Get(named) => self.get(&named).await,
            Call::Batch(ids) => Ok(self.batch(&ids).await),
            Call::Describe(named) => self.describe(&named).await,
        }
    }

    async fn get(&self, named: &Named) -> Result<(Response, ReadResult), Problem> {
        let wanted = named.wanted()?;
        let served = self.serve(&wanted, false).await?;
        let mut response = hand_over(JSON, &value(&served.entry, wanted.field)?);
        describe(response.headers_mut(), &served);
        Ok((response, result(&served, &self.metrics)))
    }

    async fn describe(&self, named: &Named) -> Result<(Response, ReadResult), Problem> {
        let current = Wanted { selector: Selector::current(), ..named.wanted()? };
        // It has no value, so that one who mends a secret can look at it.
        let served = self.find(&current, false).await?;
        let held = self.cache.beside(&served.entry);
        let mut response = answer(StatusCode::OK, JSON, description(&served.entry.version, &held));
        keep_out(response.headers_mut());
        describe(response.headers_mut(), &served);
        Ok((response, result(&served, &self.metrics)))
    }

    /// Reads all of a batch at once, so that it takes no longer than one read may. What is asked for
    /// twice is answered once, as AWS does.
    async fn batch(&self, ids: &[String]) -> (Response, ReadResult) {
        let mut asked: Vec<&str> = Vec::new();
        for id in ids {
            if !asked.contains(&&**id) {
                asked.push(id);
            }
        }
        let reads = asked.iter().map(|id| async move {
            let wanted = Wanted::parse(id, Beside::default())?;
            let served = self.serve(&wanted, false).await?;
            let body = value(&served.entry, wanted.field)?;
            Ok((wanted.field, served, body))
        });
        let mut batch = Batch::default();
        let mut answered: Vec<(Option<&str>, Served)> = Vec::new();
        let mut worst = ReadResult::Hit;
        let done: Vec<Result<_, Problem>> = all(reads).await;
        for (id, read) in asked.iter().zip(done) {
            match read {
                Ok((field, served, body)) => {
                    worst = worse(worst, result(&served, &self.metrics));
                    if !answered.iter().any(|(of, own)| *of == field && is_same(own, &served)) {
                        batch.add(body);
                        answered.push((field, served));
                    }
                }
                Err(problem) => batch.fail(id, &problem),
            }
        }
        let result = if batch.is_empty() { ReadResult::Error } else { worst };
        (hand_over(JSON, &batch.body()), result)
    }
}

/// Returns whether two ids led to the same version of the same secret.
fn is_same(a: &Served, b: &Served) -> bool {
    let (a, b) = (&a.entry.version, &b.entry.version);
    a.arn == b.arn && a.id == b.id
}

/// Returns the result that a batch counts with: whether anybody had to wait comes first.
fn worse(a: ReadResult, b: ReadResult) -> ReadResult {
    match (a, b) {
        (ReadResult::Miss, _) | (_, ReadResult::Miss) => ReadResult::Miss,
        (ReadResult::Hit, other) => other,
        (other, _) => other,
    }
}

/// Waits for all of `work` at once, and returns what came of each, in order.
pub(super) async fn all<F: Future>(work: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut work: Vec<_> = work.map(|work| (Box::pin(work), None)).collect();
    poll_fn(|cx| {
        let mut is_done = true;
        for (work, done) in work.iter_mut().filter(|(_, done)| done.is_none()) {
            match work.as_mut().poll(cx) {
                Poll::Ready(output) => *done = Some(output),
                Poll::Pending => is_done = false,
            }
        }
        if is_done { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    work.into_iter().filter_map(|(_, done)| done).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, VirtualClock};
    use std::time::{Duration, SystemTime};

    #[tokio::test(start_paused = true)]
    async fn what_is_waited_for_together_takes_no_longer_than_its_longest() {
        let clock = VirtualClock::starting_at(SystemTime::UNIX_EPOCH);
        let clock = &clock;
        let work = [3, 1, 0, 2].into_iter().map(|seconds| async move {
            clock.sleep(Duration::from_secs(seconds)).await;
            seconds
        });
        assert_eq!(all(work).await, [3, 1, 0, 2]);
        assert_eq!(clock.now().steady, Duration::from_secs(3));
    }

    #[test]
    fn a_batch_counts_as_its_slowest() {
        use ReadResult::{Hit, Miss, Stale};
        for (a, b, expected) in [
            (Hit, Hit, Hit),
            (Hit, Stale, Stale),
            (Stale, Hit, Stale),
            (Stale, Miss, Miss),
            (Miss, Stale, Miss),
        ] {
            assert_eq!(worse(a, b), expected, "{a:?} {b:?}");
        }
    }
}

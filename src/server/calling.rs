//! Answers a call of the AWS API: from the cache, and what is missing through its flight.

use super::body::{self, Arriving, BODY_BYTES_MAX};
use super::dialect::answer;
use super::dialect::aws_api::operation::{Call, Named, Operation};
use super::dialect::aws_api::{Batch, JSON, description, value};
use super::few::Few;
use super::problem::Problem;
use super::reading::{describe, hand_over, keep_out, result, whole};
use super::{Response, Server};
use crate::cache::Served;
use crate::clock::Moment;
use crate::secret::reference::{BorrowedReference, SeparateParts};
use crate::secret::selector::Selector;
use crate::secret::value::SecretValue;
use crate::telemetry::metrics::ReadResult;
use hyper::StatusCode;

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
        let current = BorrowedReference { selector: Selector::current(), ..named.wanted()? };
        // It has no value, so that one who mends a secret can look at it.
        let served = self.find(&current, false).await?;
        let held = self.cache.beside(&served.entry);
        let mut response = answer(StatusCode::OK, JSON, description(&served.entry.version, &held));
        keep_out(response.headers_mut());
        describe(response.headers_mut(), &served);
        Ok((response, result(&served, &self.metrics)))
    }

    /// Reads all of a batch, which takes no longer than one read may. What is asked for
    /// twice is answered once, as AWS does.
    async fn batch(&self, ids: &[String]) -> (Response, ReadResult) {
        let mut asked: Vec<&str> = Vec::new();
        for id in ids {
            if !asked.contains(&&**id) {
                asked.push(id);
            }
        }
        let started = self.cache.clock().now();
        let mut done = Vec::with_capacity(asked.len());
        let mut reads = Few::new(|number: usize, read| done.push((number, read)));
        for id in &asked {
            reads.start(self.batched(id, started)).await;
        }
        let mut batch = Batch::default();
        let mut answered: Vec<(Option<&str>, Served)> = Vec::new();
        let mut worst = ReadResult::Hit;
        reads.finish().await;
        done.sort_by_key(|(number, _)| *number);
        for (id, (_, read)) in asked.iter().zip(done) {
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

    async fn batched<'a>(&self, id: &'a str, started: Moment) -> Result<Batched<'a>, Problem> {
        let wanted = BorrowedReference::parse(id, SeparateParts::default())?;
        let served = whole(self.find_since(&wanted, started).await?)?;
        let body = value(&served.entry, wanted.field)?;
        Ok((wanted.field, served, body))
    }
}

/// The outcome of one id of a batch: the field that the id names, the secret, and its form in the AWS
/// API.
type Batched<'a> = (Option<&'a str>, Served, SecretValue);

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

#[cfg(test)]
mod tests {
    use super::*;

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

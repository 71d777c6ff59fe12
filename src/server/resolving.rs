//! Answers `POST /resolve`: every reference of a message, or of a whole event, in one round trip.
//!
//! What is held is answered at once; what is missing is fetched by flights, all at the same time, and
//! waited for as long as one reader waits. A message fails alone.

pub mod ask;
pub mod unresolved;

use super::body::{self, Arriving, MESSAGES_BYTES_MAX};
use super::calling::all;
use super::dialect::resolve::{self, Credential, Resolved};
use super::problem::Problem;
use super::reading::{check_whole, hand_over, result};
use super::{Response, Server};
use crate::cache::Served;
use crate::message::body::{BadBody, Body, REFERENCES_MAX};
use crate::message::order::held_up;
use crate::message::paths::Paths;
use crate::message::tenant::Tie;
use crate::secret::reference::{Beside, Wanted};
use crate::telemetry::harmless::Harmless;
use crate::telemetry::metrics::ReadResult;
use ask::{Ask, Want, distinct};
use std::collections::HashMap;
use unresolved::Unresolved;

/// The most secrets that one request may refer to: as many as are held where nothing else is said.
/// Each that is missing waits for a flight, and those who ask for one secret wait behind them.
const SECRETS_MAX: usize = 1000;

/// The largest answer. A batch of ten messages takes a few kilobytes.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How much text of messages is parsed before other requests get their turn: a millisecond's.
const TURN_BYTES: usize = 64 * 1024;

/// How messages are resolved.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where a message has its references.
    pub paths: Paths,
    /// What a message must say of whose secrets it refers to.
    pub tie: Tie,
}

/// What came of reading one reference. What is wrong with its value, or its fields, is told to nobody
/// whose secret it is not.
struct Read<'a> {
    served: &'a Served,
    credential: Result<Credential<'a>, Problem>,
}

impl Server {
    /// Reads the body of a request and answers it.
    pub(super) async fn resolve(&self, body: &mut impl Arriving) -> Result<Response, Problem> {
        let asks = {
            let body = body::read(body, MESSAGES_BYTES_MAX, self.cache.clock()).await?;
            self.asks(&body).await?
        };
        let references = distinct(&asks);
        if references.len() > SECRETS_MAX {
            return Err(Problem::TooManySecrets(SECRETS_MAX));
        }
        let served = all(references.iter().map(|reference| async move {
            let wanted = Wanted::parse(reference, Beside::default())?;
            Ok((wanted.field, self.find(&wanted, false).await?))
        }));
        let served: Vec<Result<(Option<&str>, Served), Problem>> = served.await;
        let reads = served.iter().map(|read| {
            let (field, served) = read.as_ref().map_err(Clone::clone)?;
            Ok(Read { served, credential: credential(served, *field) })
        });
        let reads: HashMap<&str, Result<Read<'_>, Problem>> =
            references.into_iter().zip(reads).collect();
        let mut resolved: Vec<Resolved<'_>> =
            asks.iter().map(|ask| self.resolved(ask, &reads)).collect();
        self.note_refusals(&resolved);
        let in_order = asks.iter().zip(&resolved);
        let in_order = in_order.map(|(ask, resolved)| (ask.group.as_deref(), resolved.is_ok()));
        let held_up = held_up(in_order);
        for (resolved, is_held_up) in resolved.iter_mut().zip(held_up) {
            if is_held_up {
                resolved.hold_up();
            }
        }
        let body = resolve::body(&resolved, ANSWER_BYTES_MAX);
        let body = body.ok_or(Problem::AnswerTooLarge(ANSWER_BYTES_MAX))?;
        Ok(hand_over("application/json", &body))
    }

    /// Finds what is asked for in a body.
    async fn asks(&self, body: &[u8]) -> Result<Vec<Ask>, Problem> {
        let config = &self.resolving;
        let records = match Body::recognise(body)? {
            Body::List(references) => return Ok(vec![Ask::of_list(config, references)]),
            Body::Message(message) => return Ok(vec![Ask::of_message(config, &message)]),
            Body::Event(records) => records,
        };
        let mut asks = Vec::with_capacity(records.len());
        let (mut references, mut bytes) = (0, 0);
        for record in &records {
            let ask = Ask::of_record(config, record);
            references += ask.wants.len();
            if references > REFERENCES_MAX {
                return Err(BadBody::TooManyReferences.into());
            }
            asks.push(ask);
            bytes += record.len();
            if bytes > TURN_BYTES {
                bytes = 0;
                tokio::task::yield_now().await;
            }
        }
        Ok(asks)
    }

    /// Puts together what came of one message, and counts its reads.
    fn resolved<'a>(
        &self,
        ask: &'a Ask,
        reads: &'a HashMap<&str, Result<Read<'_>, Problem>>,
    ) -> Resolved<'a> {
        let mut resolved = Resolved::of(ask.message_id.as_deref(), ask.problem.clone());
        for want in &ask.wants {
            let read = self.read_of(ask, want, reads);
            self.metrics.read(match &read {
                Ok((served, _)) => result(served, &self.metrics),
                Err(unresolved) => unresolved.result(),
            });
            let credential = read.map(|(_, credential)| credential);
            resolved.add(&want.key, &want.reference, credential);
        }
        resolved
    }

    /// Returns what came of one reference, for this message: another may have it, and this one not.
    fn read_of<'a>(
        &self,
        ask: &Ask,
        want: &Want,
        reads: &'a HashMap<&str, Result<Read<'_>, Problem>>,
    ) -> Result<(&'a Served, &'a Credential<'a>), Unresolved> {
        if let Some(refused) = &want.refused {
            return Err(refused.clone());
        }
        let read = reads.get(&*want.reference).expect("what is not refused was read");
        let read = read.as_ref().map_err(|problem| Unresolved::Read(problem.clone()))?;
        let name = &read.served.entry.version.name;
        self.resolving.tie.judge_answer(name, &ask.tenant)?;
        let credential = read.credential.as_ref();
        let credential = credential.map_err(|problem| Unresolved::Read(problem.clone()))?;
        Ok((read.served, credential))
    }

    /// Logs what was refused, in one line at a limited rate.
    fn note_refusals(&self, resolved: &[Resolved<'_>]) {
        let failures = resolved.iter().flat_map(Resolved::failures);
        let mut refused = failures.filter(|(_, why)| why.result() == ReadResult::Refused);
        let Some((reference, why)) = refused.next() else { return };
        match self.refusals_logged.pass(self.cache.clock().now()) {
            Some(left_out) => tracing::warn!(
                reference = %Harmless(reference),
                error = why.kind(),
                reason = %Harmless(&why.message()),
                refused = 1 + refused.count(),
                left_out,
                "refused to resolve a reference"
            ),
            None => self.metrics.log_lines_dropped.inc(),
        }
    }
}

/// Takes what is to be handed out of a value, if it may be.
fn credential<'a>(served: &'a Served, field: Option<&str>) -> Result<Credential<'a>, Problem> {
    check_whole(served)?;
    Ok(Credential::of(served, field)?)
}

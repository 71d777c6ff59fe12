//! Answers `POST /resolve`: every reference of a message, or of a whole event, in one round trip.
//!
//! Cached secrets are answered at once. The others are fetched by flights, a few at a time, and waited
//! for as long as one reader waits. A message fails alone: bounds are of each message first, and if all
//! messages together cross one, the largest give way.

pub mod ask;
pub mod findings;
pub mod share;
pub mod unresolved;

use super::body::{self, Arriving, MESSAGES_BYTES_MAX};
use super::dialect::resolve::{self, Credential, Resolved};
use super::few::Few;
use super::problem::Problem;
use super::reading::{check_whole, hand_over, result};
use super::{Response, Server};
use crate::cache::Served;
use crate::clock::Moment;
use crate::message::body::{BadBody, BadMessage, Body, RawRecord};
use crate::message::order::blocked_messages;
use crate::message::paths::Paths;
use crate::message::search::Search;
use crate::message::tenant::TenantCheck;
use crate::printable::LogExcerpt;
use crate::secret::reference::{BorrowedReference, SecretId, SeparateParts};
use crate::telemetry::metrics::ReadResult;
use ask::{Ask, Judge, Want};
use findings::{Finding, Findings};
use share::{Share, distinct};
use std::collections::{HashMap, HashSet};
use unresolved::Unresolved;

/// The most secrets that one request may name: as many as are cached by default.
const SECRETS_MAX: usize = 1000;

/// The most memory for the references of one request, in bytes: some 10,000 of usual length.
const ASKS_BYTES_MAX: usize = 2 * 1024 * 1024;

/// The most bytes of the credentials of one message: secrets have up to 64 KiB, and a message refers
/// to a few of them.
const MESSAGE_ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// The most bytes of an answer, or as many as its body has, if those are more: each message gets
/// about as many bytes back as it has itself.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How much text of messages is parsed before other requests get their turn: a millisecond's.
const TURN_BYTES: usize = 64 * 1024;

/// How messages are resolved.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where a message has its references.
    pub paths: Paths,
    /// What a message must say of whose secrets it refers to.
    pub tenant_check: TenantCheck,
}

/// The outcome of reading one reference. A problem with the value or its fields is shown only to
/// messages that may have the secret.
struct Read<'a> {
    served: &'a Served,
    credential: Result<Credential<'a>, Problem>,
}

/// What a body asks for.
struct Asks {
    messages: Vec<Ask>,
    /// Whether the caller sent one list: a list over its bounds fails the request.
    is_list: bool,
    /// The most bytes of the answer.
    answer_max: usize,
}

impl Server {
    /// Reads the body of a request and answers it.
    pub(super) async fn resolve(&self, body: &mut impl Arriving) -> Result<Response, Problem> {
        let clock = self.cache.clock();
        let announced = body::announced(body);
        let _hold = self.in_hand.hold(announced, clock).await?;
        let Asks { mut messages, is_list, answer_max } = {
            let body = body::read(body, MESSAGES_BYTES_MAX, clock).await?;
            self.asks(&body).await?
        };
        let (_, give_way) = distinct(&to_read(&messages), SECRETS_MAX);
        for index in give_way {
            messages[index].fail(Unresolved::TooManySecrets(SECRETS_MAX));
        }
        let (references, _) = distinct(&to_read(&messages), SECRETS_MAX);
        let found = self.find_all(&references, answer_max).await;
        let reads = references.iter().copied().zip(found.iter().map(read_of)).collect();
        let mut resolved: Vec<Resolved<'_>> =
            messages.iter().map(|ask| self.resolved(ask, &reads)).collect();
        self.note_refusals(&resolved);
        if is_list {
            let is_too_large = resolved.iter().any(|one| one.size() > answer_max);
            if is_too_large {
                return Err(Problem::AnswerTooLarge(answer_max));
            }
        } else {
            fail_too_large(&mut resolved, answer_max);
        }
        let in_order = messages.iter().zip(&resolved);
        let in_order = in_order.map(|(ask, resolved)| (ask.group.as_deref(), resolved.is_ok()));
        let held_up = blocked_messages(in_order);
        for (resolved, is_held_up) in resolved.iter_mut().zip(held_up) {
            if is_held_up {
                resolved.hold_up();
            }
        }
        Ok(hand_over("application/json", &resolve::body(&resolved)))
    }

    /// Finds what is asked for in a body.
    async fn asks(&self, body: &[u8]) -> Result<Asks, Problem> {
        let config = &self.resolving;
        let search = Search::new(&config.paths, config.tenant_check.paths());
        let is_allowed = |id: &SecretId| self.cache.is_allowed(id);
        let judge = Judge { config, is_allowed: &is_allowed };
        let answer_max = ANSWER_BYTES_MAX.max(body.len());
        let (messages, is_list) = match Body::recognise(body)? {
            Body::List(references) => {
                let different: HashSet<&str> = references.iter().map(|one| &**one).collect();
                if different.len() > SECRETS_MAX {
                    return Err(Problem::TooManySecrets(SECRETS_MAX));
                }
                (vec![judge.list(&references)], true)
            }
            Body::Message(message) => match message.search(&search) {
                Ok(found) => (vec![judge.message(found)], false),
                Err(BadBody::LimitExceeded(overgrown)) => {
                    (vec![Ask::failed(BadMessage::LimitExceeded(overgrown).into())], false)
                }
                Err(bad) => return Err(bad.into()),
            },
            Body::Event(records) => (self.event(&judge, &search, &records).await?, false),
        };
        Ok(Asks { messages, is_list, answer_max })
    }

    /// Finds what is asked for in each record of an event.
    async fn event(
        &self,
        judge: &Judge<'_>,
        search: &Search<'_>,
        records: &[RawRecord<'_>],
    ) -> Result<Vec<Ask>, BadBody> {
        let mut messages: Vec<Ask> = Vec::with_capacity(records.len());
        let mut share = Share::new(ASKS_BYTES_MAX);
        let mut bytes = 0;
        for (index, raw) in records.iter().enumerate() {
            let record = raw.read(index)?;
            let found = record.search(search);
            let ask = judge.record(record, found);
            let size = ask.bytes();
            messages.push(ask);
            // A message without references takes nothing, and an event can have many of these.
            let give_way = if size > 0 { share.take(index, size) } else { Vec::new() };
            for index in give_way {
                messages[index].fail(Unresolved::TooManyReferences);
            }
            bytes += raw.bytes();
            if bytes > TURN_BYTES {
                bytes = 0;
                tokio::task::yield_now().await;
            }
        }
        Ok(messages)
    }

    /// Reads the secrets of one request, the first references first. The request waits no longer than
    /// one reader does, and keeps values of `bytes_max` bytes at most.
    async fn find_all<'r>(&self, references: &[&'r str], bytes_max: usize) -> Vec<Finding<'r>> {
        let started = self.cache.clock().now();
        let mut findings = Findings::of(references.len(), bytes_max);
        let mut reads = Few::new(|number, finding| findings.put(number, finding));
        for reference in references {
            reads.start(self.find_one(reference, started)).await;
        }
        reads.finish().await;
        findings.into_all()
    }

    async fn find_one<'r>(&self, reference: &'r str, started: Moment) -> Finding<'r> {
        let wanted = BorrowedReference::parse(reference, SeparateParts::default())?;
        let served = self.find_since(&wanted, started).await?;
        Ok((wanted.field, served))
    }

    /// Puts together what came of one message, and counts its reads.
    fn resolved<'a>(
        &self,
        ask: &'a Ask,
        reads: &'a HashMap<&str, Result<Read<'_>, Problem>>,
    ) -> Resolved<'a> {
        let mut resolved = Resolved::of(ask.message_id.as_deref(), ask.problem.as_ref());
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
        let read = read.as_ref().map_err(|problem| Unresolved::from(problem.clone()))?;
        let name = &read.served.entry.version.name;
        self.resolving.tenant_check.check_answer(name, &ask.tenant)?;
        let credential = read.credential.as_ref();
        let credential = credential.map_err(|problem| Unresolved::from(problem.clone()))?;
        Ok((read.served, credential))
    }

    /// Logs what was refused, in one line at a limited rate.
    fn note_refusals(&self, resolved: &[Resolved<'_>]) {
        let failures = resolved.iter().flat_map(Resolved::failures);
        let mut refused = failures.filter(|(_, why)| why.result() == ReadResult::Refused);
        let Some((reference, why)) = refused.next() else { return };
        match self.refusals_logged.pass(self.cache.clock().now()) {
            Some(left_out) => tracing::warn!(
                reference = %LogExcerpt(reference),
                error = why.kind(),
                reason = %LogExcerpt(&why.message()),
                refused = 1 + refused.count(),
                left_out,
                "refused to resolve a reference"
            ),
            None => self.metrics.log_lines_dropped.inc(),
        }
    }
}

/// Returns the references that are to be read, of each message that has some, with its index.
fn to_read(messages: &[Ask]) -> Vec<(usize, Vec<&str>)> {
    let references = messages.iter().map(Ask::to_read).enumerate();
    references.filter(|(_, references)| !references.is_empty()).collect()
}

/// Fails each message whose credentials are too large, and the largest of those that are too large
/// together.
fn fail_too_large(resolved: &mut [Resolved<'_>], answer_max: usize) {
    let mut together = 0;
    for one in resolved.iter_mut() {
        let size = one.size();
        if size > MESSAGE_ANSWER_BYTES_MAX {
            one.fail(Unresolved::TooLarge(MESSAGE_ANSWER_BYTES_MAX));
        } else {
            together += size;
        }
    }
    if together <= answer_max {
        return;
    }
    let mut share = Share::new(answer_max);
    for index in 0..resolved.len() {
        for index in share.take(index, resolved[index].size()) {
            resolved[index].fail(Unresolved::AnswerTooLarge(answer_max));
        }
    }
}

/// Takes the credential out of what was found.
fn read_of<'a>(found: &'a Finding<'_>) -> Result<Read<'a>, Problem> {
    let (field, served) = found.as_ref().map_err(Clone::clone)?;
    Ok(Read { served, credential: credential(served, *field) })
}

/// Takes what is to be handed out of a value, if it may be.
fn credential<'a>(served: &'a Served, field: Option<&str>) -> Result<Credential<'a>, Problem> {
    check_whole(served)?;
    Ok(Credential::of(served, field)?)
}

//! Answers `POST /resolve`: reads all secrets that a message or an SQS event refers to, in one
//! round trip.
//!
//! Cached secrets are answered at once. Each uncached secret needs a call to AWS, which concurrent
//! readers of the same secret share. The number of concurrent calls is limited. The whole request
//! has the same time limit as a request for one secret.
//!
//! If a message fails, the other messages of the request do not fail. Each message has its own
//! limits. If all messages together exceed a limit, the largest messages fail.

pub(crate) mod message_result;
pub(crate) mod message_request;
pub(crate) mod findings;
pub(crate) mod shared_limit;
pub(crate) mod unresolved;
pub(crate) mod config;

pub(crate) use config::Config;

use super::body::{self, MESSAGES_BYTES_MAX, RequestBody};
use super::concurrent_reads::ConcurrentReads;
use super::context::Context;
use super::lookup::{find_since, read_result, refuse_withheld};
use super::memory_budget::MemoryBudget;
use super::problem::Problem;
use super::response::{self, JSON, Response};
use crate::cache::Served;
use crate::clock::Moment;
use crate::message::body::{BadBody, BadMessage, Body, RawRecord};
use crate::message::order::blocked_messages;
use crate::message::search::Search;
use crate::printable::LogExcerpt;
use crate::secret::json_text::replace_lone_surrogates;
use crate::secret::reference::{BorrowedReference, SecretId, SeparateParts};
use crate::telemetry::metrics::ReadResult;
use findings::{Finding, Findings};
use message_request::{MessageRequest, ReferenceChecker, RequestedReference};
use message_result::{Credential, MessageResult};
use shared_limit::{SharedLimit, distinct_within};
use std::collections::{HashMap, HashSet};
use unresolved::Unresolved;

/// The maximum number of distinct secrets in one `/resolve` request. This equals the default number
/// of secrets that the cache can hold.
const SECRETS_MAX: usize = 1000;

/// The maximum memory for all references (names or ARNs of secrets) of one `/resolve` request, in
/// bytes. This is enough for 10,000 references of 200 bytes each.
const REFERENCES_BYTES_MAX: usize = 2 * 1024 * 1024;

/// The maximum size of the result of one message in the answer to `/resolve`, in bytes. A secret
/// has at most 64 KiB, so a message can refer to several large secrets.
const MESSAGE_ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// The maximum size of the answer to a `/resolve` request, in bytes. If the body of the request is
/// larger than this, the answer may be as large as the body.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How many bytes of messages the server parses before it lets other tasks run. Parsing this number
/// of bytes takes about one millisecond.
const TURN_BYTES: usize = 64 * 1024;

/// Handles `POST /resolve`, which reads all secrets that a message or an SQS event refers to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Resolve<'a> {
    pub(super) context: &'a Context,
    pub(super) config: &'a Config,
    pub(super) memory: &'a MemoryBudget,
}

struct ParsedRequest {
    messages: Vec<MessageRequest>,
    /// Whether the body of the request is a list of references (names or ARNs of secrets). If a
    /// list exceeds a limit, the whole request fails.
    is_list: bool,
    answer_max: usize,
}

/// The secret that was read for one reference (the name or ARN of a secret), and the credential
/// from its value.
///
/// If the credential has an error, the error may describe the value. So only a message that may
/// read the secret receives this error.
struct ReadReference<'a> {
    served: &'a Served,
    credential: Result<Credential<'a>, Problem>,
}

/// The outcome of reading the secret of each distinct reference in a request. The key is the
/// reference (the name or ARN of a secret).
type ReadReferences<'a> = HashMap<&'a str, Result<ReadReference<'a>, Problem>>;

impl Resolve<'_> {
    /// Reads the body of the request, reads all secrets that the body refers to, and builds the
    /// answer.
    pub(super) async fn answer(self, body: &mut impl RequestBody) -> Result<Response, Problem> {
        let clock = self.context.cache.clock();
        let _reservation = self.memory.reserve(body::declared_length(body), clock).await?;
        let ParsedRequest { mut messages, is_list, answer_max } = {
            // The body is dropped at the end of this block, so that it takes no memory while
            // secrets are read.
            let mut body = body::read(body, MESSAGES_BYTES_MAX, clock).await?;
            replace_lone_surrogates(&mut body);
            self.parse(&body).await?
        };
        let (_, failed) = distinct_within(SECRETS_MAX, &references_to_read(&messages));
        for index in failed {
            messages[index].fail(Unresolved::TooManySecrets(SECRETS_MAX));
        }
        let (references, _) = distinct_within(SECRETS_MAX, &references_to_read(&messages));
        let findings = self.find_all(&references, answer_max).await;
        let reads = references.iter().copied().zip(findings.iter().map(read_reference)).collect();
        let mut results: Vec<MessageResult<'_>> =
            messages.iter().map(|message| self.result(message, &reads)).collect();
        self.log_refusals(&results);
        if !is_list {
            fail_too_large(&mut results, answer_max);
        } else if results.iter().any(|result| result.size() > answer_max) {
            return Err(Problem::AnswerTooLarge(answer_max));
        }
        skip_after_failure(&mut results);
        Ok(response::secret(JSON, &message_result::render_answer(&results)))
    }

    /// Parses the body of the request. Also checks each reference (the name or ARN of a secret)
    /// before any secret is read.
    async fn parse(self, body: &[u8]) -> Result<ParsedRequest, Problem> {
        let search = Search::new(&self.config.paths, self.config.tenant_check.paths());
        let is_allowed = |id: &SecretId| self.context.cache.is_allowed(id);
        let checker = ReferenceChecker { config: self.config, is_allowed: &is_allowed };
        let answer_max = ANSWER_BYTES_MAX.max(body.len());
        let (messages, is_list) = match Body::recognise(body)? {
            Body::List(references) => {
                let distinct: HashSet<&str> =
                    references.iter().map(|reference| &**reference).collect();
                if distinct.len() > SECRETS_MAX {
                    return Err(Problem::TooManySecrets(SECRETS_MAX));
                }
                (vec![checker.list(&references)], true)
            }
            Body::Message(message) => match message.search(&search) {
                Ok(found) => (vec![checker.message(found)], false),
                Err(BadBody::LimitExceeded(exceeded)) => {
                    let why = BadMessage::LimitExceeded(exceeded).into();
                    (vec![MessageRequest::failed(why)], false)
                }
                Err(bad) => return Err(bad.into()),
            },
            Body::Event(records) => (parse_event(&checker, &search, &records).await?, false),
        };
        Ok(ParsedRequest { messages, is_list, answer_max })
    }

    /// Reads the secrets of all references (names or ARNs). Returns the outcomes in the order of
    /// the references.
    ///
    /// All reads together have the same time limit as a read of one secret. The values take at most
    /// `bytes_max` bytes in total.
    async fn find_all<'r>(self, references: &[&'r str], bytes_max: usize) -> Vec<Finding<'r>> {
        let started = self.context.cache.clock().now();
        let mut findings = Findings::new(references.len(), bytes_max);
        let mut reads = ConcurrentReads::new(|number, finding| findings.set(number, finding));
        for reference in references {
            reads.start(self.find_one(reference, started)).await;
        }
        reads.finish().await;
        findings.into_vec()
    }

    async fn find_one<'r>(self, reference: &'r str, started: Moment) -> Finding<'r> {
        let wanted = BorrowedReference::parse(reference, SeparateParts::default())?;
        let served = find_since(&self.context.cache, &wanted, started).await?;
        Ok((wanted.field, served))
    }

    /// Builds the result of one message, and counts each of its reads in the metrics.
    fn result<'a>(
        self,
        message: &'a MessageRequest,
        reads: &'a ReadReferences<'_>,
    ) -> MessageResult<'a> {
        let metrics = &self.context.metrics;
        let credentials = message.references.iter().map(|reference| {
            let outcome = self.outcome(message, reference, reads);
            metrics.read(match &outcome {
                Ok((served, _)) => read_result(served, metrics),
                Err(unresolved) => unresolved.result(),
            });
            outcome.map(|(_, credential)| credential)
        });
        MessageResult::new(message, credentials)
    }

    /// Returns what one message receives for one reference (the name or ARN of a secret): the
    /// credential or an error.
    ///
    /// Another message with the same reference may receive an error instead, because it may belong
    /// to another tenant.
    fn outcome<'a>(
        self,
        message: &MessageRequest,
        reference: &RequestedReference,
        reads: &'a ReadReferences<'_>,
    ) -> Result<(&'a Served, &'a Credential<'a>), Unresolved> {
        if let Some(refused) = &reference.refused {
            return Err(refused.clone());
        }
        let read = reads
            .get(&*reference.text)
            .expect("each reference that was not refused must have been read")
            .as_ref()
            .map_err(|problem| Unresolved::from(problem.clone()))?;
        let name = &read.served.entry.version.name;
        self.config.tenant_check.check_answer(name, &message.tenant)?;
        match &read.credential {
            Ok(credential) => Ok((read.served, credential)),
            Err(problem) => Err(problem.clone().into()),
        }
    }

    /// Logs one line if Sidekey refused references (names or ARNs of secrets) in a request. The
    /// line contains the first refused reference, and how many were refused. The rate of these log
    /// lines is limited.
    fn log_refusals(self, results: &[MessageResult<'_>]) {
        let Context { cache, metrics, refusals_logged, .. } = self.context;
        let mut refused = results
            .iter()
            .flat_map(MessageResult::failures)
            .filter(|(_, why)| why.result() == ReadResult::Refused);
        let Some((reference, why)) = refused.next() else { return };
        match refusals_logged.pass(cache.clock().now()) {
            Some(left_out) => tracing::warn!(
                reference = %LogExcerpt(reference),
                error = why.kind(),
                reason = %LogExcerpt(&why.message()),
                refused = 1 + refused.count(),
                left_out,
                "Sidekey refused to resolve a reference"
            ),
            None => metrics.log_lines_dropped.inc(),
        }
    }
}

/// Parses the messages in the records of an SQS event.
///
/// If all their references (names or ARNs of secrets) together take too much memory, the messages
/// with the most references fail.
async fn parse_event(
    checker: &ReferenceChecker<'_>,
    search: &Search<'_>,
    records: &[RawRecord<'_>],
) -> Result<Vec<MessageRequest>, BadBody> {
    let mut messages: Vec<MessageRequest> = Vec::with_capacity(records.len());
    let mut limit = SharedLimit::new(REFERENCES_BYTES_MAX);
    let mut bytes_of_turn = 0;
    for (index, raw) in records.iter().enumerate() {
        let record = raw.read(index)?;
        let found = record.search(search);
        let message = checker.record(record, found);
        let size = message.bytes();
        messages.push(message);
        // A message without references is not recorded in the limit. Each recorded message takes
        // memory, and an event can have 10,000 messages without references.
        let failed = if size > 0 { limit.add(index, size) } else { Vec::new() };
        for index in failed {
            messages[index].fail(Unresolved::TooManyReferences);
        }
        bytes_of_turn += raw.bytes();
        if bytes_of_turn > TURN_BYTES {
            bytes_of_turn = 0;
            tokio::task::yield_now().await;
        }
    }
    Ok(messages)
}

/// Returns, for each message, its index and the references (names or ARNs) whose secrets must be
/// read. Messages without such references are omitted.
fn references_to_read(messages: &[MessageRequest]) -> Vec<(usize, Vec<&str>)> {
    messages
        .iter()
        .map(MessageRequest::references_to_read)
        .enumerate()
        .filter(|(_, references)| !references.is_empty())
        .collect()
}

/// Fails each message whose result is larger than [`MESSAGE_ANSWER_BYTES_MAX`].
///
/// If the other results together are larger than `answer_max` bytes, the messages with the largest
/// results fail too.
fn fail_too_large(results: &mut [MessageResult<'_>], answer_max: usize) {
    let mut total = 0;
    for result in results.iter_mut() {
        let size = result.size();
        if size > MESSAGE_ANSWER_BYTES_MAX {
            result.fail(Unresolved::TooLarge(MESSAGE_ANSWER_BYTES_MAX));
        } else {
            total += size;
        }
    }
    if total <= answer_max {
        return;
    }
    let mut limit = SharedLimit::new(answer_max);
    for index in 0..results.len() {
        for failed in limit.add(index, results[index].size()) {
            results[failed].fail(Unresolved::AnswerTooLarge(answer_max));
        }
    }
}

/// Skips each SQS message if an earlier message of the same FIFO group failed.
fn skip_after_failure(results: &mut [MessageResult<'_>]) {
    let skipped = blocked_messages(results.iter().map(|result| (result.group(), result.is_ok())));
    for (result, is_skipped) in results.iter_mut().zip(skipped) {
        if is_skipped {
            result.skip();
        }
    }
}

fn read_reference<'a>(finding: &'a Finding<'_>) -> Result<ReadReference<'a>, Problem> {
    let (field, served) = finding.as_ref().map_err(Clone::clone)?;
    Ok(ReadReference { served, credential: credential(served, *field) })
}

fn credential<'a>(served: &'a Served, field: Option<&str>) -> Result<Credential<'a>, Problem> {
    refuse_withheld(served)?;
    Ok(Credential::of(served, field)?)
}

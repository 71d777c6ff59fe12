//! Answers `POST /resolve`: reads all secrets that a message or an SQS event refers to, in one HTTP
//! request. All these reads together have the same time limit as a read of one secret.
//!
//! If a message fails, the other messages of the request do not fail. Each message has its own
//! limits. If all messages together exceed a limit, the largest messages fail.

pub(crate) mod answer;
pub(crate) mod credential;
pub(crate) mod event_limits;
pub(crate) mod message_result;
pub(crate) mod message_request;
pub(crate) mod findings;
pub(crate) mod shared_limit;
pub(crate) mod unresolved;
pub(crate) mod config;
#[cfg(test)]
mod fixture;

pub(crate) use config::Config;

use super::body::{self, MESSAGES_BYTES_MAX, RequestBody};
use super::concurrent_reads::ConcurrentReads;
use super::context::Context;
use super::lookup::{Wanted, find_since, read_result};
use super::memory_budget::MemoryBudget;
use super::problem::Problem;
use super::response::{self, Response};
use super::turn::Turn;
use crate::clock::Moment;
use crate::message::body::{BadBody, BadMessage, Body, RawRecord};
use crate::message::search::Search;
use crate::printable::LogExcerpt;
use crate::secret::json_text::replace_lone_surrogates;
use crate::secret::reference::{BorrowedReference, SecretId, SeparateParts};
use crate::telemetry::metrics::ReadResult;
use answer::Answer;
use credential::Credentials;
use event_limits::EventLimits;
use findings::{Finding, Findings};
use message_request::{MessageRequest, ReferenceChecker};
use message_result::MessageResult;
use std::collections::HashSet;
use std::sync::Arc;

/// The maximum number of distinct secrets in one `/resolve` request. This equals the default number
/// of secrets that the cache can hold.
const SECRETS_MAX: usize = 1000;

/// The maximum memory for the names and ARNs of secrets in one `/resolve` request, in bytes. This
/// is enough for 10,000 names or ARNs of 200 bytes each.
const REFERENCES_BYTES_MAX: usize = 2 * 1024 * 1024;

/// The maximum size of the answer to a `/resolve` request, in bytes. If the body of the request is
/// larger, the answer may be as large as this body.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

#[derive(Clone, Copy, Debug)]
pub(super) struct Resolve<'a> {
    pub(super) context: &'a Context,
    pub(super) config: &'a Config,
    pub(super) memory: &'a MemoryBudget,
}

struct ParsedRequest {
    messages: Vec<MessageRequest>,
    /// Whether the body of the request is a list of names and ARNs of secrets, and not a message or
    /// an SQS event. If a list exceeds a limit, the whole request fails.
    is_list: bool,
    answer_max: usize,
}

impl Resolve<'_> {
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
        let credentials = self.read_all(distinct_references(&messages), answer_max).await;
        self.refuse_other_tenants(&mut messages, &credentials).await;
        let sizes = measure(&messages, &credentials).await;
        let mut answer = Answer::new(messages, credentials, sizes);
        self.count_reads(&answer);
        self.log_refusals(&answer);
        if !is_list {
            answer.fail_too_large(answer_max);
        } else if answer.size() > answer_max {
            return Err(Problem::AnswerTooLarge(answer_max));
        }
        answer.skip_after_failure();
        Ok(response::secret_pieces(answer.into_body()))
    }

    /// Parses the body of a `/resolve` request. Also checks each name or ARN of a secret in the
    /// body before any secret is read.
    async fn parse(self, body: &[u8]) -> Result<ParsedRequest, Problem> {
        let search = Search::new(&self.config.paths, self.config.tenant_check.paths());
        let Context { cache, role_rules, .. } = self.context;
        let is_allowed = |id: &SecretId| cache.is_allowed(role_rules.role_of_id(id), id);
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

    /// Reads the secrets with these names or ARNs (`references`). The values of the secrets take at
    /// most `bytes_max` bytes in total.
    async fn read_all(self, references: Vec<Arc<str>>, bytes_max: usize) -> Credentials {
        let started = self.context.cache.clock().now();
        let mut findings = Findings::new(references.len(), bytes_max);
        let mut reads = ConcurrentReads::new(|number, finding| findings.set(number, finding));
        for reference in &references {
            reads.start(self.read_one(reference, started)).await;
        }
        reads.finish().await;
        credentials_of(&references, findings.into_vec()).await
    }

    async fn read_one<'r>(self, reference: &'r str, started: Moment) -> Finding<'r> {
        let parsed = BorrowedReference::parse(reference, SeparateParts::default())
            .map_err(|bad| Problem::reference(reference, bad))?;
        let field = parsed.field;
        let wanted = Wanted::new(self.context, None, parsed)?;
        let served = find_since(&self.context.cache, &wanted, started).await?;
        Ok((field, served))
    }

    /// Refuses each secret that belongs to another tenant (a customer, for example) than the
    /// message that refers to the secret.
    ///
    /// If several messages refer to the same secret, each message is checked, because the messages
    /// may belong to different tenants.
    async fn refuse_other_tenants(
        self,
        messages: &mut [MessageRequest],
        credentials: &Credentials,
    ) {
        let mut turn = Turn::default();
        for message in messages {
            turn.spend(message.bytes()).await;
            message.refuse(|reference, tenant| match credentials.served(reference) {
                Some(read) => {
                    self.config.tenant_check.check_answer(&read.entry.version.name, tenant)
                }
                None => Ok(()),
            });
        }
    }

    fn count_reads(self, answer: &Answer) {
        let metrics = &self.context.metrics;
        for (_, outcome) in answer.results().flat_map(MessageResult::outcomes) {
            metrics.read(match outcome {
                Ok(credential) => read_result(credential.served(), metrics),
                Err(unresolved) => unresolved.result(),
            });
        }
    }

    /// Logs one line if Sidekey refused to read secrets for a request, unless too many such lines
    /// were logged lately. The line contains the first refused name or ARN, and how many were
    /// refused.
    fn log_refusals(self, answer: &Answer) {
        let Context { cache, metrics, refusals_logged, .. } = self.context;
        let mut refused = answer
            .results()
            .flat_map(MessageResult::outcomes)
            .filter_map(|(reference, outcome)| Some((reference, outcome.err()?)))
            .filter(|(_, why)| why.result() == ReadResult::Refused);
        let Some((reference, why)) = refused.next() else { return };
        metrics.report_trouble();
        match refusals_logged.pass(cache.clock().now()) {
            Some(left_out) => tracing::warn!(
                reference = %LogExcerpt(&reference.text),
                error = why.kind(),
                reason = %LogExcerpt(&why.message()),
                refused = 1 + refused.count(),
                left_out,
                "Sidekey refused to read a secret for a /resolve request"
            ),
            None => metrics.log_lines_dropped.inc(),
        }
    }
}

/// Parses the messages in the records of an SQS event. If the names and ARNs of secrets in all
/// messages together exceed a limit, the largest messages fail.
async fn parse_event(
    checker: &ReferenceChecker<'_>,
    search: &Search<'_>,
    records: &[RawRecord<'_>],
) -> Result<Vec<MessageRequest>, BadBody> {
    let mut messages: Vec<MessageRequest> = Vec::with_capacity(records.len());
    let mut limits = EventLimits::new(REFERENCES_BYTES_MAX, SECRETS_MAX);
    let mut turn = Turn::default();
    for (index, raw) in records.iter().enumerate() {
        let record = raw.read(index)?;
        let found = record.search(search);
        messages.push(checker.record(record, found));
        limits.add_last(&mut messages);
        turn.spend(raw.bytes()).await;
    }
    Ok(messages)
}

/// Returns the names and ARNs of all secrets that must be read, without repetitions. The names from
/// small messages come first, so that a large message does not delay small messages.
fn distinct_references(messages: &[MessageRequest]) -> Vec<Arc<str>> {
    let mut smallest_first: Vec<&MessageRequest> = messages.iter().collect();
    smallest_first.sort_by_key(|message| message.references.len());
    let mut seen = HashSet::new();
    let references = smallest_first.into_iter().flat_map(MessageRequest::references_to_read);
    references.filter(|reference| seen.insert(*reference)).cloned().collect()
}

/// Takes the requested value or field from each secret that was read. `found` contains an error or
/// a secret for each of the names and ARNs in `references`, in the same order.
///
/// Other tasks run between two fields, because each field needs a parse of the full value.
async fn credentials_of(references: &[Arc<str>], found: Vec<Finding<'_>>) -> Credentials {
    let mut credentials = Credentials::default();
    let mut turn = Turn::default();
    for (reference, finding) in references.iter().zip(found) {
        let parsed = finding.as_ref().map_or(0, |(_, served)| served.entry.version.content.len());
        credentials.insert(reference.clone(), finding);
        turn.spend(parsed).await;
    }
    credentials
}

/// Returns the size in bytes of each message's result in the JSON answer to `/resolve`.
async fn measure(messages: &[MessageRequest], credentials: &Credentials) -> Vec<usize> {
    let mut sizes = Vec::with_capacity(messages.len());
    let mut turn = Turn::default();
    for message in messages {
        let size = MessageResult { message, credentials }.size();
        sizes.push(size);
        turn.spend(size).await;
    }
    sizes
}

#[cfg(test)]
mod tests {
    use super::fixture::{served, text};
    use super::*;
    use std::future::poll_fn;
    use std::task::Poll;

    /// Test: other tasks run while Sidekey takes many fields from one large secret. Each field
    /// needs a parse of the full value, which takes long.
    #[tokio::test]
    async fn other_tasks_run_between_fields_of_large_secret() {
        const FIELDS: usize = 20;
        let secret = served(text(&format!(r#"{{"field":"{}"}}"#, "x".repeat(40 * 1024))));
        let references: Vec<Arc<str>> =
            (0..FIELDS).map(|number| number.to_string().into()).collect();
        let found = references.iter().map(|_| Ok((Some("field"), secret.clone()))).collect();
        let mut turns = 0;
        let other_task = poll_fn(|_| {
            turns += 1;
            Poll::<()>::Pending
        });
        let credentials = tokio::select! {
            biased;
            credentials = credentials_of(&references, found) => credentials,
            () = other_task => unreachable!("the second task of this test never ends"),
        };
        assert!(references.iter().all(|reference| credentials.get(reference).is_ok()));
        assert!(
            turns >= FIELDS / 2,
            "the second task of this test must run often, but it ran only {turns} times"
        );
    }
}

//! Answers calls of the AWS API from SDKs that use Sidekey as their endpoint. Secrets that are not
//! cached are fetched from AWS.

use super::body::{self, BODY_BYTES_MAX, RequestBody};
use super::concurrent_reads::read_all;
use super::context::Context;
use super::dialect::aws_api::{Batch, description, value};
use super::lookup::{Wanted, find, find_since, read_result, refuse_withheld, worst_result};
use super::operation::{Call, Operation, RequestedSecret, check_is_secret};
use super::parameter_calls::ParameterCalls;
use super::problem::Problem;
use super::response::{self, AWS_JSON, Response, SecretAnswer};
use crate::cache::Served;
use crate::clock::Moment;
use crate::secret::reference::{BorrowedReference, SeparateParts};
use crate::secret::selector::Selector;
use crate::secret::value::SecretValue;
use crate::telemetry::metrics::ReadResult;
use hyper::StatusCode;

#[derive(Clone, Copy, Debug)]
pub(super) struct AwsApiCall<'a> {
    pub(super) context: &'a Context,
    pub(super) operation: Operation,
}

impl AwsApiCall<'_> {
    pub(super) async fn answer(
        self,
        body: &mut impl RequestBody,
    ) -> Result<(Response, ReadResult), Problem> {
        let body = body::read(body, BODY_BYTES_MAX, self.context.cache.clock()).await?;
        let parameters = ParameterCalls { context: self.context };
        match self.operation.parse(&body)? {
            Call::Get(secret) => self.get(&secret).await,
            Call::Batch(ids) => Ok(self.batch(&ids).await),
            Call::Describe(secret) => self.describe(&secret).await,
            Call::GetParameter(parameter) => parameters.get(&parameter).await,
            Call::GetParameters(many) => parameters.get_many(&many).await,
            Call::GetParametersByPath(path) => parameters.list(&path).await,
        }
    }

    /// Answers a call of `GetSecretValue` or `GetParameter` from the cache, without waiting. Returns
    /// `None` if the call is another operation, if the secret or parameter is not cached, or if the
    /// call fails.
    pub(super) fn answer_at_once(
        self,
        body: &[u8],
        now: Moment,
    ) -> Option<(SecretAnswer, ReadResult)> {
        if !self.operation.is_read_of_one_secret() {
            return None;
        }
        match self.operation.parse(body).ok()? {
            Call::Get(secret) => {
                let wanted = self.wanted(secret.parse_reference().ok()?).ok()?;
                let served = self.context.cache.lookup_at(wanted.key(), now)?;
                self.answer_with(&wanted, served).ok()
            }
            Call::GetParameter(parameter) => {
                ParameterCalls { context: self.context }.answer_at_once(&parameter, now)
            }
            _ => None,
        }
    }

    async fn get(self, secret: &RequestedSecret) -> Result<(Response, ReadResult), Problem> {
        let wanted = self.wanted(parse(secret)?)?;
        let served = find(&self.context.cache, &wanted, false).await?;
        let (answer, result) = self.answer_with(&wanted, served)?;
        Ok((answer.into_response(), result))
    }

    fn wanted<'w>(self, reference: BorrowedReference<'w>) -> Result<Wanted<'w>, Problem>
    where
        Self: 'w,
    {
        Wanted::new(self.context, None, reference)
    }

    fn answer_with(
        self,
        wanted: &Wanted<'_>,
        served: Served,
    ) -> Result<(SecretAnswer, ReadResult), Problem> {
        refuse_withheld(&served)?;
        let body = value(&served.entry, wanted.reference.field)?;
        let result = read_result(&served, &self.context.metrics);
        Ok((SecretAnswer::with_body(served, AWS_JSON, body), result))
    }

    /// Answers `DescribeSecret`. The answer contains no secret value, so Sidekey also describes
    /// secrets whose value it refuses to serve.
    async fn describe(self, secret: &RequestedSecret) -> Result<(Response, ReadResult), Problem> {
        let cache = &self.context.cache;
        let started = cache.clock().now();
        let reference = BorrowedReference { selector: Selector::current(), ..parse(secret)? };
        let wanted = self.wanted(reference)?;
        let current = find_since(cache, &wanted, started).await?;
        let key = wanted.owned_key()?;
        let (served, versions) = cache.labelled_versions(&key, current, started).await;
        let body = description(&served.entry, &versions);
        let mut response = response::with_body(StatusCode::OK, AWS_JSON, body);
        response::set_no_store(response.headers_mut());
        response::set_entry_headers(response.headers_mut(), &served);
        Ok((response, read_result(&served, &self.context.metrics)))
    }

    /// Answers `BatchGetSecretValue`, which reads several secrets. All these reads together have
    /// the same time limit as a read of one secret.
    async fn batch(self, ids: &[String]) -> (Response, ReadResult) {
        let started = self.context.cache.clock().now();
        let reads = ids.iter().map(|id| self.read_one(id, started)).collect();
        let outcomes = read_all(reads).await;
        let read = outcomes.iter().flatten().map(|(_, served, _)| served);
        let result = worst_result(read, &self.context.metrics);
        let mut batch = Batch::default();
        let mut answered: Vec<(Option<&str>, Served)> = Vec::new();
        for (id, outcome) in ids.iter().zip(outcomes) {
            match outcome {
                Ok((field, served, body)) => {
                    if !answered.iter().any(|(of, other)| *of == field && is_same(other, &served)) {
                        batch.add(body);
                        answered.push((field, served));
                    }
                }
                Err(problem) => batch.fail(id, &problem),
            }
        }
        (response::secret(AWS_JSON, &batch.body()), result)
    }

    async fn read_one<'a>(self, id: &'a str, started: Moment) -> Result<BatchRead<'a>, Problem> {
        check_is_secret(id)?;
        let reference = BorrowedReference::parse(id, SeparateParts::default())
            .map_err(|bad| Problem::reference(id, bad))?;
        let field = reference.field;
        let wanted = self.wanted(reference)?;
        let served = find_since(&self.context.cache, &wanted, started).await?;
        refuse_withheld(&served)?;
        let body = value(&served.entry, field)?;
        Ok((field, served, body))
    }
}

fn parse(secret: &RequestedSecret) -> Result<BorrowedReference<'_>, Problem> {
    secret.parse_reference().map_err(|bad| Problem::reference(secret.reference(), bad))
}

/// A secret that `BatchGetSecretValue` has read: the requested field (`None` for the full value),
/// the cached secret, and the secret's JSON for the answer.
type BatchRead<'a> = (Option<&'a str>, Served, SecretValue);

/// Returns whether two reads returned the same version of the same secret. This happens if a call
/// names the secret twice, for example by its name and by its ARN.
fn is_same(a: &Served, b: &Served) -> bool {
    let (a, b) = (&a.entry.version, &b.entry.version);
    a.arn == b.arn && a.id == b.id
}

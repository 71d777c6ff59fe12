//! The agent and the fake of AWS, as the page shows and changes them.

use super::history::History;
use super::request::After;
use super::upstream::Upstream;
use crate::agent::Agent;
use crate::client::Address;
use crate::clock::{Clock, Moment};
use crate::telemetry::metrics::Metrics;
use crate::tokens::Token;
use fake_aws::{AwsError, Call, Fake};
use serde::Serialize;
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The maximum number of secrets that `sidekey dev` reads again and again for its page.
const SECRETS_MAX: usize = 50;

/// How long `sidekey dev` continues to read secrets for its page after the last request of a
/// browser.
const UNWATCHED_MAX: Duration = Duration::from_secs(3);

/// The prefix with which a reference to a parameter begins.
pub(super) const PARAMETER: &str = "ssm:";

/// The agent and the fake of AWS of `sidekey dev`, with the state of the page.
#[derive(Debug)]
pub(crate) struct Stage<'a> {
    pub(crate) agent: &'a Agent,
    pub(crate) fake: &'a Fake,
    pub(crate) metrics: &'a Metrics,
    pub(crate) clock: &'a dyn Clock,
    /// The address of the agent.
    pub(crate) address: Address,
    /// The agent's token, with which `sidekey dev` reads secrets for the page.
    pub(crate) token: Option<Token>,
    /// The value of the option `--latency`.
    pub(crate) latency: Duration,
    pub(crate) own: PageState,
}

/// The state of the page, which changes with requests of the browser and with reads of secrets for
/// the page.
#[derive(Debug)]
pub(crate) struct PageState {
    upstream: Cell<Upstream>,
    is_reader_on: Cell<bool>,
    /// When a browser last requested the state. `None` if no browser has requested it.
    watched: Cell<Option<Moment>>,
    /// The references of the secrets to read for the page: cached or missing secrets, at most
    /// [`SECRETS_MAX`].
    references: RefCell<Vec<String>>,
    reads: RefCell<History<Read>>,
    changes: RefCell<History<Change>>,
}

impl Default for PageState {
    fn default() -> Self {
        Self {
            upstream: Cell::new(Upstream::Normal),
            is_reader_on: Cell::new(true),
            watched: Cell::default(),
            references: RefCell::default(),
            reads: RefCell::default(),
            changes: RefCell::default(),
        }
    }
}

/// One read of a secret that `sidekey dev` made for its page.
#[derive(Debug, Serialize)]
pub(super) struct Read {
    /// When the read began, in milliseconds since 1970.
    pub(super) at: f64,
    /// The reference of the secret, such as `app/db` or `ssm:/app/url`.
    pub(super) secret: String,
    /// How long the read took, in milliseconds.
    pub(super) took: f64,
    /// The HTTP status of the answer.
    pub(super) status: u16,
    /// How the cache answered, such as `hit`.
    pub(super) cache: Option<String>,
    pub(super) version: Option<String>,
}

/// A change that the user of the page made.
#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase", tag = "kind")]
enum Change {
    Rotated { at: f64, secret: String, version: String },
    Upstream { at: f64, state: &'static str },
}

#[derive(Serialize)]
struct Row<T> {
    reference: String,
    #[serde(flatten)]
    entry: T,
}

impl Stage<'_> {
    /// Returns the state of the agent as JSON: cached secrets without their values, and the events
    /// that the page has not shown yet.
    pub(super) fn state(&self, after: After) -> Value {
        let (now, status) = (self.clock.now(), self.agent.status());
        self.own.watched.set(Some(now));
        let rows: Vec<_> = status
            .entries
            .into_iter()
            .map(|entry| Row { reference: reference(&entry.arn, &entry.name), entry })
            .collect();
        let cached = rows.iter().map(|row| row.reference.clone());
        let missing = status.missing.iter().map(|missing| missing.reference.to_string());
        let references: BTreeSet<String> = cached.chain(missing).collect();
        *self.own.references.borrow_mut() = references.into_iter().take(SECRETS_MAX).collect();
        let calls: Vec<Value> = self.fake.calls().after(after.calls).iter().map(call).collect();
        json!({
            "now": epoch_millis(now.wall),
            "agent": self.address.to_string(),
            "upstream": self.own.upstream.get().label(),
            "reader": self.own.is_reader_on.get(),
            "answered": reads_of(&self.metrics.render()),
            "entries": rows,
            "missing": status.missing,
            "calls": { "total": self.fake.calls().total(), "events": calls },
            "reads": self.own.reads.borrow().after(after.reads),
            "changes": self.own.changes.borrow().after(after.changes),
        })
    }

    /// Adds a version with the same value to the secret or parameter `reference`.
    pub(super) fn rotate(&self, reference: &str) -> Result<(), AwsError> {
        let version = match reference.strip_prefix(PARAMETER) {
            Some(name) => self.fake.parameters().rotate(name)?.to_string(),
            None => self.fake.secrets().rotate(reference)?,
        };
        let (at, secret) = (self.now(), reference.to_owned());
        self.own.changes.borrow_mut().push(Change::Rotated { at, secret, version });
        Ok(())
    }

    pub(super) fn set_upstream(&self, upstream: Upstream) {
        upstream.apply(self.fake.faults(), self.latency);
        self.own.upstream.set(upstream);
        let change = Change::Upstream { at: self.now(), state: upstream.label() };
        self.own.changes.borrow_mut().push(change);
    }

    pub(super) fn set_reader(&self, is_on: bool) {
        self.own.is_reader_on.set(is_on);
    }

    /// Returns the references of the secrets to read for the page. The list is empty if the user
    /// has stopped these reads, or if no browser shows the page.
    pub(super) fn to_read(&self) -> Vec<String> {
        let watched = self.own.watched.get().and_then(|at| self.clock.now().since(at));
        let is_watched = watched.is_some_and(|since| since < UNWATCHED_MAX);
        match is_watched && self.own.is_reader_on.get() {
            true => self.own.references.borrow().clone(),
            false => Vec::new(),
        }
    }

    pub(super) fn record(&self, read: Read) {
        self.own.reads.borrow_mut().push(read);
    }

    fn now(&self) -> f64 {
        epoch_millis(self.clock.now().wall)
    }
}

fn call(call: &Call) -> Value {
    json!({
        "at": epoch_millis(call.received),
        "operation": call.operation.map(fake_aws::Operation::name),
        "ids": call.ids,
        "took": call.latency.as_secs_f64() * 1000.0,
        "error": call.error,
    })
}

/// Returns the reference with which a program reads the secret or parameter `name`, whose ARN is
/// `arn`.
fn reference(arn: &str, name: &str) -> String {
    match arn.split(':').nth(2) {
        Some("ssm") => format!("{PARAMETER}{name}"),
        _ => name.to_owned(),
    }
}

/// Returns how many reads the agent has answered, from the text of its metrics.
fn reads_of(metrics: &str) -> f64 {
    let series = metrics.lines().filter(|line| line.starts_with("sidekey_reads_total{"));
    series.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

pub(super) fn epoch_millis(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reference_of_a_parameter_names_its_service() {
        let secret = "arn:aws:secretsmanager:eu-north-1:123456789012:secret:ssm-AbCdEf";
        assert_eq!(reference(secret, "ssm"), "ssm");
        let parameter = "arn:aws-cn:ssm:cn-north-1:123456789012:parameter/app/url";
        assert_eq!(reference(parameter, "/app/url"), "ssm:/app/url");
    }

    #[test]
    fn reads_of_all_results_are_added() {
        let metrics = Metrics::new();
        assert_eq!(reads_of(&metrics.render()), 0.0);
        let text = "# TYPE sidekey_reads_total counter\nsidekey_reads_total{result=\"hit\"} 3\n\
                    sidekey_reads_total{result=\"miss\"} 2\nsidekey_stale_reads_total{x=\"\"} 1\n";
        assert_eq!(reads_of(text), 5.0);
    }
}

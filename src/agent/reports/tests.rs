//! Tests of the records that the agent writes for CloudWatch, in virtual time.

use super::*;
use crate::cache;
use crate::clock::VirtualClock;
use crate::convention::Conventions;
use crate::secret::scope::{Home, Scope};
use crate::source::FetchErrorKind;
use crate::source::misconfigured::Misconfigured;
use crate::telemetry::emf::group::Groups;
use crate::telemetry::lines::Lines;
use crate::telemetry::metrics::{Ended, Operation, ReadResult};
use serde_json::Value;
use std::io::{self, Write};
use std::sync::Mutex;
use std::time::SystemTime;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const SECOND: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_secs(120);

/// A log output that keeps the log of a test in memory.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .lock()
            .expect("no thread may panic while it holds the lock")
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Fixture {
    clock: Arc<VirtualClock>,
    metrics: Arc<Metrics>,
    lines: Lines,
    written: Written,
}

impl Fixture {
    fn new(is_snapshot: bool) -> (Self, Reports) {
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let clock = Arc::new(VirtualClock::starting_at(wall));
        let metrics = Arc::new(Metrics::new());
        let config = cache::Config {
            policies: cache::policies::Policies::default(),
            reader_wait: 5 * SECOND,
            entries_max: 8,
            bytes_max: usize::MAX,
            calls_max: 1,
            listed: Vec::new(),
            discovery: cache::discovery::Config::default(),
            scope: Scope::default(),
            use_only: None,
            conventions: Arc::new(Conventions::built_in()),
            is_strict: false,
            is_snapshot,
            seed: Some(7),
        };
        let (cache, _) = cache::open(
            config,
            Home { region: "eu-north-1".into(), account: None },
            Arc::new(Misconfigured::new("none")),
            clock.clone(),
            metrics.clone(),
            TaskTracker::new(),
            CancellationToken::new(),
        );
        let written = Written::default();
        let dropped = metrics.log_lines_dropped.clone();
        let lines = Lines::start(written.clone(), dropped)
            .expect("the system must be able to start a thread");
        let emf = Config {
            groups: Groups::parse(["on"].into_iter())
                .expect("the metric groups in the test must be valid"),
            namespace: "Sidekey".to_owned(),
            dimensions: vec![("FunctionName".to_owned(), "f".to_owned())],
            level: "INFO".to_owned(),
            is_snapshot,
        };
        let records = Records::of(lines.clone());
        let reports = Reports::new(emf, records, cache, metrics.clone(), clock.clone());
        (Self { clock, metrics, lines, written }, reports)
    }

    fn read(&self, times: u64) {
        (0..times).for_each(|_| self.metrics.read(ReadResult::Hit));
    }

    /// Lets the time `span` pass while `reports` runs.
    async fn run(&self, reports: &mut Reports, span: Duration) {
        tokio::select! {
            biased;
            never = reports.run() => match never {},
            () = self.clock.sleep(span) => {}
        }
    }

    /// Returns the records that were written since the last call of this method. Each record is a
    /// pair of its reason and its number of cache hits.
    fn records(&self) -> Vec<(String, u64)> {
        assert!(self.lines.flush(TIMEOUT), "the log must accept each line");
        let mut written =
            self.written.0.lock().expect("no thread may panic while it holds the lock");
        let text = String::from_utf8(std::mem::take(&mut *written)).expect("records must be UTF-8");
        let records = text.lines().map(|line| {
            let record: Value = serde_json::from_str(line).expect("each record must be JSON");
            let reason =
                record["reason"].as_str().expect("each record must have a reason").to_owned();
            (reason, record["ReadHits"].as_u64().unwrap_or(0))
        });
        records.collect()
    }
}

fn written(records: &[(&str, u64)]) -> Vec<(String, u64)> {
    records.iter().map(|(reason, hits)| ((*reason).to_owned(), *hits)).collect()
}

#[tokio::test(start_paused = true)]
async fn each_event_is_in_one_record() {
    let (fixture, mut reports) = Fixture::new(false);
    fixture.read(3);
    fixture.run(&mut reports, 59 * SECOND).await;
    assert_eq!(
        fixture.records(),
        written(&[]),
        "no record must be written before a minute has passed"
    );
    fixture.run(&mut reports, 2 * SECOND).await;
    assert_eq!(fixture.records(), written(&[("interval", 3)]));
    fixture.run(&mut reports, 600 * SECOND).await;
    assert_eq!(
        fixture.records(),
        written(&[]),
        "no record must be written if nothing has happened"
    );
    fixture.read(4);
    fixture.run(&mut reports, 61 * SECOND).await;
    fixture.read(5);
    reports.finish();
    assert_eq!(fixture.records(), written(&[("interval", 4), ("shutdown", 5)]));
}

#[tokio::test(start_paused = true)]
async fn trouble_is_reported_at_once_but_only_once_a_minute() {
    type Event = fn(&Metrics);
    let events: [(&str, Event); 4] = [
        ("stale read", |metrics| metrics.stale_read("failing")),
        ("refused read or failed prefetch", Metrics::report_trouble),
        ("throttled call", |metrics| {
            let throttled = Ended::Failed(FetchErrorKind::Throttled);
            metrics.upstream(Operation::GetSecretValue, throttled, Duration::ZERO);
        }),
        ("several at once", |metrics| (0..9).for_each(|_| metrics.stale_read("failing"))),
    ];
    for (name, event) in events {
        let (fixture, mut reports) = Fixture::new(false);
        fixture.run(&mut reports, 10 * SECOND).await;
        fixture.read(1);
        event(&fixture.metrics);
        fixture.run(&mut reports, Duration::from_millis(2)).await;
        assert_eq!(fixture.records(), written(&[("trouble", 1)]), "{name}");
        fixture.read(2);
        event(&fixture.metrics);
        fixture.run(&mut reports, 55 * SECOND).await;
        assert_eq!(
            fixture.records(),
            written(&[]),
            "{name}: trouble must cause at most one early record per minute"
        );
        fixture.run(&mut reports, 6 * SECOND).await;
        assert_eq!(fixture.records(), written(&[("trouble", 2)]), "{name}");
        reports.finish();
        assert_eq!(
            fixture.records(),
            written(&[]),
            "{name}: if nothing has happened since the last record, the agent must not write another"
        );
    }
}

/// A throttled call to AWS causes a record of metrics at once. A call that succeeds, times out, or is
/// interrupted by a freeze waits for the next record.
#[tokio::test(start_paused = true)]
async fn usual_events_wait_for_the_next_record() {
    let (fixture, mut reports) = Fixture::new(false);
    fixture.read(1);
    for ended in [Ended::Answered, Ended::Interrupted, Ended::Failed(FetchErrorKind::Timeout)] {
        fixture.metrics.upstream(Operation::GetSecretValue, ended, Duration::ZERO);
    }
    fixture.run(&mut reports, 50 * SECOND).await;
    assert_eq!(fixture.records(), written(&[]));
}

/// While Lambda freezes the process, the wall clock runs on. The record is due soon after the
/// process runs again, although the timers of the process show less than a minute.
#[tokio::test(start_paused = true)]
async fn record_is_written_after_a_freeze() {
    let (fixture, mut reports) = Fixture::new(false);
    let freeze = async {
        fixture.read(1);
        fixture.clock.sleep(SECOND).await;
        fixture.clock.step_forward(3_600 * SECOND);
        fixture.read(1);
        fixture.clock.sleep(2 * SLEEP_MAX).await;
    };
    tokio::select! {
        biased;
        never = reports.run() => match never {},
        () = freeze => {}
    }
    assert_eq!(fixture.records(), written(&[("interval", 2)]));
}

/// Lambda starts many environments from one snapshot. Each of them reports only what has happened
/// since its restore.
#[tokio::test(start_paused = true)]
async fn events_before_a_snapshot_are_reported_once() {
    let (fixture, mut reports) = Fixture::new(true);
    fixture.read(3);
    reports.start_ended();
    assert_eq!(fixture.records(), written(&[("snapshot", 3)]));
    fixture.run(&mut reports, SECOND).await;
    fixture.read(4);
    fixture.clock.step_forward(86_400 * SECOND);
    fixture.clock.restart_steady();
    fixture.run(&mut reports, SECOND).await;
    fixture.read(5);
    fixture.run(&mut reports, 61 * SECOND).await;
    assert_eq!(fixture.records(), written(&[("interval", 5)]));
}

#[tokio::test(start_paused = true)]
async fn start_without_a_snapshot_writes_no_record() {
    let (fixture, mut reports) = Fixture::new(false);
    fixture.read(3);
    reports.start_ended();
    assert_eq!(fixture.records(), written(&[]));
}

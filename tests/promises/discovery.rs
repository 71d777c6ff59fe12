//! Tests of patterns and tags in `SIDEKEY_SECRETS`: the agent finds and caches the secrets that
//! match, and searches again in intervals.

use crate::clients::Clients;
use crate::moto::Moto;
use crate::support::agent::{Setup, Sidekey, TOKEN_HEADER};
use crate::support::client::{Connection, get, request};
use crate::support::clock::ManualClock;
use crate::support::finished::Finished;
use crate::support::gateway::Gateway;
use crate::support::metrics::Metrics;
use crate::support::program::Program;
use crate::support::{TempFolder, eventually, fake, with_timeout};
use fake_aws::Operation::{BatchGetSecretValue, GetParametersByPath, GetSecretValue, ListSecrets};
use fake_aws::{Fake, Fault, Match};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The interval `SIDEKEY_DISCOVER`, if a test does not set it.
const INTERVAL: Duration = Duration::from_secs(5 * 60);

const PATTERN: &str = "whatsapp-credentials/*/*/twilio";

/// A value that follows the convention for secrets of this name.
const TWILIO: &str =
    r#"{"twilio_account_sid":"AC1","twilio_auth_token":"hunter2","twilio_template_sid":"HX1"}"#;

async fn start_fake() -> (Fake, Arc<ManualClock>) {
    let clock = ManualClock::new();
    (fake(&clock).await, clock)
}

fn create(fake: &Fake, name: &str, tags: &[(&str, &str)]) {
    fake.secrets().create(name, TWILIO).expect("the fake AWS server must create the secret");
    for (key, value) in tags {
        fake.secrets().set_tag(name, key, value).expect("the secret exists");
    }
}

fn tenant(number: usize) -> String {
    format!("whatsapp-credentials/tenant-{number}/main/twilio")
}

/// Returns the numbers of calls of `BatchGetSecretValue`, `ListSecrets` and `GetSecretValue`.
fn calls(fake: &Fake) -> [u64; 3] {
    [BatchGetSecretValue, ListSecrets, GetSecretValue]
        .map(|operation| fake.calls().count(operation))
}

/// Returns how the agent answers a read: `hit` if the secret was cached, and `miss` if not.
async fn cache(sidekey: &Sidekey, name: &str) -> String {
    sidekey.read(name).await.cache().to_owned()
}

async fn pattern_status(sidekey: &Sidekey) -> Value {
    sidekey.get("/status").await.json()["patterns"].clone()
}

/// Waits until the agent has made `count` searches with this result.
async fn searched(sidekey: &Sidekey, result: &str, count: f64) {
    let series = format!("sidekey_searches_total{{result=\"{result}\"}}");
    eventually("the search ends", async || {
        // Later searches pause between two pages.
        sidekey.advance(Duration::from_secs(1));
        (sidekey.metrics().await.get(&series) == count).then_some(())
    })
    .await;
}

/// The agent caches the secrets whose names match a pattern before the first read, with one call for
/// twenty secrets. AWS also returns names that only begin like the pattern.
#[tokio::test]
async fn secrets_that_match_a_pattern_are_cached_at_start() {
    let (fake, clock) = start_fake().await;
    for number in 0..25 {
        create(&fake, &tenant(number), &[]);
    }
    create(&fake, "whatsapp-credentials/tenant-1/main/meta", &[]);
    create(&fake, "other", &[]);
    let sidekey = Setup::for_fake(&fake, &clock).with("SIDEKEY_SECRETS", PATTERN).start().await;
    assert_eq!(calls(&fake), [2, 0, 0]);
    for number in 0..25 {
        assert_eq!(cache(&sidekey, &tenant(number)).await, "hit");
    }
    let status = pattern_status(&sidekey).await;
    let expected = json!([{
        "pattern": PATTERN, "found": 25, "age_seconds": 0, "problem": null
    }]);
    assert_eq!(status, expected);
    assert_eq!(sidekey.get("/status").await.json()["entries"].as_array().map(Vec::len), Some(25));
    assert_eq!(sidekey.get("/ready").await.status, 200);
    assert_eq!(sidekey.metrics().await.get("sidekey_found_secrets"), 25.0);
    assert_eq!(calls(&fake), [2, 0, 0]);
}

/// AWS compares only the beginnings of tag keys and tag values, and does not compare them as pairs.
/// The agent caches only the secrets that have exactly the tag.
#[tokio::test]
async fn secrets_with_a_tag_are_cached_at_start() {
    for (tag, expected) in [
        ("tag:channel=whatsapp", &["a"][..]),
        ("tag:channel", &["a", "b", "c"]),
        ("tag:unknown", &[]),
    ] {
        let (fake, clock) = start_fake().await;
        create(&fake, "a", &[("channel", "whatsapp")]);
        create(&fake, "b", &[("channel", "whatsapp-2")]);
        create(&fake, "c", &[("channel", "sms"), ("team", "whatsapp")]);
        create(&fake, "d", &[("channel-id", "whatsapp")]);
        let sidekey = Setup::for_fake(&fake, &clock).with("SIDEKEY_SECRETS", tag).start().await;
        for name in ["a", "b", "c", "d"] {
            let expected = if expected.contains(&name) { "hit" } else { "miss" };
            assert_eq!(cache(&sidekey, name).await, expected, "{tag} {name}");
        }
        assert_eq!(pattern_status(&sidekey).await[0]["found"], expected.len(), "{tag}");
        assert_eq!(fake.calls().count(ListSecrets), 1, "{tag}");
    }
}

/// The secret of a new tenant is cached before its first read. A deleted secret, and a secret whose
/// tag was removed, leave the cache.
#[tokio::test]
async fn searches_are_repeated_in_intervals() {
    let (fake, clock) = start_fake().await;
    create(&fake, &tenant(1), &[]);
    create(&fake, "tagged", &[("channel", "sms")]);
    let list = format!("{PATTERN} tag:channel");
    let sidekey = Setup::for_fake(&fake, &clock).with("SIDEKEY_SECRETS", list).start().await;
    searched(&sidekey, "complete", 2.0).await;
    create(&fake, &tenant(2), &[]);
    fake.secrets().mark_for_deletion(&tenant(1), 7 * INTERVAL).expect("the secret exists");
    fake.secrets().remove_tag("tagged", "channel").expect("the secret exists");
    sidekey.advance(INTERVAL);
    searched(&sidekey, "complete", 4.0).await;
    assert_eq!(cache(&sidekey, &tenant(2)).await, "hit");
    assert_eq!(cache(&sidekey, "tagged").await, "miss");
    assert_eq!(sidekey.read(&tenant(1)).await.status, 400);
}

/// With `SIDEKEY_DISCOVER=0`, the agent searches only at its start.
#[tokio::test]
async fn interval_of_zero_searches_only_at_start() {
    let (fake, clock) = start_fake().await;
    create(&fake, &tenant(1), &[]);
    let setup = Setup::for_fake(&fake, &clock).with("SIDEKEY_DISCOVER", 0);
    let sidekey = setup.with("SIDEKEY_SECRETS", PATTERN).start().await;
    for _ in 0..50 {
        sidekey.advance(INTERVAL);
        assert_eq!(sidekey.get("/ready").await.status, 200);
    }
    assert_eq!(calls(&fake), [1, 0, 0]);
}

/// Without the permissions for searches, the agent names them, counts the failure, and is ready.
/// Reads by name still work. The agent finds the secrets soon after the permissions are granted.
#[tokio::test]
async fn missing_permissions_are_named_and_reads_go_on() {
    for (operation, pattern) in
        [(BatchGetSecretValue, PATTERN), (ListSecrets, PATTERN), (ListSecrets, "tag:channel")]
    {
        let (fake, clock) = start_fake().await;
        create(&fake, &tenant(1), &[("channel", "sms")]);
        fake.faults().deny_operation(operation);
        let sidekey = Setup::for_fake(&fake, &clock).with("SIDEKEY_SECRETS", pattern).start().await;
        assert_eq!(sidekey.get("/ready").await.status, 200);
        let problem = pattern_status(&sidekey).await[0]["problem"].clone();
        assert_eq!(problem["code"], "AccessDeniedException");
        let hint = problem["hint"].as_str().expect("the hint must be a string");
        for permission in ["secretsmanager:BatchGetSecretValue", "secretsmanager:ListSecrets"] {
            assert!(hint.contains(permission), "{hint}");
        }
        let denied = "sidekey_searches_total{result=\"denied\"}";
        assert_eq!(sidekey.metrics().await.get(denied), 1.0);
        assert_eq!(cache(&sidekey, &tenant(1)).await, "miss");
        fake.faults().allow_operation(operation);
        create(&fake, &tenant(2), &[("channel", "sms")]);
        sidekey.advance(INTERVAL);
        searched(&sidekey, "complete", 1.0).await;
        assert_eq!(cache(&sidekey, &tenant(2)).await, "hit");
    }
}

/// While a permission is missing, each search fails, but only the first failure is logged. The log
/// names the pattern and the permissions, and no secret.
#[tokio::test]
async fn missing_permission_is_logged_once() {
    let (fake, clock) = start_fake().await;
    create(&fake, &tenant(1), &[]);
    fake.faults().deny_operation(BatchGetSecretValue);
    let setup = Setup::for_fake(&fake, &clock).with("SIDEKEY_SECRETS", PATTERN);
    let program = Program::start(&["serve"], setup.vars());
    let mut connection = Connection::open(program.address().await).await;
    // After a restore, each search is due at once.
    for searches in [1, 2, 3] {
        eventually("the search fails", async || {
            let page = connection.exchange(get("/metrics", &[TOKEN_HEADER])).await;
            let denied =
                Metrics::parse(page.text()).get("sidekey_searches_total{result=\"denied\"}");
            (denied >= f64::from(searches)).then_some(())
        })
        .await;
        let restored = connection.exchange(request("POST", "/restore", &[TOKEN_HEADER], "")).await;
        assert_eq!(restored.status, 204);
    }
    program.signal(Signal::TERM);
    let (code, log) = program.ended().await;
    assert_eq!(code, Some(0), "{log}");
    let failures = log.lines().filter(|line| line.contains("the search for the secrets"));
    let failures: Vec<Value> =
        failures.map(|line| serde_json::from_str(line).expect("a log line is JSON")).collect();
    let [failure] = &failures[..] else { panic!("one line was expected: {log}") };
    assert_eq!((&failure["level"], &failure["pattern"]), (&json!("WARN"), &json!(PATTERN)));
    let hint = failure["hint"].as_str().expect("the hint must be a string");
    assert!(hint.contains("secretsmanager:BatchGetSecretValue"), "{hint}");
    assert!(!log.contains("tenant-1"), "{log}");
}

/// While AWS throttles the searches, cached secrets stay cached.
#[tokio::test]
async fn throttled_searches_change_nothing() {
    let (fake, clock) = start_fake().await;
    create(&fake, &tenant(1), &[]);
    let setup = Setup::for_fake(&fake, &clock).with("SIDEKEY_TTL", "1h");
    let sidekey = setup.with("SIDEKEY_SECRETS", PATTERN).start().await;
    fake.faults().always(Match::operation(BatchGetSecretValue), Fault::Throttle);
    sidekey.advance(INTERVAL);
    searched(&sidekey, "failed", 1.0).await;
    assert_eq!(cache(&sidekey, &tenant(1)).await, "hit");
    assert_eq!(pattern_status(&sidekey).await[0]["problem"]["kind"], "throttled");
    assert_eq!(pattern_status(&sidekey).await[0]["found"], 1);
}

/// `SIDEKEY_CACHE_SIZE` limits how many found secrets are cached, and a metric counts the searches
/// that it limited.
#[tokio::test]
async fn size_of_the_cache_limits_found_secrets() {
    let (fake, clock) = start_fake().await;
    for number in 0..10 {
        create(&fake, &tenant(number), &[]);
    }
    create(&fake, "listed", &[]);
    let setup = Setup::for_fake(&fake, &clock).with("SIDEKEY_CACHE_SIZE", 4);
    let list = format!("{PATTERN},listed");
    let sidekey = setup.with("SIDEKEY_SECRETS", list).start().await;
    let limited = "sidekey_searches_total{result=\"limited\"}";
    assert_eq!(sidekey.metrics().await.get(limited), 1.0);
    assert_eq!(sidekey.metrics().await.get("sidekey_found_secrets"), 10.0);
    assert_eq!(cache(&sidekey, "listed").await, "hit");
    assert_eq!(cache(&sidekey, &tenant(9)).await, "miss");
}

/// If `SIDEKEY_CACHE_SIZE` limits a search, the log says so.
#[tokio::test]
async fn log_says_that_the_size_of_the_cache_limits_a_search() {
    let (fake, clock) = start_fake().await;
    for number in 0..10 {
        create(&fake, &tenant(number), &[]);
    }
    let setup = Setup::for_fake(&fake, &clock).with("SIDEKEY_CACHE_SIZE", 4);
    let program = Program::start(&["serve"], setup.with("SIDEKEY_SECRETS", PATTERN).vars());
    let mut connection = Connection::open(program.address().await).await;
    eventually("the search ends", async || {
        let ready = connection.exchange(get("/ready", &[])).await;
        (ready.status == 200).then_some(())
    })
    .await;
    program.signal(Signal::TERM);
    let (code, log) = program.ended().await;
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("leaves no room for all secrets that match a pattern"), "{log}");
}

/// `SIDEKEY_ALLOW` restricts what a wider pattern caches, and the start warns about such a pattern.
#[tokio::test]
async fn pattern_wider_than_the_allowed_secrets_is_reported() {
    let (fake, clock) = start_fake().await;
    create(&fake, "app/a", &[]);
    create(&fake, "app/b", &[]);
    let setup = Setup::for_fake(&fake, &clock)
        .with("SIDEKEY_ALLOW", "app/a")
        .with("SIDEKEY_SECRETS", "app/*");
    let warnings = setup.load().warnings.join("\n");
    assert!(warnings.contains("the pattern app/* in SIDEKEY_SECRETS is wider"), "{warnings}");
    let sidekey = setup.start().await;
    assert_eq!(cache(&sidekey, "app/a").await, "hit");
    assert_eq!(sidekey.read("app/b").await.status, 400);
    assert_eq!(pattern_status(&sidekey).await[0]["found"], 1);
}

/// The agent is not ready while the first search runs. At `SIDEKEY_PREFETCH_DEADLINE`, it is ready
/// although the search has not ended.
#[tokio::test]
async fn readiness_waits_for_searches_until_the_deadline() {
    let (fake, clock) = start_fake().await;
    create(&fake, &tenant(1), &[]);
    let gateway = Gateway::start(&fake).await;
    gateway.hold();
    let setup = Setup::for_endpoint(&gateway.url(), &clock).with("SIDEKEY_PREFETCH_DEADLINE", "3s");
    let sidekey = setup.with("SIDEKEY_SECRETS", PATTERN).launch().await;
    eventually("AWS has received the search", async || {
        (gateway.regions().len() == 1).then_some(())
    })
    .await;
    assert_eq!(sidekey.get("/ready").await.status, 503);
    sidekey.advance(Duration::from_secs(3));
    let report = with_timeout("the prefetch ends at its deadline", sidekey.agent.prefetched())
        .await
        .expect("the prefetch must report its outcome");
    assert_eq!((report.found, report.is_settled), (0, false));
    assert_eq!(sidekey.get("/ready").await.status, 200);
    gateway.release();
    searched(&sidekey, "complete", 1.0).await;
    assert_eq!(cache(&sidekey, &tenant(1)).await, "hit");
}

/// Malformed patterns are mistakes of the configuration. Each message names the pattern.
#[tokio::test]
async fn malformed_patterns_are_refused_by_name() {
    let (fake, clock) = start_fake().await;
    let list = "app/** tag: tag:a=* app/*#field arn:aws:secretsmanager:eu-north-1:*:secret:x";
    let mistakes = Setup::for_fake(&fake, &clock).with("SIDEKEY_SECRETS", list).load().mistakes;
    let mistakes = mistakes.to_string();
    for item in list.split(' ') {
        assert!(mistakes.contains(&format!("'{item}'")), "{item}: {mistakes}");
    }
}

/// The log names each pattern and each tag that matches no secret, for example because of a typo.
#[tokio::test]
async fn pattern_and_tag_without_secrets_are_named_at_start() {
    let (fake, clock) = start_fake().await;
    create(&fake, "app/db", &[("channel", "sms")]);
    let setup = Setup::for_fake(&fake, &clock)
        .with("SIDEKEY_SECRETS", "app/* apps/* tag:channel tag:chanel tag:channel=voice");
    let agent = Program::start(&["serve"], setup.vars());
    agent.address().await;
    let logged: Vec<String> = agent
        .output()
        .lines()
        .filter(|line| line.contains("no secret matches a pattern of SIDEKEY_SECRETS"))
        .map(|line| {
            let line: Value = serde_json::from_str(line).expect("a line of the log must be JSON");
            line["pattern"].as_str().unwrap_or_default().to_owned()
        })
        .collect();
    assert_eq!(logged, ["apps/*", "tag:chanel", "tag:channel=voice"]);
}

/// The start warns about a pattern that matches names of secrets of a `[[role]]` table. The search
/// finds only secrets of the agent's own account.
#[tokio::test]
async fn pattern_for_secrets_of_a_role_is_reported() {
    let (fake, clock) = start_fake().await;
    create(&fake, "shared/own", &[]);
    let role = "arn:aws:iam::210987654321:role/reader";
    let folder = TempFolder::new();
    let file = format!("[[role]]\narn = \"{role}\"\nmatch = [\"shared/*\"]\n");
    let setup = Setup::for_fake(&fake, &clock)
        .with("SIDEKEY_CONFIG", folder.write("sidekey.toml", &file).display())
        .with("SIDEKEY_SECRETS", "shared/* app/*");
    let warnings = setup.load().warnings;
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    for part in ["the pattern shared/* in SIDEKEY_SECRETS", role] {
        assert!(warnings[0].contains(part), "{warnings:?}");
    }
}

/// The path of parameters in `SIDEKEY_SECRETS` is listed again in each interval, although no caller
/// reads its parameters. A new parameter is cached, and a deleted one leaves the cache.
#[tokio::test]
async fn paths_of_parameters_are_listed_in_intervals() {
    let (fake, clock) = start_fake().await;
    let parameters = fake.parameters();
    parameters.put("/app/old", "1").expect("the parameter is new");
    let setup = Setup::for_fake(&fake, &clock).with("SIDEKEY_TTL", "1h");
    let sidekey = setup.with("SIDEKEY_SECRETS", "ssm:/app/*").start().await;
    parameters.put("/app/new", "2").expect("the parameter is new");
    parameters.remove("/app/old").expect("the parameter exists");
    eventually("the path is listed again", async || {
        sidekey.advance(INTERVAL / 10);
        (fake.calls().count(GetParametersByPath) == 2).then_some(())
    })
    .await;
    eventually("the deleted parameter leaves the cache", async || {
        let answer = sidekey.read("ssm:/app/old").await;
        (answer.status == 400).then_some(())
    })
    .await;
    assert_eq!(cache(&sidekey, "ssm:/app/new").await, "hit");
}

/// `sidekey check` checks all secrets that match the patterns, and names patterns that match no
/// secret.
#[tokio::test]
async fn check_covers_the_secrets_that_match() {
    let (fake, clock) = start_fake().await;
    create(&fake, &tenant(1), &[("channel", "whatsapp")]);
    let incomplete = fake.secrets().create(&tenant(2), "{}");
    incomplete.expect("the fake AWS server must create the secret");
    let setup = Setup::for_fake(&fake, &clock).without("SIDEKEY_PORT");
    let vars: BTreeMap<String, String> = setup.with("SIDEKEY_SECRETS", PATTERN).vars().clone();
    let check = async |args: &[&str]| {
        let args = [&["check", "--json"][..], args].concat();
        Finished::sidekey(&args, &vars, b"").await
    };
    let done = check(&[]).await;
    let report: Value = serde_json::from_str(done.text()).expect("the report must be JSON");
    let results = report["results"].as_array().expect("the results must be a list");
    let are_ok: Vec<(&str, bool)> = results
        .iter()
        .map(|it| (it["reference"].as_str().unwrap_or_default(), it["ok"] == true))
        .collect();
    assert_eq!(are_ok, [(&*tenant(1), true), (&*tenant(2), false)]);
    assert_eq!(done.code, Some(1));
    let done = check(&["tag:channel=whatsapp"]).await;
    assert_eq!((done.code, done.text().contains(&tenant(1))), (Some(0), true));
    let done = check(&["tag:channel=sms", "tag:channel"]).await;
    assert_eq!(done.code, Some(2));
    assert!(done.err.contains("tag:channel=sms: no secret matches this pattern"), "{}", done.err);
    fake.faults().deny_operation(ListSecrets);
    let done = check(&["tag:channel"]).await;
    assert_eq!(done.code, Some(2));
    assert!(done.err.contains("secretsmanager:ListSecrets"), "{}", done.err);
}

/// `sidekey policy` allows the searches for the patterns and tags in `SIDEKEY_SECRETS`, and the reads
/// of the secrets that match.
#[tokio::test]
async fn policy_allows_searches() {
    let list = ("SIDEKEY_SECRETS".to_owned(), "app/* tag:channel=sms tag:team".to_owned());
    let here = ["policy", "--account", "123456789012", "--region", "eu-north-1"];
    let done = Finished::sidekey(&here, &BTreeMap::from([list]), b"").await;
    assert_eq!((done.code, &*done.err), (Some(0), ""));
    let policy: Value = serde_json::from_str(done.text()).expect("the policy must be JSON");
    let statements: Vec<Value> = policy["Statement"]
        .as_array()
        .expect("the statements must be a list")
        .iter()
        .map(|it| json!([it["Action"], it["Resource"], it["Condition"]]))
        .collect();
    let arn = "arn:aws:secretsmanager:eu-north-1:123456789012:secret:";
    let get = "secretsmanager:GetSecretValue";
    let expected = json!([
        [get, [format!("{arn}app/*-??????")], null],
        [get, [format!("{arn}*")],
            {"StringEquals": {"secretsmanager:ResourceTag/channel": ["sms"]}}],
        [get, [format!("{arn}*")], {"StringLike": {"secretsmanager:ResourceTag/team": ["*"]}}],
        ["secretsmanager:BatchGetSecretValue", ["*"], null],
        ["secretsmanager:ListSecrets", ["*"], null],
    ]);
    assert_eq!(json!(statements), expected);
    let verify = ["--verify", "-", "app/*", "tag:channel=sms", "tag:team"];
    let args = [&here[..], &verify].concat();
    let verified = Finished::sidekey(&args, &BTreeMap::new(), done.text().as_bytes()).await;
    assert_eq!(verified.code, Some(0), "{}", verified.text());
}

/// The agent finds the same secrets by a pattern and by a tag in moto, an independent emulator of
/// AWS.
#[tokio::test]
async fn patterns_and_tags_work_with_moto() {
    let clients = match Clients::install() {
        Ok(clients) => clients,
        Err(missing) => return missing.skip_or_fail(),
    };
    let moto = Moto::start(&clients).await;
    for number in 0..25 {
        let channel = if number % 2 == 0 { "whatsapp" } else { "whatsapp-2" };
        let tags = json!([{ "Key": "channel", "Value": channel }]);
        let body = json!({ "Name": tenant(number), "SecretString": TWILIO, "Tags": tags });
        moto.call("CreateSecret", &body).await;
    }
    let clock = ManualClock::new();
    for (pattern, expected) in [(PATTERN, 25), ("tag:channel=whatsapp", 13), ("*/*/main/*", 25)] {
        let setup = Setup::for_endpoint(&moto.endpoint(), &clock);
        let sidekey = setup.with("SIDEKEY_SECRETS", pattern).start().await;
        assert_eq!(pattern_status(&sidekey).await[0]["found"], expected, "{pattern}");
        assert_eq!(cache(&sidekey, &tenant(2)).await, "hit", "{pattern}");
    }
}

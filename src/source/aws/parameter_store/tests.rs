//! Tests the calls to Parameter Store over real sockets, against a fake of AWS.

use super::{PARAMETERS_BY_PATH_MAX, Parameter, ParameterStore, Parameters};
use crate::clock::freeze::INTERRUPTIONS_MAX;
use crate::clock::{Clock, Moment, Sleep, SystemClock};
use crate::secret::value::SecretValue;
use crate::secret::version::ParameterKind;
use crate::source::aws::{Aws, CallTimeout, Config, Endpoint, Trust};
use crate::source::{FetchError, FetchErrorKind, FetchFuture, PARAMETERS_BATCH_MAX};
use crate::tokens::Tokens;
use fake_aws::{Fake, Fault, Match, Operation, ParameterValue};
use serde_json::value::RawValue;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const REGION: &str = "eu-north-1";
const ARN: &str = "arn:aws:ssm:eu-north-1:123456789012:parameter";

fn modified() -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(1_668_586_960_362)
}

async fn fake() -> Fake {
    Fake::start(Arc::new(modified)).await.expect("the test must be able to bind a free port")
}

fn config(endpoint: Option<&str>) -> Config {
    let environment = [
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "key"),
        // The agent must not call these addresses, which are its own in a container or function.
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:1"),
        ("AWS_ENDPOINT_URL_SSM", "http://127.0.0.1:1"),
    ];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Config {
        sts_endpoint: None,
        roles: Vec::new(),
        region: Some(REGION.to_owned()),
        endpoint: None,
        parameter_store_endpoint: endpoint
            .map(|url| Endpoint::parse(url).expect("the endpoint must be valid")),
        failover_region: None,
        region_only: false,
        attempt_timeout: Duration::from_secs(60),
        parameter_store_timeout: CallTimeout {
            duration: Duration::from_secs(60),
            variable: "SIDEKEY_UPSTREAM_TIMEOUT",
        },
        credential_process_timeout: Duration::from_secs(60),
        trust: Trust::default(),
        environment: environment.into(),
        is_snapshot: false,
    }
}

async fn prepare(config: Config, own_ports: Vec<u16>) -> Aws {
    prepare_with(config, own_ports, Arc::new(SystemClock::new())).await
}

async fn prepare_with(config: Config, own_ports: Vec<u16>, clock: Arc<dyn Clock>) -> Aws {
    let tokens = Arc::new(Tokens::new(Vec::new()));
    Aws::prepare(config, own_ports, tokens, clock)
        .await
        .expect("the configuration must contain a valid region")
}

async fn client_of(fake: &Fake) -> Aws {
    prepare(config(Some(&fake.url())), Vec::new()).await
}

fn text(value: &SecretValue) -> &str {
    str::from_utf8(value.expose()).expect("the value must be text")
}

async fn error(store: &ParameterStore) -> FetchError {
    // The trait `Source` needs futures of this type, which can move to another thread.
    let call: FetchFuture<'_, Parameter> = Box::pin(store.get("/app/url", true, None));
    call.await.expect_err("the call must fail")
}

#[tokio::test]
async fn get_returns_each_type_and_version() {
    let fake = fake().await;
    let parameters = fake.parameters();
    parameters.put("/app/url", "one").expect("the name must be valid");
    parameters.put("/app/url", "two \"\u{1f600}\"\n").expect("the name must be valid");
    parameters.move_label("/app/url", "live", 1).expect("the version must exist");
    parameters.put("/app/hosts", ParameterValue::list(["a", "b"])).expect("the name must be valid");
    parameters
        .put("/app/password", ParameterValue::secure("hunter2"))
        .expect("the name must be valid");
    let client = client_of(&fake).await;
    assert_eq!(fake.connections(), 0, "the client must not connect to AWS before its first call");
    let store = client.parameter_store();

    let url = store.get("/app/url", false, None).await.expect("the parameter must exist");
    assert_eq!((&*url.arn, &*url.name), (&*format!("{ARN}/app/url"), "/app/url"));
    assert_eq!((url.kind, url.version, url.selector), (ParameterKind::String, 2, None));
    assert_eq!((url.data_type.as_deref(), url.last_modified), (Some("text"), Some(modified())));
    assert_eq!(text(&url.value), "two \"\u{1f600}\"\n");

    let live = store.get("/app/url:live", false, Some(REGION)).await.expect("the label must exist");
    assert_eq!((live.version, live.selector.as_deref()), (1, Some(":live")));
    assert_eq!((&*live.name, text(&live.value)), ("/app/url", "one"));
    let by_arn = store.get(&format!("{ARN}/app/hosts"), false, None).await;
    let by_arn = by_arn.expect("the parameter must exist");
    assert_eq!((by_arn.kind, text(&by_arn.value)), (ParameterKind::StringList, "a,b"));

    let plain = store.get("/app/password", true, None).await.expect("the parameter must exist");
    assert_eq!((plain.kind, text(&plain.value)), (ParameterKind::SecureString, "hunter2"));
    assert!(!format!("{plain:?}").contains("hunter2"));
    let encrypted =
        store.get("/app/password", false, None).await.expect("the parameter must exist");
    assert_eq!(encrypted.kind, ParameterKind::SecureString);
    assert!(text(&encrypted.value).starts_with("AQICAH"));
    assert_eq!(fake.connections(), 1, "all calls must use the same connection to AWS");
}

#[tokio::test]
async fn secret_is_read_by_reference() {
    let fake = fake().await;
    fake.secrets().create("app/db", "hunter2").expect("the fake of AWS must create the secret");
    let client = client_of(&fake).await;
    let name = "/aws/reference/secretsmanager/app/db";
    let secret =
        client.parameter_store().get(name, true, None).await.expect("the secret must exist");
    assert_eq!((secret.version, text(&secret.value)), (0, "hunter2"));
}

#[tokio::test]
async fn get_many_returns_parameters_and_invalid_names() {
    let fake = fake().await;
    let mut names: Vec<String> =
        (1..PARAMETERS_BATCH_MAX).map(|number| format!("/app/{number}")).collect();
    for name in &names {
        fake.parameters().put(name, ParameterValue::secure(name)).expect("the name must be valid");
    }
    names.push("/absent".to_owned());
    let client = client_of(&fake).await;
    let call: FetchFuture<'_, Parameters> =
        Box::pin(client.parameter_store().get_many(&names, true, None));
    let many = call.await.expect("the call must succeed");
    assert_eq!(many.found.len(), PARAMETERS_BATCH_MAX - 1);
    assert!(many.found.iter().all(|parameter| text(&parameter.value) == &*parameter.name));
    assert_eq!(many.invalid, [Box::from("/absent")]);
    assert_eq!(fake.calls().total(), 1);
}

#[tokio::test]
async fn by_path_returns_all_pages() {
    let fake = fake().await;
    for number in 0..25 {
        let name = format!("/app/{number}");
        fake.parameters()
            .put(&name, ParameterValue::secure(&name))
            .expect("the name must be valid");
    }
    fake.parameters().put("/app/deep/url", "x").expect("the name must be valid");
    let client = client_of(&fake).await;
    let store = client.parameter_store();
    let call: FetchFuture<'_, Vec<Parameter>> =
        Box::pin(store.by_path("/app", false, true, None, None));
    let direct = call.await.expect("the path must be valid");
    assert_eq!(direct.len(), 25);
    assert!(direct.iter().all(|parameter| text(&parameter.value) == &*parameter.name));
    assert_eq!(fake.calls().count(Operation::GetParametersByPath), 3);
    let all = store.by_path("/app", true, false, None, None).await.expect("the path must be valid");
    assert_eq!(all.len(), 26);
    let filters = r#"[{"Key":"Type","Option":"Equals","Values":["String"]}]"#;
    let filters: &RawValue = serde_json::from_str(filters).expect("the filters must be JSON");
    let found = store.by_path("/app", true, false, Some(filters), None).await;
    let names: Vec<_> =
        found.expect("the filters must be valid").into_iter().map(|it| it.name).collect();
    assert_eq!(names, [Box::from("/app/deep/url")]);
}

/// The time limit for one call in the tests of freezes. Because no other time limit has this
/// length, `TimeoutClock` recognises it.
const ATTEMPT: Duration = Duration::from_secs(59);

/// A clock that lets calls to AWS time out without any waiting.
#[derive(Debug)]
struct TimeoutClock {
    clock: SystemClock,
    /// The numbers of the calls that time out. The first call has the number 0.
    timeouts: Range<usize>,
    /// How long each call that times out seems to take.
    took: Duration,
    calls: AtomicUsize,
    /// How far this clock is ahead of the clock of the machine.
    ahead: Mutex<Duration>,
}

impl TimeoutClock {
    fn new(timeouts: Range<usize>, took: Duration) -> Arc<Self> {
        let (clock, calls, ahead) = (SystemClock::new(), AtomicUsize::new(0), Mutex::default());
        Arc::new(Self { clock, timeouts, took, calls, ahead })
    }
}

impl Clock for TimeoutClock {
    fn now(&self) -> Moment {
        self.clock
            .now()
            .after(*self.ahead.lock().expect("a thread that holds the lock must not panic"))
    }

    fn sleep(&self, span: Duration) -> Sleep {
        if span != ATTEMPT || !self.timeouts.contains(&self.calls.fetch_add(1, Ordering::Relaxed)) {
            return self.clock.sleep(span);
        }
        *self.ahead.lock().expect("a thread that holds the lock must not panic") += self.took;
        Box::pin(std::future::ready(()))
    }
}

#[tokio::test]
async fn interrupted_page_is_repeated_up_to_a_limit() {
    let fake = fake().await;
    for number in 0..25 {
        fake.parameters().put(&format!("/app/{number}"), "x").expect("the name must be valid");
    }
    let list = async |timeouts, took| {
        let clock = TimeoutClock::new(timeouts, took);
        let timeout = CallTimeout { duration: ATTEMPT, variable: "SIDEKEY_UPSTREAM_TIMEOUT" };
        let config = Config { parameter_store_timeout: timeout, ..config(Some(&fake.url())) };
        let client = prepare_with(config, Vec::new(), clock.clone()).await;
        let found = client.parameter_store().by_path("/app", false, false, None, None).await;
        let found = found.map(|found| found.len()).map_err(|error| error.kind);
        (found, clock.calls.load(Ordering::Relaxed))
    };
    let freeze = Duration::from_secs(600);
    assert_eq!(
        list(1..3, freeze).await,
        (Ok(25), 3 + 2),
        "the call for the second page must be repeated after each of the two freezes"
    );
    let limit = 1 + INTERRUPTIONS_MAX;
    assert_eq!(list(0..limit, freeze).await, (Err(FetchErrorKind::Timeout), limit));
    assert_eq!(
        list(0..1, ATTEMPT).await,
        (Err(FetchErrorKind::Timeout), 1),
        "a call without a freeze must not be repeated"
    );
}

#[tokio::test]
async fn path_with_too_many_parameters_is_refused() {
    let fake = fake().await;
    for number in 0..=PARAMETERS_BY_PATH_MAX {
        fake.parameters().put(&format!("/app/{number}"), "x").expect("the name must be valid");
    }
    let client = client_of(&fake).await;
    let error = client.parameter_store().by_path("/app", false, false, None, None).await;
    let error = error.expect_err("a path with 1001 parameters must cause an error");
    assert_eq!(error.kind, FetchErrorKind::Invalid);
    assert!(error.message.contains("1000") && error.hint().contains("longer paths"), "{error}");
}

#[tokio::test]
async fn failures_of_aws_are_typed_and_explained() {
    let fake = fake().await;
    for name in ["/app/url", "/denied", "/locked"] {
        fake.parameters()
            .put(name, ParameterValue::secure("hunter2"))
            .expect("the name must be valid");
    }
    fake.faults().deny_parameter("/denied");
    fake.faults().break_parameter_key("/locked", true);
    let client = client_of(&fake).await;
    let store = client.parameter_store();
    for (name, kind, code, advice) in [
        ("/absent", FetchErrorKind::NotFound, "ParameterNotFound", "region eu-north-1"),
        ("/app/url:9", FetchErrorKind::NotFound, "ParameterVersionNotFound", "version or label"),
        ("/denied", FetchErrorKind::Denied, "AccessDeniedException", "grant ssm:GetParameter"),
        ("/locked", FetchErrorKind::Decryption, "InvalidKeyId", "kms:Decrypt"),
        ("/app/url:1:2", FetchErrorKind::Invalid, "ValidationException", "check the parameter"),
    ] {
        let error = store.get(name, true, None).await.expect_err("the call must fail");
        assert_eq!((error.kind, &*error.code), (kind, code));
        assert!(!error.message.is_empty() && error.request_id.is_some(), "{error:?}");
        assert!(error.hint().contains(advice), "{}", error.hint());
    }
    let injected = |status, kind: &str| {
        let message = "m".to_owned();
        Fault::Error { status, kind: kind.to_owned(), message }
    };
    for (fault, kind, advice) in [
        (Fault::Throttle, FetchErrorKind::Throttled, "higher throughput"),
        (Fault::InternalError, FetchErrorKind::Service, "Parameter Store failed"),
        (injected(400, "KMSDisabledException"), FetchErrorKind::Decryption, "enable the KMS key"),
        (injected(503, "X"), FetchErrorKind::Service, "Parameter Store failed"),
        (
            injected(400, "ExpiredTokenException"),
            FetchErrorKind::Credentials,
            "get-caller-identity",
        ),
        (Fault::Garbage, FetchErrorKind::Unreadable, "format of Parameter Store"),
        (Fault::Truncated, FetchErrorKind::Unreadable, "format of Parameter Store"),
        (Fault::Reset, FetchErrorKind::Connection, "check the network"),
    ] {
        fake.faults().script(Match::any(), [fault.clone()]);
        let error = error(store).await;
        assert_eq!(error.kind, kind, "{fault:?}: {error:?}");
        assert!(error.hint().contains(advice), "{}", error.hint());
    }
    let value = store
        .get("/app/url", true, None)
        .await
        .expect("the call must succeed when AWS works again")
        .value;
    assert_eq!(text(&value), "hunter2");
}

#[tokio::test]
async fn stalled_call_ends_at_its_own_timeout() {
    let fake = fake().await;
    fake.faults().always(Match::any(), Fault::Stall);
    let parameter_store_timeout = CallTimeout {
        duration: Duration::from_millis(5),
        variable: "SSM_PARAMETER_STORE_TIMEOUT_MILLIS",
    };
    let config = Config { parameter_store_timeout, ..config(Some(&fake.url())) };
    let client = prepare(config, Vec::new()).await;
    let error = error(client.parameter_store()).await;
    assert_eq!(error.kind, FetchErrorKind::Timeout);
    assert!(error.hint().contains("SSM_PARAMETER_STORE_TIMEOUT_MILLIS"), "{}", error.hint());
    let deadline = client.parameter_store().deadline();
    assert_eq!(deadline, Duration::from_secs(60) + Duration::from_millis(5));
}

#[tokio::test]
async fn agent_never_calls_itself() {
    let fake = fake().await;
    let client = prepare(config(Some(&fake.url())), vec![fake.addr().port()]).await;
    let refused = error(client.parameter_store()).await;
    assert_eq!(refused.kind, FetchErrorKind::Misconfigured);
    assert_eq!((fake.connections(), fake.calls().total()), (0, 0));
    let unset = prepare(config(None), Vec::new()).await;
    assert_eq!(unset.parameter_store().client.url(REGION), "https://ssm.eu-north-1.amazonaws.com");
}

#[tokio::test]
async fn other_region_is_called_if_the_configuration_allows_it() {
    let fake = fake().await;
    let shared = "arn:aws:ssm:eu-west-1:999988887777:parameter/shared";
    let for_any = format!("{}/{{region}}", fake.url());
    let client = prepare(config(Some(&for_any)), Vec::new()).await;
    let store = client.parameter_store();
    assert_eq!(store.client.url("eu-west-1"), format!("{}/eu-west-1", fake.url()));
    // The fake accepts operations at the path `/` only, but records all calls.
    assert!(store.get(shared, true, Some("eu-west-1")).await.is_err());
    let call = fake.calls().last().expect("the simulated AWS must have been called");
    let signature = call.authorization.expect("the call must be signed");
    assert!(signature.contains("/eu-west-1/ssm/aws4_request"), "{signature}");
    let invalid = store.get(shared, true, Some("evil.example/")).await;
    assert_eq!(invalid.map_err(|error| error.kind).err(), Some(FetchErrorKind::OtherRegion));

    let config = Config { region_only: true, ..config(Some(&for_any)) };
    let restricted = prepare(config, Vec::new()).await;
    let refused = restricted.parameter_store().get(shared, true, Some("eu-west-1")).await;
    let refused = refused.expect_err("a forbidden region must be refused");
    assert_eq!(refused.kind, FetchErrorKind::OtherRegion);
    assert!(refused.hint().contains("SIDEKEY_REGION_ONLY"), "{}", refused.hint());
}

//! Tests of requests for all parameters under a path, such as `/app`.

use crate::cache::How;
use crate::cache::fixture::{Answer, Fixture, LATENCY, SECOND, Setup, key, ok, outcome};
use crate::secret::key::Key;
use crate::secret::parameter_path::ParameterPath;
use crate::secret::reference::SecretId;
use crate::secret::selector::Selector;
use crate::secret::version::Details;
use crate::source::FetchErrorKind;

fn path() -> Key {
    let id = SecretId::Path(ParameterPath::new("/app", false, None));
    Key::own(id, Selector::parameter(None, None, false))
}

async fn listed(fixture: &Fixture) -> Vec<String> {
    let served = fixture.cache.read(path()).await.expect("the parameters must be readable");
    let Details::Path(parameters) = &served.entry.version.details else {
        panic!("the answer must be a list of parameters")
    };
    parameters.iter().map(|version| format!("{} {}", version.name, version.id)).collect()
}

fn two_parameters(setup: Setup) -> Fixture {
    let fixture = setup.build();
    fixture.script("ssm:/app/a", Answer::Version(1));
    fixture.script("ssm:/app/b", Answer::Version(2));
    fixture.script("ssm:/other/c", Answer::Version(3));
    fixture
}

#[tokio::test(start_paused = true)]
async fn path_and_its_parameters_are_cached_by_one_call() {
    let fixture = two_parameters(Setup::default());
    for _ in 0..2 {
        assert_eq!(listed(&fixture).await, ["/app/a 1", "/app/b 2"]);
    }
    assert_eq!(outcome(fixture.cache.read(key("ssm:/app/a")).await), ok("1", How::Hit));
    assert_eq!(outcome(fixture.cache.read(key("ssm:/app/b")).await), ok("2", How::Hit));
    assert_eq!(fixture.calls(), 1);
    fixture.cache.read(key("ssm:/other/c")).await.expect("the parameter must be readable");
    assert_eq!(fixture.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn parameters_that_are_not_allowed_are_left_out() {
    let fixture = two_parameters(Setup { allow: vec!["app/*"], ..Setup::default() });
    assert!(
        fixture.cache.read(path()).await.is_err(),
        "the read must fail, because SIDEKEY_ALLOW allows no parameter"
    );
    assert_eq!(fixture.calls(), 0);
    let fixture = two_parameters(Setup { allow: vec!["ssm:/app/b"], ..Setup::default() });
    assert_eq!(listed(&fixture).await, ["/app/b 2"]);
    assert!(fixture.cache.read(key("ssm:/app/a")).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn older_version_in_the_answer_does_not_replace_a_newer_one() {
    let fixture = two_parameters(Setup::default());
    fixture.script("ssm:/app/a", Answer::Version(9));
    fixture.cache.read(key("ssm:/app/a")).await.expect("the parameter must be readable");
    fixture.script("ssm:/app/a", Answer::Version(8));
    assert_eq!(listed(&fixture).await, ["/app/a 9", "/app/b 2"]);
    assert_eq!(outcome(fixture.cache.read(key("ssm:/app/a")).await), ok("9", How::Hit));
}

/// A parameter is deleted and created again, so its version numbers begin again. The cache uses the
/// new parameter, which has a lower version number, only after AWS has returned it twice.
#[tokio::test(start_paused = true)]
async fn older_version_replaces_a_newer_one_after_a_second_answer() {
    let fixture = two_parameters(Setup::default());
    fixture.script("ssm:/app/a", Answer::Version(9));
    assert_eq!(listed(&fixture).await, ["/app/a 9", "/app/b 2"]);
    fixture.script("ssm:/app/a", Answer::Version(1));
    fixture.script("ssm:/app/b", Answer::Version(3));
    fixture.pass(101 * SECOND).await;
    assert_eq!(
        listed(&fixture).await,
        ["/app/a 9", "/app/b 2"],
        "the cache must keep the list until AWS has returned the older version twice"
    );
    assert_eq!(outcome(fixture.cache.read(key("ssm:/app/b")).await), ok("3", How::Hit));
    fixture.pass(6 * SECOND).await;
    // This request gets the cached list, and starts a refresh.
    listed(&fixture).await;
    fixture.pass(2 * LATENCY).await;
    assert_eq!(listed(&fixture).await, ["/app/a 1", "/app/b 3"]);
}

/// A request for a path can have a filter, which selects an older version of a parameter by its
/// label. Requests for the parameter's name must not get this version.
#[tokio::test(start_paused = true)]
async fn filtered_list_does_not_answer_requests_by_name() {
    for is_cached_before in [false, true] {
        let fixture = two_parameters(Setup::default());
        if is_cached_before {
            fixture.script("ssm:/app/a", Answer::Version(5));
            fixture.cache.read(key("ssm:/app/a")).await.expect("the parameter must be readable");
        }
        fixture.script("ssm:/app/a", Answer::Version(3));
        let filters = Some(r#"[{"Key":"Label","Option":"Equals","Values":["live"]}]"#);
        let id = SecretId::Path(ParameterPath::new("/app", false, filters));
        let labelled = Key { id, ..path() };
        let served = fixture.cache.read(labelled).await.expect("the path must be readable");
        let versions: Vec<&str> =
            served.entry.version.parameters().iter().map(|version| &*version.id).collect();
        assert_eq!(versions, ["3", "2"]);
        fixture.script("ssm:/app/a", Answer::Version(5));
        let read =
            fixture.cache.read(key("ssm:/app/a")).await.expect("the parameter must be readable");
        assert_eq!(&*read.entry.version.id, "5", "{is_cached_before}");
    }
}

#[tokio::test(start_paused = true)]
async fn path_is_stale_while_aws_fails() {
    let fixture = two_parameters(Setup::default());
    listed(&fixture).await;
    fixture.script(path().id.as_str(), Answer::Fail(FetchErrorKind::Throttled));
    fixture.pass(101 * SECOND).await;
    assert_eq!(listed(&fixture).await, ["/app/a 1", "/app/b 2"]);
}

#[tokio::test(start_paused = true)]
async fn parameters_of_a_list_are_evicted_before_those_that_were_read() {
    let fixture = two_parameters(Setup { entries_max: 3, ..Setup::default() });
    fixture.cache.read(key("ssm:/other/c")).await.expect("the parameter must be readable");
    listed(&fixture).await;
    let read = fixture.cache.read(key("ssm:/other/c")).await;
    assert_eq!(outcome(read), ok("3", How::Hit));
}

//! Tests of requests for all parameters under a path, such as `/app`.

use crate::cache::How;
use crate::cache::fixture::{Answer, Fixture, SECOND, Setup, key, ok, outcome};
use crate::secret::key::Key;
use crate::secret::parameter_path::ParameterPath;
use crate::secret::reference::SecretId;
use crate::secret::selector::Selector;
use crate::secret::version::Details;
use crate::source::FetchErrorKind;

fn path() -> Key {
    Key {
        id: SecretId::Path(ParameterPath::new("/app", false, None)),
        selector: Selector::parameter(None, None, false),
    }
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
    assert!(fixture.cache.read(path()).await.is_err(), "SIDEKEY_ALLOW allows no parameter");
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

#[tokio::test(start_paused = true)]
async fn path_is_stale_while_aws_fails() {
    let fixture = two_parameters(Setup::default());
    listed(&fixture).await;
    fixture.script(path().id.as_str(), Answer::Fail(FetchErrorKind::Throttled));
    fixture.pass(101 * SECOND).await;
    assert_eq!(listed(&fixture).await, ["/app/a 1", "/app/b 2"]);
}

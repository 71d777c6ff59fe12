//! Tests of calls with secrets that the agent reads with an assumed role.

use crate::support::agent::REGION;
use crate::support::agent::TOKEN_HEADER;
use crate::support::scene::{BEARER, KEY, SECRET, Scene, crm, value};
use crate::support::upstream::{Upstream, answer};
use fake_aws::Location;
use fake_aws::Operation::{AssumeRole, GetSecretValue};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const THEIR_ACCOUNT: &str = "210987654321";
const READER: &str = "arn:aws:iam::210987654321:role/reader";
const THEIR_KEY: &str = "sk-crm-of-another-account";

/// Starts a server that accepts only the bearer token in `valid`.
async fn server(valid: &Arc<Mutex<String>>) -> Upstream {
    let valid = valid.clone();
    Upstream::start(move |seen| {
        let key = valid.lock().expect("no thread may panic while it holds the lock").clone();
        match seen.header("authorization") == Some(&*format!("Bearer {key}")) {
            true => answer(200, &[], "fine"),
            false => answer(401, &[], "wrong key"),
        }
    })
    .await
}

/// Starts an agent with the configuration file `toml`, and with a table `[[role]]` for `secrets`.
/// The role's account has a secret with the name of the route's secret, but with another key.
async fn start(toml: &str, secrets: &str) -> (Scene, String) {
    let role = format!("[[role]]\narn = \"{READER}\"\nmatch = [\"{secrets}\"]\n");
    let scene = Scene::start(&format!("{role}{toml}")).await;
    let theirs = Location::new(THEIR_ACCOUNT, REGION);
    let arn = scene.fake.secrets().create_in(&theirs, SECRET, value(THEIR_KEY));
    scene.fake.roles().create(READER);
    (scene, arn.expect("the fake must create the secret"))
}

#[tokio::test]
async fn secret_of_a_route_is_read_and_fetched_again_with_the_configured_role() {
    let valid = Arc::new(Mutex::new(THEIR_KEY.to_owned()));
    let upstream = server(&valid).await;
    let (scene, arn) = start(&crm(&upstream, BEARER), "crm-key/*").await;
    let called = scene.get("/to/crm/x").await;
    assert_eq!((called.status, called.text()), (200, "fine"));
    assert_eq!(scene.fake.calls().count(AssumeRole), 1);
    let new = "sk-crm-rotated-in-another-account";
    *valid.lock().expect("no thread may panic while it holds the lock") = new.to_owned();
    scene.fake.secrets().put(&arn, value(new)).expect("the secret exists");
    scene.clock.advance(Duration::from_secs(2));
    let called = scene.get("/to/crm/x").await;
    assert_eq!((called.status, called.header("x-sidekey-retried")), (200, Some("1")));
    assert_eq!(scene.fake.calls().count(GetSecretValue), 2);
    let calls = scene.fake.calls().list();
    for call in calls.into_iter().filter(|call| call.operation == Some(GetSecretValue)) {
        let signed = call.authorization.expect("the agent signs each call");
        assert!(signed.contains("Credential=ASIA"), "each read must use the role: {signed}");
    }
}

#[tokio::test]
async fn secret_that_a_call_names_is_read_with_the_configured_role() {
    let valid = Arc::new(Mutex::new("sk-openai-of-another-account".to_owned()));
    let upstream = server(&valid).await;
    let toml = format!("[[route]]\nname = \"openai\"\nupstream = \"{}\"\n", upstream.url());
    let (scene, _) = start(&toml, "openai-api-key/*").await;
    let (name, key) = ("openai-api-key/sms", r#"{"ai_api_key":"sk-openai-of-another-account"}"#);
    scene.fake.secrets().create(name, r#"{"ai_api_key":"own"}"#).expect("the name is free");
    let theirs = Location::new(THEIR_ACCOUNT, REGION);
    let arn = scene.fake.secrets().create_in(&theirs, name, key).expect("the name is free");
    for reference in [name, &arn] {
        let headers = [TOKEN_HEADER, ("X-Sidekey-Reference", reference)];
        let called = scene.call("GET", "/to/openai/v1/models", &headers, "").await;
        assert_eq!((called.status, called.text()), (200, "fine"), "{reference}");
    }
}

#[tokio::test]
async fn role_that_must_not_read_the_secret_is_named_and_no_call_is_made() {
    let valid = Arc::new(Mutex::new(KEY.to_owned()));
    let upstream = server(&valid).await;
    let (scene, _) = start(&crm(&upstream, BEARER), "crm-key/*").await;
    scene.fake.roles().allow_only(READER, &["other/*"]);
    let refused = scene.get("/to/crm/x").await;
    assert_eq!((refused.status, &*refused.kind()), (424, "AccessDeniedException"));
    assert!(refused.text().contains(READER), "{}", refused.text());
    assert_eq!(upstream.connections(), 0, "no call may be made");
}

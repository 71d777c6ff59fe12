//! Tests that the commands `sidekey check` and `sidekey policy` know the secrets of routes.

use crate::support::TempFolder;
use crate::support::agent::Setup;
use crate::support::clock::ManualClock;
use crate::support::fake;
use crate::support::finished::Finished;
use fake_aws::ParameterValue;
use serde_json::Value;

const ROUTES: &str = r##"
[[route]]
name = "crm"
upstream = "https://api.crm.example"
secret = "crm-key/production"
basic = ["#user", "#password"]

[[route]]
name = "chat"
upstream = "https://api.chat.example"
secret = "ssm:/chat/key"
bearer = "#"
"##;

fn json(done: &Finished) -> Value {
    serde_json::from_str(done.text()).unwrap_or_else(|_| panic!("no JSON: {}", done.err))
}

/// Without arguments, the command also reads the secrets of routes, and finds that a field is
/// missing.
#[tokio::test]
async fn check_reads_the_secrets_of_routes_and_their_fields() {
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    let value = r#"{"user":"hunter2"}"#;
    fake.secrets().create("crm-key/production", value).expect("the name is free");
    let key = ParameterValue::secure("hunter3");
    fake.parameters().put("/chat/key", key).expect("the name is free");
    let folder = TempFolder::new();
    let config = folder.write("sidekey.toml", ROUTES);
    let setup = Setup::for_fake(&fake, &clock).without("SIDEKEY_PORT");
    let vars = setup.with("SIDEKEY_CONFIG", config.display()).vars().clone();
    let done = Finished::sidekey(&["check", "--json"], &vars, b"").await;
    assert!(!done.text().contains("hunter") && !done.err.contains("hunter"), "{}", done.text());
    let report = json(&done);
    let results = report["results"].as_array().expect("the results are a list");
    let found: Vec<(&str, bool)> = results
        .iter()
        .map(|one| (one["reference"].as_str().unwrap_or_default(), one["ok"] == true))
        .collect();
    let expected = [
        ("crm-key/production#user", true),
        ("crm-key/production#password", false),
        ("ssm:/chat/key", true),
    ];
    assert_eq!((found.as_slice(), done.code), (&expected[..], Some(1)));
    fake.secrets().put("crm-key/production", r#"{"user":"a","password":"b"}"#).expect("it exists");
    let done = Finished::sidekey(&["check"], &vars, b"").await;
    assert_eq!(done.code, Some(0), "{}", done.text());
}

#[tokio::test]
async fn policy_allows_the_secrets_of_routes() {
    let folder = TempFolder::new();
    let config = folder.write("sidekey.toml", ROUTES).display().to_string();
    let vars = [("SIDEKEY_CONFIG", &*config), ("SIDEKEY_SECRETS", "app/db")];
    let vars = vars.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let args = ["policy", "--account", "123456789012", "--region", "eu-north-1"];
    let done = Finished::sidekey(&args, &vars, b"").await;
    assert_eq!((done.code, &*done.err), (Some(0), ""));
    let policy = json(&done).to_string();
    for arn in [
        "arn:aws:secretsmanager:eu-north-1:123456789012:secret:app/db-??????",
        "arn:aws:secretsmanager:eu-north-1:123456789012:secret:crm-key/production-??????",
        "arn:aws:ssm:eu-north-1:123456789012:parameter/chat/key",
    ] {
        assert!(policy.contains(arn), "{arn} is missing: {policy}");
    }
}

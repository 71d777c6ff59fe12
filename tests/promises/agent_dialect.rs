//! Tests that Sidekey's responses equal those of the AWS Secrets Manager Agent byte for byte. Only
//! Sidekey's additional headers and error fields differ.

use crate::support::agent::{Setup, Sidekey, TOKEN_HEADER, read_path, read_request};
use crate::support::client::get;
use crate::support::clock::ManualClock;
use crate::support::fake;
use fake_aws::Operation::GetSecretValue;
use fake_aws::{Fake, Plaintext};
use serde_json::json;
use std::time::{Duration, UNIX_EPOCH};

/// Starts a fake AWS server and an agent. Their clock shows `millis` milliseconds after the
/// beginning of 1970.
async fn start_at(millis: u64) -> (Fake, Sidekey) {
    let clock = ManualClock::at(UNIX_EPOCH + Duration::from_millis(millis));
    let fake = fake(&clock).await;
    let sidekey = Setup::for_fake(&fake, &clock).start().await;
    (fake, sidekey)
}

/// Returns the expected text before and after the secret value in a response body. `name` is the
/// name of the secret.
fn around(fake: &Fake, name: &str, created: &str) -> (String, String) {
    let arn = fake.secrets().arn(name).expect("the secret exists");
    let id = fake.secrets().version_id(name, "AWSCURRENT").expect("the secret exists");
    let before = format!(r#"{{"ARN":"{arn}","Name":"{name}","VersionId":"{id}","#);
    (before, format!(r#","VersionStages":["AWSCURRENT"],"CreatedDate":"{created}"}}"#))
}

/// Reads secret values with quotes, control characters, non-ASCII text, markup and bytes, and a
/// value of the maximum size.
#[tokio::test]
async fn bodies_equal_those_of_awss_agent() {
    let (fake, sidekey) = start_at(1_569_534_789_046).await;
    let longest = "x".repeat(65_536);
    let cases: [(&str, Plaintext, String); 7] = [
        ("plain", "hunter2".into(), r#""SecretString":"hunter2""#.to_owned()),
        (
            "escapes",
            "a \"quoted\" \\ line\n\ttab \u{1} <b>&amp;</b> '".into(),
            r#""SecretString":"a \"quoted\" \\ line\n\ttab \u0001 <b>&amp;</b> '""#.to_owned(),
        ),
        (
            "beyond",
            "ä € 🦀 \u{2028} \u{7f}".into(),
            "\"SecretString\":\"ä € 🦀 \u{2028} \u{7f}\"".to_owned(),
        ),
        ("json", r#"{"user":"ann"}"#.into(), r#""SecretString":"{\"user\":\"ann\"}""#.to_owned()),
        ("binary", vec![0, 255, 16].into(), r#""SecretBinary":"AP8Q""#.to_owned()),
        ("bytes", vec![0xfb, 0xff, 0xbf, 0].into(), r#""SecretBinary":"+/+/AA==""#.to_owned()),
        ("longest", longest.clone().into(), format!(r#""SecretString":"{longest}""#)),
    ];
    for (name, plaintext, value) in cases {
        fake.secrets().create(name, plaintext).expect("the fake AWS server must create the secret");
        let (before, after) = around(&fake, name, "1569534789.046");
        for path in [read_path(name), read_path(name), format!("/v1/{name}")] {
            let answer = sidekey.get(&path).await;
            assert_eq!((answer.status, answer.text()), (200, &*format!("{before}{value}{after}")));
            assert_eq!(answer.header("content-type"), Some("application/json"));
            assert_eq!(answer.header("cache-control"), Some("no-store"));
        }
    }
}

#[tokio::test]
async fn dates_are_seconds_as_text() {
    for (millis, created) in [
        (1_569_534_789_046, "1569534789.046"),
        (1_569_534_789_000, "1569534789"),
        (1_569_534_789_500, "1569534789.5"),
        (1_569_534_789_120, "1569534789.12"),
        (1_569_534_789_999, "1569534789.999"),
    ] {
        let (fake, sidekey) = start_at(millis).await;
        fake.secrets()
            .create("app/db", "hunter2")
            .expect("the fake AWS server must create the secret");
        assert_eq!(sidekey.read("app/db").await.json()["CreatedDate"], created);
    }
}

/// Reads single fields of a secret whose value is a JSON object. The response is only the text of
/// the field, or an error if the field is missing or null.
#[tokio::test]
async fn field_is_returned_as_bare_text() {
    let (fake, sidekey) = start_at(1).await;
    let value = json!({"user": "ann \"ä\"\n", "port": 5432, "tls": {"on": true}, "none": null,
        "a b": "spaced", "": "nameless"});
    fake.secrets()
        .create("app/db", value.to_string())
        .expect("the fake AWS server must create the secret");
    fake.secrets().create("text", "hunter2").expect("the fake AWS server must create the secret");
    fake.secrets()
        .create("binary", vec![0, 1])
        .expect("the fake AWS server must create the secret");
    let arn = fake.secrets().arn("app/db").expect("the secret exists");
    for (field, expected) in [
        ("user", "ann \"ä\"\n"),
        ("port", "5432"),
        ("tls", r#"{"on":true}"#),
        ("a%20b", "spaced"),
        ("a+b", "spaced"),
    ] {
        for path in [
            read_path(&format!("app/db&field={field}")),
            read_path(&format!("app/db%23{field}")),
            read_path(&format!("{arn}%23{field}")),
            format!("/v1/app/db?field={field}"),
            format!("/v1/{arn}?field={field}"),
        ] {
            let answer = sidekey.get(&path).await;
            assert_eq!((answer.status, answer.text()), (200, expected), "{path}");
            assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
        }
    }
    for (id, words) in [
        ("app/db&field=password", "it has '', 'a b', 'none', 'port', 'tls', 'user'"),
        ("app/db&field=none", "the field 'none' of the secret is null"),
        ("app/db%23none", "the field 'none' of the secret is null"),
        ("text&field=x", "not a JSON object"),
        ("binary%23x", "is binary"),
    ] {
        let answer = sidekey.read(id).await;
        assert_eq!((answer.status, answer.kind().as_str()), (400, "FieldNotFoundException"));
        assert!(answer.text().contains(words), "{}", answer.text());
        assert!(!answer.text().contains("ann") && !answer.text().contains("5432"));
    }
    let twice = sidekey.read("app/db%23user&field=user").await;
    assert_eq!(twice.status, 400);
    assert!(twice.text().contains("given twice"), "{}", twice.text());
}

/// The agent decodes a secret's id in the query of a URL as form data, but uses an id in the path
/// unchanged. AWS must receive exactly this id.
#[tokio::test]
async fn ids_are_decoded_by_the_rules_of_their_path() {
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    // With a TTL of 0 nothing is cached, so every read calls AWS.
    let sidekey = Setup::for_fake(&fake, &clock).with("SIDEKEY_TTL", 0).start().await;
    for name in ["a/b", "a+b", "deep/er/name_1=.@-"] {
        fake.secrets().create(name, name).expect("the fake AWS server must create the secret");
    }
    let arn = fake.secrets().arn("deep/er/name_1=.@-").expect("the secret exists");
    for (path, requested, exists) in [
        (read_path("a/b"), "a/b", true),
        (read_path("a%2Fb"), "a/b", true),
        (read_path("a%2fb"), "a/b", true),
        (read_path("a%2Bb"), "a+b", true),
        (read_path("a+b"), "a b", false),
        (read_path("x&secretId=a/b"), "a/b", true),
        (read_path("A/b"), "A/b", false),
        ("/v1/a/b".to_owned(), "a/b", true),
        ("/v1/a+b".to_owned(), "a+b", true),
        ("/v1/a%2Fb".to_owned(), "a%2Fb", false),
        ("/v1/a/b%23user".to_owned(), "a/b%23user", false),
        ("/v1//a/b".to_owned(), "/a/b", false),
        ("/v1/deep/er/name_1=.@-".to_owned(), "deep/er/name_1=.@-", true),
        (format!("/v1/{arn}"), &*arn, true),
    ] {
        fake.calls().clear();
        let answer = sidekey.get(&path).await;
        assert_eq!(answer.status, if exists { 200 } else { 400 }, "{path}: {}", answer.text());
        let calls = fake.calls().list();
        let ids: Vec<&str> = calls.iter().flat_map(|call| &call.ids).map(|id| &**id).collect();
        assert_eq!(ids, [requested], "{path}");
    }
}

/// A request with the `ETag` of the cached version gets a response with status 304 and no body.
#[tokio::test]
async fn unchanged_version_is_answered_304_without_a_body() {
    let (fake, sidekey) = start_at(1).await;
    fake.secrets().create("app/db", "hunter2").expect("the fake AWS server must create the secret");
    let id = fake.secrets().version_id("app/db", "AWSCURRENT").expect("the secret exists");
    let tag = format!("\"{id}\"");
    let first = sidekey.read("app/db").await;
    assert_eq!((first.header("etag"), first.header("age")), (Some(&*tag), Some("0")));
    sidekey.advance(Duration::from_secs(7));

    let mut connection = sidekey.connect().await;
    for (tags, status) in [
        (tag.clone(), 304),
        (format!("W/{tag}"), 304),
        (format!("\"other\", {tag}"), 304),
        ("*".to_owned(), 304),
        ("\"other\"".to_owned(), 200),
        (id, 200),
    ] {
        let sent = get(&read_path("app/db"), &[TOKEN_HEADER, ("If-None-Match", &tags)]);
        let answer = connection.exchange(sent).await;
        assert_eq!((answer.status, answer.body.is_empty()), (status, status == 304), "{tags}");
        assert_eq!(answer.header("etag"), Some(&*tag), "{tags}");
        assert_eq!((answer.header("age"), answer.cache()), (Some("7"), "hit"), "{tags}");
    }
    fake.secrets().put("app/db", "hunter3").expect("the secret exists");
    sidekey.advance(Duration::from_secs(300));
    let sent = get(&read_path("app/db"), &[TOKEN_HEADER, ("If-None-Match", &tag)]);
    assert_eq!(connection.exchange(sent).await.value(), "hunter3");
}

/// Reads versions of a secret by version id, by staging label, and by both. The agent calls AWS
/// only for versions that are not cached.
#[tokio::test]
async fn versions_are_read_by_id_and_stage() {
    let (fake, sidekey) = start_at(1).await;
    let secrets = fake.secrets();
    secrets.create("app/db", "first").expect("the fake AWS server must create the secret");
    let first = secrets.version_id("app/db", "AWSCURRENT").expect("the secret exists");
    let second = secrets.put("app/db", "second").expect("the secret exists");
    secrets.move_label("app/db", "BLUE", &second).expect("the secret exists");
    let mut connection = sidekey.connect().await;
    for (id, value, calls) in [
        ("app/db".to_owned(), "second", 1),
        (format!("app/db&versionId={second}"), "second", 1),
        ("app/db&versionStage=BLUE".to_owned(), "second", 1),
        (format!("app/db&versionStage=AWSCURRENT&versionId={second}"), "second", 1),
        ("app/db&versionStage=AWSPREVIOUS".to_owned(), "first", 2),
        (format!("app/db&versionId={first}"), "first", 2),
        (format!("app/db&versionId={first}&versionStage=AWSPREVIOUS"), "first", 2),
        ("app/db&versionStage=AWSPREVIOUS".to_owned(), "first", 2),
    ] {
        let answer = connection.exchange(read_request(&id)).await;
        assert_eq!(answer.value(), value, "{id}");
        assert_eq!(fake.calls().count(GetSecretValue), calls, "{id}");
    }
    let previous =
        connection.exchange(get(&format!("/v1/app/db?versionId={first}"), &[TOKEN_HEADER]));
    assert_eq!(previous.await.json()["VersionStages"], json!(["AWSPREVIOUS"]));
    let disagreeing = format!("app/db&versionId={first}&versionStage=AWSCURRENT");
    let refused = connection.exchange(read_request(&disagreeing)).await;
    assert_eq!((refused.status, refused.kind().as_str()), (400, "InvalidRequestException"));
}

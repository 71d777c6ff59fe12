//! Tests of the AWS API that Sidekey serves: requests, responses and errors, compared byte for
//! byte.

use crate::support::agent::{Setup, Sidekey, TOKEN};
use crate::support::client::{Answer, request};
use crate::support::clock::ManualClock;
use crate::support::fake;
use fake_aws::Fake;
use fake_aws::Operation::GetSecretValue;
use std::time::{Duration, UNIX_EPOCH};

const GET: (&str, &str) = ("X-Amz-Target", "secretsmanager.GetSecretValue");
const DESCRIBE: (&str, &str) = ("X-Amz-Target", "secretsmanager.DescribeSecret");
const BATCH: (&str, &str) = ("X-Amz-Target", "secretsmanager.BatchGetSecretValue");
const SESSION: (&str, &str) = ("X-Amz-Security-Token", TOKEN);
const BODY: &str = r#"{"SecretId":"app/db"}"#;

/// Starts a fake AWS server with the secret `app/db`, and an agent that calls this server, at a
/// fixed time.
async fn start_agent() -> (Fake, Sidekey) {
    let clock = ManualClock::at(UNIX_EPOCH + Duration::from_millis(1_569_534_789_046));
    let fake = fake(&clock).await;
    fake.secrets()
        .create("app/db", r#"{"user":"<ann>"}"#)
        .expect("the fake AWS server must create the secret");
    let sidekey = Setup::for_fake(&fake, &clock).start().await;
    (fake, sidekey)
}

async fn call(sidekey: &Sidekey, target: (&str, &str), body: &str) -> Answer {
    sidekey.connect().await.exchange(request("POST", "/", &[target, SESSION], body)).await
}

/// Compares the responses of Sidekey with those of the fake AWS server, also for headers in upper
/// and lower case and for other notations of the URL path.
#[tokio::test]
async fn answers_equal_those_of_secrets_manager_byte_for_byte() {
    let (fake, sidekey) = start_agent().await;
    let arn = fake.secrets().arn("app/db").expect("the secret exists");
    let id = fake.secrets().version_id("app/db", "AWSCURRENT").expect("the secret exists");
    let value = format!(
        r#"{{"ARN":"{arn}","CreatedDate":1569534789.046,"Name":"app/db","SecretString":"{{\"user\":\"<ann>\"}}","VersionId":"{id}","VersionStages":["AWSCURRENT"]}}"#
    );
    let description = format!(
        r#"{{"ARN":"{arn}","CreatedDate":1569534789.046,"Name":"app/db","VersionIdsToStages":{{"{id}":["AWSCURRENT"]}}}}"#
    );
    let mut connection = sidekey.connect().await;
    let lower = [("x-amz-target", GET.1), ("x-amz-security-token", TOKEN)];
    let upper = [("X-AMZ-TARGET", GET.1), ("X-AMZ-SECURITY-TOKEN", TOKEN)];
    for (path, headers, cache) in
        [("/", [GET, SESSION], "miss"), ("//", lower, "hit"), ("/?x=1", upper, "hit")]
    {
        let answer = connection.exchange(request("POST", path, &headers, BODY)).await;
        assert_eq!((answer.status, answer.text()), (200, &*value), "{path}");
        assert_eq!(answer.header("content-type"), Some("application/x-amz-json-1.1"));
        assert_eq!(answer.cache(), cache);
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("etag"), Some(&*format!("\"{id}\"")));
    }
    let described = call(&sidekey, DESCRIBE, BODY).await;
    assert_eq!((described.status, described.text()), (200, &*description));
    let field = call(&sidekey, GET, r#"{"SecretId":"app/db#user"}"#).await;
    assert_eq!(field.json()["SecretString"], "<ann>");
    let batch = call(&sidekey, BATCH, r#"{"SecretIdList":["app/db"]}"#).await;
    assert_eq!(batch.text(), format!(r#"{{"SecretValues":[{value}],"Errors":[]}}"#));
    assert_eq!(
        fake.calls().count(GetSecretValue),
        3,
        "`DescribeSecret` must cause two more calls, one for each label"
    );
}

#[tokio::test]
async fn dialect_and_aws_api_are_served_side_by_side() {
    let (fake, sidekey) = start_agent().await;
    for _ in 0..2 {
        let created = sidekey.read("app/db").await.json()["CreatedDate"].clone();
        assert_eq!(created, "1569534789.046");
        let created = call(&sidekey, GET, BODY).await.json()["CreatedDate"].clone();
        assert_eq!(created, 1_569_534_789.046);
    }
    assert_eq!(fake.calls().count(GetSecretValue), 1);
}

/// The client sends the body of a request later than the head. The agent waits for the body before
/// it answers, even if it refuses the request.
#[tokio::test]
async fn body_sent_after_its_head_is_awaited() {
    let (_fake, sidekey) = start_agent().await;
    let (mut connection, mut refused) = (sidekey.connect().await, sidekey.connect().await);
    for (connection, session, status) in
        [(&mut connection, SESSION, 200), (&mut refused, (SESSION.0, "wrong"), 400)]
    {
        let complete = request("POST", "/", &[GET, session], BODY);
        let (head, body) = complete.split_at(complete.len() - 5);
        connection.send(head).await;
        // A response on another connection shows that the agent has read these bytes.
        sidekey.metrics().await;
        connection.send(body).await;
        assert_eq!(connection.receive().await.status, status);
    }
    let chunked = [GET, SESSION, ("Transfer-Encoding", "chunked")];
    let chunked =
        request("POST", "/", &chunked, "") + &format!("{:x}\r\n{BODY}\r\n0\r\n\r\n", BODY.len());
    assert_eq!(connection.exchange(chunked).await.status, 200);
}

/// Sends request bodies that are too large, incomplete or invalid. For each body, the agent returns
/// an error in AWS's format.
#[tokio::test]
async fn bad_bodies_get_typed_errors() {
    let (fake, sidekey) = start_agent().await;
    fake.secrets()
        .create("app/null", r#"{"user":null}"#)
        .expect("the fake AWS server must create the secret");
    let large = format!(r#"{{"SecretId":"app/db","Other":"{}"}}"#, "x".repeat(64 * 1024));
    let within = format!(r#"{{"SecretId":"app/db","Other":"{}"}}"#, "x".repeat(63 * 1024));
    assert_eq!(call(&sidekey, GET, &within).await.status, 200);
    for (body, kind, words) in [
        (&*large, "BadRequestException", "larger than 65536 bytes"),
        ("{", "SerializationException", "line 1, column 1"),
        ("{}", "ValidationException", "Value null at 'secretId'"),
        (r#"{"SecretId":"app/db#"}"#, "ValidationException", "character 7"),
        (r#"{"SecretId":"arn:aws:s3:::x"}"#, "ValidationException", "character 9"),
        (r#"{"SecretId":"app/db#nope"}"#, "FieldNotFoundException", "it has 'user'"),
        (
            r#"{"SecretId":"app/null#user"}"#,
            "FieldNotFoundException",
            "'user' of the secret is null",
        ),
    ] {
        let answer = call(&sidekey, GET, body).await;
        assert_eq!((answer.status, answer.kind().as_str()), (400, kind));
        assert!(answer.text().contains(words), "{}", answer.text());
        assert!(!answer.text().contains("ann"), "{}", answer.text());
    }
    for id in ["app/db", "app/null"] {
        assert_eq!(fake.calls().count_for(GetSecretValue, id), 1, "{id}");
    }
    let mut slow = sidekey.connect().await;
    let complete = request("POST", "/", &[GET, SESSION], BODY);
    slow.send(&complete[..complete.len() - 1]).await;
    let time = async {
        loop {
            sidekey.advance(Duration::from_secs(1));
            // A response on another connection shows that the waiting request has seen the new
            // time.
            sidekey.metrics().await;
        }
    };
    let answer = tokio::select! {
        answer = slow.receive() => answer,
        () = time => unreachable!("the test must advance the clock until the response arrives"),
    };
    assert_eq!((answer.status, answer.kind().as_str()), (400, "BadRequestException"));
    assert!(answer.text().contains("not complete within 5s"), "{}", answer.text());
}

#[tokio::test]
async fn probe_listener_does_not_serve_the_aws_api() {
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    let port = crate::port::Port::reserve();
    let setup = Setup::for_fake(&fake, &clock);
    let _sidekey = setup.with("SIDEKEY_METRICS_LISTEN", format!("127.0.0.1:{port}")).start().await;
    let address = format!("127.0.0.1:{port}").parse().expect("the address must be valid");
    let mut connection = crate::support::client::Connection::open(address).await;
    let answer = connection.exchange(request("POST", "/", &[GET, SESSION], BODY)).await;
    assert_eq!((answer.status, answer.text()), (405, "Not allowed"));
    assert_eq!(fake.calls().total(), 0);
}

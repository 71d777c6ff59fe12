//! Tests that the agent refuses unauthorised requests with the error texts of AWS's agent. Such
//! requests are counted, and cause no call to AWS.

use crate::support::agent::{REGION, Setup, Sidekey, TOKEN, TOKEN_HEADER, read_path, read_request};
use crate::support::client::{Answer, get, request};
use crate::support::clock::ManualClock;
use crate::support::fake;
use crate::support::gateway::CannedUpstream;
use fake_aws::Fake;
use fake_aws::Operation::GetSecretValue;
use serde_json::json;
use std::time::Duration;

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

/// Starts a fake AWS server, and an agent that has cached the secret `app/db`.
async fn start_with_cached_secret() -> (Fake, Sidekey) {
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    fake.secrets().create("app/db", "hunter2").expect("the fake AWS server must create the secret");
    let sidekey = Setup::for_fake(&fake, &clock).with("SIDEKEY_SECRETS", "app/db").start().await;
    (fake, sidekey)
}

/// Sends a request that the agent must refuse. Checks that the refusal is counted as `refusal`, and
/// that the agent made no call to AWS.
async fn send_refused(
    fake: &Fake,
    sidekey: &Sidekey,
    request: impl AsRef<[u8]>,
    refusal: Option<&str>,
) -> Answer {
    let (calls, before) = (fake.calls().total(), sidekey.metrics().await);
    let answer = sidekey.connect().await.exchange(request).await;
    let counted = sidekey.metrics().await.since(&before, "sidekey_gate_refusals_total");
    let series = |reason| (format!("sidekey_gate_refusals_total{{reason=\"{reason}\"}}"), 1.0);
    assert_eq!(counted, refusal.map(series).into_iter().collect::<Vec<_>>());
    assert_eq!(fake.calls().total(), calls, "the refused request must not cause a call to AWS");
    let next = sidekey.read("app/db").await;
    assert_eq!((next.value().as_str(), next.cache()), ("hunter2", "hit"));
    answer
}

/// Compares the agent's refusals byte for byte with those of AWS's agent, which makes the same
/// checks in the same order.
#[tokio::test]
async fn refusals_equal_those_of_awss_agent_byte_for_byte() {
    let (fake, sidekey) = start_with_cached_secret().await;
    let path = read_path("app/db");
    let wrong = (TOKEN_HEADER.0, "wrong");
    let for_another = ("X-Forwarded-For", "10.0.0.1");
    let malformed_role =
        "invalid roleArn format, expected arn:<partition>:iam::<account>:role/<name>";
    for (sent, status, body, refusal) in [
        (get(&path, &[]), 403, "Bad Token", Some("token")),
        (get(&path, &[wrong]), 403, "Bad Token", Some("token")),
        (get(&path, &[(TOKEN_HEADER.0, "")]), 403, "Bad Token", Some("token")),
        (get(&path, &[("X-Vault-Token", "wrong")]), 403, "Bad Token", Some("token")),
        (get(&path, &[("Authorization", TOKEN)]), 403, "Bad Token", Some("token")),
        (get("/v1/app/db", &[]), 403, "Bad Token", Some("token")),
        (get("/status", &[]), 403, "Bad Token", Some("token")),
        (get("/nowhere", &[]), 403, "Bad Token", Some("token")),
        (request("PUT", &path, &[], ""), 403, "Bad Token", Some("token")),
        (get(&path, &[TOKEN_HEADER, for_another]), 400, "Forwarded", Some("forwarded_for")),
        (get(&path, &[for_another]), 400, "Forwarded", Some("forwarded_for")),
        (get("/nowhere", &[for_another]), 400, "Forwarded", Some("forwarded_for")),
        (request("POST", &path, &[TOKEN_HEADER], "{}"), 405, "Not allowed", None),
        (request("PUT", "/nowhere", &[TOKEN_HEADER], ""), 405, "Not allowed", None),
        (request("DELETE", "/v1/app/db", &[TOKEN_HEADER], ""), 405, "Not allowed", None),
        (get("/nowhere", &[TOKEN_HEADER]), 404, "Not found", None),
        (get("/", &[TOKEN_HEADER]), 404, "Not found", None),
        (get("/v1", &[TOKEN_HEADER]), 404, "Not found", None),
        (get("/v1/", &[TOKEN_HEADER]), 400, "missing secret ID", None),
        (get("/secretsmanager/get", &[TOKEN_HEADER]), 400, "missing parameter secretId", None),
        (get("/secretsmanager/get/", &[TOKEN_HEADER]), 400, "missing parameter secretId", None),
        (read_request("app/db&roleArn=app"), 400, malformed_role, None),
        (get("/v1/app/db?roleArn=", &[TOKEN_HEADER]), 400, malformed_role, None),
        (get(&read_path(""), &[TOKEN_HEADER]), 400, "missing parameter secretId", None),
        (read_request("app/db&refreshNow=maybe"), 400, "invalid refreshNow value", None),
        (read_request("app/db&refreshNow="), 400, "invalid refreshNow value", None),
        (read_request("app/db&Field=a"), 400, "unknown parameter: Field", None),
        (get("/v1/app/db?secretId=x", &[TOKEN_HEADER]), 400, "unknown parameter: secretId", None),
    ] {
        let answer = send_refused(&fake, &sidekey, &sent, refusal).await;
        assert_eq!((answer.status, answer.text()), (status, body), "{sent}");
        assert_eq!(answer.header("content-type"), Some(TEXT), "{sent}");
    }
}

/// Compares refusals that only Sidekey has byte for byte with the expected JSON, which has a type,
/// a message and a hint.
#[tokio::test]
async fn refusals_known_to_sidekey_only_are_typed_json() {
    let (fake, sidekey) = start_with_cached_secret().await;
    let path = read_path("app/db");
    let proxy = r#"{"__type":"ForbiddenException","message":"the request came through a proxy","hint":"send the request to Sidekey directly, not through a proxy"}"#;
    let browser = r#"{"__type":"ForbiddenException","message":"the request came from a browser","hint":"do not read secrets from a browser: Sidekey refuses requests with an Origin header"}"#;
    let host = r#"{"__type":"ForbiddenException","message":"the request names a host that is not this machine","hint":"send the request to localhost, 127.0.0.1 or [::1]"}"#;
    let body = r#"{"__type":"BadRequestException","message":"the body of this GET request is larger than 65536 bytes","hint":"send the query parameters in the URI, without a body"}"#;
    let with = |name, value| get(&path, &[TOKEN_HEADER, (name, value)]);
    let absolute = format!(
        "GET http://evil.example{path} HTTP/1.1\r\nHost: localhost\r\n{}: {TOKEN}\r\n\r\n",
        TOKEN_HEADER.0
    );
    let two_hosts = format!("{}Host: evil.example\r\n\r\n", &with("Host", "localhost")).replacen(
        "\r\n\r\nHost",
        "\r\nHost",
        1,
    );
    for (sent, status, expected, refusal) in [
        (with("Forwarded", "for=10.0.0.1"), 400, proxy, Some("forwarded")),
        (with("Origin", "http://localhost"), 400, browser, Some("origin")),
        (with("Origin", "null"), 400, browser, Some("origin")),
        (with("Host", "evil.example"), 400, host, Some("host")),
        (with("Host", "localhost.evil.example:2773"), 400, host, Some("host")),
        (with("Host", "10.0.0.1"), 400, host, Some("host")),
        (absolute, 400, host, Some("host")),
        (two_hosts, 400, host, Some("host")),
        (request("GET", &path, &[TOKEN_HEADER], &"x".repeat(65_537)), 413, body, None),
    ] {
        let answer = send_refused(&fake, &sidekey, &sent, refusal).await;
        assert_eq!((answer.status, answer.text()), (status, expected), "{sent}");
        assert_eq!(answer.header("content-type"), Some(JSON), "{sent}");
    }
}

/// The agent accepts valid requests, for example probes without a token. This shows that the other
/// requests in this file fail for the intended reasons.
#[tokio::test]
async fn permitted_requests_are_admitted() {
    let (fake, sidekey) = start_with_cached_secret().await;
    let path = read_path("app/db");
    for host in ["localhost", "LOCALHOST:1", "127.0.0.1:2773", "127.9.9.9", "[::1]", "[::1]:2773"] {
        let sent = get(&path, &[TOKEN_HEADER, ("Host", host)]);
        assert_eq!(send_refused(&fake, &sidekey, &sent, None).await.value(), "hunter2", "{host}");
    }
    let vault = get(&path, &[("x-vault-token", TOKEN)]);
    assert_eq!(send_refused(&fake, &sidekey, &vault, None).await.value(), "hunter2");
    let foreign = [("Host", "evil.example"), ("X-Forwarded-For", "x"), ("Origin", "x")];
    for headers in [&foreign[..], &[]] {
        let ping = send_refused(&fake, &sidekey, get("/ping", headers), None).await;
        assert_eq!((ping.status, ping.text()), (200, "healthy"));
    }
    for path in ["/ready", "/metrics"] {
        assert_eq!(send_refused(&fake, &sidekey, get(path, &[]), None).await.status, 200);
        let sent = get(path, &[("Host", "evil.example")]);
        assert_eq!(send_refused(&fake, &sidekey, sent, Some("host")).await.status, 400, "{path}");
    }
}

/// Some clients send a body with a GET request. The agent reads and ignores the body, and keeps the
/// connection open.
#[tokio::test]
async fn small_bodies_of_get_requests_are_ignored() {
    let (_fake, sidekey) = start_with_cached_secret().await;
    let read = read_path("app/db");
    let paths = ["/ping", "/ready", "/metrics", "/status", "/v1/app/db", &read];
    let json = ("Content-Type", "application/json");
    let chunked = [TOKEN_HEADER, json, ("Transfer-Encoding", "chunked")];
    let mut connection = sidekey.connect().await;
    for path in paths {
        for sent in [
            request("GET", path, &[TOKEN_HEADER, json], "{}"),
            request("GET", path, &[TOKEN_HEADER, json], &"x".repeat(65_536)),
            get(path, &[TOKEN_HEADER, ("Content-Length", "0")]),
            get(path, &chunked) + "0\r\n\r\n",
            get(path, &chunked) + "4\r\nnull\r\n0\r\n\r\n",
        ] {
            let answer = connection.exchange(&sent).await;
            let excerpt = &sent[..sent.len().min(200)];
            assert_eq!((answer.status, answer.header("connection")), (200, None), "{excerpt}");
        }
        // The body may arrive after the head.
        connection.send(get(path, &[TOKEN_HEADER, ("Content-Length", "2")])).await;
        connection.send("{}").await;
        assert_eq!(connection.receive().await.status, 200, "{path}");
    }
    let without_token = request("GET", "/ping", &[json], "{}");
    assert_eq!(sidekey.connect().await.exchange(without_token).await.text(), "healthy");
}

/// Some programs send a slash after the path of a read. The agent ignores this slash.
#[tokio::test]
async fn slash_after_a_path_is_ignored() {
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    fake.secrets().create("app/db", "hunter2").expect("the fake AWS server must create the secret");
    for dialect in ["agent", "extension"] {
        let sidekey = Setup::for_fake(&fake, &clock).with("SIDEKEY_DIALECT", dialect).start().await;
        let answer = sidekey.get("/secretsmanager/get/?secretId=app%2Fdb").await;
        assert_eq!(answer.value(), "hunter2", "{dialect}");
        for path in ["/ping/", "/ready/", "/metrics/", "/status/"] {
            assert_eq!(sidekey.get(path).await.status, 200, "{dialect} {path}");
        }
        let refused = sidekey.connect().await.exchange(get("/secretsmanager/get/", &[])).await;
        assert_eq!(refused.status, if dialect == "agent" { 403 } else { 401 });
    }
}

/// A HEAD request for a probe gets the status and the headers of the GET request, without a body.
#[tokio::test]
async fn probes_answer_head_as_they_answer_get() {
    let (_fake, sidekey) = start_with_cached_secret().await;
    let mut connection = sidekey.connect().await;
    for (path, status) in [("/ping", 200), ("/ready", 200), ("/metrics", 200), ("/status", 405)] {
        connection.send(request("HEAD", path, &[TOKEN_HEADER], "")).await;
        let head = connection.receive_head().await;
        assert_eq!(head.status, status, "{path}");
        let answer = connection.exchange(get(path, &[TOKEN_HEADER])).await;
        if status == 200 {
            assert_eq!(head.header("content-type"), answer.header("content-type"), "{path}");
        }
        assert!(head.header("content-length").is_some_and(|length| length != "0"), "{path}");
    }
    let mut foreign = sidekey.connect().await;
    foreign.send(request("HEAD", "/ready", &[("Host", "evil.example")], "")).await;
    assert_eq!(foreign.receive_head().await.status, 400);
}

/// The agent returns status 431 for a head that is too large, 400 for an invalid head, and 408 for
/// an incomplete head. Then it closes the connection.
#[tokio::test]
async fn bad_heads_get_typed_errors() {
    let (fake, sidekey) = start_with_cached_secret().await;
    let long = "x".repeat(64 * 1024);
    let mut many: Vec<(&str, &str)> = [("X-Many", "x")].repeat(126);
    many.push(TOKEN_HEADER);
    let path = read_path("app/db");
    let most = sidekey.connect().await.exchange(get(&path, &many)).await;
    assert_eq!(
        most.value(),
        "hunter2",
        "the agent must accept 128 headers, one of which is `Host`"
    );
    many.push(("X-Many", "x"));
    for (sent, status, message) in [
        (
            get(&path, &[TOKEN_HEADER, ("X-Long", &long)]),
            431,
            "the request line and headers are larger than 32768 bytes",
        ),
        (get(&path, &many), 431, "the request has more than 128 headers"),
        (
            "SSH-2.0-OpenSSH_9.9\r\n\r\n".to_owned(),
            400,
            "the request line or a header is not valid HTTP/1.1",
        ),
        (get("/a b", &[]), 400, "the request line or a header is not valid HTTP/1.1"),
    ] {
        let answer = send_refused(&fake, &sidekey, &sent, Some("head")).await;
        let excerpt = &sent[..sent.len().min(60)];
        let kind = "BadRequestException";
        assert_eq!((answer.status, answer.kind().as_str()), (status, kind), "{excerpt}");
        assert_eq!(answer.json()["message"], message, "{excerpt}");
        assert_eq!(answer.header("content-type"), Some(JSON));
        assert!(answer.json()["hint"].as_str().is_some_and(|hint| !hint.is_empty()));
    }
    let mut slow = sidekey.connect().await;
    slow.send("GET /ping HTTP/1.1\r\nHost: local").await;
    // A response on another connection shows that the agent has read these bytes.
    sidekey.metrics().await;
    sidekey.advance(Duration::from_secs(5));
    let answer = slow.receive().await;
    assert_eq!((answer.status, answer.kind().as_str()), (408, "BadRequestException"));
    slow.closed().await;
}

/// The agent refuses requests to the AWS API in AWS's error format, with statuses that AWS's SDKs
/// do not retry.
#[tokio::test]
async fn aws_api_refusals_use_its_own_format() {
    let (fake, sidekey) = start_with_cached_secret().await;
    let target = ("X-Amz-Target", "secretsmanager.PutSecretValue");
    let body = r#"{"SecretId":"app/db"}"#;
    let signed = |token| request("POST", "/", &[target, ("X-Amz-Security-Token", token)], body);
    for (sent, kind, refusal) in [
        (request("POST", "/", &[target], body), "UnrecognizedClientException", Some("token")),
        (signed("wrong"), "UnrecognizedClientException", Some("token")),
        (
            request("POST", "/", &[target, TOKEN_HEADER], body),
            "UnrecognizedClientException",
            Some("token"),
        ),
        (signed(TOKEN), "UnsupportedOperationException", None),
    ] {
        let answer = send_refused(&fake, &sidekey, &sent, refusal).await;
        assert_eq!((answer.status, answer.kind().as_str()), (400, kind), "{sent}");
        assert_eq!(answer.header("content-type"), Some("application/x-amz-json-1.1"));
        assert!(answer.json()["message"].as_str().is_some_and(|it| !it.is_empty()));
    }
}

#[tokio::test]
async fn refused_reads_are_counted() {
    let (_fake, sidekey) = start_with_cached_secret().await;
    let before = sidekey.metrics().await;
    for sent in [get(&read_path("app/db"), &[]), read_request("app/db&x=1"), read_request("")] {
        sidekey.connect().await.exchange(sent).await;
    }
    // `/status` reads no secret, so this refusal is not counted as a read.
    sidekey.connect().await.exchange(get("/status", &[])).await;
    let counted = sidekey.metrics().await.since(&before, "sidekey_reads_total");
    assert_eq!(counted, [("sidekey_reads_total{result=\"refused\"}".to_owned(), 3.0)]);
}

/// `SIDEKEY_ALLOW` does not include the secret. The agent refuses every read without a call to AWS,
/// and its error says that Sidekey refused the read.
#[tokio::test]
async fn disallowed_secrets_are_refused_without_a_call() {
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    for name in ["app/db", "app/api/key", "other"] {
        fake.secrets().create(name, "hunter2").expect("the fake AWS server must create the secret");
    }
    let arn = |name| fake.secrets().arn(name).expect("the secret exists");
    let foreign = arn("app/db").replace("123456789012", "210987654321");
    let sidekey = Setup::for_fake(&fake, &clock)
        .with("SIDEKEY_ALLOW", "app/*")
        .with("SIDEKEY_SECRETS", "app/db")
        .start()
        .await;
    let other = arn("other");
    for id in ["other", "app/api/key", "app", &foreign, &other, "other&refreshNow=true"] {
        let answer = send_refused(&fake, &sidekey, read_request(id), None).await;
        assert_eq!(
            (answer.status, answer.json()),
            (
                400,
                json!({
                    "__type": "AccessDeniedException",
                    "message": "Sidekey refused this read: SIDEKEY_ALLOW does not cover the secret",
                    "hint": "add the secret to SIDEKEY_ALLOW",
                })
            ),
            "{id}"
        );
    }
    assert_eq!(fake.calls().count(GetSecretValue), 1, "the prefetch");
    assert_eq!(sidekey.read(&arn("app/db")).await.value(), "hunter2");
}

/// AWS returns another secret than the agent requested. The agent refuses the read, and does not
/// cache the returned secret.
#[tokio::test]
async fn answer_about_another_secret_is_not_cached() {
    let arn = format!("arn:aws:secretsmanager:{REGION}:123456789012:secret:other-AbC123");
    let answer = json!({"ARN": arn, "Name": "other", "VersionId": "v-1", "SecretString": "hunter2",
        "VersionStages": ["AWSCURRENT"], "CreatedDate": 1_700_000_000.0});
    let upstream = CannedUpstream::with_json("200 OK", &answer.to_string()).await;
    let clock = ManualClock::new();
    for allowed in ["app/*", "app/*,other"] {
        let sidekey = Setup::for_endpoint(&upstream.url(), &clock)
            .with("SIDEKEY_ALLOW", allowed)
            .start()
            .await;
        let answer = sidekey.read("app/db").await;
        assert_eq!((answer.status, answer.kind().as_str()), (502, "MismatchedAnswer"));
        assert!(!answer.text().contains("hunter2"), "{}", answer.text());
        assert_eq!(sidekey.agent.status().entries.len(), 0);
    }
}

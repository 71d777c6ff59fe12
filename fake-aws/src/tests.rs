//! Tests of the fake AWS server over TCP connections, with HTTP requests as text.

use super::*;
use serde_json::{Value, json};
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const MS: Duration = Duration::from_millis(1);

#[expect(clippy::disallowed_methods, reason = "a test with real sockets cannot use simulated time")]
async fn within<T>(span: Duration, work: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(span, work).await.ok()
}

/// Starts a fake AWS server that has the secret `db` with the value `hunter2`.
async fn started() -> Fake {
    let now: Now = Arc::new(|| SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123));
    let fake = Fake::start(now).await.expect("the fake AWS server must start on a free port");
    fake.secrets().create("db", "hunter2").expect("the name must be new");
    fake
}

#[derive(Debug)]
struct Response {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Response {
    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("the body must be valid JSON")
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

struct Client(TcpStream);

impl Client {
    async fn connect(fake: &Fake) -> Self {
        Self(
            TcpStream::connect(fake.addr())
                .await
                .expect("the fake AWS server must accept the connection"),
        )
    }

    async fn send(&mut self, headers: &[(&str, &str)], body: &str) {
        let mut request = "POST / HTTP/1.1\r\nHost: fake\r\n".to_owned();
        for (key, value) in headers {
            request.push_str(&format!("{key}: {value}\r\n"));
        }
        request.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
        self.0.write_all(request.as_bytes()).await.expect("the request must be sent");
    }

    async fn send_signed(&mut self, operation: Operation, body: &Value) {
        let service = operation
            .service()
            .target_prefix()
            .expect("the protocol of the service must be AWS JSON");
        let target = format!("{service}.{}", operation.name());
        let headers = [
            ("X-Amz-Target", target.as_str()),
            ("Content-Type", "application/x-amz-json-1.1"),
            ("Authorization", "AWS4-HMAC-SHA256 Credential=AKIA/x, Signature=0"),
            ("X-Amz-Security-Token", "session-token"),
            ("User-Agent", "test/1.0"),
        ];
        self.send(&headers, &body.to_string()).await;
    }

    /// Reads one HTTP response. If the server closes the connection early, the body of the response
    /// is incomplete.
    async fn receive(&mut self) -> io::Result<Response> {
        let mut bytes = Vec::new();
        let (head, start) = loop {
            if let Some(end) = bytes.windows(4).position(|it| it == b"\r\n\r\n") {
                break (String::from_utf8_lossy(&bytes[..end]).into_owned(), end + 4);
            }
            if self.0.read_buf(&mut bytes).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        };
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|it| it.parse().ok())
            .expect("the response must have a status");
        let mut response = Response { status, head, body: bytes.split_off(start) };
        let length: usize = response
            .header("content-length")
            .and_then(|it| it.parse().ok())
            .expect("the response must have a `Content-Length` header");
        while response.body.len() < length {
            if self.0.read_buf(&mut response.body).await? == 0 {
                break;
            }
        }
        Ok(response)
    }

    async fn ask(&mut self, operation: Operation, body: Value) -> Response {
        self.send_signed(operation, &body).await;
        self.receive().await.expect("the fake AWS server must send a response")
    }
}

async fn ask(fake: &Fake, operation: Operation, body: Value) -> Response {
    Client::connect(fake).await.ask(operation, body).await
}

async fn get(fake: &Fake, id: &str) -> Response {
    ask(fake, Operation::GetSecretValue, json!({ "SecretId": id })).await
}

async fn get_parameter(fake: &Fake, name: &str) -> Response {
    let body = json!({ "Name": name, "WithDecryption": true });
    ask(fake, Operation::GetParameter, body).await
}

/// Injects `fault` into the next call and returns the response. Also checks that the following call
/// succeeds.
async fn with_fault(fake: &Fake, fault: Fault) -> Response {
    fake.faults().script(Match::any(), [fault]);
    let response = get(fake, "db").await;
    assert_eq!(get(fake, "db").await.json()["SecretString"], "hunter2");
    response
}

#[tokio::test]
async fn value_is_sent_in_the_form_of_aws() {
    let fake = started().await;
    let response = get(&fake, "db").await;
    assert_eq!(response.status, 200);
    assert_eq!(response.header("content-type"), Some("application/x-amz-json-1.1"));
    assert_eq!(response.header("x-amzn-requestid").map(str::len), Some(36));
    assert!(response.text().contains(r#""CreatedDate":1700000000.123"#), "{}", response.text());
    let arn = response.json()["ARN"].as_str().expect("the response must contain an ARN").to_owned();
    assert_eq!(get(&fake, &arn).await.json()["SecretString"], "hunter2");
}

#[tokio::test]
async fn error_has_a_type_a_message_and_a_request_id() {
    let fake = started().await;
    let response = get(&fake, "absent").await;
    assert_eq!(response.status, 400);
    assert_eq!(response.header("content-type"), Some("application/x-amz-json-1.1"));
    assert_eq!(response.header("x-amzn-requestid").map(str::len), Some(36));
    let expected = json!({
        "__type": "ResourceNotFoundException",
        "Message": "Secrets Manager can't find the specified secret.",
    });
    assert_eq!(response.json(), expected);
}

#[tokio::test]
async fn invalid_requests_are_rejected_like_aws_does() {
    let fake = started().await;
    let signed = ("Authorization", "AWS4-HMAC-SHA256 Credential=x");
    let target = ("X-Amz-Target", "secretsmanager.GetSecretValue");
    let mut client = Client::connect(&fake).await;
    let mut check = async |headers: &[(&str, &str)], body: &str, status: u16, kind: &str| {
        client.send(headers, body).await;
        let response = client.receive().await.expect("the fake AWS server must send a response");
        assert_eq!((response.status, &response.json()["__type"]), (status, &json!(kind)));
    };
    let id = r#"{"SecretId":"db"}"#;
    check(&[target], id, 400, "MissingAuthenticationTokenException").await;
    check(&[signed], id, 400, "UnknownOperationException").await;
    let unknown = ("X-Amz-Target", "secretsmanager.RotateSecret");
    check(&[signed, unknown], id, 400, "UnknownOperationException").await;
    check(&[signed, target], "no JSON", 400, "SerializationException").await;
    check(&[signed, target], r#"["db"]"#, 400, "SerializationException").await;
    check(&[signed, target], "", 400, "ValidationException").await;
    let long = format!(r#"{{"SecretId":"{}"}}"#, "x".repeat(256 * 1024));
    check(&[signed, target], &long, 413, "RequestEntityTooLargeException").await;
}

#[tokio::test]
async fn calls_are_recorded() {
    let fake = started().await;
    let mut client = Client::connect(&fake).await;
    client.ask(Operation::GetSecretValue, json!({ "SecretId": "db" })).await;
    let ids = json!({ "SecretIdList": ["db", "absent"] });
    client.ask(Operation::BatchGetSecretValue, ids).await;
    get(&fake, "db").await;
    fake.faults().set_latency(Duration::from_millis(1));
    get(&fake, "absent").await;

    let calls = fake.calls();
    assert_eq!(calls.count_for(Operation::GetSecretValue, "db"), 2);
    assert_eq!(calls.count_for(Operation::BatchGetSecretValue, "absent"), 1);
    let list = calls.list();
    assert_eq!(list.iter().map(|call| call.connection).collect::<Vec<_>>(), [1, 1, 2, 3]);
    assert_eq!((list[0].latency, &list[0].error), (Duration::ZERO, &None));
    let error = Some("ResourceNotFoundException".to_owned());
    assert_eq!((list[3].latency, &list[3].error), (Duration::from_millis(1), &error));
    assert_eq!(list[1].ids, ["db", "absent"]);
    assert_eq!(list[0].host.as_deref(), Some("fake"));
    assert_eq!(list[0].user_agent.as_deref(), Some("test/1.0"));
    assert_eq!(list[0].security_token.as_deref(), Some("session-token"));
    assert!(list[0].authorization.as_deref().is_some_and(|it| it.ends_with("Signature=0")));
    assert_eq!(fake.connections(), 3);
}

#[tokio::test]
async fn connection_stays_open_after_an_error() {
    let fake = started().await;
    let mut client = Client::connect(&fake).await;
    for id in ["db", "absent", "db"] {
        client.ask(Operation::GetSecretValue, json!({ "SecretId": id })).await;
    }
    assert_eq!(fake.connections(), 1);
}

#[tokio::test]
async fn denials_affect_single_reads_and_batches() {
    let fake = started().await;
    let batch = json!({ "SecretIdList": ["db"] });
    let kind = |response: &Response| response.json()["__type"].as_str().map(str::to_owned);
    let denied = Some("AccessDeniedException".to_owned());

    fake.faults().deny_secret("db");
    assert_eq!(kind(&get(&fake, "db").await), denied);
    let response = ask(&fake, Operation::BatchGetSecretValue, batch.clone()).await;
    assert_eq!(response.json()["Errors"][0]["ErrorCode"], "AccessDeniedException");
    fake.faults().batch_fails_on_denied(true);
    let response = ask(&fake, Operation::BatchGetSecretValue, batch.clone()).await;
    assert_eq!((response.status, kind(&response)), (400, denied.clone()));

    fake.faults().allow_secret("db");
    fake.faults().deny_operation(Operation::BatchGetSecretValue);
    let response = ask(&fake, Operation::BatchGetSecretValue, batch.clone()).await;
    assert_eq!(kind(&response), denied);
    assert_eq!(get(&fake, "db").await.status, 200);
    fake.faults().allow_operation(Operation::BatchGetSecretValue);
    let response = ask(&fake, Operation::BatchGetSecretValue, batch).await;
    assert_eq!(response.json()["SecretValues"][0]["SecretString"], "hunter2");
}

#[tokio::test]
async fn fault_for_a_name_matches_a_call_by_arn() {
    let fake = started().await;
    let arn = fake.secrets().arn("db").expect("the secret `db` must exist");
    fake.faults().script(Match::secret("db"), [Fault::Throttle]);
    assert_eq!(get(&fake, &arn).await.json()["__type"], "ThrottlingException");
}

#[tokio::test]
async fn injected_errors_are_returned() {
    let fake = started().await;
    let response = with_fault(&fake, Fault::Throttle).await;
    let expected = json!({ "__type": "ThrottlingException", "message": "Rate exceeded" });
    assert_eq!((response.status, response.json()), (400, expected));

    let response = with_fault(&fake, Fault::InternalError).await;
    assert_eq!(
        (response.status, &response.json()["__type"]),
        (500, &json!("InternalServiceError"))
    );

    let fault = Fault::Error { status: 503, kind: "Busy".to_owned(), message: "later".to_owned() };
    let response = with_fault(&fake, fault).await;
    let expected = json!({ "__type": "Busy", "Message": "later" });
    assert_eq!((response.status, response.json()), (503, expected));
}

#[tokio::test]
async fn calls_above_the_rate_are_throttled() {
    let fake = started().await;
    fake.faults().throttle_above(1);
    assert_eq!(get(&fake, "db").await.status, 200);
    assert_eq!(get(&fake, "db").await.json()["__type"], "ThrottlingException");
}

#[tokio::test]
async fn stalled_call_gets_no_response() {
    let fake = started().await;
    fake.faults().script(Match::any(), [Fault::Stall]);
    let mut client = Client::connect(&fake).await;
    client.send_signed(Operation::GetSecretValue, &json!({ "SecretId": "db" })).await;
    fake.calls().wait_for(Operation::GetSecretValue, 1).await;
    let waiting = within(5 * MS, client.receive()).await;
    assert!(waiting.is_none(), "{waiting:?}");
}

#[tokio::test]
async fn reset_fault_resets_the_connection() {
    let fake = started().await;
    fake.faults().script(Match::any(), [Fault::Reset]);
    let mut client = Client::connect(&fake).await;
    client.send_signed(Operation::GetSecretValue, &json!({ "SecretId": "db" })).await;
    let error = client.receive().await.expect_err("the fake AWS server must send no response");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn truncated_response_has_half_of_the_body() {
    let fake = started().await;
    let response = with_fault(&fake, Fault::Truncated).await;
    let announced: usize = response.header("content-length").unwrap().parse().unwrap();
    assert_eq!((response.status, response.body.len()), (200, announced / 2));
}

#[tokio::test]
async fn garbage_has_the_content_type_of_json() {
    let fake = started().await;
    let response = with_fault(&fake, Fault::Garbage).await;
    assert_eq!(response.status, 200);
    assert_eq!(response.header("content-type"), Some("application/x-amz-json-1.1"));
    assert!(serde_json::from_slice::<Value>(&response.body).is_err());
}

#[tokio::test]
async fn content_type_can_be_wrong() {
    let fake = started().await;
    let response = with_fault(&fake, Fault::ContentType("text/html".to_owned())).await;
    assert_eq!(response.header("content-type"), Some("text/html"));
    assert_eq!(response.json()["SecretString"], "hunter2");
}

#[tokio::test]
async fn dripping_response_arrives_byte_by_byte() {
    let fake = started().await;
    fake.faults().script(Match::any(), [Fault::Drip(Duration::from_secs(3_600)), Fault::Pass]);
    let mut client = Client::connect(&fake).await;
    client.send_signed(Operation::GetSecretValue, &json!({ "SecretId": "db" })).await;
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        client.0.read_buf(&mut bytes).await.expect("the headers of the response must arrive");
    }
    let waiting = within(5 * MS, client.0.read_buf(&mut bytes)).await;
    assert!(
        waiting.is_none(),
        "the fake AWS server must send no byte of the body before the interval is over"
    );

    fake.faults().clear();
    let fast = with_fault(&fake, Fault::Drip(Duration::ZERO)).await;
    assert_eq!(fast.json()["SecretString"], "hunter2");
}

#[tokio::test]
async fn delayed_response_arrives_late() {
    let fake = started().await;
    fake.faults().script(Match::any(), [Fault::Delay(5 * MS)]);
    let mut client = Client::connect(&fake).await;
    client.send_signed(Operation::GetSecretValue, &json!({ "SecretId": "db" })).await;
    fake.calls().wait_for(Operation::GetSecretValue, 1).await;
    assert!(within(MS, client.0.readable()).await.is_none());
    assert_eq!(
        client.receive().await.expect("the fake AWS server must send a response").status,
        200
    );
}

#[tokio::test]
async fn slow_response_has_the_value_of_the_time_of_arrival() {
    let fake = started().await;
    fake.faults().set_latency(5 * MS);
    let mut client = Client::connect(&fake).await;
    client.send_signed(Operation::GetSecretValue, &json!({ "SecretId": "db" })).await;
    fake.calls().wait_for(Operation::GetSecretValue, 1).await;
    fake.secrets().put("db", "hunter3").expect("adding a version to the secret must succeed");
    let response = client.receive().await.expect("the fake AWS server must send a response");
    assert_eq!(response.json()["SecretString"], "hunter2");
    fake.faults().set_latency(Duration::ZERO);
    assert_eq!(get(&fake, "db").await.json()["SecretString"], "hunter3");
}

#[tokio::test]
async fn paused_fake_refuses_connections_until_resumed() {
    let fake = started().await;
    let mut client = Client::connect(&fake).await;
    client.ask(Operation::GetSecretValue, json!({ "SecretId": "db" })).await;

    fake.pause().await.expect("pausing the fake AWS server must succeed");
    fake.pause().await.expect("pausing a paused server must succeed");
    assert_eq!(
        client.0.read_u8().await.expect_err("the fake AWS server must close the connection").kind(),
        io::ErrorKind::UnexpectedEof
    );
    let refused = TcpStream::connect(fake.addr())
        .await
        .expect_err("the fake AWS server must refuse the connection");
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);

    fake.resume().await.expect("the fake AWS server must listen on its port again");
    fake.resume().await.expect("resuming a running server must succeed");
    assert_eq!(get(&fake, "db").await.status, 200);
}

#[tokio::test]
async fn closing_connections_keeps_the_port_open() {
    let fake = started().await;
    let mut client = Client::connect(&fake).await;
    client.ask(Operation::GetSecretValue, json!({ "SecretId": "db" })).await;
    fake.close_connections();
    assert_eq!(
        client.0.read_u8().await.expect_err("the fake AWS server must close the connection").kind(),
        io::ErrorKind::UnexpectedEof
    );
    assert_eq!(get(&fake, "db").await.status, 200);
}

#[tokio::test]
async fn stopping_closes_the_port_and_all_connections() {
    let fake = started().await;
    let addr = fake.addr();
    fake.faults().always(Match::any(), Fault::Stall);
    let mut client = Client::connect(&fake).await;
    client.send_signed(Operation::GetSecretValue, &json!({ "SecretId": "db" })).await;
    fake.calls().wait_for(Operation::GetSecretValue, 1).await;
    fake.stop().await;
    assert!(client.receive().await.is_err());
    assert!(TcpStream::connect(addr).await.is_err());
}

#[tokio::test]
async fn dropping_the_fake_ends_its_tasks() {
    let fake = started().await;
    let tasks = fake.tasks.clone();
    drop(fake);
    tasks.close();
    tasks.wait().await;
}

#[tokio::test]
async fn session_token_can_be_required_and_expired() {
    let fake = started().await;
    fake.session_tokens().accept_only(["another"]);
    let response = get(&fake, "db").await;
    assert_eq!(response.json()["__type"], "UnrecognizedClientException");
    fake.session_tokens().accept_only(["session-token"]);
    assert_eq!(get(&fake, "db").await.status, 200);
    fake.session_tokens().expire("session-token");
    assert_eq!(get(&fake, "db").await.json()["__type"], "ExpiredTokenException");
}

#[tokio::test]
async fn secrets_manager_accepts_credentials_of_sts() {
    let fake = started().await;
    fake.session_tokens().accept_only(Vec::<String>::new());
    let form = "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&WebIdentityToken=jwt\
                &RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fapp&RoleSessionName=me";
    let mut client = Client::connect(&fake).await;
    let form_type = ("Content-Type", "application/x-www-form-urlencoded; charset=utf-8");
    client.send(&[form_type], form).await;
    let response = client.receive().await.expect("the fake AWS server must send a response");
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(response.header("content-type"), Some("text/xml"));
    let text = response.text();
    let token = text.split("SessionToken>").nth(1).and_then(|it| it.split('<').next()).unwrap();

    let signed = ("Authorization", "AWS4-HMAC-SHA256 Credential=ASIA/x");
    let token = ("X-Amz-Security-Token", token);
    let target = ("X-Amz-Target", "secretsmanager.GetSecretValue");
    client.send(&[signed, token, target], r#"{"SecretId":"db"}"#).await;
    assert_eq!(
        client.receive().await.expect("the fake AWS server must send a response").status,
        200
    );

    client.send(&[form_type, signed, token], "Action=GetCallerIdentity").await;
    let response = client.receive().await.expect("the fake AWS server must send a response");
    assert!(response.text().contains("<Account>123456789012</Account>"), "{}", response.text());
    client.send(&[form_type], "Action=GetCallerIdentity").await;
    let response = client.receive().await.expect("the fake AWS server must send a response");
    assert_eq!(response.status, 403);
    assert!(
        response.text().contains("<Code>MissingAuthenticationToken</Code>"),
        "{}",
        response.text()
    );
}

#[tokio::test]
async fn injected_sts_error_is_sent_as_xml() {
    let fake = started().await;
    fake.faults().script(Match::operation(Operation::AssumeRoleWithWebIdentity), [Fault::Throttle]);
    let mut client = Client::connect(&fake).await;
    let form_type = ("Content-Type", "application/x-www-form-urlencoded");
    client.send(&[form_type], "Action=AssumeRoleWithWebIdentity").await;
    let response = client.receive().await.expect("the fake AWS server must send a response");
    assert!(response.text().contains("<Code>Throttling</Code>"), "{}", response.text());
}

#[tokio::test]
async fn parameter_is_sent_in_the_form_of_aws() {
    let fake = started().await;
    fake.parameters().put("/app/url", "one").expect("the name must be valid");
    let response = get_parameter(&fake, "/app/url").await;
    assert_eq!(response.status, 200);
    assert_eq!(response.header("content-type"), Some("application/x-amz-json-1.1"));
    let expected = r#""LastModifiedDate":1700000000.123"#;
    assert!(response.text().contains(expected), "{}", response.text());
    let arn = fake.parameters().arn("/app/url").expect("the parameter must exist");
    assert_eq!(get_parameter(&fake, &arn).await.json(), response.json());
    let response = get_parameter(&fake, "/app/absent").await;
    assert_eq!((response.status, response.json()), (400, json!({ "__type": "ParameterNotFound" })));
}

#[tokio::test]
async fn secret_is_read_as_a_parameter() {
    let fake = started().await;
    let name = "/aws/reference/secretsmanager/db";
    let response = get_parameter(&fake, name).await.json();
    assert_eq!(response["Parameter"]["Value"], "hunter2");
    fake.secrets().put("db", "hunter3").expect("adding a version to the secret must succeed");
    assert_eq!(get_parameter(&fake, name).await.json()["Parameter"]["Value"], "hunter3");
    fake.faults().script(Match::secret("db"), [Fault::Throttle]);
    assert_eq!(get_parameter(&fake, name).await.json()["__type"], "ThrottlingException");
    fake.faults().deny_secret("db");
    assert_eq!(get_parameter(&fake, name).await.json()["__type"], "AccessDeniedException");
}

#[tokio::test]
async fn calls_for_parameters_are_recorded() {
    let fake = started().await;
    fake.parameters().put("/app/url", "one").expect("the name must be valid");
    get_parameter(&fake, "/app/url:1").await;
    ask(&fake, Operation::GetParameters, json!({ "Names": ["/app/url", "/b"] })).await;
    ask(&fake, Operation::GetParametersByPath, json!({ "Path": "/app" })).await;
    let calls = fake.calls();
    assert_eq!(calls.count_for(Operation::GetParameter, "/app/url:1"), 1);
    assert_eq!(calls.count_for(Operation::GetParameters, "/b"), 1);
    assert_eq!(calls.count_for(Operation::GetParametersByPath, "/app"), 1);
}

#[tokio::test]
async fn faults_for_a_parameter_match_its_name_its_arn_and_its_versions() {
    let fake = started().await;
    fake.parameters().put("/app/url", "one").expect("the name must be valid");
    let arn = fake.parameters().arn("/app/url").expect("the parameter must exist");
    fake.faults().always(Match::parameter("/app/url"), Fault::InternalError);
    for name in ["/app/url", &arn, "/app/url:1"] {
        let response = get_parameter(&fake, name).await;
        let kind = response.json()["__type"].clone();
        assert_eq!((response.status, kind), (500, json!("InternalServerError")), "{name}");
    }
    assert_eq!(get_parameter(&fake, "/app/other").await.status, 400);
    fake.faults().clear();
    fake.faults().deny_parameter(&arn);
    let response = get_parameter(&fake, "/app/url").await;
    assert_eq!(response.json()["__type"], "AccessDeniedException");
    fake.faults().allow_parameter(&arn);
    assert_eq!(get_parameter(&fake, "/app/url").await.status, 200);
    fake.faults().break_parameter_key("/app/url", true);
    assert_eq!(
        get_parameter(&fake, "/app/url").await.status,
        200,
        "reading a `String` must not need the KMS key"
    );
}

#[tokio::test]
async fn reads_of_parameters_share_a_rate_limit() {
    let fake = started().await;
    fake.parameters().put("/app/url", "one").expect("the name must be valid");
    let limited = [Operation::GetParameter, Operation::GetParameters];
    fake.faults().throttle_operations_above(limited, 2);
    assert_eq!(get_parameter(&fake, "/app/url").await.status, 200);
    let body = json!({ "Names": ["/app/url"] });
    assert_eq!(ask(&fake, Operation::GetParameters, body).await.status, 200);
    let response = get_parameter(&fake, "/app/url").await;
    let expected = json!({ "__type": "ThrottlingException", "message": "Rate exceeded" });
    assert_eq!((response.status, response.json()), (400, expected));
    assert_eq!(get(&fake, "db").await.status, 200);
}

#[tokio::test]
async fn operation_of_another_service_is_unknown() {
    let fake = started().await;
    let signed = ("Authorization", "AWS4-HMAC-SHA256 Credential=x");
    let mut client = Client::connect(&fake).await;
    for target in ["AmazonSSM.GetSecretValue", "secretsmanager.GetParameter", "AmazonSSM", "x.y"] {
        client.send(&[signed, ("X-Amz-Target", target)], "{}").await;
        let response = client.receive().await.expect("the fake AWS server must send a response");
        assert_eq!(response.json()["__type"], "UnknownOperationException", "{target}");
    }
}

#[tokio::test]
async fn seed_fills_and_later_changes_the_secrets() {
    let fake = started().await;
    let created = fake.apply(&Seed::built_in()).created;
    assert_eq!(
        (created.len(), created.last().map(String::as_str)),
        (7, Some("ssm:/whatsapp/webhook-url"))
    );
    assert_eq!(fake.parameters().version("/whatsapp/webhook-url"), Ok(1));
    let response = get(&fake, "openai-api-key/whatsapp").await;
    let expected = r#"{"ai_api_key":"PLACEHOLDER_WHATSAPP_API_KEY"}"#;
    assert_eq!(response.json()["SecretString"], expected);

    let seed = Seed::parse(Format::Toml, "\"openai-api-key/whatsapp\" = \"new\"")
        .expect("the seed must be valid");
    let changes = fake.apply(&seed);
    assert_eq!((changes.updated.len(), changes.removed.len()), (1, 6));
    assert!(fake.parameters().names().is_empty());
    assert_eq!(get(&fake, "openai-api-key/whatsapp").await.json()["SecretString"], "new");
    assert_eq!(get(&fake, "db").await.status, 200);
}

#[tokio::test]
async fn secret_of_another_account_is_found_by_arn() {
    let fake = started().await;
    let location = Location::new("999988887777", "us-east-1");
    let arn = fake.secrets().create_in(&location, "db", "theirs").expect("the name must be new");
    assert_eq!(get(&fake, &arn).await.json()["SecretString"], "theirs");
    assert_eq!(get(&fake, "db").await.json()["SecretString"], "hunter2");
}

#[tokio::test]
async fn debug_output_contains_no_value_and_no_credential() {
    let fake = started().await;
    get(&fake, "db").await;
    ask(&fake, Operation::BatchGetSecretValue, json!({ "SecretIdList": ["db", "absent"] })).await;
    let seed = Seed::parse(Format::Json, r#"{"a": "hunter2"}"#).expect("the seed must be valid");
    let value = ParameterValue::secure("hunter2");
    fake.parameters().put("/password", value.clone()).expect("the name must be valid");
    get_parameter(&fake, "/password").await;
    fake.session_tokens().accept_only(["session-token"]);
    fake.session_tokens().expire("session-token");
    let changes = fake.apply(&seed);
    let error =
        fake.secrets().put("absent", "hunter2").expect_err("the secret `absent` must not exist");
    let printed = [
        format!("{fake:?} {:?} {:?}", fake.secrets(), fake.calls()),
        format!("{:?} {:?} {changes:?}", fake.faults(), fake.session_tokens()),
        format!("{seed:?} {error:?} {error} {:?}", Plaintext::from("hunter2")),
        format!("{:?} {value:?}", fake.parameters()),
    ];
    for text in printed {
        assert!(!text.contains("hunter2") && !text.contains("session-token"), "{text}");
    }
}

/// A caller with the credentials of a role in another account reads secrets of that account by
/// name, but only the secrets that the role's permissions allow.
#[tokio::test]
async fn credentials_of_a_role_see_the_account_of_the_role() {
    const READER: &str = "arn:aws:iam::210987654321:role/reader";
    let fake = started().await;
    let theirs = Location::new("210987654321", "eu-north-1");
    for name in ["db", "other"] {
        fake.secrets().create_in(&theirs, name, "theirs").expect("the name must be new");
    }
    fake.roles().require_external_id(READER, "x7");
    fake.roles().allow_only(READER, &["db"]);
    let mut client = Client::connect(&fake).await;
    let form_type = ("Content-Type", "application/x-www-form-urlencoded");
    let signed = ("Authorization", "AWS4-HMAC-SHA256 Credential=AKIA/x");
    let form = |id: &str| {
        format!(
            "Action=AssumeRole&Version=2011-06-15&RoleSessionName=me&ExternalId={id}\
             &RoleArn=arn%3Aaws%3Aiam%3A%3A210987654321%3Arole%2Freader"
        )
    };
    client.send(&[form_type, signed], &form("x8")).await;
    let refused = client.receive().await.expect("the fake AWS server must send a response");
    assert_eq!(refused.status, 403);
    assert!(refused.text().contains("<Code>AccessDenied</Code>"), "{}", refused.text());
    client.send(&[form_type, signed], &form("x7")).await;
    let response = client.receive().await.expect("the fake AWS server must send a response");
    let text = response.text().to_owned();
    let part = |name: &str| {
        let start = text.split(&format!("<{name}>")).nth(1).expect("the element must exist");
        start.split('<').next().unwrap_or_default().to_owned()
    };
    let signed = format!("AWS4-HMAC-SHA256 Credential={}/x", part("AccessKeyId"));
    let token = part("SessionToken");
    let target = ("X-Amz-Target", "secretsmanager.GetSecretValue");
    for (id, status, expected) in
        [("db", 200, "\"theirs\""), ("other", 400, "assumed-role/reader/me is not authorized")]
    {
        let headers = [("Authorization", &*signed), ("X-Amz-Security-Token", &token), target];
        client.send(&headers, &format!(r#"{{"SecretId":"{id}"}}"#)).await;
        let read = client.receive().await.expect("the fake AWS server must send a response");
        assert_eq!(read.status, status, "{}", read.text());
        assert!(read.text().contains(expected), "{}", read.text());
    }
}

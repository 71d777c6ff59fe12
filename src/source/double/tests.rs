//! The double over real sockets: raw HTTP in, raw HTTP out.

use super::faults::{Fault, Match};
use super::operation::Operation;
use super::plaintext::Plaintext;
use super::seed::{Format, Seed};
use super::*;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const MS: Duration = Duration::from_millis(1);

/// Returns what `work` returns within `span`, if it does.
#[expect(clippy::disallowed_methods, reason = "sockets are real, and so is the time they take")]
async fn within<T>(span: Duration, work: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(span, work).await.ok()
}

/// Starts a double that holds the secret `db` with the value `hunter2`.
async fn double() -> Double {
    let now: Now = Arc::new(|| SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123));
    let double = Double::start(now).await.expect("a free port");
    double.secrets().create("db", "hunter2").expect("a new name");
    double
}

/// One answer, as it came.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a body of JSON")
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A client on one connection.
struct Client(TcpStream);

impl Client {
    async fn connect(double: &Double) -> Self {
        Self(TcpStream::connect(double.addr()).await.expect("a connection"))
    }

    async fn send(&mut self, headers: &[(&str, &str)], body: &str) {
        let mut request = "POST / HTTP/1.1\r\nHost: double\r\n".to_owned();
        for (key, value) in headers {
            request.push_str(&format!("{key}: {value}\r\n"));
        }
        request.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
        self.0.write_all(request.as_bytes()).await.expect("a request that is sent");
    }

    async fn send_signed(&mut self, operation: Operation, body: &Value) {
        let target = format!("secretsmanager.{}", operation.name());
        let headers = [
            ("X-Amz-Target", target.as_str()),
            ("Content-Type", "application/x-amz-json-1.1"),
            ("Authorization", "AWS4-HMAC-SHA256 Credential=AKIA/x, Signature=0"),
            ("X-Amz-Security-Token", "session-token"),
            ("User-Agent", "test/1.0"),
        ];
        self.send(&headers, &body.to_string()).await;
    }

    /// Reads one answer, or what there is of it when the connection ends.
    async fn receive(&mut self) -> io::Result<Answer> {
        let mut bytes = Vec::new();
        let (head, start) = loop {
            if let Some(end) = bytes.windows(4).position(|it| it == b"\r\n\r\n") {
                break (String::from_utf8_lossy(&bytes[..end]).into_owned(), end + 4);
            }
            if self.0.read_buf(&mut bytes).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        };
        let status = head.split(' ').nth(1).and_then(|it| it.parse().ok()).expect("a status");
        let mut answer = Answer { status, head, body: bytes.split_off(start) };
        let length: usize =
            answer.header("content-length").and_then(|it| it.parse().ok()).expect("a length");
        while answer.body.len() < length {
            if self.0.read_buf(&mut answer.body).await? == 0 {
                break;
            }
        }
        Ok(answer)
    }

    async fn ask(&mut self, operation: Operation, body: Value) -> Answer {
        self.send_signed(operation, &body).await;
        self.receive().await.expect("an answer")
    }
}

async fn ask(double: &Double, operation: Operation, body: Value) -> Answer {
    Client::connect(double).await.ask(operation, body).await
}

async fn get(double: &Double, id: &str) -> Answer {
    ask(double, Operation::GetSecretValue, json!({ "SecretId": id })).await
}

/// Lets the next call go wrong and returns its answer, and checks that the one after goes well.
async fn with_fault(double: &Double, fault: Fault) -> Answer {
    double.faults().script(Match::any(), [fault]);
    let answer = get(double, "db").await;
    assert_eq!(get(double, "db").await.json()["SecretString"], "hunter2");
    answer
}

#[tokio::test]
async fn a_value_is_read_in_the_form_that_aws_gives_it() {
    let double = double().await;
    let answer = get(&double, "db").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/x-amz-json-1.1"));
    assert_eq!(answer.header("x-amzn-requestid").map(str::len), Some(36));
    assert!(answer.text().contains(r#""CreatedDate":1700000000.123"#), "{}", answer.text());
    let arn = answer.json()["ARN"].as_str().expect("an ARN").to_owned();
    assert_eq!(get(&double, &arn).await.json()["SecretString"], "hunter2");
}

#[tokio::test]
async fn an_error_has_a_type_a_message_and_a_request_id() {
    let double = double().await;
    let answer = get(&double, "absent").await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.header("content-type"), Some("application/x-amz-json-1.1"));
    assert_eq!(answer.header("x-amzn-requestid").map(str::len), Some(36));
    let expected = json!({
        "__type": "ResourceNotFoundException",
        "Message": "Secrets Manager can't find the specified secret.",
    });
    assert_eq!(answer.json(), expected);
}

#[tokio::test]
async fn requests_that_aws_turns_away_at_the_door() {
    let double = double().await;
    let signed = ("Authorization", "AWS4-HMAC-SHA256 Credential=x");
    let target = ("X-Amz-Target", "secretsmanager.GetSecretValue");
    let mut client = Client::connect(&double).await;
    let mut check = async |headers: &[(&str, &str)], body: &str, status: u16, kind: &str| {
        client.send(headers, body).await;
        let answer = client.receive().await.expect("an answer");
        assert_eq!((answer.status, &answer.json()["__type"]), (status, &json!(kind)));
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
async fn what_was_asked_is_recorded() {
    let double = double().await;
    let mut client = Client::connect(&double).await;
    client.ask(Operation::GetSecretValue, json!({ "SecretId": "db" })).await;
    let ids = json!({ "SecretIdList": ["db", "absent"] });
    client.ask(Operation::BatchGetSecretValue, ids).await;
    get(&double, "db").await;

    let calls = double.calls();
    assert_eq!(calls.count_for(Operation::GetSecretValue, "db"), 2);
    assert_eq!(calls.count_for(Operation::BatchGetSecretValue, "absent"), 1);
    let list = calls.list();
    assert_eq!(list.iter().map(|call| call.connection).collect::<Vec<_>>(), [1, 1, 2]);
    assert_eq!(list[1].secret_ids, ["db", "absent"]);
    assert_eq!(list[0].host.as_deref(), Some("double"));
    assert_eq!(list[0].user_agent.as_deref(), Some("test/1.0"));
    assert_eq!(list[0].security_token.as_deref(), Some("session-token"));
    assert!(list[0].authorization.as_deref().is_some_and(|it| it.ends_with("Signature=0")));
    assert_eq!(double.connections(), 2);
}

#[tokio::test]
async fn connections_are_kept_open_over_errors() {
    let double = double().await;
    let mut client = Client::connect(&double).await;
    for id in ["db", "absent", "db"] {
        client.ask(Operation::GetSecretValue, json!({ "SecretId": id })).await;
    }
    assert_eq!(double.connections(), 1);
}

#[tokio::test]
async fn denials_reach_single_reads_and_batches() {
    let double = double().await;
    let batch = json!({ "SecretIdList": ["db"] });
    let kind = |answer: &Answer| answer.json()["__type"].as_str().map(str::to_owned);
    let denied = Some("AccessDeniedException".to_owned());

    double.faults().deny_secret("db");
    assert_eq!(kind(&get(&double, "db").await), denied);
    let answer = ask(&double, Operation::BatchGetSecretValue, batch.clone()).await;
    assert_eq!(answer.json()["Errors"][0]["ErrorCode"], "AccessDeniedException");
    double.faults().batch_fails_on_denied(true);
    let answer = ask(&double, Operation::BatchGetSecretValue, batch.clone()).await;
    assert_eq!((answer.status, kind(&answer)), (400, denied.clone()));

    double.faults().allow_secret("db");
    double.faults().deny_operation(Operation::BatchGetSecretValue);
    let answer = ask(&double, Operation::BatchGetSecretValue, batch.clone()).await;
    assert_eq!(kind(&answer), denied);
    assert_eq!(get(&double, "db").await.status, 200);
    double.faults().allow_operation(Operation::BatchGetSecretValue);
    let answer = ask(&double, Operation::BatchGetSecretValue, batch).await;
    assert_eq!(answer.json()["SecretValues"][0]["SecretString"], "hunter2");
}

#[tokio::test]
async fn a_fault_for_a_name_finds_who_asks_by_arn() {
    let double = double().await;
    let arn = double.secrets().arn("db").expect("a secret");
    double.faults().script(Match::secret("db"), [Fault::Throttle]);
    assert_eq!(get(&double, &arn).await.json()["__type"], "ThrottlingException");
}

#[tokio::test]
async fn errors_that_are_made_to_happen() {
    let double = double().await;
    let answer = with_fault(&double, Fault::Throttle).await;
    let expected = json!({ "__type": "ThrottlingException", "message": "Rate exceeded" });
    assert_eq!((answer.status, answer.json()), (400, expected));

    let answer = with_fault(&double, Fault::InternalError).await;
    assert_eq!((answer.status, &answer.json()["__type"]), (500, &json!("InternalServiceError")));

    let fault = Fault::Error { status: 503, kind: "Busy".to_owned(), message: "later".to_owned() };
    let answer = with_fault(&double, fault).await;
    let expected = json!({ "__type": "Busy", "Message": "later" });
    assert_eq!((answer.status, answer.json()), (503, expected));
}

#[tokio::test]
async fn calls_above_the_rate_are_throttled() {
    let double = double().await;
    double.faults().throttle_above(1);
    assert_eq!(get(&double, "db").await.status, 200);
    assert_eq!(get(&double, "db").await.json()["__type"], "ThrottlingException");
}

#[tokio::test]
async fn a_stalled_call_is_never_answered() {
    let double = double().await;
    double.faults().script(Match::any(), [Fault::Stall]);
    let mut client = Client::connect(&double).await;
    client.send_signed(Operation::GetSecretValue, &json!({ "SecretId": "db" })).await;
    double.calls().reached(Operation::GetSecretValue, 1).await;
    let waiting = within(5 * MS, client.receive()).await;
    assert!(waiting.is_none(), "{waiting:?}");
}

#[tokio::test]
async fn a_reset_arrives_as_one() {
    let double = double().await;
    double.faults().script(Match::any(), [Fault::Reset]);
    let mut client = Client::connect(&double).await;
    client.send_signed(Operation::GetSecretValue, &json!({ "SecretId": "db" })).await;
    let error = client.receive().await.expect_err("no answer");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_truncated_answer_stops_half_way() {
    let double = double().await;
    let answer = with_fault(&double, Fault::Truncated).await;
    let announced: usize = answer.header("content-length").unwrap().parse().unwrap();
    assert_eq!((answer.status, answer.body.len()), (200, announced / 2));
}

#[tokio::test]
async fn garbage_says_that_it_is_json() {
    let double = double().await;
    let answer = with_fault(&double, Fault::Garbage).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/x-amz-json-1.1"));
    assert!(serde_json::from_slice::<Value>(&answer.body).is_err());
}

#[tokio::test]
async fn the_content_type_can_be_wrong() {
    let double = double().await;
    let answer = with_fault(&double, Fault::ContentType("text/html".to_owned())).await;
    assert_eq!(answer.header("content-type"), Some("text/html"));
    assert_eq!(answer.json()["SecretString"], "hunter2");
}

#[tokio::test]
async fn a_dripping_answer_comes_byte_by_byte() {
    let double = double().await;
    double.faults().script(Match::any(), [Fault::Drip(Duration::from_secs(3_600)), Fault::Pass]);
    let mut client = Client::connect(&double).await;
    client.send_signed(Operation::GetSecretValue, &json!({ "SecretId": "db" })).await;
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        client.0.read_buf(&mut bytes).await.expect("the head");
    }
    let waiting = within(5 * MS, client.0.read_buf(&mut bytes)).await;
    assert!(waiting.is_none(), "a byte came before its time");

    double.faults().clear();
    let fast = with_fault(&double, Fault::Drip(Duration::ZERO)).await;
    assert_eq!(fast.json()["SecretString"], "hunter2");
}

#[tokio::test]
async fn a_delayed_answer_comes_late() {
    let double = double().await;
    double.faults().script(Match::any(), [Fault::Delay(5 * MS)]);
    let mut client = Client::connect(&double).await;
    client.send_signed(Operation::GetSecretValue, &json!({ "SecretId": "db" })).await;
    double.calls().reached(Operation::GetSecretValue, 1).await;
    assert!(within(MS, client.0.readable()).await.is_none());
    assert_eq!(client.receive().await.expect("an answer").status, 200);
}

#[tokio::test]
async fn a_slow_answer_is_the_one_that_was_right_on_arrival() {
    let double = double().await;
    double.faults().set_latency(5 * MS);
    let mut client = Client::connect(&double).await;
    client.send_signed(Operation::GetSecretValue, &json!({ "SecretId": "db" })).await;
    double.calls().reached(Operation::GetSecretValue, 1).await;
    double.secrets().put("db", "hunter3").expect("a new version");
    let answer = client.receive().await.expect("an answer");
    assert_eq!(answer.json()["SecretString"], "hunter2");
    double.faults().set_latency(Duration::ZERO);
    assert_eq!(get(&double, "db").await.json()["SecretString"], "hunter3");
}

#[tokio::test]
async fn a_paused_double_refuses_connections_until_it_resumes() {
    let double = double().await;
    let mut client = Client::connect(&double).await;
    client.ask(Operation::GetSecretValue, json!({ "SecretId": "db" })).await;

    double.pause().await.expect("a port that is held");
    double.pause().await.expect("pausing twice is no error");
    assert_eq!(client.0.read_u8().await.expect_err("closed").kind(), io::ErrorKind::UnexpectedEof);
    let refused = TcpStream::connect(double.addr()).await.expect_err("nobody listens");
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);

    double.resume().await.expect("the same port");
    double.resume().await.expect("resuming twice is no error");
    assert_eq!(get(&double, "db").await.status, 200);
}

#[tokio::test]
async fn hanging_up_closes_connections_and_takes_new_ones() {
    let double = double().await;
    let mut client = Client::connect(&double).await;
    client.ask(Operation::GetSecretValue, json!({ "SecretId": "db" })).await;
    double.hang_up();
    assert_eq!(client.0.read_u8().await.expect_err("closed").kind(), io::ErrorKind::UnexpectedEof);
    assert_eq!(get(&double, "db").await.status, 200);
}

#[tokio::test]
async fn a_double_that_stops_takes_everything_along() {
    let double = double().await;
    let addr = double.addr();
    double.faults().always(Match::any(), Fault::Stall);
    let mut client = Client::connect(&double).await;
    client.send_signed(Operation::GetSecretValue, &json!({ "SecretId": "db" })).await;
    double.calls().reached(Operation::GetSecretValue, 1).await;
    double.stop().await;
    assert!(client.receive().await.is_err());
    assert!(TcpStream::connect(addr).await.is_err());
}

#[tokio::test]
async fn a_double_that_is_dropped_ends() {
    let double = double().await;
    let tasks = double.tasks.clone();
    drop(double);
    tasks.close();
    tasks.wait().await;
}

#[tokio::test]
async fn session_tokens_can_be_required() {
    let double = double().await;
    double.tokens().accept_only(["another"]);
    let answer = get(&double, "db").await;
    assert_eq!(answer.json()["__type"], "UnrecognizedClientException");
    double.tokens().accept_only(["session-token"]);
    assert_eq!(get(&double, "db").await.status, 200);
    double.tokens().expire("session-token");
    assert_eq!(get(&double, "db").await.json()["__type"], "ExpiredTokenException");
}

#[tokio::test]
async fn credentials_from_sts_are_taken_by_secrets_manager() {
    let double = double().await;
    double.tokens().accept_only(Vec::<String>::new());
    let form = "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&WebIdentityToken=jwt\
                &RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fapp&RoleSessionName=me";
    let mut client = Client::connect(&double).await;
    let form_type = ("Content-Type", "application/x-www-form-urlencoded; charset=utf-8");
    client.send(&[form_type], form).await;
    let answer = client.receive().await.expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("text/xml"));
    let text = answer.text();
    let token = text.split("SessionToken>").nth(1).and_then(|it| it.split('<').next()).unwrap();

    let signed = ("Authorization", "AWS4-HMAC-SHA256 Credential=ASIA/x");
    let token = ("X-Amz-Security-Token", token);
    let target = ("X-Amz-Target", "secretsmanager.GetSecretValue");
    client.send(&[signed, token, target], r#"{"SecretId":"db"}"#).await;
    assert_eq!(client.receive().await.expect("an answer").status, 200);

    client.send(&[form_type, signed, token], "Action=GetCallerIdentity").await;
    let answer = client.receive().await.expect("an answer");
    assert!(answer.text().contains("<Account>123456789012</Account>"), "{}", answer.text());
    client.send(&[form_type], "Action=GetCallerIdentity").await;
    let answer = client.receive().await.expect("an answer");
    assert_eq!(answer.status, 403);
    assert!(answer.text().contains("<Code>MissingAuthenticationToken</Code>"), "{}", answer.text());
}

#[tokio::test]
async fn faults_of_sts_are_told_in_xml() {
    let double = double().await;
    double
        .faults()
        .script(Match::operation(Operation::AssumeRoleWithWebIdentity), [Fault::Throttle]);
    let mut client = Client::connect(&double).await;
    let form_type = ("Content-Type", "application/x-www-form-urlencoded");
    client.send(&[form_type], "Action=AssumeRoleWithWebIdentity").await;
    let answer = client.receive().await.expect("an answer");
    assert!(answer.text().contains("<Code>Throttling</Code>"), "{}", answer.text());
}

#[tokio::test]
async fn a_seed_fills_the_double_and_changes_it_later() {
    let double = double().await;
    assert_eq!(double.secrets().apply(&Seed::built_in()).created.len(), 6);
    let answer = get(&double, "openai-api-key/whatsapp").await;
    let expected = r#"{"ai_api_key":"PLACEHOLDER_WHATSAPP_API_KEY"}"#;
    assert_eq!(answer.json()["SecretString"], expected);

    let seed = Seed::parse(Format::Toml, "\"openai-api-key/whatsapp\" = \"new\"").expect("a seed");
    let changes = double.secrets().apply(&seed);
    assert_eq!((changes.updated.len(), changes.removed.len()), (1, 5));
    assert_eq!(get(&double, "openai-api-key/whatsapp").await.json()["SecretString"], "new");
    assert_eq!(get(&double, "db").await.status, 200);
}

#[tokio::test]
async fn secrets_of_other_accounts_are_reached_by_arn() {
    let double = double().await;
    let place = Place::new("999988887777", "us-east-1");
    let arn = double.secrets().create_at(&place, "db", "theirs").expect("a new name");
    assert_eq!(get(&double, &arn).await.json()["SecretString"], "theirs");
    assert_eq!(get(&double, "db").await.json()["SecretString"], "hunter2");
}

#[tokio::test]
async fn nothing_that_can_be_printed_shows_a_value_or_a_credential() {
    let double = double().await;
    get(&double, "db").await;
    ask(&double, Operation::BatchGetSecretValue, json!({ "SecretIdList": ["db", "absent"] })).await;
    let seed = Seed::parse(Format::Json, r#"{"a": "hunter2"}"#).expect("a seed");
    double.tokens().accept_only(["session-token"]);
    double.tokens().expire("session-token");
    let changes = double.secrets().apply(&seed);
    let error = double.secrets().put("absent", "hunter2").expect_err("no secret");
    let printed = [
        format!("{double:?} {:?} {:?}", double.secrets(), double.calls()),
        format!("{:?} {:?} {changes:?}", double.faults(), double.tokens()),
        format!("{seed:?} {error:?} {error} {:?}", Plaintext::from("hunter2")),
    ];
    for text in printed {
        assert!(!text.contains("hunter2") && !text.contains("session-token"), "{text}");
    }
}

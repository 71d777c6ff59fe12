//! Sends the same bytes to two servers, and checks that both servers behave alike. One server
//! answers reads of cached secrets without hyper (the HTTP library). The other server needs hyper
//! for every request.

use super::tests::TestServer;
use super::{HEAD_TIME_MAX, Ways};
use crate::clock::{Clock, VirtualClock};
use crate::secret::key::Key;
use crate::secret::version::{AWSCURRENT, Content, Details, Parameter, ParameterKind, Version};
use crate::server::connection_slots::ConnectionSlots;
use crate::server::deadlines::{IDLE_TICK, IDLE_TICKS_MAX, UNTRUSTED_TIME_MAX};
use crate::source::{BatchResult, FetchError, FetchErrorKind, FetchFuture, Source};
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};
use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex,
};
use tokio::task::JoinHandle;

/// The number of random inputs that the test sends. CI sends 200,000, which takes half a minute.
const CASES: u64 = 8_000;

/// The environment variable that sets the number of random inputs.
const CASES_VARIABLE: &str = "DIFFERENTIAL_CASES";

/// The test compares the metrics of the servers with and without hyper (the HTTP library) each time
/// after this number of inputs.
const COMPARED_AFTER: u64 = 500;

/// The number of bytes that a test connection can buffer in each direction. All answers are
/// smaller.
const PIPE_BYTES: usize = 64 * 1024;

/// The size, in bytes, of a small buffer of a test connection. One request fits into the buffer,
/// but its answer is longer, so the server must wait for a client that reads slowly.
const SMALL_PIPE_BYTES: usize = 192;

const MOMENT: Duration = Duration::from_millis(1);

const SECRETS: [&str; 2] = ["x", "openai-api-key/sms"];

const PARAMETERS: [&str; 2] = ["ssm:x", "ssm:/a/x"];

/// A simulated AWS with two secrets and two parameters. Their values are JSON with the field `f`.
/// One of the secrets breaks the rules that the configuration sets for the secret's name.
#[derive(Debug, Default)]
struct FewSecrets {
    is_down: AtomicBool,
}

impl Source for FewSecrets {
    fn deadline(&self, _key: &Key) -> Duration {
        Duration::from_secs(2)
    }

    fn fetch<'a>(&'a self, key: &'a Key) -> FetchFuture<'a, Version> {
        Box::pin(async { self.answer(key) })
    }

    fn fetch_batch<'a>(&'a self, keys: &'a [Key]) -> FetchFuture<'a, Vec<BatchResult>> {
        Box::pin(async {
            match self.is_down.load(Ordering::Relaxed) {
                true => Err(no_answer()),
                false => Ok(keys.iter().map(|key| Some(self.answer(key))).collect()),
            }
        })
    }
}

impl FewSecrets {
    fn answer(&self, key: &Key) -> Result<Version, FetchError> {
        let id = key.id.as_str();
        let names = SECRETS.into_iter().chain(PARAMETERS);
        match names.into_iter().find(|name| *name == id) {
            _ if self.is_down.load(Ordering::Relaxed) => Err(no_answer()),
            None => {
                let code = "ResourceNotFoundException";
                Err(FetchError::new(FetchErrorKind::NotFound, code, "not found"))
            }
            Some(name) if PARAMETERS.contains(&name) => Ok(parameter(key.id.aws_id())),
            Some(name) => Ok(Version {
                arn: format!("arn:aws:secretsmanager:eu-north-1:123456789012:secret:{name}-AbC123")
                    .into(),
                name: name.into(),
                id: "v1".into(),
                details: Details::Secret { labels: vec![AWSCURRENT.into()] },
                created: None,
                content: value(),
            }),
        }
    }
}

fn no_answer() -> FetchError {
    FetchError::new(FetchErrorKind::Timeout, "TimeoutError", "no answer")
}

fn parameter(name: &str) -> Version {
    let kind = ParameterKind::SecureString;
    Version {
        arn: format!(
            "arn:aws:ssm:eu-north-1:123456789012:parameter/{}",
            name.trim_start_matches('/')
        )
        .into(),
        name: name.into(),
        id: "1".into(),
        details: Details::Parameter(Parameter { number: 1, kind, data_type: None }),
        created: None,
        content: value(),
    }
}

fn value() -> Content {
    Content::Text(r#"{"f":"value","empty":""}"#.to_owned().into())
}

struct Client {
    socket: DuplexStream,
    served: JoinHandle<()>,
    /// The limits for this client's connection. Each client has limits of its own, so that a test
    /// can stop the server for one client only.
    slots: Arc<ConnectionSlots>,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Send(&'a [u8]),
    Wait(Duration),
    Stop,
}

impl fmt::Debug for Step<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Send(bytes) => write!(f, "send \"{}\"", bytes.escape_ascii()),
            Self::Wait(time) => write!(f, "wait {time:?}"),
            Self::Stop => f.write_str("stop"),
        }
    }
}

#[derive(Debug, PartialEq)]
struct Fate {
    /// All answers that the client received, without the values of their `Date` headers.
    answers: String,
    /// Whether the server closed the connection before the client closed it.
    is_closed: bool,
}

impl Client {
    async fn take(&mut self, steps: &[Step<'_>], clock: &VirtualClock) {
        for step in steps {
            match step {
                // Sending fails if the server has closed the connection.
                Step::Send(bytes) => drop(self.socket.write_all(bytes).await),
                Step::Wait(time) => clock.sleep(*time).await,
                Step::Stop => self.slots.stop(),
            }
        }
        clock.sleep(MOMENT).await;
    }

    async fn fate(mut self) -> Fate {
        let is_closed = self.served.is_finished();
        let _ = self.socket.shutdown().await;
        let mut answers = Vec::with_capacity(4096);
        self.socket
            .read_to_end(&mut answers)
            .await
            .expect("reading from the connection in memory must not fail");
        self.served.await.expect("the task of the connection must not panic");
        Fate { answers: without_dates(&answers), is_closed }
    }
}

fn without_dates(answers: &[u8]) -> String {
    let text = String::from_utf8_lossy(answers);
    let mut parts = text.split("\r\ndate: ");
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        kept.push_str("\r\ndate:");
        kept.push_str(part.find("\r\n").map_or("", |end| &part[end..]));
    }
    kept
}

/// Generates random inputs from a seed.
struct Inputs(fastrand::Rng);

impl Inputs {
    fn one_of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.0.usize(..all.len())]
    }

    /// Returns a random request, which is usually a read of a cached secret.
    fn request(&mut self) -> String {
        if self.0.u8(..4) == 0 { self.aws_api_call() } else { self.get() }
    }

    /// Returns a random call of the AWS API, which usually reads a cached secret.
    fn aws_api_call(&mut self) -> String {
        let (usual_body, usual_operation) = match self.0.bool() {
            true => ("{\"SecretId\":\"x\"}", "secretsmanager.GetSecretValue"),
            false => ("{\"Name\":\"/a/x\"}", "AmazonSSM.GetParameter"),
        };
        let body = self.often(
            usual_body,
            &[
                "{\"Name\":\"/a/x\",\"WithDecryption\":true}",
                "{\"Name\":\"x#f\",\"WithDecryption\":true}",
                "{\"Name\":\"x#none\"}",
                "{\"Name\":\"/a/y\"}",
                "{\"Name\":\"/aws/reference/secretsmanager/x\",\"WithDecryption\":true}",
                "{\"Name\":\"/aws/reference/secretsmanager/x\"}",
                "{\"Name\":\"arn:aws:s3:::x\"}",
                "{\"SecretId\":\"x\",\"VersionStage\":\"AWSCURRENT\"}",
                "{\"SecretId\":\"x#f\"}",
                "{\"SecretId\":\"x#none\"}",
                "{\"SecretId\":\"y\"}",
                "{\"SecretId\":\"openai-api-key/sms\"}",
                "{\"SecretIdList\":[\"x\"]}",
                "{\"SecretId\":1}",
                "{}",
                "",
                "{",
            ],
        );
        let method = self.often("POST", &["GET", "PUT", "post"]);
        let path = self.often("/", &["//", "/?x", "/v1/x", "/resolve"]);
        let usual_operation = format!("x-amz-target: {usual_operation}\r\n");
        let operation = self.often(
            &usual_operation,
            &[
                "X-Amz-Target: AmazonSSM.GetParameter\r\n",
                "x-amz-target: AmazonSSM.GetParameters\r\n",
                "x-amz-target: AmazonSSM.PutParameter\r\n",
                "X-Amz-Target: secretsmanager.DescribeSecret\r\n",
                "x-amz-target: secretsmanager.BatchGetSecretValue\r\n",
                "x-amz-target: secretsmanager.PutSecretValue\r\n",
                "",
            ],
        );
        let token = self.often(
            "x-amz-security-token: good\r\n",
            &["X-Amz-Security-Token: bad\r\n", "x-vault-token: good\r\n", ""],
        );
        let other = self.often(
            "",
            &[
                "connection: close\r\n",
                "expect: 100-continue\r\n",
                "transfer-encoding: chunked\r\n",
                "content-length: 16\r\n",
                "host: evil.example\r\n",
            ],
        );
        let length = match self.0.u8(..16) {
            0 => String::new(),
            1 => format!("content-length: {}\r\n", body.len() + 1),
            2 => format!("content-length: {}\r\n", body.len().saturating_sub(1)),
            3 => format!("content-length: +{}\r\n", body.len()),
            _ => format!("Content-Length: {}\r\n", body.len()),
        };
        format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\n{operation}{token}{other}{length}\r\n{body}"
        )
    }

    /// Returns a random request without a body, which is usually a read of a cached secret. The
    /// request never asks for `/metrics`, because the metrics contain the number of threads, and
    /// other tests change this number.
    fn get(&mut self) -> String {
        let target = match self.0.u8(..4) {
            0 => self.one_of(&[
                "/v1/x",
                "/v1/openai-api-key/sms",
                "/v1/x/",
                "/v1/x?field=f",
                "/v1/",
                "/ping",
                "/ready",
                "/",
                "/v1/x#f",
                "/v1/%78",
                "*",
                "http://localhost/v1/x",
                "//v1/x",
                "/v1/x|y",
                "/v1/\u{e4}",
                "/v1/x?{",
                "/v1/ssm:x",
                "/v1/ssm:/a/x?field=f",
            ]),
            1 => self
                .one_of(&["/systemsmanager/parameters/get?", "/systemsmanager/parameters/get/?"]),
            _ => "/secretsmanager/get?",
        };
        let mut request = String::with_capacity(256);
        request.push_str(self.often("GET", &["HEAD", "POST", "get", "PUT"]));
        request.push(' ');
        request.push_str(target);
        if target.starts_with("/systemsmanager") {
            request.push_str(self.often(
                "name=x",
                &[
                    "name=/a/x",
                    "name=%2Fa%2Fx",
                    "name=/a/y",
                    "name=x:1",
                    "name=x%23f",
                    "name=",
                    "label=a",
                    "name=x%",
                    "name=/aws/reference/secretsmanager/x",
                    "name=/aws/reference/secretsmanager/x:AWSCURRENT",
                    "name=arn:aws:ssm:eu-north-1:123456789012:parameter/a/x",
                    "name=arn:aws:s3:::x",
                    "secretId=x",
                ],
            ));
            request.push_str(self.often(
                "&withDecryption=true",
                &[
                    "",
                    "&withDecryption=false",
                    "&withDecryption=yes",
                    "&withDecryption=TRUE&field=f",
                    "&withDecryption=1&version=1&label=a",
                    "&withDecryption=1&label=a&version=1",
                    "&version=a",
                    "&refreshNow=false",
                    "&wait=0",
                    "&unknown=1",
                    "&roleArn=x",
                ],
            ));
        } else if target.ends_with('?') {
            request.push_str(self.often(
                "secretId=x",
                &[
                    "secretId=y",
                    "secretId=openai-api-key/sms",
                    "secretId=%78",
                    "secretId=x%23f",
                    "secretId=x#f",
                    "field=f",
                    "secretId=",
                    "secretid=x",
                    "",
                    "secretId=x%",
                    "secretId=+x",
                ],
            ));
            request.push_str(self.often(
                "",
                &[
                    "&field=f",
                    "&field=empty",
                    "&field=none",
                    "&versionStage=AWSCURRENT",
                    "&versionId=v1",
                    "&versionStage=AWSPREVIOUS",
                    "&refreshNow=false",
                    "&refreshNow=0",
                    "&wait=0",
                    "&unknown=1",
                    "&",
                    "?",
                    "&roleArn=x",
                    "&secretId=x",
                ],
            ));
        }
        request.push(' ');
        request.push_str(self.often("HTTP/1.1", &["HTTP/1.0", "HTTP/2.0", "http/1.1"]));
        request.push_str("\r\n");
        let token = self.often(
            "x-aws-parameters-secrets-token: good\r\n",
            &[
                "x-vault-token: good\r\n",
                "X-Vault-Token:good \r\n",
                "x-vault-token: bad\r\n",
                "",
                "x-vault-token: bad\r\nx-aws-parameters-secrets-token: good\r\n",
                "x-amz-security-token: good\r\n",
            ],
        );
        let host = self.often(
            "host: localhost\r\n",
            &[
                "Host: 127.0.0.1:2773\r\n",
                "host: evil.example\r\n",
                "",
                "HOST:[::1]\r\n",
                "host: localhost\r\nhost: evil.example\r\n",
            ],
        );
        request.push_str(host);
        request.push_str(token);
        while self.0.u8(..3) == 0 {
            request.push_str(self.one_of(&[
                "accept: */*\r\n",
                "connection: close\r\n",
                "Connection: Keep-Alive\r\n",
                "connection: keep-alive, close\r\n",
                "connection: upgrade\r\n",
                "connection:\r\n",
                "if-none-match: \"v1\"\r\n",
                "If-None-Match: W/\"v1\", \"v2\"\r\n",
                "if-none-match: *\r\n",
                "if-none-match: \"v2\"\r\n",
                "if-none-match: \"1-0\"\r\n",
                "content-length: 0\r\n",
                "content-length: 2\r\n",
                "transfer-encoding: chunked\r\n",
                "expect: 100-continue\r\n",
                "upgrade: h2c\r\n",
                "origin: null\r\n",
                "forwarded: for=x\r\n",
                "user-agent: x y\r\n",
                "x-forwarded-for: 10.0.0.1\r\n",
                "X-Odd: \u{e4}\r\n",
                "bad header: x\r\n",
                " folded\r\n",
                "x-empty:\r\n",
                "accept: x\n",
            ]));
        }
        request.push_str("\r\n");
        request
    }

    fn often<'a>(&mut self, usual: &'a str, others: &[&'a str]) -> &'a str {
        if self.0.u8(..4) > 0 { usual } else { self.one_of(others) }
    }

    /// Splits the bytes of a client into pieces. The client pauses after each piece, and the agent
    /// may stop during a pause.
    fn steps<'a>(&mut self, bytes: &'a [u8]) -> Vec<Step<'a>> {
        let mut steps = Vec::new();
        let mut left = bytes;
        while !left.is_empty() {
            let at = if self.0.bool() { left.len() } else { self.0.usize(0..=left.len()) };
            let (piece, rest) = left.split_at(at);
            steps.push(Step::Send(piece));
            left = rest;
            steps.push(Step::Wait(match self.0.u8(..) {
                0 => UNTRUSTED_TIME_MAX,
                1..4 => HEAD_TIME_MAX,
                _ => MOMENT,
            }));
            if self.0.u8(..32) == 0 {
                steps.push(Step::Stop);
            }
        }
        steps
    }

    /// Returns the bytes of a client: some random requests, sometimes damaged or cut off.
    fn bytes(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for _ in 0..=self.0.u8(..3) {
            bytes.extend_from_slice(self.request().as_bytes());
            if self.0.u8(..16) == 0 {
                bytes.extend_from_slice(self.one_of(&["\r\n", "{}", "\n", "x"]).as_bytes());
            }
        }
        let at = self.0.usize(..bytes.len());
        match self.0.u8(..8) {
            0 => bytes[at] = self.0.u8(..),
            1 => drop(bytes.remove(at)),
            2 => bytes.truncate(at),
            3 => bytes.insert(at, *b"\r\n :/?%\0".get(self.0.usize(..8)).unwrap_or(&b'a')),
            _ => {}
        }
        bytes
    }
}

struct Pair {
    servers: [TestServer; 2],
    clock: Arc<VirtualClock>,
}

impl Pair {
    /// Connects a client to the server with or without hyper (the HTTP library), as `ways` says.
    /// The connection buffers at most `pipe_bytes` bytes in each direction.
    fn client(&self, ways: Ways, pipe_bytes: usize) -> Client {
        let server = &self.servers[usize::from(ways == Ways::HyperOnly)];
        let ((socket, other), slots) = (duplex(pipe_bytes), ConnectionSlots::new(1, 1));
        Client { socket, served: server.serve(other, &slots, ways), slots }
    }

    /// Sends the same input to the servers with and without hyper (the HTTP library). Checks that
    /// their answers are equal, and that either both servers close the connection or neither does.
    async fn check(&self, steps: &[Step<'_>], what: &str) {
        let [mut direct, mut by_hyper] =
            [Ways::DirectAndHyper, Ways::HyperOnly].map(|ways| self.client(ways, PIPE_BYTES));
        tokio::join!(direct.take(steps, &self.clock), by_hyper.take(steps, &self.clock));
        let (direct, by_hyper) = tokio::join!(direct.fate(), by_hyper.fate());
        assert_eq!(
            direct, by_hyper,
            "both servers must respond in the same way to {what}: {steps:?}"
        );
    }

    /// Checks that the servers with and without hyper (the HTTP library) have equal metrics, except
    /// the metrics about the process and about durations.
    fn compare_metrics(&self, what: &str) {
        let [direct, by_hyper] = [0, 1].map(|at| {
            let text = self.servers[at].server.context.metrics.render();
            let own = |line: &&str| line.starts_with("sidekey_") && !line.contains("_bucket");
            text.lines().filter(own).map(str::to_owned).collect::<Vec<_>>()
        });
        assert_eq!(direct, by_hyper, "both servers must have equal metrics after {what}");
    }
}

fn pair() -> (Pair, [Arc<FewSecrets>; 2]) {
    let clock = Arc::new(VirtualClock::starting_at(SystemTime::UNIX_EPOCH));
    let sources: [Arc<FewSecrets>; 2] = Default::default();
    let servers =
        sources.each_ref().map(|source| TestServer::with_source(64, source.clone(), clock.clone()));
    (Pair { servers, clock }, sources)
}

const PARAMETER_READ: &str = "GET /systemsmanager/parameters/get?name=%2Fa%2Fx&withDecryption=true HTTP/1.1\r\n\
    host: localhost\r\nx-aws-parameters-secrets-token: good\r\n\r\n";

const READ: &str = "GET /secretsmanager/get?secretId=x HTTP/1.1\r\nhost: localhost\r\n\
    x-aws-parameters-secrets-token: good\r\n\r\n";

const AWS_API_READ: &str = "POST / HTTP/1.1\r\nhost: localhost\r\n\
    x-amz-target: secretsmanager.GetSecretValue\r\nx-amz-security-token: good\r\n\
    content-length: 16\r\n\r\n{\"SecretId\":\"x\"}";

const AWS_API_PARAMETER_READ: &str = "POST / HTTP/1.1\r\nhost: localhost\r\n\
    x-amz-target: AmazonSSM.GetParameter\r\nx-amz-security-token: good\r\n\
    content-length: 37\r\n\r\n{\"Name\":\"/a/x\",\"WithDecryption\":true}";

/// Test: servers with and without hyper (the HTTP library) answer reads alike, no matter where the
/// bytes are split into two parts, and between which bytes the agent stops.
#[tokio::test(start_paused = true)]
async fn reads_split_at_every_byte_are_answered_alike() {
    let (pair, _) = pair();
    let reads = READ.repeat(3);
    for at in 0..=reads.len() {
        let (first, second) = reads.as_bytes().split_at(at);
        let (first, second, wait) = (Step::Send(first), Step::Send(second), Step::Wait(MOMENT));
        pair.check(&[first, wait, second], "three reads").await;
        pair.check(&[first, wait, Step::Stop, second], "reads and a stop").await;
        pair.check(&[first, wait, Step::Stop, wait, second], "a stop between reads").await;
        pair.check(&[first, Step::Wait(HEAD_TIME_MAX + MOMENT), second], "a slow client").await;
    }
    pair.compare_metrics("a read in two parts");
}

/// Test: servers with and without hyper (the HTTP library) answer a call of the AWS API alike, no
/// matter where the bytes of the call are split into two parts.
#[tokio::test(start_paused = true)]
async fn aws_api_calls_split_at_every_byte_are_answered_alike() {
    let (pair, _) = pair();
    for call in [AWS_API_READ, AWS_API_PARAMETER_READ] {
        let calls = call.repeat(2);
        for at in 0..=calls.len() {
            let (first, second) = calls.as_bytes().split_at(at);
            let (first, second, wait) = (Step::Send(first), Step::Send(second), Step::Wait(MOMENT));
            pair.check(&[first, wait, second], "two calls of the AWS API").await;
            pair.check(&[first, wait, Step::Stop, second], "two calls, and a stop").await;
            pair.check(&[first, Step::Wait(HEAD_TIME_MAX + MOMENT), second], "a slow client").await;
        }
    }
    pair.compare_metrics("a call in two parts");
}

/// A socket that counts how often it is flushed. Only hyper (the HTTP library) flushes the socket
/// after an answer, so the count shows whether hyper was used.
struct Flushes {
    socket: DuplexStream,
    count: Arc<AtomicUsize>,
}

impl AsyncRead for Flushes {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buf)
    }
}

impl AsyncWrite for Flushes {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.count.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

/// Test: after hyper (the HTTP library) has answered a read, it is not needed for later reads of
/// cached secrets on the same connection.
#[tokio::test(start_paused = true)]
async fn reads_after_a_read_by_hyper_need_no_hyper() {
    let (pair, _) = pair();
    let count = Arc::new(AtomicUsize::new(0));
    let (mut client, other) = duplex(PIPE_BYTES);
    let socket = Flushes { socket: other, count: count.clone() };
    let _served = pair.servers[0].serve(socket, &ConnectionSlots::new(1, 1), Ways::DirectAndHyper);
    let unusual = READ.replace("\r\n\r\n", "\r\nconnection: keep-alive, te\r\n\r\n");
    let describe = AWS_API_READ.replace("GetSecretValue", "DescribeSecret");
    let ping = READ.replace("/secretsmanager/get?secretId=x", "/ping");
    for (request, needs_hyper) in [
        // The first read fetches the secret.
        (READ, true),
        (READ, false),
        (AWS_API_READ, false),
        (&unusual, true),
        (READ, false),
        (PARAMETER_READ, true),
        (PARAMETER_READ, false),
        (AWS_API_PARAMETER_READ, false),
        // After a request that is not a read of one secret, hyper answers the next read, too.
        (&describe, true),
        (AWS_API_READ, true),
        (AWS_API_READ, false),
        (&ping, true),
        (READ, true),
        (READ, false),
    ] {
        let before = count.load(Ordering::Relaxed);
        client.write_all(request.as_bytes()).await.expect("the connection must be open");
        pair.clock.sleep(Duration::from_secs(1)).await;
        let mut answer = vec![0; PIPE_BYTES];
        let length = client.read(&mut answer).await.expect("the connection must be open");
        let answer = String::from_utf8_lossy(&answer[..length]);
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        let is_flushed = count.load(Ordering::Relaxed) > before;
        assert_eq!(is_flushed, needs_hyper, "{request}");
    }
}

/// Test: a client that reads slowly gets complete answers, even if it closes its sending direction,
/// or if the agent stops. If the client reads nothing, the server closes its connection.
#[tokio::test(start_paused = true)]
async fn slow_readers_get_complete_answers() {
    let (pair, _) = pair();
    // The first read fetches the secret, so that all later reads are answered from the cache.
    let first = [Step::Send(READ.as_bytes())];
    pair.check(&first, "the first read").await;
    for steps in [&[Step::Wait(HEAD_TIME_MAX * 3)][..], &[Step::Wait(MOMENT), Step::Stop]] {
        for ways in [Ways::DirectAndHyper, Ways::HyperOnly] {
            let mut client = pair.client(ways, SMALL_PIPE_BYTES);
            let send = client.socket.write_all(READ.as_bytes());
            send.await.expect("the connection must be open");
            client.take(steps, &pair.clock).await;
            let answers = client.fate().await.answers;
            let is_complete = answers.starts_with("HTTP/1.1 200 OK\r\n")
                && answers.contains("\r\ndate:\r\n\r\n{")
                && answers.ends_with("null}");
            assert!(is_complete, "{ways:?} {steps:?}: {answers}");
        }
    }
    for ways in [Ways::DirectAndHyper, Ways::HyperOnly] {
        let mut client = pair.client(ways, SMALL_PIPE_BYTES);
        let send = client.socket.write_all(READ.as_bytes());
        send.await.expect("the connection must be open");
        client.take(&[Step::Wait(IDLE_TICK * (IDLE_TICKS_MAX + 2))], &pair.clock).await;
        assert!(client.served.is_finished());
    }
}

/// Test: servers with and without hyper (the HTTP library) answer random input with the same
/// status, headers and body, close the connection alike, and have equal metrics. The last quarter
/// of the inputs reads outdated secrets.
#[tokio::test(start_paused = true)]
#[expect(
    clippy::disallowed_methods,
    reason = "CI sets the number of inputs with an environment variable"
)]
async fn random_input_is_answered_alike_with_and_without_hyper() {
    let cases = std::env::var(CASES_VARIABLE).ok().and_then(|cases| cases.parse().ok());
    let cases: u64 = cases.unwrap_or(CASES);
    let (pair, sources) = pair();
    for seed in 0..cases {
        if seed == cases / 4 * 3 {
            sources.iter().for_each(|source| source.is_down.store(true, Ordering::Relaxed));
            pair.clock.sleep(Duration::from_secs(600)).await;
        }
        let mut inputs = Inputs(fastrand::Rng::with_seed(seed));
        let bytes = inputs.bytes();
        pair.check(&inputs.steps(&bytes), &format!("random input {seed}")).await;
        if seed % COMPARED_AFTER == 0 {
            pair.compare_metrics(&format!("random input {seed}"));
        }
    }
    pair.compare_metrics("the last random input");
}

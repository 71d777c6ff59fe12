//! moto, an independent emulator of Secrets Manager. Tests compare Sidekey's responses with those
//! of moto.
//!
//! moto differs from AWS: a missing secret has status 404, `CreatedDate` is an integer, the content
//! type is `text/html`, signatures are not checked, and no call is throttled.
//!
//! ```ignore
//! let moto = Moto::start(&clients).await;
//! let secret = moto.create_secret("openai-api-key/whatsapp", r#"{"ai_api_key":"one"}"#).await;
//! // … SIDEKEY_ENDPOINT = moto.endpoint() …
//! let second = moto.put_secret_value(&secret.arn, r#"{"ai_api_key":"two"}"#).await;
//! ```

#![allow(dead_code, reason = "each test program that includes this file uses only a part of it")]

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{self, Child, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::clients::{Clients, killed_with_test, scratch, until};
use super::exchange;

/// The maximum time to wait until moto listens. This takes about two seconds, and ten on a busy
/// machine.
const START_WAIT_MAX: Duration = Duration::from_secs(60);

/// The header `Authorization` of requests to moto. moto reads the name of the AWS service from it,
/// and otherwise answers as the service S3.
const AUTHORIZATION: &str = "AWS4-HMAC-SHA256 \
    Credential=AKIAEXAMPLE/20260101/eu-north-1/secretsmanager/aws4_request, \
    SignedHeaders=host;x-amz-date;x-amz-target, Signature=0";

/// A running moto server. Dropping this value stops the server.
#[derive(Debug)]
pub(crate) struct Moto {
    port: u16,
    server: Child,
    log: PathBuf,
}

/// The ARN and the version id of a secret in moto.
#[derive(Debug)]
pub(crate) struct Secret {
    pub(crate) arn: String,
    pub(crate) version_id: String,
}

impl Moto {
    /// Starts moto on a free port, and waits until moto accepts connections.
    pub(crate) async fn start(clients: &Clients) -> Self {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let log = scratch().join(format!("moto-{}-{number}.log", process::id()));
        let output =
            File::create(&log).expect("the test must be able to write cargo's folder for tests");
        let server = killed_with_test(clients.moto_server())
            .args(["-H", "127.0.0.1", "-p", "0"])
            .env("PYTHONUNBUFFERED", "1")
            .stdin(Stdio::null())
            .stdout(
                output.try_clone().expect("the test must be able to clone the handle of the file"),
            )
            .stderr(output)
            .spawn()
            .expect("the test must be able to start moto");
        let mut moto = Self { port: 0, server, log };
        moto.port = until("moto listens", START_WAIT_MAX, || moto.announced_port()).await;
        moto
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Creates a secret whose value is a string.
    pub(crate) async fn create_secret(&self, name: &str, value: &str) -> Secret {
        let body = json!({"Name": name, "SecretString": value});
        Secret::from_answer(&self.call("CreateSecret", &body).await)
    }

    /// Creates a secret in the account of the role `role_arn`, with the credentials of this role.
    pub(crate) async fn create_secret_as(&self, role_arn: &str, name: &str, value: &str) {
        let form = format!(
            "Action=AssumeRole&Version=2011-06-15&RoleSessionName=tests&RoleArn={role_arn}"
        );
        let of_sts = AUTHORIZATION.replace("/secretsmanager/", "/sts/");
        let headers = [
            ("Content-Type", "application/x-www-form-urlencoded"),
            ("X-Amz-Date", "20260101T000000Z"),
            ("Authorization", &*of_sts),
        ];
        let answer = exchange::request(self.port, "POST", "/", &headers, form.as_bytes())
            .await
            .expect("moto answers the request");
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        let key = text.split("<AccessKeyId>").nth(1).and_then(|rest| rest.split('<').next());
        let key = key.unwrap_or_else(|| panic!("moto must issue credentials: {text}"));
        let body = json!({"Name": name, "SecretString": value});
        let authorization = AUTHORIZATION.replace("AKIAEXAMPLE", key);
        let (status, answer) = self.call_with(&authorization, "CreateSecret", &body).await;
        assert_eq!(status, 200, "CreateSecret: {answer}");
    }

    /// Adds a new current version to the secret with the name or ARN `id`.
    pub(crate) async fn put_secret_value(&self, id: &str, value: &str) -> Secret {
        let body = json!({"SecretId": id, "SecretString": value});
        Secret::from_answer(&self.call("PutSecretValue", &body).await)
    }

    /// Calls an operation of Secrets Manager, and returns the body of the response. Panics if the
    /// HTTP status is not 200.
    pub(crate) async fn call(&self, operation: &str, body: &Value) -> Value {
        let (status, answer) = self.try_call(operation, body).await;
        assert_eq!(status, 200, "{operation}: {answer}");
        answer
    }

    /// Calls an operation of Secrets Manager, and returns the HTTP status and the body of the
    /// response.
    pub(crate) async fn try_call(&self, operation: &str, body: &Value) -> (u16, Value) {
        self.call_with(AUTHORIZATION, operation, body).await
    }

    async fn call_with(&self, authorization: &str, operation: &str, body: &Value) -> (u16, Value) {
        let headers = [
            ("X-Amz-Target", &*format!("secretsmanager.{operation}")),
            ("Content-Type", "application/x-amz-json-1.1"),
            ("X-Amz-Date", "20260101T000000Z"),
            ("Authorization", authorization),
        ];
        let body = body.to_string();
        let answer = exchange::request(self.port, "POST", "/", &headers, body.as_bytes())
            .await
            .expect("moto answers the request");
        (answer.status, answer.json())
    }

    /// Returns the port that moto has written to its log, or `None` if moto has not started yet.
    fn announced_port(&mut self) -> Option<u16> {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        if let Ok(Some(status)) = self.server.try_wait() {
            panic!("moto exited with {status}; its log:\n{log}");
        }
        let (_, rest) = log.split_once("Running on http://127.0.0.1:")?;
        rest.split_once('\n')?.0.trim().parse().ok()
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
        let _ = fs::remove_file(&self.log);
    }
}

impl Secret {
    #[track_caller]
    fn from_answer(answer: &Value) -> Self {
        let text = |key: &str| {
            answer[key]
                .as_str()
                .expect("the response of moto must contain the ARN and the version id")
                .to_owned()
        };
        Self { arn: text("ARN"), version_id: text("VersionId") }
    }
}

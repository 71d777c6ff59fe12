//! The libraries of OpenAI, SendGrid and Twilio, unmodified, call a fake of these services through
//! routes. The services use TLS with a private certificate authority. The libraries run under
//! `sidekey exec`, so that the programs need no code for their tokens.

use crate::clients::{MissingTool, install_into_folder, path};
use crate::support::agent::{Setup, Sidekey, TOKEN};
use crate::support::clock::ManualClock;
use crate::support::memory::Memory;
use crate::support::program::SIDEKEY;
use crate::support::upstream::{Authority, Body, Seen, Upstream, answer};
use crate::support::{TempFolder, fake, with_timeout};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fake_aws::Fake;
use hyper::Response;
use serde_json::{Value, json};
use std::fs;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;

const OPENAI_KEY: &str = "sk-proj-quartz-ember-fjord-anvil-0001";
const SENDGRID_KEY: &str = "SG.quartz-ember-fjord-anvil-0002";
const TWILIO_TOKEN: &str = "quartz-ember-fjord-anvil-0003";

/// The pieces of an answer of OpenAI that streams.
const EVENTS: [&str; 4] = [
    r#"{"id":"1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"Hel"},"finish_reason":null}]}"#,
    r#"{"id":"1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"lo!"},"finish_reason":null}]}"#,
    r#"{"id":"1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
    "[DONE]",
];

/// Answers like OpenAI, SendGrid or Twilio.
fn service(seen: &Seen) -> Response<Body> {
    let basic = format!("Basic {}", STANDARD.encode(format!("AC1:{TWILIO_TOKEN}")));
    let (expected, status, body) = match &*seen.target {
        "/v1/chat/completions" => (format!("Bearer {OPENAI_KEY}"), 200, chat(seen)),
        "/v1/files" => (format!("Bearer {OPENAI_KEY}"), 200, file(seen)),
        "/v3/mail/send" => (format!("Bearer {SENDGRID_KEY}"), 202, String::new()),
        "/2010-04-01/Accounts/AC1/Messages.json" => {
            let is_complete = seen.body.windows(5).any(|part| part == b"Hello");
            let sid = if is_complete { "SM1" } else { "incomplete" };
            (basic, 201, json!({ "sid": sid, "account_sid": "AC1" }).to_string())
        }
        _ => (String::new(), 404, "{}".to_owned()),
    };
    if seen.header("authorization") != Some(&*expected) {
        return answer(401, &[("content-type", "application/json")], "{\"message\":\"wrong key\"}");
    }
    let kind = if body.starts_with("data: ") { "text/event-stream" } else { "application/json" };
    answer(status, &[("content-type", kind)], body)
}

fn chat(seen: &Seen) -> String {
    let request: Value = serde_json::from_slice(&seen.body).expect("the library sends JSON");
    if request["stream"] == true {
        return EVENTS.map(|event| format!("data: {event}\n\n")).concat();
    }
    let message = json!({ "role": "assistant", "content": "Hello!" });
    let choice = json!({ "index": 0, "finish_reason": "stop", "message": message });
    json!({ "id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice] })
        .to_string()
}

fn file(seen: &Seen) -> String {
    let bytes = seen.body.iter().filter(|byte| **byte == b'x').count() / 1_000_000 * 1_000_000;
    json!({
        "id": "file-1", "object": "file", "bytes": bytes, "created_at": 1,
        "filename": "data.jsonl", "purpose": "batch", "status": "processed",
    })
    .to_string()
}

/// A fake of AWS with the secrets, and an agent whose routes lead to a fake of the services.
struct Services {
    _upstream: Upstream,
    _fake: Fake,
    _folder: TempFolder,
    sidekey: Sidekey,
}

impl Services {
    async fn start() -> Self {
        let authority = Authority::new();
        let upstream = Upstream::with_tls(Some(authority.tls), service).await;
        let clock = ManualClock::new();
        let fake = fake(&clock).await;
        for (name, value) in [
            ("openai-api-key/sms", json!({ "ai_api_key": OPENAI_KEY })),
            (
                "email-credentials/acme/support/sendgrid",
                json!({
                    "sendgrid_auth_value": SENDGRID_KEY, "sendgrid_from_email": "a@b.example",
                    "sendgrid_from_name": "A", "sendgrid_template_id": "d-1",
                }),
            ),
            (
                "whatsapp-credentials/acme/support/twilio",
                json!({
                    "twilio_account_sid": "AC1", "twilio_auth_token": TWILIO_TOKEN,
                    "twilio_template_sid": "HX1",
                }),
            ),
            (
                "sms-credentials/acme/support/twilio",
                json!({
                    "twilio_account_sid": "AC1", "twilio_auth_token": TWILIO_TOKEN,
                    "twilio_template_sid": "HX1",
                }),
            ),
        ] {
            fake.secrets()
                .create(name, value.to_string())
                .expect("the fake must create the secret");
        }
        let folder = TempFolder::new();
        let routes = ["openai", "sendgrid", "twilio"].map(|name| {
            format!("[[route]]\nname = \"{name}\"\nupstream = \"{}\"\n", upstream.url())
        });
        let config = folder.write("sidekey.toml", &routes.concat());
        let bundle = folder.write("authority.pem", &authority.pem);
        let setup = Setup::for_fake(&fake, &clock)
            .with("SIDEKEY_CONFIG", config.display())
            .with("AWS_CA_BUNDLE", bundle.display())
            .with("SIDEKEY_SECRETS", "openai-api-key/sms email-credentials/acme/support/sendgrid");
        let sidekey = setup.start().await;
        Self { _upstream: upstream, _fake: fake, _folder: folder, sidekey }
    }
}

/// Runs the client program `command` under `sidekey exec`, and checks the result of each step. Then
/// checks that no key is in the program's memory, variables and output.
async fn check(command: &[&str]) {
    let services = Services::start().await;
    let sidekey = &services.sidekey;
    let mut program = Command::new(SIDEKEY);
    program
        .args(["exec", "--"])
        .args(command)
        .env_clear()
        .env("PATH", path())
        .env("LANG", "C.UTF-8")
        .env("SIDEKEY_PORT", sidekey.address.port().to_string())
        .env("SIDEKEY_TOKEN", TOKEN)
        .env("ORDINARY_TOKEN", TOKEN)
        .env("OPENAI_API_KEY", "sidekey:to:openai")
        .env("OPENAI_BASE_URL", "sidekey:to:openai#url")
        .env("SENDGRID_API_KEY", "sidekey:to:sendgrid")
        .env("SENDGRID_URL", "sidekey:to:sendgrid#url")
        .env("TWILIO_AUTH_TOKEN", "sidekey:to:twilio")
        .env("TWILIO_URL", "sidekey:to:twilio@sms-credentials/acme/support/twilio#url")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    let mut child = program.spawn().expect("the test must be able to start the program");
    let mut steps = child.stdin.take().expect("the stream must be a pipe");
    let output = child.stdout.take().expect("the stream must be a pipe");
    let mut lines = BufReader::new(output).lines();
    let mut printed = String::new();
    let mut step = async |name: &str, printed: &mut String| {
        steps.write_all(format!("{name}\n").as_bytes()).await.expect("the program reads");
        let line = with_timeout(name, lines.next_line()).await.expect("the output is UTF-8");
        let line = line.expect("the program must print a line for each step");
        printed.push_str(&line);
        serde_json::from_str::<Value>(&line).expect("the line is JSON")
    };
    for (name, expected) in [
        ("plain", json!("Hello!")),
        ("stream", json!("Hello!")),
        ("upload", json!(2_000_000)),
        ("mail", json!(202)),
        ("message", json!("SM1")),
    ] {
        assert_eq!(step(name, &mut printed).await, expected, "{command:?}: {name}");
    }
    let id = child.id().expect("the program must still run");
    let variables = fs::read(format!("/proc/{id}/environ")).expect("the program must still run");
    let texts = String::from_utf8_lossy(&variables) + &*printed;
    let memory = match Memory::of(id) {
        Ok(memory) => memory,
        Err(error) => {
            return MissingTool::new(error)
                .context("the permission to read the memory of another process")
                .skip_or_fail();
        }
    };
    for key in [OPENAI_KEY, SENDGRID_KEY, TWILIO_TOKEN] {
        assert!(!texts.contains(key), "{command:?}: a key is in the variables or the output");
        assert_eq!(memory.count(key.as_bytes()), 0, "{command:?}: a key is in the memory");
    }
    // The same search finds a key that the program reads in the ordinary way.
    assert_eq!(step("read", &mut printed).await, json!(OPENAI_KEY.len()));
    assert_ne!(memory.count(OPENAI_KEY.as_bytes()), 0, "{command:?}: the search must find the key");
}

#[tokio::test]
async fn libraries_for_python_work_without_keys() {
    let files = [
        ("client.py", include_str!("calls_libraries/python/client.py")),
        ("requirements.txt", include_str!("calls_libraries/python/requirements.txt")),
    ];
    let install = "python3 -m venv venv && venv/bin/pip install --quiet -r requirements.txt";
    let folder = match install_into_folder("calls-python", &files, &[&["sh", "-c", install]]) {
        Ok(folder) => folder,
        Err(missing) => return missing.skip_or_fail(),
    };
    let (python, script) = (folder.join("venv/bin/python"), folder.join("client.py"));
    check(&[&python.to_string_lossy(), &script.to_string_lossy()]).await;
}

#[tokio::test]
async fn libraries_for_node_work_without_keys() {
    let files = [
        ("client.mjs", include_str!("calls_libraries/node/client.mjs")),
        ("package.json", include_str!("calls_libraries/node/package.json")),
        ("package-lock.json", include_str!("calls_libraries/node/package-lock.json")),
    ];
    let install = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
    let folder = match install_into_folder("calls-node", &files, &[&install]) {
        Ok(folder) => folder,
        Err(missing) => return missing.skip_or_fail(),
    };
    check(&["node", &folder.join("client.mjs").to_string_lossy()]).await;
}

/// Runs an example processor, which sends two messages. The secret of the second does not exist.
async fn check_example(mut command: Command, channel: &str) {
    let services = Services::start().await;
    let record = |id: &str, company: &str| {
        let reference = format!("{channel}-credentials/{company}/support/twilio");
        let body = json!({
            "question": "Hello", "to": "+1",
            "channel_config": { channel: { "credentials_id": reference } },
            "ai_config": { "ai_api_key_reference": "openai-api-key/sms" },
        });
        json!({ "messageId": id, "body": body.to_string() })
    };
    let event = json!({ "Records": [record("m-1", "acme"), record("m-2", "other")] });
    command
        .env_clear()
        .env("PATH", path())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("SIDEKEY_PORT", services.sidekey.address.port().to_string())
        .env("AWS_SESSION_TOKEN", TOKEN)
        .env("EVENT", event.to_string())
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    let output = with_timeout("the example ends", command.output()).await;
    let output = output.expect("the test must be able to start the program");
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().last().unwrap_or_default();
    let result: Value = serde_json::from_str(last).unwrap_or_else(|_| panic!("{output:?}"));
    let expected = json!({ "batchItemFailures": [{ "itemIdentifier": "m-2" }], "sent": ["SM1"] });
    assert_eq!(result, expected, "{output:?}");
}

#[tokio::test]
async fn example_for_python_sends_through_routes() {
    let script = "import json, os, sys; sys.path.insert(0, 'examples/python'); import routes; \
                  print(json.dumps(routes.handle(json.loads(os.environ['EVENT']), None)))";
    let mut command = Command::new("python3");
    command.args(["-c", script]);
    check_example(command, "whatsapp").await;
}

#[tokio::test]
async fn example_for_node_sends_through_routes() {
    let script = "import { handle } from './examples/node/routes.mjs'; \
                  console.log(JSON.stringify(await handle(JSON.parse(process.env.EVENT))))";
    let mut command = Command::new("node");
    command.args(["--input-type=module", "--eval", script]);
    check_example(command, "sms").await;
}

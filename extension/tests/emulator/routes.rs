//! Tests a route (calls to one external API). The wrapper script fills variables with the token and
//! the URL of the route, so that a function calls the API without the API's key and without code
//! for Sidekey.

use crate::emulator::Mode;
use crate::lambda::fake;
use crate::wrapper::start;
use serde_json::json;
use std::fs;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const SECRET: &str = "openai-api-key/email";
const KEY: &str = "sk-key-of-the-service";

/// Simulates the external API: answers each request with `fine`, and appends it to `received`.
async fn serve(listener: TcpListener, received: Arc<Mutex<Vec<u8>>>) {
    while let Ok((mut socket, _)) = listener.accept().await {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            if socket.read_buf(&mut request).await.is_ok_and(|bytes| bytes == 0) {
                break;
            }
        }
        received.lock().expect("no thread may panic while it holds the lock").extend(request);
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nfine";
        let _ = socket.write_all(answer).await;
    }
}

#[tokio::test]
async fn wrapped_function_calls_a_service_without_its_key() {
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port must be available");
    let upstream = listener.local_addr().expect("the listener must be bound");
    let received = Arc::new(Mutex::new(Vec::new()));
    let serving = tokio::spawn(serve(listener, received.clone()));
    let fake = fake().await;
    let value = format!("{{\"ai_api_key\":\"{KEY}\"}}");
    fake.secrets().create(SECRET, value).expect("the name must be new");
    let file = std::env::temp_dir().join(format!("sidekey-routes-{}.toml", std::process::id()));
    let route = format!("[[route]]\nname = \"openai\"\nupstream = \"http://{upstream}\"\n");
    fs::write(&file, route).expect("the folder for temporary files must be writable");

    let token = format!("sidekey:to:openai@{SECRET}");
    let url = format!("{token}#url");
    let variables = [
        ("OPENAI_API_KEY", &*token),
        ("OPENAI_BASE_URL", &url),
        ("SIDEKEY_CONFIG", "/opt/sidekey/sidekey.toml"),
        ("SIDEKEY_SECRETS", SECRET),
    ];
    let files = [("/opt/sidekey/sidekey.toml", &*file)];
    let mut emulator = match start(Mode::OnDemand, &fake, &variables, &files).await {
        Ok(emulator) => emulator,
        Err(missing) => return missing.skip_or_fail(),
    };
    let event = json!({"variables": ["OPENAI_API_KEY", "OPENAI_BASE_URL"], "call": "/models"});
    let (status, answer) = emulator.invoke(&event).await;
    assert_eq!((status, &answer["answer"]), (200, &json!("fine")), "{answer}\n{}", emulator.log());
    let variables = &answer["variables"];
    let token =
        variables["OPENAI_API_KEY"].as_str().expect("the variable OPENAI_API_KEY must be set");
    assert!(token.starts_with("sk-phantom-"), "{token}");
    let end = "/to/openai@openai%2Dapi%2Dkey%2Femail/v1";
    let expected = format!("http://127.0.0.1:{}{end}", emulator.sidekey_port());
    assert_eq!(variables["OPENAI_BASE_URL"], expected);
    let received = received.lock().expect("no thread may panic while it holds the lock").clone();
    let received = String::from_utf8_lossy(&received).into_owned();
    assert!(received.starts_with("GET /v1/models HTTP/1.1\r\n"), "{received}");
    assert!(received.contains(&format!("Bearer {KEY}\r\n")), "{received}");
    assert!(
        !received.contains(token),
        "the agent must not send the phantom token to the API: {received}"
    );
    assert!(!emulator.log().contains(KEY), "{}", emulator.log());
    assert_eq!(emulator.shutdown().await.exit_code, Some(0), "{}", emulator.log());
    let _ = fs::remove_file(file);
    serving.abort();
    fake.stop().await;
}

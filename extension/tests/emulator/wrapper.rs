//! Tests a Lambda function whose environment variables are filled with secrets. The function does
//! not know Sidekey: the variable `AWS_LAMBDA_EXEC_WRAPPER` makes Lambda start a script of Sidekey
//! first.

use crate::clients::{Clients, MissingTool};
use crate::emulator::{Emulator, Environment, Mode};
use crate::lambda::{LISTED, fake};
use fake_aws::{Fake, Operation};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

/// The path of the wrapper script in Sidekey's Lambda layer.
const WRAPPER: &str = "/opt/sidekey/exec-wrapper";

/// Starts a Lambda environment with the test function. `variables` are environment variables that
/// can refer to secrets, such as `DB=sidekey:app/db`. `files` are further files of the layers:
/// their paths in the environment and on this machine.
pub(crate) async fn start(
    mode: Mode,
    fake: &Fake,
    variables: &[(&str, &str)],
    files: &[(&str, &Path)],
) -> Result<Emulator, MissingTool> {
    const PACKAGE: &str = env!("CARGO_MANIFEST_DIR");
    let clients = Clients::install()?;
    let extension = Path::new(env!("CARGO_BIN_EXE_sidekey-extension"));
    let function = Path::new(PACKAGE).join("tests/wrapped");
    let script = Path::new(PACKAGE).join("layer/sidekey/exec-wrapper");
    let environment = Environment::new(mode, extension, &function)
        .file(WRAPPER, &script)
        .env("AWS_LAMBDA_EXEC_WRAPPER", WRAPPER)
        .env("SIDEKEY_ENDPOINT", fake.url())
        .env("SIDEKEY_SECRETS", LISTED.join(","))
        .env("PLAIN", "as it was");
    let set =
        |environment: Environment, (name, value): &(&str, &str)| environment.env(name, *value);
    let environment = variables.iter().fold(environment, set);
    let add = |environment: Environment, (path, from): &(&str, &Path)| environment.file(path, from);
    Emulator::start(&clients, &files.iter().fold(environment, add)).await
}

/// Checks that the function finds a complete secret in one variable, a field of a secret in another
/// variable, and an unchanged variable.
async fn fills_variables(mode: Mode) {
    let fake = fake().await;
    // The latency is longer than the start of the runtime, so the wrapper has to wait.
    fake.faults().set_latency(Duration::from_millis(300));
    let full_value = format!("sidekey:{}", LISTED[0]);
    let field = format!("sidekey:{}#key", LISTED[1]);
    let started = start(mode, &fake, &[("WHOLE", &full_value), ("FIELD", &field)], &[]).await;
    let mut emulator = match started {
        Ok(emulator) => emulator,
        Err(missing) => return missing.skip_or_fail(),
    };
    let event = json!({"variables": ["WHOLE", "FIELD", "PLAIN", "AWS_LAMBDA_EXEC_WRAPPER"]});
    let (status, answer) = emulator.invoke(&event).await;
    assert_eq!(status, 200, "{answer}\n{}", emulator.log());
    let expected = json!({
        "variables": {
            "WHOLE": format!("{{\"key\":\"value of {}\"}}", LISTED[0]),
            "FIELD": format!("value of {}", LISTED[1]),
            "PLAIN": "as it was",
            "AWS_LAMBDA_EXEC_WRAPPER": WRAPPER,
        },
        "arguments": ["an argument"],
    });
    assert_eq!(answer, expected, "{}", emulator.log());
    let calls = fake.calls().count_for(Operation::GetSecretValue, LISTED[2]);
    assert!(calls > 0, "the extension must also prefetch the secrets of SIDEKEY_SECRETS");
    let is_logged = |name: &&str| emulator.log().contains(&format!("value of {name}"));
    assert!(!LISTED.iter().any(is_logged), "{}", emulator.log());
    assert_eq!(emulator.shutdown().await.exit_code, Some(0), "{}", emulator.log());
    fake.stop().await;
}

#[tokio::test]
async fn on_demand() {
    fills_variables(Mode::OnDemand).await;
}

#[tokio::test]
async fn snap_start() {
    fills_variables(Mode::SnapStart).await;
}

/// If a variable cannot be filled with a secret, the function's runtime must not start, and the log
/// must name the variable and the reason.
#[tokio::test]
async fn unresolved_variables_are_logged() {
    let fake = fake().await;
    let references = [
        ("MISSING", "sidekey:app/missing"),
        ("MALFORMED", "sidekey:app db"),
        ("QUOTED", "\"sidekey:app/db#user\""),
    ];
    let emulator = match start(Mode::OnDemand, &fake, &references, &[]).await {
        Ok(emulator) => emulator,
        Err(missing) => return missing.skip_or_fail(),
    };
    let (_, answer) = emulator.invoke(&json!({"variables": ["PLAIN"]})).await;
    assert_eq!(answer["variables"], Value::Null, "{answer}");
    emulator.log_line("MISSING: ResourceNotFoundException").await;
    emulator.log_line("MALFORMED: the text after 'sidekey:' is not a valid reference to a secret: character 4").await;
    emulator.log_line("QUOTED: the text looks like a reference to a secret").await;
    fake.stop().await;
}

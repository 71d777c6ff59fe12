//! Starts a Lambda environment for tests: Lambda's emulator, Sidekey's extension, a test function,
//! and a fake of Secrets Manager.

use crate::clients::{Clients, MissingTool};
use crate::emulator::{Emulator, Environment, Mode, SESSION_TOKEN};
use fake_aws::{Fake, Operation};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

/// The names of the secrets that the agent prefetches in these tests. The test function reads the
/// first secret in its static initialisation.
pub(crate) const LISTED: [&str; 3] = [
    "openai-api-key/whatsapp",
    "whatsapp-credentials/cucumber-recruitment/cv-analysis/twilio",
    "openai-api-key/sms",
];

pub(crate) struct Lambda {
    pub(crate) fake: Fake,
    pub(crate) emulator: Emulator,
}

/// Returns a function that reads the machine's clock. The fake of Secrets Manager uses this time as
/// the creation time of secrets' versions.
pub(crate) fn time_of_day() -> Arc<dyn Fn() -> SystemTime + Send + Sync> {
    #[expect(clippy::disallowed_methods, reason = "third-party processes run in real time")]
    Arc::new(SystemTime::now)
}

/// Starts a fake of Secrets Manager that has the secrets in [`LISTED`].
pub(crate) async fn fake() -> Fake {
    let fake = Fake::start(time_of_day()).await.expect("a free port must be available");
    for name in LISTED {
        fake.secrets()
            .create(name, format!("{{\"key\":\"value of {name}\"}}"))
            .expect("the fake of AWS must not contain this secret yet");
    }
    fake
}

/// Starts Lambda's emulator with Sidekey's extension and the test function. `set` can add
/// environment variables.
pub(crate) async fn start(
    mode: Mode,
    fake: Fake,
    set: impl FnOnce(Environment) -> Environment,
) -> Result<Lambda, MissingTool> {
    let clients = Clients::install()?;
    let extension = Path::new(env!("CARGO_BIN_EXE_sidekey-extension"));
    let function = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/function"));
    let environment = Environment::new(mode, extension, function)
        .env("SIDEKEY_ENDPOINT", fake.url())
        .env("SIDEKEY_SECRETS", LISTED.join(","))
        .env("FUNCTION_INIT_SECRET", LISTED[0]);
    let emulator = Emulator::start(&clients, &set(environment)).await?;
    Ok(Lambda { fake, emulator })
}

impl Lambda {
    /// Invokes the test function, which reads the secrets in `references` from the agent. Returns
    /// the function's answer.
    pub(crate) async fn invoke(&self, references: &[&str]) -> Value {
        let event = json!({"references": references, "metrics": true});
        let (status, answer) = self.emulator.invoke(&event).await;
        assert_eq!(status, 200, "{answer}\n{}", self.emulator.log());
        answer
    }

    /// Returns how many calls for one secret the fake of Secrets Manager has received.
    pub(crate) fn calls_for(&self, name: &str) -> u64 {
        self.fake.calls().count_for(Operation::GetSecretValue, name)
    }

    /// Requests `path` from the agent with a valid token, and returns the body of the agent's
    /// response.
    pub(crate) async fn page(&self, path: &str) -> String {
        let headers = [("X-Aws-Parameters-Secrets-Token", SESSION_TOKEN)];
        self.emulator.ask_sidekey(path, &headers).await.text().to_owned()
    }

    /// Makes Lambda's emulator end the environment, and checks that the extension exits with code
    /// 0.
    pub(crate) async fn shut_down(mut self) {
        let shutdown = self.emulator.shutdown().await;
        #[expect(
            clippy::print_stdout,
            reason = "the duration is only printed, because it depends on the machine"
        )]
        {
            println!("the shutdown of the extension and the function took {:?}", shutdown.took);
        }
        assert_eq!(shutdown.exit_code, Some(0), "{}", self.emulator.log());
        self.fake.stop().await;
    }
}

/// Starts a Lambda environment for a test. If a required tool is missing, prints the reason and
/// ends the test as skipped.
macro_rules! start_or_skip {
    ($($argument:expr),+ $(,)?) => {
        match crate::lambda::start($($argument),+).await {
            Ok(lambda) => lambda,
            Err(missing) => return missing.skip_or_fail(),
        }
    };
}
pub(crate) use start_or_skip;

//! A Lambda environment with Sidekey in it, in front of the fake of Secrets Manager.

use crate::clients::{Clients, MissingTool};
use crate::emulator::{Emulator, Environment, Mode, SESSION_TOKEN};
use fake_aws::{Fake, Operation};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

/// The secrets that the function's configuration lists; the first one it reads in its static
/// initialisation.
pub(crate) const LISTED: [&str; 3] = [
    "openai-api-key/whatsapp",
    "whatsapp-credentials/cucumber-recruitment/cv-analysis/twilio",
    "openai-api-key/sms",
];

pub(crate) struct Lambda {
    pub(crate) fake: Fake,
    pub(crate) emulator: Emulator,
}

/// The machine's clock, by which the fake dates its versions.
pub(crate) fn time_of_day() -> Arc<dyn Fn() -> SystemTime + Send + Sync> {
    #[expect(clippy::disallowed_methods, reason = "other people's processes keep real time")]
    Arc::new(SystemTime::now)
}

/// Starts a fake that holds the listed secrets.
pub(crate) async fn fake() -> Fake {
    let fake = Fake::start(time_of_day()).await.expect("a free port can be bound");
    for name in LISTED {
        fake.secrets()
            .create(name, format!("{{\"key\":\"value of {name}\"}}"))
            .expect("the secret name is unused");
    }
    fake
}

/// Starts an environment around the function, whose variables `set` completes.
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
    /// Invokes the function, which reads `references`, and returns its answer.
    pub(crate) async fn invoke(&self, references: &[&str]) -> Value {
        let event = json!({"references": references, "metrics": true});
        let (status, answer) = self.emulator.invoke(&event).await;
        assert_eq!(status, 200, "{answer}\n{}", self.emulator.log());
        answer
    }

    /// Returns how often upstream was asked for one secret.
    pub(crate) fn calls_for(&self, name: &str) -> u64 {
        self.fake.calls().count_for(Operation::GetSecretValue, name)
    }

    /// Asks the agent for a page, as somebody who has the token.
    pub(crate) async fn page(&self, path: &str) -> String {
        let headers = [("X-Aws-Parameters-Secrets-Token", SESSION_TOKEN)];
        self.emulator.ask_sidekey(path, &headers).await.text().to_owned()
    }

    /// Has Lambda end the environment, and checks that the extension went along in time.
    pub(crate) async fn shut_down(mut self) {
        let shutdown = self.emulator.shutdown().await;
        #[expect(clippy::print_stdout, reason = "a figure to look at, which no test may fail by")]
        {
            println!("shutdown took {:?}, the function's own end included", shutdown.took);
        }
        assert_eq!(shutdown.exit_code, Some(0), "{}", self.emulator.log());
        self.fake.stop().await;
    }
}

/// Starts an environment or ends the test, with a line that says why it was skipped.
macro_rules! started {
    ($($argument:expr),+ $(,)?) => {
        match crate::lambda::start($($argument),+).await {
            Ok(lambda) => lambda,
            Err(missing) => return missing.skip_or_fail(),
        }
    };
}
pub(crate) use started;

//! An agent with a route, a fake of AWS with the secret of the route, and a server for the route.

use super::agent::{Setup, Sidekey};
use super::client::{Answer, request};
use super::clock::ManualClock;
use super::upstream::{Upstream, answer};
use super::{TempFolder, fake};
use fake_aws::Fake;
use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) const SECRET: &str = "crm-key/production";
pub(crate) const KEY: &str = "sk-crm-0123456789abcdef";

/// The value of the secret of the route `crm`.
pub(crate) fn value(key: &str) -> String {
    format!(r#"{{"api_key":"{key}","user":"user-1"}}"#)
}

/// A fake of AWS with the secret of the route `crm`, and an agent with routes.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) fake: Fake,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) sidekey: Sidekey,
    /// The environment variables of the agent, for a second agent.
    pub(crate) vars: BTreeMap<String, String>,
    pub(crate) folder: TempFolder,
}

impl Scene {
    /// Starts an agent whose configuration file is `toml`.
    pub(crate) async fn start(toml: &str) -> Self {
        Self::with(toml, |setup| setup).await
    }

    pub(crate) async fn with(toml: &str, change: impl FnOnce(Setup) -> Setup) -> Self {
        let clock = ManualClock::new();
        let fake = fake(&clock).await;
        fake.secrets().create(SECRET, value(KEY)).expect("the fake must create the secret");
        let folder = TempFolder::new();
        let path = folder.write("sidekey.toml", toml);
        let setup = Setup::for_fake(&fake, &clock).with("SIDEKEY_CONFIG", path.display());
        let setup = change(setup);
        let vars = setup.vars().clone();
        let sidekey = setup.start().await;
        Self { fake, clock, sidekey, vars, folder }
    }

    pub(crate) async fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        self.sidekey.connect().await.exchange(request(method, path, headers, body)).await
    }

    /// Sends a GET request with the ordinary token.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.sidekey.get(path).await
    }

    /// Asks the agent for the phantom token of a route.
    pub(crate) async fn phantom(&self, route: &str) -> String {
        let description = self.get(&format!("/to/{route}")).await.json();
        description["token"].as_str().expect("the token is a string").to_owned()
    }
}

/// Returns a configuration file with the route `crm` to `upstream`. `rest` has further keys.
pub(crate) fn crm(upstream: &Upstream, rest: &str) -> String {
    let url = upstream.url();
    format!("[[route]]\nname = \"crm\"\nupstream = \"{url}\"\nsecret = \"{SECRET}\"\n{rest}\n")
}

pub(crate) const BEARER: &str = "bearer = \"#api_key\"";

pub(crate) async fn ok() -> Upstream {
    Upstream::start(|_| answer(200, &[], "fine")).await
}

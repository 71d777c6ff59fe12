//! Watches the secrets file of `sidekey dev`, and prints a line when Sidekey serves a changed
//! secret.

use super::secrets::{Secrets, path_of};
use crate::client::Client;
use crate::clock::{Clock, Moment};
use fake_aws::Fake;
use hyper::header::{ETAG, HeaderValue};
use std::collections::BTreeMap;
use std::time::Duration;

/// The interval at which `sidekey dev` checks the secrets file and reads the secrets from the
/// agent.
const INTERVAL: Duration = Duration::from_millis(250);

/// Applies each change of the secrets file to the fake of Secrets Manager. Reads every secret from
/// Sidekey, as a function does, and prints a line when Sidekey serves a new version.
///
/// Runs until a read fails or the future is dropped.
pub(super) async fn run(
    clock: &dyn Clock,
    fake: &Fake,
    mut secrets: Secrets,
    client: &mut Client,
    print: fn(&str),
) -> anyhow::Result<()> {
    let mut versions = BTreeMap::new();
    let mut changed_at: Option<Moment> = None;
    loop {
        match secrets.reload() {
            Ok(true) => {
                changed_at = Some(clock.now());
                let changes = fake.secrets().apply(secrets.seed());
                print(&format!(
                    "The secrets file changed: {} created, {} updated, {} removed\n",
                    changes.created.len(),
                    changes.updated.len(),
                    changes.removed.len()
                ));
            }
            Ok(false) => {}
            Err(error) => print(&format!(
                "Could not reload the secrets file, so Sidekey keeps the old secrets: {error:#}\n"
            )),
        }
        let names: Vec<String> = secrets.names().map(str::to_owned).collect();
        for name in names {
            if let Some(version) = client.get(&path_of(&name)).await?.headers.remove(ETAG) {
                let before = versions.insert(name.clone(), version.clone());
                if before.is_some_and(|before| before != version) {
                    print(&new_version_line(
                        &name,
                        &version,
                        changed_at.and_then(|at| clock.now().since(at)),
                    ));
                }
            }
        }
        clock.sleep(INTERVAL).await;
    }
}

fn new_version_line(name: &str, version: &HeaderValue, after: Option<Duration>) -> String {
    let version = version.to_str().unwrap_or_default().trim_matches('"').to_owned();
    let after = after.map(|after| format!(", {:.1} s after the change", after.as_secs_f64()));
    format!("Sidekey now serves {name} version {version}{}\n", after.unwrap_or_default())
}

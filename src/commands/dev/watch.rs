//! Watches the secrets file of `sidekey dev`, and prints a line when Sidekey serves a changed
//! secret.

use super::secrets::{Secrets, path_of};
use crate::client::Client;
use crate::clock::{Clock, Moment};
use fake_aws::Fake;
use hyper::header::{ETAG, HeaderValue};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

/// The pause between two checks for changes of the secrets file.
const INTERVAL: Duration = Duration::from_millis(250);

/// Copies each change of the secrets file to the fake Secrets Manager, and prints a line when
/// Sidekey serves the new version of a secret.
///
/// Runs until a read fails or the caller drops the future.
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
                let changes = fake.apply(secrets.seed());
                print(&format!(
                    "The secrets file has changed: {} values were created, {} updated and {} removed\n",
                    changes.created.len(),
                    changes.updated.len(),
                    changes.removed.len()
                ));
            }
            Ok(false) => {}
            Err(error) => print(&format!(
                "Sidekey could not reload the secrets file and keeps the old secrets: {error:#}\n"
            )),
        }
        let names: Vec<String> = secrets.names().map(Cow::into_owned).collect();
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
    match after.map(|after| after.as_secs_f64()) {
        Some(seconds) => format!(
            "Sidekey now serves a new version of {name}: {version}, {seconds:.1} s after the file \
             changed\n"
        ),
        None => format!("Sidekey now serves a new version of {name}: {version}\n"),
    }
}

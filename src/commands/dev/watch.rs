//! Watches the file of secrets, and Sidekey picking up what changes.

use super::path_of;
use super::secrets::Secrets;
use crate::client::Client;
use crate::clock::{Clock, Moment};
use fake_aws::Fake;
use hyper::header::{ETAG, HeaderValue};
use std::collections::BTreeMap;
use std::time::Duration;

/// How often file and agent are looked at.
const EVERY: Duration = Duration::from_millis(250);

/// Applies each change of the file to the embedded Secrets Manager, reads every secret through
/// Sidekey like a function would, and tells when a new version shows. It never ends by itself.
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
                    "The file has changed: {} created, {} updated, {} removed\n",
                    changes.created.len(),
                    changes.updated.len(),
                    changes.removed.len()
                ));
            }
            Ok(false) => {}
            Err(error) => print(&format!("The file is left aside: {error:#}\n")),
        }
        let names: Vec<String> = secrets.names().map(str::to_owned).collect();
        for name in names {
            if let Some(version) = client.get(&path_of(&name)).await?.headers.remove(ETAG) {
                let before = versions.insert(name.clone(), version.clone());
                if before.is_some_and(|before| before != version) {
                    print(&picked_up(
                        &name,
                        &version,
                        changed_at.and_then(|at| clock.now().since(at)),
                    ));
                }
            }
        }
        clock.sleep(EVERY).await;
    }
}

fn picked_up(name: &str, version: &HeaderValue, after: Option<Duration>) -> String {
    let version = version.to_str().unwrap_or_default().trim_matches('"').to_owned();
    let after = after.map(|after| format!(", {:.1} s after the change", after.as_secs_f64()));
    format!("Sidekey now serves {name} version {version}{}\n", after.unwrap_or_default())
}

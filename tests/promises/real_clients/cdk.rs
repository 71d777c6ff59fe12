//! Tests that Sidekey accepts the environment variables that AWS's CDK sets for AWS's Parameters and
//! Secrets extension.

use crate::clients::{MissingTool, install_into_folder, path};
use crate::port::Port;
use crate::support::agent::Setup;
use crate::support::clock::ManualClock;
use crate::support::{fake, with_timeout};
use fake_aws::Operation::{GetParameter, GetSecretValue};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::process::Command;

type Variables = BTreeMap<String, String>;

/// Runs AWS's CDK. Returns the variables of a function with default options, and those of a function
/// with all options.
async fn variables(port: &Port) -> Result<[Variables; 2], MissingTool> {
    let files = [
        ("function.mjs", include_str!("cdk/function.mjs")),
        ("package.json", include_str!("cdk/package.json")),
        ("package-lock.json", include_str!("cdk/package-lock.json")),
    ];
    let install = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
    let folder = install_into_folder("cdk", &files, &[&install])
        .map_err(|missing| missing.context("CDK"))?;
    let mut node = Command::new("node");
    node.args(["function.mjs", &port.to_string()]).current_dir(folder).kill_on_drop(true);
    node.env_clear().env("PATH", path());
    let ran = with_timeout("the CDK", node.output()).await.map_err(MissingTool::new)?;
    let complaint = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{complaint}");
    Ok(serde_json::from_slice(&ran.stdout).expect("the program must print JSON"))
}

/// Sidekey reads all variables without a warning. The port and the TTLs have their effect.
#[tokio::test]
async fn variables_of_the_cdk_are_honoured() {
    let port = Port::reserve();
    let [defaults, options] = match variables(&port).await {
        Ok(variables) => variables,
        Err(missing) => return missing.skip_or_fail(),
    };
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    fake.secrets().create("db", "hunter2").expect("the fake AWS server must create the secret");
    fake.parameters().put("/url", "one").expect("the name must be valid");
    let setup = Setup::for_fake(&fake, &clock).without("SIDEKEY_PORT");
    let with = |variables: &Variables| {
        variables.iter().fold(setup.clone(), |setup, (name, value)| setup.with(name, value))
    };
    for variables in [&defaults, &options] {
        assert_eq!(variables.len(), 9, "{variables:?}");
        let setup =
            with(variables).without("SIDEKEY_READER_WAIT").without("SIDEKEY_UPSTREAM_TIMEOUT");
        let loaded = setup.load();
        assert!(loaded.mistakes.is_empty(), "{}", loaded.mistakes);
        assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    }

    let sidekey = with(&options).start().await;
    assert_eq!(sidekey.address.port(), port.number());
    let read = async || {
        let parameter = sidekey.get("/systemsmanager/parameters/get?name=/url").await;
        let secret = sidekey.read("db").await;
        assert_eq!((parameter.status, secret.status), (200, 200));
        [parameter.cache().to_owned(), secret.cache().to_owned()]
    };
    assert_eq!(read().await, ["miss", "miss"]);
    assert_eq!(read().await, ["hit", "hit"]);
    // Now the parameter is older than 20 seconds, but the secret is younger than 40 seconds.
    sidekey.advance(Duration::from_secs(21));
    assert_eq!(read().await, ["miss", "hit"]);
    assert_eq!(fake.calls().count(GetParameter), 2);
    assert_eq!(fake.calls().count(GetSecretValue), 1);
}

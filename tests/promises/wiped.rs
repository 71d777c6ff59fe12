//! Tests that the agent's memory does not contain a secret value that the agent no longer serves.

use crate::clients::MissingTool;
use crate::support::agent::{Setup, TOKEN_HEADER, read_path, read_request};
use crate::support::client::{Connection, get};
use crate::support::clock::ManualClock;
use crate::support::memory::Memory;
use crate::support::program::Program;
use crate::support::upstream::{self, Upstream};
use crate::support::{TempFolder, eventually, fake};

/// The secret's value before the rotation. Only the new value has the same words.
const OLD: &[u8] = b"fjord-anvil-quartz-ember-0001";
const NEW: &[u8] = b"fjord-anvil-quartz-ember-0002";

/// After a rotation, the old value disappears from the agent's memory, including the buffers of
/// hyper and of the calls through a route that used it.
#[tokio::test]
async fn rotated_value_is_wiped_from_memory() {
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    let text = |value| String::from_utf8(Vec::from(value)).expect("the value must be ASCII text");
    fake.secrets().create("app/db", text(OLD)).expect("the fake AWS server must create the secret");
    let upstream = Upstream::start(|_| upstream::answer(200, &[], "fine")).await;
    let route = format!(
        "[[route]]\nname = \"crm\"\nupstream = \"{}\"\nsecret = \"app/db\"\nbearer = \"#\"\n",
        upstream.url()
    );
    let folder = TempFolder::new();
    let config = folder.write("sidekey.toml", &route);
    let setup = Setup::for_fake(&fake, &clock)
        .with("SIDEKEY_SECRETS", "app/db")
        .with("SIDEKEY_CONFIG", config.display());
    let program = Program::start(&["serve"], setup.vars());
    let mut connection = Connection::open(program.address().await).await;
    let answer = connection.exchange(read_request("app/db")).await;
    assert_eq!(answer.value().as_bytes(), OLD);
    let called = connection.exchange(get("/to/crm/x", &[TOKEN_HEADER])).await;
    assert_eq!(called.status, 200);
    let sent = upstream.last().header("authorization").map(str::to_owned);
    assert_eq!(sent, Some(format!("Bearer {}", text(OLD))));
    let memory = match Memory::of(program.id()) {
        Ok(memory) => memory,
        Err(error) => {
            return MissingTool::new(error)
                .context("the permission to read the memory of another process")
                .skip_or_fail();
        }
    };
    assert_ne!(memory.count(OLD), 0, "the test must find the cached value in memory");

    fake.secrets().put("app/db", text(NEW)).expect("the secret exists");
    let now = format!("{}&refreshNow=true", read_path("app/db"));
    eventually("the agent serves the new value", async || {
        let answer = connection.exchange(get(&now, &[TOKEN_HEADER])).await;
        (answer.value().as_bytes() == NEW).then_some(())
    })
    .await;
    assert_ne!(memory.count(NEW), 0, "the test must find the cached value in memory");
    // The open connection to AWS has a buffer, which is freed with the connection.
    eventually("the old value is gone from memory", async || {
        (memory.count(OLD) == 0).then_some(())
    })
    .await;
}

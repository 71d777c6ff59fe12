//! Tests that the agent's memory does not contain a secret value that the agent no longer serves.

use crate::clients::MissingTool;
use crate::support::agent::{Setup, TOKEN_HEADER, read_path, read_request};
use crate::support::client::{Connection, get};
use crate::support::clock::ManualClock;
use crate::support::program::Program;
use crate::support::{eventually, fake};
use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

/// The secret's value before the rotation. Only the new value has the same words.
const OLD: &[u8] = b"fjord-anvil-quartz-ember-0001";
const NEW: &[u8] = b"fjord-anvil-quartz-ember-0002";

/// The writable memory of another process.
struct Memory {
    process: u32,
    bytes: File,
}

impl Memory {
    /// Opens the memory of another process. The agent's memory can be opened only by root.
    fn of(process: u32) -> io::Result<Self> {
        Ok(Self { process, bytes: File::open(format!("/proc/{process}/mem"))? })
    }

    /// Returns how often the bytes `needle` occur in the memory of the process.
    fn count(&self, needle: &[u8]) -> usize {
        let maps = fs::read_to_string(format!("/proc/{}/maps", self.process));
        let maps = maps.expect("the process must still run");
        maps.lines().filter_map(writable).map(|range| self.count_in(range, needle)).sum()
    }

    fn count_in(&self, range: Range<u64>, needle: &[u8]) -> usize {
        let len = usize::try_from(range.end - range.start)
            .expect("the address range must fit into memory");
        let mut bytes = vec![0; len];
        // The process may have unmapped this range since its maps were read.
        if self.bytes.read_exact_at(&mut bytes, range.start).is_err() {
            return 0;
        }
        let starts = (0..len).filter(|at| bytes[*at] == needle[0]);
        starts.filter(|at| bytes[*at..].starts_with(needle)).count()
    }
}

/// Returns the address range in a line of `/proc/PID/maps`, if the range is writable.
fn writable(line: &str) -> Option<Range<u64>> {
    let mut parts = line.split_whitespace();
    let (start, end) = parts.next()?.split_once('-')?;
    parts.next().filter(|rights| rights.starts_with("rw"))?;
    let address = |hex| u64::from_str_radix(hex, 16).ok();
    Some(address(start)?..address(end)?)
}

/// After a rotation, the old value disappears from the agent's memory, including the buffers of
/// hyper and of AWS's SDK.
#[tokio::test]
async fn rotated_value_is_wiped_from_memory() {
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    let text = |value| String::from_utf8(Vec::from(value)).expect("the value must be ASCII text");
    fake.secrets().create("app/db", text(OLD)).expect("the fake AWS server must create the secret");
    let setup = Setup::for_fake(&fake, &clock).with("SIDEKEY_SECRETS", "app/db");
    let program = Program::start(&["serve"], setup.vars());
    let mut connection = Connection::open(program.address().await).await;
    let answer = connection.exchange(read_request("app/db")).await;
    assert_eq!(answer.value().as_bytes(), OLD);
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

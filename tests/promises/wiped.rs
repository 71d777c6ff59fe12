//! A value that is not served any more is nowhere in the agent's memory: not in what is held, not in
//! buffers of the libraries below, and not in what was freed.

use crate::clients::Missing;
use crate::support::agent::{Setup, TOKEN_HEADER, read_path, read_request};
use crate::support::client::{Connection, get};
use crate::support::clock::ManualClock;
use crate::support::program::Program;
use crate::support::{eventually, fake};
use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

/// The values, of which no part but the number is anywhere else.
const OLD: &[u8] = b"fjord-anvil-quartz-ember-0001";
const NEW: &[u8] = b"fjord-anvil-quartz-ember-0002";

/// The memory of a process that it can write to.
struct Memory {
    process: u32,
    bytes: File,
}

impl Memory {
    /// Opens the memory of another process, which takes root's powers where that is not dumpable.
    fn of(process: u32) -> io::Result<Self> {
        Ok(Self { process, bytes: File::open(format!("/proc/{process}/mem"))? })
    }

    /// Returns how often `needle` is in there.
    fn count(&self, needle: &[u8]) -> usize {
        let maps = fs::read_to_string(format!("/proc/{}/maps", self.process));
        let maps = maps.expect("the process has not ended");
        maps.lines().filter_map(writable).map(|range| self.count_in(range, needle)).sum()
    }

    fn count_in(&self, range: Range<u64>, needle: &[u8]) -> usize {
        let len = usize::try_from(range.end - range.start).expect("it fits into memory");
        let mut bytes = vec![0; len];
        // What the process has just given back cannot be read any more.
        if self.bytes.read_exact_at(&mut bytes, range.start).is_err() {
            return 0;
        }
        let starts = (0..len).filter(|at| bytes[*at] == needle[0]);
        starts.filter(|at| bytes[*at..].starts_with(needle)).count()
    }
}

/// Returns the addresses of a line of `/proc/PID/maps`, if they can be written to.
fn writable(line: &str) -> Option<Range<u64>> {
    let mut parts = line.split_whitespace();
    let (start, end) = parts.next()?.split_once('-')?;
    parts.next().filter(|rights| rights.starts_with("rw"))?;
    let address = |hex| u64::from_str_radix(hex, 16).ok();
    Some(address(start)?..address(end)?)
}

/// After a rotation. What the agent reads it by is over TLS elsewhere; here every buffer has it in the
/// clear, hyper's and the SDK's too.
#[tokio::test]
async fn rotated_value_is_wiped_from_memory() {
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    let text = |value| String::from_utf8(Vec::from(value)).expect("letters");
    fake.secrets().create("app/db", text(OLD)).expect("a new name");
    let setup = Setup::of(&fake, &clock).with("SIDEKEY_SECRETS", "app/db");
    let program = Program::start(&["serve"], setup.vars());
    let mut connection = Connection::open(program.address().await).await;
    let answer = connection.exchange(read_request("app/db")).await;
    assert_eq!(answer.value().as_bytes(), OLD);
    let memory = match Memory::of(program.id()) {
        Ok(memory) => memory,
        Err(error) => return Missing::new(error).of("another's memory").skip_or_fail(),
    };
    assert_ne!(memory.count(OLD), 0, "what is held is found");

    fake.secrets().put("app/db", text(NEW)).expect("it is there");
    let now = format!("{}&refreshNow=true", read_path("app/db"));
    eventually("the new value", async || {
        let answer = connection.exchange(get(&now, &[TOKEN_HEADER])).await;
        (answer.value().as_bytes() == NEW).then_some(())
    })
    .await;
    assert_ne!(memory.count(NEW), 0, "what is held is found");
    // The kept connection to upstream has a buffer, which goes with it.
    eventually("the old value is gone", async || (memory.count(OLD) == 0).then_some(())).await;
}

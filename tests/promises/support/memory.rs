//! Searches the memory of another process.

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

/// The writable memory of another process.
#[derive(Debug)]
pub(crate) struct Memory {
    process: u32,
    bytes: File,
}

impl Memory {
    /// Opens the memory of another process. The agent's memory can be opened only by root.
    pub(crate) fn of(process: u32) -> io::Result<Self> {
        Ok(Self { process, bytes: File::open(format!("/proc/{process}/mem"))? })
    }

    /// Returns how often the bytes `needle` occur in the memory of the process.
    pub(crate) fn count(&self, needle: &[u8]) -> usize {
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

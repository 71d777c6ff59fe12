//! Reserved ports for programs that cannot choose a free port themselves.
//!
//! A test could bind port 0, note the port and close the socket. But the kernel may then give the
//! port to another process. Therefore these ports are below the kernel's ephemeral range. A locked
//! file reserves each port against other tests, in this and other processes, as long as the
//! [`Port`] lives.
//!
//! ```ignore
//! let port = Port::reserve();
//! command.env("SIDEKEY_PORT", port.to_string());
//! ```

#![allow(dead_code, reason = "each test binary that shares this file uses a part of it")]

use std::fmt;
use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};

use super::clients::scratch;

/// The first port that may be reserved.
const FIRST: u16 = 20_000;
/// The last port that may be reserved. Linux assigns ephemeral ports from 32768 up.
const LAST: u16 = 29_999;

/// A port that no other test uses while this value lives.
#[derive(Debug)]
pub(crate) struct Port {
    number: u16,
    _reservation: File,
}

impl Port {
    /// Reserves a port that is free on 127.0.0.1.
    pub(crate) fn reserve() -> Self {
        let folder = scratch().join("ports");
        fs::create_dir_all(&folder).expect("the folder for tests can be written");
        (FIRST..=LAST)
            .find_map(|number| {
                let file = File::create(folder.join(number.to_string())).ok()?;
                file.try_lock().ok()?;
                TcpListener::bind((Ipv4Addr::LOCALHOST, number)).ok()?;
                Some(Self { number, _reservation: file })
            })
            .expect("one of the ports is free")
    }

    pub(crate) fn number(&self) -> u16 {
        self.number
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number.fmt(f)
    }
}

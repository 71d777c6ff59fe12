//! Reserved ports for programs that cannot choose a free port themselves.
//!
//! The kernel never assigns these ports automatically. A locked file for each port prevents other
//! tests, also in other processes, from using the port while a [`Port`] exists.
//!
//! ```ignore
//! let port = Port::reserve();
//! command.env("SIDEKEY_PORT", port.to_string());
//! ```

#![allow(dead_code, reason = "each test program that includes this file uses only a part of it")]

use std::fmt;
use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};

use super::clients::scratch;

/// The lowest port that tests may reserve.
const FIRST: u16 = 20_000;
/// The highest port that tests may reserve. Linux automatically assigns ports from 32768 up.
const LAST: u16 = 29_999;

/// A port that no other test uses. Dropping this value frees the port.
#[derive(Debug)]
pub(crate) struct Port {
    number: u16,
    _reservation: File,
}

impl Port {
    pub(crate) fn reserve() -> Self {
        let folder = scratch().join("ports");
        fs::create_dir_all(&folder)
            .expect("the test must be able to write cargo's folder for tests");
        (FIRST..=LAST)
            .find_map(|number| {
                let file = File::create(folder.join(number.to_string())).ok()?;
                file.try_lock().ok()?;
                TcpListener::bind((Ipv4Addr::LOCALHOST, number)).ok()?;
                Some(Self { number, _reservation: file })
            })
            .expect("at least one of the ports must be free")
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

//! A connection to AWS begins with a post-quantum key exchange: what is recorded of it today cannot be
//! read by a quantum computer later. Shown by the first bytes that the agent sends to an https endpoint.

use crate::support::agent::Setup;
use crate::support::clock::ManualClock;
use crate::support::soon;
use std::collections::BTreeMap;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

/// The hybrid of ML-KEM-768 and X25519, by its number in TLS.
const X25519_MLKEM768: u16 = 0x11ec;
/// The classical half of it, for a server that knows no other.
const X25519: u16 = 0x001d;
/// An encapsulation key of ML-KEM-768, and a public key of X25519.
const SHARE_BYTES: usize = 1184 + 32;

const SUPPORTED_GROUPS: u16 = 10;
const SUPPORTED_VERSIONS: u16 = 43;
const KEY_SHARE: u16 = 51;
const TLS_1_3: [u8; 2] = [3, 4];

/// What is left to read of a message of TLS.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, bytes: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at_checked(bytes).expect("the hello is whole");
        self.0 = rest;
        taken
    }

    /// Reads a number of so many bytes.
    fn number(&mut self, bytes: usize) -> usize {
        self.take(bytes).iter().fold(0, |number, byte| number << 8 | usize::from(*byte))
    }

    fn short(&mut self) -> u16 {
        u16::try_from(self.number(2)).expect("two bytes")
    }

    /// Reads what stands behind its own length, itself a number of so many bytes.
    fn counted(&mut self, bytes: usize) -> Self {
        let length = self.number(bytes);
        Self(self.take(length))
    }

    fn is_over(&self) -> bool {
        self.0.is_empty()
    }
}

/// Returns the extensions of a ClientHello, by number (RFC 8446, section 4.1.2).
fn extensions(handshake: &[u8]) -> BTreeMap<u16, &[u8]> {
    let mut rest = Rest(handshake);
    assert_eq!(rest.number(1), 1, "a ClientHello");
    let mut hello = rest.counted(3);
    hello.take(2 + 32); // The version of old, and the random bytes.
    hello.counted(1); // The session.
    hello.counted(2); // The ciphers.
    hello.counted(1); // The compressions.
    let mut list = hello.counted(2);
    let mut extensions = BTreeMap::new();
    while !list.is_over() {
        let number = list.short();
        extensions.insert(number, list.counted(2).0);
    }
    extensions
}

/// Returns the groups of an extension `supported_groups`, the preferred one first.
fn groups(extension: &[u8]) -> Vec<u16> {
    let mut list = Rest(extension).counted(2);
    let mut groups = Vec::new();
    while !list.is_over() {
        groups.push(list.short());
    }
    groups
}

/// Returns the groups of an extension `key_share` with the length of each one's share.
fn shares(extension: &[u8]) -> Vec<(u16, usize)> {
    let mut list = Rest(extension).counted(2);
    let mut shares = Vec::new();
    while !list.is_over() {
        let group = list.short();
        shares.push((group, list.counted(2).0.len()));
    }
    shares
}

/// Reads the first record of a connection: the ClientHello of whoever opened it.
async fn client_hello(mut connection: TcpStream) -> Vec<u8> {
    let mut head = [0; 5];
    connection.read_exact(&mut head).await.expect("the head of a record");
    assert_eq!(head[0], 22, "a record of the handshake");
    let mut record = vec![0; usize::from(u16::from_be_bytes([head[3], head[4]]))];
    connection.read_exact(&mut record).await.expect("a whole record");
    record
}

/// The source offers the hybrid before all others, with a key share, so that it costs no second round
/// trip; and X25519's beside it, so that a server without it costs none either.
#[tokio::test]
async fn tls_handshake_offers_a_post_quantum_key_exchange() {
    let upstream = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let endpoint = format!("https://{}", upstream.local_addr().expect("bound"));
    let sidekey = Setup::at(&endpoint, &ManualClock::new()).start().await;

    let heard = async {
        let (connection, _) = upstream.accept().await.expect("a connection");
        client_hello(connection).await
    };
    let (answer, hello) =
        soon("a call", async { tokio::join!(sidekey.read("app/db"), heard) }).await;

    let extensions = extensions(&hello);
    let versions = Rest(extensions[&SUPPORTED_VERSIONS]).counted(1).0;
    assert!(versions.chunks(2).any(|version| version == TLS_1_3), "{versions:02x?}");
    assert_eq!(groups(extensions[&SUPPORTED_GROUPS])[0], X25519_MLKEM768);
    let shares = shares(extensions[&KEY_SHARE]);
    assert_eq!(shares, [(X25519_MLKEM768, SHARE_BYTES), (X25519, 32)]);
    // Nobody answered the hello, and the reader is told of it.
    assert_eq!((answer.status, answer.kind().as_str()), (502, "ConnectionError"));
}

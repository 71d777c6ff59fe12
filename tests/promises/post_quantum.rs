//! Tests that a TLS connection to AWS begins with a post-quantum key exchange, so that a future
//! quantum computer cannot decrypt recorded traffic.

use crate::support::agent::Setup;
use crate::support::clock::ManualClock;
use crate::support::with_timeout;
use std::collections::BTreeMap;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

/// The TLS number of the hybrid key exchange of ML-KEM-768 and X25519.
const X25519_MLKEM768: u16 = 0x11ec;
/// The TLS number of X25519 alone, for servers without the hybrid.
const X25519: u16 = 0x001d;
/// The size in bytes of a hybrid key share: an ML-KEM-768 encapsulation key and an X25519 public
/// key.
const SHARE_BYTES: usize = 1184 + 32;

/// The TLS number of the extension in which a client lists its key exchanges.
const SUPPORTED_GROUPS: u16 = 10;
const SUPPORTED_VERSIONS: u16 = 43;
const KEY_SHARE: u16 = 51;
const TLS_1_3: [u8; 2] = [3, 4];

/// The bytes of a TLS message that have not been read yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, bytes: usize) -> &'a [u8] {
        let (taken, rest) =
            self.0.split_at_checked(bytes).expect("the TLS ClientHello must be complete");
        self.0 = rest;
        taken
    }

    /// Reads a big-endian number that is `bytes` bytes long.
    fn number(&mut self, bytes: usize) -> usize {
        self.take(bytes).iter().fold(0, |number, byte| number << 8 | usize::from(*byte))
    }

    fn short(&mut self) -> u16 {
        u16::try_from(self.number(2)).expect("a number of two bytes must fit into a u16")
    }

    /// Reads a field that begins with its own length, a number of `bytes` bytes.
    fn counted(&mut self, bytes: usize) -> Self {
        let length = self.number(bytes);
        Self(self.take(length))
    }

    fn is_over(&self) -> bool {
        self.0.is_empty()
    }
}

/// Returns the extensions of a TLS ClientHello by their numbers (RFC 8446, section 4.1.2).
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

/// Returns the key exchanges in the TLS extension `supported_groups`, in order of preference.
fn groups(extension: &[u8]) -> Vec<u16> {
    let mut list = Rest(extension).counted(2);
    let mut groups = Vec::new();
    while !list.is_over() {
        groups.push(list.short());
    }
    groups
}

/// Returns the key exchanges in the TLS extension `key_share`, each with the length of its key
/// share.
fn shares(extension: &[u8]) -> Vec<(u16, usize)> {
    let mut list = Rest(extension).counted(2);
    let mut shares = Vec::new();
    while !list.is_over() {
        let group = list.short();
        shares.push((group, list.counted(2).0.len()));
    }
    shares
}

/// Reads the first TLS record of a connection, which is the client's ClientHello.
async fn client_hello(mut connection: TcpStream) -> Vec<u8> {
    let mut head = [0; 5];
    connection.read_exact(&mut head).await.expect("the head of the TLS record must arrive");
    assert_eq!(head[0], 22, "the first TLS record must be a handshake record");
    let mut record = vec![0; usize::from(u16::from_be_bytes([head[3], head[4]]))];
    connection.read_exact(&mut record).await.expect("the TLS record must be complete");
    record
}

/// The agent offers the hybrid key exchange first, together with its key share, so that the
/// handshake needs no second round trip. For other servers, it also offers X25519.
#[tokio::test]
async fn tls_handshake_offers_a_post_quantum_key_exchange() {
    let upstream = TcpListener::bind("127.0.0.1:0").await.expect("the test must find a free port");
    let endpoint =
        format!("https://{}", upstream.local_addr().expect("the socket must have an address"));
    let sidekey = Setup::for_endpoint(&endpoint, &ManualClock::new()).start().await;

    let heard = async {
        let (connection, _) = upstream.accept().await.expect("the connection must open");
        client_hello(connection).await
    };
    let (answer, hello) = with_timeout("the agent makes a call", async {
        tokio::join!(sidekey.read("app/db"), heard)
    })
    .await;

    let extensions = extensions(&hello);
    let versions = Rest(extensions[&SUPPORTED_VERSIONS]).counted(1).0;
    assert!(versions.chunks(2).any(|version| version == TLS_1_3), "{versions:02x?}");
    assert_eq!(groups(extensions[&SUPPORTED_GROUPS])[0], X25519_MLKEM768);
    let shares = shares(extensions[&KEY_SHARE]);
    assert_eq!(shares, [(X25519_MLKEM768, SHARE_BYTES), (X25519, 32)]);
    // The server never answers the ClientHello, so the read fails.
    assert_eq!((answer.status, answer.kind().as_str()), (502, "ConnectionError"));
}

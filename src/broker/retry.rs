//! Decides whether a call is made once more, because the server refused the credential and the
//! secret has changed.

use bytes::Bytes;
use hyper::StatusCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The maximum size of a request's body that the agent keeps to send it a second time, in bytes.
pub(crate) const KEPT_BYTES_MAX: usize = 1024 * 1024;

/// The maximum memory for all request bodies that the agent keeps, in bytes. A call whose body does
/// not fit is sent only once.
const KEPT_OF_ALL_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The maximum number of pieces that the agent keeps of one request body. Each piece also takes
/// [`PIECE_BYTES`] in a list. Without this limit, the list for a body of very small pieces, such as
/// single bytes, would take far more memory than the body.
const PIECES_MAX: usize = 10_000;

/// The memory that one piece of a kept body takes in addition to its data, in bytes: its entry in a
/// list that has room for up to twice as many entries.
const PIECE_BYTES: usize = 2 * size_of::<Bytes>();

/// Returns whether the status of an answer means that the server refused the credential. `refused`
/// contains the statuses that the route's configuration lists for this.
pub(crate) fn is_refused(status: StatusCode, refused: &[StatusCode]) -> bool {
    refused.contains(&status)
}

/// The memory of all request bodies that the agent keeps to send them a second time, in bytes.
#[derive(Debug, Default)]
pub(crate) struct KeptBytes(AtomicUsize);

impl KeptBytes {
    /// Adds `bytes` and returns `true`, unless the sum would exceed [`KEPT_OF_ALL_BYTES_MAX`].
    fn reserve(&self, bytes: usize) -> bool {
        let before = self.0.fetch_add(bytes, Ordering::Relaxed);
        let fits = before + bytes <= KEPT_OF_ALL_BYTES_MAX;
        if !fits {
            self.release(bytes);
        }
        fits
    }

    fn release(&self, bytes: usize) {
        self.0.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// The sent pieces of a request's body, which the agent keeps to send them a second time. If the
/// pieces take too much memory, the agent keeps none of them.
#[derive(Debug)]
pub(crate) struct Kept {
    pieces: Vec<Bytes>,
    bytes: usize,
    is_too_large: bool,
    of_all: Arc<KeptBytes>,
}

impl Kept {
    /// Creates an empty list of the pieces of a request's body. `of_all` counts the bytes of all
    /// requests that Sidekey keeps for a second call.
    pub(crate) fn new(of_all: Arc<KeptBytes>) -> Self {
        Self { pieces: Vec::new(), bytes: 0, is_too_large: false, of_all }
    }

    /// Returns the kept piece with this number, counted from 0.
    pub(crate) fn piece(&self, number: usize) -> Option<&Bytes> {
        self.pieces.get(number)
    }

    pub(crate) fn add(&mut self, piece: &Bytes) {
        if self.is_too_large || piece.is_empty() {
            return;
        }
        let fits = self.bytes + piece.len() <= KEPT_BYTES_MAX
            && self.pieces.len() < PIECES_MAX
            && self.of_all.reserve(piece.len() + PIECE_BYTES);
        if fits {
            self.bytes += piece.len();
            self.pieces.push(piece.clone());
        } else {
            self.forget();
            self.is_too_large = true;
        }
    }

    fn forget(&mut self) {
        let pieces = std::mem::take(&mut self.pieces).len();
        self.of_all.release(std::mem::take(&mut self.bytes) + pieces * PIECE_BYTES);
    }

    /// Returns whether all pieces were kept, so that the body can be sent once more.
    pub(crate) fn is_complete(&self) -> bool {
        !self.is_too_large
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.forget();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn body_is_kept_up_to_the_limit() {
        let half = Bytes::from(vec![0; KEPT_BYTES_MAX / 2]);
        let of_all = Arc::new(KeptBytes::default());
        let mut kept = Kept::new(of_all.clone());
        for _ in 0..2 {
            kept.add(&half);
        }
        assert!(kept.is_complete() && kept.piece(1) == Some(&half));
        kept.add(&Bytes::new());
        assert!(kept.is_complete() && kept.piece(2).is_none());
        kept.add(&Bytes::from_static(b"x"));
        assert!(!kept.is_complete() && kept.piece(0).is_none());
        kept.add(&half);
        assert!(!kept.is_complete() && kept.piece(0).is_none());
        assert_eq!(of_all.0.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn number_of_kept_pieces_is_limited() {
        let of_all = Arc::new(KeptBytes::default());
        let mut kept = Kept::new(of_all.clone());
        for _ in 0..PIECES_MAX {
            kept.add(&Bytes::from_static(b"x"));
        }
        assert!(kept.is_complete());
        assert_eq!(of_all.0.load(Ordering::Relaxed), PIECES_MAX * (1 + PIECE_BYTES));
        kept.add(&Bytes::from_static(b"x"));
        assert!(!kept.is_complete());
        assert_eq!(of_all.0.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn bodies_of_all_calls_share_a_limit() {
        let whole = Bytes::from(vec![0; KEPT_BYTES_MAX]);
        let of_all = Arc::new(KeptBytes::default());
        let mut calls = Vec::new();
        let fitting = KEPT_OF_ALL_BYTES_MAX / (KEPT_BYTES_MAX + PIECE_BYTES);
        for number in 0..fitting + 2 {
            let mut kept = Kept::new(of_all.clone());
            kept.add(&whole);
            assert_eq!(kept.is_complete(), number < fitting);
            calls.push(kept);
        }
        drop(calls);
        assert_eq!(of_all.0.load(Ordering::Relaxed), 0);
    }
}

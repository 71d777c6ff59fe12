//! Decides whether a call is made once more, because the server refused the credential and the
//! secret has changed.

use bytes::Bytes;
use hyper::StatusCode;

/// The maximum size of a body that the agent keeps for a second call, in bytes.
pub(crate) const KEPT_BYTES_MAX: usize = 1024 * 1024;

/// Returns whether the status of an answer means that the server refused the credential. `refused`
/// contains the statuses that a route names.
pub(crate) fn is_refused(status: StatusCode, refused: &[StatusCode]) -> bool {
    refused.contains(&status)
}

/// The pieces of a call's body that were sent, for a second call. If the pieces together have more
/// than [`KEPT_BYTES_MAX`] bytes, none of them is kept.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    pieces: Vec<Bytes>,
    bytes: usize,
    is_too_large: bool,
}

impl Kept {
    /// Returns the kept piece with this number.
    pub(crate) fn piece(&self, number: usize) -> Option<&Bytes> {
        self.pieces.get(number)
    }

    pub(crate) fn add(&mut self, piece: &Bytes) {
        self.bytes = self.bytes.saturating_add(piece.len());
        self.is_too_large |= self.bytes > KEPT_BYTES_MAX;
        if self.is_too_large {
            self.pieces = Vec::new();
        } else if !piece.is_empty() {
            self.pieces.push(piece.clone());
        }
    }

    /// Returns whether the body can be sent once more.
    pub(crate) fn is_complete(&self) -> bool {
        !self.is_too_large
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn body_is_kept_up_to_the_limit() {
        let half = Bytes::from(vec![0; KEPT_BYTES_MAX / 2]);
        let mut kept = Kept::default();
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
    }
}

//! Replaces the fields of a secret in the answer to a call, so that a server that repeats the
//! credential does not give the credential to the caller.

use bytes::Bytes;
use std::fmt;
use zeroize::Zeroizing;

/// The text that replaces a field of a secret in an answer.
pub(crate) const REPLACEMENT: &[u8] = b"[redacted by sidekey]";

/// The minimum length of a text that is replaced, in bytes. A shorter text may occur in an answer by
/// chance.
const NEEDLE_BYTES_MIN: usize = 8;

/// The confidential texts that the agent replaces in an answer. Code cannot print them.
#[derive(Clone, Default)]
pub(crate) struct Needles(Vec<Zeroizing<Vec<u8>>>);

impl Needles {
    /// Collects the texts to replace in an answer. Texts with less than 8 bytes are ignored.
    pub(crate) fn new(texts: impl IntoIterator<Item = Zeroizing<Vec<u8>>>) -> Self {
        let mut needles: Vec<_> =
            texts.into_iter().filter(|text| text.len() >= NEEDLE_BYTES_MIN).collect();
        // If one text begins with another text, the longer text must be found first.
        needles.sort_by(|one, other| other.len().cmp(&one.len()).then_with(|| one.cmp(other)));
        needles.dedup();
        Self(needles)
    }

    /// Returns the position and the length of the first confidential text in `bytes`.
    fn find(&self, bytes: &[u8]) -> Option<(usize, usize)> {
        let found = self.0.iter().filter_map(|needle| {
            let mut starts = memchr::memchr_iter(needle[0], bytes);
            starts.find(|at| bytes[*at..].starts_with(needle)).map(|at| (at, needle.len()))
        });
        found.min_by_key(|(at, length)| (*at, usize::MAX - length))
    }

    /// Returns the length of the longest end of `bytes` that may be the beginning of a confidential
    /// text.
    fn beginning_at_end(&self, bytes: &[u8]) -> usize {
        let longest = |needle: &Zeroizing<Vec<u8>>| {
            let tail = &bytes[bytes.len().saturating_sub(needle.len() - 1)..];
            let mut starts = memchr::memchr_iter(needle[0], tail);
            starts.find(|at| needle.starts_with(&tail[*at..])).map_or(0, |at| tail.len() - at)
        };
        self.0.iter().map(longest).max().unwrap_or_default()
    }

    /// Replaces the confidential texts in a header's value. Returns the new value and the number of
    /// replacements, or `None` if the value contains no such text.
    pub(crate) fn redact(&self, value: &[u8]) -> Option<(Vec<u8>, u64)> {
        self.find(value)?;
        let mut redactor = Redactor::new(self.clone());
        let mut redacted = redactor.push(Bytes::copy_from_slice(value)).to_vec();
        redacted.extend_from_slice(&redactor.finish());
        Some((redacted, redactor.replaced))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Needles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Needles({})", self.0.len())
    }
}

/// Replaces confidential texts in a streamed body. A text may begin in one piece of the body and
/// end in the next. If the last bytes of a piece may be the beginning of a confidential text, the
/// redactor keeps these bytes until the next piece. All other bytes pass at once.
#[derive(Debug)]
pub(crate) struct Redactor {
    needles: Needles,
    held: Zeroizing<Vec<u8>>,
    /// How many confidential texts were replaced so far.
    pub(crate) replaced: u64,
}

impl Redactor {
    pub(crate) fn new(needles: Needles) -> Self {
        Self { needles, held: Zeroizing::default(), replaced: 0 }
    }

    /// Adds the next piece of the body. Returns the bytes that can be sent. The result may be
    /// empty.
    pub(crate) fn push(&mut self, piece: Bytes) -> Bytes {
        if self.held.is_empty() && self.needles.find(&piece).is_none() {
            let end = piece.len() - self.needles.beginning_at_end(&piece);
            self.held.extend_from_slice(&piece[end..]);
            return piece.slice(..end);
        }
        let mut joined = std::mem::take(&mut self.held);
        joined.reserve_exact(piece.len());
        joined.extend_from_slice(&piece);
        let mut passed = Vec::with_capacity(joined.len());
        let mut rest = &joined[..];
        while let Some((at, length)) = self.needles.find(rest) {
            passed.extend_from_slice(&rest[..at]);
            passed.extend_from_slice(REPLACEMENT);
            self.replaced += 1;
            rest = &rest[at + length..];
        }
        let (pass, hold) = rest.split_at(rest.len() - self.needles.beginning_at_end(rest));
        passed.extend_from_slice(pass);
        self.held = hold.to_vec().into();
        passed.into()
    }

    /// Returns the last bytes of the body, if the redactor has held them back. Must be called at
    /// the end of the body.
    pub(crate) fn finish(&mut self) -> Bytes {
        std::mem::take(&mut *self.held).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn needles(texts: &[&str]) -> Needles {
        Needles::new(texts.iter().map(|text| text.as_bytes().to_vec().into()))
    }

    /// Redacts `text` in pieces of `size` bytes.
    fn redacted(texts: &[&str], text: &[u8], size: usize) -> (Vec<u8>, u64) {
        let mut redactor = Redactor::new(needles(texts));
        let mut passed = Vec::new();
        for piece in text.chunks(size.max(1)) {
            passed.extend_from_slice(&redactor.push(Bytes::copy_from_slice(piece)));
        }
        passed.extend_from_slice(&redactor.finish());
        (passed, redactor.replaced)
    }

    #[test]
    fn text_is_replaced_wherever_a_piece_ends() {
        let body = b"<sk-12345678> sk-1234 sk-12345678sk-12345678";
        let expected = "<[redacted by sidekey]> sk-1234 [redacted by sidekey][redacted by sidekey]";
        for size in 1..=body.len() {
            let (passed, replaced) = redacted(&["sk-12345678"], body, size);
            assert_eq!(String::from_utf8_lossy(&passed), expected, "pieces of {size} bytes");
            assert_eq!(replaced, 3);
        }
    }

    #[test]
    fn longest_text_at_a_position_is_replaced() {
        for size in 1..20 {
            let (passed, _) = redacted(&["abcdefgh", "abcdefghij"], b"abcdefghij!", size);
            let passed = String::from_utf8_lossy(&passed).into_owned();
            assert!(!passed.contains("abcdefgh"), "{passed}");
        }
    }

    #[test]
    fn bytes_that_cannot_begin_a_text_pass_at_once() {
        let mut redactor = Redactor::new(needles(&["sk-12345678"]));
        let piece = Bytes::from_static(b"data: hello\n\n");
        let passed = redactor.push(piece.clone());
        assert_eq!(passed, piece);
        assert_eq!(passed.as_ptr(), piece.as_ptr(), "a piece without the text must not be copied");
        assert_eq!(redactor.push(Bytes::from_static(b"abc sk-")), "abc ");
        assert_eq!(redactor.push(Bytes::from_static(b"9")), "sk-9");
        assert_eq!(redactor.finish(), "");
    }

    #[test]
    fn short_texts_are_ignored() {
        assert!(needles(&["1234567", ""]).is_empty());
        assert_eq!(needles(&["secret-1"]).redact(b"x"), None);
        let (value, replaced) = needles(&["secret-1"]).redact(b"<secret-1>").expect("it is there");
        assert_eq!((&*value, replaced), (&b"<[redacted by sidekey]>"[..], 1));
    }

    proptest! {
        #[test]
        fn for_any_pieces_no_text_is_left_and_the_rest_is_unchanged(
            parts in prop::collection::vec("(aab|aabaabaa|aabaab|b|c)", 0..40),
            size in 1usize..30,
        ) {
            let body = parts.concat();
            let (passed, replaced) = redacted(&["aabaabaa"], body.as_bytes(), size);
            let expected = body.replace("aabaabaa", "[redacted by sidekey]");
            prop_assert_eq!(String::from_utf8_lossy(&passed), expected);
            prop_assert_eq!(usize::try_from(replaced), Ok(body.matches("aabaabaa").count()));
        }
    }
}

//! Reads the body of an HTTP request, within limits of size and time.

use super::problem::Problem;
use crate::clock::{Clock, within};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Body;
use std::error::Error;
use std::time::Duration;

/// The maximum size of the body of an AWS API call, in bytes. The largest valid call contains 20
/// names or ARNs of up to 2048 characters each, which take about 40 KiB.
pub(crate) const BODY_BYTES_MAX: usize = 64 * 1024;

/// The maximum size of the body of a `/resolve` request, in bytes. Such a body may be a complete
/// Lambda event, and Lambda allows events of at most 6 MB.
///
/// Source: AWS's page *Lambda quotas* in the Lambda developer guide.
pub(crate) const MESSAGES_BYTES_MAX: usize = 6 * 1024 * 1024;

/// The initial capacity, in bytes, of the buffer for an HTTP body without a `Content-Length`
/// header. A body up to this size is never copied to a larger buffer.
const GROWTH_BYTES_MIN: usize = 4 * 1024;

/// The maximum time from the end of an HTTP request's headers to the end of its body.
pub(crate) const BODY_TIME_MAX: Duration = Duration::from_secs(5);

/// The maximum number of bytes that the server reads and discards from an HTTP body that no handler
/// needs.
const DRAINED_BYTES_MAX: usize = 1024 * 1024;

/// The maximum time for reading and discarding an HTTP body that no handler needs. One second is
/// enough, because clients send a body directly after the headers.
pub(super) const DRAIN_TIME_MAX: Duration = Duration::from_secs(1);

/// The body of an HTTP request, whose bytes may still be arriving. Tests use bodies of their own
/// type.
pub(super) trait RequestBody:
    Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Unpin
{
}

impl<B> RequestBody for B where
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Unpin
{
}

/// Reads a complete HTTP body of at most `bytes_max` bytes into one buffer.
///
/// # Errors
///
/// Fails if the body is too large, incomplete, or not complete within [`BODY_TIME_MAX`].
pub(super) async fn read(
    body: &mut impl RequestBody,
    bytes_max: usize,
    clock: &dyn Clock,
) -> Result<Vec<u8>, Problem> {
    within(clock, BODY_TIME_MAX, collect(body, bytes_max))
        .await
        .unwrap_or(Err(Problem::BodyTooSlow(BODY_TIME_MAX)))
}

/// Returns the length of an HTTP body in bytes, from the `Content-Length` header. Returns `None` if
/// the request has no such header.
pub(super) fn declared_length(body: &impl RequestBody) -> Option<usize> {
    body.size_hint().exact().and_then(|bytes| usize::try_from(bytes).ok())
}

async fn collect(body: &mut impl RequestBody, bytes_max: usize) -> Result<Vec<u8>, Problem> {
    let declared = declared_length(body);
    let is_too_large = declared.is_some_and(|bytes| bytes > bytes_max);
    // A body whose declared length is too large is read but not stored. If the server did not read
    // it, the connection would close while the client is still sending. The client might then never
    // see the answer.
    let mut collected = Vec::with_capacity(declared.filter(|_| !is_too_large).unwrap_or_default());
    let mut left = bytes_max;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Problem::BodyIncomplete)?.into_data() else { continue };
        left = left.checked_sub(data.len()).ok_or(Problem::BodyTooLarge(bytes_max))?;
        if !is_too_large {
            let needed = collected.len() + data.len();
            if needed > collected.capacity() {
                collected.reserve_exact(grown_capacity(needed, bytes_max) - collected.len());
            }
            collected.extend_from_slice(&data);
        }
    }
    Ok(collected)
}

/// Returns the new capacity, in bytes, of a full buffer that must hold at least `needed` bytes: a
/// power of two, but at most `bytes_max`.
///
/// The old and the new buffer exist at the same time. If `bytes_max` is 6 MiB, they together take
/// at most 10 MiB (4 MiB and 6 MiB).
fn grown_capacity(needed: usize, bytes_max: usize) -> usize {
    needed.next_power_of_two().clamp(GROWTH_BYTES_MIN, bytes_max.max(GROWTH_BYTES_MIN))
}

/// Reads the rest of an HTTP body and discards it. If the server closed the connection while the
/// client is still sending, the client might never see the answer.
pub(super) async fn drain(body: &mut impl RequestBody, clock: &dyn Clock) {
    if body.is_end_stream() {
        return;
    }
    // The answer is sent even after a timeout, so the result of this wait is ignored.
    let _ = within(clock, DRAIN_TIME_MAX, drain_bytes(body)).await;
}

async fn drain_bytes(body: &mut impl RequestBody) {
    let mut left = DRAINED_BYTES_MAX;
    while let Some(Ok(frame)) = body.frame().await {
        let bytes = frame.data_ref().map_or(0, Bytes::len);
        let Some(rest) = left.checked_sub(bytes) else { return };
        left = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::VirtualClock;
    use http_body_util::Full;
    use hyper::body::Frame;
    use std::io;
    use std::pin::Pin;
    use std::task::{Context, Poll};
    use std::time::SystemTime;

    /// A test body of `left` pieces with 1 KiB each. A read after the last piece fails if `breaks`
    /// is `true`, and otherwise waits forever.
    struct Pieces {
        left: usize,
        breaks: bool,
    }

    impl Body for Pieces {
        type Data = Bytes;
        type Error = io::Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
            if self.left > 0 {
                self.left -= 1;
                return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b'x'; 1024])))));
            }
            if self.breaks {
                return Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset.into())));
            }
            Poll::Pending
        }
    }

    fn clock() -> VirtualClock {
        VirtualClock::starting_at(SystemTime::UNIX_EPOCH)
    }

    #[test]
    fn growing_buffer_takes_at_most_4_mib_more_than_its_body() {
        let mut capacity = 0;
        for bytes in (1..=MESSAGES_BYTES_MAX).step_by(1000) {
            if bytes > capacity {
                let copied = capacity.min(bytes);
                assert!(
                    2 * copied <= bytes + 4 * 1024 * 1024,
                    "a buffer with {copied} bytes must not be copied to make room for {bytes} bytes"
                );
                capacity = grown_capacity(bytes, MESSAGES_BYTES_MAX);
            }
            assert!(
                (bytes..=MESSAGES_BYTES_MAX).contains(&capacity),
                "the buffer must have room for {bytes} bytes, but its capacity is {capacity} bytes"
            );
            // The test checks the capacity, not the length, because the full capacity is
            // overwritten when a buffer is freed.
            assert!(
                capacity <= bytes + 4 * 1024 * 1024,
                "a buffer for {bytes} bytes must not have a capacity of {capacity} bytes"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn body_is_read_up_to_its_limits() {
        for (bytes, expected) in
            [(BODY_BYTES_MAX, Ok(BODY_BYTES_MAX)), (BODY_BYTES_MAX + 1, Err("BodyTooLarge"))]
        {
            let mut body: Full<Bytes> = vec![b'x'; bytes].into();
            let read = read(&mut body, BODY_BYTES_MAX, &clock()).await;
            let read = read.map(|read| read.len()).map_err(|problem| format!("{problem:?}"));
            match (read, expected) {
                (Ok(read), Ok(expected)) => assert_eq!(read, expected),
                (Err(problem), Err(expected)) => assert!(problem.starts_with(expected)),
                (read, expected) => {
                    panic!("reading the body must return {expected:?}, but returned {read:?}")
                }
            }
        }
        let stalled = read(&mut Pieces { left: 1, breaks: false }, BODY_BYTES_MAX, &clock()).await;
        assert_eq!(stalled, Err(Problem::BodyTooSlow(BODY_TIME_MAX)));
        let broken = read(&mut Pieces { left: 1, breaks: true }, BODY_BYTES_MAX, &clock()).await;
        assert_eq!(broken, Err(Problem::BodyIncomplete));
    }

    #[tokio::test(start_paused = true)]
    async fn unused_body_is_drained_up_to_the_limit() {
        let clock = clock();
        let mut longer = Pieces { left: 5000, breaks: false };
        drain(&mut longer, &clock).await;
        assert_eq!(longer.left, 5000 - DRAINED_BYTES_MAX / 1024 - 1);
        assert_eq!(clock.now().steady, Duration::ZERO);
        drain(&mut Pieces { left: 1, breaks: true }, &clock).await;
        assert_eq!(clock.now().steady, Duration::ZERO);
        drain(&mut Full::<Bytes>::default(), &clock).await;
        drain(&mut Pieces { left: 1, breaks: false }, &clock).await;
        assert_eq!(clock.now().steady, DRAIN_TIME_MAX);
    }
}

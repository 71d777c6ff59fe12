//! The body of a request, read within its bounds.

use super::problem::Problem;
use crate::clock::{Clock, within};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Body;
use std::error::Error;
use std::time::Duration;

/// The largest body of a call that is read: a batch of the most and longest ids takes 40 KiB.
pub const BODY_BYTES_MAX: usize = 64 * 1024;

/// The largest body with messages in it: Lambda hands a function no more than 6 MB.
///
/// Source: "Lambda quotas" in AWS's Lambda developer guide.
pub const MESSAGES_BYTES_MAX: usize = 6 * 1024 * 1024;

/// The first capacity of a buffer for a chunked body, so that small bodies are not copied at all.
const GROWTH_BYTES_MIN: usize = 4 * 1024;

/// The most time from the end of a head to the end of its body.
pub const BODY_TIME_MAX: Duration = Duration::from_secs(5);

/// How much of a body that nobody wants is read all the same.
const LEFT_BYTES_MAX: usize = 1024 * 1024;

/// The most time for that. Whoever sends a body sends it right behind its head.
const LEFT_TIME_MAX: Duration = Duration::from_secs(1);

/// A body as it arrives.
pub(super) trait Arriving:
    Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Unpin
{
}

impl<B> Arriving for B where B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Unpin
{}

/// Reads a complete body of at most `bytes_max` bytes into one buffer.
///
/// The buffer of a body with a `Content-Length` never grows. The buffer of a chunked body grows so that
/// both copies together never take more than the body and 4 MiB.
///
/// # Errors
///
/// If the body is too large, too slow or cut.
pub(super) async fn read(
    body: &mut impl Arriving,
    bytes_max: usize,
    clock: &dyn Clock,
) -> Result<Vec<u8>, Problem> {
    within(clock, BODY_TIME_MAX, collect(body, bytes_max))
        .await
        .unwrap_or(Err(Problem::BodyTooSlow(BODY_TIME_MAX)))
}

/// Returns how many bytes a body has, if its head says so.
pub(super) fn announced(body: &impl Arriving) -> Option<usize> {
    body.size_hint().exact().and_then(|bytes| usize::try_from(bytes).ok())
}

async fn collect(body: &mut impl Arriving, bytes_max: usize) -> Result<Vec<u8>, Problem> {
    let announced = announced(body);
    let is_too_large = announced.is_some_and(|bytes| bytes > bytes_max);
    // What is announced as too large is read and not kept: a client that is still sending when the
    // connection closes may never see the answer.
    let mut whole = Vec::with_capacity(announced.filter(|_| !is_too_large).unwrap_or_default());
    let mut left = bytes_max;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Problem::BodyCut)?.into_data() else { continue };
        left = left.checked_sub(data.len()).ok_or(Problem::BodyTooLarge(bytes_max))?;
        if !is_too_large {
            let needed = whole.len() + data.len();
            if needed > whole.capacity() {
                whole.reserve_exact(grown_capacity(needed, bytes_max) - whole.len());
            }
            whole.extend_from_slice(&data);
        }
    }
    Ok(whole)
}

/// Returns the capacity, in bytes, to which the buffer of a chunked body grows when it needs `needed`
/// bytes.
///
/// A buffer of powers of two is copied for the last time at 4 MiB, where old and new buffer together take
/// 8 MiB. A `Vec` that doubles from any size could be copied at almost 6 MiB, and take 12 MiB then.
fn grown_capacity(needed: usize, bytes_max: usize) -> usize {
    needed.next_power_of_two().clamp(GROWTH_BYTES_MIN, bytes_max.max(GROWTH_BYTES_MIN))
}

/// Reads what is left of a body and throws it away. A client that is still sending when the
/// connection closes may never see the answer.
pub(super) async fn discard(body: &mut impl Arriving, clock: &dyn Clock) {
    if body.is_end_stream() {
        return;
    }
    let all = async {
        let mut left = LEFT_BYTES_MAX;
        while let Some(Ok(frame)) = body.frame().await {
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            let Some(rest) = left.checked_sub(bytes) else { return };
            left = rest;
        }
    };
    // Whether it came in time or not, it has been waited for.
    let _ = within(clock, LEFT_TIME_MAX, all).await;
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

    /// Sends `left` pieces of 1 KiB, and then stalls or breaks.
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
    fn a_growing_buffer_takes_at_most_four_mebibytes_more_than_its_body() {
        let mut capacity = 0;
        for bytes in (1..=MESSAGES_BYTES_MAX).step_by(1000) {
            if bytes > capacity {
                let copied = capacity.min(bytes);
                assert!(2 * copied <= bytes + 4 * 1024 * 1024, "{copied} of {bytes} are copied");
                capacity = grown_capacity(bytes, MESSAGES_BYTES_MAX);
            }
            assert!((bytes..=MESSAGES_BYTES_MAX).contains(&capacity), "{capacity} for {bytes}");
            // A freed buffer is wiped in its full capacity.
            assert!(capacity <= bytes + 4 * 1024 * 1024, "{capacity} for {bytes}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_is_read_up_to_its_bounds() {
        for (bytes, expected) in
            [(BODY_BYTES_MAX, Ok(BODY_BYTES_MAX)), (BODY_BYTES_MAX + 1, Err("BodyTooLarge"))]
        {
            let mut body: Full<Bytes> = vec![b'x'; bytes].into();
            let read = read(&mut body, BODY_BYTES_MAX, &clock()).await;
            let read = read.map(|read| read.len()).map_err(|problem| format!("{problem:?}"));
            match (read, expected) {
                (Ok(read), Ok(expected)) => assert_eq!(read, expected),
                (Err(problem), Err(expected)) => assert!(problem.starts_with(expected)),
                (read, expected) => panic!("{read:?} is not {expected:?}"),
            }
        }
        let stalled = read(&mut Pieces { left: 1, breaks: false }, BODY_BYTES_MAX, &clock()).await;
        assert_eq!(stalled, Err(Problem::BodyTooSlow(BODY_TIME_MAX)));
        let broken = read(&mut Pieces { left: 1, breaks: true }, BODY_BYTES_MAX, &clock()).await;
        assert_eq!(broken, Err(Problem::BodyCut));
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_wants_is_thrown_away_up_to_its_bounds() {
        let clock = clock();
        let mut longer = Pieces { left: 5000, breaks: false };
        discard(&mut longer, &clock).await;
        assert_eq!(longer.left, 5000 - LEFT_BYTES_MAX / 1024 - 1);
        assert_eq!(clock.now().steady, Duration::ZERO);
        discard(&mut Pieces { left: 1, breaks: true }, &clock).await;
        assert_eq!(clock.now().steady, Duration::ZERO);
        discard(&mut Full::<Bytes>::default(), &clock).await;
        discard(&mut Pieces { left: 1, breaks: false }, &clock).await;
        assert_eq!(clock.now().steady, LEFT_TIME_MAX);
    }
}

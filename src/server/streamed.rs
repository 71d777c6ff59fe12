//! Observes the body of an answer that is created piece by piece, so that the server knows when the
//! answer is complete.

use super::response::{BrokenAnswer, Response, ResponseBody};
use super::wire::{Exchange, Streaming};
use bytes::Bytes;
use http_body_util::Either;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Makes the connection's state `exchange` count the answer as incomplete until its last piece is
/// created. A body that is complete in memory is not changed.
pub(super) fn observed(response: Response, exchange: &Arc<Exchange>) -> Response {
    response.map(|body: ResponseBody| match body {
        Either::Left(complete) => Either::Left(complete),
        Either::Right(pieces) => {
            let streaming = Streaming::begin(exchange.clone());
            Either::Right(UnsyncBoxBody::new(Observed { pieces, streaming }))
        }
    })
}

/// The body of an answer that is created piece by piece. hyper (the HTTP library) drops this value
/// together with the last piece.
struct Observed {
    pieces: UnsyncBoxBody<Bytes, BrokenAnswer>,
    streaming: Streaming,
}

impl Body for Observed {
    type Data = Bytes;
    type Error = BrokenAnswer;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenAnswer>>> {
        let piece = Pin::new(&mut self.pieces).poll_frame(cx);
        if piece.is_ready() {
            self.streaming.note_piece();
        }
        piece
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.pieces.size_hint()
    }
}

//! Observes the streamed body of an answer, so that the server knows when the answer is complete.

use super::response::{BrokenAnswer, Response, ResponseBody};
use super::wire::{Exchange, Streaming};
use bytes::Bytes;
use http_body_util::Either;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// If the body of the answer is streamed, marks the answer as incomplete in `exchange` (the state
/// of the connection) until the last piece of the body is created. Changes no other bodies.
pub(super) fn observed(response: Response, exchange: &Arc<Exchange>) -> Response {
    response.map(|body: ResponseBody| match body {
        Either::Left(complete) => Either::Left(complete),
        Either::Right(pieces) => {
            let streaming = Streaming::begin(exchange.clone());
            Either::Right(UnsyncBoxBody::new(Observed { pieces, streaming }))
        }
    })
}

/// The streamed body of an answer: it is created in pieces while the caller reads it. hyper (the
/// HTTP library) drops this value together with the last piece.
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

//! The JSON answer to a `/resolve` request. Sidekey creates the JSON piece by piece while the
//! caller reads it, so that a large answer is never complete in memory.
//!
//! The answer has one result for each message, and the list of failed messages. A Lambda function
//! with an SQS trigger can return this list to Lambda.

use super::credential::Credentials;
use super::message_request::MessageRequest;
use super::message_result::MessageResult;
use super::shared_limit::SharedLimit;
use super::unresolved::Unresolved;
use crate::message::order::blocked_messages;
use crate::secret::value::SecretValue;
use crate::server::dialect::json::compact_size;
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use serde::{Serialize, Serializer};
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

/// The maximum size of the result of one message in the answer to `/resolve`, in bytes. One secret
/// has at most 64 KiB, so a message can refer to several large secrets.
const MESSAGE_ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// The approximate size of one piece of the answer to `/resolve`, in bytes. The answer is sent in
/// pieces to save memory: the complete answer can be larger than the request.
const PIECE_BYTES: usize = 64 * 1024;

const START: &str = r#"{"results":["#;
const BETWEEN: &str = r#"],"batchItemFailures":"#;
const END: &str = "}";

/// The answer to a `/resolve` request before it is converted to JSON: all messages, and the secrets
/// that were read for these messages.
pub(super) struct Answer {
    messages: Vec<MessageRequest>,
    credentials: Credentials,
    /// The size in bytes of each message's result in the JSON answer.
    sizes: Vec<usize>,
}

impl Answer {
    pub(super) fn new(
        messages: Vec<MessageRequest>,
        credentials: Credentials,
        sizes: Vec<usize>,
    ) -> Self {
        Self { messages, credentials, sizes }
    }

    pub(super) fn results(&self) -> impl Iterator<Item = MessageResult<'_>> {
        self.messages.iter().map(|message| self.result(message))
    }

    fn result<'a>(&'a self, message: &'a MessageRequest) -> MessageResult<'a> {
        MessageResult { message, credentials: &self.credentials }
    }

    pub(super) fn size(&self) -> usize {
        self.sizes.iter().sum()
    }

    /// Makes a message fail if its result is larger than [`MESSAGE_ANSWER_BYTES_MAX`]. If the
    /// results of the other messages together are larger than `answer_max` bytes, the messages with
    /// the largest results fail too.
    pub(super) fn fail_too_large(&mut self, answer_max: usize) {
        let mut limit = SharedLimit::new(answer_max);
        for index in 0..self.messages.len() {
            if self.sizes[index] > MESSAGE_ANSWER_BYTES_MAX {
                let too_large = Unresolved::TooLarge(MESSAGE_ANSWER_BYTES_MAX);
                self.change(index, |message, _| message.fail(too_large));
                continue;
            }
            for failed in limit.add(index, self.sizes[index]) {
                let too_large = Unresolved::AnswerTooLarge(answer_max);
                self.change(failed, |message, _| message.fail(too_large));
            }
        }
    }

    /// Skips each SQS message for which an earlier message of the same FIFO group failed.
    pub(super) fn skip_after_failure(&mut self) {
        let outcomes =
            self.results().map(|result| (result.message.group.as_deref(), result.is_ok()));
        for (index, is_blocked) in blocked_messages(outcomes).into_iter().enumerate() {
            if is_blocked {
                self.change(index, MessageRequest::skip);
            }
        }
    }

    /// Changes a message, and then measures the message's result again. The arguments of `change`
    /// are the message, and whether the message was successful.
    fn change(&mut self, index: usize, change: impl FnOnce(&mut MessageRequest, bool)) {
        let was_ok = self.result(&self.messages[index]).is_ok();
        change(&mut self.messages[index], was_ok);
        self.sizes[index] = self.result(&self.messages[index]).size();
    }

    pub(super) fn into_body(self) -> AnswerBody {
        let commas = self.messages.len().saturating_sub(1);
        let failures = compact_size(&BatchItemFailures(&self));
        let frame = START.len() + commas + BETWEEN.len() + failures + END.len();
        let remaining = frame + self.size();
        AnswerBody { answer: self, next: 0, remaining, has_yielded: true }
    }
}

/// The HTTP body of the answer to `/resolve`. The next piece of JSON is created only when the
/// caller has read the earlier pieces.
pub(super) struct AnswerBody {
    answer: Answer,
    next: usize,
    /// The number of bytes of the answer that have not been converted to JSON yet.
    remaining: usize,
    /// Whether other tasks have had a chance to run since the last piece of the answer.
    has_yielded: bool,
}

impl AnswerBody {
    /// Creates the next piece of the JSON answer, in a buffer of exactly the right size. A buffer
    /// that grows would leave copies of secrets in freed memory.
    fn next_piece(&mut self) -> SecretValue {
        let Answer { messages, sizes, .. } = &self.answer;
        let start = if self.next == 0 { START } else { "," };
        let mut size = start.len();
        let mut end = self.next;
        while end < messages.len() && size < PIECE_BYTES {
            size += ",".len() + sizes[end];
            end += 1;
        }
        let failures = BatchItemFailures(&self.answer);
        let is_last = end == messages.len();
        if is_last {
            size += BETWEEN.len() + compact_size(&failures) + END.len();
        }
        let mut piece = Vec::with_capacity(size);
        piece.extend_from_slice(start.as_bytes());
        for (index, message) in messages[self.next..end].iter().enumerate() {
            if index > 0 {
                piece.push(b',');
            }
            render(&self.answer.result(message), &mut piece);
        }
        if is_last {
            piece.extend_from_slice(BETWEEN.as_bytes());
            render(&failures, &mut piece);
            piece.extend_from_slice(END.as_bytes());
        }
        self.next = end;
        SecretValue::new(piece)
    }
}

fn render(body: &impl Serialize, piece: &mut Vec<u8>) {
    serde_json::to_writer(piece, body).expect("writing JSON to a vector must not fail");
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.remaining == 0 {
            return Poll::Ready(None);
        }
        let body = self.get_mut();
        if !std::mem::replace(&mut body.has_yielded, true) {
            // Let other tasks run between two pieces. Otherwise a fast caller would get the
            // complete answer at once, and all other callers would wait meanwhile.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        body.has_yielded = false;
        let piece = body.next_piece();
        body.remaining -= piece.len();
        Poll::Ready(Some(Ok(Frame::data(piece.share()))))
    }

    fn is_end_stream(&self) -> bool {
        self.remaining == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining as u64)
    }
}

/// The list of failed messages in the JSON answer to `/resolve`. A Lambda function with an SQS
/// trigger can return this list to Lambda.
struct BatchItemFailures<'a>(&'a Answer);

impl Serialize for BatchItemFailures<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(
            self.0
                .results()
                .filter(|result| !result.is_ok())
                .filter_map(|result| result.message.message_id.as_deref())
                .map(|id| BatchItemFailure { item_identifier: id }),
        )
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BatchItemFailure<'a> {
    item_identifier: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::version::Content;
    use crate::server::resolving::fixture::{served, text};
    use crate::server::resolving::message_request::RequestedReference;
    use http_body_util::BodyExt;
    use serde_json::{Value, json};

    fn message(id: &str, reference: &str) -> MessageRequest {
        let reference =
            RequestedReference { key: "a.b".into(), text: reference.into(), refused: None };
        MessageRequest {
            message_id: Some(id.into()),
            references: [reference].into(),
            ..MessageRequest::empty()
        }
    }

    fn answer(messages: Vec<MessageRequest>) -> Answer {
        let mut credentials = Credentials::default();
        for (reference, field, content) in [
            ("json", None, text(r#"{"a": 1.50, "b": "é"}"#)),
            ("number", Some("a"), text(r#"{"a": 1.50, "b": "é"}"#)),
            ("field", Some("b"), text(r#"{"a": 1.50, "b": "é"}"#)),
            ("absent", Some("c"), text(r#"{"a": 1.50, "b": "é"}"#)),
            ("text", None, text("a \"quoted\" text")),
            ("binary", None, Content::Binary("bytes".to_owned().into())),
            ("half an emoji", None, text(r#"{"a": "\ud83d"}"#)),
        ] {
            credentials.insert(reference.into(), Ok((field, served(content))));
        }
        let result = |message| MessageResult { message, credentials: &credentials };
        let sizes = messages.iter().map(|message| result(message).size()).collect();
        Answer::new(messages, credentials, sizes)
    }

    /// Returns the pieces of the JSON answer. Checks that their total size is the size that the
    /// HTTP body has announced.
    async fn pieces(answer: Answer) -> Vec<Bytes> {
        let mut body = answer.into_body();
        let announced = body.size_hint().exact();
        let mut pieces = Vec::new();
        while let Some(Ok(frame)) = body.frame().await {
            pieces.push(
                frame.into_data().expect("the body of the answer must not end with HTTP trailers"),
            );
        }
        let size: usize = pieces.iter().map(Bytes::len).sum();
        assert_eq!(
            announced,
            Some(size as u64),
            "the size that the body announces must be the size of its pieces"
        );
        pieces
    }

    async fn rendered(answer: Answer) -> Value {
        let pieces = pieces(answer).await;
        serde_json::from_slice(&pieces.concat()).expect("the answer must be JSON")
    }

    #[tokio::test]
    async fn each_kind_of_value_is_rendered_with_the_announced_size() {
        let references = ["json", "number", "field", "absent", "text", "binary", "half an emoji"];
        let messages = references.map(|reference| message(reference, reference));
        let pieces = pieces(answer(messages.into())).await.concat();
        let rendered = std::str::from_utf8(&pieces).expect("the answer must be UTF-8");
        assert!(rendered.contains(r#""value":{"a": 1.50, "b": "é"}"#), "{rendered}");
        assert!(rendered.contains(r#""reference":"number","value":1.50"#), "{rendered}");
        let json: Value = serde_json::from_str(rendered).expect("the answer must be JSON");
        let value = |at: usize, key| &json["results"][at]["credentials"]["a.b"][key];
        assert_eq!(value(2, "value"), "é");
        assert_eq!(value(3, "error")["__type"], "FieldNotFoundException");
        assert_eq!(value(4, "value"), "a \"quoted\" text");
        assert_eq!(value(5, "valueBase64"), "Ynl0ZXM=");
        assert_eq!(value(6, "value"), r#"{"a": "\ud83d"}"#);
        assert_eq!(json["batchItemFailures"], json!([{"itemIdentifier": "absent"}]));
    }

    #[tokio::test]
    async fn answer_without_messages_has_two_empty_lists() {
        let rendered = rendered(answer(Vec::new())).await;
        assert_eq!(rendered, json!({"results": [], "batchItemFailures": []}));
    }

    #[tokio::test]
    async fn large_answer_comes_in_pieces() {
        let messages: Vec<_> =
            (0..3000).map(|of| message(&of.to_string(), ["json", "absent"][of % 2])).collect();
        let pieces = pieces(answer(messages)).await;
        assert!(pieces.len() > 3 && pieces.iter().all(|piece| piece.len() < 2 * PIECE_BYTES));
        let json: Value =
            serde_json::from_slice(&pieces.concat()).expect("the answer must be JSON");
        let results = json["results"].as_array().expect("`results` must be a JSON array");
        let in_order = |(at, result): (usize, &Value)| result["messageId"] == json!(at.to_string());
        assert!(results.len() == 3000 && results.iter().enumerate().all(in_order));
        assert_eq!(json["batchItemFailures"].as_array().map(Vec::len), Some(1500));
    }

    #[test]
    fn other_tasks_run_between_two_pieces() {
        let messages = (0..3000).map(|of| message(&of.to_string(), "json")).collect();
        let mut body = answer(messages).into_body();
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut poll = || Pin::new(&mut body).poll_frame(&mut cx);
        for _ in 0..3 {
            assert!(matches!(poll(), Poll::Ready(Some(Ok(_)))));
            assert!(poll().is_pending(), "other tasks must run between two pieces of the answer");
        }
    }

    #[tokio::test]
    async fn failed_and_skipped_messages_have_the_announced_size() {
        let mut messages: Vec<_> = (0..4).map(|of| message(&of.to_string(), "json")).collect();
        messages[1].references[0].text = "absent".into();
        for message in &mut messages[1..] {
            message.group = Some("group".into());
        }
        let mut answer = answer(messages);
        answer.skip_after_failure();
        let json = rendered(answer).await;
        let errors: Vec<&Value> =
            (0..4).map(|at| &json["results"][at]["error"]["__type"]).collect();
        let skipped = &json!("EarlierMessageFailed");
        assert_eq!(errors, [&Value::Null, &Value::Null, skipped, skipped]);
        assert_eq!(json["results"][3]["credentials"], json!({}));
        let mut answer = self::answer(vec![message("m", "json"), message("n", "text")]);
        answer.fail_too_large(answer.sizes[1]);
        let json = rendered(answer).await;
        assert_eq!(json["batchItemFailures"], json!([{"itemIdentifier": "m"}]));
    }
}

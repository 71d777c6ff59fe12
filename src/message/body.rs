//! The three kinds of request body that `POST /resolve` accepts.
//!
//! A body is a list of names or ARNs of secrets, one JSON message that contains such names, or an
//! event of SQS or SNS with several messages.

use super::envelope::search_message;
use super::search::{BadText, Found, LimitExceeded, Search};
use crate::secret::json_text::{decoded, decoded_len, decoded_message};
use serde::de::{Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::error::Category;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

/// The maximum number of records in one SQS event. Lambda receives at most this many messages from
/// SQS in one batch.
///
/// Source: `BatchSize` of `CreateEventSourceMapping` in AWS's Lambda API reference.
pub(crate) const RECORDS_MAX: usize = 10_000;

/// The maximum number of secrets in a request to `POST /resolve` whose body is a list of names or
/// ARNs of secrets.
pub(crate) const REFERENCES_MAX: usize = 20_000;

/// The maximum length of the id of an SQS message or of an SQS message group, in bytes. SQS itself
/// uses up to 128 bytes.
const ID_BYTES_MAX: usize = 256;

/// The maximum size of one SQS message, in bytes.
///
/// Source: AWS's page *Amazon SQS message quotas* in the SQS developer guide.
pub(crate) const MESSAGE_BYTES_MAX: usize = 1024 * 1024;

pub(crate) enum Body<'a> {
    /// A list of names or ARNs of secrets. The request's body is a JSON object that contains only
    /// the array `references`.
    List(Vec<Cow<'a, str>>),
    /// One JSON message that contains names or ARNs of secrets.
    Message(Message<'a>),
    /// An event of SQS or SNS for a Lambda function. The request's body is a JSON object with the
    /// array `Records`.
    Event(Vec<RawRecord<'a>>),
}

/// A JSON message that is the complete body of a request to `POST /resolve`.
pub(crate) struct Message<'a>(&'a [u8]);

/// A record of an SQS or SNS event that is not parsed yet.
///
/// An event can have 10,000 records. The caller parses the records one by one, so that other async
/// tasks can run in between.
#[derive(Clone, Copy)]
pub(crate) struct RawRecord<'a>(&'a RawValue);

pub(crate) struct Record<'a> {
    /// The id of the SQS message. `None` if the record comes from SNS, because a Lambda function
    /// cannot report failed messages to SNS.
    pub(crate) message_id: Option<Box<str>>,
    /// The FIFO message group of the SQS message. `None` if the message does not come from a FIFO
    /// queue.
    pub(crate) group: Option<Box<str>>,
    content: Content<'a>,
}

/// The part of an SQS or SNS record that contains the sender's message.
#[derive(Clone, Copy)]
enum Content<'a> {
    /// The `body` of an SQS record: a JSON string that is not decoded yet. `None` if the record has
    /// no `body`.
    Body(Option<&'a RawValue>),
    /// The object `Sns` of an SNS record, which contains the sender's message.
    Notification(&'a RawValue),
}

/// The reason why Sidekey refuses the body of a request to `POST /resolve`. The error messages
/// contain no part of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadBody {
    #[error("the request's body is not JSON: line {line}, column {column}")]
    NotJson { line: usize, column: usize },
    #[error("the request's body is not a JSON object")]
    NotAnObject,
    #[error("the value of Message in the SNS notification is not a JSON object")]
    NotificationNotAnObject,
    #[error("the message in the request's body is larger than {MESSAGE_BYTES_MAX} bytes")]
    MessageTooLarge,
    #[error(transparent)]
    LimitExceeded(#[from] LimitExceeded),
    #[error("the item references[{0}] in the request's body is not a string")]
    ReferenceNotString(usize),
    #[error(
        "Records[{0}] is not a record of an SQS or SNS event: a record needs a messageId of 1 to \
         {ID_BYTES_MAX} bytes, or an object Sns"
    )]
    InvalidRecord(usize),
    #[error("the event has more than {RECORDS_MAX} records")]
    TooManyRecords,
    #[error("the list of secrets has more than {REFERENCES_MAX} references")]
    TooManyReferences,
}

/// The reason why Sidekey cannot search an SQS message for names of secrets. The error messages
/// contain no part of the SQS message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadMessage {
    #[error("the SQS record has no body, or its body is not a string")]
    NoText,
    #[error("the record's body is not JSON: line {line}, column {column}")]
    NotJson { line: usize, column: usize },
    #[error("the record's body is not a JSON object")]
    NotAnObject,
    #[error("the value of Message in the SNS notification is not a JSON object")]
    NotificationNotAnObject,
    #[error("the body of the SQS record is larger than {MESSAGE_BYTES_MAX} bytes")]
    TooLarge,
    #[error(transparent)]
    LimitExceeded(#[from] LimitExceeded),
}

impl<'a> Body<'a> {
    /// Decides whether a request's body is a list of secrets, a message, or an event of SQS or SNS.
    /// Does not parse the records of an event.
    ///
    /// # Errors
    ///
    /// Returns an error if the body is not a JSON object, or is too large.
    pub(crate) fn recognise(bytes: &'a [u8]) -> Result<Self, BadBody> {
        let members: Members<'a> =
            serde_json::from_slice(bytes).map_err(|error| match error.classify() {
                Category::Data => BadBody::NotAnObject,
                Category::Io | Category::Syntax | Category::Eof => {
                    BadBody::NotJson { line: error.line(), column: error.column() }
                }
            })?;
        match members {
            Members { records: Some(records), .. } if is_array(records) => event(records),
            Members { references: Some(list), others: false, records: None } if is_array(list) => {
                references(list)
            }
            _ if bytes.len() > MESSAGE_BYTES_MAX => Err(BadBody::MessageTooLarge),
            _ => Ok(Self::Message(Message(bytes))),
        }
    }
}

impl Message<'_> {
    /// Searches the message for names and ARNs of secrets. If the message is an SNS notification or
    /// an EventBridge event without such names, searches the sender's message inside it.
    ///
    /// # Errors
    ///
    /// Returns an error if the message is not a JSON object, or contains too many names.
    pub(crate) fn search(&self, search: &Search<'_>) -> Result<Found, BadBody> {
        search_message(self.0, search).map_err(|bad| match bad {
            BadText::NotJson { line, column } => BadBody::NotJson { line, column },
            BadText::NotAnObject => BadBody::NotAnObject,
            BadText::NotificationNotAnObject => BadBody::NotificationNotAnObject,
            BadText::LimitExceeded(limit) => limit.into(),
        })
    }
}

impl<'a> RawRecord<'a> {
    /// Parses a record of an SQS or SNS event. `index` is the position of this record in the event,
    /// counted from 0.
    ///
    /// # Errors
    ///
    /// Returns an error if the record has neither a valid SQS message id nor an SNS notification.
    /// Without the id, the Lambda function could not report to SQS that the message failed.
    pub(crate) fn read(self, index: usize) -> Result<Record<'a>, BadBody> {
        record(self.0).ok_or(BadBody::InvalidRecord(index))
    }

    pub(crate) fn bytes(self) -> usize {
        self.0.get().len()
    }
}

/// Writes no content of the request's body, because the body may contain private data.
impl fmt::Debug for Body<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::List(_) => "List(…)",
            Self::Message(_) => "Message(…)",
            Self::Event(_) => "Event(…)",
        })
    }
}

/// Writes no content of the message, because the message may contain private data.
impl fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message").finish_non_exhaustive()
    }
}

/// Writes no content of the SQS or SNS record, because the record may contain private data.
impl fmt::Debug for RawRecord<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawRecord").finish_non_exhaustive()
    }
}

/// Writes no content of the SQS or SNS record, because the record may contain private data.
impl fmt::Debug for Record<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record").finish_non_exhaustive()
    }
}

impl Record<'_> {
    /// Searches the message in this SQS or SNS record for names and ARNs of secrets.
    ///
    /// # Errors
    ///
    /// Returns an error if the record has no message, if the message is not a JSON object or is too
    /// large, or if the message contains too many names.
    pub(crate) fn search(&self, search: &Search<'_>) -> Result<Found, BadMessage> {
        let text = match self.content {
            Content::Body(None) => return Err(BadMessage::NoText),
            Content::Body(Some(raw)) if decoded_len(raw) > MESSAGE_BYTES_MAX => {
                return Err(BadMessage::TooLarge);
            }
            Content::Body(Some(raw)) => decoded_message(raw).ok_or(BadMessage::NoText)?,
            Content::Notification(raw) => Cow::Borrowed(raw.get().as_bytes()),
        };
        if text.len() > MESSAGE_BYTES_MAX {
            return Err(BadMessage::TooLarge);
        }
        search_message(&text, search).map_err(|bad| match bad {
            BadText::NotJson { line, column } => BadMessage::NotJson { line, column },
            BadText::NotAnObject => BadMessage::NotAnObject,
            BadText::NotificationNotAnObject => BadMessage::NotificationNotAnObject,
            BadText::LimitExceeded(limit) => limit.into(),
        })
    }
}

fn references(list: &RawValue) -> Result<Body<'_>, BadBody> {
    let items = AtMost::<REFERENCES_MAX>::parse(list).ok_or(BadBody::TooManyReferences)?;
    let mut references = Vec::with_capacity(items.len());
    for (index, item) in items.into_iter().enumerate() {
        references.push(decoded(item).ok_or(BadBody::ReferenceNotString(index))?);
    }
    Ok(Body::List(references))
}

fn event(records: &RawValue) -> Result<Body<'_>, BadBody> {
    let records = AtMost::<RECORDS_MAX>::parse(records).ok_or(BadBody::TooManyRecords)?;
    Ok(Body::Event(records.into_iter().map(RawRecord).collect()))
}

fn record(item: &RawValue) -> Option<Record<'_>> {
    let read: RecordMembers<'_> = object(item)?;
    if let (None, Some(notification)) = (read.message_id, read.notification) {
        let is_object = notification.get().starts_with('{');
        let content = Content::Notification(notification);
        return is_object.then_some(Record { message_id: None, group: None, content });
    }
    let message_id =
        decoded(read.message_id?).filter(|id| (1..=ID_BYTES_MAX).contains(&id.len()))?;
    // Standard queues also have message groups, but only FIFO queues deliver a group in order.
    let is_fifo = read.queue.and_then(decoded).is_none_or(|queue| queue.ends_with(".fifo"));
    let group = read
        .attributes
        .and_then(object::<Attributes<'_>>)
        .and_then(|attributes| decoded(attributes.group?))
        .filter(|group| is_fifo && group.len() <= ID_BYTES_MAX)
        .map(Into::into);
    Some(Record { message_id: Some(message_id.into()), group, content: Content::Body(read.body) })
}

/// Parses a JSON object. Returns `None` for any other value, even for an array, which serde would
/// accept in place of an object.
fn object<'a, T: Deserialize<'a>>(raw: &'a RawValue) -> Option<T> {
    raw.get().starts_with('{').then(|| serde_json::from_str(raw.get()).ok())?
}

fn is_array(raw: &RawValue) -> bool {
    raw.get().starts_with('[')
}

/// The members of a request's JSON body, which show whether the body is a list of secrets, a
/// message, or an event of SQS or SNS.
#[derive(Default)]
struct Members<'a> {
    records: Option<&'a RawValue>,
    references: Option<&'a RawValue>,
    others: bool,
}

#[derive(Deserialize)]
#[serde(field_identifier)]
enum Member {
    Records,
    #[serde(rename = "references")]
    References,
    #[serde(other)]
    Other,
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reading;
        impl<'de> Visitor<'de> for Reading {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Members::default();
                while let Some(member) = map.next_key()? {
                    match member {
                        Member::Records => members.records = Some(map.next_value()?),
                        Member::References => members.references = Some(map.next_value()?),
                        Member::Other => {
                            map.next_value::<IgnoredAny>()?;
                            members.others = true;
                        }
                    }
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Reading)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RecordMembers<'a> {
    #[serde(borrow)]
    message_id: Option<&'a RawValue>,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
    #[serde(borrow)]
    attributes: Option<&'a RawValue>,
    #[serde(borrow, rename = "eventSourceARN")]
    queue: Option<&'a RawValue>,
    #[serde(borrow, rename = "Sns")]
    notification: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Attributes<'a> {
    #[serde(borrow, rename = "MessageGroupId")]
    group: Option<&'a RawValue>,
}

/// A JSON array of which the parser stores at most `MAX` items, so that a longer array does not
/// take more memory.
struct AtMost<'a, const MAX: usize>(Vec<&'a RawValue>);

impl<'a, const MAX: usize> AtMost<'a, MAX> {
    /// Parses an array. Returns `None` if the array has more than `MAX` items.
    fn parse(array: &'a RawValue) -> Option<Vec<&'a RawValue>> {
        serde_json::from_str::<Self>(array.get()).ok().map(|items| items.0)
    }
}

impl<'de, const MAX: usize> Deserialize<'de> for AtMost<'de, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reading<'a, const MAX: usize>(PhantomData<&'a ()>);
        impl<'de, const MAX: usize> Visitor<'de> for Reading<'de, MAX> {
            type Value = AtMost<'de, MAX>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    if items.len() == MAX {
                        return Err(A::Error::custom("the JSON array has too many items"));
                    }
                    items.push(item);
                }
                Ok(AtMost(items))
            }
        }
        deserializer.deserialize_seq(Reading(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::paths::Paths;
    use serde_json::json;

    fn recognised(body: &str) -> Result<String, BadBody> {
        Body::recognise(body.as_bytes()).map(|body| match body {
            Body::List(references) => Ok(format!("list of {}", references.join(" "))),
            Body::Message(_) => Ok("message".to_owned()),
            Body::Event(records) => {
                let described = records.iter().enumerate().map(|(at, record)| {
                    let record = record.read(at)?;
                    let group = record.group.as_deref().unwrap_or("-");
                    Ok(format!("{}/{group}", record.message_id.as_deref().unwrap_or("-")))
                });
                Ok(format!(
                    "event of {}",
                    described.collect::<Result<Vec<_>, BadBody>>()?.join(" ")
                ))
            }
        })?
    }

    #[track_caller]
    fn check(body: &str, expected: &str) {
        assert_eq!(recognised(body).as_deref(), Ok(expected), "{body}");
    }

    #[track_caller]
    fn refused(body: &str, expected: BadBody) {
        assert_eq!(recognised(body), Err(expected), "{body}");
    }

    #[test]
    fn three_kinds_of_body_are_distinguished() {
        check(r#"{"references": ["a", "b#\u0063"]}"#, "list of a b#c");
        check(r#"{"references": []}"#, "list of ");
        check(r#"{"Records": []}"#, "event of ");
        check(r#"{"Records": [{"messageId": "m", "body": "{}"}], "more": 1}"#, "event of m/-");
        check(r#"{"Records": [{"Sns": {}}, {"Sns": {"Message": "{}"}}]}"#, "event of -/- -/-");
        check(r#"{"Records": [{"Sns": {}, "messageId": "m"}]}"#, "event of m/-");
        check("{}", "message");
        check(r#" {"a": 1} "#, "message");
        check(r#"{"references": "a"}"#, "message");
        check(r#"{"Records": {}}"#, "message");
        check(r#"{"references": ["a"], "b": 1}"#, "message");
        check(r#"{"references": [1], "references": ["a"]}"#, "list of a");
    }

    #[test]
    fn other_bodies_are_refused_with_a_reason() {
        refused("", BadBody::NotJson { line: 1, column: 0 });
        refused("{", BadBody::NotJson { line: 1, column: 1 });
        refused("{\n\"a\": nope}", BadBody::NotJson { line: 2, column: 7 });
        refused("{} {}", BadBody::NotJson { line: 1, column: 4 });
        for body in ["null", "[]", "[{}]", "\"{}\"", "7"] {
            refused(body, BadBody::NotAnObject);
        }
        refused(r#"{"references": ["a", null]}"#, BadBody::ReferenceNotString(1));
        for record in [
            "7",
            "{}",
            r#"["m"]"#,
            r#"["m", "{}", {}, "q"]"#,
            r#"{"messageId": ""}"#,
            r#"{"Sns": "{}"}"#,
            r#"{"Sns": {}, "messageId": ""}"#,
        ] {
            let body = format!(r#"{{"Records": [{{"messageId": "m"}}, {record}]}}"#);
            refused(&body, BadBody::InvalidRecord(1));
        }
        assert!(matches!(Body::recognise(b"{\"\xff\": 1}"), Err(BadBody::NotJson { .. })));
    }

    #[test]
    fn size_of_every_kind_of_body_is_limited() {
        let list = |count| json!({"references": vec!["a"; count]}).to_string();
        assert!(recognised(&list(REFERENCES_MAX)).is_ok());
        refused(&list(REFERENCES_MAX + 1), BadBody::TooManyReferences);
        let id = |bytes: usize| json!({"Records": [{"messageId": "m".repeat(bytes)}]}).to_string();
        assert!(recognised(&id(ID_BYTES_MAX)).is_ok());
        refused(&id(ID_BYTES_MAX + 1), BadBody::InvalidRecord(0));
        let event = |count| json!({"Records": vec![json!({"messageId": "m"}); count]}).to_string();
        assert!(recognised(&event(RECORDS_MAX)).is_ok());
        refused(&event(RECORDS_MAX + 1), BadBody::TooManyRecords);
        let message = |bytes: usize| json!({"a": "x".repeat(bytes - r#"{"a":""}"#.len())});
        assert!(recognised(&message(MESSAGE_BYTES_MAX).to_string()).is_ok());
        refused(&message(MESSAGE_BYTES_MAX + 1).to_string(), BadBody::MessageTooLarge);
    }

    #[test]
    fn groups_count_only_in_fifo_queues() {
        let event = |queue: &str| {
            let record = r#""messageId": "m", "attributes": {"MessageGroupId": "g"}"#;
            format!(r#"{{"Records": [{{{record}{queue}}}]}}"#)
        };
        let queue = |name| format!(r#", "eventSourceARN": "arn:aws:sqs:eu-north-1:1:{name}""#);
        check(&event(""), "event of m/g");
        check(&event(&queue("q.fifo")), "event of m/g");
        check(&event(&queue("q")), "event of m/-");
        check(r#"{"Records": [{"messageId": "m", "attributes": 7}]}"#, "event of m/-");
    }

    #[track_caller]
    fn message(record: &str) -> Result<Option<String>, BadMessage> {
        searched(&format!(r#"{{"messageId": "m"{record}}}"#))
    }

    /// Searches an event that has only the record `record`. The search looks for the name of a
    /// secret at the JSON path `a`.
    #[track_caller]
    fn searched(record: &str) -> Result<Option<String>, BadMessage> {
        let body = format!(r#"{{"Records": [{record}]}}"#);
        let Ok(Body::Event(records)) = Body::recognise(body.as_bytes()) else {
            panic!("the body must be recognised as an event: {body}")
        };
        let paths = Paths::parse(["a"]).expect("the path must be valid");
        let record = records[0].read(0).expect("the SQS or SNS record must be valid");
        let found = record.search(&Search::new(&paths, []))?;
        Ok(found.references.into_iter().find_map(|one| one.reference).map(Into::into))
    }

    #[test]
    fn record_without_a_valid_message_fails_alone() {
        let of_text = |text: &str| message(&format!(r#", "body": {}"#, json!(text)));
        assert_eq!(of_text(r#"{"a": "x"}"#), Ok(Some("x".to_owned())));
        assert_eq!(of_text("hello"), Err(BadMessage::NotJson { line: 1, column: 1 }));
        assert_eq!(of_text("[]"), Err(BadMessage::NotAnObject));
        assert_eq!(message(""), Err(BadMessage::NoText));
        assert_eq!(message(r#", "body": null"#), Err(BadMessage::NoText));
        assert_eq!(message(r#", "body": {"a": 1}"#), Err(BadMessage::NoText));
        let large = json!({"a": "x".repeat(MESSAGE_BYTES_MAX)}).to_string();
        assert_eq!(of_text(&large), Err(BadMessage::TooLarge));
        let wide = json!({"a": "\u{e9}".repeat(MESSAGE_BYTES_MAX / 2)}).to_string();
        assert_eq!(
            of_text(&wide),
            Err(BadMessage::TooLarge),
            "the size limit for messages must count bytes, not characters"
        );
    }

    /// Deeply nested JSON must not overflow the stack, so the parser must skip nested values
    /// without recursion.
    #[test]
    fn deeply_nested_json_does_not_overflow_the_stack() {
        let deep =
            format!("{{\"b\": {}{}, \"a\": \"x\"}}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(message(&format!(r#", "body": {}"#, json!(deep))), Ok(Some("x".to_owned())));
    }

    #[test]
    fn message_of_an_sns_record_is_searched() {
        let record = |message: &str| {
            json!({"EventSource": "aws:sns", "Sns": {
                "Type": "Notification", "TopicArn": "arn:aws:sns:eu-north-1:1:t", "Message": message,
            }})
        };
        let found = searched(&record(r#"{"a": "x"}"#).to_string());
        assert_eq!(found, Ok(Some("x".to_owned())));
        let bad = searched(&record("hello").to_string());
        assert_eq!(bad, Err(BadMessage::NotificationNotAnObject));
        let large = json!({"a": "x".repeat(MESSAGE_BYTES_MAX)}).to_string();
        assert_eq!(searched(&record(&large).to_string()), Err(BadMessage::TooLarge));
    }

    #[test]
    fn lone_surrogate_in_a_message_does_not_fail_the_message() {
        let record = |text: &str| message(&format!(r#", "body": {}"#, json!(text)));
        let cut = r#"{"text": "see you \ud83d", "\ud83d": 1, "a": "x"}"#;
        assert_eq!(record(cut), Ok(Some("x".to_owned())));
        assert_eq!(record(r#"{"a": "x\ud83d"}"#), Ok(Some("x\u{fffd}".to_owned())));
    }
}

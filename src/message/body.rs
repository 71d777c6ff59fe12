//! The three bodies in which references are sent: a list, a message, a whole event of SQS.

use super::search::{BadText, Found, LimitExceeded, Search};
use serde::de::{Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::error::Category;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

/// The most messages of one event: the largest batch that Lambda takes from SQS.
///
/// Source: `BatchSize` of `CreateEventSourceMapping` in AWS's Lambda API reference.
pub const RECORDS_MAX: usize = 10_000;

/// The most references of a list.
pub const REFERENCES_MAX: usize = 20_000;

/// The longest id of a message, and of a message group, in bytes. Those of SQS have up to 128.
const ID_BYTES_MAX: usize = 256;

/// The largest message: what SQS takes.
///
/// Source: "Amazon SQS message quotas" in AWS's SQS developer guide.
pub const MESSAGE_BYTES_MAX: usize = 1024 * 1024;

/// What was sent.
pub enum Body<'a> {
    /// `{"references": ["…", …]}`, and nothing else in it.
    List(Vec<Cow<'a, str>>),
    /// Any other object: a Context Object.
    Message(Message<'a>),
    /// An object with an array called `Records`.
    Event(Vec<RawRecord<'a>>),
}

/// A Context Object that was sent by itself.
pub struct Message<'a>(&'a [u8]);

/// One item of an event, not read yet: an event can have so many that they are read one by one.
#[derive(Clone, Copy)]
pub struct RawRecord<'a>(&'a RawValue);

/// One record of an event.
pub struct Record<'a> {
    /// What SQS calls the message.
    pub message_id: Box<str>,
    /// The group that keeps its order, where its queue is a FIFO one.
    pub group: Option<Box<str>>,
    /// Its text, if it has one.
    body: Option<&'a RawValue>,
}

/// Why a body is none of the three. No variant shows any of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadBody {
    /// It is not JSON.
    #[error("the request's body is not JSON: line {line}, column {column}")]
    NotJson {
        /// The line, counted from 1.
        line: usize,
        /// The column, counted from 1.
        column: usize,
    },
    /// It is JSON, and no object.
    #[error("the request's body is no JSON object")]
    NotAnObject,
    /// It is one message, larger than any.
    #[error("the message is larger than {MESSAGE_BYTES_MAX} bytes")]
    MessageTooLarge,
    /// It is one message, with more in it than a message may have.
    #[error(transparent)]
    LimitExceeded(#[from] LimitExceeded),
    /// An item of the list of references is no string.
    #[error("references[{0}] is no string")]
    ReferenceNotString(usize),
    /// An item of the event's records is none of SQS.
    #[error(
        "Records[{0}] is not a record of an SQS event: it needs a messageId of 1 to {ID_BYTES_MAX} bytes"
    )]
    InvalidRecord(usize),
    /// There are too many records.
    #[error("there are more than {RECORDS_MAX} records")]
    TooManyRecords,
    /// There are too many references.
    #[error("there are more than {REFERENCES_MAX} references")]
    TooManyReferences,
}

/// Why a record has no message. No variant shows any of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadMessage {
    /// The record has no text.
    #[error("the record has no body of text")]
    NoText,
    /// Its text is not JSON.
    #[error("the record's body is not JSON: line {line}, column {column}")]
    NotJson {
        /// The line, counted from 1.
        line: usize,
        /// The column, counted from 1.
        column: usize,
    },
    /// Its text is JSON, and no object.
    #[error("the record's body is no JSON object")]
    NotAnObject,
    /// Its text is larger than any message.
    #[error("the record's body is larger than {MESSAGE_BYTES_MAX} bytes")]
    TooLarge,
    /// It has more in it than a message may have.
    #[error(transparent)]
    LimitExceeded(#[from] LimitExceeded),
}

impl<'a> Body<'a> {
    /// Recognises a body. The texts of records are not looked into yet.
    ///
    /// # Errors
    ///
    /// Where it is none of the three, or there is too much in it.
    pub fn recognise(bytes: &'a [u8]) -> Result<Self, BadBody> {
        let members: Members<'a> = serde_json::from_slice(bytes).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            match error.classify() {
                Category::Data => BadBody::NotAnObject,
                Category::Io | Category::Syntax | Category::Eof => {
                    BadBody::NotJson { line, column }
                }
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
    /// Searches the message.
    ///
    /// # Errors
    ///
    /// If a text in it is not JSON, or it has more than a message may have.
    pub fn search(&self, search: &Search<'_>) -> Result<Found, BadBody> {
        search.text(self.0).map_err(|bad| match bad {
            BadText::NotJson { line, column } => BadBody::NotJson { line, column },
            BadText::NotAnObject => BadBody::NotAnObject,
            BadText::LimitExceeded(overgrown) => overgrown.into(),
        })
    }
}

impl<'a> RawRecord<'a> {
    /// Reads the record at `index` of its event. Without an id the caller could not report that it
    /// failed.
    ///
    /// # Errors
    ///
    /// If it is not a record of SQS.
    pub fn read(self, index: usize) -> Result<Record<'a>, BadBody> {
        record(self.0).ok_or(BadBody::InvalidRecord(index))
    }

    /// Returns how many bytes the record takes in the event.
    pub fn bytes(self) -> usize {
        self.0.get().len()
    }
}

/// Says which of the three it is, and nothing of what is in it.
impl fmt::Debug for Body<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::List(_) => "List(…)",
            Self::Message(_) => "Message(…)",
            Self::Event(_) => "Event(…)",
        })
    }
}

/// Says nothing of what is in it.
impl fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message").finish_non_exhaustive()
    }
}

/// Says nothing of what is in it.
impl fmt::Debug for RawRecord<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawRecord").finish_non_exhaustive()
    }
}

/// Says nothing of what is in it.
impl fmt::Debug for Record<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record").finish_non_exhaustive()
    }
}

impl Record<'_> {
    /// Searches the message in a record.
    ///
    /// # Errors
    ///
    /// If the record has no message, or one with more in it than a message may have.
    pub fn search(&self, search: &Search<'_>) -> Result<Found, BadMessage> {
        let raw = self.body.ok_or(BadMessage::NoText)?;
        if text_len_min(raw.get()) > MESSAGE_BYTES_MAX {
            return Err(BadMessage::TooLarge);
        }
        let text = text(raw).ok_or(BadMessage::NoText)?;
        if text.len() > MESSAGE_BYTES_MAX {
            return Err(BadMessage::TooLarge);
        }
        search.text(text.as_bytes()).map_err(|bad| match bad {
            BadText::NotJson { line, column } => BadMessage::NotJson { line, column },
            BadText::NotAnObject => BadMessage::NotAnObject,
            BadText::LimitExceeded(overgrown) => overgrown.into(),
        })
    }
}

/// Returns a length that the text of a JSON string has at least, without reading the text: one that
/// is too large is not copied.
fn text_len_min(json: &str) -> usize {
    let mut rest = json.trim_matches('"');
    let mut len = 0;
    while let Some(at) = rest.find('\\') {
        let escape = &rest[at..];
        let code = escape.strip_prefix("\\u").and_then(|hex| hex.get(..4));
        let code = code.map(|hex| u32::from_str_radix(hex, 16).unwrap_or_default());
        let (taken, bytes) = match code {
            None => (2, 1),
            Some(..0x80) => (6, 1),
            Some(0x80..0x800) => (6, 2),
            // Half of a character that has four bytes.
            Some(0xd800..0xe000) => (6, 2),
            Some(_) => (6, 3),
        };
        len += at + bytes;
        rest = escape.get(taken..).unwrap_or_default();
    }
    len + rest.len()
}

fn references(list: &RawValue) -> Result<Body<'_>, BadBody> {
    let list = AtMost::<REFERENCES_MAX>::of(list).ok_or(BadBody::TooManyReferences)?;
    let texts = list.into_iter().zip(0..);
    let texts = texts.map(|(item, index)| text(item).ok_or(BadBody::ReferenceNotString(index)));
    texts.collect::<Result<_, _>>().map(Body::List)
}

fn event(records: &RawValue) -> Result<Body<'_>, BadBody> {
    let records = AtMost::<RECORDS_MAX>::of(records).ok_or(BadBody::TooManyRecords)?;
    Ok(Body::Event(records.into_iter().map(RawRecord).collect()))
}

fn record(item: &RawValue) -> Option<Record<'_>> {
    let read: RecordMembers<'_> = object(item)?;
    let is_id = |id: &Cow<'_, str>| !id.is_empty() && id.len() <= ID_BYTES_MAX;
    let message_id = text(read.message_id?).filter(is_id)?;
    let attributes: Option<Attributes<'_>> = read.attributes.and_then(object);
    let group = attributes.and_then(|attributes| text(attributes.group?));
    // Queues that keep no order have groups too, for fairness.
    let is_fifo = read.queue.and_then(text).is_none_or(|queue| queue.ends_with(".fifo"));
    let group = group.filter(|group| is_fifo && group.len() <= ID_BYTES_MAX);
    Some(Record { message_id: message_id.into(), group: group.map(Into::into), body: read.body })
}

/// Returns the text of a piece of JSON, if it is a string. It is copied only if it has escapes.
fn text(raw: &RawValue) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    let text: Text<'_> =
        raw.get().starts_with('"').then(|| serde_json::from_str(raw.get()).ok())??;
    Some(text.0)
}

/// Reads an object. A list of its members' values would be read as well.
fn object<'a, T: Deserialize<'a>>(raw: &'a RawValue) -> Option<T> {
    raw.get().starts_with('{').then(|| serde_json::from_str(raw.get()).ok())?
}

fn is_array(raw: &RawValue) -> bool {
    raw.get().starts_with('[')
}

/// What of a body's members decides which of the three it is.
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
                f.write_str("an object")
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
}

#[derive(Deserialize)]
struct Attributes<'a> {
    #[serde(borrow, rename = "MessageGroupId")]
    group: Option<&'a RawValue>,
}

/// The items of an array, of which there are `MAX` at most: more are not kept even while reading.
struct AtMost<'a, const MAX: usize>(Vec<&'a RawValue>);

impl<'a, const MAX: usize> AtMost<'a, MAX> {
    /// Returns the items of an array, or `None` where there are too many.
    fn of(array: &'a RawValue) -> Option<Vec<&'a RawValue>> {
        serde_json::from_str::<Self>(array.get()).ok().map(|items| items.0)
    }
}

impl<'de, const MAX: usize> Deserialize<'de> for AtMost<'de, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reading<'a, const MAX: usize>(PhantomData<&'a ()>);
        impl<'de, const MAX: usize> Visitor<'de> for Reading<'de, MAX> {
            type Value = AtMost<'de, MAX>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    if items.len() == MAX {
                        return Err(A::Error::custom("too many items"));
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

    /// Says what a body is recognised as.
    fn recognised(body: &str) -> Result<String, BadBody> {
        Body::recognise(body.as_bytes()).map(|body| match body {
            Body::List(references) => Ok(format!("list of {}", references.join(" "))),
            Body::Message(_) => Ok("message".to_owned()),
            Body::Event(records) => {
                let told = records.iter().enumerate().map(|(at, record)| {
                    let record = record.read(at)?;
                    let group = record.group.as_deref().unwrap_or("-");
                    Ok(format!("{}/{group}", record.message_id))
                });
                Ok(format!("event of {}", told.collect::<Result<Vec<_>, BadBody>>()?.join(" ")))
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
    fn the_three_bodies_are_told_apart() {
        check(r#"{"references": ["a", "b#\u0063"]}"#, "list of a b#c");
        check(r#"{"references": []}"#, "list of ");
        check(r#"{"Records": []}"#, "event of ");
        check(r#"{"Records": [{"messageId": "m", "body": "{}"}], "more": 1}"#, "event of m/-");
        check("{}", "message");
        check(r#" {"a": 1} "#, "message");
        check(r#"{"references": "a"}"#, "message");
        check(r#"{"Records": {}}"#, "message");
        check(r#"{"references": ["a"], "b": 1}"#, "message");
        check(r#"{"references": [1], "references": ["a"]}"#, "list of a");
    }

    #[test]
    fn what_is_none_of_the_three_is_told_what_is_wrong() {
        refused("", BadBody::NotJson { line: 1, column: 0 });
        refused("{", BadBody::NotJson { line: 1, column: 1 });
        refused("{\n\"a\": nope}", BadBody::NotJson { line: 2, column: 7 });
        refused("{} {}", BadBody::NotJson { line: 1, column: 4 });
        for body in ["null", "[]", "[{}]", "\"{}\"", "7"] {
            refused(body, BadBody::NotAnObject);
        }
        refused(r#"{"references": ["a", null]}"#, BadBody::ReferenceNotString(1));
        for record in ["7", "{}", r#"["m"]"#, r#"["m", "{}", {}, "q"]"#, r#"{"messageId": ""}"#] {
            let body = format!(r#"{{"Records": [{{"messageId": "m"}}, {record}]}}"#);
            refused(&body, BadBody::InvalidRecord(1));
        }
        assert!(matches!(Body::recognise(b"{\"\xff\": 1}"), Err(BadBody::NotJson { .. })));
    }

    #[test]
    fn what_is_in_a_body_is_bounded() {
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
    fn groups_count_where_the_queue_keeps_an_order() {
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

    /// Searches the one record of an event for what stands at `a`.
    #[track_caller]
    fn message(record: &str) -> Result<Option<String>, BadMessage> {
        let body = format!(r#"{{"Records": [{{"messageId": "m"{record}}}]}}"#);
        let Ok(Body::Event(records)) = Body::recognise(body.as_bytes()) else {
            panic!("an event: {body}")
        };
        let paths = Paths::parse(["a"]).expect("a good path");
        let record = records[0].read(0).expect("it has an id");
        let found = record.search(&Search::new(&paths, []))?;
        Ok(found.references.into_iter().find_map(|one| one.reference).map(Into::into))
    }

    #[test]
    fn a_record_whose_body_is_no_message_fails_alone() {
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
        assert_eq!(of_text(&wide), Err(BadMessage::TooLarge), "bytes count, not characters");
    }

    /// What is nested deeply is passed over without a frame of the stack for each level.
    #[test]
    fn depth_costs_nothing() {
        let deep =
            format!("{{\"b\": {}{}, \"a\": \"x\"}}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(message(&format!(r#", "body": {}"#, json!(deep))), Ok(Some("x".to_owned())));
    }

    #[test]
    fn the_length_of_a_text_is_known_before_it_is_copied() {
        for text in ["", "a", "\"\\\n\u{1}", "\u{e9}\u{20ac}"] {
            let json = json!(text).to_string();
            assert_eq!(text_len_min(&json), text.len(), "{json}");
        }
        assert_eq!(text_len_min(r#""\u20ac\u0061\u00e9\ud83d\ude00""#), 3 + 1 + 2 + 4);
    }
}

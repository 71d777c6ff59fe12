//! Finds names and ARNs of secrets in messages that SNS or EventBridge has put into an envelope.
//!
//! An envelope is a JSON object that contains the sender's message: as a string in `Message` for
//! SNS, or as an object in `detail` for EventBridge. One message can have both envelopes.

use super::search::{BadText, Found, Search};
use crate::secret::json_text::{decoded, decoded_message};
use serde::Deserialize;
use serde_json::value::RawValue;

/// The maximum number of JSON objects that AWS services put around the sender's message. An event
/// of EventBridge that reaches an SQS queue through SNS has two of them.
const ENVELOPES_MAX: usize = 2;

/// The JSON object that SNS or EventBridge put around the sender's message. Each variant contains
/// the sender's message.
enum Envelope<'a> {
    Sns(&'a RawValue),
    EventBridge(&'a RawValue),
}

/// Searches a JSON message for names and ARNs of secrets. If the message has none, but comes from
/// SNS or EventBridge, searches the sender's message inside it. The paths in the result then begin
/// in the sender's message.
///
/// # Errors
///
/// Returns an error if one of these messages is not a JSON object, or exceeds a limit of the
/// search.
pub(super) fn search_message(message: &[u8], search: &Search<'_>) -> Result<Found, BadText> {
    search_inside(message, search, ENVELOPES_MAX)
}

fn search_inside(
    message: &[u8],
    search: &Search<'_>,
    envelopes_max: usize,
) -> Result<Found, BadText> {
    let found = search.text(message)?;
    if !found.references.is_empty() || envelopes_max == 0 {
        return Ok(found);
    }
    match envelope(message) {
        None => Ok(found),
        Some(Envelope::EventBridge(detail)) => {
            search_inside(detail.get().as_bytes(), search, envelopes_max - 1)
        }
        Some(Envelope::Sns(text)) => {
            let content = decoded_message(text).ok_or(BadText::NotificationNotAnObject)?;
            search_inside(&content, search, envelopes_max - 1).map_err(|bad| match bad {
                BadText::NotJson { .. } | BadText::NotAnObject => BadText::NotificationNotAnObject,
                BadText::NotificationNotAnObject | BadText::LimitExceeded(_) => bad,
            })
        }
    }
}

/// Returns the sender's message inside a notification of SNS or an event of EventBridge. Returns
/// `None` if `message` is neither of them.
fn envelope(message: &[u8]) -> Option<Envelope<'_>> {
    let members: Members<'_> = serde_json::from_slice(message).ok()?;
    if let (Some(_), Some(message)) = (members.topic, members.message) {
        let is_notification = decoded(members.kind?)? == "Notification";
        return (is_notification && message.get().starts_with('"'))
            .then_some(Envelope::Sns(message));
    }
    let (_, _, detail) = (members.detail_type?, members.source?, members.detail?);
    detail.get().starts_with('{').then_some(Envelope::EventBridge(detail))
}

#[derive(Deserialize)]
struct Members<'a> {
    #[serde(borrow, rename = "Type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow, rename = "TopicArn")]
    topic: Option<&'a RawValue>,
    #[serde(borrow, rename = "Message")]
    message: Option<&'a RawValue>,
    #[serde(borrow, rename = "detail-type")]
    detail_type: Option<&'a RawValue>,
    #[serde(borrow)]
    source: Option<&'a RawValue>,
    #[serde(borrow)]
    detail: Option<&'a RawValue>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::path::Path;
    use crate::message::paths::Paths;
    use crate::message::search::LimitExceeded;
    use serde_json::{Value, json};

    fn sns(message: &str) -> Value {
        json!({
            "Type": "Notification", "MessageId": "s-1", "Message": message,
            "TopicArn": "arn:aws:sns:eu-north-1:123456789012:out",
            "Timestamp": "2026-01-01T00:00:00.000Z",
        })
    }

    fn event_bridge(detail: &Value) -> Value {
        json!({
            "version": "0", "id": "e-1", "detail-type": "Order Placed", "source": "shop",
            "account": "123456789012", "time": "2026-01-01T00:00:00Z", "region": "eu-north-1",
            "resources": [], "detail": detail,
        })
    }

    /// Searches a message for names of secrets at the paths `a.*` and `detail.b`, and for the
    /// tenant (such as a company) at the path `who`. Returns a line such as `a.id=x` for each
    /// result.
    fn found(message: &Value) -> Result<Vec<String>, BadText> {
        let paths = Paths::parse(["a.*", "detail.b"]).expect("the paths must be valid");
        let tenant = Path::parse("who").expect("the path must be valid");
        let search = Search::new(&paths, [&tenant]);
        let found = search_message(message.to_string().as_bytes(), &search)?;
        let references = found.references.into_iter();
        let lines =
            references.map(|one| format!("{}={}", one.path, one.reference.unwrap_or_default()));
        let who = found.texts.into_iter().flatten().map(|who| format!("who={who}"));
        Ok(lines.chain(who).collect())
    }

    #[track_caller]
    fn check(message: &Value, expected: &[&str]) {
        let found = found(message).expect("the message and its content must be JSON objects");
        assert_eq!(found, expected, "{message}");
    }

    #[test]
    fn references_inside_an_envelope_are_found() {
        let message = json!({"a": {"id": "x"}, "who": "acme"});
        let expected = ["a.id=x", "who=acme"];
        let inner = sns(&message.to_string());
        for message in [
            message.clone(),
            inner.clone(),
            event_bridge(&message),
            sns(&event_bridge(&message).to_string()),
            sns(&inner.to_string()),
        ] {
            check(&message, &expected);
        }
        check(&sns(&sns(&inner.to_string()).to_string()), &[]);
        check(&sns(r#"{"b": "\ud83d", "a": {"id": "x\ud83d"}}"#), &["a.id=x\u{fffd}"]);
    }

    /// The configured path `detail.b` leads into the EventBridge event itself, and not into the
    /// sender's message inside the event.
    #[test]
    fn references_of_the_envelope_come_before_those_inside() {
        let detail = json!({"a": {"id": "x"}, "b": "y"});
        check(&event_bridge(&detail), &["detail.b=y"]);
    }

    #[test]
    fn other_objects_are_not_envelopes() {
        let text = json!({"a": {"id": "x"}}).to_string();
        let without = |mut envelope: Value, key: &str| {
            envelope[key].take();
            envelope
        };
        for key in ["Type", "TopicArn", "Message"] {
            check(&without(sns(&text), key), &[]);
        }
        let detail = json!({"a": {"id": "x"}});
        for key in ["detail-type", "source", "detail"] {
            check(&without(event_bridge(&detail), key), &[]);
        }
        check(&event_bridge(&json!(text)), &[]);
    }

    #[test]
    fn mistake_inside_an_envelope_is_reported() {
        for text in ["hello", "[]", "", "{\"a\""] {
            assert_eq!(found(&sns(text)), Err(BadText::NotificationNotAnObject), "{text}");
        }
        let many = json!({"a": vec!["x"; 101]}).to_string();
        let limit = LimitExceeded::TooManyReferences;
        assert_eq!(found(&sns(&many)), Err(BadText::LimitExceeded(limit)));
    }
}

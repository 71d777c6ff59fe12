//! What one message asks for, each reference judged by its text.
//!
//! Pure: a list, a message or a record in, references out.

use super::Config;
use super::unresolved::Unresolved;
use crate::message::body::Record;
use crate::message::tenant::Tenant;
use crate::secret::reference::{BadReference, Reference};
use serde_json::Value;
use std::collections::HashSet;

/// How much of a reference is answered that is too long to be one.
const SHOWN_CHARS_MAX: usize = 256;

/// What one message asks for, or one list.
#[derive(Debug)]
pub struct Ask {
    /// What SQS calls the message.
    pub message_id: Option<Box<str>>,
    /// The group that keeps its order.
    pub group: Option<Box<str>>,
    /// Whose it is.
    pub tenant: Tenant,
    /// What it refers to.
    pub wants: Vec<Want>,
    /// Why it fails, whatever comes of those.
    pub problem: Option<Unresolved>,
}

/// One reference.
#[derive(Debug)]
pub struct Want {
    /// What its credential is answered under.
    pub key: Box<str>,
    /// The reference as it is written; one that is too long is cut.
    pub reference: Box<str>,
    /// Why it is not read.
    pub refused: Option<Unresolved>,
}

impl Ask {
    /// Takes a list. What is in it twice is answered once.
    pub(super) fn of_list(config: &Config, references: Vec<String>) -> Self {
        let tenant = config.tie.tenant(None);
        let mut seen = HashSet::new();
        let once = references.iter().filter(|reference| seen.insert(&***reference));
        let wants = once.map(|reference| Want::new(config, &tenant, reference, reference));
        let wants: Vec<Want> = wants.collect();
        let problem = wants.is_empty().then_some(Unresolved::NoReference);
        Self { message_id: None, group: None, tenant, wants, problem }
    }

    /// Takes a message on its own.
    pub(super) fn of_message(config: &Config, message: &Value) -> Self {
        let tenant = config.tie.tenant(Some(message));
        let (found, mut problem) = match config.paths.find(message) {
            Ok(found) if found.is_empty() => (found, Some(Unresolved::NoReference)),
            Ok(found) => (found, None),
            Err(overgrown) => (Vec::new(), Some(overgrown.into())),
        };
        let mut wants = Vec::new();
        for place in found {
            match place.reference {
                Some(reference) => {
                    wants.push(Want::new(config, &tenant, &place.path, reference));
                }
                None => problem = problem.or_else(|| Some(Unresolved::NoString(place.path.into()))),
            }
        }
        Self { message_id: None, group: None, tenant, wants, problem }
    }

    /// Takes a record of an event.
    pub(super) fn of_record(config: &Config, record: &Record<'_>) -> Self {
        let asked = match record.message() {
            Ok(message) => Self::of_message(config, &message),
            Err(bad) => Self {
                message_id: None,
                group: None,
                tenant: config.tie.tenant(None),
                wants: Vec::new(),
                problem: Some(bad.into()),
            },
        };
        let message_id = Some(record.message_id.clone());
        Self { message_id, group: record.group.clone(), ..asked }
    }
}

impl Want {
    /// Judges a reference by its text, and by whose message it is in.
    fn new(config: &Config, tenant: &Tenant, key: &str, reference: &str) -> Self {
        let judged = Reference::of_message(reference)
            .map_err(Unresolved::from)
            .and_then(|parsed| Ok(config.tie.judge(&parsed.id, tenant)?));
        let refused = judged.err();
        let reference = match refused {
            Some(Unresolved::Reference(BadReference::TooLong { .. })) => cut(reference),
            _ => reference.into(),
        };
        Self { key: key.into(), reference, refused }
    }
}

/// Returns the references that are to be read, each once, in the order in which they come.
pub(super) fn distinct(asks: &[Ask]) -> Vec<&str> {
    let wants = asks.iter().flat_map(|ask| &ask.wants);
    let read = wants.filter(|want| want.refused.is_none()).map(|want| &*want.reference);
    let mut seen = HashSet::new();
    read.filter(|reference| seen.insert(*reference)).collect()
}

fn cut(text: &str) -> Box<str> {
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]).into(),
        None => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convention::Conventions;
    use crate::message::body::Body;
    use crate::message::path::Path;
    use crate::message::paths::Paths;
    use crate::message::tenant::{Tie, Tied};
    use serde_json::json;
    use std::sync::Arc;

    fn config(tied: &[&str]) -> Config {
        let paths = ["channel_config.*.credentials_id", "ai_config.ai_api_key_reference"];
        let tied = tied.iter().map(|path| Tied {
            placeholder: "company_name".into(),
            path: Path::parse(path).expect("a good path"),
        });
        Config {
            paths: Paths::parse(paths).expect("good paths"),
            tie: Tie::new(Arc::new(Conventions::built_in()), tied.collect()),
        }
    }

    /// Tells every reference, and why it is refused.
    fn told(ask: &Ask) -> Vec<(&str, &str, Option<&str>)> {
        let wants = ask.wants.iter();
        let told = wants.map(|want| {
            (&*want.key, &*want.reference, want.refused.as_ref().map(Unresolved::kind))
        });
        told.collect()
    }

    #[test]
    fn a_list_asks_for_each_reference_once() {
        let list = ["b", "a", "b", "a#x", "no name"].map(str::to_owned);
        let ask = Ask::of_list(&config(&[]), list.to_vec());
        assert_eq!(
            told(&ask),
            [
                ("b", "b", None),
                ("a", "a", None),
                ("a#x", "a#x", None),
                ("no name", "no name", Some("ValidationException"))
            ]
        );
        assert_eq!(ask.problem, None);
        assert_eq!(distinct(&[ask]), ["b", "a", "a#x"]);
        let empty = Ask::of_list(&config(&[]), Vec::new());
        assert_eq!(empty.problem, Some(Unresolved::NoReference));
    }

    #[test]
    fn a_message_asks_for_what_stands_at_its_paths() {
        let message = json!({
            "channel_config": {"sms": {"credentials_id": "a"}, "mail": {"credentials_id": null}},
            "ai_config": {"ai_api_key_reference": "b#c"},
        });
        let ask = Ask::of_message(&config(&[]), &message);
        assert_eq!(
            told(&ask),
            [
                ("channel_config.sms.credentials_id", "a", None),
                ("ai_config.ai_api_key_reference", "b#c", None)
            ]
        );
        let no_string = Unresolved::NoString("channel_config.mail.credentials_id".into());
        assert_eq!(ask.problem, Some(no_string));
        let nothing = Ask::of_message(&config(&[]), &json!({"a": "b"}));
        assert_eq!(told(&nothing), []);
        assert_eq!(nothing.problem, Some(Unresolved::NoReference));
    }

    #[test]
    fn what_is_refused_in_one_message_may_be_read_for_another() {
        let message = |company| {
            let id = "sms-credentials/acme/x/twilio";
            json!({"company": company, "channel_config": {"sms": {"credentials_id": id}}})
        };
        let config = config(&["company"]);
        let asks = ["other", "acme"].map(|company| Ask::of_message(&config, &message(company)));
        let refused: Vec<_> = asks.iter().map(|ask| told(ask)[0].2).collect();
        assert_eq!(refused, [Some("AccessDeniedException"), None]);
        assert_eq!(distinct(&asks), ["sms-credentials/acme/x/twilio"]);
    }

    #[test]
    fn a_record_without_a_message_asks_for_nothing() {
        let event = br#"{"Records": [{"messageId": "m", "body": "hello"}]}"#;
        let Ok(Body::Event(records)) = Body::recognise(event) else { panic!("an event") };
        let ask = Ask::of_record(&config(&[]), &records[0]);
        assert_eq!((ask.message_id.as_deref(), ask.wants.len()), (Some("m"), 0));
        let kind = ask.problem.as_ref().map(Unresolved::kind);
        assert_eq!(kind, Some("SerializationException"));
    }

    #[test]
    fn a_reference_that_is_too_long_is_cut() {
        let ask = Ask::of_list(&config(&[]), vec!["é".repeat(5000), "x".repeat(600)]);
        assert_eq!(*ask.wants[0].reference, format!("{}…", "é".repeat(256)));
        assert_eq!(*ask.wants[1].reference, format!("{}…", "x".repeat(256)));
        assert!(ask.wants.iter().all(|want| want.refused.is_some()));
    }
}

//! What one message asks for, each reference judged by its text.
//!
//! Pure: what was found in a list, a message or a record in, judged references out.

use super::Config;
use super::unresolved::Unresolved;
use crate::cache::ReadError;
use crate::message::body::{BadMessage, Record};
use crate::message::search::{Found, FoundReference};
use crate::message::tenant::Tenant;
use crate::secret::reference::{BadReference, Reference, SecretId};
use crate::server::problem::Problem;
use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

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

/// Shows no function.
impl fmt::Debug for Judge<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Judge").finish_non_exhaustive()
    }
}

/// Judges references by their text, before anything is read.
pub struct Judge<'a> {
    /// How messages are resolved.
    pub config: &'a Config,
    /// Whether `SIDEKEY_ALLOW` covers a secret.
    pub is_allowed: &'a (dyn Fn(&SecretId) -> bool + Sync),
}

impl Judge<'_> {
    /// Takes a list, which has no message that could name a tenant. What is in it twice is answered
    /// once.
    pub fn list(&self, references: &[Cow<'_, str>]) -> Ask {
        let tenant = Tenant::without_message();
        let mut seen = HashSet::new();
        let once = references.iter().filter(|reference| seen.insert(&***reference));
        let wants = once.map(|reference| {
            let want = self.want(&tenant, reference, Box::default());
            Want { key: want.reference.clone(), ..want }
        });
        let wants: Vec<Want> = wants.collect();
        let problem = wants.is_empty().then_some(Unresolved::NoReference);
        Ask { message_id: None, group: None, tenant, wants, problem }
    }

    /// Takes what was found in a message.
    pub fn message(&self, found: Found) -> Ask {
        let tenant = Tenant::from_texts(found.texts);
        let mut problem = found.references.is_empty().then_some(Unresolved::NoReference);
        let mut wants = Vec::with_capacity(found.references.len());
        for FoundReference { path, reference, .. } in found.references {
            match reference {
                Some(reference) => wants.push(self.want(&tenant, &reference, path)),
                None => problem = problem.or(Some(Unresolved::NoString(path))),
            }
        }
        Ask { message_id: None, group: None, tenant, wants, problem }
    }

    /// Takes a record of an event, and what was found in its message.
    pub fn record(&self, record: Record<'_>, found: Result<Found, BadMessage>) -> Ask {
        let ask = match found {
            Ok(found) => self.message(found),
            Err(bad) => Ask::failed(bad.into()),
        };
        Ask { message_id: Some(record.message_id), group: record.group, ..ask }
    }

    /// Judges a reference, and whether its message may have the secret.
    fn want(&self, tenant: &Tenant, reference: &str, key: Box<str>) -> Want {
        let judged =
            Reference::from_message(reference).map_err(Unresolved::from).and_then(|parsed| {
                self.config.tenant_check.check(&parsed.id, tenant)?;
                let is_allowed = (self.is_allowed)(&parsed.id);
                let refuse = || Problem::from(ReadError::OutOfScope).into();
                is_allowed.then_some(()).ok_or_else(refuse)
            });
        let refused = judged.err();
        let reference = match refused {
            Some(Unresolved::Reference(BadReference::TooLong { .. })) => cut(reference),
            _ => reference.into(),
        };
        Want { key, reference, refused }
    }
}

impl Ask {
    /// Asks for nothing, since the message fails.
    pub fn failed(why: Unresolved) -> Self {
        let tenant = Tenant::without_message();
        Self { message_id: None, group: None, tenant, wants: Vec::new(), problem: Some(why) }
    }

    /// Fails the message: it asks for nothing any more.
    pub fn fail(&mut self, why: Unresolved) {
        self.wants = Vec::new();
        self.problem = Some(why);
    }

    /// Returns the references that are to be read.
    pub fn to_read(&self) -> Vec<&str> {
        let read = self.wants.iter().filter(|want| want.refused.is_none());
        read.map(|want| &*want.reference).collect()
    }

    /// Returns about how many bytes of memory it takes.
    pub fn bytes(&self) -> usize {
        let wants = self.wants.iter();
        let texts: usize = wants.map(|want| want.key.len() + want.reference.len()).sum();
        texts + self.wants.len() * WANT_BYTES
    }
}

/// What a reference takes beside its texts: itself, what is answered for it, and two allocations.
const WANT_BYTES: usize = 2 * size_of::<Want>() + 64;

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
    use crate::message::search::Search;
    use crate::message::tenant::{TenantBinding, TenantCheck};
    use serde_json::{Value, json};
    use std::sync::Arc;

    fn config(tied: &[&str]) -> Config {
        let paths = ["channel_config.*.credentials_id", "ai_config.ai_api_key_reference"];
        let tied = tied.iter().map(|path| TenantBinding {
            placeholder: "company_name".into(),
            path: Path::parse(path).expect("a good path"),
        });
        Config {
            paths: Paths::parse(paths).expect("good paths"),
            tenant_check: TenantCheck::new(Arc::new(Conventions::built_in()), tied.collect()),
        }
    }

    /// Lists every reference, and why it is refused.
    fn listed(ask: &Ask) -> Vec<(&str, &str, Option<&str>)> {
        let wants = ask.wants.iter();
        let listed = wants.map(|want| {
            (&*want.key, &*want.reference, want.refused.as_ref().map(Unresolved::kind))
        });
        listed.collect()
    }

    fn of_list(references: &[&str]) -> Ask {
        let config = config(&[]);
        let judge = Judge { config: &config, is_allowed: &|_| true };
        judge.list(&references.iter().map(|text| Cow::Borrowed(*text)).collect::<Vec<_>>())
    }

    fn of_message(config: &Config, message: &Value) -> Ask {
        let search = Search::new(&config.paths, config.tenant_check.paths());
        let Ok(found) = search.run(message) else { panic!("a small message") };
        let is_allowed = |id: &SecretId| id.as_str() != "forbidden";
        Judge { config, is_allowed: &is_allowed }.message(found)
    }

    #[test]
    fn a_list_asks_for_each_reference_once() {
        let ask = of_list(&["b", "a", "b", "a#x", "no name"]);
        assert_eq!(
            listed(&ask),
            [
                ("b", "b", None),
                ("a", "a", None),
                ("a#x", "a#x", None),
                ("no name", "no name", Some("ValidationException"))
            ]
        );
        assert_eq!(ask.problem, None);
        assert_eq!(ask.to_read(), ["b", "a", "a#x"]);
        assert_eq!(of_list(&[]).problem, Some(Unresolved::NoReference));
    }

    #[test]
    fn a_message_asks_for_what_stands_at_its_paths() {
        let message = json!({
            "channel_config": {"sms": {"credentials_id": "a"}, "mail": {"credentials_id": null}},
            "ai_config": {"ai_api_key_reference": "b#c"},
        });
        let ask = of_message(&config(&[]), &message);
        assert_eq!(
            listed(&ask),
            [
                ("channel_config.sms.credentials_id", "a", None),
                ("ai_config.ai_api_key_reference", "b#c", None)
            ]
        );
        let no_string = Unresolved::NoString("channel_config.mail.credentials_id".into());
        assert_eq!(ask.problem, Some(no_string));
        let nothing = of_message(&config(&[]), &json!({"a": "b"}));
        assert_eq!(listed(&nothing), []);
        assert_eq!(nothing.problem, Some(Unresolved::NoReference));
    }

    #[test]
    fn what_is_refused_in_one_message_may_be_read_for_another() {
        let message = |company| {
            let id = "sms-credentials/acme/x/twilio";
            json!({"company": company, "channel_config": {"sms": {"credentials_id": id}}})
        };
        let config = config(&["company"]);
        let asks = ["other", "acme"].map(|company| of_message(&config, &message(company)));
        let refused: Vec<_> = asks.iter().map(|ask| listed(ask)[0].2).collect();
        assert_eq!(refused, [Some("AccessDeniedException"), None]);
        let to_read = asks.each_ref().map(Ask::to_read);
        assert_eq!(to_read, [vec![], vec!["sms-credentials/acme/x/twilio"]]);
    }

    #[test]
    fn a_secret_that_is_not_allowed_is_not_read() {
        let message = json!({"ai_config": {"ai_api_key_reference": "forbidden"}});
        let ask = of_message(&config(&[]), &message);
        assert_eq!(listed(&ask)[0].2, Some("AccessDeniedException"));
        assert_eq!(ask.to_read(), [""; 0]);
    }

    #[test]
    fn a_record_without_a_message_asks_for_nothing() {
        let event = br#"{"Records": [{"messageId": "m", "body": "hello"}]}"#;
        let Ok(Body::Event(records)) = Body::recognise(event) else { panic!("an event") };
        let record = records[0].read(0).expect("it has an id");
        let config = config(&[]);
        let found = record.search(&Search::new(&config.paths, []));
        let ask = Judge { config: &config, is_allowed: &|_| true }.record(record, found);
        assert_eq!((ask.message_id.as_deref(), ask.wants.len()), (Some("m"), 0));
        let kind = ask.problem.as_ref().map(Unresolved::kind);
        assert_eq!(kind, Some("SerializationException"));
    }

    #[test]
    fn a_reference_that_is_too_long_is_cut() {
        let ask = of_list(&[&"é".repeat(5000), &"x".repeat(600)]);
        assert_eq!(*ask.wants[0].reference, format!("{}…", "é".repeat(256)));
        assert_eq!(*ask.wants[1].reference, format!("{}…", "x".repeat(256)));
        assert!(ask.wants.iter().all(|want| want.refused.is_some()));
    }
}

//! Checks the names and ARNs of secrets in a message before any secret is read. Decides which
//! secrets must be read, and which are refused.
//!
//! The module has no side effects.

use super::config::Config;
use super::unresolved::Unresolved;
use crate::cache::ReadError;
use crate::message::body::{BadMessage, Record};
use crate::message::search::{Found, FoundReference};
use crate::message::tenant::{Tenant, TenantMismatch};
use crate::secret::reference::{BadReference, Reference, SecretId};
use crate::server::problem::Problem;
use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

/// The maximum number of characters that the answer quotes from a text that is too long to be a
/// secret's name or ARN.
const QUOTED_CHARS_MAX: usize = 256;

/// The estimated memory for one secret that a message refers to, in bytes. It does not include the
/// characters of the secret's name or ARN and of its key in the answer.
const REFERENCE_BYTES: usize = 2 * size_of::<RequestedReference>() + 64;

/// The names and ARNs of secrets in one message, or in the list of a `/resolve` request.
#[derive(Debug)]
pub(crate) struct MessageRequest {
    pub(crate) message_id: Option<Box<str>>,
    /// The FIFO group of a message from an SQS FIFO queue. The caller must process the messages of
    /// one group in order. `None` for any other message.
    pub(crate) group: Option<Box<str>>,
    /// The tenant (a customer, for example) to which the message belongs. The message may only read
    /// the secrets of its own tenant.
    pub(crate) tenant: Tenant,
    pub(crate) references: Box<[RequestedReference]>,
    /// The error of the message itself, which makes the message fail even if all its secrets can be
    /// read. `None` if the message has no such error.
    pub(crate) problem: Option<Unresolved>,
    /// Whether the message is skipped, because an earlier message of its FIFO group failed. The
    /// answer then contains no secrets for this message, so that the caller does not process it.
    pub(crate) is_skipped: bool,
}

/// A secret's name or ARN in a message or in a list, and the reason if Sidekey refuses to read this
/// secret.
#[derive(Debug)]
pub(crate) struct RequestedReference {
    /// The key under which the answer contains the secret: the path in the message at which the
    /// secret's name or ARN was found. For a list, the key is the name or ARN itself.
    pub(crate) key: Box<str>,
    /// The name or ARN of a secret, as the message contains it. A text that is too long for a name
    /// or ARN is truncated.
    pub(crate) text: Arc<str>,
    /// Why Sidekey refuses to read the secret. `None` if the secret must be read.
    pub(crate) refused: Option<Unresolved>,
}

pub(crate) struct ReferenceChecker<'a> {
    pub(crate) config: &'a Config,
    /// Returns whether the setting `SIDEKEY_ALLOW` allows reading a secret.
    pub(crate) is_allowed: &'a (dyn Fn(&SecretId) -> bool + Sync),
}

impl fmt::Debug for ReferenceChecker<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReferenceChecker").finish_non_exhaustive()
    }
}

impl ReferenceChecker<'_> {
    /// Checks the names and ARNs in the list of a `/resolve` request. Such a list has no tenant,
    /// because only a message has fields that name its tenant (a customer). The result contains
    /// each name and ARN once, even if the list repeats it.
    pub(crate) fn list(&self, references: &[Cow<'_, str>]) -> MessageRequest {
        let tenant = Tenant::without_message();
        let mut seen = HashSet::new();
        let references: Box<[RequestedReference]> = references
            .iter()
            .filter(|reference| seen.insert(&***reference))
            .map(|reference| {
                let checked = self.check(&tenant, reference, Box::default());
                RequestedReference { key: (*checked.text).into(), ..checked }
            })
            .collect();
        let problem = references.is_empty().then_some(Unresolved::NoReference);
        MessageRequest { tenant, references, problem, ..MessageRequest::empty() }
    }

    pub(crate) fn message(&self, found: Found) -> MessageRequest {
        let tenant = Tenant::from_texts(found.texts);
        let mut problem = found.references.is_empty().then_some(Unresolved::NoReference);
        let mut references = Vec::with_capacity(found.references.len());
        for FoundReference { path, reference, .. } in found.references {
            match reference {
                Some(text) => references.push(self.check(&tenant, &text, path)),
                None => problem = problem.or(Some(Unresolved::NotAString(path))),
            }
        }
        // Without a secret to read, the tenant is not compared again, so it would take memory
        // without use.
        let is_tenant_needed = references.iter().any(|reference| reference.refused.is_none());
        let tenant = if is_tenant_needed { tenant } else { Tenant::without_message() };
        MessageRequest { tenant, references: references.into(), problem, ..MessageRequest::empty() }
    }

    /// Checks the names and ARNs of secrets in the message of an SQS record. If the record has no
    /// valid message, the result has an error instead of names and ARNs.
    pub(crate) fn record(
        &self,
        record: Record<'_>,
        found: Result<Found, BadMessage>,
    ) -> MessageRequest {
        let message = match found {
            Ok(found) => self.message(found),
            Err(bad) => MessageRequest::failed(bad.into()),
        };
        MessageRequest { message_id: record.message_id, group: record.group, ..message }
    }

    /// Checks whether `reference` is a valid name or ARN of a secret, and whether a message of the
    /// customer `tenant` may read this secret.
    fn check(&self, tenant: &Tenant, reference: &str, key: Box<str>) -> RequestedReference {
        let refused = self.refusal(tenant, reference).err();
        let text = match &refused {
            Some(Unresolved::Reference(bad)) if matches!(**bad, BadReference::TooLong { .. }) => {
                truncate(reference)
            }
            _ => reference.into(),
        };
        RequestedReference { key, text, refused }
    }

    fn refusal(&self, tenant: &Tenant, reference: &str) -> Result<(), Unresolved> {
        let parsed = Reference::from_message(reference)?;
        self.config.tenant_check.check(&parsed.id, tenant)?;
        if !(self.is_allowed)(&parsed.id) {
            return Err(Problem::from(ReadError::OutOfScope).into());
        }
        Ok(())
    }
}

impl MessageRequest {
    pub(crate) fn failed(why: Unresolved) -> Self {
        Self { problem: Some(why), ..Self::empty() }
    }

    pub(crate) fn empty() -> Self {
        Self {
            message_id: None,
            group: None,
            tenant: Tenant::without_message(),
            references: Box::default(),
            problem: None,
            is_skipped: false,
        }
    }

    pub(crate) fn fail(&mut self, why: Unresolved) {
        self.references = Box::default();
        self.problem = Some(why);
    }

    /// Skips the message, because an earlier message of the same FIFO group failed. The answer then
    /// contains the errors of this message, but no secrets.
    pub(crate) fn skip(&mut self, was_ok: bool) {
        self.is_skipped = true;
        if was_ok {
            self.problem = Some(Unresolved::EarlierMessageFailed);
        }
    }

    /// Refuses each secret for which `mismatch` returns an error. The arguments of `mismatch` are
    /// the secret's name or ARN, and the tenant of the message.
    pub(crate) fn refuse(
        &mut self,
        mismatch: impl Fn(&str, &Tenant) -> Result<(), TenantMismatch>,
    ) {
        for reference in self.references.iter_mut().filter(|one| one.refused.is_none()) {
            reference.refused = mismatch(&reference.text, &self.tenant).err().map(Unresolved::from);
        }
    }

    pub(crate) fn references_to_read(&self) -> impl Iterator<Item = &Arc<str>> {
        let to_read = self.references.iter().filter(|reference| reference.refused.is_none());
        to_read.map(|reference| &reference.text)
    }

    /// Returns the approximate memory of all names and ARNs of secrets in the message, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.references
            .iter()
            .map(|reference| reference.key.len() + reference.text.len() + REFERENCE_BYTES)
            .sum()
    }
}

fn truncate(text: &str) -> Arc<str> {
    match text.char_indices().nth(QUOTED_CHARS_MAX) {
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

    fn config(bound: &[&str]) -> Config {
        let paths = ["channel_config.*.credentials_id", "ai_config.ai_api_key_reference"];
        let bindings = bound.iter().map(|path| TenantBinding {
            placeholder: "company_name".into(),
            path: Path::parse(path).expect("the path must be valid"),
        });
        Config {
            paths: Paths::parse(paths).expect("the paths must be valid"),
            tenant_check: TenantCheck::new(Arc::new(Conventions::built_in()), bindings.collect()),
        }
    }

    fn listed(message: &MessageRequest) -> Vec<(&str, &str, Option<&str>)> {
        message
            .references
            .iter()
            .map(|reference| (&*reference.key, &*reference.text, reference.kind()))
            .collect()
    }

    fn to_read(message: &MessageRequest) -> Vec<&str> {
        message.references_to_read().map(|text| &**text).collect()
    }

    impl RequestedReference {
        fn kind(&self) -> Option<&str> {
            self.refused.as_ref().map(Unresolved::kind)
        }
    }

    fn of_list(references: &[&str]) -> MessageRequest {
        let config = config(&[]);
        let checker = ReferenceChecker { config: &config, is_allowed: &|_| true };
        checker.list(&references.iter().map(|text| Cow::Borrowed(*text)).collect::<Vec<_>>())
    }

    fn of_message(config: &Config, message: &Value) -> MessageRequest {
        let search = Search::new(&config.paths, config.tenant_check.paths());
        let Ok(found) = search.run(message) else {
            panic!("the message must be within the limits of the search")
        };
        let is_allowed = |id: &SecretId| id.as_str() != "forbidden";
        ReferenceChecker { config, is_allowed: &is_allowed }.message(found)
    }

    #[test]
    fn list_requests_each_reference_once() {
        let request = of_list(&["b", "a", "b", "a#x", "no name"]);
        assert_eq!(
            listed(&request),
            [
                ("b", "b", None),
                ("a", "a", None),
                ("a#x", "a#x", None),
                ("no name", "no name", Some("ValidationException"))
            ]
        );
        assert_eq!(request.problem, None);
        assert_eq!(to_read(&request), ["b", "a", "a#x"]);
        assert_eq!(of_list(&[]).problem, Some(Unresolved::NoReference));
    }

    #[test]
    fn message_requests_references_at_configured_paths() {
        let message = json!({
            "channel_config": {"sms": {"credentials_id": "a"}, "mail": {"credentials_id": null}},
            "ai_config": {"ai_api_key_reference": "b#c"},
        });
        let request = of_message(&config(&[]), &message);
        assert_eq!(
            listed(&request),
            [
                ("channel_config.sms.credentials_id", "a", None),
                ("ai_config.ai_api_key_reference", "b#c", None)
            ]
        );
        let not_a_string = Unresolved::NotAString("channel_config.mail.credentials_id".into());
        assert_eq!(request.problem, Some(not_a_string));
        let nothing = of_message(&config(&[]), &json!({"a": "b"}));
        assert_eq!(listed(&nothing), []);
        assert_eq!(nothing.problem, Some(Unresolved::NoReference));
    }

    #[test]
    fn reference_refused_in_one_message_may_be_read_for_another() {
        let message = |company| {
            let id = "sms-credentials/acme/x/twilio";
            json!({"company": company, "channel_config": {"sms": {"credentials_id": id}}})
        };
        let config = config(&["company"]);
        let requests = ["other", "acme"].map(|company| of_message(&config, &message(company)));
        let refused: Vec<_> = requests.iter().map(|request| listed(request)[0].2).collect();
        assert_eq!(refused, [Some("AccessDeniedException"), None]);
        let to_read = requests.each_ref().map(to_read);
        assert_eq!(to_read, [vec![], vec!["sms-credentials/acme/x/twilio"]]);
    }

    #[test]
    fn secret_outside_allow_list_is_not_read() {
        let message = json!({"ai_config": {"ai_api_key_reference": "forbidden"}});
        let request = of_message(&config(&[]), &message);
        assert_eq!(listed(&request)[0].2, Some("AccessDeniedException"));
        assert_eq!(to_read(&request), [""; 0]);
    }

    #[test]
    fn record_without_valid_message_requests_nothing() {
        let event = br#"{"Records": [{"messageId": "m", "body": "hello"}]}"#;
        let Ok(Body::Event(records)) = Body::recognise(event) else {
            panic!("the body must be recognised as an SQS event")
        };
        let record = records[0].read(0).expect("the record must have an id");
        let config = config(&[]);
        let found = record.search(&Search::new(&config.paths, []));
        let request =
            ReferenceChecker { config: &config, is_allowed: &|_| true }.record(record, found);
        assert_eq!((request.message_id.as_deref(), request.references.len()), (Some("m"), 0));
        let kind = request.problem.as_ref().map(Unresolved::kind);
        assert_eq!(kind, Some("SerializationException"));
    }

    #[test]
    fn reference_that_is_too_long_is_truncated() {
        let request = of_list(&[&"é".repeat(5000), &"x".repeat(600)]);
        assert_eq!(*request.references[0].text, format!("{}…", "é".repeat(256)));
        assert_eq!(*request.references[1].text, format!("{}…", "x".repeat(256)));
        assert!(request.references.iter().all(|reference| reference.refused.is_some()));
    }
}

//! Limits the number of secrets, and the memory for their names and ARNs, in all messages of one
//! SQS event. If the messages together exceed a limit, the largest messages fail, because they may
//! come from an attacker.
//!
//! The limits apply while the event is parsed, because an event may have 10,000 messages.

use super::message_request::MessageRequest;
use super::unresolved::Unresolved;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;

#[derive(Debug)]
pub(crate) struct EventLimits {
    bytes_max: usize,
    secrets_max: usize,
    /// The memory in bytes for the names and ARNs of secrets in all messages that have not failed.
    bytes: usize,
    /// The names and ARNs of the secrets to read, each with the number of its occurrences in
    /// messages that have not failed.
    secrets: HashMap<Arc<str>, usize>,
    /// The memory for the names and ARNs of secrets in a message, in bytes, and the message's
    /// index. The message with the most memory is on top. Messages that have failed may still be in
    /// this heap.
    by_bytes: BinaryHeap<(u32, u32)>,
    /// The number of secrets to read for a message, and the message's index. The message with the
    /// most secrets is on top. Messages that have failed may still be in this heap.
    by_references: BinaryHeap<(u32, u32)>,
}

impl EventLimits {
    pub(crate) fn new(bytes_max: usize, secrets_max: usize) -> Self {
        Self {
            bytes_max,
            secrets_max,
            bytes: 0,
            secrets: HashMap::new(),
            by_bytes: BinaryHeap::new(),
            by_references: BinaryHeap::new(),
        }
    }

    /// Counts the last message in `messages` toward the limits of the SQS event. Then, while a
    /// limit is exceeded, makes the largest message fail (of several messages with the same size,
    /// the last one).
    ///
    /// `messages` must also contain all messages that were counted before, at the same indexes.
    pub(crate) fn add_last(&mut self, messages: &mut [MessageRequest]) {
        let Some(message) = messages.last().filter(|message| !message.references.is_empty()) else {
            return;
        };
        let index = as_u32(messages.len() - 1);
        self.bytes += message.bytes();
        self.by_bytes.push((as_u32(message.bytes()), index));
        let mut to_read = 0;
        for reference in message.references_to_read() {
            *self.secrets.entry(reference.clone()).or_default() += 1;
            to_read += 1;
        }
        self.by_references.push((to_read, index));
        while self.bytes > self.bytes_max
            && let Some((_, index)) = self.by_bytes.pop()
        {
            self.fail(&mut messages[index as usize], Unresolved::TooManyReferences);
        }
        while self.secrets.len() > self.secrets_max
            && let Some((_, index)) = self.by_references.pop()
        {
            let why = Unresolved::TooManySecrets(self.secrets_max);
            self.fail(&mut messages[index as usize], why);
        }
    }

    fn fail(&mut self, message: &mut MessageRequest, why: Unresolved) {
        if message.references.is_empty() {
            return;
        }
        self.bytes -= message.bytes();
        for reference in message.references_to_read() {
            if let Some(count) = self.secrets.get_mut(reference) {
                *count -= 1;
                if *count == 0 {
                    self.secrets.remove(reference);
                }
            }
        }
        message.fail(why);
    }
}

/// Converts a size or an index for a heap. A pair of `u32` takes half the memory of a pair of
/// `usize`, and all values fit: a message takes less than 4 GiB, and an event has at most 10,000
/// messages.
fn as_u32(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::message_request::RequestedReference;
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    fn message(references: &[&str]) -> MessageRequest {
        let references = references
            .iter()
            .map(|text| RequestedReference {
                key: Box::default(),
                text: (*text).into(),
                refused: None,
            })
            .collect();
        MessageRequest { references, ..MessageRequest::empty() }
    }

    /// Counts the messages toward the limits one after another. Returns the error of each message,
    /// or `None` if the message did not fail.
    fn failures(
        limits: &mut EventLimits,
        messages: impl IntoIterator<Item = MessageRequest>,
    ) -> Vec<Option<Unresolved>> {
        let mut parsed = Vec::new();
        for message in messages {
            parsed.push(message);
            limits.add_last(&mut parsed);
        }
        parsed.into_iter().map(|message| message.problem).collect()
    }

    #[test]
    fn message_with_most_secrets_fails() {
        let mut limits = EventLimits::new(usize::MAX, 3);
        let messages = [message(&["a", "b"]), message(&["b", "c", "d"]), message(&["b", "e"])];
        let too_many = Some(Unresolved::TooManySecrets(3));
        assert_eq!(failures(&mut limits, messages), [None, too_many, None]);
    }

    #[test]
    fn secret_that_several_messages_name_counts_once() {
        let mut limits = EventLimits::new(usize::MAX, 1);
        assert_eq!(failures(&mut limits, [message(&["a"]), message(&["a"])]), [None, None]);
        let too_many = Some(Unresolved::TooManySecrets(0));
        let mut limits = EventLimits::new(usize::MAX, 0);
        assert_eq!(failures(&mut limits, [message(&["a"])]), [too_many]);
    }

    #[test]
    fn message_with_most_memory_fails() {
        let large = message(&["a", "b", "c"]);
        let mut limits = EventLimits::new(large.bytes(), 10);
        let messages = [large, message(&["a"]), message(&["b"])];
        let too_many = Some(Unresolved::TooManyReferences);
        assert_eq!(failures(&mut limits, messages), [too_many, None, None]);
    }

    #[test]
    fn message_that_failed_counts_toward_no_limit() {
        let large = message(&["a", "b", "c"]);
        let mut limits = EventLimits::new(large.bytes(), 2);
        let messages = [large, message(&["d", "e"]), message(&["d"])];
        let too_many = Some(Unresolved::TooManySecrets(2));
        assert_eq!(failures(&mut limits, messages), [too_many, None, None]);
        assert_eq!(limits.secrets.len(), 2);
    }

    proptest! {
        /// Property: the messages that do not fail are within both limits. A message does not fail
        /// if its number of secrets is at most the limit divided by the number of messages.
        #[test]
        fn for_any_messages_the_rest_is_within_the_limits(
            messages in prop::collection::vec(prop::collection::vec(0u8..40, 0..12), 1..12),
            secrets_max in 0usize..40,
        ) {
            let texts: Vec<Vec<String>> =
                messages.iter().map(|of| of.iter().map(u8::to_string).collect()).collect();
            let requests = texts.iter().map(|of| message(&of.iter().map(|text| &**text).collect::<Vec<_>>()));
            let mut limits = EventLimits::new(usize::MAX, secrets_max);
            let failures = failures(&mut limits, requests);
            let remaining = || messages.iter().zip(&failures).filter(|(_, why)| why.is_none());
            let distinct: HashSet<u8> = remaining().flat_map(|(of, _)| of).copied().collect();
            prop_assert!(distinct.len() <= secrets_max);
            prop_assert_eq!(distinct.len(), limits.secrets.len());
            let bytes: usize = remaining().map(|(of, _)| message(&vec!["1"; of.len()]).bytes()).sum();
            prop_assert!(limits.bytes >= bytes);
            for (of, why) in messages.iter().zip(&failures) {
                prop_assert!(why.is_none() || of.len() > secrets_max / messages.len());
            }
        }
    }
}

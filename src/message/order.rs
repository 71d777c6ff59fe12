//! The order of a FIFO queue: with a message that fails, those of its group behind it fail too.

use std::collections::HashSet;

/// Returns which messages have to wait for an earlier one of their group that failed. Each message is
/// told by its group, if its queue has an order, and whether it succeeded.
///
/// What a function reports as failed, SQS delivers again: had it dealt with a later message of the
/// same group, it would have dealt with them in the wrong order.
///
/// Source: "Implementing partial batch responses" in AWS's Lambda developer guide.
pub fn blocked_messages<'a>(
    messages: impl IntoIterator<Item = (Option<&'a str>, bool)>,
) -> Vec<bool> {
    let mut failed: HashSet<&str> = HashSet::new();
    let judged = messages.into_iter().map(|(group, is_good)| match group {
        Some(group) if failed.contains(group) => true,
        Some(group) if !is_good => {
            failed.insert(group);
            false
        }
        _ => false,
    });
    judged.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_waits_for_its_first_failure_and_no_other_group_does() {
        let (a, b) = (Some("a"), Some("b"));
        for (messages, expected) in [
            (vec![], vec![]),
            (vec![(a, true), (a, true)], vec![false, false]),
            (vec![(a, true), (a, false), (a, true)], vec![false, false, true]),
            (vec![(a, false), (a, false), (a, true)], vec![false, true, true]),
            (vec![(a, false), (b, true), (a, true), (b, true)], vec![false, false, true, false]),
            (vec![(None, false), (None, true), (a, true)], vec![false, false, false]),
        ] {
            assert_eq!(blocked_messages(messages.clone()), expected, "{messages:?}");
        }
    }
}

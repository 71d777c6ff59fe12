//! The order of FIFO queues: after a message fails, the later messages of its group fail as well.

use std::collections::HashSet;

/// Returns for each message whether it must fail because an earlier message of its FIFO group failed.
///
/// A message is given as its group and whether the message succeeded. The group is `None` if the queue of
/// the message is not a FIFO queue. SQS delivers failed messages again. If a function handled a later
/// message of the same group meanwhile, the group would be handled in the wrong order.
///
/// Source: "Implementing partial batch responses" in AWS's Lambda developer guide.
pub fn blocked_messages<'a>(
    messages: impl IntoIterator<Item = (Option<&'a str>, bool)>,
) -> Vec<bool> {
    let mut failed: HashSet<&str> = HashSet::new();
    messages
        .into_iter()
        .map(|(group, is_ok)| match group {
            Some(group) if failed.contains(group) => true,
            Some(group) if !is_ok => {
                failed.insert(group);
                false
            }
            _ => false,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failure_blocks_the_later_messages_of_its_group_only() {
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

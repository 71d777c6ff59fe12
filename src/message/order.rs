//! The order of messages in FIFO queues of SQS. After a message fails, later messages of the same
//! message group must fail too.

use std::collections::HashSet;

/// Returns for each SQS message whether it must fail because an earlier message of the same FIFO
/// message group failed. SQS delivers the earlier message again, so a later message must not be
/// handled before it.
///
/// Each item of the input has the message group (`None` if the queue is not FIFO), and whether the
/// message succeeded.
///
/// Source: AWS's page *Implementing partial batch responses* in the Lambda developer guide.
pub(crate) fn blocked_messages<'a>(
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

//! A limit on the total size of all messages of one `/resolve` request. If the messages together
//! exceed the limit, the largest messages are dropped, because they may come from an attacker.

use std::collections::BinaryHeap;

#[derive(Debug)]
pub(crate) struct SharedLimit {
    max: usize,
    /// The total size of all messages that were not dropped. The total never exceeds the limit.
    total: usize,
    /// The size and the index of each message that was not dropped, with the largest message on top
    /// of the heap.
    messages: BinaryHeap<(usize, usize)>,
}

impl SharedLimit {
    pub(crate) fn new(max: usize) -> Self {
        Self { max, total: 0, messages: BinaryHeap::new() }
    }

    /// Adds a message by its index and its size. While the total size exceeds the limit, drops the
    /// largest message (of several messages with the same size, the last one). Returns the indexes
    /// of the dropped messages.
    pub(crate) fn add(&mut self, index: usize, size: usize) -> Vec<usize> {
        self.total += size;
        self.messages.push((size, index));
        let mut dropped = Vec::new();
        while self.total > self.max
            && let Some((size, index)) = self.messages.pop()
        {
            self.total -= size;
            dropped.push(index);
        }
        dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn largest_message_is_dropped() {
        let mut limit = SharedLimit::new(10);
        assert!(limit.add(0, 3).is_empty());
        assert!(limit.add(1, 7).is_empty());
        assert_eq!(limit.add(2, 1), [1]);
        assert_eq!(limit.add(3, 100), [3]);
        assert!(limit.add(4, 3).is_empty());
        assert!(limit.add(5, 3).is_empty());
        assert_eq!(
            limit.add(6, 3),
            [6],
            "if several messages have the same size, the last of them must be dropped"
        );
        assert_eq!(SharedLimit::new(0).add(0, 1), [0]);
    }

    proptest! {
        /// Property: a message is never dropped if its size is at most the limit divided by the
        /// number of messages.
        #[test]
        fn for_any_sizes_a_message_within_its_even_part_is_kept(sizes in prop::collection::vec(0usize..50, 1..30), max in 0usize..500) {
            let mut limit = SharedLimit::new(max);
            let dropped: Vec<usize> =
                sizes.iter().enumerate().flat_map(|(index, size)| limit.add(index, *size)).collect();
            prop_assert!(limit.total <= max);
            prop_assert_eq!(limit.messages.len() + dropped.len(), sizes.len());
            prop_assert!(dropped.iter().all(|index| sizes[*index] > max / sizes.len()));
        }
    }
}

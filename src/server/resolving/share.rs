//! A bound that the messages of one request share.
//!
//! Pure. If the messages cross the bound together, the largest ones give way: a forged large message
//! fails, and ordinary messages do not.

use std::collections::{BinaryHeap, HashSet};
use std::hash::Hash;

/// What messages take of a bound, counted as they come.
#[derive(Debug)]
pub struct Share {
    max: usize,
    taken: usize,
    /// How much each message takes, and its index.
    messages: BinaryHeap<(usize, usize)>,
}

impl Share {
    /// Shares `max` among messages that are to come.
    pub fn new(max: usize) -> Self {
        Self { max, taken: 0, messages: BinaryHeap::new() }
    }

    /// Counts what message `index` takes, and returns the messages that give way to keep the bound:
    /// the largest, of equal ones the last.
    pub fn take(&mut self, index: usize, size: usize) -> Vec<usize> {
        self.taken += size;
        self.messages.push((size, index));
        let mut give_way = Vec::new();
        while self.taken > self.max
            && let Some((size, index)) = self.messages.pop()
        {
            self.taken -= size;
            give_way.push(index);
        }
        give_way
    }
}

/// Returns the distinct items of all messages, each of which comes with its index, and the messages
/// that give way because there would be more than `max`. The messages with the fewest items come first
/// in both.
pub fn distinct<T: Copy + Eq + Hash>(
    messages: &[(usize, Vec<T>)],
    max: usize,
) -> (Vec<T>, Vec<usize>) {
    let mut order: Vec<&(usize, Vec<T>)> = messages.iter().collect();
    order.sort_by_key(|(_, own)| own.len());
    let (mut items, mut seen, mut give_way) = (Vec::new(), HashSet::new(), Vec::new());
    for (index, own) in order {
        let new: HashSet<T> = own.iter().copied().filter(|item| !seen.contains(item)).collect();
        if items.len() + new.len() > max {
            give_way.push(*index);
            continue;
        }
        items.extend(own.iter().copied().filter(|item| seen.insert(*item)));
    }
    (items, give_way)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_largest_message_gives_way() {
        let mut share = Share::new(10);
        assert!(share.take(0, 3).is_empty());
        assert!(share.take(1, 7).is_empty());
        assert_eq!(share.take(2, 1), [1]);
        assert_eq!(share.take(3, 100), [3]);
        assert!(share.take(4, 3).is_empty());
        assert!(share.take(5, 3).is_empty());
        assert_eq!(share.take(6, 3), [6], "of equal ones the last");
        assert_eq!(Share::new(0).take(0, 1), [0]);
    }

    #[test]
    fn the_messages_with_the_fewest_items_come_first() {
        let messages =
            [(0, vec!["a", "b", "c", "d"]), (1, vec!["b", "e"]), (3, vec!["e", "b", "e"])];
        assert_eq!(distinct(&messages, 5), (vec!["b", "e", "a", "c", "d"], vec![]));
        assert_eq!(distinct(&messages, 4), (vec!["b", "e"], vec![0]));
        assert_eq!(distinct(&messages, 1), (vec![], vec![1, 3, 0]));
    }

    proptest! {
        /// No message that takes its even part of the bound, or less, ever gives way.
        #[test]
        fn a_message_within_its_part_never_gives_way(sizes in prop::collection::vec(0usize..50, 1..30), max in 0usize..500) {
            let mut share = Share::new(max);
            let gone: Vec<usize> =
                sizes.iter().enumerate().flat_map(|(index, size)| share.take(index, *size)).collect();
            prop_assert!(share.taken <= max);
            prop_assert_eq!(share.messages.len() + gone.len(), sizes.len());
            prop_assert!(gone.iter().all(|index| sizes[*index] > max / sizes.len()));
        }

        #[test]
        fn no_more_than_the_bound_is_read(messages in prop::collection::vec(prop::collection::vec(0u8..40, 0..12), 0..12), max in 0usize..40) {
            let messages: Vec<(usize, Vec<u8>)> = messages.into_iter().enumerate().collect();
            let (items, gone) = distinct(&messages, max);
            prop_assert!(items.len() <= max);
            for (index, message) in &messages {
                let is_read = message.iter().all(|item| items.contains(item));
                prop_assert!(is_read || gone.contains(index));
            }
        }
    }
}

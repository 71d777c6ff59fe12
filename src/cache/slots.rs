//! Limits the number of concurrent calls to AWS, and decides which waiting call starts next.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use tokio::sync::oneshot;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rank {
    /// The call to AWS is for a secret that is cached or in `SIDEKEY_SECRETS`, so it has high
    /// priority.
    Known,
    /// The call to AWS is for a secret that is neither cached nor in `SIDEKEY_SECRETS`. Its
    /// priority is low, so that requests for unknown names do not delay other calls.
    FirstTime,
}

#[derive(Clone, Debug)]
pub(crate) struct Slots(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    free: usize,
    /// How many more calls to AWS with the low priority [`Rank::FirstTime`] may start now.
    free_for_first_time: usize,
    known: VecDeque<oneshot::Sender<Slot>>,
    first_time: VecDeque<oneshot::Sender<Slot>>,
}

/// The right to make one call to AWS. Dropping this value lets the next waiting call start.
#[derive(Debug)]
pub(crate) struct Slot {
    slots: Slots,
    rank: Rank,
}

impl Slots {
    /// Allows `calls_max` concurrent calls to AWS. At most three quarters of them can be for
    /// secrets that are neither cached nor in `SIDEKEY_SECRETS`.
    pub(crate) fn new(calls_max: usize) -> Self {
        Self(Arc::new(Mutex::new(State {
            free: calls_max,
            free_for_first_time: (calls_max * 3 / 4).max(1),
            known: VecDeque::new(),
            first_time: VecDeque::new(),
        })))
    }

    pub(crate) async fn acquire(&self, rank: Rank) -> Slot {
        let granted = {
            let mut state = self.0.lock().expect("no thread may panic while it holds the lock");
            if state.take(rank) {
                None
            } else {
                let (grant, granted) = oneshot::channel();
                state.waiting(rank).push_back(grant);
                Some(granted)
            }
        };
        match granted {
            None => Slot { slots: self.clone(), rank },
            Some(granted) => granted.await.expect("each waiting call to AWS must get a turn"),
        }
    }

    fn grant(&self) {
        loop {
            let next = self.0.lock().expect("no thread may panic while it holds the lock").next();
            let Some((rank, grant)) = next else { return };
            // If the waiting call was cancelled, the send fails and drops the slot, which returns
            // the slot.
            drop(grant.send(Slot { slots: self.clone(), rank }));
        }
    }
}

impl State {
    /// Takes the right to make a call to AWS with the priority `rank`. Returns `false` if no such
    /// call may start now.
    fn take(&mut self, rank: Rank) -> bool {
        let is_free = match rank {
            Rank::Known => self.free > 0,
            Rank::FirstTime => self.free > 0 && self.free_for_first_time > 0,
        };
        if is_free {
            self.free -= 1;
            self.free_for_first_time -= usize::from(rank == Rank::FirstTime);
        }
        is_free
    }

    fn waiting(&mut self, rank: Rank) -> &mut VecDeque<oneshot::Sender<Slot>> {
        match rank {
            Rank::Known => &mut self.known,
            Rank::FirstTime => &mut self.first_time,
        }
    }

    /// Removes from its queue the next call to AWS that may start. Returns `None` if no waiting
    /// call may start now.
    fn next(&mut self) -> Option<(Rank, oneshot::Sender<Slot>)> {
        [Rank::Known, Rank::FirstTime].into_iter().find_map(|rank| {
            self.waiting(rank).retain(|grant| !grant.is_closed());
            let is_granted = !self.waiting(rank).is_empty() && self.take(rank);
            is_granted.then(|| self.waiting(rank).pop_front()).flatten().map(|grant| (rank, grant))
        })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        {
            let mut state =
                self.slots.0.lock().expect("no thread may panic while it holds the lock");
            state.free += 1;
            state.free_for_first_time += usize::from(self.rank == Rank::FirstTime);
        }
        self.slots.grant();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Rank::{FirstTime, Known};
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    fn poll(acquiring: std::pin::Pin<&mut impl Future<Output = Slot>>) -> Option<Slot> {
        match acquiring.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(slot) => Some(slot),
            Poll::Pending => None,
        }
    }

    #[test]
    fn first_time_calls_leave_a_quarter_of_the_slots_to_known_secrets() {
        let slots = Slots::new(8);
        let taken: Vec<Slot> = (0..6)
            .map(|_| poll(pin!(slots.acquire(FirstTime))).expect("a slot must be free"))
            .collect();
        let mut seventh = pin!(slots.acquire(FirstTime));
        assert!(poll(seventh.as_mut()).is_none());
        let known = [Known; 2].map(|rank| poll(pin!(slots.acquire(rank))));
        assert!(known.iter().all(Option::is_some));
        drop(known);
        assert!(
            poll(seventh.as_mut()).is_none(),
            "calls for unknown secrets must not take the slots for calls for known secrets"
        );
        drop(taken);
        assert!(poll(seventh.as_mut()).is_some());
    }

    #[test]
    fn known_secret_goes_before_first_time_names_that_waited_longer() {
        let slots = Slots::new(1);
        let only = poll(pin!(slots.acquire(FirstTime))).expect("a slot must be free");
        let mut first_time = pin!(slots.acquire(FirstTime));
        assert!(poll(first_time.as_mut()).is_none());
        let mut known = pin!(slots.acquire(Known));
        assert!(poll(known.as_mut()).is_none());
        drop(only);
        assert!(poll(first_time.as_mut()).is_none());
        let slot = poll(known.as_mut()).expect("the call for the known secret must start first");
        drop(slot);
        assert!(poll(first_time.as_mut()).is_some());
    }

    #[test]
    fn call_that_is_given_up_keeps_no_slot() {
        let slots = Slots::new(1);
        let only = poll(pin!(slots.acquire(Known))).expect("a slot must be free");
        {
            let mut given_up = pin!(slots.acquire(Known));
            assert!(poll(given_up.as_mut()).is_none());
        }
        {
            let mut granted_and_given_up = pin!(slots.acquire(Known));
            assert!(poll(granted_and_given_up.as_mut()).is_none());
            drop(only);
        }
        assert!(poll(pin!(slots.acquire(Known))).is_some());
    }

    #[test]
    fn calls_of_one_rank_get_slots_in_their_order_of_arrival() {
        let slots = Slots::new(1);
        let mut slot = poll(pin!(slots.acquire(Known)));
        let mut waiting: Vec<_> = (0..3).map(|_| Box::pin(slots.acquire(FirstTime))).collect();
        assert!(waiting.iter_mut().all(|one| poll(one.as_mut()).is_none()));
        for next in &mut waiting {
            drop(slot.take());
            slot = poll(next.as_mut());
            assert!(slot.is_some());
        }
    }
}

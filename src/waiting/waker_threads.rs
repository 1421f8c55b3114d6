//! The threads that call foreign wakers: those that are not known. Which are known is in `known.rs`.
//!
//! A foreign waker may never return. So there are two threads while there are foreign wakers: the leader
//! calls one waker after another, and the standby waits. If a call takes longer than [`PATIENCE`] while others
//! are queued, the standby becomes the leader and starts another standby. A waker whose call has not returned
//! is not called again. So each bad waker costs one thread at most, and delays others by [`PATIENCE`] at most.
//! A task that calls `wake_all` only puts foreign wakers into the queue.
//!
//! Who holds the lock of the state may take that of a waker, and not the other way round.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use crate::foreign;
use crate::per_process::PerProcess;
use crate::stack;
use crate::sync::Lock;
use crate::threads;

/// For how long one call may delay other foreign wakers.
const PATIENCE: Duration = Duration::from_millis(10);

pub(super) static WAKER_THREADS: PerProcess<WakerThreads> = PerProcess::new(WakerThreads::default);

#[derive(Debug, Default)]
pub(super) struct WakerThreads {
    state: Mutex<State>,
    /// Wakes the leader when the queue is not empty.
    work: Condvar,
    /// Wakes the standby when the leader is in a call while others are queued.
    overdue: Condvar,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Arc<ForeignWaker>>,
    /// Counts the foreign wakers, queued or not.
    wakers: usize,
    /// Counts the leader and the standby. A thread that is stuck in a call is neither.
    threads: usize,
    /// Describes the leader, if there is one.
    leader: Option<Turn>,
    /// Numbers the turns.
    turns: u64,
}

/// One call of the leader, or its wait for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Turn {
    number: u64,
    calls: bool,
}

impl State {
    fn turn(&mut self, calls: bool) -> Turn {
        self.turns += 1;
        let number = self.turns;
        *self.leader.insert(Turn { number, calls })
    }

    /// Returns whether the leader is in a call.
    fn is_busy(&self) -> bool {
        self.leader.is_some_and(|turn| turn.calls)
    }

    fn is_over(&self) -> bool {
        self.wakers == 0 && self.queue.is_empty()
    }
}

impl WakerThreads {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a foreign waker and room for it in the queue. `None` if the system refuses the threads.
    pub(super) fn admit(&'static self) -> Option<Arc<ForeignWaker>> {
        self.lock().wakers += 1;
        self.make_room();
        if !self.ensure_started() {
            self.lock().wakers -= 1;
            return None;
        }
        // Not later, as the program may then be stuck in the allocator.
        self.ensure_standby();
        Some(Arc::default())
    }

    fn ensure_standby(&'static self) {
        let mut state = self.lock();
        if state.threads == 1 {
            state.threads += 1;
            drop(state);
            // If the system refuses it, a call that gets stuck delays all others.
            self.start().ok();
        }
    }

    /// Makes room in the queue, so that adding to it never allocates.
    fn make_room(&self) {
        let mut room = VecDeque::new();
        loop {
            let mut state = self.lock();
            let needed = state.wakers.max(state.queue.len());
            if state.queue.capacity() >= needed {
                return;
            }
            if room.capacity() >= needed {
                room.append(&mut state.queue);
                std::mem::swap(&mut state.queue, &mut room);
                return;
            }
            drop(state);
            room = VecDeque::with_capacity(2 * needed);
        }
    }

    /// Returns whether there is a thread that can call wakers, and starts one if not.
    pub(super) fn ensure_started(&'static self) -> bool {
        let mut state = self.lock();
        // The leader may be stuck without a standby: the system refused it, or it has ended because there
        // were no foreign wakers for a while.
        if state.threads > 1 || (state.threads == 1 && !state.is_busy()) {
            return true;
        }
        state.threads += 1;
        let alone = state.threads == 1;
        drop(state);
        let started = self.start().is_ok();
        if alone && !started {
            // A waker that was queued meanwhile counts on this thread.
            while let Some(waker) = self.pop() {
                waker.wake_here();
            }
        }
        started || !alone
    }

    fn pop(&self) -> Option<Arc<ForeignWaker>> {
        self.lock().queue.pop_front()
    }

    /// Starts a thread, which has been counted already.
    fn start(&'static self) -> io::Result<()> {
        threads::spawn("loopmon-wakers", || self.serve()).inspect_err(|_| {
            self.lock().threads -= 1;
        })
    }

    /// Queues the wakers.
    pub(super) fn take_over(&self, foreign: impl Iterator<Item = Arc<ForeignWaker>>) {
        let mut foreign = foreign.peekable();
        if foreign.peek().is_none() {
            return;
        }
        let foreign = foreign.filter(|waker| waker.needs_queueing());
        let mut state = self.lock();
        if state.threads == 0 {
            drop(state);
            return foreign.for_each(|waker| waker.wake_here());
        }
        state.queue.extend(foreign);
        let busy = state.is_busy();
        drop(state);
        if busy {
            self.overdue.notify_one();
        } else {
            self.work.notify_one();
        }
    }

    /// Removes a foreign waker.
    pub(super) fn dismiss(&self, departed: &Arc<ForeignWaker>) {
        let waker = departed.0.with(|cell| cell.waker.take());
        foreign::discard(waker);
        let mut state = self.lock();
        state.queue.retain(|queued| !Arc::ptr_eq(queued, departed));
        state.wakers = state.wakers.saturating_sub(1);
        let over = state.is_over();
        drop(state);
        if over {
            self.work.notify_all();
            self.overdue.notify_all();
        }
    }

    /// Runs one of the threads.
    fn serve(&'static self) {
        let mut state = Some(self.lock());
        while let Some(standing_by) = state {
            state = self.stand_by(standing_by).and_then(|led| self.lead(led));
        }
    }

    /// Waits until there is no leader. Returns `None` when there is nothing more to do.
    fn stand_by<'a>(&'a self, mut state: MutexGuard<'a, State>) -> Option<MutexGuard<'a, State>> {
        while let Some(turn) = state.leader {
            if state.is_over() {
                state.threads -= 1;
                return None;
            }
            if !turn.calls || state.queue.is_empty() {
                state = self
                    .overdue
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let waited = self.overdue.wait_timeout(state, PATIENCE);
            let (later, waited) = waited.unwrap_or_else(PoisonError::into_inner);
            state = later;
            if waited.timed_out() && state.leader == Some(turn) {
                state.leader = None;
                state.threads -= 1;
            }
        }
        Some(state)
    }

    /// Calls wakers until another thread leads. Returns `None` when this thread has to end.
    fn lead(
        &'static self,
        mut state: MutexGuard<'static, State>,
    ) -> Option<MutexGuard<'static, State>> {
        state.turn(false);
        loop {
            let Some(waker) = state.queue.pop_front() else {
                if state.is_over() {
                    state.leader = None;
                    state.threads -= 1;
                    return None;
                }
                state = self
                    .work
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            if state.threads == 1 {
                drop(state);
                self.ensure_standby();
                state = self.lock();
            }
            let turn = state.turn(true);
            if !state.queue.is_empty() {
                self.overdue.notify_one();
            }
            drop(state);
            let again = waker.wake();
            state = self.lock();
            if again {
                state.queue.push_back(waker);
            }
            if state.leader != Some(turn) {
                break;
            }
            state.turn(false);
        }
        // Another thread leads, and a third one stands by unless the system refused it.
        self.work.notify_one();
        if state.threads > 1 {
            return None;
        }
        state.threads += 1;
        Some(state)
    }
}

/// A task's waker that is not known.
#[derive(Debug, Default)]
pub(super) struct ForeignWaker(Lock<Cell>);

#[derive(Debug, Default)]
struct Cell {
    waker: Option<Waker>,
    wakeup: Wakeup,
}

#[derive(Debug, Default)]
enum Wakeup {
    #[default]
    None,
    Queued,
    /// A thread calls the waker.
    Calling,
    /// A thread calls the waker, and has to call it again after that.
    Again,
}

impl ForeignWaker {
    /// Sets the waker of the task's latest poll.
    pub(super) fn set(&self, waker: Waker) {
        let before = self.0.with(|cell| cell.waker.replace(waker));
        drop(before);
    }

    /// Returns whether it has to be put into the queue, and marks it as queued.
    fn needs_queueing(&self) -> bool {
        self.0.with(|cell| match cell.wakeup {
            Wakeup::None => {
                cell.wakeup = Wakeup::Queued;
                true
            }
            Wakeup::Calling => {
                cell.wakeup = Wakeup::Again;
                false
            }
            Wakeup::Queued | Wakeup::Again => false,
        })
    }

    fn wake_here(&self) {
        // What it does may start threads.
        stack::with_signals(|| while self.wake() {});
    }

    /// Calls the waker. Returns whether it has to be put into the queue again.
    fn wake(&self) -> bool {
        let waker = self.0.with(|cell| {
            cell.wakeup = Wakeup::Calling;
            cell.waker.take()
        });
        if let Some(waker) = waker {
            foreign::call(|| waker.wake()).ok();
        }
        self.0.with(|cell| {
            let again = matches!(cell.wakeup, Wakeup::Again);
            cell.wakeup = if again { Wakeup::Queued } else { Wakeup::None };
            again
        })
    }
}

#[cfg(all(test, not(loopmon_loom)))]
mod tests;

//! The thread that wakes strangers: those whose wakers are not known.
//!
//! A stranger's waker may take for ever. So there are two threads while there are strangers: one
//! leads, which means that it wakes one after another; the other stands by. If a wake takes longer
//! than [`PATIENCE`] while others wait for theirs, the one that stands by leads from then on, and has
//! another thread stand by. Who is stuck is not woken again until its wake has returned: so each bad
//! waker costs one thread at most, and others a moment at most. Whoever has something to tell only
//! puts strangers into the queue.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use crate::foreign;
use crate::per_process::PerProcess;
use crate::sync::Lock;
use crate::threads;

/// For how long a wake may keep other strangers waiting.
const PATIENCE: Duration = Duration::from_millis(10);

pub(super) static HANDS: PerProcess<Hands> = PerProcess::new(Hands::new);

#[derive(Debug)]
pub(super) struct Hands {
    state: Mutex<State>,
    /// The one that leads waits for strangers in the queue.
    work: Condvar,
    /// The one that stands by waits for the one that leads to be at it while others are queued.
    watch: Condvar,
}

#[derive(Debug)]
struct State {
    queue: VecDeque<Arc<Stranger>>,
    /// How many there are, queued or not.
    strangers: usize,
    /// Those that lead or stand by. One that is stuck does neither.
    threads: usize,
    leads: Option<Turn>,
    turns: u64,
}

/// What the thread that leads does at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Turn {
    number: u64,
    wakes: bool,
}

impl State {
    fn turn(&mut self, wakes: bool) -> Turn {
        self.turns += 1;
        let number = self.turns;
        *self.leads.insert(Turn { number, wakes })
    }

    /// A wake goes on.
    fn is_busy(&self) -> bool {
        self.leads.is_some_and(|turn| turn.wakes)
    }

    fn is_over(&self) -> bool {
        self.strangers == 0 && self.queue.is_empty()
    }
}

impl Hands {
    fn new() -> Hands {
        Hands {
            state: Mutex::new(State {
                queue: VecDeque::new(),
                strangers: 0,
                threads: 0,
                leads: None,
                turns: 0,
            }),
            work: Condvar::new(),
            watch: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more stranger, who has room in the queue. `None` if the system refuses the threads.
    pub(super) fn admit(&'static self) -> Option<Arc<Stranger>> {
        self.lock().strangers += 1;
        self.make_room();
        if !self.are_there() {
            self.lock().strangers -= 1;
            return None;
        }
        // Later may be too late: the allocator may be what the program is stuck in.
        self.have_one_stand_by();
        Some(Arc::default())
    }

    fn have_one_stand_by(&'static self) {
        let mut state = self.lock();
        if state.threads == 1 {
            state.threads += 1;
            drop(state);
            // If it is refused, others wait for whoever gets stuck.
            self.start().ok();
        }
    }

    /// So that to queue never allocates.
    fn make_room(&self) {
        let mut room = VecDeque::new();
        loop {
            let mut state = self.lock();
            let needed = state.strangers.max(state.queue.len());
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

    /// Whether there is a thread to wake strangers; starts it if not.
    pub(super) fn are_there(&'static self) -> bool {
        let mut state = self.lock();
        // The one that leads may be stuck, and nobody stand by: the system refused it, or there was
        // no need for a while.
        if state.threads > 1 || (state.threads == 1 && !state.is_busy()) {
            return true;
        }
        state.threads += 1;
        let alone = state.threads == 1;
        drop(state);
        let started = self.start().is_ok();
        if alone && !started {
            // Who came in meanwhile took it for started.
            while let Some(stranger) = self.pop() {
                stranger.wake_here();
            }
        }
        started || !alone
    }

    fn pop(&self) -> Option<Arc<Stranger>> {
        self.lock().queue.pop_front()
    }

    /// The thread has been counted already.
    fn start(&'static self) -> io::Result<()> {
        threads::spawn("loopmon-wakers", || self.serve()).inspect_err(|_| {
            self.lock().threads -= 1;
        })
    }

    /// Has them woken.
    pub(super) fn take_over(&self, strangers: impl Iterator<Item = Arc<Stranger>>) {
        let mut strangers = strangers.peekable();
        if strangers.peek().is_none() {
            return;
        }
        let strangers = strangers.filter(|stranger| stranger.is_queued_now());
        let mut state = self.lock();
        if state.threads == 0 {
            drop(state);
            return strangers.for_each(|stranger| stranger.wake_here());
        }
        state.queue.extend(strangers);
        let busy = state.is_busy();
        drop(state);
        if busy {
            self.watch.notify_one();
        } else {
            self.work.notify_one();
        }
    }

    /// A stranger has gone.
    pub(super) fn dismiss(&self, stranger: &Arc<Stranger>) {
        let waker = stranger.0.with(|cell| cell.waker.take());
        foreign::discard(waker);
        let mut state = self.lock();
        state.queue.retain(|queued| !Arc::ptr_eq(queued, stranger));
        state.strangers = state.strangers.saturating_sub(1);
        let over = state.is_over();
        drop(state);
        if over {
            self.work.notify_all();
            self.watch.notify_all();
        }
    }

    /// What each of the threads does.
    fn serve(&'static self) {
        let mut state = Some(self.lock());
        while let Some(standing_by) = state {
            state = self.stand_by(standing_by).and_then(|led| self.lead(led));
        }
    }

    /// Until nobody leads any more. `None` when there is nothing more to do.
    fn stand_by<'a>(&'a self, mut state: MutexGuard<'a, State>) -> Option<MutexGuard<'a, State>> {
        while let Some(turn) = state.leads {
            if state.is_over() {
                state.threads -= 1;
                return None;
            }
            if !turn.wakes || state.queue.is_empty() {
                state = self
                    .watch
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let waited = self.watch.wait_timeout(state, PATIENCE);
            let (later, waited) = waited.unwrap_or_else(PoisonError::into_inner);
            state = later;
            if waited.timed_out() && state.leads == Some(turn) {
                state.leads = None;
                state.threads -= 1;
            }
        }
        Some(state)
    }

    /// Wakes strangers until another leads. `None` when this thread is to end.
    fn lead(
        &'static self,
        mut state: MutexGuard<'static, State>,
    ) -> Option<MutexGuard<'static, State>> {
        state.turn(false);
        loop {
            let Some(stranger) = state.queue.pop_front() else {
                if state.is_over() {
                    state.leads = None;
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
                self.have_one_stand_by();
                state = self.lock();
            }
            let turn = state.turn(true);
            if !state.queue.is_empty() {
                self.watch.notify_one();
            }
            drop(state);
            let again = stranger.wake();
            state = self.lock();
            if again {
                state.queue.push_back(stranger);
            }
            if state.leads != Some(turn) {
                break;
            }
            state.turn(false);
        }
        // Another leads, and a third one stands by if the system let it.
        self.work.notify_one();
        if state.threads > 1 {
            return None;
        }
        state.threads += 1;
        Some(state)
    }
}

/// One who waits with a waker that is not known.
#[derive(Debug, Default)]
pub(super) struct Stranger(Lock<Cell>);

#[derive(Debug, Default)]
struct Cell {
    waker: Option<Waker>,
    call: Call,
}

#[derive(Debug, Default)]
enum Call {
    #[default]
    None,
    Queued,
    /// Its waker is being woken.
    Going,
    /// And is to be woken once more after that.
    Again,
}

impl Stranger {
    /// With the waker of its latest poll.
    pub(super) fn wait(&self, waker: Waker) {
        let before = self.0.with(|cell| cell.waker.replace(waker));
        drop(before);
    }

    /// Whether it is to be put into the queue.
    fn is_queued_now(&self) -> bool {
        self.0.with(|cell| match cell.call {
            Call::None => {
                cell.call = Call::Queued;
                true
            }
            Call::Going => {
                cell.call = Call::Again;
                false
            }
            Call::Queued | Call::Again => false,
        })
    }

    fn wake_here(&self) {
        while self.wake() {}
    }

    /// Returns whether it is to be put into the queue again.
    fn wake(&self) -> bool {
        let waker = self.0.with(|cell| {
            cell.call = Call::Going;
            cell.waker.take()
        });
        if let Some(waker) = waker {
            foreign::call(|| waker.wake()).ok();
        }
        self.0.with(|cell| {
            let again = matches!(cell.call, Call::Again);
            cell.call = if again { Call::Queued } else { Call::None };
            again
        })
    }
}

#[cfg(all(test, not(loopmon_loom)))]
mod tests {
    use std::sync::mpsc;
    use std::task::Wake;
    use std::thread;

    use super::*;

    /// Tells that it is woken, then blocks until it may go on.
    struct Slow {
        woken: mpsc::Sender<()>,
        goes_on: Mutex<mpsc::Receiver<()>>,
    }

    impl Wake for Slow {
        fn wake(self: Arc<Slow>) {
            self.woken.send(()).unwrap();
            self.goes_on.lock().unwrap().recv().ok();
        }
    }

    fn stranger() -> (Arc<Stranger>, Waker, mpsc::Receiver<()>, mpsc::Sender<()>) {
        let (woken, wakes) = mpsc::channel();
        let (go_on, goes_on) = mpsc::channel();
        let goes_on = Mutex::new(goes_on);
        let waker = Waker::from(Arc::new(Slow { woken, goes_on }));
        (HANDS.get().admit().unwrap(), waker, wakes, go_on)
    }

    #[test]
    fn one_that_is_stuck_is_not_woken_again_and_keeps_nobody_waiting() {
        let wake =
            |stranger: &Arc<Stranger>| HANDS.get().take_over([Arc::clone(stranger)].into_iter());
        let (stuck, waker, wakes_of_stuck, release) = stranger();
        stuck.wait(waker.clone());
        wake(&stuck);
        wakes_of_stuck.recv().unwrap();

        let (other, others, wakes, go_on) = stranger();
        drop(go_on);
        for _ in 0..3 {
            stuck.wait(waker.clone());
            other.wait(others.clone());
            wake(&stuck);
            wake(&other);
            wakes.recv().unwrap();
        }
        assert!(wakes_of_stuck.try_recv().is_err());
        // What it has missed it is told once.
        drop(release);
        wakes_of_stuck.recv().unwrap();
        HANDS.get().dismiss(&stuck);
        HANDS.get().dismiss(&other);
        drop(waker);
        assert!(wakes_of_stuck.recv().is_err());
    }

    #[test]
    fn one_that_is_stuck_while_there_is_no_other_keeps_those_to_come_from_nothing() {
        let wake =
            |stranger: &Arc<Stranger>| HANDS.get().take_over([Arc::clone(stranger)].into_iter());
        let (stuck, waker, wakes_of_stuck, _release) = stranger();
        stuck.wait(waker);
        wake(&stuck);
        wakes_of_stuck.recv().unwrap();
        HANDS.get().dismiss(&stuck);
        // The one that stood by has ended by then.
        thread::sleep(2 * PATIENCE);

        let (other, waker, wakes, _go_on) = stranger();
        other.wait(waker);
        wake(&other);
        wakes.recv().unwrap();
        HANDS.get().dismiss(&other);
    }
}

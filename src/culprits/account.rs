//! The account of one monitor: where its reports arrive, and where snapshots are taken.
//!
//! The lock is held for as long as one stall is added, or copied without an allocation: the thread that reports
//! waits for no reader.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::book::Book;
use super::pending::{Pending, Run};
use super::snapshot::Culprits;
use crate::clock;
use crate::stack::StackSnapshot;
use crate::stall::Stall;
use crate::sync::Lock;

#[derive(Debug)]
pub(crate) struct Account(Lock<State>);

#[derive(Debug)]
struct State {
    since: DateTime<Utc>,
    book: Book,
    pending: Pending,
    runs: u64,
}

/// Where the reports of one run arrive.
#[derive(Debug)]
pub(crate) struct Recorder {
    account: Arc<Account>,
    run: Run,
}

impl Account {
    /// `threshold` is that of the monitor's stalls.
    pub(crate) fn new(threshold: Duration) -> Account {
        Account(Lock::new(State {
            since: clock::utc_now(),
            book: Book::default(),
            pending: Pending::new(threshold),
            runs: 0,
        }))
    }

    pub(crate) fn recorder(self: &Arc<Self>) -> Recorder {
        let run = self.0.with(|state| {
            state.pending.make_room();
            state.runs += 1;
            Run(state.runs)
        });
        Recorder {
            account: Arc::clone(self),
            run,
        }
    }

    pub(crate) fn snapshot(&self) -> Culprits {
        self.take(false)
    }

    /// Empties the account, and returns what was in it.
    pub(crate) fn reset(&self) -> Culprits {
        self.take(true)
    }

    fn take(&self, empties: bool) -> Culprits {
        let mut room = 0;
        loop {
            let now = clock::utc_now();
            let mut book = Book::with_room();
            let mut pending = Vec::with_capacity(room);
            let since = self.0.with(|state| {
                room = state.pending.len();
                if room > pending.capacity() {
                    return None;
                }
                state.pending.copy(&mut pending);
                if !empties {
                    book.copy(&state.book);
                    return Some(state.since);
                }
                state.pending.settle(&pending);
                mem::swap(&mut book, &mut state.book);
                Some(mem::replace(&mut state.since, now))
            });
            let Some(since) = since else {
                continue;
            };
            for (stall, cost) in &pending {
                book.add(stall, cost.new, cost.lasted);
            }
            let (culprits, other) = book.close();
            return Culprits::new(since, culprits, other);
        }
    }
}

impl Recorder {
    /// `late` is the stack of the stall if it was not resolved in time for the report.
    pub(crate) fn record(&self, stall: &Stall, late: Option<Arc<StackSnapshot>>) {
        self.account.0.with(|state| {
            state.pending.report(self.run, stall, late);
            state.settle();
        });
    }

    /// Nothing more is reported in this run.
    pub(crate) fn end(&self) {
        self.account.0.with(|state| {
            state.pending.end(self.run);
            state.settle();
        });
    }
}

impl State {
    fn settle(&mut self) {
        while let Some((stall, cost)) = self.pending.pop() {
            self.book.add(&stall, cost.new, cost.lasted);
        }
    }
}

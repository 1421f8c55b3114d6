//! Has Tokio go through the states that `layout.rs` compares, on the calling thread.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use tokio::runtime::{Builder, Runtime};
use tokio::task::{self, coop, unconstrained};

use super::super::image::open_memory;
use super::layout::{Layout, Round, Shot};
use crate::stack::sys;

/// One round to set up what is set up once, and enough to tell what changes by chance.
const ROUNDS: usize = 5;

/// A program with more thread-local variables is not examined, in bytes.
const MOST: u64 = 1 << 20;

/// Must be called outside of any runtime. It takes some hundred microseconds.
pub(super) fn layout() -> Option<Layout> {
    let block = sys::thread_locals().filter(|block| block.end - block.start <= MOST)?;
    let camera = Camera {
        memory: Arc::new(open_memory().ok()?),
        block,
    };
    // They have no driver, so they open no file, and start no thread.
    let [one, other] = [(); 2].map(|()| Builder::new_current_thread().build().ok());
    let (one, other) = (one?, other?);
    let rounds = (0..ROUNDS).map(|_| camera.round(&one, &other));
    let rounds: Option<Vec<_>> = rounds.collect();
    Layout::of(rounds?.get(1..)?)
}

#[derive(Clone)]
struct Camera {
    memory: Arc<File>,
    block: Range<u64>,
}

impl Camera {
    fn take(&self) -> Option<Shot> {
        let length = usize::try_from(self.block.end - self.block.start).ok()?;
        let mut shot = vec![0; length];
        let read = self.memory.read_exact_at(&mut shot, self.block.start);
        read.ok().map(|()| shot)
    }

    fn round(&self, one: &Runtime, other: &Runtime) -> Option<Round> {
        let idle = self.take();
        let entered = one.enter();
        let once = self.take();
        let again = one.enter();
        let twice = self.take();
        drop(again);
        drop(entered);
        let entered = other.enter();
        let entered_other = self.take();
        drop(entered);
        // With its handle alone, a `block_on` leaves the scheduler to others.
        let (polling, spent) = one.handle().block_on(async {
            let before = self.take();
            coop::consume_budget().await;
            (before, self.take())
        });
        let exempt = one.handle().block_on(unconstrained(async { self.take() }));
        let driving = one.block_on(async { self.take() });
        let camera = self.clone();
        let task = one.spawn(async move { (task::id(), camera.take()) });
        let (task, in_task) = one.block_on(task).ok()?;
        Some(Round {
            idle: idle?,
            entered: once?,
            entered_twice: twice?,
            entered_other: entered_other?,
            polling: polling?,
            spent: spent?,
            exempt: exempt?,
            driving: driving?,
            in_task: in_task?,
            task: task.to_string().parse().ok()?,
            left: self.take()?,
        })
    }
}

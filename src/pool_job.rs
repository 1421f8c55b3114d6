//! A job for a runtime's blocking pool that does nothing. When it is done, a thread of the pool had time for it.

use std::fs;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use tokio::fs::File;
use tokio::io::AsyncWrite;
use tokio::task::coop::unconstrained;

/// What takes a byte and forgets it.
const NOWHERE: &str = if cfg!(windows) { "NUL" } else { "/dev/null" };

/// A short job: to write a byte to nowhere.
///
/// Tokio writes to files by way of the pool. Unlike `spawn_blocking`, that does not panic where the system
/// refuses the pool a thread.
#[derive(Debug)]
pub(crate) struct PoolJob(File);

impl PoolJob {
    /// Fails if the system refuses a file descriptor.
    pub(crate) fn new() -> io::Result<PoolJob> {
        let nowhere = fs::File::options().write(true).open(NOWHERE)?;
        Ok(PoolJob(File::from_std(nowhere)))
    }

    /// Gives the job to the pool of the current runtime.
    ///
    /// Fails if the pool has no thread and the system refuses it one. Tokio then keeps the job in the pool's
    /// queue all the same, but nobody hears when it is done. Fails also if the runtime shuts down, or if the
    /// job is given already and not done.
    pub(crate) fn give(&mut self) -> io::Result<()> {
        let mut cx = Context::from_waker(Waker::noop());
        match Pin::new(&mut self.0).poll_write(&mut cx, b"\n") {
            Poll::Ready(written) => written.map(drop),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// Waits until the job is done. It is ready at once if the job was not given.
    ///
    /// The thread of the pool that has done the job wakes the waker, and it does so within the context of the
    /// runtime. The polling task's budget plays no part: when it is used up, Tokio would wake the waker, too.
    pub(crate) fn poll_done(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let file = &mut self.0;
        let done = poll_fn(|cx| Pin::new(&mut *file).poll_flush(cx));
        pin!(unconstrained(done)).poll(cx).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use tokio::task::coop::consume_budget;

    use super::*;

    fn is_done(job: &mut PoolJob) -> bool {
        job.poll_done(&mut Context::from_waker(Waker::noop()))
            .is_ready()
    }

    #[test]
    fn a_job_waits_until_a_thread_has_time_for_it() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .max_blocking_threads(1)
            .build()
            .unwrap();
        let _entered = runtime.enter();
        let (release, released) = mpsc::channel::<()>();
        runtime.spawn_blocking(move || released.recv());
        let mut job = PoolJob::new().unwrap();
        assert!(is_done(&mut job), "it was not given yet");
        job.give().unwrap();
        assert!(!is_done(&mut job));
        let again = job.give().unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::WouldBlock);
        drop(release);
        while !is_done(&mut job) {
            std::thread::yield_now();
        }
        job.give().unwrap();
    }

    #[tokio::test]
    async fn a_task_without_budget_sees_that_it_is_done() {
        let mut job = PoolJob::new().unwrap();
        job.give().unwrap();
        let is_seen = poll_fn(|cx| {
            while pin!(consume_budget()).poll(cx).is_ready() {}
            // The budget lasts for this one poll.
            let is_seen = (0..10_000).any(|_| {
                std::thread::sleep(std::time::Duration::from_millis(1));
                is_done(&mut job)
            });
            Poll::Ready(is_seen)
        });
        assert!(is_seen.await);
    }
}

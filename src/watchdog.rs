//! The one thread of the process that looks at all monitored runtimes.
//!
//! It starts with the first runtime that is to be watched and ends with the last. It looks at what
//! Tokio publishes of each worker, every fifth of the smallest threshold, and tells what it finds to
//! a second thread, which publishes it. So nothing that a subscriber does can hold it up.

mod credit;
mod evidence;
mod inbox;
mod inquiry;
mod pauses;
mod pool;
mod probe;
mod rendezvous;
mod reporter;
mod seat;
mod thread;
mod watched;
mod worker;

use std::io;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tokio::runtime::Handle;

pub use pauses::{Pause, Pauses, pauses};

use crate::broadcast::Publisher;
use crate::stack::StackTraces;
use crate::stall::Stall;
use crate::tasks::OwnTasks;
use inbox::{Id, Inbox};
use watched::Watched;

static INBOX: LazyLock<Inbox<Watched>> = LazyLock::new(Inbox::new);

/// A runtime that is to be watched, and where its stalls are told.
pub(crate) struct Request {
    pub(crate) runtime: Handle,
    pub(crate) tasks: OwnTasks,
    pub(crate) name: Option<Arc<str>>,
    pub(crate) threshold: Duration,
    pub(crate) rescue_timers: bool,
    pub(crate) stack_traces: StackTraces,
    pub(crate) publisher: Publisher<Stall>,
}

/// A runtime that is being watched. When this is dropped, the watchdog looks a last time, closes the
/// channel and lets go of the runtime.
#[derive(Debug)]
pub(crate) struct Watch(Option<Id>);

impl Watch {
    /// Fails if the operating system refuses a thread.
    pub(crate) fn start(request: Request) -> io::Result<Watch> {
        if cfg!(not(target_has_atomic = "64")) {
            // Tokio publishes nothing there.
            request.publisher.close();
            return Ok(Watch(None));
        }
        let id = INBOX.arrive(Watched::new(request), || thread::start(&INBOX))?;
        Ok(Watch(Some(id)))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(id) = self.0 {
            INBOX.leave(id);
        }
    }
}

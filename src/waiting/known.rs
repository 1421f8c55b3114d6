//! Which wakers are known to do nothing but schedule a task or unpark a thread.
//!
//! They are recognised by their vtables. Those of Tokio are learnt from a small runtime.

use std::future::{Future, poll_fn};
use std::sync::{OnceLock, mpsc};
use std::task::{Poll, RawWakerVTable, Waker};

use futures::task::noop_waker_ref;

use crate::threads;

static KNOWN: OnceLock<Vec<&'static RawWakerVTable>> = OnceLock::new();

/// Returns whether `waker` is known. It must be a clone: the waker that a runtime lends to a future may have
/// another vtable than its clones.
pub(super) fn is_known(waker: &Waker) -> bool {
    if cfg!(loopmon_loom) {
        // Loom's threads are not those of the system.
        return true;
    }
    // Not `get_or_init`: if another thread forks during it, the child waits for ever.
    let Some(known) = KNOWN.get().or_else(learn) else {
        return false;
    };
    known.iter().any(|known| *known == waker.vtable())
}

/// Learns the known vtables. `None` if the system refuses a thread.
fn learn() -> Option<&'static Vec<&'static RawWakerVTable>> {
    // On another thread: this may be a thread of a runtime, which must not drive another runtime.
    let (learner, learnt) = mpsc::channel();
    threads::spawn("loopmon-learns", move || {
        learner.send(of_tokio()).ok();
    })
    .ok()?;
    let mut known = learnt.recv().ok()?;
    known.extend([
        Waker::noop().clone().vtable(),
        noop_waker_ref().clone().vtable(),
    ]);
    Some(KNOWN.get_or_init(|| known))
}

/// Returns the vtables of a task, of a future in a runtime's `block_on`, and of one in a handle's `block_on`.
fn of_tokio() -> Vec<&'static RawWakerVTable> {
    // Without drivers the runtime needs no file descriptor.
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().build() else {
        return Vec::new();
    };
    let task = runtime.block_on(runtime.spawn(vtable())).ok();
    let on = runtime.block_on(vtable());
    let beside = runtime.handle().block_on(vtable());
    task.into_iter().chain([on, beside]).collect()
}

fn vtable() -> impl Future<Output = &'static RawWakerVTable> {
    poll_fn(|cx| Poll::Ready(cx.waker().clone().vtable()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::Wake;

    use tokio::runtime::Builder;
    use tokio::task::LocalSet;

    use super::*;

    fn known() -> impl Future<Output = bool> {
        poll_fn(|cx| Poll::Ready(is_known(&cx.waker().clone())))
    }

    #[test]
    fn tokios_wakers_are_known_on_every_flavour() {
        let current = Builder::new_current_thread().enable_all().build().unwrap();
        let multi = Builder::new_multi_thread()
            .worker_threads(1)
            .build()
            .unwrap();
        for runtime in [&current, &multi] {
            assert!(runtime.block_on(known()));
            assert!(runtime.handle().block_on(known()));
            assert!(runtime.block_on(runtime.spawn(known())).unwrap());
            assert!(LocalSet::new().block_on(runtime, known()));
        }
        assert!(is_known(Waker::noop()));
    }

    #[test]
    fn others_are_not() {
        struct Other;
        impl Wake for Other {
            fn wake(self: Arc<Other>) {}
        }
        assert!(!is_known(&Waker::from(Arc::new(Other))));
        assert!(!futures::executor::block_on(known()));
    }
}

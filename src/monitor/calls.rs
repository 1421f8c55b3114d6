//! Runs callbacks: one task reads the stream, and each call has a task of its own. What a callback is, is in
//! `callback.rs`.

use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::task::coop::consume_budget;
use tokio_stream::{Stream, StreamExt};

use super::exclusive::Exclusive;
use crate::broadcast::Item;
use crate::callback::Callbacks;
use crate::foreign;
use crate::runtime::TaskTracker;

/// The callbacks of a monitor, which one run uses after another.
pub(super) type Shared<T> = Exclusive<Callbacks<T>>;

/// Returns `None` if there are no callbacks.
pub(super) fn share<T>(callbacks: Callbacks<T>) -> Option<Shared<T>> {
    (!callbacks.is_empty()).then(|| Exclusive::new(callbacks))
}

/// Runs callbacks on `runtime` until `items` end. Each task holds `kept` until it ends.
pub(super) fn serve<T: Item>(
    callbacks: Shared<T>,
    mut items: impl Stream<Item = T> + Unpin + Send + 'static,
    runtime: &Handle,
    tasks: TaskTracker,
    kept: impl Clone + Send + 'static,
) -> AbortHandle {
    let serving = tasks.token().keep(async move {
        while let Some(item) = items.next().await {
            // Not held during `next`, as another run may need the callbacks.
            for call in callbacks.take().await.offer(item) {
                let kept = kept.clone();
                let call = tasks.token().keep(async move {
                    call.await;
                    drop(kept);
                });
                // To spawn runs the runtime's hooks, which may panic.
                foreign::call(|| tokio::spawn(call)).ok();
            }
            // There may be more items in the buffer than one poll should handle.
            consume_budget().await;
        }
    });
    runtime.spawn(serving).abort_handle()
}

//! Serves callbacks: a task that reads their stream, and one for each call.

use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::task::coop::consume_budget;
use tokio_stream::{Stream, StreamExt};

use super::lent::Lender;
use crate::broadcast::Item;
use crate::callback::Callbacks;
use crate::foreign;
use crate::runtime::TaskTracker;

/// The callbacks of a monitor, used by one run after another.
pub(super) type Shared<T> = Lender<Callbacks<T>>;

/// `None` if there are none to serve.
pub(super) fn share<T>(callbacks: Callbacks<T>) -> Option<Shared<T>> {
    (!callbacks.is_empty()).then(|| Lender::new(callbacks))
}

/// Serves them on `runtime` until `items` end. Each task holds `kept` as long as it lives.
pub(super) fn serve<T: Item>(
    callbacks: Shared<T>,
    mut items: impl Stream<Item = T> + Unpin + Send + 'static,
    runtime: &Handle,
    tasks: TaskTracker,
    kept: impl Clone + Send + 'static,
) -> AbortHandle {
    let serving = tasks.token().keep(async move {
        while let Some(item) = items.next().await {
            // Not held while it waits: the next run may have begun.
            for call in callbacks.take().await.offer(item) {
                let kept = kept.clone();
                let call = tasks.token().keep(async move {
                    call.await;
                    drop(kept);
                });
                // To spawn runs the runtime's hooks.
                foreign::call(|| tokio::spawn(call)).ok();
            }
            // What a slow reader finds buffered may be more than a worker should do in one go.
            consume_budget().await;
        }
    });
    runtime.spawn(serving).abort_handle()
}

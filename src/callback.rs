//! Callbacks: what users may give as one, and how many of its calls may overlap. The monitor and the
//! reporter run the calls.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use futures::future::BoxFuture;
use tokio::sync::Semaphore;

use crate::broadcast::Item;
use crate::foreign::{self, Foreign};
use crate::sample::Sample;
use crate::stall::Stall;

/// A function that a monitor calls with each sample.
///
/// Plain `async fn`s are callbacks, and so are async closures and closures that return a future. A
/// closure that reads the sample names its type: `async |sample: Sample| …`. The future must be `Send`
/// and own what it uses: a closure that captures something clones it for each future, as below. (A
/// capturing `async` closure lends its captures to its future, which then cannot outlive the closure;
/// the compiler rejects it.)
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use std::time::Duration;
/// use loopmon::Sample;
///
/// async fn print(sample: Sample) {
///     println!("{sample}");
/// }
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), loopmon::Error> {
/// let calls = Arc::new(AtomicU64::new(0));
/// let counter = Arc::clone(&calls);
/// let count = move |_| {
///     let counter = Arc::clone(&counter);
///     async move {
///         counter.fetch_add(1, Ordering::Relaxed);
///     }
/// };
///
/// let monitor = loopmon::create(Duration::from_millis(10), (print, count))?;
/// tokio::time::sleep(Duration::from_millis(105)).await;
/// monitor.stop();
/// monitor.stopped().await;
/// assert_eq!(calls.load(Ordering::Relaxed), 10);
/// # Ok(())
/// # }
/// ```
///
/// # Calls
///
/// The function is called on the monitored runtime, and each future that it returns runs there as its
/// own task. Nothing waits for that task: neither sampling, nor other callbacks, nor the next call of
/// the same callback, so calls overlap when they take longer than the interval. Whatever the function
/// does before it returns the future is not part of the task: keep it short, because other callbacks
/// wait for it.
///
/// While [`Callbacks::MAX_CALLS_IN_FLIGHT`] calls of a callback are in flight, further samples are
/// dropped for this callback. Its next call gets their number in [`Sample::missed`].
///
/// A panic in the call or in its future ends only that call. The process's panic hook reports it.
///
/// When the monitor stops, calls in flight continue, and
/// [`Monitor::stopped`](crate::Monitor::stopped) waits for them: a callback must not await that
/// itself. When the runtime shuts down, they are dropped with all its tasks.
pub trait Callback<T = Sample>: Send + 'static {
    /// Starts one call.
    fn call(&self, item: T) -> impl Future<Output = ()> + Send + 'static;
}

impl<T, F, Fut> Callback<T> for F
where
    F: Fn(T) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    fn call(&self, item: T) -> impl Future<Output = ()> + Send + 'static {
        self(item)
    }
}

/// Converts to [`Callbacks`]: one callback, an array or a `Vec` of callbacks of one type, or a tuple of
/// up to eight of different types. `()` is no callback, for samples.
///
/// ```
/// use loopmon::{IntoCallbacks, Sample};
///
/// async fn one(_: Sample) {}
/// async fn other(_: Sample) {}
///
/// assert_eq!(().into_callbacks().len(), 0);
/// assert_eq!(one.into_callbacks().len(), 1);
/// assert_eq!([one, one].into_callbacks().len(), 2);
/// assert_eq!(vec![one; 3].into_callbacks().len(), 3);
/// assert_eq!((one, other, async |_| {}).into_callbacks().len(), 3);
/// ```
pub trait IntoCallbacks<T = Sample> {
    /// Collects the callbacks and erases their types.
    fn into_callbacks(self) -> Callbacks<T>;
}

/// A collection of callbacks of any types.
pub struct Callbacks<T = Sample>(Vec<Subscriber<T>>);

/// A callback with its type erased. Returns a call, or nothing if the callback has no room for it.
type Subscriber<T> = Box<dyn FnMut(T) -> Option<BoxFuture<'static, ()>> + Send>;

impl Callbacks {
    /// How many calls of one callback may be in flight at once.
    pub const MAX_CALLS_IN_FLIGHT: usize = 64;
}

impl<T> Callbacks<T> {
    /// Returns the number of callbacks.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether there is no callback.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn append(&mut self, mut more: Callbacks<T>) {
        self.0.append(&mut more.0);
    }

    /// Calls each callback that has room with `item`. The caller runs each returned future as its own
    /// task.
    pub(crate) fn offer(&mut self, item: T) -> impl Iterator<Item = BoxFuture<'static, ()>>
    where
        T: Item,
    {
        self.0
            .iter_mut()
            .filter_map(move |subscriber| subscriber(item.clone()))
    }

    pub(crate) fn push(&mut self, callback: impl Callback<T>)
    where
        T: Item,
    {
        let free = Arc::new(Semaphore::new(Callbacks::MAX_CALLS_IN_FLIGHT));
        // Counts the items that were dropped since the latest call.
        let mut missed = 0;
        self.0.push(Box::new(move |mut item| {
            missed += std::mem::take(item.missed_mut());
            let Ok(permit) = Arc::clone(&free).try_acquire_owned() else {
                missed += 1;
                return None;
            };
            *item.missed_mut() = std::mem::take(&mut missed);
            let call = foreign::call(|| callback.call(item)).ok()?;
            Some(Box::pin(async move {
                let _permit = permit;
                Foreign::new(call).await.ok();
            }))
        }));
    }
}

impl<T> Default for Callbacks<T> {
    fn default() -> Callbacks<T> {
        Callbacks(Vec::new())
    }
}

impl<T> fmt::Debug for Callbacks<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callbacks")
            .field("len", &self.len())
            .finish()
    }
}

impl<T: Item, C: Callback<T>> FromIterator<C> for Callbacks<T> {
    fn from_iter<I: IntoIterator<Item = C>>(iter: I) -> Callbacks<T> {
        let mut callbacks = Callbacks::default();
        iter.into_iter()
            .for_each(|callback| callbacks.push(callback));
        callbacks
    }
}

impl<T> IntoCallbacks<T> for Callbacks<T> {
    fn into_callbacks(self) -> Callbacks<T> {
        self
    }
}

// For samples only: with several impls the compiler could not infer the item of `()`.
impl IntoCallbacks for () {
    fn into_callbacks(self) -> Callbacks {
        Callbacks::default()
    }
}

/// Implements `IntoCallbacks` for one type of item. A generic impl would be rejected: only for a type of
/// this crate does the compiler know that no array and no tuple is a function of it.
macro_rules! into_callbacks {
    ($item:ty) => {
        impl<C: Callback<$item>> IntoCallbacks<$item> for C {
            fn into_callbacks(self) -> Callbacks<$item> {
                [self].into_callbacks()
            }
        }

        impl<C: Callback<$item>, const N: usize> IntoCallbacks<$item> for [C; N] {
            fn into_callbacks(self) -> Callbacks<$item> {
                self.into_iter().collect()
            }
        }

        impl<C: Callback<$item>> IntoCallbacks<$item> for Vec<C> {
            fn into_callbacks(self) -> Callbacks<$item> {
                self.into_iter().collect()
            }
        }

        into_callbacks!($item: A);
        into_callbacks!($item: A B);
        into_callbacks!($item: A B C);
        into_callbacks!($item: A B C D);
        into_callbacks!($item: A B C D E);
        into_callbacks!($item: A B C D E F);
        into_callbacks!($item: A B C D E F G);
        into_callbacks!($item: A B C D E F G H);
    };
    ($item:ty: $($name:ident)+) => {
        #[allow(non_snake_case, reason = "the type's name serves as the variable's")]
        impl<$($name: Callback<$item>),+> IntoCallbacks<$item> for ($($name,)+) {
            fn into_callbacks(self) -> Callbacks<$item> {
                let ($($name,)+) = self;
                let mut callbacks = Callbacks::default();
                $(callbacks.push($name);)+
                callbacks
            }
        }
    };
}

into_callbacks!(Sample);
into_callbacks!(Stall);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chrono::DateTime;
    use futures::FutureExt;
    use tokio::sync::mpsc;

    use super::*;

    fn sample(missed: u64) -> Sample {
        Sample {
            missed,
            ..Sample::new(Duration::ZERO, 0, DateTime::UNIX_EPOCH)
        }
    }

    /// A callback that sends the `missed` of its sample, and whose calls never end.
    fn endless() -> (Callbacks, mpsc::UnboundedReceiver<u64>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let callback = move |sample: Sample| {
            sender.send(sample.missed).unwrap();
            std::future::pending()
        };
        (callback.into_callbacks(), receiver)
    }

    #[test]
    fn calls_in_flight_are_bounded_and_what_is_dropped_is_counted() {
        let (mut callbacks, mut receiver) = endless();
        let mut calls: Vec<_> = (0..Callbacks::MAX_CALLS_IN_FLIGHT)
            .flat_map(|_| callbacks.offer(sample(0)).collect::<Vec<_>>())
            .collect();
        assert_eq!(calls.len(), Callbacks::MAX_CALLS_IN_FLIGHT);

        assert_eq!(callbacks.offer(sample(0)).count(), 0);
        assert_eq!(callbacks.offer(sample(5)).count(), 0);
        calls.pop();
        assert_eq!(callbacks.offer(sample(3)).count(), 1);

        let mut received = Vec::new();
        while let Some(Some(missed)) = receiver.recv().now_or_never() {
            received.push(missed);
        }
        let (last, before) = received.split_last().unwrap();
        assert_eq!(*last, 1 + (5 + 1) + 3);
        assert!(before.iter().all(|missed| *missed == 0));
    }

    #[test]
    fn a_call_that_panics_leaves_the_others_alone() {
        fn panics(_: Sample) -> std::future::Ready<()> {
            panic!("a callback's own mistake")
        }
        let mut callbacks = (panics, async |_| {}).into_callbacks();
        for _ in 0..2 * Callbacks::MAX_CALLS_IN_FLIGHT {
            assert_eq!(callbacks.offer(sample(0)).count(), 1);
        }
    }
}

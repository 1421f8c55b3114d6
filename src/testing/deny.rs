//! What a test sets up, and the guard that fails it. What is found is judged in `verdict.rs`.

use std::future::Future;
use std::panic::Location;
use std::thread;
use std::time::Duration;

use tokio::runtime::Handle;

use super::allow::Allowed;
use super::findings::Findings;
use super::session::Session;
use crate::error::{Error, Kind};
use crate::stack::StackCapture;
use crate::stall::Cause;

/// Fails a test if the code under test blocks the event loop.
///
/// ```
/// use std::time::Duration;
/// use loopmon::testing::DenyStalls;
///
/// async fn load_user() -> u32 {
///     tokio::time::sleep(Duration::from_millis(5)).await;
///     7
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// // #[tokio::test]
/// // async fn loads_a_user() {
/// let deny = DenyStalls::over(Duration::from_millis(50));
/// assert_eq!(deny.run(load_user()).await, 7);
/// // }
/// # }
/// ```
///
/// If `load_user` called `std::thread::sleep`, the test would fail with the function, file and line:
///
/// ```should_panic
/// # use std::time::Duration;
/// # use loopmon::testing::DenyStalls;
/// async fn load_user() -> u32 {
///     std::thread::sleep(Duration::from_millis(200));
///     7
/// }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let deny = DenyStalls::over(Duration::from_millis(50));
/// deny.run(load_user()).await; // panics: shop::load_user at src/user.rs:3, once, for 0.200 s …
/// # }
/// ```
///
/// [The guide](crate::docs::testing) says what is watched, what counts, and what does not.
#[derive(Debug, Clone)]
#[must_use = "nothing is watched until `run` or `enter`"]
pub struct DenyStalls {
    pub(super) threshold: Duration,
    pub(super) allowed: Vec<Allowed>,
    pub(super) denies_unused: bool,
    pub(super) stack_capture: StackCapture,
}

impl DenyStalls {
    /// Denies what blocks for `threshold` or longer, without the time that its thread waits for a CPU.
    ///
    /// Polls of the future that is given to [`run`](Self::run) are timed exactly, so a millisecond works. A worker
    /// is looked at five times per threshold, but at most once a millisecond: for spawned tasks, 10 ms
    /// or more is better. A stack takes 5 ms or more: a shorter poll is reported without.
    pub fn over(threshold: Duration) -> DenyStalls {
        DenyStalls {
            threshold,
            allowed: Vec::new(),
            denies_unused: false,
            stack_capture: StackCapture::new(),
        }
    }

    /// Allows what blocks in functions whose paths begin with this: any function that the task has called, down to
    /// the one that blocks. So it is with the [name](Self::run) of the future.
    ///
    /// `sqlx::migrate` covers the function and the module of this name, but also `sqlx::migrate_all`;
    /// `sqlx::migrate::` covers the module alone. Of `<T as Trait>::function`, it is the path of `T` or of
    /// `Trait`. A hyphen counts as an underscore. Further calls add prefixes.
    ///
    /// It goes by stacks. A stall without one then fails no test, and is named in the message; below 5 ms,
    /// where stacks are rare, it does.
    pub fn allow(mut self, path: impl AsRef<str>) -> DenyStalls {
        self.allowed.push(Allowed::path(path.as_ref()));
        self
    }

    /// Allows stalls of this cause. [`Cause::blocked(None)`](Cause::blocked) stands for every system call.
    ///
    /// [`Cause::Starved`] and [`Cause::Unattended`] fail no test anyway, and neither does [`Cause::Unknown`] where
    /// the system reports what threads do, as Linux does.
    pub fn allow_cause(mut self, cause: Cause) -> DenyStalls {
        self.allowed.push(Allowed::Cause(cause));
        self
    }

    /// Fails the test as well if an entry of what is allowed has matched nothing, so that the list does not outlive
    /// its reasons.
    ///
    /// Without this, such entries are named in the message if the test fails for another reason.
    pub fn deny_unused(mut self) -> DenyStalls {
        self.denies_unused = true;
        self
    }

    /// Sets how stacks are taken, and which code on them is [your own](StackCapture::own).
    pub fn stack_capture(mut self, stack_capture: StackCapture) -> DenyStalls {
        self.stack_capture = stack_capture;
        self
    }

    /// Runs a future, and returns its output.
    ///
    /// It watches the polls of the future, wherever it is polled, and the workers of the runtime that is current
    /// at the first poll, if there is one. In reports, the future has the name of its type: for an async function
    /// or block, that is the path of the function.
    ///
    /// # Panics
    ///
    /// When the future has ended, if the code under test has blocked. If the future panics, that panic goes on, and
    /// what has blocked is printed to the standard error.
    ///
    /// At the first poll, if the threshold is zero, if the signal for stacks is not one that loopmon may use, or if
    /// the operating system refuses a thread.
    ///
    /// # Cancel safety
    ///
    /// If this is dropped earlier, the future is dropped. What has blocked until then is a panic of the drop.
    #[track_caller]
    pub fn run<F: Future>(self, future: F) -> impl Future<Output = F::Output> {
        let caller = Location::caller();
        async move {
            let watched = self.begin(caller).and_then(|guard| {
                if let Ok(runtime) = Handle::try_current() {
                    guard.session.watch_runtime(&runtime)?;
                }
                let future = guard.session.watch_future(future)?;
                Ok((guard, future))
            });
            let (guard, future) = match watched {
                Ok(watched) => watched,
                Err(error) => panic!("nothing can be watched at {caller}: {error}"),
            };
            let output = future.await;
            drop(guard);
            output
        }
    }

    /// Watches the workers of the current runtime until the guard is dropped, for where there is no future to give
    /// to [`run`](Self::run).
    ///
    /// ```
    /// use std::time::Duration;
    /// use loopmon::testing::DenyStalls;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), loopmon::Error> {
    /// let _deny = DenyStalls::over(Duration::from_millis(50)).enter()?;
    /// tokio::time::sleep(Duration::from_millis(5)).await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// On a `multi_thread` runtime, the future of the test is no worker's. It is watched on Linux, as long as
    /// its thread calls this.
    ///
    /// # Errors
    ///
    /// If no runtime is current, the threshold is zero, the signal for stacks is not one that loopmon may use, or
    /// the operating system refuses a thread.
    ///
    /// # Panics
    ///
    /// The drop of the guard, if the code under test has blocked. While the thread panics already, the drop prints
    /// what has blocked to the standard error.
    #[track_caller]
    pub fn enter(self) -> Result<DenyGuard, Error> {
        let caller = Location::caller();
        let runtime = Handle::try_current().map_err(|_| Error::from(Kind::NoRuntime))?;
        let guard = self.begin(caller)?;
        guard.session.watch_runtime(&runtime)?;
        Ok(guard)
    }

    fn begin(self, caller: &'static Location<'static>) -> Result<DenyGuard, Error> {
        Ok(DenyGuard {
            session: Session::begin(&self)?,
            settings: self,
            caller,
        })
    }
}

/// Watches until it is dropped, from [`DenyStalls::enter`].
///
/// # Dropping
///
/// The drop waits for what the watchdog has to say: some 100 µs, or until the stacks are resolved if something has
/// blocked. It panics if the code under test has blocked.
#[derive(Debug)]
#[must_use = "the code under test is watched until this is dropped"]
pub struct DenyGuard {
    session: Session,
    settings: DenyStalls,
    caller: &'static Location<'static>,
}

impl Drop for DenyGuard {
    fn drop(&mut self) {
        let findings = self.session.end(&self.settings);
        if findings.fail() {
            fail(&findings, self.caller);
        }
    }
}

fn fail(findings: &Findings<'_>, caller: &Location<'_>) {
    let message = format!("{findings}\nwatched at {caller}");
    if thread::panicking() {
        eprintln!("{message}");
    } else {
        panic!("{message}");
    }
}

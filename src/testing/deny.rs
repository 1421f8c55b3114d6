//! What a test sets up, and the guard that fails it. What is found is judged in `verdict.rs`.

use std::cell::Cell;
use std::future::Future;
use std::panic::Location;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tokio::runtime::Handle;

use super::allow::Allowed;
use super::findings::Findings;
use super::report;
use super::session::Session;
use super::settings::Settings;
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
    settings: Settings,
    only_reports: bool,
}

impl DenyStalls {
    /// Denies what blocks for `threshold` or longer, without the time that its thread waits for a CPU.
    ///
    /// Polls of the future that is given to [`run`](Self::run) are timed exactly, so a millisecond works, unless the
    /// host of a virtual machine [takes its CPU](crate::docs::testing#what-counts) for as long. A worker is looked at
    /// five times per threshold, but at most once a millisecond: for spawned tasks, 10 ms or more is better. A stack
    /// takes 5 ms or more: a shorter poll is reported without.
    pub fn over(threshold: Duration) -> DenyStalls {
        DenyStalls {
            settings: Settings {
                threshold,
                allowed: Vec::new(),
                denies_unused: false,
                stack_capture: StackCapture::new(),
            },
            only_reports: false,
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
        self.settings.allowed.push(Allowed::path(path.as_ref()));
        self
    }

    /// Allows stalls of this cause. [`Cause::blocked(None)`](Cause::blocked) stands for every system call.
    ///
    /// [`Cause::Starved`] and [`Cause::Unattended`] fail no test anyway, and neither does [`Cause::Unknown`] where
    /// the system reports what threads do, as Linux does.
    pub fn allow_cause(mut self, cause: Cause) -> DenyStalls {
        self.settings.allowed.push(Allowed::Cause(cause));
        self
    }

    /// Fails the test as well if an entry of what is allowed has matched nothing, so that the list does not outlive
    /// its reasons.
    ///
    /// Without this, such entries are named in the message if the test fails for another reason.
    pub fn deny_unused(mut self) -> DenyStalls {
        self.settings.denies_unused = true;
        self
    }

    /// Fails no test. What has blocked is only appended to the file that the environment variable
    /// [`LOOPMON_STALLS`](crate::docs::testing#a-whole-suite) names, where every [`DenyStalls`] appends it. If
    /// it names none, nothing is watched.
    ///
    /// So a suite that blocks in many places can be cleaned step by step.
    pub fn report_only(mut self) -> DenyStalls {
        self.only_reports = true;
        self
    }

    /// Sets how stacks are taken, and which code on them is [your own](StackCapture::own).
    pub fn stack_capture(mut self, stack_capture: StackCapture) -> DenyStalls {
        self.settings.stack_capture = stack_capture;
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
            let runtime = Handle::try_current().ok();
            let refuse = |error| -> ! { panic!("nothing can be watched at {caller}: {error}") };
            let watch = self.watch(caller, runtime.as_ref());
            let watch = watch.unwrap_or_else(|error| refuse(error));
            let Some(session) = &watch.session else {
                return future.await;
            };
            let watched = session.watch_future(future);
            let output = watched.unwrap_or_else(|error| refuse(error)).await;
            drop(watch);
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
        let runtime = Handle::try_current().map_err(|_| Error::from(Kind::NoRuntime))?;
        self.watch(Location::caller(), Some(&runtime))
    }

    /// Returns a function for [`on_thread_start`](tokio::runtime::Builder::on_thread_start), which watches a
    /// `multi_thread` runtime that the code under test builds: from its first thread on, until that ends.
    ///
    /// It only [reports](Self::report_only), as a thread that ends can fail no test.
    ///
    /// ```
    /// use std::time::Duration;
    /// use loopmon::testing::DenyStalls;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let deny = DenyStalls::over(Duration::from_millis(50));
    /// let runtime = tokio::runtime::Builder::new_multi_thread()
    ///     .on_thread_start(deny.on_thread_start())
    ///     .build()?;
    /// # drop(runtime);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn on_thread_start(self) -> impl Fn() + Send + Sync + 'static {
        thread_local! {
            static GUARD: Cell<Option<DenyGuard>> = const { Cell::new(None) };
        }
        let caller = Location::caller();
        let deny = self.report_only();
        let is_watched = AtomicBool::new(false);
        move || {
            let runtime = Handle::try_current().ok();
            if runtime.is_some() && !is_watched.swap(true, Ordering::Relaxed) {
                match deny.clone().watch(caller, runtime.as_ref()) {
                    Ok(guard) => GUARD.set(Some(guard)),
                    Err(error) => eprintln!("nothing can be watched at {caller}: {error}"),
                }
            }
        }
    }

    fn watch(
        self,
        caller: &'static Location<'static>,
        runtime: Option<&Handle>,
    ) -> Result<DenyGuard, Error> {
        let is_wanted = !self.only_reports || report::file().is_some();
        let is_wanted = is_wanted && !is_under_valgrind();
        let begin = || Session::begin(&self.settings, runtime);
        Ok(DenyGuard {
            session: is_wanted.then(begin).transpose()?,
            settings: self.settings,
            only_reports: self.only_reports,
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
    /// `None` if nobody wants to know.
    session: Option<Session>,
    settings: Settings,
    only_reports: bool,
    caller: &'static Location<'static>,
}

impl Drop for DenyGuard {
    fn drop(&mut self) {
        let Some(session) = &mut self.session else {
            return;
        };
        let seen = session.end(&self.settings);
        let findings = Findings::new(&self.settings, seen, session.missed());
        self.report(&findings);
        if findings.fail() && !self.only_reports {
            fail(&findings, self.caller);
        }
    }
}

impl DenyGuard {
    fn report(&self, findings: &Findings<'_>) {
        let Some(file) = report::file().filter(|_| !findings.culprits().is_empty()) else {
            return;
        };
        let path = Path::new(&file);
        let threshold = self.settings.threshold.as_secs_f64();
        if let Err(error) = report::append(path, findings.culprits(), threshold) {
            eprintln!("{} cannot be written: {error}", path.display());
        }
    }
}

/// Whether valgrind runs the process: one thread at a time, which the others wait for as if asleep.
fn is_under_valgrind() -> bool {
    let preloaded = std::env::var("LD_PRELOAD").unwrap_or_default();
    preloaded.contains("vgpreload")
}

fn fail(findings: &Findings<'_>, caller: &Location<'_>) {
    let message = format!("{findings}\nwatched at {caller}");
    if thread::panicking() {
        eprintln!("{message}");
    } else {
        panic!("{message}");
    }
}

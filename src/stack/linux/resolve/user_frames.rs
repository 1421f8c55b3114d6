//! Which part of a stack is the user's, and whether the thread runs a worker, by the names of functions.
//! Which of these calls is to blame is in `culprit.rs`.

/// The functions in which the runtime polls a future: the beginning of the path, and a segment of it. The
/// functions of the runtime that a future calls, such as to wake or join a task, are not among them.
const HARNESS: [(&str, &str); 11] = [
    ("tokio::runtime::task::core::Core", "poll"),
    ("tokio::runtime::task::harness::", "poll_future"),
    ("tokio::runtime::task::harness::Harness", "poll"),
    ("tokio::runtime::task::raw::", "poll"),
    ("tokio::runtime::scheduler::current_thread::", "block_on"),
    ("tokio::runtime::scheduler::current_thread::", "run_task"),
    ("tokio::runtime::scheduler::multi_thread::", "run_task"),
    ("tokio::runtime::context::runtime::", "enter_runtime"),
    ("tokio::runtime::context::scoped::Scoped", "set"),
    ("tokio::runtime::park::CachedParkThread", "block_on"),
    ("tokio::runtime::runtime::Runtime", "block_on"),
];

/// The functions in which a thread calls what it was spawned for.
const THREAD: [(&str, &str); 2] = [
    ("std::sys::backtrace::", "__rust_begin_short_backtrace"),
    ("std::rt::", "lang_start"),
];

/// The functions that the runtime has between these and the user's code, also to drop a future or its
/// output. Further in, the user has called them.
const BETWEEN: [&str; 13] = [
    "tokio::runtime::",
    "tokio::loom::",
    "tokio::task::coop::",
    "tokio::task::local::",
    "core::ops::function::FnOnce",
    "core::panic::unwind_safe::AssertUnwindSafe",
    "std::panicking::catch_unwind",
    "std::panicking::try",
    "__rust_try",
    "std::panic::catch_unwind",
    "std::thread::local::LocalKey",
    // The name has the type that is dropped.
    "core::ptr::drop_in_place<tokio::runtime::",
    "core::ptr::drop_in_place::<tokio::runtime::",
];

/// The functions in which a thread runs a worker.
const WORKER: [(&str, &str); 4] = [
    ("tokio::runtime::scheduler::multi_thread::", "run"),
    ("tokio::runtime::scheduler::multi_thread::", "run_task"),
    ("tokio::runtime::scheduler::current_thread::", "block_on"),
    ("tokio::runtime::scheduler::current_thread::", "run_task"),
];

/// The functions in which a thread has handed its worker over to another thread.
const HANDED_OVER: [(&str, &str); 3] = [
    ("tokio::runtime::context::runtime_mt::", "exit_runtime"),
    ("tokio::runtime::scheduler::", "block_in_place"),
    ("tokio::task::blocking::", "block_in_place"),
];

/// Whether the thread is inside `block_in_place`, and so runs no worker, unless it runs one of another
/// runtime in there.
pub(super) fn has_handed_over(functions: &[Option<&str>]) -> bool {
    let mut names = functions.iter().map(|name| name.unwrap_or_default());
    names
        .find(|name| is_one_of(name, &HANDED_OVER) || is_one_of(name, &WORKER))
        .is_some_and(|name| is_one_of(name, &HANDED_OVER))
}

/// Counts the innermost calls that are the user's part: those that the runtime, or the start of the thread,
/// has called. All calls count if neither is on the stack.
pub(super) fn count(functions: &[Option<&str>]) -> usize {
    let first = |boundary: &[(&str, &str)]| {
        let mut names = functions.iter().map(|name| name.unwrap_or_default());
        names.position(|name| is_one_of(name, boundary))
    };
    let end = first(&HARNESS).or_else(|| first(&THREAD));
    let Some(end) = end.filter(|end| *end > 0) else {
        return functions.len();
    };
    let outermost = functions[..end]
        .iter()
        .rposition(|name| !name.is_some_and(is_between));
    outermost.map_or(end, |outermost| outermost + 1)
}

fn is_between(function: &str) -> bool {
    let path = function.trim_start_matches('<');
    let mut beginnings = BETWEEN.iter();
    beginnings.any(|beginning| path.starts_with(beginning))
}

fn is_one_of(function: &str, boundary: &[(&str, &str)]) -> bool {
    let function = without_generics(function);
    boundary.iter().any(|(beginning, segment)| {
        function.starts_with(beginning) && function.split("::").any(|each| each == *segment)
    })
}

/// `<a::B<C> as d::E>::f::<G>` becomes `a::B as d::E::f::`.
pub(super) fn without_generics(function: &str) -> String {
    let mut kept = String::with_capacity(function.len());
    let mut depth = 0_usize;
    let mut last = ' ';
    for character in function.trim_start_matches('<').chars() {
        match character {
            '<' => depth += 1,
            // Skips the arrow of a function's type.
            '>' if last != '-' => depth = depth.saturating_sub(1),
            _ if depth == 0 => kept.push(character),
            _ => {}
        }
        last = character;
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_part_ends_where_the_runtime_calls_a_future() {
        for (functions, expected) in [
            (
                // An unoptimised build.
                &[
                    "clock_nanosleep",
                    "std::thread::functions::sleep",
                    "app::handle_request::{{closure}}",
                    "tokio::runtime::task::core::Core<T,S>::poll::{{closure}}",
                    "tokio::runtime::task::core::Core<T,S>::poll",
                    "tokio::runtime::task::harness::poll_future::{{closure}}",
                ][..],
                3,
            ),
            (
                // The newer mangling of names.
                &[
                    "<std::sync::mutex::Mutex<tokio::runtime::task::core::Core<T, S>>>::lock",
                    "app::run::{closure#0}",
                    "<tokio::runtime::task::core::Core<app::run::{closure#0}, fn(u8) -> u8>>::poll",
                ],
                2,
            ),
            (
                // A future that spawns and joins: the runtime is further in as well.
                &[
                    "syscall",
                    "tokio::runtime::scheduler::multi_thread::handle::Handle::schedule_task",
                    "<tokio::runtime::task::join::JoinHandle<T> as core::future::Future>::poll",
                    "tokio::runtime::task::harness::Harness<T,S>::drop_join_handle_slow",
                    "app::spawner",
                    "tokio::runtime::task::raw::poll",
                ],
                5,
            ),
            (
                // The future of `block_on`, on a thread of the program.
                &[
                    "read",
                    "app::main::{{closure}}",
                    "tokio::runtime::scheduler::current_thread::CoreGuard::block_on::{{closure}}",
                    "app::main",
                    "std::sys::backtrace::__rust_begin_short_backtrace",
                ],
                2,
            ),
            (
                &[
                    "read",
                    "work",
                    "std::sys::backtrace::__rust_begin_short_backtrace",
                    "start",
                ],
                2,
            ),
            (
                // A future that is dropped when its task is aborted.
                &[
                    "nanosleep",
                    "<app::Guard as core::ops::drop::Drop>::drop",
                    "core::ptr::drop_in_place<app::run::{{closure}}>",
                    "core::ptr::drop_in_place<tokio::runtime::task::core::Stage<app::run::{{closure}}>>",
                    "tokio::runtime::task::core::Core<T,S>::set_stage::{{closure}}",
                    "tokio::loom::std::unsafe_cell::UnsafeCell<T>::with_mut",
                    "tokio::runtime::task::core::Core<T,S>::drop_future_or_output",
                    "tokio::runtime::task::harness::cancel_task::{{closure}}",
                    "core::ops::function::FnOnce::call_once",
                    "<core::panic::unwind_safe::AssertUnwindSafe<F> as core::ops::function::FnOnce<()>>::call_once",
                    "std::panicking::catch_unwind::do_call",
                    "__rust_try",
                    "std::panic::catch_unwind",
                    "tokio::runtime::task::harness::cancel_task",
                    "tokio::runtime::task::harness::Harness<T,S>::poll_inner",
                    "tokio::runtime::task::harness::Harness<T,S>::poll",
                ],
                3,
            ),
            (
                // The output of another task, which a future drops with its handle.
                &[
                    "<app::Guard as core::ops::drop::Drop>::drop",
                    "core::ptr::drop_in_place::<tokio::runtime::task::core::Stage<app::other>>",
                    "<tokio::runtime::task::core::Core<T, S>>::drop_future_or_output",
                    "tokio::runtime::task::harness::Harness<T,S>::drop_join_handle_slow",
                    "app::run::{{closure}}",
                    "tokio::runtime::task::core::Core<T,S>::poll",
                ],
                5,
            ),
            (
                // The future of a `LocalSet`, which has another inside of it.
                &[
                    "nanosleep",
                    "app::inner::{{closure}}",
                    "<tokio::task::local::RunUntil<T> as core::future::future::Future>::poll",
                    "app::main::{{closure}}",
                    "<tokio::task::local::RunUntil<T> as core::future::future::Future>::poll::{{closure}}",
                    "tokio::task::local::LocalSet::with::{{closure}}",
                    "std::thread::local::LocalKey<T>::try_with",
                    "tokio::task::local::LocalSet::run_until::{{closure}}",
                    "tokio::runtime::scheduler::current_thread::CoreGuard::block_on::{{closure}}",
                ],
                4,
            ),
            (
                // No call is the user's.
                &[
                    "tokio::runtime::task::core::Core<T,S>::set_stage",
                    "tokio::runtime::task::raw::poll",
                ],
                1,
            ),
            (&["read", "work", "start_thread"], 3),
            (&["tokio::runtime::task::raw::poll", "x"], 2),
            (&[], 0),
        ] {
            let functions: Vec<_> = functions.iter().copied().map(Some).collect();
            assert_eq!(count(&functions), expected, "{functions:?}");
        }
        assert_eq!(count(&[None, None]), 2);
    }

    #[test]
    fn a_thread_in_block_in_place_runs_no_worker_unless_it_is_another_runtimes() {
        let left = |functions: &[&str]| {
            let functions: Vec<_> = functions.iter().copied().map(Some).collect();
            has_handed_over(&functions)
        };
        let outside = [
            "tokio::runtime::context::runtime_mt::exit_runtime",
            "tokio::runtime::scheduler::multi_thread::worker::block_in_place",
            "tokio::task::blocking::block_in_place",
            "app::run::{{closure}}",
            "tokio::runtime::task::core::Core<T,S>::poll",
            "tokio::runtime::scheduler::multi_thread::worker::Context::run_task",
        ];
        assert!(left(&[&["read", "app::work"][..], &outside].concat()));
        // Some of it merged.
        assert!(left(&["read", outside[1], "app::run", outside[5]]));
        assert!(left(&[
            "read",
            "<tokio::task::blocking::block_in_place<F>>",
            outside[5]
        ]));
        // No worker polls a future that the thread waits for there.
        let waits = [
            "read",
            "app::inner::{{closure}}",
            "tokio::runtime::park::CachedParkThread::block_on",
            "tokio::runtime::context::runtime::enter_runtime",
        ];
        assert!(left(&[&waits[..], &outside].concat()));
        let another = [
            "read",
            "tokio::runtime::scheduler::current_thread::CoreGuard::block_on",
        ];
        assert!(!left(&[&another[..], &outside].concat()));
        assert!(!left(&[
            "read",
            "app::run::{{closure}}",
            outside[4],
            outside[5]
        ]));
        assert!(!left(&[]));
    }
}

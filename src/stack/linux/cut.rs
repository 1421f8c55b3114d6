//! Which part of a stack is the user's own.

/// Where the runtime calls a future: how the function's path begins, and a segment it has. What a
/// future calls of the runtime, such as to wake or to join a task, is not among them.
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

/// Where a thread calls what it was made for.
const THREAD: [(&str, &str); 2] = [
    ("std::sys::backtrace::", "__rust_begin_short_backtrace"),
    ("std::rt::", "lang_start"),
];

/// How many calls there are from the innermost to the last that is below the task harness. All, if
/// neither the runtime nor the beginning of a Rust thread is there.
pub(super) fn users(functions: &[Option<&str>]) -> usize {
    let first = |boundary: &[(&str, &str)]| {
        let mut names = functions.iter().map(|name| name.unwrap_or_default());
        names.position(|name| is_one_of(name, boundary))
    };
    let end = first(&HARNESS).or_else(|| first(&THREAD));
    end.filter(|end| *end > 0).unwrap_or(functions.len())
}

fn is_one_of(function: &str, boundary: &[(&str, &str)]) -> bool {
    let function = without_generics(function);
    boundary.iter().any(|(beginning, segment)| {
        function.starts_with(beginning) && function.split("::").any(|each| each == *segment)
    })
}

/// `<a::B<C> as d::E>::f::<G>` becomes `a::B as d::E::f::`.
fn without_generics(function: &str) -> String {
    let mut kept = String::with_capacity(function.len());
    let mut depth = 0_usize;
    let mut last = ' ';
    for character in function.trim_start_matches('<').chars() {
        match character {
            '<' => depth += 1,
            // Not the arrow of a function's type.
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
                // As a build without optimisation has them.
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
                // The other way of writing names.
                &[
                    "<std::sync::mutex::Mutex<tokio::runtime::task::core::Core<T, S>>>::lock",
                    "app::run::{closure#0}",
                    "<tokio::runtime::task::core::Core<app::run::{closure#0}, fn(u8) -> u8>>::poll",
                ],
                2,
            ),
            (
                // A future that is about to spawn, and to join: the runtime is inside as well.
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
                // The future given to `block_on`, inside of a task's stack below it.
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
            (&["read", "work", "start_thread"], 3),
            (&["tokio::runtime::task::raw::poll", "x"], 2),
            (&[], 0),
        ] {
            let functions: Vec<_> = functions.iter().copied().map(Some).collect();
            assert_eq!(users(&functions), expected, "{functions:?}");
        }
        assert_eq!(users(&[None, None]), 2);
    }
}

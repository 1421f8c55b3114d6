//! Which call on a stack is the culprit: the innermost of the user's own code. Where the user's part of a
//! stack ends is decided when the stack is resolved.

use super::trace::StackTrace;

/// The beginnings of the paths of the standard library and its dependencies.
const STD: [&str; 2] = ["/rustc/", "/rust/deps/"];

/// The folders in which Cargo keeps dependencies, followed by a name with a hash.
const DEPENDENCIES: [&str; 2] = ["/registry/src/", "/git/checkouts/"];

/// Crates that are never the user's own.
const FOREIGN_CRATES: [&str; 4] = ["alloc", "core", "std", "tokio"];

/// Returns the index of the innermost call of the user's own code: not of the standard library, of a
/// dependency, or of the runtime.
///
/// It goes by the file that the code is in. If no call is in a file of the user's, it goes by the crate that
/// the function's name begins with; that may be a dependency.
pub(crate) fn culprit(trace: &StackTrace) -> Option<usize> {
    let mut frames = trace.user_frames().iter();
    let is_foreign = |function| crate_of(function).is_some_and(|it| FOREIGN_CRATES.contains(&it));
    let by_file = frames.clone().position(|frame| {
        let function = frame.function().unwrap_or_default();
        frame.file().is_some_and(is_users_file) && !is_foreign(function)
    });
    by_file.or_else(|| {
        frames.position(|frame| {
            let function = frame.function().unwrap_or_default();
            frame.file().is_none() && crate_of(function).is_some() && !is_foreign(function)
        })
    })
}

fn is_users_file(path: &str) -> bool {
    let is_std = STD.iter().any(|start| path.starts_with(start))
        || path.contains("/rustlib/src/rust/library/");
    let is_dependency = |folder: &&str| {
        let (_, inside) = path.split_once(*folder)?;
        inside.split('/').next()?.rsplit_once('-')
    };
    let is_hash = |(_, hash): (&str, &str)| {
        hash.len() == 16 && hash.chars().all(|digit| digit.is_ascii_hexdigit())
    };
    // The C files of a dependency may be anywhere.
    let is_rust = path.ends_with(".rs");
    let mut folders = DEPENDENCIES.iter().filter_map(is_dependency);
    is_rust && !is_std && !is_vendored(path) && !folders.any(is_hash)
}

/// Whether it is in `vendor/<crate>/src`, as `cargo vendor` puts dependencies.
fn is_vendored(path: &str) -> bool {
    let mut folders = path.split('/').skip_while(|folder| *folder != "vendor");
    folders.next().is_some() && folders.nth(1) == Some("src")
}

/// Returns the crate of a function: `a` for `<&mut a::B<C> as d::E>::f`, and `d` for `<T as d::E>::f`. `None`
/// for a function of C.
fn crate_of(function: &str) -> Option<&str> {
    let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let mut paths = function.split(|c| !is_path(c));
    let (name, _) = paths.find_map(|path| path.split_once("::"))?;
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
impl StackTrace {
    /// Returns a trace of these functions with their files, all of them the user's part.
    pub(crate) fn of(calls: &[(&str, Option<&str>)]) -> StackTrace {
        let frames = calls.iter().map(|(function, file)| super::Frame {
            function: Some((*function).to_owned()),
            file: file.map(str::to_owned),
            line: file.map(|_| 1),
            module: None,
            offset: 0,
            inlined: false,
        });
        StackTrace {
            frames: frames.collect(),
            users: calls.len(),
            ..StackTrace::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REGISTRY: &str = "/home/u/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f";

    #[test]
    fn it_is_the_innermost_call_of_the_users_own_code() {
        let std = Some("/rustc/5980/library/std/src/thread/functions.rs");
        let dashmap = format!("{REGISTRY}/dashmap-6.2.1/src/lock.rs");
        let app = Some("/home/u/app/src/main.rs");
        let frames = [
            ("syscall", None),
            ("std::thread::functions::sleep", std),
            (
                "dashmap::lock::RawRwLock::lock_exclusive_slow",
                Some(&*dashmap),
            ),
            ("app::store::{{closure}}", app),
            ("<T as app::Handler>::call", app),
        ];
        assert_eq!(culprit(&StackTrace::of(&frames)), Some(3));
        assert_eq!(culprit(&StackTrace::of(&frames[..3])), None);
        assert_eq!(culprit(&StackTrace::of(&[])), None);
        // The user's part ends before the user's code.
        let mut cut = StackTrace::of(&frames);
        cut.users = 3;
        assert_eq!(culprit(&cut), None);
    }

    #[test]
    fn without_files_it_goes_by_the_crate() {
        let frames = [
            ("clock_nanosleep", None),
            (
                "<core::pin::Pin<P> as core::future::future::Future>::poll",
                None,
            ),
            ("dashmap::lock::RawRwLock::lock_exclusive_slow", None),
            ("app::store::{{closure}}", Some("/home/u/app/src/main.rs")),
        ];
        // Only the user's crates have debug information.
        assert_eq!(culprit(&StackTrace::of(&frames)), Some(3));
        assert_eq!(culprit(&StackTrace::of(&frames[..3])), Some(2));
        assert_eq!(culprit(&StackTrace::of(&frames[..2])), None);
    }

    #[test]
    fn distinguishes_users_files_from_others() {
        for (file, is_users) in [
            ("/home/u/app/src/main.rs", true),
            ("src/main.rs", true),
            ("./registry/src/lib.rs", true),
            ("/home/u/app/registry/src/my-store/lib.rs", true),
            ("/home/u/app/src/vendor/api.rs", true),
            (
                "/home/u/app/target/debug/build/app-0123456789abcdef/out/api.rs",
                true,
            ),
            (&format!("{REGISTRY}/rayon-core-1.13.0/src/latch.rs"), false),
            (
                "/cargo/git/checkouts/store-0123456789abcdef/1a2b3c4/src/lib.rs",
                false,
            ),
            ("/home/u/app/vendor/dashmap/src/lib.rs", false),
            (
                "/rustc/59807616e1fa2540724bfbac14d7976d7e4a3860/library/core/src/pin.rs",
                false,
            ),
            ("/rust/deps/hashbrown-0.15.2/src/raw.rs", false),
            (
                "/home/u/.rustup/toolchains/x/lib/rustlib/src/rust/library/std/src/lib.rs",
                false,
            ),
            ("/build/glibc/nptl/futex.c", false),
        ] {
            assert_eq!(is_users_file(file), is_users, "{file}");
        }
    }

    #[test]
    fn finds_the_crate_of_a_function() {
        for (function, of) in [
            ("app::handle::{{closure}}", Some("app")),
            ("<app::Store as core::fmt::Display>::fmt", Some("app")),
            (
                "<&mut T as futures_core::Stream>::poll_next",
                Some("futures_core"),
            ),
            ("<[T] as alloc::slice::Concat>::concat", Some("alloc")),
            (
                "<core::ops::range::Range<T> as core::iter::Iterator>::next",
                Some("core"),
            ),
            ("clock_nanosleep", None),
            ("::", None),
            ("", None),
        ] {
            assert_eq!(crate_of(function), of, "{function}");
        }
    }
}

//! Whose code a function is, by the crates in its name. Without debug information nothing else is known.

use super::owner::Owner;
use super::source::without_hash;
use crate::stack::linux::resolve::user_frames::without_generics;

/// Crates that are hardly ever the user's own. Of other crates, only the program's own is known.
const OTHERS: &str = "__rustc actix_http actix_rt actix_server actix_web addr2line alloc anyhow \
    axum axum_core backtrace bincode bytes chrono compiler_builtins core crossbeam \
    crossbeam_channel crossbeam_deque crossbeam_epoch crossbeam_utils dashmap flate2 futures \
    futures_channel futures_core futures_executor futures_io futures_sink futures_task \
    futures_util gimli h2 hashbrown http http_body http_body_util hyper hyper_util libsqlite3_sys \
    lock_api log loopmon memchr miniz_oxide mio once_cell panic_unwind parking_lot \
    parking_lot_core prost rayon rayon_core regex regex_automata reqwest ring rusqlite \
    rustc_demangle rustls serde serde_core serde_json std std_detect test tokio tokio_stream \
    tokio_util tonic tower tower_http tower_layer tower_service tracing tracing_core unwind";

/// The runtime, and what watches it. They are not the user's wherever their sources are.
const RUNTIME: [&str; 2] = ["loopmon", "tokio"];

fn crate_of(path: &str) -> &str {
    path.split("::").next().unwrap_or(path)
}

fn is_others(name: &str) -> bool {
    OTHERS.split(' ').any(|other| other == name)
}

/// Returns whose code a function is. `program` is the crate that the program is named after, if the function
/// is in the program.
pub(super) fn owner(function: &str, paths: &[Option<&str>; 2], program: Option<&str>) -> Owner {
    let of_crate = |path: &&str| {
        let name = crate_of(path);
        match (Some(name) == program, is_others(name)) {
            (true, false) => Owner::User,
            (false, true) => Owner::Others,
            // The other case: the program is named like a known crate.
            _ => Owner::Unknown,
        }
    };
    // No dependency knows the user's types and traits: the code is in the user's crate if one of both is.
    let most_owned = paths.iter().flatten().map(of_crate).max();
    most_owned.unwrap_or(match is_mangled(function) {
        true => Owner::Unknown,
        false => Owner::Others,
    })
}

/// Whether a name of Rust's could not be demangled.
fn is_mangled(function: &str) -> bool {
    let has_hash = function.contains("17h");
    function.starts_with("_R") || function.starts_with("_ZN") && has_hash
}

/// Whether a `derive` has written it: in a constant without a name, with names of its own, or as a method of
/// serde's traits. The line of it is that of the type.
pub(super) fn is_derived(function: &str) -> bool {
    const MARKS: [&str; 6] = [
        "::_::",
        "::__",
        " as serde::de::Deserialize::",
        " as serde::ser::Serialize::",
        " as serde_core::de::Deserialize::",
        " as serde_core::ser::Serialize::",
    ];
    let plain = without_generics(function);
    if plain.len() < function.len() && !plain.contains("::") {
        // With line tables only, the name has no path.
        return plain.starts_with("visit_") || ["deserialize", "serialize"].contains(&&*plain);
    }
    MARKS.iter().any(|mark| plain.contains(mark))
}

/// Whether it is the runtime's, or loopmon's.
pub(super) fn is_runtime(paths: &[Option<&str>; 2]) -> bool {
    let mut crates = paths.iter().flatten().map(|path| crate_of(path));
    crates.next().is_some_and(|first| RUNTIME.contains(&first)) && crates.all(is_others)
}

/// Returns the crate that Cargo names a program or a library after.
pub(super) fn named_after(module: &str) -> String {
    let path = module.strip_suffix(" (deleted)").unwrap_or(module);
    let file = path.rsplit('/').next().unwrap_or(path);
    let name = match file.split_once('.') {
        Some((stem, _)) if file.contains(".so") => stem.strip_prefix("lib").unwrap_or(stem),
        _ => file,
    };
    // Tests have a hash.
    without_hash(name).unwrap_or(name).replace('-', "_")
}

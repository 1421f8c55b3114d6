//! What has gone wrong, and by chance.

use std::backtrace::Backtrace;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

static FAULTS: AtomicUsize = AtomicUsize::new(0);

/// What panics that are meant say.
pub(crate) const MEANT: &str = "on purpose";

/// Takes down that something does not hold.
pub(crate) fn fault(what: &str) {
    if FAULTS.fetch_add(1, Ordering::Relaxed) < 20 {
        println!("FAULT {what}");
    }
}

pub(crate) fn count() -> usize {
    FAULTS.load(Ordering::Relaxed)
}

/// Takes down every panic that is not meant.
pub(crate) fn catch_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let text = panic.to_string();
        if !text.contains(MEANT) {
            fault(&format!("{text}\n{}", Backtrace::force_capture()));
        }
    }));
}

/// A number below the end.
pub(crate) fn below(end: u64) -> u64 {
    static STATE: AtomicU64 = AtomicU64::new(0);
    let mut seed = STATE.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
    if seed == 0 {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        seed = now.unwrap_or_default().subsec_nanos().into();
        STATE.fetch_add(seed, Ordering::Relaxed);
    }
    seed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    seed = (seed ^ (seed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (seed ^ (seed >> 31)) % end
}

/// A time between the two, in milliseconds.
pub(crate) fn between(least: u64, most: u64) -> Duration {
    Duration::from_millis(least + below(most - least))
}

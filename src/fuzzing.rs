//! What the programs in `fuzz/` call: the parts of the crate that read what others wrote, or that hold for any
//! sequence of events. It exists only in builds with `--cfg loopmon_fuzzing`, on Linux, with all features.

pub use crate::dashboard::fuzzing::serve;
pub use crate::procfs::fuzzing::{blocked_at, schedule, stat, state};
pub use crate::stack::fuzzing::{Program, mapping, status};
pub use crate::watchdog::fuzzing::{Clock, Found, Root, Worker, control_groups};

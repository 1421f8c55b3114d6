//! Which kinds of chaos there are, is in `linux/chaos.rs`; each is a process of its own.

mod chaos;
mod diary;
mod faults;
mod keeper;
mod load;
mod resources;
mod world;

use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use chaos::{KINDS, Kind};

/// How much longer than asked a process may take before it counts as stuck.
const PATIENCE: Duration = Duration::from_secs(120);

/// The large world gets half of the time.
const LARGE_SHARE: u32 = 2;

pub(crate) fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1)
    };
    if let (Some(name), Some(seconds)) = (value("--child"), value("--seconds")) {
        let seconds = Duration::from_secs(seconds.parse().unwrap());
        return chaos::run(kind(name), seconds);
    }
    let minutes: f64 = value("--minutes").map_or(2.0, |minutes| minutes.parse().unwrap());
    let time = Duration::from_secs_f64(minutes * 60.0);
    let failed = match value("--only") {
        Some(name) => usize::from(!child(kind(name), time)),
        None => {
            let (large, others) = KINDS.split_first().unwrap();
            let each = (time - time / LARGE_SHARE) / u32::try_from(others.len()).unwrap();
            let others = others.iter().filter(|kind| !child(kind, each)).count();
            usize::from(!child(large, time / LARGE_SHARE)) + others
        }
    };
    println!("{failed} failed");
    ExitCode::from(u8::from(failed > 0))
}

fn kind(name: &str) -> &'static Kind {
    let kind = KINDS.iter().find(|kind| kind.name == name);
    kind.unwrap_or_else(|| panic!("there is no {name}"))
}

/// Runs one kind in a process of its own. Returns whether all has held.
fn child(kind: &Kind, time: Duration) -> bool {
    let time = time.max(Duration::from_secs(8));
    println!("== {}: {} s", kind.name, time.as_secs());
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--child",
            kind.name,
            "--seconds",
            &time.as_secs().to_string(),
        ])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let until = Instant::now() + time + PATIENCE;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > until {
            println!("FAULT {}: it does not end", kind.name);
            child.kill().ok();
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    if !status.success() {
        println!("FAILED {}: {status}", kind.name);
    }
    status.success()
}

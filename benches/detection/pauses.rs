//! What keeps a whole process, or a crowded machine, from running: no stall.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::healthy;
use crate::load;
use crate::report::{self, Budget};

/// Asks this program to be the process that is paused, for so many seconds.
const CHILD: &str = "LOOPMON_BENCH_CHILD";

const QUOTA_GROUP: &str = "/sys/fs/cgroup/cpu/loopmon-bench";

/// Pauses a child for so many seconds. Returns whether that is possible here.
type Way = fn(&Child, u64) -> bool;

/// Runs as the child that is paused, if it is one.
pub(crate) fn be_the_child() -> bool {
    let Some(seconds) = std::env::var(CHILD).ok().and_then(|text| text.parse().ok()) else {
        return false;
    };
    let duration = Duration::from_secs(seconds);
    let alone = thread::Builder::new()
        .spawn(move || healthy::alarms(0, |runtime| load::short_tasks(runtime, 50), duration));
    let polls = |runtime: &tokio::runtime::Handle| {
        for _ in 0..2 {
            runtime.spawn(async {
                loop {
                    load::spin(Duration::from_millis(5));
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            });
        }
    };
    let several = healthy::alarms(2, polls, duration);
    let alone = alone.expect("a thread").join().expect("it only counts");
    println!(
        "told {} {} {}",
        alone.0 + several.0,
        alone.1 + several.1,
        loopmon::pauses().count
    );
    true
}

/// Pauses a healthy process in each way, about `seconds` each.
pub(crate) fn run(seconds: u64) -> Budget {
    report::header(
        "Healthy processes that do not run all the time, threshold 25 ms",
        &[
            "what is done",
            "false alarms",
            "starved by the host",
            "pauses reported",
        ],
    );
    let mut total = 0;
    let ways: [(&str, Way); 4] = [
        ("nothing", |_, _| true),
        ("SIGSTOP for 300 ms, twice a second", stop),
        ("gdb attaches and detaches, again and again", debug),
        ("a CPU quota of 20 % (cgroup)", throttle),
    ];
    for (name, way) in ways {
        total += paused(name, way, seconds);
    }
    let hogs: Vec<_> = (0..8)
        .map(|_| {
            let spinning = move || load::spin(Duration::from_secs(seconds));
            thread::Builder::new().spawn(spinning).expect("a thread")
        })
        .collect();
    total += paused("8 spinning threads beside it", |_, _| true, seconds);
    for hog in hogs {
        hog.join().expect("it only spins");
    }
    Budget {
        what: "false alarms under SIGSTOP, a debugger, a CPU quota, a crowded host",
        budget: "none",
        measured: total.to_string(),
        kept: total == 0,
    }
}

/// Returns the number of false alarms.
fn paused(name: &str, way: Way, seconds: u64) -> u64 {
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .env(CHILD, seconds.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a child");
    let could = way(&child, seconds);
    let out = BufReader::new(child.stdout.take().expect("it is piped"));
    let told = out.lines().map_while(Result::ok).last().unwrap_or_default();
    child.wait().expect("it ends by itself");
    let numbers: Vec<u64> = told
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    let [alarms, starved, pauses] = numbers[..] else {
        panic!("the child told {told:?}");
    };
    let name = if could {
        name.to_owned()
    } else {
        format!("{name}: not possible here")
    };
    report::row(&[
        name,
        alarms.to_string(),
        starved.to_string(),
        pauses.to_string(),
    ]);
    alarms
}

fn ran(command: &mut Command) -> bool {
    let silent = command.stdout(Stdio::null()).stderr(Stdio::null());
    silent.status().is_ok_and(|status| status.success())
}

fn signal(child: &Child, signal: &str) -> bool {
    ran(Command::new("kill").args([signal, &child.id().to_string()]))
}

fn stop(child: &Child, seconds: u64) -> bool {
    (0..2 * seconds - 2).all(|_| {
        thread::sleep(Duration::from_millis(200));
        let stopped = signal(child, "-STOP");
        thread::sleep(Duration::from_millis(300));
        stopped && signal(child, "-CONT")
    })
}

fn debug(child: &Child, seconds: u64) -> bool {
    (0..seconds / 2).all(|_| {
        let pid = child.id().to_string();
        ran(Command::new("gdb").args(["-p", &pid, "-batch", "-ex", "detach"]))
    })
}

fn throttle(child: &Child, seconds: u64) -> bool {
    let group = Path::new(QUOTA_GROUP);
    let limited = fs::create_dir_all(group)
        .and_then(|()| fs::write(group.join("cpu.cfs_period_us"), "100000"))
        .and_then(|()| fs::write(group.join("cpu.cfs_quota_us"), "20000"))
        .and_then(|()| fs::write(group.join("cgroup.procs"), child.id().to_string()));
    if limited.is_ok() {
        thread::sleep(Duration::from_secs(seconds - 1));
        // Back to where it was, so that the group can go.
        let back = fs::write("/sys/fs/cgroup/cpu/cgroup.procs", child.id().to_string());
        return back.and_then(|()| fs::remove_dir(group)).is_ok();
    }
    false
}

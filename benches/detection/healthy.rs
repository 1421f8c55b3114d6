//! Load that is as it should be: nothing may be told.

use std::thread::{self, JoinHandle};
use std::time::Duration;

use futures::executor::block_on_stream;
use loopmon::{Cause, Monitor, Phase};
use tokio::runtime::Handle;

use crate::THRESHOLD;
use crate::load;
use crate::report::{self, Budget};

type Load = fn(&Handle);

const LOADS: [(&str, usize, Load); 8] = [
    ("idle", 0, |_| ()),
    ("50 short tasks", 0, |runtime| {
        load::short_tasks(runtime, 50);
    }),
    ("1000 yielding tasks", 0, |runtime| {
        load::yields(runtime, 1_000);
    }),
    ("idle", 2, |_| ()),
    ("300 short tasks", 2, |runtime| {
        load::short_tasks(runtime, 300);
    }),
    ("1000 yielding tasks", 2, |runtime| {
        load::yields(runtime, 1_000);
    }),
    ("300 short tasks", 4, |runtime| {
        load::short_tasks(runtime, 300);
    }),
    ("blocking where it is allowed", 2, |runtime| {
        for in_place in [false, true] {
            runtime.spawn(async move {
                loop {
                    let block = || thread::sleep(Duration::from_millis(100));
                    if in_place {
                        tokio::task::block_in_place(block);
                    } else {
                        tokio::task::spawn_blocking(block).await.ok();
                    }
                    tokio::task::yield_now().await;
                }
            });
        }
    }),
];

pub(crate) fn run(each: Duration) -> Budget {
    let title = format!("Healthy load, {} s each, threshold 25 ms", each.as_secs());
    report::header(
        &title,
        &["runtime", "load", "false alarms", "starved by the host"],
    );
    let mut total = 0;
    for (name, workers, load) in LOADS {
        let (alarms, starved) = alarms(workers, load, each);
        total += alarms;
        report::row(&[
            load::name(workers),
            name.to_owned(),
            alarms.to_string(),
            starved.to_string(),
        ]);
    }
    Budget {
        what: "false alarms on healthy load",
        budget: "none",
        measured: total.to_string(),
        kept: total == 0,
    }
}

/// How many stalls are told, and of how many the host is said to be the cause.
pub(crate) fn alarms(workers: usize, load: Load, duration: Duration) -> (usize, usize) {
    let runtime = load::runtime(workers);
    let monitor = Monitor::builder()
        .stall_threshold(THRESHOLD)
        .build()
        .expect("a monitor");
    let counting = Counting::begin(&monitor);
    runtime.block_on(async {
        monitor.install().expect("it is a runtime");
        load(runtime.handle());
        tokio::time::sleep(duration).await;
    });
    let counted = counting.stop();
    runtime.shutdown_background();
    counted
}

/// Counts the stalls that a monitor tells.
pub(crate) struct Counting {
    monitor: Monitor,
    counts: JoinHandle<(usize, usize)>,
}

impl Counting {
    pub(crate) fn begin(monitor: &Monitor) -> Counting {
        let stalls = monitor.stalls();
        let counts = thread::spawn(move || {
            let starts = block_on_stream(stalls).filter(|stall| stall.phase == Phase::Started);
            starts.fold((0, 0), |(alarms, starved), stall| match stall.cause {
                Cause::Starved => (alarms, starved + 1),
                _ => {
                    eprintln!("false: {stall}");
                    (alarms + 1, starved)
                }
            })
        });
        Counting {
            monitor: monitor.clone(),
            counts,
        }
    }

    /// Stops the monitor. Returns how many stalls it told, and of how many more the host is said to be the
    /// cause.
    pub(crate) fn stop(self) -> (usize, usize) {
        self.monitor.stop();
        self.counts.join().expect("it only counts")
    }
}

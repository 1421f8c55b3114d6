//! What a runtime's hooks own is dropped with the last handle on the runtime, wherever that is; and
//! calls that race.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use loopmon::Monitor;

use super::{Act, Hostile, Release, multi_thread, read, watching, within};
use crate::support::millis;

struct Owned(Hostile);

impl Drop for Owned {
    fn drop(&mut self) {
        self.0.act();
    }
}

#[test]
fn a_runtimes_hooks_are_dropped_where_they_do_no_harm() {
    // A thread of Tokio's own may be the last: that it blocks then is its own affair, and what it
    // panics with is dropped by the standard library, which ends the process if that panics.
    for act in [Act::Panics, Act::Reenters, Act::DropsTheLast] {
        within(&format!("{act:?}"), move || {
            let good = multi_thread();
            let other = watching(good.handle());
            for _ in 0..10 {
                let hostile = Hostile::new(act);
                let _release = Release(hostile.clone());
                let owned = Owned(hostile.clone());
                let runtime = tokio::runtime::Builder::new_multi_thread()
                    .worker_threads(1)
                    .enable_all()
                    .on_thread_park(move || {
                        let _ = &owned;
                    })
                    .build()
                    .unwrap();
                let monitor = watching(runtime.handle());
                hostile.knows(&other);
                thread::sleep(millis(5));
                // If it is dropped here, it is the test's own.
                catch_unwind(AssertUnwindSafe(|| runtime.shutdown_background())).ok();
                monitor.stop();
            }
            assert_eq!(read(&other, 3).join().unwrap().len(), 3);
        });
    }
}

#[test]
fn asking_for_stalls_installing_and_stopping_may_race() {
    within("a race", || {
        let runtime = multi_thread();
        let monitor = Monitor::builder()
            .interval(millis(1))
            .stall_threshold(millis(20))
            .stall_callback(async |_| {})
            .build()
            .unwrap();
        let racing = |act: fn(&Monitor, &tokio::runtime::Handle)| {
            let (monitor, runtime) = (monitor.clone(), runtime.handle().clone());
            let race = move || (0..200).for_each(|_| act(&monitor, &runtime));
            thread::Builder::new().spawn(race).unwrap()
        };
        let threads = [
            racing(|monitor, _| drop(monitor.stalls())),
            racing(|monitor, _| {
                let mut stalls = monitor.stalls();
                monitor.stop();
                while futures::executor::block_on(stalls.next()).is_some() {}
            }),
            racing(|monitor, runtime| drop(monitor.install_on(runtime))),
            racing(|monitor, _| monitor.stop()),
        ];
        for thread in threads {
            thread.join().unwrap();
        }
        monitor.stop();
        runtime.block_on(monitor.stopped());
        assert_eq!(runtime.metrics().num_alive_tasks(), 0);
        monitor.install_on(runtime.handle()).unwrap();
        let mut stalls = monitor.stalls();
        let stuck = runtime.spawn(async { thread::sleep(millis(200)) });
        runtime.block_on(stuck).unwrap();
        assert!(futures::executor::block_on(stalls.next()).is_some());
    });
}

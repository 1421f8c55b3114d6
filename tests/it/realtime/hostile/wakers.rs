//! Readers, and others who wait, whose wakers are hostile: when they wake, and when they are dropped.

use std::pin::pin;
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use loopmon::{Monitor, Phase};

use super::{ACTS, Act, FOR_EVER, Hostile, Release, multi_thread, read, watching, within};
use crate::support::millis;

#[derive(Debug, Clone, Copy, PartialEq)]
enum When {
    Woken,
    Dropped,
}

struct HostileWaker {
    hostile: Hostile,
    when: When,
    called: mpsc::Sender<()>,
}

impl Wake for HostileWaker {
    fn wake(self: Arc<HostileWaker>) {
        if self.when == When::Woken {
            self.called.send(()).ok();
            self.hostile.act();
        }
    }
}

impl Drop for HostileWaker {
    fn drop(&mut self) {
        if self.when == When::Dropped {
            self.called.send(()).ok();
            self.hostile.act();
        }
    }
}

/// A waker of that kind, what to release it with, and what tells that it has acted.
fn hostile(act: Act, when: When) -> (Hostile, Waker, Release, mpsc::Receiver<()>) {
    let hostile = Hostile::new(act);
    let release = Release(hostile.clone());
    let (called, calls) = mpsc::channel();
    let waker = Waker::from(Arc::new(HostileWaker {
        hostile: hostile.clone(),
        when,
        called,
    }));
    (hostile, waker, release, calls)
}

fn every_kind() -> impl Iterator<Item = (Act, When)> {
    let whens = [When::Woken, When::Dropped];
    ACTS.into_iter()
        .flat_map(move |act| whens.map(|when| (act, when)))
}

#[test]
fn a_reader_of_samples_costs_itself_alone() {
    for (act, when) in every_kind() {
        within(&format!("{act:?} when {when:?}"), move || {
            let (hostile, waker, _release, acted) = hostile(act, when);
            let runtime = multi_thread();
            let monitor = watching(runtime.handle());
            hostile.knows(&monitor);
            let healthy = [read(&monitor, 30), read(&monitor, 30)];
            let mut on_tokio = monitor.subscribe();
            let on_tokio = runtime.spawn(async move {
                for _ in 0..30 {
                    on_tokio.next().await.unwrap();
                }
            });

            let mut samples = monitor.subscribe();
            while poll(samples.next(), &waker).is_ready() {}
            drop(waker);
            let other = multi_thread();
            let others = watching(other.handle());
            let kept: Vec<Box<dyn Send>> = vec![Box::new(samples), Box::new((others, other))];
            *hostile.0.last.lock().unwrap() = kept;
            acted.recv_timeout(FOR_EVER).unwrap();

            for reader in healthy {
                assert_eq!(reader.join().unwrap().len(), 30);
            }
            runtime.block_on(on_tokio).unwrap();
            assert!(monitor.lag() < FOR_EVER);
            monitor.stop();
            runtime.block_on(monitor.stopped());
        });
    }
}

fn poll<F: Future>(future: F, waker: &Waker) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(waker))
}

#[test]
fn a_reader_of_stalls_costs_itself_alone() {
    for (act, when) in every_kind() {
        within(&format!("{act:?} when {when:?}"), move || {
            let (hostile, waker, _release, acted) = hostile(act, when);
            let (runtime, other) = (multi_thread(), multi_thread());
            let (monitor, others) = (watching(runtime.handle()), watching(other.handle()));
            hostile.knows(&monitor);
            let mut stalls = monitor.stalls();
            assert!(poll(stalls.next(), &waker).is_pending());
            drop(waker);
            hostile.0.last.lock().unwrap().push(Box::new(stalls));
            let healthy = [&monitor, &others].map(|monitor| {
                let mut stalls = monitor.stalls();
                let read = move || {
                    let next = || futures::executor::block_on(stalls.next());
                    std::iter::from_fn(next).map(|stall| stall.phase).collect()
                };
                thread::Builder::new().spawn(read).unwrap()
            });
            thread::sleep(millis(100));
            for runtime in [&runtime, &other] {
                let stuck = runtime.spawn(async { thread::sleep(millis(200)) });
                runtime.block_on(stuck).unwrap();
            }
            acted.recv_timeout(FOR_EVER).unwrap();
            thread::sleep(millis(100));
            monitor.stop();
            others.stop();
            for reader in healthy {
                let phases: Vec<Phase> = reader.join().unwrap();
                assert!(phases.contains(&Phase::Ended), "{phases:?}");
            }
            runtime.block_on(monitor.stopped());
        });
    }
}

#[test]
fn one_who_waits_for_the_tasks_to_be_gone_costs_itself_alone() {
    for (act, when) in every_kind() {
        within(&format!("{act:?} when {when:?}"), move || {
            let (hostile, waker, _release, acted) = hostile(act, when);
            let runtime = multi_thread();
            let monitor = watching(runtime.handle());
            hostile.knows(&monitor);
            let waits = monitor.clone();
            let mut waiting = Box::pin(async move { waits.stopped().await });
            assert!(poll(waiting.as_mut(), &waker).is_pending());
            drop(waker);
            monitor.stop();
            acted.recv_timeout(FOR_EVER).unwrap();
            futures::executor::block_on(monitor.stopped());
            // All workers are still there.
            for _ in 0..20 {
                runtime.block_on(runtime.spawn(async {})).unwrap();
            }
            monitor.install_on(runtime.handle()).unwrap();
            assert_eq!(read(&monitor, 3).join().unwrap().len(), 3);
        });
    }
}

#[test]
fn one_who_drives_a_run_costs_itself_alone() {
    for (act, when) in every_kind() {
        within(&format!("{act:?} when {when:?}"), move || {
            let (hostile, waker, _release, acted) = hostile(act, when);
            let runtime = multi_thread();
            let _entered = runtime.enter();
            let monitor = Monitor::builder().interval(millis(2)).build().unwrap();
            hostile.knows(&monitor);
            let healthy = read(&monitor, 1);
            {
                let mut running = pin!(monitor.run());
                assert!(poll(running.as_mut(), &waker).is_pending());
                drop(waker);
                monitor.stop();
                acted.recv_timeout(FOR_EVER).unwrap();
                assert!(poll(running.as_mut(), Waker::noop()).is_ready());
            }
            healthy.join().unwrap();
            futures::executor::block_on(monitor.stopped());
            monitor.install().unwrap();
            assert_eq!(read(&monitor, 3).join().unwrap().len(), 3);
        });
    }
}

/// Each that blocks has a thread of loopmon's to itself, and no more than that.
#[test]
fn many_that_block_keep_nobody_waiting() {
    within("many that block", || {
        let runtime = multi_thread();
        let monitor = watching(runtime.handle());
        let bad: Vec<_> = (0..10)
            .map(|_| {
                let (_, waker, release, acted) = hostile(Act::Blocks, When::Woken);
                let mut samples = monitor.subscribe();
                while poll(samples.next(), &waker).is_ready() {}
                (samples, release, acted)
            })
            .collect();
        let healthy = read(&monitor, 100);
        for (_, _, acted) in &bad {
            acted.recv_timeout(FOR_EVER).unwrap();
        }
        assert_eq!(healthy.join().unwrap().len(), 100);
    });
}

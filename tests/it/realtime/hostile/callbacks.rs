//! Callbacks that panic wherever they can, and come back while they do.

use std::pin::Pin;
use std::task::{Context, Poll};

use loopmon::{Monitor, Sample};

use super::{ACTS, Act, Hostile, Release, multi_thread, read, within};
use crate::support::{millis, recorder};

/// The future of a call.
struct Call(Hostile);

impl Future for Call {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        self.0.act();
        Poll::Ready(())
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.0.act();
    }
}

#[test]
fn a_callback_costs_its_own_calls_alone() {
    // One that blocks has the worker that it runs on, as the documentation says.
    for act in ACTS.into_iter().filter(|act| *act != Act::Blocks) {
        within(&format!("{act:?}"), move || {
            let hostile = Hostile::new(act);
            let _release = Release(hostile.clone());
            let (in_call, in_future) = (hostile.clone(), hostile.clone());
            let (healthy, recorded) = recorder();
            let runtime = multi_thread();
            let monitor = Monitor::builder()
                .interval(millis(2))
                .callback(move |_: Sample| {
                    in_call.act();
                    std::future::ready(())
                })
                .callback(move |_: Sample| Call(in_future.clone()))
                .callback(healthy)
                .build()
                .unwrap();
            hostile.knows(&monitor);
            monitor.install_on(runtime.handle()).unwrap();
            assert_eq!(read(&monitor, 20).join().unwrap().len(), 20);
            while recorded.len() < 10 {
                std::thread::sleep(millis(2));
            }
            monitor.stop();
            runtime.block_on(monitor.stopped());
        });
    }
}

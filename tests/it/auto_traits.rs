//! Which types are `Send`, `Sync` and `Unpin`.

use loopmon::{
    BlockingPoolSampler, Builder, Callbacks, Culprits, Error, Monitor, Sample, Samples,
    SleepSampler, Stall, Stalls, StopOnDrop, WakeSampler,
};

fn sent<T: Send>() {}
fn shared<T: Send + Sync>() {}
fn unpinned<T: Unpin>() {}
fn future_sent<F: Future + Send>(_: F) {}

#[test]
fn handles_and_streams_are_shared_between_threads() {
    shared::<Monitor>();
    shared::<StopOnDrop>();
    shared::<Samples>();
    shared::<Sample>();
    shared::<Stalls>();
    shared::<Stall>();
    shared::<Culprits>();
    shared::<Error>();
    shared::<loopmon::StackTrace>();
    shared::<loopmon::StackCapture>();
    shared::<SleepSampler>();
    shared::<WakeSampler>();
    shared::<BlockingPoolSampler>();
    sent::<Builder>();
    sent::<Callbacks>();
}

#[cfg(feature = "dashboard")]
#[test]
fn the_page_is_stopped_from_any_thread() {
    sent::<loopmon::dashboard::Dashboard>();
    shared::<loopmon::dashboard::Serving>();
}

#[test]
fn streams_are_unpinned() {
    unpinned::<Samples>();
    unpinned::<Stalls>();
    unpinned::<Monitor>();
}

#[test]
fn futures_can_be_spawned() {
    let monitor = Monitor::builder().build().unwrap();
    future_sent(monitor.run());
    future_sent(monitor.stopped());
    future_sent(monitor.subscribe().next());
    future_sent(monitor.stalls().next());
}

//! What the nine tests of Python's `loopmon` require. The two that measure a real block are in
//! `realtime`.

use loopmon::Monitor;

use crate::support::{Read, millis, monitor, paused_runtime, read, recorder};

#[test]
fn stops_when_the_loop_closes() {
    let runtime = paused_runtime();
    let monitor = runtime.block_on(async { monitor(millis(10)) });
    let mut samples = monitor.subscribe();
    assert!(monitor.is_installed() && monitor.is_running());
    drop(runtime);
    assert!(!monitor.is_installed() && !monitor.is_running());
    assert_eq!(read(&mut samples), Read::End);
}

#[tokio::test(start_paused = true)]
async fn calls_a_callback() {
    let (callback, recorded) = recorder();
    let monitor = loopmon::create(millis(10), callback).unwrap();
    tokio::time::sleep(millis(35)).await;
    assert_eq!(recorded.len(), 3);
    monitor.stop();
}

#[test]
fn refuses_a_closed_loop() {
    let runtime = paused_runtime();
    let handle = runtime.handle().clone();
    drop(runtime);
    let monitor = Monitor::builder().build().unwrap();
    assert!(
        monitor
            .install_on(&handle)
            .unwrap_err()
            .is_runtime_shut_down()
    );
}

#[tokio::test(start_paused = true)]
async fn refuses_a_second_install() {
    let monitor = monitor(millis(10));
    assert!(monitor.install().unwrap_err().is_already_installed());
}

#[tokio::test(start_paused = true)]
async fn refuses_a_second_start() {
    let monitor = Monitor::builder().build().unwrap();
    let first = monitor.run();
    tokio::pin!(first);
    assert!(futures::poll!(&mut first).is_pending());
    assert!(monitor.run().await.unwrap_err().is_already_running());
}

#[test]
fn has_the_name_it_was_given() {
    let named = Monitor::builder().name("main loop").build().unwrap();
    assert_eq!(named.name(), Some("main loop"));
    assert_eq!(Monitor::builder().build().unwrap().name(), None);
}

#[tokio::test(start_paused = true)]
async fn stops_on_request_and_its_task_is_gone() {
    let runtime = tokio::runtime::Handle::current();
    let monitor = monitor(millis(10));
    assert_eq!(runtime.metrics().num_alive_tasks(), 1);
    tokio::time::sleep(millis(25)).await;
    monitor.stop();
    assert!(!monitor.is_running());
    monitor.stopped().await;
    assert_eq!(runtime.metrics().num_alive_tasks(), 0);
}

#[test]
fn the_default_interval_is_a_tenth_of_a_second() {
    let monitor = Monitor::builder().build().unwrap();
    assert_eq!(monitor.interval(), Monitor::DEFAULT_INTERVAL);
    assert_eq!(Monitor::DEFAULT_INTERVAL, millis(100));
}

//! Promise 3: each mistake has its own error, and a failed call changes nothing.

use std::time::Duration;

use loopmon::{
    BlockingPoolSampler, Error, Hysteresis, Monitor, Percentile, StackCapture, WakeSampler,
};

use crate::support::{Read, manual, millis, monitor, paused_runtime, read};

/// Returns all kinds of an error, by predicate.
fn kinds(error: &Error) -> Vec<&'static str> {
    [
        ("no runtime", error.is_no_runtime()),
        ("shut down", error.is_runtime_shut_down()),
        ("no timers", error.is_timers_disabled()),
        ("installed", error.is_already_installed()),
        ("running", error.is_already_running()),
        ("zero interval", error.is_zero_interval()),
        ("interval too long", error.is_interval_too_long()),
        ("zero capacity", error.is_zero_capacity()),
        ("capacity too large", error.is_capacity_too_large()),
        ("zero stall threshold", error.is_zero_stall_threshold()),
        ("thread refused", error.is_thread_refused()),
        ("descriptors refused", error.is_descriptors_refused()),
        ("sampler failed", error.is_sampler_failed()),
        ("invalid percentile", error.is_invalid_percentile()),
        ("inverted thresholds", error.is_inverted_thresholds()),
        ("unusable signal", error.is_unusable_signal()),
        ("exported", error.is_already_exported()),
    ]
    .into_iter()
    .filter_map(|(kind, is)| is.then_some(kind))
    .collect()
}

/// Asserts that the error is of this kind alone, and that its message says what to do.
#[track_caller]
fn assert_is<T: std::fmt::Debug>(result: Result<T, Error>, kind: &str) {
    let error = result.unwrap_err();
    assert_eq!(kinds(&error), [kind]);
    let message = error.to_string();
    assert!(message.contains(": "), "{message}");
}

#[test]
fn without_a_runtime() {
    assert_is(loopmon::create(millis(10), ()), "no runtime");
    assert_is(Monitor::builder().install(), "no runtime");
    let monitor = Monitor::builder().build().unwrap();
    assert_is(monitor.install(), "no runtime");
    assert_is(futures::executor::block_on(monitor.run()), "no runtime");
}

#[test]
fn on_a_runtime_that_has_shut_down() {
    for runtime in [
        tokio::runtime::Builder::new_current_thread(),
        tokio::runtime::Builder::new_multi_thread(),
    ]
    .iter_mut()
    .map(|builder| builder.enable_all().build().unwrap())
    {
        let handle = runtime.handle().clone();
        drop(runtime);
        let monitor = Monitor::builder().callback(async |_| {}).build().unwrap();
        let mut samples = monitor.subscribe();
        assert_is(monitor.install_on(&handle), "shut down");
        assert!(!monitor.is_installed());
        // The mistake does not end the reader: another runtime can serve it.
        assert_eq!(read(&mut samples), Read::Nothing);
        paused_runtime().block_on(async {
            monitor.install().unwrap();
            assert!(samples.next().await.is_some());
        });
    }
}

#[test]
fn run_within_a_runtime_that_has_shut_down() {
    let runtime = paused_runtime();
    let handle = runtime.handle().clone();
    drop(runtime);
    let _entered = handle.enter();
    for builder in [
        Monitor::builder(),
        Monitor::builder().sampler(WakeSampler::new()),
        Monitor::builder().sampler(BlockingPoolSampler::new()),
    ] {
        let monitor = builder.build().unwrap();
        let mut samples = monitor.subscribe();
        assert_is(futures::executor::block_on(monitor.run()), "shut down");
        assert!(!monitor.is_running());
        assert_eq!(read(&mut samples), Read::Nothing);
    }
}

#[test]
fn on_a_runtime_without_timers() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        for builder in [
            Monitor::builder(),
            Monitor::builder().sampler(BlockingPoolSampler::new()),
        ] {
            let monitor = builder.build().unwrap();
            let mut samples = monitor.subscribe();
            assert_is(monitor.install(), "no timers");
            assert_is(monitor.run().await, "no timers");
            assert!(!monitor.is_running());
            assert_eq!(read(&mut samples), Read::Nothing);
        }

        let wakes = Monitor::builder()
            .sampler(WakeSampler::new())
            .interval(millis(1))
            .build()
            .unwrap();
        let mut samples = wakes.subscribe();
        wakes.install().unwrap();
        assert!(samples.next().await.is_some());
    });
}

#[tokio::test(start_paused = true)]
async fn installed_twice() {
    let monitor = monitor(millis(10));
    let mut samples = monitor.subscribe();
    assert_is(monitor.install(), "installed");
    assert_is(monitor.clone().run().await, "installed");
    assert!(monitor.is_installed());
    assert!(samples.next().await.is_some());
}

#[tokio::test(start_paused = true)]
async fn run_twice() {
    let (_hand, sampler) = manual();
    let monitor = Monitor::builder().sampler(sampler).build().unwrap();
    let running = tokio::spawn({
        let monitor = monitor.clone();
        async move { monitor.run().await }
    });
    tokio::task::yield_now().await;
    assert_is(monitor.run().await, "running");
    assert_is(monitor.install(), "running");
    assert!(monitor.is_running());
    monitor.stop();
    running.await.unwrap().unwrap();
}

#[test]
fn bad_settings() {
    let build = |interval| Monitor::builder().interval(interval).build();
    assert_is(build(Duration::ZERO), "zero interval");
    assert_is(build(Duration::MAX), "interval too long");
    let longest = millis(68_719_476_734);
    assert_is(
        build(longest + Duration::from_nanos(1)),
        "interval too long",
    );
    assert!(build(longest).is_ok());
    assert!(build(Duration::from_nanos(1)).is_ok());

    let build = |capacity| Monitor::builder().capacity(capacity).build();
    assert_is(build(0), "zero capacity");
    assert_is(build(usize::MAX), "capacity too large");
    assert!(build(1).is_ok());
    assert!(build(Monitor::MAX_CAPACITY).is_ok());

    let build = |capacity| Monitor::builder().stall_capacity(capacity).build();
    assert_is(build(0), "zero capacity");
    assert_is(build(usize::MAX), "capacity too large");
    assert!(build(1).is_ok());
}

#[test]
fn a_zero_stall_threshold() {
    let build = |threshold| Monitor::builder().stall_threshold(threshold).build();
    assert_is(build(Duration::ZERO), "zero stall threshold");
    for threshold in [Duration::from_nanos(1), Duration::MAX] {
        drop(build(threshold).unwrap());
    }
}

#[test]
fn bad_percentiles_and_thresholds() {
    for percent in [f64::NAN, f64::NEG_INFINITY, -0.001, 100.001] {
        assert_is(Percentile::new(percent), "invalid percentile");
    }
    assert_is(Hysteresis::new(millis(1), millis(2)), "inverted thresholds");
    assert!(Percentile::new(-0.0).is_ok());
    assert!(Hysteresis::new(millis(1), millis(1)).is_ok());
}

#[tokio::test(start_paused = true)]
async fn the_longest_interval_works() {
    let longest = millis(68_719_476_734);
    let monitor = monitor(longest);
    let began = tokio::time::Instant::now();
    let sample = monitor.subscribe().next().await.unwrap();
    assert_eq!(sample.lag, Duration::ZERO);
    assert_eq!(began.elapsed(), longest);
}

#[test]
fn with_a_signal_that_is_not_for_programs() {
    for signal in [0, 9, 11, 33, 65] {
        let traces = StackCapture::new().signal(signal);
        assert_is(
            Monitor::builder().stack_capture(traces).build(),
            "unusable signal",
        );
    }
}

#[test]
#[cfg(unix)]
fn without_file_descriptors() {
    const EMFILE: i32 = 24;
    // File descriptors belong to the process, so this test runs in another one.
    if std::env::var_os("LOOPMON_TEST_DESCRIPTORS").is_some() {
        let runtime = paused_runtime();
        let monitor = Monitor::builder()
            .stall_callback(async |_| {})
            .build()
            .unwrap();
        let mut samples = monitor.subscribe();
        let open = || std::fs::File::open("/dev/null");
        let taken: Vec<_> = std::iter::from_fn(|| open().ok()).collect();
        let refused = monitor.install_on(runtime.handle());
        let ran = runtime.block_on(monitor.run());
        drop(taken);
        for refused in [refused, ran] {
            let error = refused.clone().unwrap_err();
            assert_is(refused, "descriptors refused");
            let source = std::error::Error::source(&error).unwrap();
            let source = source.downcast_ref::<std::io::Error>().unwrap();
            assert_eq!(source.raw_os_error(), Some(EMFILE));
        }
        assert!(!monitor.is_running());
        assert_eq!(read(&mut samples), Read::Nothing);
        monitor.install_on(runtime.handle()).unwrap();
        assert!(runtime.block_on(samples.next()).is_some());
        return;
    }
    let test = std::env::current_exe().unwrap();
    let output = std::process::Command::new("sh")
        .args(["-c", "ulimit -n 64; exec \"$0\" \"$@\""])
        .arg(test)
        .args(["--exact", "errors::without_file_descriptors"])
        .args(["--nocapture", "--test-threads=1"])
        .env("LOOPMON_TEST_DESCRIPTORS", "1")
        .output()
        .unwrap();
    let report = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{report}");
}

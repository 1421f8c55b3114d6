//! Where a test may run, what it may allow, and what else may happen there.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::Duration;

use loopmon::testing::{DenyStalls, allow_blocking};
use loopmon::{Cause, StackCapture};
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep};

use super::{BLOCK, deny, failure, in_the_root, text};
use crate::realtime::stalls::{current_thread, multi_thread, spin};
use crate::support::{millis, paused_runtime};

const IS_SEEN: bool = cfg!(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
));

fn blocks() {
    thread::sleep(BLOCK);
}

#[test]
fn the_output_is_returned_and_the_future_may_borrow() {
    let text = String::from("as it is");
    let run = deny().run(async { text.as_str() });
    assert_eq!(current_thread().block_on(run), "as it is");
    let run = deny().run(async { text.len() });
    assert_eq!(futures::executor::block_on(run), 8);
}

#[test]
fn on_every_executor() {
    let message = failure(|| futures::executor::block_on(deny().run(async { blocks() })));
    assert!(message.contains("once, for 0.2"), "{message}");
    let message = failure(|| {
        let local = LocalSet::new();
        current_thread().block_on(local.run_until(deny().run(async {
            tokio::task::spawn_local(async { blocks() }).await.unwrap();
        })));
    });
    assert!(message.contains("blocked"), "{message}");
    let message = failure(|| {
        let runtime = multi_thread(2);
        let task = runtime.spawn(deny().run(async { blocks() }));
        std::panic::resume_unwind(runtime.block_on(task).unwrap_err().into_panic());
    });
    assert!(message.contains("once, for 0.2"), "{message}");
}

#[test]
fn on_the_paused_clock() {
    let message = failure(|| {
        paused_runtime().block_on(deny().run(async {
            sleep(Duration::from_secs(3_600)).await;
            blocks();
        }));
    });
    assert!(message.contains("once, for 0.2"), "{message}");
    paused_runtime().block_on(async {
        let began = Instant::now();
        let other = tokio::spawn(sleep(Duration::from_secs(3_600)));
        deny().run(sleep(millis(7))).await;
        // While it waits for the watchdog, no virtual time passes.
        assert_eq!(began.elapsed(), millis(7));
        other.abort();
    });
}

#[test]
fn a_guard_watches_the_code_around_it() {
    let message = failure(|| {
        current_thread().block_on(async {
            let _deny = deny().enter().unwrap();
            sleep(millis(10)).await;
            blocks();
        });
    });
    assert!(message.contains("worker 0"), "{message}");
    if IS_SEEN {
        assert!(message.contains("surroundings::blocks at"), "{message}");
        let message = failure(|| {
            multi_thread(2).block_on(async {
                let _deny = deny().enter().unwrap();
                sleep(millis(10)).await;
                blocks();
            });
        });
        assert!(message.contains("the root future"), "{message}");
    }
    in_the_root(async || {
        let _deny = deny().enter().unwrap();
        sleep(millis(10)).await;
    });
    assert!(deny().enter().unwrap_err().is_no_runtime());
}

#[test]
fn what_cannot_be_set_up_is_an_error() {
    let zero = DenyStalls::over(Duration::ZERO);
    let error = current_thread().block_on(async { zero.clone().enter().unwrap_err() });
    assert!(error.is_zero_stall_threshold());
    let message = failure(|| futures::executor::block_on(zero.run(async {})));
    assert!(message.contains("the stall threshold is zero"), "{message}");
}

#[test]
fn a_panic_of_the_test_wins() {
    let message = failure(|| {
        current_thread().block_on(deny().run(async {
            blocks();
            panic!("the test's own");
        }));
    });
    assert_eq!(message, "the test's own");
}

#[test]
fn what_is_dropped_early_is_judged() {
    let message = failure(|| {
        current_thread().block_on(async {
            let run = deny().run(async {
                blocks();
                std::future::pending::<()>().await;
            });
            tokio::time::timeout(millis(1), run).await.unwrap_err();
        });
    });
    assert!(message.contains("once, for 0.2"), "{message}");
    drop(deny().run(async { unreachable!("nobody polls it") }));
}

#[test]
fn one_within_another() {
    let message = failure(|| {
        let inner = deny().run(async { blocks() });
        current_thread().block_on(DenyStalls::over(millis(100)).run(inner));
    });
    assert!(message.contains("50ms or more"), "{message}");
    let message = failure(|| {
        let inner = DenyStalls::over(BLOCK * 100).run(async { blocks() });
        current_thread().block_on(deny().run(inner));
    });
    assert!(message.contains("50ms or more"), "{message}");
    // The inner one waits for the stack of what it allows, and the outer one does not count that.
    in_the_root(|| {
        let allowed = async { allow_blocking(blocks) };
        deny().run(async { deny().allow("nothing").run(allowed).await })
    });
}

#[test]
fn what_is_allowed_fails_nothing() {
    in_the_root(|| deny().run(async { allow_blocking(blocks) }));
    in_the_root(|| {
        deny().run(async {
            tokio::spawn(async { allow_blocking(|| allow_blocking(blocks)) })
                .await
                .unwrap();
        })
    });
    in_the_root(|| {
        let deny = deny().allow_cause(Cause::blocked(None)).deny_unused();
        deny.run(async { blocks() })
    });
    if IS_SEEN {
        in_the_root(|| {
            let deny = deny().allow(concat!(module_path!(), "::blo")).deny_unused();
            deny.run(async {
                tokio::spawn(async { blocks() }).await.unwrap();
            })
        });
    }
    // Only what is in the region is allowed.
    let message = failure(|| {
        current_thread().block_on(deny().run(async {
            allow_blocking(blocks);
            blocks();
        }));
    });
    assert!(message.contains("once, for 0.5"), "{message}");
    let message = failure(|| {
        let deny = deny().allow("no::such::path").deny_unused();
        current_thread().block_on(deny.run(async {}));
    });
    assert!(
        message.contains("not seen: \"no::such::path\""),
        "{message}"
    );
}

#[test]
fn what_blocks_in_place_fails_nothing() {
    let in_place = || tokio::task::block_in_place(|| thread::sleep(BLOCK));
    multi_thread(2).block_on(async move {
        deny().run(async move { in_place() }).await;
        let run = deny().run(async move { in_place() });
        tokio::spawn(run).await.unwrap();
        let _deny = deny().enter().unwrap();
        in_place();
        tokio::spawn(async move { in_place() }).await.unwrap();
    });
    // Before and after it, the future is on its own.
    for blocks_first in [true, false] {
        let message = failure(|| {
            multi_thread(2).block_on(deny().run(async move {
                if blocks_first {
                    blocks();
                }
                in_place();
                if !blocks_first {
                    blocks();
                }
            }));
        });
        assert!(message.contains("::blocks at "), "{message}");
    }
}

#[test]
fn a_short_poll_is_timed_and_named() {
    async fn import() {
        for _ in 0..10 {
            spin(millis(20));
            tokio::task::yield_now().await;
        }
    }
    let message = failure(|| {
        let deny = DenyStalls::over(millis(1)).stack_capture(StackCapture::off());
        current_thread().block_on(deny.run(import()));
    });
    // On a crowded machine, some of them only wait.
    let is_timed = message.contains("::import\n    ");
    let is_bare = message.contains("no stack: it was over");
    assert!(is_timed && is_bare, "{message}");
    // A host that takes the CPU from a virtual machine is not told from work, and takes it for a millisecond now and
    // then.
    let passes = || {
        let healthy = DenyStalls::over(millis(1)).run(async {
            for _ in 0..20 {
                sleep(Duration::from_micros(10)).await;
            }
        });
        catch_unwind(AssertUnwindSafe(|| current_thread().block_on(healthy))).is_ok()
    };
    let passed = (0..20).filter(|_| passes()).count();
    assert!(passed >= 10, "{passed} of 20");
}

#[test]
fn tests_in_parallel_threads_fail_for_themselves() {
    let test = |blocks_too: bool| {
        let run = move || {
            current_thread().block_on(deny().run(async {
                sleep(millis(20)).await;
                if blocks_too {
                    blocks();
                }
            }));
        };
        thread::Builder::new().spawn(run).unwrap()
    };
    let tests: Vec<_> = (0..12)
        .map(|number| (number, test(number % 3 == 0)))
        .collect();
    for (number, test) in tests {
        let panicked = test.join().map_err(|panic| text(&*panic)).err();
        assert_eq!(panicked.is_some(), number % 3 == 0, "{number} {panicked:?}");
    }
}

#[test]
fn a_test_leaves_no_thread() {
    in_the_root(|| deny().run(async { sleep(millis(5)).await }));
    assert!(loopmon::join_threads(Duration::from_secs(30)));
    let panics = catch_unwind(AssertUnwindSafe(|| {
        current_thread().block_on(deny().run(async { blocks() }));
    }));
    assert!(panics.is_err());
    assert!(loopmon::join_threads(Duration::from_secs(30)));
}

/// A process that is stopped does not run, and so nothing of it blocks.
#[cfg(target_os = "linux")]
#[test]
fn a_process_that_is_stopped_blocks_nothing() {
    in_the_root(|| {
        // The watch has begun by then.
        let stop = "sleep 0.1; kill -STOP $PPID; sleep 0.3; kill -CONT $PPID";
        let stop = move || std::process::Command::new("sh").args(["-c", stop]).status();
        deny().run(async move {
            let stopped = tokio::task::spawn_blocking(stop);
            while !stopped.is_finished() {
                spin(Duration::from_millis(5));
                tokio::task::yield_now().await;
            }
            assert!(stopped.await.unwrap().unwrap().success());
        })
    });
}

//! Tests a stall callback: one that pages somebody, and a test that makes the stalls by hand. No runtime is
//! stuck, and no time passes. Prints what the callback would have sent:
//!
//! ```text
//! PAGE web: worker 0 is stuck for 12.800 s: blocked in system call 9999, since 00:00:00.000
//! ```

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use loopmon::chrono::DateTime;
use loopmon::{Cause, Monitor, Phase, Place, Stall, Syscall};

const BEARABLE: Duration = Duration::from_secs(10);

/// Pages for long stalls, while they still last.
async fn page(stall: Stall, pager: Sender<String>) {
    let blocked = matches!(stall.cause, Cause::Blocked { .. });
    if stall.phase != Phase::Ended && stall.duration > BEARABLE && blocked {
        // It ends only with the program.
        pager.send(format!("PAGE {stall}")).ok();
    }
}

/// In your own tests this is `#[tokio::test] async fn …`.
async fn pages_only_for_a_blocked_worker_while_it_is() -> Receiver<String> {
    let (pager, pages) = channel();
    let blocked = Cause::blocked(Some(Syscall::new(9_999)));
    for (phase, cause, millis) in [
        (Phase::Started, blocked, 100),
        (Phase::Ongoing, Cause::OnCpu, 12_800),
        (Phase::Ongoing, blocked, 12_800),
        (Phase::Ended, blocked, 13_000),
    ] {
        let lasted = Duration::from_millis(millis);
        let mut stall = Stall::new(phase, Place::Worker(0), cause, DateTime::UNIX_EPOCH, lasted);
        stall.monitor = Some("web".into());
        page(stall, pager.clone()).await;
    }
    pages
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), loopmon::Error> {
    let pages: Vec<_> = pages_only_for_a_blocked_worker_while_it_is()
        .await
        .into_iter()
        .collect();
    assert_eq!(pages.len(), 1);
    println!("{}", pages[0]);

    // In the service:
    let (pager, _pages) = channel();
    let monitor = Monitor::builder()
        .name("web")
        .stall_callback(move |stall| page(stall, pager.clone()))
        .install()?;
    monitor.stop();
    Ok(())
}

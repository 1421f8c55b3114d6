//! A pause of the whole process is no stall.
#![cfg(target_os = "linux")]

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::thread;

use loopmon::{Monitor, pauses};
use tokio::time::sleep;

use super::{Heard, block, current_thread, multi_thread, spin, watching};
use crate::support::millis;

/// Set for the process that is stopped, which is this binary too.
const CHILD: &str = "LOOPMON_TEST_STOPPED_CHILD";
const STOPS: u64 = 5;

fn signal(child: &Child, signal: &str) {
    let status = Command::new("kill")
        .args([signal, &child.id().to_string()])
        .status();
    assert!(status.unwrap().success());
}

#[test]
fn a_stopped_process_has_pauses_and_no_stalls() {
    if std::env::var_os(CHILD).is_some() {
        return be_stopped();
    }
    let name = "realtime::stalls::pauses::a_stopped_process_has_pauses_and_no_stalls";
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(CHILD, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut line_with = |start: &str| {
        let mut lines = lines.by_ref().map(Result::unwrap);
        lines.find(|line| line.starts_with(start)).unwrap()
    };
    line_with("ready");
    for _ in 0..STOPS {
        signal(&child, "-STOP");
        thread::sleep(millis(300));
        signal(&child, "-CONT");
        // Long enough for it to notice before the next, also where others want the CPU.
        thread::sleep(millis(400));
    }
    child.stdin.take().unwrap().write_all(b"done\n").unwrap();
    assert_eq!(line_with("stalls"), "stalls []");
    let line = line_with("pauses");
    let pauses: u64 = line["pauses ".len()..].parse().unwrap();
    assert!(pauses >= STOPS, "{pauses}");
    assert!(child.wait().unwrap().success());
}

/// The watchdog's thread may not have run yet. Once it has reported something, it notices pauses.
async fn watchdog_is_at_work() {
    let monitor = watching().install().unwrap();
    let heard = Heard::of(monitor.stalls());
    sleep(millis(50)).await;
    block();
    sleep(millis(50)).await;
    heard.wait_until(|reports| !reports.stalls.is_empty());
    monitor.stop();
}

/// Two healthy runtimes, one of them often in the middle of a poll, until a line comes in.
fn be_stopped() {
    let busy = current_thread();
    let idle = multi_thread(2);
    let watch = |monitor: &Monitor| Heard::of(monitor.stalls());
    let monitors = [
        watching().build().unwrap(),
        watching().install_on(idle.handle()).unwrap(),
    ];
    let heard = monitors.each_ref().map(watch);
    let (line_came, mut done) = tokio::sync::oneshot::channel();
    thread::Builder::new()
        .spawn(move || {
            std::io::stdin().read_line(&mut String::new()).unwrap();
            line_came.send(()).unwrap();
        })
        .unwrap();
    busy.block_on(async {
        watchdog_is_at_work().await;
        monitors[0].install().unwrap();
        println!("\nready");
        while done.try_recv().is_err() {
            spin(millis(5));
            sleep(millis(2)).await;
        }
    });
    monitors.iter().for_each(Monitor::stop);
    let stalls: Vec<_> = heard.iter().flat_map(Heard::to_the_end).collect();
    println!("stalls {stalls:?}\npauses {}", pauses().count);
}

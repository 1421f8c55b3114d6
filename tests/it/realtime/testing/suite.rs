//! A whole suite, whose processes append what blocks to one file.
#![cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]

use std::process::{Command, Stdio};
use std::time::Duration;

use loopmon::testing::DenyStalls;

use super::{BLOCK, deny};
use crate::realtime::stalls::current_thread;

const VARIABLE: &str = "LOOPMON_STALLS";

fn blocks_in_the_test() {
    std::thread::sleep(BLOCK);
}

fn blocks_elsewhere() {
    std::thread::sleep(BLOCK);
}

/// A test of the suite, in a process that the test below starts. Elsewhere it does not block.
#[test]
fn a_part() {
    let is_part = std::env::var_os(VARIABLE).is_some();
    current_thread().block_on(async {
        let _deny = deny().report_only().enter().unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
        if is_part {
            blocks_in_the_test();
        }
    });
    if is_part {
        let unwatched = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .on_thread_start(deny().on_thread_start())
            .build()
            .unwrap();
        // Until the workers have been seen.
        std::thread::sleep(BLOCK);
        let task = unwatched.spawn(async { blocks_elsewhere() });
        unwatched.block_on(task).unwrap();
    }
}

/// Runs it in two processes at once, and returns what they have appended.
fn lines() -> Vec<serde_json::Value> {
    let name = format!("loopmon-suite-{}.jsonl", std::process::id());
    let path = std::env::temp_dir().join(name);
    let module = module_path!().split_once("::").unwrap().1;
    let start = |()| {
        let mut part = Command::new(std::env::current_exe().unwrap());
        part.args(["--exact", &format!("{module}::a_part")]);
        part.env(VARIABLE, &path)
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    };
    for mut process in [(), ()].map(start) {
        assert!(process.wait().unwrap().success());
    }
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let parse = |line| serde_json::from_str(line).unwrap();
    text.lines().map(parse).collect()
}

#[test]
fn the_culprits_of_all_processes_are_in_one_file() {
    let lines = lines();
    let of = |function: &str| -> Vec<_> {
        let is_of = |line: &&serde_json::Value| line["trace"].to_string().contains(function);
        lines.iter().filter(is_of).collect()
    };
    for function in ["suite::blocks_in_the_test", "suite::blocks_elsewhere"] {
        assert_eq!(of(function).len(), 2, "{lines:#?}");
        for line in of(function) {
            let culprit = line["culprit"].as_str().unwrap();
            assert!(culprit.contains(function), "{culprit}");
            assert!(line["seconds"].as_f64().unwrap() >= 0.05, "{line}");
            assert_eq!(
                (&line["times"], &line["threshold"]),
                (&1.into(), &0.05.into())
            );
        }
    }
    assert_eq!(lines.len(), 4, "{lines:#?}");
}

#[test]
fn without_a_file_nothing_is_watched() {
    let nothing = DenyStalls::over(Duration::ZERO).report_only();
    assert_eq!(current_thread().block_on(nothing.run(async { 7 })), 7);
}

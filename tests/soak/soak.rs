//! Everything at once, for as long as is asked: `soak [--minutes N] [--only KIND]`.
//!
//! A thousand monitors and their readers on 64 runtimes of all flavours, and then smaller worlds, to each of which
//! something else happens (`linux/chaos.rs`). Each is a process of its own. All the while these must hold:
//!
//! - What a reader has received and what it has missed is what was published (`linux/keeper.rs`).
//! - Reports of a stall come in order, and each that has started ends before the monitor, or with it (`linux/diary.rs`).
//! - A healthy worker is not reported, and a long block is, soon (`linux/diary.rs`).
//! - At the end there are as many threads, descriptors, tasks and bytes as at the start (`linux/resources.rs`).
#![allow(
    clippy::disallowed_methods,
    unsafe_code,
    reason = "a program that does to itself what has no safe form"
)]

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod linux;

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn main() -> std::process::ExitCode {
    linux::main()
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn main() {
    println!("skipped: only Linux with the C library of GNU");
}

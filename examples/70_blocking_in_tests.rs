//! Tests that fail because their code blocks the event loop, and a summary of a whole suite. Runs a suite of three
//! tests, two of which block in the same function. Prints the first lines of the panic, and the culprits of all
//! tests, which the suite has appended to the file that `LOOPMON_STALLS` names.
#![allow(clippy::disallowed_methods, reason = "it is a test")]

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};
use std::time::Duration;

use loopmon::testing::{DenyStalls, allow_blocking};

async fn load_user() -> u32 {
    std::thread::sleep(Duration::from_millis(200)); // should be `tokio::time::sleep`
    7
}

/// In your own tests this is `#[tokio::test] async fn loads_a_user()`.
async fn loads_a_user() {
    let deny = DenyStalls::over(Duration::from_millis(50));
    assert_eq!(deny.run(load_user()).await, 7);
}

async fn greets_a_user() {
    let _deny = DenyStalls::over(Duration::from_millis(50)).enter();
    assert_eq!(load_user().await, 7);
}

async fn migrates() {
    let deny = DenyStalls::over(Duration::from_millis(50));
    let migrate = async { allow_blocking(|| std::thread::sleep(Duration::from_millis(100))) };
    deny.run(migrate).await;
}

fn test(name: &str, test: impl Future<Output = ()>) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let failed = catch_unwind(AssertUnwindSafe(|| runtime.block_on(test))).err();
    let message = failed.and_then(|panic| panic.downcast::<String>().ok());
    println!(
        "{name} ... {}",
        if message.is_some() { "FAILED" } else { "ok" }
    );
    for line in message.iter().flat_map(|text| text.lines().take(4)) {
        println!("    {line}");
    }
    Ok(())
}

/// Prints how often and for how long each culprit has blocked, from the lines of the suite.
fn summarize(lines: &str) -> Result<(), Box<dyn std::error::Error>> {
    let mut culprits = BTreeMap::<String, (f64, f64)>::new();
    for line in lines.lines() {
        let line: serde_json::Value = serde_json::from_str(line)?;
        let (times, seconds) = culprits.entry(line["culprit"].to_string()).or_default();
        *times += line["times"].as_f64().unwrap_or_default();
        *seconds += line["seconds"].as_f64().unwrap_or_default();
    }
    for (culprit, (times, seconds)) in culprits {
        println!("{times} x, {seconds:.1} s in all: {culprit}");
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    if std::env::var_os("LOOPMON_STALLS").is_some() {
        set_hook(Box::new(|_| {}));
        test("loads_a_user", loads_a_user())?;
        test("greets_a_user", greets_a_user())?;
        test("migrates", migrates())?;
        return Ok(());
    }
    let path = std::env::temp_dir().join(format!("loopmon-stalls-{}.jsonl", std::process::id()));
    let mut suite = std::process::Command::new(std::env::current_exe()?);
    suite.env("LOOPMON_STALLS", &path).status()?;
    summarize(&std::fs::read_to_string(&path)?)?;
    Ok(std::fs::remove_file(path)?)
}

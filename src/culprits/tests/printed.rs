//! What is given out: a table, folded stacks and serde.

use super::*;

#[test]
fn prints_a_table_at_the_width_given() {
    let (account, recorder) = account();
    let mut stall = by(ended(1, 0, 1_204), "app::orders::save");
    stall.cause = Cause::blocked(None);
    recorder.record(&stall, None);
    stall = by(ended(2, 0, 1_000), "app::orders::save");
    stall.id = StallId::next();
    recorder.record(&stall, None);
    recorder.record(&of(ended(1, 0, 12), "\u{1b}[31m\nx"), None);
    let culprits = account.snapshot();
    assert_eq!(
        culprits.to_string(),
        "      total  stalls    longest  culprit
    2.204 s       2    1.204 s  app::orders::save at /app/src/main.rs:1
                                blocked in the kernel and 1 more, worker 1 and …
    0.012 s       1    0.012 s  running on the CPU
                                future \\u{1b}[31m\\nx, last at 00:00:00
    2.216 s       3             all"
    );
    let narrow = format!("{culprits:50}");
    assert!(narrow.contains("  …app/src/main.rs:1\n"), "{narrow}");
    for width in [0, 44, 60, 200] {
        let table = format!("{culprits:width$}");
        let widest = table.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(width.max(44)), "{table}");
    }
    assert!(format!("{culprits:200}").contains("worker 1 and 1 more, last at 00:00:01"));
}

#[test]
fn flame_graph_tools_read_the_folded_stacks() {
    let (account, recorder) = account();
    recorder.record(&by(ended(1, 0, 300), "<app::S; as T>::save\n7"), None);
    recorder.record(&ended(0, 0, 200), None);
    for number in 0..1_000 {
        recorder.record(&by(ended(0, 0, 100), &format!("app::f{number}")), None);
    }
    let folded = account.snapshot().folded();
    let mut lines = folded.lines();
    assert_eq!(
        lines.next(),
        Some("app::main::{{closure}};<app::S: as T>::save?7;libc::sleep 300000")
    );
    assert_eq!(lines.next(), Some("running on the CPU 200000"));
    assert!(lines.next_back().unwrap().starts_with("other "));
    let mut options = inferno::flamegraph::Options::default();
    let mut graph = Vec::new();
    inferno::flamegraph::from_lines(&mut options, folded.lines(), &mut graph).unwrap();
    let graph = String::from_utf8(graph).unwrap();
    assert!(graph.contains("all (100,500,000 samples, 100%)"), "{graph}");
    assert!(graph.contains("&lt;app::S: as T&gt;::save?7 (300,000 samples"));
}

#[cfg(feature = "serde")]
#[test]
fn survives_serde() {
    let (account, recorder) = account();
    recorder.record(&by(ended(1, 0, 300), "app::save"), None);
    recorder.record(&ended(0, 0, 200), None);
    let culprits = account.snapshot();
    let json = serde_json::to_string(&culprits).unwrap();
    assert_eq!(serde_json::from_str::<Culprits>(&json).unwrap(), culprits);
}

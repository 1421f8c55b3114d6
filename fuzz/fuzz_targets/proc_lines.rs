//! What `/proc` and control groups say of threads, in any form; and that what the kernel writes is read as it was
//! meant.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use loopmon::fuzzing::{blocked_at, control_groups, mapping, schedule, stat, state, status};

fuzz_target!(|input: ([u64; 8], u32, char, &[u8])| {
    let (numbers, number, letter, content) = input;
    let text = String::from_utf8_lossy(content);
    state(content);
    blocked_at(content);
    schedule(content);
    stat(content);
    mapping(&text);
    for signal in [1, 10, 23, 64] {
        status(&text, signal);
    }
    control_groups(&text, &text);

    let name: Vec<u8> = content.iter().copied().take(15).collect();
    is_read_as_written(&name, numbers, number, letter);
});

fn is_read_as_written(name: &[u8], numbers: [u64; 8], number: u32, letter: char) {
    let letter = letter.to_ascii_uppercase();
    if letter.is_ascii_uppercase() {
        let [a, b, c, d, e, f, ..] = numbers;
        let end =
            format!(") {letter} 1 {number} {number} 0 -1 4194304 {a} {b} {c} {d} {e} {f} 0 0\n");
        let line = [format!("{number} (").as_bytes(), name, end.as_bytes()].concat();
        assert_eq!(state(&line), Some(letter));
        let on_cpu = Duration::from_millis(e.saturating_add(f).saturating_mul(10));
        assert_eq!(stat(&line), (Some((a, c)), Some(on_cpu)));
    }

    let [a, b, c, d, e, f, sp, pc] = numbers;
    let line = format!("{number} {a:#x} {b:#x} {c:#x} {d:#x} {e:#x} {f:#x} {sp:#x} {pc:#x}\n");
    let read = blocked_at(line.as_bytes());
    assert_eq!(read, Some((Some(number), [a, b, c, d, e, f], sp, pc)));
    let line = format!("-1 {sp:#x} {pc:#x}\n");
    assert_eq!(blocked_at(line.as_bytes()), Some((None, [0; 6], sp, pc)));

    let times = (Duration::from_nanos(a), Duration::from_nanos(b), c);
    let line = format!("{a} {b} {c}\n");
    assert_eq!(schedule(line.as_bytes()), (c > 0).then_some(times));

    let stat = format!("nr_periods {d}\nnr_throttled {a}\nthrottled_usec {b}\n");
    let throttled = (a, Duration::from_micros(b));
    assert_eq!(control_groups("0::/a\n", &stat), (4, Some(throttled)));

    let path = String::from_utf8_lossy(name).replace(|each: char| each.is_control(), "?");
    let line = format!("{sp:08x}-{pc:08x} r-xp {a:08x} fe:00 {b}                     /{path}");
    assert_eq!(mapping(&line), Some((sp..pc, format!("/{path}"))));
}

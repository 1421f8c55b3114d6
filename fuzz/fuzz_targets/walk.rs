//! The walk over any copied stack, in a program with any code and any tables for unwinding.
//!
//! After the program come the registers, and the words of the stack. Each is a kind and a number.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use loopmon::fuzzing::Program;
use loopmon_fuzz::{Numbers, Process, check, parts};

static PROCESS: LazyLock<Process> = LazyLock::new(Process::new);

/// A stack may be so large, in bytes.
const LARGEST: usize = 64 << 10;

fuzz_target!(|input: &[u8]| {
    walk(input);
});

fn walk(input: &[u8]) -> Option<()> {
    let (program, mut rest) = parts(input)?;
    let sp = match rest.byte()? {
        0 => u64::MAX - u64::from(rest.short()?),
        1 => rest.word()?.into(),
        _ => 0x7fff_0000_0000 + u64::from(rest.short()?),
    };
    let (pc, fp, lr) = (
        word(&mut rest, sp)?,
        word(&mut rest, sp)?,
        word(&mut rest, sp)?,
    );
    let is_known = rest.byte()? & 1 == 0;
    let words = std::iter::from_fn(|| word(&mut rest, sp));
    let mut stack: Vec<u8> = words.flat_map(u64::to_le_bytes).collect();
    stack.truncate(LARGEST);
    let mut loaded = PROCESS.load(program);
    for fp in [is_known.then_some(fp), None] {
        check(&loaded.resolve([pc, sp, lr], fp, &stack)?);
    }
    Some(())
}

/// An address in the program, one in the stack, or any number.
fn word(from: &mut Numbers<'_>, sp: u64) -> Option<u64> {
    let (kind, number) = (from.byte()?, from.word()?);
    Some(match kind % 4 {
        0 => Program::place().wrapping_add(number.into()),
        1 => sp.wrapping_add(number.into()),
        2 => (number as i32) as u64,
        _ => u64::from(number) << 32 | u64::from(number),
    })
}

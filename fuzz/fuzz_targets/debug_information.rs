//! A program's file with its debug information, which may be hostile, and torn while it is read.
//!
//! After the program come: the sizes of its package and of its split unit, after how many look-ups it is torn, how,
//! and where; the addresses to look up, relative to the program; the package and the unit.
#![no_main]

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use loopmon::fuzzing::Program;
use loopmon_fuzz::{Process, check, parts};

static PROCESS: LazyLock<Process> = LazyLock::new(Process::new);

const LOOK_UPS: usize = 6;

fuzz_target!(|input: &[u8]| {
    look_up(input);
});

fn look_up(input: &[u8]) -> Option<()> {
    let (program, mut rest) = parts(input)?;
    let sizes = [rest.short()?, rest.short()?].map(usize::from);
    let (torn_after, how, at) = (rest.byte()?, rest.byte()?, rest.short()?);
    let addresses = rest.bytes(4 * LOOK_UPS)?;
    for (name, size) in ["program.dwp", "unit.dwo"].into_iter().zip(sizes) {
        let content = rest.bytes(size.min(rest.0.len()))?;
        let file = PROCESS.file(name);
        if content.is_empty() {
            fs::remove_file(file).ok();
        } else {
            fs::write(file, content).unwrap();
        }
    }
    let mut loaded = PROCESS.load(program);
    for (count, address) in addresses.chunks_exact(4).enumerate() {
        if count == usize::from(torn_after) {
            tear(&PROCESS.file("program"), how, at.into());
        }
        let address = u32::from_le_bytes(address.try_into().unwrap());
        let pc = Program::place() + u64::from(address);
        check(&loaded.resolve([pc, 8, 0], None, &[])?);
    }
    Some(())
}

fn tear(path: &Path, how: u8, at: u64) {
    let file = File::options().write(true).open(path).unwrap();
    match how % 3 {
        0 => file.set_len(at).unwrap(),
        1 => file.write_all_at(&[0; 64], at).unwrap(),
        _ => file.write_all_at(&[0xff; 64], at).unwrap(),
    }
}

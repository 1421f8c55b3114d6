//! Whether code is part of the main program, or of a library that was loaded with it or later.
//!
//! The main program's thread-local variables lie in a block that each thread has from its start, and its
//! code is never unloaded. Those of a library may be allocated or moved when they are accessed, under the
//! allocator's lock, and its code is gone once it is closed.

use std::ops::Range;
use std::ptr;
use std::slice;

use libc::{Elf64_Ehdr, Elf64_Phdr};

use super::raw;

/// Whether an address is part of the main program.
pub(super) fn main_has(address: u64) -> bool {
    let headers = main_headers();
    let bias = bias(headers);
    let loaded = |header: &&Elf64_Phdr| header.p_type == libc::PT_LOAD;
    bias.is_some_and(|bias| {
        let mut ranges = headers.iter().filter(loaded).map(|it| range(it, bias));
        ranges.any(|range| range.contains(&address))
    })
}

/// Returns where the calling thread has the thread-local variables of the main program, by the convention of
/// the processor. `None` if the program has none.
pub(super) fn thread_locals() -> Option<Range<u64>> {
    let mut headers = main_headers().iter();
    let header = headers.find(|header| header.p_type == libc::PT_TLS)?;
    let pointer = raw::thread_pointer();
    let align = header.p_align.max(1);
    if cfg!(target_arch = "x86_64") {
        // They end where the thread pointer points to.
        let size = header.p_memsz.checked_next_multiple_of(align)?;
        return Some(pointer.checked_sub(size)?..pointer);
    }
    // They begin behind two words.
    let start = pointer.checked_add(16_u64.checked_next_multiple_of(align)?)?;
    Some(start..start.checked_add(header.p_memsz)?)
}

fn range(header: &Elf64_Phdr, bias: u64) -> Range<u64> {
    let start = header.p_vaddr.wrapping_add(bias);
    start..start.saturating_add(header.p_memsz)
}

/// Returns the difference between the addresses in the program headers and those in memory. `None` if it is
/// unknown.
fn bias(headers: &[Elf64_Phdr]) -> Option<u64> {
    let table = headers.as_ptr() as u64;
    let of_type = |wanted| headers.iter().filter(move |it| it.p_type == wanted);
    if let Some(own) = of_type(libc::PT_PHDR).next() {
        return Some(table.wrapping_sub(own.p_vaddr));
    }
    // A program without a loader may not list the table, which then follows the header of the file.
    let first = of_type(libc::PT_LOAD).find(|header| header.p_offset == 0)?;
    let start = table.checked_sub(size_of::<Elf64_Ehdr>() as u64)?;
    Some(start.wrapping_sub(first.p_vaddr))
}

/// Returns the program headers, whose address the kernel passes to the program. A loader that was itself
/// started as the program corrects that address.
fn main_headers() -> &'static [Elf64_Phdr] {
    let [table, count] = [libc::AT_PHDR, libc::AT_PHNUM].map(auxiliary);
    if table == 0 {
        return &[];
    }
    let table = ptr::with_exposed_provenance(table);
    // SAFETY: it is the program's own table, with this many entries. It is never unloaded, and nobody writes
    // to it.
    unsafe { slice::from_raw_parts(table, count) }
}

/// Returns an entry of the auxiliary vector, which the kernel passes at the start; zero if it is missing.
pub(super) fn auxiliary(kind: u64) -> usize {
    // SAFETY: the call only looks a number up.
    unsafe { libc::getauxval(kind) as usize }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::thread;

    use super::super::handler;
    use super::*;

    #[test]
    fn only_what_the_main_program_has_is_its_own() {
        assert!(handler::is_in_main_program());
        // The vDSO, which the kernel maps.
        assert!(!main_has(auxiliary(libc::AT_SYSINFO_EHDR) as u64));
        assert!(!main_has(0));
        assert!(!main_has(&raw const *Box::new(1) as u64));
    }

    #[test]
    fn finds_the_thread_local_variables_of_each_thread() {
        thread_local! {
            static VARIABLE: Cell<u64> = const { Cell::new(7) };
        }
        let is_inside = || {
            let at = VARIABLE.with(|variable| ptr::from_ref(variable) as u64);
            (at, thread_locals().unwrap().contains(&at))
        };
        let (here, is_inside_here) = is_inside();
        let (there, is_inside_there) =
            thread::scope(|scope| scope.spawn(is_inside).join().unwrap());
        assert!(is_inside_here && is_inside_there);
        assert_ne!(here, there);
    }

    fn header(kind: u32, offset: u64, address: u64) -> Elf64_Phdr {
        Elf64_Phdr {
            p_type: kind,
            p_flags: 0,
            p_offset: offset,
            p_vaddr: address,
            p_paddr: 0,
            p_filesz: 0,
            p_memsz: 0x100,
            p_align: 0,
        }
    }

    #[test]
    fn finds_where_a_program_is_loaded() {
        let dynamic = [header(libc::PT_PHDR, 64, 0x40), header(libc::PT_LOAD, 0, 0)];
        let table = dynamic.as_ptr() as u64;
        assert_eq!(bias(&dynamic), Some(table - 0x40));
        let without_a_loader = [
            header(libc::PT_LOAD, 0x1000, 0x40_1000),
            header(libc::PT_LOAD, 0, 0x40_0000),
        ];
        let table = without_a_loader.as_ptr() as u64;
        let expected = (table - 64).wrapping_sub(0x40_0000);
        assert_eq!(bias(&without_a_loader), Some(expected));
        assert_eq!(bias(&[header(libc::PT_LOAD, 0x1000, 0)]), None);
        assert_eq!(bias(&[]), None);
    }
}

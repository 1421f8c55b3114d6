//! What a signal has interrupted, on AArch64. There, the code that ends a handler has no unwind tables, so that
//! unwinders recognise it by its instructions.

use super::super::memory::Memory;
use super::super::paged::Origin;
use super::super::rules::{Values, number};
use super::{Frame, address};
use crate::stack::linux::image::Image;

/// `mov x8, #139`, the number of `rt_sigreturn`; `svc #0`.
const RETURN: [u8; 8] = [0x68, 0x11, 0x80, 0xd2, 0x01, 0x00, 0x00, 0xd4];

/// Where the kernel saves the registers, from the stack pointer of that code up: behind a `siginfo_t`, the
/// `ucontext_t` up to its registers, and the address of a fault.
const REGISTERS: u64 = 128 + 176 + 8;

/// How many general registers there are. The stack pointer and the program counter follow.
const GENERAL: u64 = 31;

/// Whether the code at this address ends a handler.
pub(super) fn begins_at(memory: &Memory, address: u64) -> bool {
    let mut code = [0; RETURN.len()];
    cfg!(target_arch = "aarch64") && memory.read(address, &mut code).is_some() && code == RETURN
}

/// Returns the call that the handler has interrupted. `sp` is the stack pointer after the handler.
pub(super) fn interrupted(image: &Image, sp: u64) -> Option<Frame> {
    let register = |index: u64| image.word(sp.checked_add(REGISTERS + 8 * index)?);
    let mut values = Values::default();
    for &kept in number::KEPT.iter().chain(&[number::RA]) {
        values.set(kept, register(kept.into()));
    }
    values.set(number::SP, Some(register(GENERAL)?));
    Some(Frame {
        pc: address(register(GENERAL + 1)?),
        is_innermost: false,
        has_called: false,
        values,
    })
}

//! The call that a thread of musl begins with. musl's code has no unwind tables, so that what ends the thread after
//! that call is recognised by its instructions.

use super::super::call_insn::Call;
use super::super::memory::Memory;
use super::super::paged::Origin;
use super::search::words;
use super::{Frame, Unwinder};
use crate::stack::linux::image::Image;

/// `mov edi, eax`; `xor eax, eax`; `mov al, 60`, the number of `exit`; `syscall`.
const EXIT: [u8; 8] = [0x89, 0xc7, 0x31, 0xc0, 0xb0, 0x3c, 0x0f, 0x05];

/// Bounds what the first function of a thread uses of the stack, in words. It uses four.
const MAX_WORDS: usize = 16;

impl Unwinder {
    /// Whether a call without rules is the first of its thread: it calls what the program has started the thread
    /// with, and the next return address on the stack is in code that ends the thread.
    pub(super) fn is_first_of_thread(&mut self, image: &Image, frame: &Frame) -> bool {
        let is_musl = cfg!(all(target_arch = "x86_64", target_env = "musl"));
        if !is_musl || !frame.has_called || self.call_before(frame.pc) != Some(Call::Indirect) {
            return false;
        }
        let mut words = words(image, frame.sp())
            .take(MAX_WORDS)
            .filter_map(|place| image.word(place));
        let returns_to = words.find(|word| self.is_return_address(*word));
        returns_to.is_some_and(|code| ends_thread(&self.memory, code))
    }
}

fn ends_thread(memory: &Memory, address: u64) -> bool {
    let mut code = [0; EXIT.len()];
    memory.read(address, &mut code).is_some() && code == EXIT
}

//! Continues a walk that has stopped in a function whose return address is in a register that is not known: on
//! AArch64, in a function of the C library that makes a system call and calls nothing.

use super::super::call_insn::Call;
use super::super::paged::Origin;
use super::super::rules::number;
use super::search::words;
use super::{Frame, Stop, Unwinder, Walk, address};
use crate::stack::linux::image::Image;

impl Unwinder {
    /// Searches for the return address of the function's caller: it follows a call to a function that saves it,
    /// by the code that this begins with, just there on the stack. Where in the caller the thread is stays
    /// unknown, so the walk has the address at which the caller begins.
    pub(super) fn leave_leaf(&mut self, image: &Image, known: &Walk, last: Frame) -> Option<Walk> {
        let rules = self.rules(last.lookup())?;
        let sp = rules.caller(&last.values, image).ok()?.get(number::SP)?;
        for place in words(image, sp) {
            let word = image.word(place).filter(|_| self.steps_left > 0)?;
            let returns_to = address(word);
            if !self.is_return_address(returns_to) {
                continue;
            }
            let Some(Call::Direct(distance)) = self.call_before(returns_to) else {
                continue;
            };
            let caller = self.behind_jump(returns_to.wrapping_add_signed(distance));
            let frame = self.stack_frame(caller);
            let Some(frame) = frame.filter(|frame| place - sp == frame.pointer.saturating_add(8))
            else {
                continue;
            };
            let fp = image.word(place.wrapping_sub(8));
            let start = Frame::called_from(returns_to, sp.saturating_add(frame.size), fp);
            let (rest, _, stop) = self.walk_from(image, start);
            if matches!(stop, Stop::Outermost | Stop::Beyond) {
                let mut walk = known.clone();
                walk.addresses.push(caller);
                return Some(Walk {
                    guessed: true,
                    ..walk.followed_by(rest)
                });
            }
        }
        None
    }

    /// Returns where the function goes on that begins with a jump, as a compiler makes one that only calls another.
    fn behind_jump(&self, function: u64) -> u64 {
        let mut code = [0; 4];
        let read = self.memory.read(function, &mut code);
        let instruction = u32::from_le_bytes(code);
        if read.is_none() || instruction >> 26 != 0b000_101 {
            return function;
        }
        // The operand has 26 bits, with a sign, and counts words.
        let words = (instruction << 6) as i32 >> 6;
        function.wrapping_add_signed(i64::from(words) * 4)
    }
}

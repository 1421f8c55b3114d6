//! Continues a walk where the rules lead no further. The result is not sure, and the walk says so.

use super::super::call_insn::Call;
use super::super::rules::number;
use super::{Frame, MAX_FRAME_SIZE, Stop, Unwinder, Walk, address};
use crate::stack::linux::image::Image;

/// How many calls in a row are no coincidence.
const CONVINCING: usize = 4;

/// Bounds the callers of the last known function that are followed, where the caller has no rules either.
const MAX_PROVEN: usize = 4;

impl Unwinder {
    /// Continues a walk that has stopped, if it can.
    pub(super) fn go_on(
        &mut self,
        image: &Image,
        walk: Walk,
        last: Frame,
        stop: Stop,
        gaps: usize,
    ) -> Walk {
        let further = match stop {
            Stop::Outermost | Stop::Beyond => None,
            Stop::ReturnRegister => self.leave_leaf(image, &walk, last),
            Stop::FramePointer => self
                .guess(image, &walk, last)
                .or_else(|| self.bridge(image, &walk, last, gaps)),
            Stop::Lost => self.bridge(image, &walk, last, gaps),
        };
        further.unwrap_or(walk)
    }

    /// Tries every place of the stack that the frame pointer could point to. A walk from there must reach
    /// the outermost call or the end of the copied part. The best is the one with the fewest wrong calls:
    /// calls in the code to another function than the one that follows on the stack. A proven call to the
    /// function that uses the frame pointer, the last that is known, counts most.
    fn guess(&mut self, image: &Image, known: &Walk, last: Frame) -> Option<Walk> {
        let mut best: Option<((usize, bool), Walk)> = None;
        for place in words(image, last.sp()) {
            let Some(word) = image.word(place + 8).filter(|_| self.steps_left > 0) else {
                break;
            };
            let word = address(word);
            if !self.is_return_address(word) {
                continue;
            }
            let mut start = last;
            start.values.set(number::FP, Some(place));
            let (rest, _, stop) = self.walk_from(image, start);
            if !matches!(stop, Stop::Outermost | Stop::Beyond) {
                continue;
            }
            let mut walk = known.clone();
            walk.addresses.pop();
            let walk = walk.followed_by(rest);
            let calls = self.calls(&walk);
            let wrong = calls.iter().filter(|call| **call == Some(false)).count();
            let proven = calls.get(known.addresses.len().saturating_sub(1)) == Some(&Some(true));
            let doubts = (wrong, !proven);
            if !walk.complete && doubts != (0, false) {
                continue;
            }
            if best.as_ref().is_none_or(|(least, _)| doubts < *least) {
                best = Some((doubts, walk));
            }
            if doubts == (0, false) {
                break;
            }
        }
        best.map(|(_, walk)| Walk {
            guessed: true,
            ..walk
        })
    }

    /// Searches for the next return address from which a walk reaches the outermost call; or, as the C code
    /// that the main thread of musl begins with has no rules, from which it leads furthest. A word may be
    /// left from a call that has returned: so an address after a call to another function is the last
    /// choice.
    fn bridge(&mut self, image: &Image, known: &Walk, last: Frame, gaps: usize) -> Option<Walk> {
        let gaps = gaps.checked_sub(1)?;
        let mut proven_left = MAX_PROVEN;
        let mut best: Option<((u64, bool), Walk)> = None;
        for (word, sp) in return_addresses(image, last) {
            if self.steps_left == 0 {
                break;
            }
            if !self.is_return_address(word) {
                continue;
            }
            let call = self.calls_function(word, last.lookup());
            for fp in frame_pointers(image, last, sp) {
                let start = Frame::called_from(word, sp, fp);
                let (rest, end, stop) = self.walk_from(image, start);
                let is_convincing = rest.addresses.len() >= CONVINCING || stop == Stop::Outermost;
                let is_sure = is_where_calls_leave_it(last, sp) && call == Some(true);
                let mut walk = known.clone().followed_by(rest);
                walk.scanned |= !is_sure;
                if !is_convincing && call == Some(true) && proven_left > 0 {
                    proven_left -= 1;
                    walk = self.go_on(image, walk, end, stop, gaps);
                }
                if walk.complete && call != Some(false) {
                    return Some(walk);
                }
                let reached = if walk.complete { u64::MAX } else { end.sp() };
                let merit = (reached, call != Some(false));
                let is_better = best.as_ref().is_none_or(|(most, _)| merit > *most);
                if is_better && (is_convincing || walk.complete) {
                    best = Some((merit, walk));
                }
            }
        }
        best.map(|(_, walk)| walk)
    }

    /// Returns, for each call of the walk, whether the code calls the function that follows on the stack.
    /// `None` if the call is indirect.
    fn calls(&mut self, walk: &Walk) -> Vec<Option<bool>> {
        let pairs = walk.addresses.iter().zip(walk.addresses.iter().skip(1));
        // The address of a caller is one before the return address.
        let calls = pairs.map(|(callee, caller)| self.calls_function(*caller + 1, *callee));
        calls.collect()
    }

    /// Whether the call that returns to one address calls the function at the other. `None` if the call is
    /// indirect.
    fn calls_function(&mut self, returns_to: u64, at: u64) -> Option<bool> {
        let Call::Direct(distance) = self.call_before(returns_to)? else {
            return None;
        };
        let called = returns_to.wrapping_add_signed(distance);
        if self.rules(at).is_some() {
            return Some(called == self.function_of(at)?);
        }
        // The function at `at` has no rules, so its start is unknown. It may be what is called if that has no
        // rules either, is before it, and no known function begins in between.
        let has_rules = self.rules(called).is_some();
        let is_before = called <= at && at - called < MAX_FRAME_SIZE;
        Some(!has_rules && is_before && self.function_of(called) == self.function_of(at))
    }
}

/// Returns all that may be the return address, each with the stack pointer of the caller, as far as it is known:
/// what is in the register for it, then each word of the stack.
fn return_addresses(image: &Image, last: Frame) -> impl Iterator<Item = (u64, u64)> + use<'_> {
    let kept = last.values.get(number::RA).map(|kept| (kept, last.sp()));
    let kept = kept.filter(|_| cfg!(target_arch = "aarch64") && !last.has_called);
    let on_stack = words(image, last.sp());
    let on_stack = on_stack.filter_map(|place| Some((image.word(place)?, place + 8)));
    let all = kept.into_iter().chain(on_stack);
    all.map(|(word, sp)| (address(word), sp))
}

/// Whether this is where a call leaves the return address, of a function that has done nothing yet. AArch64
/// leaves it in a register, where it may be an earlier one.
fn is_where_calls_leave_it(last: Frame, sp: u64) -> bool {
    cfg!(target_arch = "x86_64") && last.is_innermost && sp.checked_sub(8) == Some(last.sp())
}

/// Returns what the frame pointer of the caller may be, whose stack pointer is `sp`.
fn frame_pointers(image: &Image, last: Frame, sp: u64) -> impl Iterator<Item = Option<u64>> {
    let fp = last.fp();
    let below = sp.checked_sub(16);
    // The last function may have set up a frame pointer, and so saved the caller's, or have kept it.
    let own = fp.filter(|fp| Some(*fp) == below);
    let saved = match own.or(below.filter(|_| cfg!(target_arch = "aarch64"))) {
        // On AArch64, a function may use the frame pointer for something else, once it has saved the caller's.
        Some(saved) => Some(image.word(saved)),
        None => Some(None),
    };
    let kept = own.is_none().then(|| fp.map(Some)).flatten();
    [saved, kept].into_iter().flatten()
}

/// Returns the addresses of the whole words of the stack, from an address up.
pub(super) fn words(image: &Image, from: u64) -> impl Iterator<Item = u64> + use<> {
    let first = from.max(image.registers.sp).checked_next_multiple_of(8);
    let last = image.end().saturating_sub(8);
    (first.unwrap_or(u64::MAX)..last).step_by(8)
}

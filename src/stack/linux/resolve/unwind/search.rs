//! Ways on where the rules lead no further: none of them is sure, and the walk says so.

use super::super::call_insn::Call;
use super::super::rules::number;
use super::{Frame, LARGEST_FRAME, Stop, Unwinder, Walk};
use crate::stack::linux::image::Image;

/// How many calls make a way that is no chance.
const LEADS_ON: usize = 4;

/// How many calls to the function at hand are followed where there are no rules either.
const MOST_PROVEN: usize = 4;

impl Unwinder {
    /// Finds another way where the rules lead no further.
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
            Stop::FramePointer => self
                .guess(image, &walk, last)
                .or_else(|| self.bridge(image, &walk, last, gaps)),
            Stop::Lost => self.bridge(image, &walk, last, gaps),
        };
        further.unwrap_or(walk)
    }

    /// Tries every place of the stack that the frame pointer could point to. It has to lead to the
    /// outermost call, or out of what was copied, and the calls in the code should be to the functions
    /// that are there: most of all the one to the function that uses the frame pointer, the last that
    /// is known.
    fn guess(&mut self, image: &Image, known: &Walk, last: Frame) -> Option<Walk> {
        let mut best: Option<((usize, bool), Walk)> = None;
        for place in words(image, last.sp()) {
            let Some(word) = image.word(place + 8).filter(|_| self.steps_left > 0) else {
                break;
            };
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

    /// Searches for the next return address from which the outermost call is reached; or, as the C
    /// code of musl has no rules for that either, from which the way leads furthest. What lies there
    /// may be left from a call that is over: so one whose call is to another function comes last.
    fn bridge(&mut self, image: &Image, known: &Walk, last: Frame, gaps: usize) -> Option<Walk> {
        let gaps = gaps.checked_sub(1)?;
        let mut proven_left = MOST_PROVEN;
        let mut best: Option<((u64, bool), Walk)> = None;
        for place in words(image, last.sp()) {
            let Some(word) = image.word(place).filter(|_| self.steps_left > 0) else {
                break;
            };
            if !self.is_return_address(word) {
                continue;
            }
            let call = self.calls_function(word, last.lookup());
            for fp in frame_pointers(image, last, place) {
                let start = Frame::called_from(word, place + 8, fp);
                let (rest, end, stop) = self.walk_from(image, start);
                let leads_on = rest.addresses.len() >= LEADS_ON || stop == Stop::Outermost;
                let is_sure = last.is_innermost && place == last.sp() && call == Some(true);
                let mut walk = known.clone().followed_by(rest);
                walk.scanned |= !is_sure;
                if !leads_on && call == Some(true) && proven_left > 0 {
                    proven_left -= 1;
                    walk = self.go_on(image, walk, end, stop, gaps);
                }
                if walk.complete && call != Some(false) {
                    return Some(walk);
                }
                let reached = if walk.complete { u64::MAX } else { end.sp() };
                let merit = (reached, call != Some(false));
                let is_better = best.as_ref().is_none_or(|(most, _)| merit > *most);
                if is_better && (leads_on || walk.complete) {
                    best = Some((merit, walk));
                }
            }
        }
        best.map(|(_, walk)| walk)
    }

    /// For each call, whether it is to the function that is there; `None` if the code does not say
    /// whom it calls.
    fn calls(&mut self, walk: &Walk) -> Vec<Option<bool>> {
        let pairs = walk.addresses.iter().zip(walk.addresses.iter().skip(1));
        // What is looked up of a caller is just before the return address.
        let calls = pairs.map(|(callee, caller)| self.calls_function(*caller + 1, *callee));
        calls.collect()
    }

    /// Whether the call that returns to one address is to the function at the other.
    fn calls_function(&mut self, returns_to: u64, at: u64) -> Option<bool> {
        let Call::Direct(distance) = self.call_before(returns_to)? else {
            return None;
        };
        let called = returns_to.wrapping_add_signed(distance);
        if self.rules(at).is_some() {
            return Some(called == self.function_of(at)?);
        }
        // Code without rules: where it begins is not known, but where others do.
        let is_of_others = self.rules(called).is_some();
        let is_before = called <= at && at - called < LARGEST_FRAME;
        Some(!is_of_others && is_before && self.function_of(called) == self.function_of(at))
    }
}

/// What the frame pointer may be in who returns to what is at this place.
fn frame_pointers(image: &Image, last: Frame, place: u64) -> impl Iterator<Item = Option<u64>> {
    let fp = last.fp();
    // The function that was lost may have set one up as it should, or have left it alone.
    let own = fp.filter(|fp| fp.checked_add(8) == Some(place));
    match own {
        Some(own) => [Some(image.word(own)), None],
        None => [Some(None), fp.map(Some)],
    }
    .into_iter()
    .flatten()
}

/// The places of the stack that hold a whole word, from there on.
fn words(image: &Image, from: u64) -> impl Iterator<Item = u64> + use<> {
    let first = from.max(image.registers.sp).checked_next_multiple_of(8);
    let last = image.end().saturating_sub(8);
    (first.unwrap_or(u64::MAX)..last).step_by(8)
}

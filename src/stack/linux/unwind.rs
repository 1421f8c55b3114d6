//! From the bytes of a stack to the calls that are on it.

use std::fs::File;
use std::os::unix::fs::FileExt;

use framehop::{
    CacheNative, ExplicitModuleSectionInfo, FrameAddress, MayAllocateDuringUnwind, Module as Known,
    UnwindRegsNative, Unwinder as _, UnwinderNative,
};

use super::calls::{self, Call};
use super::capture::Image;
use super::modules::{Bytes, Module, Section};
use super::prologue;
use crate::stack::sys::Registers;

/// No stack has more calls; what seems to has led the walk in a circle.
const MOST_FRAMES: usize = 4096;

/// How many frames are looked at in all to find a way that leads out. Each place on a stack may be
/// the beginning of one, and each way may be as long as the stack.
const MOST_STEPS: usize = 100_000;

/// No function has more on the stack. What is further away has nothing to do with it.
const LARGEST_FRAME: u64 = 1 << 20;

/// Never the address of anything, and not zero, which ends a chain of frame pointers.
const NOWHERE: u64 = 1;

/// The calls on a stack, by the addresses in them that are to be looked up.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Walk {
    pub(super) addresses: Vec<u64>,
    /// The last is the one that the thread began with.
    pub(super) complete: bool,
    /// What is next is beyond what has been copied. So the stack goes on there, or the way is wrong.
    ran_out: bool,
    pub(super) guessed: bool,
    pub(super) scanned: bool,
}

impl Walk {
    /// It is as long as it can be.
    fn is_done(&self) -> bool {
        self.complete || self.ran_out
    }
}

/// What is known of the code in this process.
pub(super) struct Unwinder {
    memory: File,
    modules: Vec<Module>,
    known: UnwinderNative<Bytes, MayAllocateDuringUnwind>,
    cache: CacheNative<MayAllocateDuringUnwind>,
    steps_left: usize,
}

impl Unwinder {
    pub(super) fn new(memory: File, modules: Vec<Module>) -> Unwinder {
        let mut known = UnwinderNative::new();
        for module in &modules {
            let range = |section: &Option<Section>| section.as_ref().map(|it| it.range.clone());
            let bytes = |section: &Option<Section>| Some(section.as_ref()?.bytes.clone());
            known.add_module(Known::new(
                module.name.clone(),
                module.range.clone(),
                module.bias,
                ExplicitModuleSectionInfo {
                    eh_frame_hdr_svma: range(&module.index),
                    eh_frame_hdr: bytes(&module.index),
                    eh_frame_svma: range(&module.frames),
                    eh_frame: bytes(&module.frames),
                    ..ExplicitModuleSectionInfo::default()
                },
            ));
        }
        Unwinder {
            memory,
            modules,
            known,
            cache: CacheNative::default(),
            steps_left: 0,
        }
    }

    pub(super) fn into_modules(self) -> Vec<Module> {
        self.modules
    }

    pub(super) fn module_of(&self, address: u64) -> Option<&Module> {
        let mut modules = self.modules.iter();
        modules.find(|module| module.range.contains(&address))
    }

    pub(super) fn walk(&mut self, image: &Image) -> Walk {
        self.steps_left = MOST_STEPS;
        let registers = image.registers;
        let start = FrameAddress::from_instruction_pointer(registers.pc);
        let (mut walk, stopped) = self.walk_from(image, start, registers);
        if registers.fp.is_none() && !walk.is_done() {
            let sure = walk.addresses.len();
            if let Some(further) = self.compute(image, &walk, stopped) {
                walk = further;
            }
            if !walk.is_done() {
                walk = self.guess(image, sure).unwrap_or(walk);
            }
        }
        if walk.is_done() {
            return walk;
        }
        self.scan(image).unwrap_or(walk)
    }

    /// Also returns where the walk has stopped, and what the stack pointer is there.
    fn walk_from(
        &mut self,
        image: &Image,
        start: FrameAddress,
        registers: Registers,
    ) -> (Walk, (FrameAddress, u64)) {
        let mut walk = Walk::default();
        let mut registers = native(registers);
        let mut frame = start;
        let mut sp = registers.sp();
        let beyond = image.end().saturating_sub(7)..image.end().saturating_add(LARGEST_FRAME);
        while walk.addresses.len() < MOST_FRAMES {
            walk.addresses.push(frame.address_for_lookup());
            sp = registers.sp();
            let mut read = |address| {
                let word = image.word(address).ok_or(());
                walk.ran_out = word.is_err() && beyond.contains(&address);
                word
            };
            let next = self
                .known
                .unwind_frame(frame, &mut registers, &mut self.cache, &mut read);
            match next.map(|next| next.map(FrameAddress::from_return_address)) {
                Ok(Some(Some(next))) => frame = next,
                Ok(None) => {
                    walk.complete = self.is_outermost(frame);
                    break;
                }
                Ok(Some(None)) | Err(_) => break,
            }
        }
        walk.ran_out &= !walk.complete;
        walk.ran_out |= walk.addresses.len() == MOST_FRAMES;
        self.steps_left = self.steps_left.saturating_sub(walk.addresses.len());
        (walk, (frame, sp))
    }

    /// Goes on where the walk has stopped, with the frame pointer that the function there has.
    fn compute(
        &mut self,
        image: &Image,
        plain: &Walk,
        (frame, sp): (FrameAddress, u64),
    ) -> Option<Walk> {
        let function = self.function_of(frame.address_for_lookup())?;
        let mut code = [0; prologue::LONGEST];
        self.memory.read_exact_at(&mut code, function).ok()?;
        let registers = Registers {
            pc: frame.address(),
            sp,
            fp: Some(sp.checked_add(prologue::frame_size(&code)?)?),
            lr: NOWHERE,
        };
        let (mut rest, _) = self.walk_from(image, frame, registers);
        if !rest.complete {
            // Nothing has proven it right but the calls themselves.
            let mut callers = rest.addresses.iter().skip(1);
            let wrong = callers.position(|caller| !self.is_return_address(*caller + 1));
            if let Some(wrong) = wrong {
                rest.addresses.truncate(1 + wrong);
                rest.ran_out = false;
            }
        }
        let known = plain.addresses.split_last()?.1;
        (rest.addresses.len() > 1).then(|| Walk {
            addresses: [known, &rest.addresses].concat(),
            ..rest
        })
    }

    /// Whether the tables say that nothing has called this, whatever is in the registers and on the
    /// stack.
    fn is_outermost(&mut self, frame: FrameAddress) -> bool {
        let mut registers = native(Registers {
            pc: frame.address(),
            sp: NOWHERE,
            fp: Some(NOWHERE),
            lr: NOWHERE,
        });
        let mut nothing = |_| Err(());
        let next = self
            .known
            .unwind_frame(frame, &mut registers, &mut self.cache, &mut nothing);
        matches!(next, Ok(None))
    }

    /// Tries every place of the stack that the frame pointer could point to. It has to lead to the
    /// outermost call, or out of what was copied, and the calls in the code should be to the functions
    /// that are there: most of all the one to the function that uses the frame pointer, the last of
    /// `sure`.
    fn guess(&mut self, image: &Image, sure: usize) -> Option<Walk> {
        let mut best: Option<((usize, bool), Walk)> = None;
        for place in words(image) {
            if self.steps_left == 0 {
                break;
            }
            if !self.is_return_address(image.word(place + 8)?) {
                continue;
            }
            let registers = Registers {
                fp: Some(place),
                ..image.registers
            };
            let start = FrameAddress::from_instruction_pointer(registers.pc);
            let (walk, _) = self.walk_from(image, start, registers);
            if !walk.is_done() {
                continue;
            }
            let calls = self.calls(&walk);
            let wrong = calls.iter().filter(|call| **call == Some(false)).count();
            let proven = calls.get(sure.saturating_sub(1)) == Some(&Some(true));
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

    /// Searches for a return address from which the outermost call is reached.
    fn scan(&mut self, image: &Image) -> Option<Walk> {
        for place in words(image) {
            if self.steps_left == 0 {
                break;
            }
            let word = image.word(place)?;
            let Some(start) = FrameAddress::from_return_address(word) else {
                continue;
            };
            if !self.is_return_address(word) {
                continue;
            }
            let registers = Registers {
                pc: word,
                sp: place + 8,
                fp: Some(NOWHERE),
                lr: NOWHERE,
            };
            let (mut walk, _) = self.walk_from(image, start, registers);
            if walk.complete {
                walk.addresses.insert(0, image.registers.pc);
                walk.scanned = true;
                return Some(walk);
            }
        }
        None
    }

    /// For each call, whether it is to the function that is there; `None` if the code does not say
    /// whom it calls.
    fn calls(&self, walk: &Walk) -> Vec<Option<bool>> {
        let pairs = walk.addresses.iter().zip(walk.addresses.iter().skip(1));
        let calls = pairs.map(|(callee, caller)| {
            // What is looked up of a caller is just before the return address.
            let returns_to = *caller + 1;
            match self.call_before(returns_to)? {
                Call::Direct(distance) => {
                    let called = returns_to.wrapping_add_signed(distance);
                    Some(called == self.function_of(*callee)?)
                }
                Call::Indirect => None,
            }
        });
        calls.collect()
    }

    fn is_return_address(&mut self, word: u64) -> bool {
        let code = |module: &Module| module.code.iter().any(|code| code.contains(&word));
        if !self.module_of(word).is_some_and(code) {
            return false;
        }
        // It costs about as much.
        self.steps_left = self.steps_left.saturating_sub(1);
        self.call_before(word).is_some()
    }

    fn call_before(&self, address: u64) -> Option<Call> {
        let mut bytes = [0; calls::LONGEST];
        let at = address.checked_sub(calls::LONGEST as u64)?;
        self.memory.read_exact_at(&mut bytes, at).ok()?;
        calls::call_before(&bytes)
    }

    fn function_of(&self, address: u64) -> Option<u64> {
        let module = self.module_of(address)?;
        let function = module.function_of(address.wrapping_sub(module.bias))?;
        Some(function.wrapping_add(module.bias))
    }
}

/// The places of the stack that hold a whole word.
fn words(image: &Image) -> impl Iterator<Item = u64> + use<> {
    let first = image.registers.sp.next_multiple_of(8);
    (first..image.end().saturating_sub(8)).step_by(8)
}

#[cfg(target_arch = "x86_64")]
fn native(registers: Registers) -> UnwindRegsNative {
    let fp = registers.fp.unwrap_or(NOWHERE);
    UnwindRegsNative::new(registers.pc, registers.sp, fp)
}

/// Return addresses may be signed in the bits that are no part of an address.
#[cfg(target_arch = "aarch64")]
fn native(registers: Registers) -> UnwindRegsNative {
    const ADDRESS: framehop::aarch64::PtrAuthMask = framehop::aarch64::PtrAuthMask((1 << 48) - 1);
    let fp = registers.fp.unwrap_or(NOWHERE);
    UnwindRegsNative::new_with_ptr_auth_mask(ADDRESS, registers.lr, registers.sp, fp)
}

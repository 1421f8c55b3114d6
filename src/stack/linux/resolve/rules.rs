//! Computes the registers of a caller from those of its callee, by the rules in the unwind table, which
//! compilers write for exceptions. Which calls follow each other is in `unwind.rs`.

use std::rc::Rc;

use addr2line::gimli::{
    BaseAddresses, CfaRule, EhFrame, EhFrameOffset, Encoding, EvaluationResult, Expression,
    Location, Reader, Register, RegisterRule, UnwindContext, UnwindExpression, UnwindSection,
    Value,
};

use super::modules::{Module, Section};
use super::window::Window;
use crate::stack::linux::image::Image;

/// The DWARF numbers of the registers that show where a thread is, and of those that calls preserve.
#[cfg(target_arch = "x86_64")]
pub(super) mod number {
    pub(in crate::stack::linux) const SP: u16 = 7;
    pub(in crate::stack::linux) const FP: u16 = 6;
    /// The return address.
    pub(in crate::stack::linux) const RA: u16 = 16;
    pub(in crate::stack::linux) const KEPT: &[u16] = &[3, 6, 12, 13, 14, 15];
}
#[cfg(target_arch = "aarch64")]
pub(super) mod number {
    pub(in crate::stack::linux) const SP: u16 = 31;
    pub(in crate::stack::linux) const FP: u16 = 29;
    pub(in crate::stack::linux) const RA: u16 = 30;
    pub(in crate::stack::linux) const KEPT: &[u16] = &[19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29];
}

/// The registers that carry an exception to its handler. No call preserves them.
const OF_EXCEPTIONS: [Register; 2] = [Register(0), Register(1)];

/// Bounds the evaluation of one expression. Those of compilers take fewer steps.
const MAX_STEPS: u32 = 256;

/// The registers whose values are known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Values([Option<u64>; 32]);

impl Values {
    pub(super) fn get(&self, register: u16) -> Option<u64> {
        *self.0.get(usize::from(register))?
    }

    fn known(&self, register: u16) -> Result<u64, Lost> {
        self.get(register).ok_or(Lost::Register(register))
    }

    pub(super) fn set(&mut self, register: u16, value: Option<u64>) {
        if let Some(place) = self.0.get_mut(usize::from(register)) {
            *place = value;
        }
    }
}

/// The rules at one address.
#[derive(Debug)]
pub(super) struct Rules {
    /// Computes the canonical frame address: the stack pointer before the call.
    frame: CfaRule<usize>,
    registers: Vec<(u16, RegisterRule<usize>)>,
    expressions: Window,
    encoding: Encoding,
    /// Whether a signal has interrupted the caller, instead of a call.
    pub(super) is_signal_frame: bool,
    /// Whether the function sets the stack to that of another call, where an exception is handled. While it
    /// does so, the stack belongs to neither.
    pub(super) is_unwinder: bool,
}

/// Why a caller cannot be computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lost {
    /// A rule needs a register that is not known.
    Register(u16),
    /// A rule needs the word at this address of the stack, which was not copied.
    Memory(u64),
    /// A rule is invalid.
    Rule,
}

impl Rules {
    /// Returns the rules at an address, which is relative to the module.
    pub(super) fn at(
        module: &Module,
        relative: u64,
        context: &mut UnwindContext<usize>,
    ) -> Option<Rules> {
        let Section { start, bytes } = module.frames.as_ref()?;
        let offset = module.index.as_ref()?.entry(relative)?.rules_at;
        let offset = usize::try_from(offset.checked_sub(*start)?).ok()?;
        let expressions = Window::from(Rc::clone(bytes));
        if offset >= expressions.len() {
            return None;
        }
        let mut table = EhFrame::from(expressions.clone());
        table.set_address_size(8);
        #[cfg(target_arch = "aarch64")]
        table.set_vendor(addr2line::gimli::Vendor::AArch64);
        let bases = BaseAddresses::default().set_eh_frame(*start);
        let cie = EhFrame::cie_from_offset;
        let entry = table.fde_from_offset(&bases, EhFrameOffset(offset), cie);
        let entry = entry.ok().filter(|entry| entry.contains(relative))?;
        if entry.cie().return_address_register() != Register(number::RA) {
            return None;
        }
        let mut rows = entry.rows(&table, &bases, context).ok()?;
        let (mut found, mut is_unwinder) = (None, false);
        while let Some(row) = rows.next_row().ok()? {
            is_unwinder |= row
                .registers()
                .any(|(register, _)| OF_EXCEPTIONS.contains(register));
            if row.contains(relative) {
                let registers = row
                    .registers()
                    .map(|(register, rule)| (register.0, rule.clone()));
                found = Some((row.cfa().clone(), registers.collect()));
            }
        }
        let (frame, registers) = found?;
        Some(Rules {
            frame,
            registers,
            expressions,
            encoding: entry.cie().encoding(),
            is_signal_frame: entry.is_signal_trampoline(),
            // A signal frame has a rule for every register.
            is_unwinder: is_unwinder && !entry.is_signal_trampoline(),
        })
    }

    /// Whether the function has no caller, which is so if there is no rule for the return address. On AArch64
    /// a leaf function has none either. It can only be where the thread is, or where a signal has interrupted it.
    pub(super) fn is_outermost(&self, may_be_leaf: bool) -> bool {
        let may_be_leaf = may_be_leaf && cfg!(target_arch = "aarch64");
        !self.has_rule_for(number::RA) && !may_be_leaf
    }

    fn has_rule_for(&self, register: u16) -> bool {
        self.registers.iter().any(|(other, _)| *other == register)
    }

    /// Returns the registers of the caller, with the address at which it continues as `RA`.
    pub(super) fn caller(&self, here: &Values, image: &Image) -> Result<Values, Lost> {
        let frame = match &self.frame {
            CfaRule::RegisterAndOffset { register, offset } => {
                let value = here.known(register.0)?;
                value.checked_add_signed(*offset).ok_or(Lost::Rule)?
            }
            CfaRule::Expression(expression) => self.evaluate(expression, None, here, image)?,
        };
        let mut there = Values::default();
        for &kept in number::KEPT {
            there.set(kept, here.get(kept));
        }
        there.set(number::RA, here.get(number::RA));
        for (register, rule) in &self.registers {
            let value = self.value(*register, rule, frame, here, image);
            match value {
                Err(lost) if *register == number::RA => return Err(lost),
                value => there.set(*register, value.ok()),
            }
        }
        // Without a rule, the stack pointer is the frame address.
        if !self.has_rule_for(number::SP) {
            there.set(number::SP, Some(frame));
        }
        Ok(there)
    }

    fn value(
        &self,
        register: u16,
        rule: &RegisterRule<usize>,
        frame: u64,
        here: &Values,
        image: &Image,
    ) -> Result<u64, Lost> {
        let at = |offset: &i64| frame.checked_add_signed(*offset).ok_or(Lost::Rule);
        let evaluate = |expression| self.evaluate(expression, Some(frame), here, image);
        match rule {
            RegisterRule::SameValue => here.known(register),
            RegisterRule::Register(other) => here.known(other.0),
            RegisterRule::ValOffset(offset) => at(offset),
            RegisterRule::Constant(value) => Ok(*value),
            RegisterRule::Offset(offset) => word(image, at(offset)?),
            RegisterRule::Expression(expression) => word(image, evaluate(expression)?),
            RegisterRule::ValExpression(expression) => evaluate(expression),
            _ => Err(Lost::Rule),
        }
    }

    fn evaluate(
        &self,
        expression: &UnwindExpression<usize>,
        frame: Option<u64>,
        here: &Values,
        image: &Image,
    ) -> Result<u64, Lost> {
        let (at, size) = (expression.offset as u64, expression.length as u64);
        let bytes = self.expressions.part(at, size).ok_or(Lost::Rule)?;
        let mut steps = Expression(bytes).evaluation(self.encoding);
        steps.set_max_iterations(MAX_STEPS);
        if let Some(frame) = frame {
            steps.set_initial_value(frame);
        }
        let mut state = steps.evaluate();
        loop {
            state = match state.map_err(|_| Lost::Rule)? {
                EvaluationResult::Complete => break,
                EvaluationResult::RequiresRegister { register, .. } => {
                    steps.resume_with_register(Value::Generic(here.known(register.0)?))
                }
                EvaluationResult::RequiresMemory {
                    address,
                    size: 8,
                    space: None,
                    ..
                } => steps.resume_with_memory(Value::Generic(word(image, address)?)),
                _ => return Err(Lost::Rule),
            };
        }
        match steps.as_result().last().map(|piece| &piece.location) {
            Some(Location::Address { address }) => Ok(*address),
            _ => Err(Lost::Rule),
        }
    }
}

/// Reads the stack.
fn word(image: &Image, at: u64) -> Result<u64, Lost> {
    image.word(at).ok_or(Lost::Memory(at))
}

//! Decodes call instructions: a word on the stack can be a return address only if there is a call before
//! the address.

/// A call instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    /// Calls what is this far from the return address.
    Direct(i64),
    Indirect,
}

/// The size of the longest call instruction, in bytes.
#[cfg(target_arch = "x86_64")]
pub(super) const LONGEST: usize = 7;

/// Returns the call that `bytes` end with.
#[cfg(target_arch = "x86_64")]
pub(super) fn call_before(bytes: &[u8; LONGEST]) -> Option<Call> {
    const DIRECT: u8 = 0xe8;
    const INDIRECT: u8 = 0xff;
    if let [_, _, DIRECT, distance @ ..] = bytes {
        return Some(Call::Direct(i32::from_le_bytes(*distance).into()));
    }
    let indirect = (2..=LONGEST).any(|length| match bytes[LONGEST - length..] {
        [INDIRECT, mod_rm, ref rest @ ..] => is_call_operand(mod_rm, rest),
        _ => false,
    });
    indirect.then_some(Call::Indirect)
}

/// Whether these bytes are the whole operand of an indirect call: ModRM, SIB and displacement, by the
/// processor's manual.
#[cfg(target_arch = "x86_64")]
fn is_call_operand(mod_rm: u8, rest: &[u8]) -> bool {
    const CALL: u8 = 2;
    let (mode, extension, register) = (mod_rm >> 6, mod_rm >> 3 & 7, mod_rm & 7);
    let has_sib = mode != 3 && register == 4;
    let has_no_base = register == 5 || has_sib && rest.first().is_some_and(|sib| sib & 7 == 5);
    let displacement = match mode {
        1 => 1,
        2 => 4,
        0 if has_no_base => 4,
        _ => 0,
    };
    extension == CALL && rest.len() == usize::from(has_sib) + displacement
}

#[cfg(target_arch = "aarch64")]
pub(super) const LONGEST: usize = 4;

/// Returns the call that `bytes` are.
#[cfg(target_arch = "aarch64")]
pub(super) fn call_before(bytes: &[u8; LONGEST]) -> Option<Call> {
    let instruction = u32::from_le_bytes(*bytes);
    if instruction & 0xfc00_0000 == 0x9400_0000 {
        // The operand has 26 bits, with a sign, and counts words from the instruction.
        let words = (instruction << 6) as i32 >> 6;
        return Some(Call::Direct(i64::from(words) * 4 - 4));
    }
    (instruction & 0xffff_fc1f == 0xd63f_0000).then_some(Call::Indirect)
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    #[test]
    fn decodes_calls() {
        let call = |code: &[u8]| {
            let mut bytes = [0x90; LONGEST];
            bytes[LONGEST - code.len()..].copy_from_slice(code);
            call_before(&bytes)
        };
        let to = |distance| Some(Call::Direct(distance));
        for (code, expected) in [
            (&[0xe8, 0x10, 0, 0, 0][..], to(16)),
            (&[0xe8, 0xf0, 0xff, 0xff, 0xff], to(-16)),
            // call rax; call r11; call [rax]; call [rip+…]; call [rax+8]; call [rax+…]
            (&[0xff, 0xd0], Some(Call::Indirect)),
            (&[0x41, 0xff, 0xd3], Some(Call::Indirect)),
            (&[0xff, 0x10], Some(Call::Indirect)),
            (&[0xff, 0x15, 1, 2, 3, 4], Some(Call::Indirect)),
            (&[0xff, 0x50, 8], Some(Call::Indirect)),
            (&[0xff, 0x90, 1, 2, 3, 4], Some(Call::Indirect)),
            // call [rax+rcx*8]; call [rsp+8]; call [rcx*8+…]
            (&[0xff, 0x14, 0xc8], Some(Call::Indirect)),
            (&[0xff, 0x54, 0x24, 8], Some(Call::Indirect)),
            (&[0xff, 0x14, 0xcd, 1, 2, 3, 4], Some(Call::Indirect)),
            // jmp rax; push [rax]; ret; call rax and one more
            (&[0xff, 0xe0], None),
            (&[0xff, 0x30], None),
            (&[0xc3], None),
            (&[0xff, 0xd0, 0x90], None),
        ] {
            assert_eq!(call(code), expected, "{code:x?}");
        }
    }
}

//! Whether a word on the stack can be a return address: what is before it in the code is a call.

/// A call instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    /// To a place this far from the return address.
    Direct(i64),
    Indirect,
}

/// How many bytes before a return address have to be known.
#[cfg(target_arch = "x86_64")]
pub(super) const LONGEST: usize = 7;

/// The call that `bytes` end with.
#[cfg(target_arch = "x86_64")]
pub(super) fn call_before(bytes: &[u8; LONGEST]) -> Option<Call> {
    const DIRECT: u8 = 0xe8;
    const INDIRECT: u8 = 0xff;
    if let [_, _, DIRECT, distance @ ..] = bytes {
        return Some(Call::Direct(i32::from_le_bytes(*distance).into()));
    }
    let indirect = (2..=LONGEST).any(|length| match bytes[LONGEST - length..] {
        [INDIRECT, operand, ref rest @ ..] => {
            let (way, extension, register) = (operand >> 6, operand >> 3 & 7, operand & 7);
            // A further byte says how the address is put together.
            let is_put_together = way != 3 && register == 4;
            let from_nothing = way == 0
                && (register == 5
                    || is_put_together && rest.first().is_some_and(|more| more & 7 == 5));
            let distance = match way {
                1 => 1,
                2 => 4,
                _ if from_nothing => 4,
                _ => 0,
            };
            extension == 2 && rest.len() == usize::from(is_put_together) + distance
        }
        _ => false,
    });
    indirect.then_some(Call::Indirect)
}

#[cfg(target_arch = "aarch64")]
pub(super) const LONGEST: usize = 4;

/// The call that `bytes` are.
#[cfg(target_arch = "aarch64")]
pub(super) fn call_before(bytes: &[u8; LONGEST]) -> Option<Call> {
    let instruction = u32::from_le_bytes(*bytes);
    if instruction & 0xfc00_0000 == 0x9400_0000 {
        // 26 bits with a sign, in words, from the instruction itself.
        let words = (instruction << 6) as i32 >> 6;
        return Some(Call::Direct(i64::from(words) * 4 - 4));
    }
    (instruction & 0xffff_fc1f == 0xd63f_0000).then_some(Call::Indirect)
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    #[test]
    fn knows_calls() {
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

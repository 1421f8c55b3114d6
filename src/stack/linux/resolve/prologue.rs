//! Computes a function's stack frame from the instructions that the function begins with.
//!
//! `/proc` shows the stack pointer of a blocked thread, but not its frame pointer. A function that uses a
//! frame pointer sets it up first, and then allocates its stack frame, whose size is in the code.

/// How much of a function's code is decoded, in bytes.
pub(super) const LONGEST: usize = 64;

/// What a function uses of the stack while it calls another, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StackFrame {
    /// How far the frame pointer is above the stack pointer. It points to the caller's, and the return address
    /// follows.
    pub(super) pointer: u64,
    /// How far the caller's stack pointer is above the function's.
    pub(super) size: u64,
}

/// Returns `None` if the function does not begin as compilers mostly generate it, with a frame pointer.
#[cfg(target_arch = "x86_64")]
pub(super) fn stack_frame(code: &[u8; LONGEST]) -> Option<StackFrame> {
    let pointer = frame_pointer(code)?;
    // The caller's frame pointer and the return address.
    let size = pointer.checked_add(16)?;
    Some(StackFrame { pointer, size })
}

#[cfg(target_arch = "x86_64")]
fn frame_pointer(code: &[u8; LONGEST]) -> Option<u64> {
    const LANDING_PAD: &[u8] = &[0xf3, 0x0f, 0x1e, 0xfa];
    // push rbp; mov rbp, rsp
    const SET_UP: &[u8] = &[0x55, 0x48, 0x89, 0xe5];
    let code = code.strip_prefix(LANDING_PAD).unwrap_or(code);
    let mut code = code.strip_prefix(SET_UP)?;
    let mut size = 0_u64;
    loop {
        match code {
            // push of a register: of the first eight, of the others
            [0x50..=0x57, rest @ ..] | [0x41, 0x50..=0x57, rest @ ..] => {
                size += 8;
                code = rest;
            }
            // sub rsp, which comes last
            [0x48, 0x83, 0xec, room, ..] => return Some(size + u64::from(*room)),
            [0x48, 0x81, 0xec, a, b, c, d, ..] => {
                return Some(size + u64::from(u32::from_le_bytes([*a, *b, *c, *d])));
            }
            // and rsp, which takes an unknown number of bytes
            [0x48, 0x83 | 0x81, 0xe4, ..] | [] => return None,
            _ => return Some(size),
        }
    }
}

/// Returns `None` if the function does not begin as compilers mostly generate it, with a frame pointer.
#[cfg(target_arch = "aarch64")]
pub(super) fn stack_frame(code: &[u8; LONGEST]) -> Option<StackFrame> {
    let mut size = 0_u64;
    // How far the saved frame pointer and return address are below the caller's stack pointer.
    let mut saved = None;
    let words = code.chunks_exact(4).filter_map(<[u8]>::first_chunk);
    for word in words.copied().map(u32::from_le_bytes) {
        let is_pair = word & 31 == 29 && word >> 10 & 31 == 30;
        let pair_at = i64::from((word << 10) as i32 >> 25) * 8;
        match word & 0xffc0_03e0 {
            // stp, of general or floating-point registers, at a lower stack pointer
            0xa980_03e0 | 0x6d80_03e0 => {
                size = size.checked_add_signed(-pair_at)?;
                saved = saved.or(is_pair.then_some(size));
            }
            // stp
            0xa900_03e0 if is_pair => saved = Some(size.checked_add_signed(-pair_at)?),
            // stp; str
            0xa900_03e0 | 0x6d00_03e0 | 0xf900_03e0 => {}
            // str, at a lower stack pointer
            _ if word & 0xffe0_0fe0 == 0xf800_0fe0 => {
                let at = i64::from((word << 11) as i32 >> 23);
                size = size.checked_add_signed(-at)?;
            }
            // sub sp, sp
            _ if word & 0xff80_03ff == 0xd100_03ff => {
                let room = u64::from(word >> 10 & 0xfff) << (12 * (word >> 22 & 1));
                size = size.checked_add(room)?;
            }
            // add x29, sp
            _ if word & 0xff80_03ff == 0x9100_03fd => {}
            // hints: nop, paciasp, bti c
            _ if matches!(word, 0xd503_201f | 0xd503_233f | 0xd503_245f) => {}
            _ => break,
        }
    }
    let pointer = size.checked_sub(saved?)?;
    Some(StackFrame { pointer, size })
}

#[cfg(all(test, target_arch = "aarch64"))]
mod tests {
    use super::*;

    #[test]
    fn adds_up_the_size_of_the_stack_frame() {
        let frame = |code: &[u32]| {
            let mut bytes = [0; LONGEST];
            for (place, word) in bytes.chunks_exact_mut(4).zip(code) {
                place.copy_from_slice(&word.to_le_bytes());
            }
            stack_frame(&bytes)
        };
        let is = |pointer, size| Some(StackFrame { pointer, size });
        for (code, expected) in [
            // stp x29, x30, [sp, #-32]!; str x19, [sp, #16]; mov x29, sp
            (&[0xa9be_7bfd, 0xf900_0bf3, 0x9100_03fd][..], is(0, 32)),
            // paciasp first; sub sp, sp, #4096 last
            (
                &[0xd503_233f, 0xa9be_7bfd, 0x9100_03fd, 0xd140_07ff],
                is(4096, 4128),
            ),
            // sub sp, sp, #96; stp x29, x30, [sp, #80]; add x29, sp, #80
            (&[0xd101_83ff, 0xa905_7bfd, 0x9101_43fd], is(80, 96)),
            // str x28, [sp, #-32]!; stp x29, x30, [sp, #16]
            (&[0xf81e_0ffc, 0xa901_7bfd], is(16, 32)),
            // sub sp, sp, #16: no frame pointer
            (&[0xd100_43ff], None),
            (&[], None),
        ] {
            assert_eq!(frame(code), expected, "{code:x?}");
        }
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    #[test]
    fn adds_up_the_size_of_the_stack_frame() {
        let size = |code: &[u8]| {
            let mut bytes = [0x90; LONGEST];
            bytes[..code.len()].copy_from_slice(code);
            stack_frame(&bytes).map(|frame| frame.pointer)
        };
        for (code, expected) in [
            (&[0x55, 0x48, 0x89, 0xe5][..], Some(0)),
            // push r15; push r14; push rbx; sub rsp, 24
            (
                &[
                    0x55, 0x48, 0x89, 0xe5, 0x41, 0x57, 0x41, 0x56, 0x53, 0x48, 0x83, 0xec, 24,
                ],
                Some(48),
            ),
            // endbr64 first; sub rsp, 0x120
            (
                &[
                    0xf3, 0x0f, 0x1e, 0xfa, 0x55, 0x48, 0x89, 0xe5, 0x48, 0x81, 0xec, 0x20, 1, 0, 0,
                ],
                Some(0x120),
            ),
            // and rsp, -32
            (&[0x55, 0x48, 0x89, 0xe5, 0x48, 0x83, 0xe4, 0xe0], None),
            // push rbx; no frame pointer
            (&[0x53, 0x48, 0x83, 0xec, 16], None),
        ] {
            assert_eq!(size(code), expected, "{code:x?}");
        }
    }
}

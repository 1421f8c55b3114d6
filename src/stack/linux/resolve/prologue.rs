//! Computes a function's frame pointer from the instructions that the function begins with.
//!
//! `/proc` shows the stack pointer of a blocked thread, but not its frame pointer. A function that uses a
//! frame pointer sets it up first, and then allocates its stack frame, whose size is in the code.

/// How much of a function's code is decoded, in bytes.
pub(super) const LONGEST: usize = 40;

/// Returns how far the frame pointer is above the stack pointer while the function calls another, in bytes.
/// Returns `None` if the function does not begin as compilers mostly generate it.
pub(super) fn frame_size(code: &[u8; LONGEST]) -> Option<u64> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_up_the_size_of_the_stack_frame() {
        let size = |code: &[u8]| {
            let mut bytes = [0x90; LONGEST];
            bytes[..code.len()].copy_from_slice(code);
            frame_size(&bytes)
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

//! Code without unwind tables.

use std::arch::global_asm;

use super::*;

// Code without unwind tables: a loop in a leaf; one that uses much of the stack, and the frame pointer for
// something else; one that calls the first; and one that calls back.
#[cfg(target_arch = "x86_64")]
global_asm!(
    ".text",
    ".globl loopmon_test_leaf",
    ".type loopmon_test_leaf,@function",
    "loopmon_test_leaf:",
    "2: movzx eax, byte ptr [rdi]",
    "test eax, eax",
    "je 2b",
    "ret",
    ".globl loopmon_test_frame",
    ".type loopmon_test_frame,@function",
    "loopmon_test_frame:",
    "push rbx",
    "push rbp",
    "mov rbp, 0x1234567",
    "sub rsp, 4096",
    "2: movzx eax, byte ptr [rdi]",
    "test eax, eax",
    "je 2b",
    "add rsp, 4096",
    "pop rbp",
    "pop rbx",
    "ret",
    ".globl loopmon_test_calls",
    ".type loopmon_test_calls,@function",
    "loopmon_test_calls:",
    "push rbx",
    "sub rsp, 2048",
    "call loopmon_test_leaf",
    "add rsp, 2048",
    "pop rbx",
    "ret",
    ".globl loopmon_test_calls_back",
    ".type loopmon_test_calls_back,@function",
    "loopmon_test_calls_back:",
    "push rbp",
    "mov rbp, rdi",
    "sub rsp, 256",
    "call rdi",
    "add rsp, 256",
    "pop rbp",
    "ret",
);

#[cfg(target_arch = "aarch64")]
global_asm!(
    ".text",
    ".globl loopmon_test_leaf",
    ".type loopmon_test_leaf,@function",
    "loopmon_test_leaf:",
    "2: ldrb w1, [x0]",
    "cbz w1, 2b",
    "ret",
    ".globl loopmon_test_frame",
    ".type loopmon_test_frame,@function",
    "loopmon_test_frame:",
    "stp x29, x30, [sp, #-16]!",
    "mov x29, #0x1234",
    "sub sp, sp, #4080",
    "2: ldrb w1, [x0]",
    "cbz w1, 2b",
    "add sp, sp, #4080",
    "ldp x29, x30, [sp], #16",
    "ret",
    ".globl loopmon_test_calls",
    ".type loopmon_test_calls,@function",
    "loopmon_test_calls:",
    "stp x29, x30, [sp, #-16]!",
    "sub sp, sp, #2048",
    "bl loopmon_test_leaf",
    "add sp, sp, #2048",
    "ldp x29, x30, [sp], #16",
    "ret",
    ".globl loopmon_test_calls_back",
    ".type loopmon_test_calls_back,@function",
    "loopmon_test_calls_back:",
    "stp x29, x30, [sp, #-16]!",
    "mov x29, x0",
    "sub sp, sp, #256",
    "blr x0",
    "add sp, sp, #256",
    "ldp x29, x30, [sp], #16",
    "ret",
);

type Waits = unsafe extern "C" fn(*const AtomicBool);

unsafe extern "C" {
    fn loopmon_test_leaf(until: *const AtomicBool);
    fn loopmon_test_frame(until: *const AtomicBool);
    fn loopmon_test_calls(until: *const AtomicBool);
    fn loopmon_test_calls_back(work: extern "C" fn());
}

#[inline(never)]
fn inner(waits: Waits, until: &AtomicBool) {
    let room = black_box([1_u8; 40]);
    // SAFETY: each of them takes this pointer.
    unsafe { waits(until) };
    black_box(room);
}

#[inline(never)]
fn outer(waits: Waits, until: &AtomicBool) {
    // A call that has returned leaves its return addresses behind.
    black_box(descends(6));
    let room = black_box([1_u8; 72]);
    inner(waits, until);
    black_box(room);
}

#[inline(never)]
fn descends(left: u32) -> u32 {
    let room = black_box([left; 64]);
    let below = left.checked_sub(1).map_or(1, descends);
    black_box(below + room[3])
}

#[test]
fn a_function_is_shown_or_missed() {
    for (name, waits) in [
        ("leaf", loopmon_test_leaf as Waits),
        ("frame", loopmon_test_frame),
        ("calls", loopmon_test_calls),
    ] {
        let subject = Subject::start(move |until| outer(waits, until));
        thread::sleep(SECOND / 20);
        let trace = loop {
            if let Ok(stack) = asked(subject.id) {
                break read(Ok(stack), &mut Resolver::default());
            }
        };
        let names: Vec<_> = trace.frames().iter().filter_map(Frame::function).collect();
        let at = |end| names.iter().position(|name| name.ends_with(end));
        assert!(
            at("inner").is_some() && at("inner") < at("outer"),
            "{name}: {trace:#}"
        );
        assert_eq!(at("descends"), None, "{name}: {trace:#}");
        assert!(is_flagged(&trace), "{name}: {trace:#}");
        assert!(!trace.is_truncated(), "{name}: {trace:#}");
        subject.end();
    }
}

extern "C" fn called_back() {
    allocates();
}

#[test]
fn while_it_calls_back() {
    none_is_wrong(|| {
        // SAFETY: it only calls the function it is given.
        unsafe { loopmon_test_calls_back(called_back) };
    });
}

//! How much of the stack the handler takes.

use super::*;

/// Returns how many bytes of the calling thread's alternate stack `handle` uses.
fn used(handle: impl Fn()) -> usize {
    const PAINT: u8 = 0xa5;
    // Read through the kernel, as valgrind forbids the program to read an unused stack.
    let memory = File::options()
        .read(true)
        .write(true)
        .open("/proc/self/mem")
        .unwrap();
    let stack = alternate::current().unwrap();
    let mut bytes = vec![PAINT; stack.ss_size];
    // The first run sets up what is set up once.
    handle();
    memory
        .write_all_at(&bytes, stack.ss_sp.addr() as u64)
        .unwrap();
    handle();
    memory
        .read_exact_at(&mut bytes, stack.ss_sp.addr() as u64)
        .unwrap();
    stack.ss_size - bytes.iter().position(|byte| *byte != PAINT).unwrap()
}

extern "C" fn nothing(_: c_int) {}

#[track_caller]
fn assert_has_room(what: &str) {
    const OURS: c_int = 61;
    const BARE: c_int = 62;
    introduce();
    let memory = || File::open("/proc/self/mem").ok();
    let bare = used(|| {
        set_with(BARE, libc::SA_ONSTACK, nothing);
        send(own_id(), BARE).unwrap();
    });
    let all = used(|| {
        let reply = signal(OURS).ask(own_id(), Question::new(memory(), 1 << 16));
        assert!(reply.is_ok(), "{reply:?}");
    });
    let frame = alternate::frame();
    println!("{what}: {all} bytes, {bare} of them the kernel's, which may be {frame}");
    assert!(bare <= frame, "{what}: {bare}");
    assert!(all - bare <= alternate::HANDLER_BYTES, "{what}: {all}");
}

#[test]
fn the_handler_takes_no_more_of_the_stack_than_it_is_given_room_for() {
    assert_has_room("as it is");
    #[cfg(target_arch = "x86_64")]
    if may_use_amx() {
        use_amx();
        assert_has_room("with AMX in use");
    }
}

/// Asks the kernel to allow it to the whole process.
#[cfg(target_arch = "x86_64")]
fn may_use_amx() -> bool {
    const REQUEST: c_int = 0x1023;
    const TILE_DATA: c_int = 18;
    // SAFETY: it takes two integers.
    unsafe { libc::syscall(libc::SYS_arch_prctl, REQUEST, TILE_DATA) == 0 }
}

/// Makes the kernel save tiles for this thread from here on.
#[cfg(target_arch = "x86_64")]
fn use_amx() {
    #[repr(align(64))]
    struct Tiles([u8; 64]);
    let mut tiles = Tiles([0; 64]);
    // Palette 1; one tile of 16 rows, of 64 bytes each.
    tiles.0[0] = 1;
    tiles.0[16] = 64;
    tiles.0[48] = 16;
    // SAFETY: the processor has these instructions, as the kernel allows them.
    unsafe {
        std::arch::asm!(
            "ldtilecfg [{tiles}]",
            // tilezero tmm0
            ".byte 0xc4, 0xe2, 0x7b, 0x49, 0xc0",
            tiles = in(reg) &raw const tiles,
            options(nostack),
        );
    }
}

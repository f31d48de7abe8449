//! The freestanding program of the last stage: compiled by build.rs to a flat image, put into a sealed
//! memfd together with its plan (image.rs) and executed by init. It has no libc, no heap, no data segment.
#![no_std]
#![no_main]
// layout.rs and raw.rs also serve the runtime's side.
#![allow(dead_code)]

mod hooks;
mod layout;
mod raw;
mod stage;

core::arch::global_asm!(
    ".section .text.start,\"ax\"",
    ".globl _start",
    "_start:",
    #[cfg(target_arch = "x86_64")]
    "xor ebp, ebp; mov rdi, rsp; and rsp, -16; call {main}; ud2",
    #[cfg(target_arch = "aarch64")]
    "mov x0, sp; bl {main}; brk 1",
    main = sym main,
);

/// `stack` points at argc and argv as the kernel left them.
///
/// # Safety
/// Only `_start` calls it.
unsafe extern "C" fn main(stack: *const u64) -> ! {
    // SAFETY: at process start the stack holds argc, then argc pointers (System V ABI). The plan was
    // mapped at PLAN_ADDRESS by the program header that image.rs wrote.
    unsafe {
        if *stack == 0 || !is_ours(*stack.add(1) as *const u8) {
            raw::call(raw::nr::EXIT_GROUP, 126, 0, 0, 0);
        }
        stage::run(layout::PLAN_ADDRESS as *const layout::Plan)
    }
}

/// # Safety
/// `argv0` is a NUL-terminated string.
unsafe fn is_ours(argv0: *const u8) -> bool {
    let mut index = 0;
    while index < layout::ARGV0.len() {
        // SAFETY: both end in NUL, and the first difference stops the walk.
        if unsafe { *argv0.add(index) } != layout::ARGV0[index] {
            return false;
        }
        index += 1;
    }
    true
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {
        // SAFETY: exit_group takes a number.
        unsafe { raw::call(raw::nr::EXIT_GROUP, 125, 0, 0, 0) };
    }
}

/// # Safety
/// As memcpy(3).
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
    let mut index = 0;
    while index < count {
        // SAFETY: the caller vouches for `count` bytes at both ends. Volatile, lest this loop become a
        // call to itself.
        unsafe { to.add(index).write_volatile(from.add(index).read_volatile()) };
        index += 1;
    }
    to
}

/// # Safety
/// As memset(3).
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, value: i32, count: usize) -> *mut u8 {
    let mut index = 0;
    while index < count {
        // SAFETY: as memcpy.
        unsafe { to.add(index).write_volatile(value as u8) };
        index += 1;
    }
    to
}

/// # Safety
/// As memcmp(3).
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(left: *const u8, right: *const u8, count: usize) -> i32 {
    let mut index = 0;
    while index < count {
        // SAFETY: as memcpy.
        let (a, b) = unsafe { (left.add(index).read_volatile(), right.add(index).read_volatile()) };
        if a != b {
            return a as i32 - b as i32;
        }
        index += 1;
    }
    0
}

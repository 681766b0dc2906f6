//! Access to a packet's memory by words, wherever they begin.
//!
//! Headers begin two bytes behind a multiple of four. Compilers know no such access on this target
//! and would put every word together from its bytes; kernels that run on x86 or arm64 allow it.

use core::arch::asm;

/// Copies `len` bytes, which the compiler must know, from the packet at `from` to `to`.
///
/// # Safety
///
/// Both must have that many bytes.
#[inline(always)]
pub unsafe fn load(from: usize, to: *mut u8, len: usize) {
    let mut done = 0;
    // SAFETY: as the caller says.
    unsafe {
        while done + 4 <= len {
            let word: u64;
            asm!(
                "{0} = *(u32 *)({1} + 0)",
                out(reg) word,
                in(reg) from + done,
                options(nostack, readonly, pure),
            );
            to.add(done).cast::<u32>().write_unaligned(word as u32);
            done += 4;
        }
        while done < len {
            let byte = ((from + done) as *const u8).read();
            to.add(done).write(byte);
            done += 1;
        }
    }
}

/// Copies `len` bytes, which the compiler must know, from `from` to the packet at `to`.
///
/// # Safety
///
/// Both must have that many bytes, and the packet's must be writable.
#[inline(always)]
pub unsafe fn store(from: *const u8, to: usize, len: usize) {
    let mut done = 0;
    // SAFETY: as the caller says.
    unsafe {
        while done + 4 <= len {
            let word: u32 = from.add(done).cast::<u32>().read_unaligned();
            asm!(
                "*(u32 *)({0} + 0) = {1}",
                in(reg) to + done,
                in(reg) u64::from(word),
                options(nostack),
            );
            done += 4;
        }
        while done < len {
            ((to + done) as *mut u8).write(from.add(done).read());
            done += 1;
        }
    }
}

//! The system call ABIs: which ones a machine can run, their numbers, their argument width, and the calls
//! that 32-bit x86 reaches through socketcall(2) and ipc(2).
//!
//! Pure tables and look-ups.

use oci_spec::runtime::Arch;

use super::numbers::NUMBERS;

/// `__X32_SYSCALL_BIT`: x32 shares the audit word of x86_64 and is told apart by this bit of the number.
pub(super) const X32_BIT: u32 = 0x4000_0000;

/// Column that says how i386 reaches a call otherwise: 1..=20 within socketcall(2), 101.. within ipc(2).
const MULTIPLEXED: usize = 7;

/// `__ARM_NR_BASE` (arch/arm/include/uapi/asm/unistd.h).
const ARM_PRIVATE: u32 = 0x000f_0000;

/// One way of numbering system calls and passing their arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Abi {
    pub arch: Arch,
    /// `seccomp_data.arch`, AUDIT_ARCH_*.
    pub audit: u32,
    /// Added to each number of the table.
    pub base: u32,
    /// Whether arguments are compared in all 64 bits. Not so for x32: its int arguments come in 64-bit
    /// registers whose upper half the kernel ignores, so comparing it would let `socket(0x1_0000_0028)` by.
    pub wide: bool,
    /// Column of the number table.
    column: usize,
}

const fn abi(arch: Arch, audit: u32, wide: bool, column: usize) -> Abi {
    Abi { arch, audit, base: 0, wide, column }
}

const X86: [Abi; 3] = [
    abi(Arch::ScmpArchX86_64, 0xc000_003e, true, 0),
    Abi { base: X32_BIT, ..abi(Arch::ScmpArchX32, 0xc000_003e, false, 1) },
    abi(Arch::ScmpArchX86, 0x4000_0003, false, 2),
];
const ARM: [Abi; 2] =
    [abi(Arch::ScmpArchAarch64, 0xc000_00b7, true, 3), abi(Arch::ScmpArchArm, 0x4000_0028, false, 4)];
const RISCV: [Abi; 1] = [abi(Arch::ScmpArchRiscv64, 0xc000_00f3, true, 5)];
const LOONGARCH: [Abi; 1] = [abi(Arch::ScmpArchLoongarch64, 0xc000_0102, true, 6)];

/// Every ABI that a machine of the native architecture can run, the native one first. Empty: not supported.
pub(super) fn family(native: Arch) -> &'static [Abi] {
    match native {
        Arch::ScmpArchX86_64 => &X86,
        Arch::ScmpArchAarch64 => &ARM,
        Arch::ScmpArchRiscv64 => &RISCV,
        Arch::ScmpArchLoongarch64 => &LOONGARCH,
        _ => &[],
    }
}

/// The row of a name, none for a name that no architecture knows.
pub(super) fn row(name: &str) -> Option<usize> {
    NUMBERS.binary_search_by(|(known, _)| (*known).cmp(name)).ok()
}

/// The name of a row.
pub(super) fn name(row: usize) -> &'static str {
    NUMBERS.get(row).map_or("", |(name, _)| name)
}

impl Abi {
    /// The number of a call in this ABI, [`Abi::base`] included.
    pub fn number(&self, row: usize) -> Option<u32> {
        let (_, numbers) = NUMBERS.get(row)?;
        match *numbers.get(self.column)? {
            -1 => None,
            private @ ..-1 => Some(ARM_PRIVATE + u32::from(private.unsigned_abs()) - 1),
            number => Some(self.base + u32::from(number.unsigned_abs())),
        }
    }

    /// Whether a number belongs to the range that grows with new kernels.
    pub fn grows(&self, number: u32) -> bool {
        number < ARM_PRIVATE || self.base != 0
    }

    /// How else a call is reached in this ABI.
    pub fn multiplexed(&self, row: usize) -> Option<Multiplexed> {
        let (_, numbers) = NUMBERS.get(row)?;
        let code = u64::from(numbers.get(MULTIPLEXED)?.unsigned_abs());
        match code {
            _ if self.arch != Arch::ScmpArchX86 => None,
            100.. => {
                // ipc takes a version in the upper half of its first argument (ipc/syscall.c): masked off,
                // or `ipc(0x10015)` would be a shmat that no rule sees.
                Some(Multiplexed { number: 117, mask: 0xffff, call: code - 100 })
            }
            1.. => Some(Multiplexed { number: 102, mask: u64::MAX, call: code }),
            0 => None,
        }
    }
}

/// A call inside socketcall(2) or ipc(2): number of the outer one, and its first argument under a mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Multiplexed {
    pub number: u32,
    pub mask: u64,
    pub call: u64,
}

#[cfg(test)]
mod tests {
    use super::super::numbers::COLUMNS;
    use super::*;

    fn number(abi: &Abi, name: &str) -> Option<u32> {
        abi.number(row(name).unwrap())
    }

    #[test]
    fn rows_are_sorted_for_the_search() {
        assert!(NUMBERS.windows(2).all(|w| w[0].0 < w[1].0));
        assert!(NUMBERS.iter().enumerate().all(|(i, (name, _))| row(name) == Some(i)));
        assert_eq!(row("no_such_call"), None);
    }

    #[test]
    fn columns_belong_to_their_abis() {
        for abis in [&X86[..], &ARM, &RISCV, &LOONGARCH] {
            for abi in abis {
                assert_eq!(abi.arch.to_string().to_lowercase(), format!("scmp_arch_{}", COLUMNS[abi.column]));
            }
        }
    }

    #[test]
    fn numbers_of_the_kernel_headers() {
        let [x86_64, x32, x86] = X86;
        assert_eq!(number(&x86_64, "read"), Some(0));
        assert_eq!(number(&x86_64, "readv"), Some(19));
        assert_eq!(number(&x32, "readv"), Some(X32_BIT + 515));
        assert_eq!(number(&x32, "read"), Some(X32_BIT));
        assert_eq!(number(&x32, "uselib"), None);
        assert_eq!(number(&x86, "_llseek"), Some(140));
        assert_eq!(number(&x86, "accept"), None);
        assert_eq!(number(&ARM[0], "newfstatat"), Some(79));
        assert_eq!(number(&ARM[1], "breakpoint"), Some(0xf_0001));
        assert_eq!(number(&ARM[1], "get_tls"), Some(0xf_0006));
        assert!(!ARM[1].grows(0xf_0001));
        assert!(x32.grows(X32_BIT + 515));
    }

    #[test]
    fn calls_within_socketcall_and_ipc() {
        let shmat = row("shmat").unwrap();
        let of = |name| X86[2].multiplexed(row(name).unwrap());
        assert_eq!(of("socket"), Some(Multiplexed { number: 102, mask: u64::MAX, call: 1 }));
        assert_eq!(of("sendmmsg"), Some(Multiplexed { number: 102, mask: u64::MAX, call: 20 }));
        assert_eq!(of("semop"), Some(Multiplexed { number: 117, mask: 0xffff, call: 1 }));
        assert_eq!(of("shmctl"), Some(Multiplexed { number: 117, mask: 0xffff, call: 24 }));
        assert_eq!((of("read"), X86[0].multiplexed(shmat), X86[1].multiplexed(shmat)), (None, None, None));
        assert_eq!(number(&X86[2], "socketcall"), Some(102));
        assert_eq!(number(&X86[2], "ipc"), Some(117));
    }
}

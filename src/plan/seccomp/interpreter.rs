//! A classic BPF machine as the kernel runs it for seccomp (net/core/filter.c, kernel/seccomp.c), for tests.
//!
//! Also used by tests/seccomp_oracle.rs, so it knows nothing of the crate.

use seccompiler::sock_filter;

/// struct seccomp_data without the instruction pointer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    pub nr: u32,
    pub arch: u32,
    pub args: [u64; 6],
}

/// What one run gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// SECCOMP_RET_* word.
    pub action: u32,
    /// Instructions executed.
    pub steps: usize,
    /// Whether it depended on arguments.
    pub arguments: bool,
}

impl Call {
    /// The word at an offset, as BPF_LD|BPF_W|BPF_ABS reads it on a little-endian machine.
    fn word(&self, offset: u32) -> u32 {
        match offset {
            0 => self.nr,
            4 => self.arch,
            8 | 12 => 0,
            16..64 if offset & 3 == 0 => {
                let value = self.args[(offset as usize - 16) / 8];
                (if offset & 4 == 0 { value } else { value >> 32 }) as u32
            }
            _ => panic!("load at {offset}: the kernel refuses this"),
        }
    }
}

/// Runs a program. Panics on what the kernel would not load.
pub fn run(program: &[sock_filter], call: &Call) -> Run {
    let (mut pc, mut a, mut x, mut memory) = (0usize, 0u32, 0u32, [0u32; 16]);
    let mut run = Run { action: 0, steps: 0, arguments: false };
    loop {
        let i = &program[pc];
        run.steps += 1;
        pc += 1;
        let mut branch = |holds: bool| pc += usize::from(if holds { i.jt } else { i.jf });
        match i.code {
            0x20 => {
                a = call.word(i.k);
                run.arguments |= i.k >= 16;
            }
            0x00 => a = i.k,
            0x01 => x = i.k,
            0x60 => a = memory[i.k as usize],
            0x61 => x = memory[i.k as usize],
            0x02 => memory[i.k as usize] = a,
            0x03 => memory[i.k as usize] = x,
            0x07 => x = a,
            0x87 => a = x,
            0x54 => a &= i.k,
            0x05 => pc += i.k as usize,
            0x15 => branch(a == i.k),
            0x25 => branch(a > i.k),
            0x35 => branch(a >= i.k),
            0x45 => branch(a & i.k != 0),
            0x06 => {
                run.action = i.k;
                return run;
            }
            other => panic!("opcode {other:#x}"),
        }
    }
}

//! Writes classic BPF from its end to its beginning: every jump goes forward, so when an instruction is
//! written the distance to its targets is known, and what is too far for 8 bits gets a stepping stone.
//!
//! Pure. Knows instructions, jumps and comparisons of arguments; `compile` decides what is compared.

use seccompiler::sock_filter;

use super::rules::{Condition, Rule, Test};

/// Opcodes of linux/bpf_common.h that are needed here.
pub(super) mod code {
    pub const LOAD_WORD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
    pub const AND: u16 = 0x54; // BPF_ALU | BPF_AND | BPF_K
    pub const JUMP: u16 = 0x05; // BPF_JMP | BPF_JA
    pub const IF_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
    pub const IF_GREATER: u16 = 0x25; // BPF_JMP | BPF_JGT | BPF_K
    pub const IF_GREATER_EQUAL: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
    pub const RETURN: u16 = 0x06; // BPF_RET | BPF_K
}

/// Offset of `nr` in struct seccomp_data.
pub(super) const NR: u32 = 0;
/// Offset of `arch`.
pub(super) const ARCH: u32 = 4;
/// Offset of `args`.
const ARGS: u32 = 16;

/// Farthest that a conditional jump is pointed at: 255 less the stepping stones that its other side needs.
const REACH: usize = 250;

/// Where control goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    Return(u32),
    /// An instruction already written, counted from the end of the program.
    At(usize),
}

/// A program under construction, last instruction first.
#[derive(Debug, Default)]
pub(super) struct Emitter {
    code: Vec<sock_filter>,
    /// The nearest return of each action.
    returns: Vec<(u32, usize)>,
}

impl Emitter {
    /// The program in the order of execution. `start` is where it begins.
    pub fn finish(mut self, start: Target) -> Vec<sock_filter> {
        self.next(start);
        self.code.reverse();
        self.code
    }

    fn push(&mut self, code: u16, jt: u8, jf: u8, k: u32) -> usize {
        self.code.push(sock_filter { code, jt, jf, k });
        self.code.len() - 1
    }

    /// Instructions between the next one to be written and `at`.
    fn distance(&self, at: usize) -> usize {
        self.code.len() - 1 - at
    }

    /// An instruction within reach that leads to the target.
    fn near(&mut self, target: Target) -> usize {
        match target {
            Target::Return(action) => {
                let known = self.returns.iter().position(|(known, _)| *known == action);
                if let Some((_, at)) = known.and_then(|i| self.returns.get(i))
                    && self.distance(*at) <= REACH
                {
                    return *at;
                }
                let at = self.push(code::RETURN, 0, 0, action);
                if let Some(i) = known {
                    self.returns.swap_remove(i);
                }
                self.returns.push((action, at));
                at
            }
            Target::At(at) if self.distance(at) <= REACH => at,
            Target::At(at) => {
                // The offset of an unconditional jump has 32 bits.
                let offset = u32::try_from(self.distance(at)).unwrap_or(u32::MAX);
                self.push(code::JUMP, 0, 0, offset)
            }
        }
    }

    /// Makes the target the instruction that follows the next one to be written.
    fn next(&mut self, target: Target) {
        match target {
            Target::At(at) if at + 1 == self.code.len() => {}
            Target::At(at) => {
                let offset = u32::try_from(self.distance(at)).unwrap_or(u32::MAX);
                self.push(code::JUMP, 0, 0, offset);
            }
            Target::Return(action) => {
                self.push(code::RETURN, 0, 0, action);
            }
        }
    }

    /// A conditional jump on the accumulator.
    pub fn jump(&mut self, code: u16, k: u32, then: Target, otherwise: Target) -> Target {
        if then == otherwise {
            return then;
        }
        let (then, otherwise) = (self.near(then), self.near(otherwise));
        // Both are at most REACH + 1 away here.
        let jt = u8::try_from(self.distance(then)).unwrap_or(u8::MAX);
        let jf = u8::try_from(self.distance(otherwise)).unwrap_or(u8::MAX);
        Target::At(self.push(code, jt, jf, k))
    }

    /// Loads a word of seccomp_data into the accumulator. A return needs no load.
    pub fn load(&mut self, offset: u32, next: Target) -> Target {
        if let Target::Return(_) = next {
            return next;
        }
        self.next(next);
        Target::At(self.push(code::LOAD_WORD, 0, 0, offset))
    }

    /// Loads a word under a mask.
    fn load_masked(&mut self, offset: u32, mask: u32, next: Target) -> Target {
        if mask == u32::MAX {
            return self.load(offset, next);
        }
        if let Target::Return(_) = next {
            return next;
        }
        self.next(next);
        let masked = self.push(code::AND, 0, 0, mask);
        self.load(offset, Target::At(masked))
    }

    /// The first rule whose conditions hold, else the default action.
    pub fn first(&mut self, rules: &[&Rule], wide: bool, default: u32) -> Target {
        let mut rest = rules;
        let mut otherwise = Target::Return(default);
        while let Some((last, before)) = rest.split_last() {
            let set = equals(rest, wide);
            if let [_, _, ..] = set.as_slice()
                && let [condition] = last.conditions.as_slice()
            {
                let high = high_of(condition.test);
                otherwise = self.one_of(condition.index, wide, high, &set, last.action, otherwise);
                rest = rest.get(..rest.len() - set.len()).unwrap_or_default();
                continue;
            }
            let mut then = Target::Return(last.action);
            for condition in last.conditions.iter().rev() {
                then = self.condition(*condition, wide, then, otherwise);
            }
            otherwise = then;
            rest = before;
        }
        otherwise
    }

    /// Whether an argument is one of several values with the same upper half: one load for all.
    fn one_of(
        &mut self,
        index: u8,
        wide: bool,
        high: u32,
        low: &[u32],
        action: u32,
        otherwise: Target,
    ) -> Target {
        let mut next = otherwise;
        for value in low.iter().rev() {
            next = self.jump(code::IF_EQUAL, *value, Target::Return(action), next);
        }
        next = self.load(low_offset(index), next);
        if wide {
            next = self.jump(code::IF_EQUAL, high, next, otherwise);
            next = self.load(high_offset(index), next);
        }
        next
    }

    /// One comparison. Only the low word counts where arguments have 32 bits.
    fn condition(&mut self, condition: Condition, wide: bool, then: Target, otherwise: Target) -> Target {
        let Condition { index, test } = condition;
        match test {
            Test::Equal(value) => {
                let masked = Test::Masked { mask: u64::MAX, value };
                self.condition(Condition { index, test: masked }, wide, then, otherwise)
            }
            Test::NotEqual(value) => {
                let masked = Test::Masked { mask: u64::MAX, value };
                self.condition(Condition { index, test: masked }, wide, otherwise, then)
            }
            Test::Greater(value) => self.above(code::IF_GREATER, index, value, wide, then, otherwise),
            Test::GreaterEqual(value) => {
                self.above(code::IF_GREATER_EQUAL, index, value, wide, then, otherwise)
            }
            Test::Less(value) => self.above(code::IF_GREATER_EQUAL, index, value, wide, otherwise, then),
            Test::LessEqual(value) => self.above(code::IF_GREATER, index, value, wide, otherwise, then),
            Test::Masked { mask, value } => {
                let mut next = then;
                if low(mask) != 0 {
                    next = self.jump(code::IF_EQUAL, low(value), next, otherwise);
                    next = self.load_masked(low_offset(index), low(mask), next);
                }
                if wide && high(mask) != 0 {
                    next = self.jump(code::IF_EQUAL, high(value), next, otherwise);
                    next = self.load_masked(high_offset(index), high(mask), next);
                }
                next
            }
        }
    }

    /// `argument > value` or `>=`, as `code` says for the low word.
    fn above(
        &mut self,
        code: u16,
        index: u8,
        value: u64,
        wide: bool,
        then: Target,
        otherwise: Target,
    ) -> Target {
        let low = self.jump(code, low(value), then, otherwise);
        let low = self.load(low_offset(index), low);
        if !wide {
            return low;
        }
        let mut next = low;
        if high(value) == 0 {
            next = self.jump(code::IF_EQUAL, 0, next, then);
        } else {
            next = self.jump(code::IF_EQUAL, high(value), next, otherwise);
            next = self.jump(code::IF_GREATER, high(value), then, next);
        }
        self.load(high_offset(index), next)
    }
}

/// The low words of the values at the end of `rules` that one load can compare: single EQ tests of the same
/// argument with the same upper half and the same action, in the order of the rules.
fn equals(rules: &[&Rule], wide: bool) -> Vec<u32> {
    let single = |rule: &Rule| match rule.conditions.as_slice() {
        [Condition { index, test: Test::Equal(value) }] => Some((*index, *value, rule.action)),
        _ => None,
    };
    let Some((index, value, action)) = rules.last().and_then(|rule| single(rule)) else { return Vec::new() };
    let mut set: Vec<u32> = rules
        .iter()
        .rev()
        .map_while(|rule| single(rule))
        .take_while(|(i, v, a)| (*i, *a) == (index, action) && (!wide || high(*v) == high(value)))
        .map(|(_, v, _)| low(v))
        .collect();
    set.reverse();
    set
}

fn high_of(test: Test) -> u32 {
    match test {
        Test::Equal(value) => high(value),
        _ => 0,
    }
}

fn low(value: u64) -> u32 {
    (value & u64::from(u32::MAX)) as u32
}

fn high(value: u64) -> u32 {
    (value >> 32) as u32
}

/// Every architecture of the tables is little endian: the low word comes first.
fn low_offset(index: u8) -> u32 {
    ARGS + 8 * u32::from(index)
}

fn high_offset(index: u8) -> u32 {
    low_offset(index) + 4
}

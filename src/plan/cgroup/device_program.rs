//! The device rules as a program for cgroup2 (BPF_PROG_TYPE_CGROUP_DEVICE).
//!
//! PURE. The verifier's cost grows with the number of different paths, so the shape is compact: major
//! and minor number become one key, and each rule is one comparison that jumps to the shared verdict
//! (24 instructions and 62 µs where rule-by-rule code takes 76 and 500 µs). Rules that a wider one
//! covers are left out and nothing follows a catch-all: old verifiers refuse unreachable instructions.
//! Only 64-bit jumps are used; the 32-bit ones came with kernel 5.1.

use super::device_rules::{ALL, DeviceRule, Kind};
use crate::error::{Error, Result};
use serde::Serialize;

/// One instruction (linux/bpf.h, struct bpf_insn).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Insn {
    pub code: u8,
    pub dst: u8,
    pub src: u8,
    pub off: i16,
    pub imm: i32,
}

impl Insn {
    /// The eight bytes of the kernel's structure, as a number of this machine (little endian).
    pub fn encode(self) -> u64 {
        let off = u64::from(self.off.cast_unsigned());
        let imm = u64::from(self.imm.cast_unsigned());
        u64::from(self.code) | u64::from(self.dst | self.src << 4) << 8 | off << 16 | imm << 32
    }
}

// Opcodes, named as the kernel's disassembler writes them.
const LDX_W: u8 = 0x61;
const MOV_X: u8 = 0xbf;
const MOV_K: u8 = 0xb7;
const AND_K: u8 = 0x57;
const LSH_K: u8 = 0x67;
const RSH_K: u8 = 0x77;
const ARSH_K: u8 = 0xc7;
const OR_X: u8 = 0x4f;
const JEQ_K: u8 = 0x15;
const JNE_K: u8 = 0x55;
const JSET_K: u8 = 0x45;
const EXIT: u8 = 0x95;

// Registers. R1 is the context on entry: access_type (type in the low half, access above), major, minor.
const VERDICT: u8 = 0;
const CONTEXT: u8 = 1;
const TYPE: u8 = 2;
const ACCESS: u8 = 3;
const KEY: u8 = 4;
const PART: u8 = 5;
const MAJOR_OFFSET: i16 = 4;
const MINOR_OFFSET: i16 = 8;

/// A jump that is not finished: where it goes is known later.
type Jump = usize;

struct Code {
    insns: Vec<Insn>,
    /// The verdict for a match is the opposite of the default.
    allow_by_default: bool,
    matches: Vec<Jump>,
}

/// The program that answers `allow_by_default` except for what a rule names.
///
/// As on v1, an allowing rule must cover all of the requested access, a denying one any part of it.
pub(super) fn generate(allow_by_default: bool, rules: &[DeviceRule]) -> Result<Vec<Insn>> {
    let mut rules = without_covered(rules);
    let common = common_catch_all(&rules);
    if common.is_some() {
        rules.retain(|r| r.major.is_some() || r.minor.is_some());
    }
    let mut code = Code { insns: Vec::with_capacity(16 + rules.len()), allow_by_default, matches: vec![] };
    if common == Some(ALL) {
        code.verdict(!allow_by_default);
        return Ok(code.insns);
    }
    if common.is_some() || !rules.is_empty() {
        code.prologue(&rules);
    }
    if let Some(access) = common {
        code.catch_all(access);
    }
    for kind in [Kind::Block, Kind::Char] {
        let of_kind: Vec<_> = rules.iter().filter(|r| r.kind == kind).copied().collect();
        code.kind(kind, &of_kind)?;
    }
    code.verdict(allow_by_default);
    if !code.matches.is_empty() {
        let target = code.insns.len();
        for jump in std::mem::take(&mut code.matches) {
            code.land(jump, target)?;
        }
        code.verdict(!allow_by_default);
    }
    Ok(code.insns)
}

/// Drops each rule whose devices and access another one has as well.
fn without_covered(rules: &[DeviceRule]) -> Vec<DeviceRule> {
    let covers = |wide: &DeviceRule, narrow: &DeviceRule| {
        wide.kind == narrow.kind
            && (wide.major.is_none() || wide.major == narrow.major)
            && (wide.minor.is_none() || wide.minor == narrow.minor)
            && narrow.access & !wide.access == 0
    };
    rules.iter().filter(|r| !rules.iter().any(|other| other != *r && covers(other, r))).copied().collect()
}

/// The access of `*:*` rules, if block and char have the same: then the type need not be looked at.
fn common_catch_all(rules: &[DeviceRule]) -> Option<u8> {
    let of = |kind| {
        let found = rules.iter().find(|r| r.kind == kind && r.major.is_none() && r.minor.is_none());
        found.map(|r| r.access)
    };
    of(Kind::Block).filter(|access| of(Kind::Char) == Some(*access))
}

impl Code {
    fn emit(&mut self, code: u8, dst: u8, src: u8, off: i16, imm: i32) -> Jump {
        self.insns.push(Insn { code, dst, src, off, imm });
        self.insns.len() - 1
    }

    fn land(&mut self, jump: Jump, target: usize) -> Result<()> {
        let off = i16::try_from(target - jump - 1)
            .map_err(|_| Error::field("linux.resources.devices", "has too many rules for a program"))?;
        self.insns[jump].off = off;
        Ok(())
    }

    fn verdict(&mut self, allow: bool) {
        self.emit(MOV_K, VERDICT, 0, 0, i32::from(allow));
        self.emit(EXIT, 0, 0, 0, 0);
    }

    /// Loads type, access and, where a rule has both numbers, the key major<<20|minor.
    fn prologue(&mut self, rules: &[DeviceRule]) {
        self.emit(LDX_W, TYPE, CONTEXT, 0, 0);
        self.emit(MOV_X, ACCESS, TYPE, 0, 0);
        self.emit(RSH_K, ACCESS, 0, 0, 16);
        if !rules.is_empty() {
            self.emit(AND_K, TYPE, 0, 0, 0xffff);
        }
        if rules.iter().any(|r| r.major.is_some() && r.minor.is_some()) {
            self.emit(LDX_W, KEY, CONTEXT, MAJOR_OFFSET, 0);
            // The compared constant is sign-extended to 64 bits: so the key is too.
            self.emit(LSH_K, KEY, 0, 0, 52);
            self.emit(ARSH_K, KEY, 0, 0, 32);
            self.emit(LDX_W, PART, CONTEXT, MINOR_OFFSET, 0);
            self.emit(OR_X, KEY, PART, 0, 0);
        }
    }

    /// All devices (of the types that get here) with this access match.
    fn catch_all(&mut self, access: u8) {
        let jump = if self.allow_by_default {
            self.emit(JSET_K, ACCESS, 0, 0, i32::from(access))
        } else {
            self.emit(MOV_X, VERDICT, ACCESS, 0, 0);
            self.emit(AND_K, VERDICT, 0, 0, i32::from(ALL & !access));
            self.emit(JEQ_K, VERDICT, 0, 0, 0)
        };
        self.matches.push(jump);
    }

    /// The rules of one type.
    fn kind(&mut self, kind: Kind, rules: &[DeviceRule]) -> Result<()> {
        if rules.is_empty() {
            return Ok(());
        }
        let number = if kind == Kind::Block { 1 } else { 2 };
        let is_catch_all = |r: &&DeviceRule| r.major.is_none() && r.minor.is_none();
        if rules.iter().find(is_catch_all).is_some_and(|r| r.access == ALL) {
            let jump = self.emit(JEQ_K, TYPE, 0, 0, number);
            self.matches.push(jump);
            return Ok(());
        }
        let other_type = self.emit(JNE_K, TYPE, 0, 0, number);
        if let Some(rule) = rules.iter().find(is_catch_all) {
            self.catch_all(rule.access);
        }
        for access in 1..=ALL {
            let group: Vec<_> = rules.iter().filter(|r| r.access == access && !is_catch_all(r)).collect();
            if !group.is_empty() {
                self.group(access, &group)?;
            }
        }
        self.land(other_type, self.insns.len())
    }

    /// Rules of one type and one access.
    fn group(&mut self, access: u8, rules: &[&DeviceRule]) -> Result<()> {
        let mut other_access = None;
        if access != ALL {
            let (mask, leave) = if self.allow_by_default { (access, JEQ_K) } else { (ALL & !access, JNE_K) };
            self.emit(MOV_X, VERDICT, ACCESS, 0, 0);
            self.emit(AND_K, VERDICT, 0, 0, i32::from(mask));
            other_access = Some(self.emit(leave, VERDICT, 0, 0, 0));
        }
        for rule in rules {
            if let (Some(major), Some(minor)) = (rule.major, rule.minor) {
                let jump = self.emit(JEQ_K, KEY, 0, 0, (major << 20 | minor).cast_signed());
                self.matches.push(jump);
            }
        }
        for (offset, only) in [
            (MAJOR_OFFSET, |r: &DeviceRule| r.major.filter(|_| r.minor.is_none())),
            (MINOR_OFFSET, |r: &DeviceRule| r.minor.filter(|_| r.major.is_none())),
        ] as [(i16, fn(&DeviceRule) -> Option<u32>); 2]
        {
            let mut numbers = rules.iter().filter_map(|r| only(r)).peekable();
            if numbers.peek().is_some() {
                self.emit(LDX_W, PART, CONTEXT, offset, 0);
            }
            for number in numbers {
                let jump = self.emit(JEQ_K, PART, 0, 0, number.cast_signed());
                self.matches.push(jump);
            }
        }
        match other_access {
            Some(jump) => self.land(jump, self.insns.len()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::device_rules::{MKNOD, READ, WRITE};
    use super::*;
    use proptest::prelude::{Just, Strategy, any, prop_assert_eq, proptest};

    /// What the kernel would answer to the program; `seen` marks the instructions reached.
    fn run(program: &[Insn], kind: Kind, major: u32, minor: u32, access: u8, seen: &mut [bool]) -> bool {
        let kind = if kind == Kind::Block { 1 } else { 2 };
        let context = [u32::from(access) << 16 | kind, major, minor];
        let mut r = [0u64; 6];
        let mut at = 0;
        loop {
            seen[at] = true;
            let Insn { code, dst, src, off, imm } = program[at];
            let (dst, src, k) = (usize::from(dst), usize::from(src), i64::from(imm).cast_unsigned());
            let jumps = match code {
                LDX_W => {
                    assert_eq!(src, 1);
                    r[dst] = u64::from(context[usize::try_from(off).unwrap() / 4]);
                    false
                }
                MOV_X => {
                    r[dst] = r[src];
                    false
                }
                MOV_K => {
                    r[dst] = k;
                    false
                }
                AND_K => {
                    r[dst] &= k;
                    false
                }
                LSH_K => {
                    r[dst] <<= k;
                    false
                }
                RSH_K => {
                    r[dst] >>= k;
                    false
                }
                ARSH_K => {
                    r[dst] = (r[dst].cast_signed() >> k).cast_unsigned();
                    false
                }
                OR_X => {
                    r[dst] |= r[src];
                    false
                }
                JEQ_K => r[dst] == k,
                JNE_K => r[dst] != k,
                JSET_K => r[dst] & k != 0,
                EXIT => return r[0] == 1,
                other => panic!("opcode {other:#x}"),
            };
            at += 1;
            if jumps {
                at += usize::try_from(off).unwrap();
            }
        }
    }

    /// The v1 controller's verdict, straight from its definition.
    fn expected(allow: bool, rules: &[DeviceRule], kind: Kind, major: u32, minor: u32, access: u8) -> bool {
        let hit = rules.iter().any(|r| {
            r.kind == kind
                && r.major.is_none_or(|m| m == major)
                && r.minor.is_none_or(|m| m == minor)
                && if allow { access & r.access != 0 } else { access & !r.access == 0 }
        });
        allow ^ hit
    }

    fn rule() -> impl Strategy<Value = DeviceRule> {
        let number = |choices: [u32; 3]| (0..4usize).prop_map(move |i| choices.get(i).copied()).boxed();
        (any::<bool>(), number([0, 5, 4095]), number([0, 3, 0xf_ffff]), 1..=ALL).prop_map(
            |(block, major, minor, access)| DeviceRule {
                kind: if block { Kind::Block } else { Kind::Char },
                major,
                minor,
                access,
            },
        )
    }

    proptest! {
        #[test]
        fn answers_like_the_v1_controller(
            allow in any::<bool>(),
            rules in proptest::collection::vec(rule(), 0..12).prop_flat_map(Just),
        ) {
            // One exception per device, as the fold leaves them.
            let mut unique: Vec<DeviceRule> = vec![];
            for r in rules {
                match unique.iter_mut().find(|u| (u.kind, u.major, u.minor) == (r.kind, r.major, r.minor)) {
                    Some(u) => u.access |= r.access,
                    None => unique.push(r),
                }
            }
            let program = generate(allow, &unique).unwrap();
            let mut seen = vec![false; program.len()];
            for kind in [Kind::Block, Kind::Char] {
                for major in [0, 5, 7, 2048, 4095] {
                    for minor in [0, 3, 9, 0xf_ffff] {
                        for access in 1..=ALL {
                            prop_assert_eq!(
                                run(&program, kind, major, minor, access, &mut seen),
                                expected(allow, &unique, kind, major, minor, access),
                                "{:?} {}:{} {}", kind, major, minor, access
                            );
                        }
                    }
                }
            }
            prop_assert_eq!(seen.iter().position(|s| !s), None, "instruction never reached");
        }
    }

    #[test]
    fn the_usual_set_is_small() {
        let char = |major, minor, access| DeviceRule { kind: Kind::Char, major, minor, access };
        let mut rules = vec![
            char(None, None, MKNOD),
            DeviceRule { kind: Kind::Block, major: None, minor: None, access: MKNOD },
            char(Some(136), None, ALL),
        ];
        for (major, minor) in [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 2), (10, 200)] {
            rules.push(char(Some(major), Some(minor), ALL));
        }
        assert_eq!(generate(false, &rules).unwrap().len(), 27);
    }

    #[test]
    fn nothing_follows_a_catch_all() {
        let rule = |kind, access| DeviceRule { kind, major: None, minor: None, access };
        assert_eq!(generate(true, &[]).unwrap().len(), 2);
        assert_eq!(generate(false, &[rule(Kind::Char, ALL), rule(Kind::Block, ALL)]).unwrap().len(), 2);
        let half = generate(true, &[rule(Kind::Char, READ | WRITE | MKNOD)]).unwrap();
        assert!(!run(&half, Kind::Char, 1, 1, READ, &mut vec![false; half.len()]));
    }

    #[test]
    fn encoding_is_the_kernels() {
        let insn = Insn { code: JEQ_K, dst: 4, src: 0, off: -2, imm: -1 };
        assert_eq!(insn.encode().to_le_bytes(), [0x15, 0x04, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(Insn { code: LDX_W, dst: 2, src: 1, off: 8, imm: 0 }.encode() & 0xffff, 0x1261);
    }
}

//! Our seccomp programs against those of libseccomp, run in an interpreter: every call number, the ABI
//! words, sampled arguments. Prints tuples, differences, lengths and times. Where the two differ on a
//! random profile an evaluator of the specification judges: libseccomp 2.5.4 loses alternatives when several
//! order comparisons of one 64-bit argument meet.
//!
//! Needs a C compiler and libseccomp's header; without them it says so and passes. `ORACLE_PROFILES=n` sets
//! how many random profiles are tried.

#![allow(clippy::unwrap_used, clippy::expect_used)] // A failed expectation is a failed test.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use oci_spec::runtime::{Arch, LinuxSeccomp, LinuxSyscall};
use orlop::plan::seccomp::{ACTIONS, OPERATORS, plan};
use seccompiler::sock_filter;
use serde_json::json;

#[path = "../src/plan/seccomp/evaluator.rs"]
mod evaluator;
#[path = "../src/plan/seccomp/interpreter.rs"]
mod interpreter;
mod skip;
#[path = "../hack/syscall-tables.rs"]
mod tables;

use interpreter::{Call, run};
use skip::skip;

const X86_64: u32 = 0xc000_003e;
const I386: u32 = 0x4000_0003;
const AARCH64: u32 = 0xc000_00b7;
const ARM: u32 = 0x4000_0028;
const X32_BIT: u32 = 0x4000_0000;
const ENOSYS: u32 = 0x0005_0026;

struct Oracle {
    dir: tempfile::TempDir,
    tool: PathBuf,
}

impl Oracle {
    /// None, with the reason on stderr, when it cannot be built here.
    fn new() -> Option<Oracle> {
        let dir = tempfile::tempdir().unwrap();
        let tool = dir.path().join("oracle");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/integration/seccomp/oracle.c");
        let cc = Command::new("cc").args(["-O2", "-o"]).arg(&tool).args([source, "-lseccomp"]).output();
        match cc {
            Ok(done) if done.status.success() => return Some(Oracle { dir, tool }),
            Ok(done) => {
                let said = String::from_utf8_lossy(&done.stderr).into_owned();
                skip(&[], &format!("no libseccomp: {}", said.lines().next().unwrap_or_default()));
            }
            Err(e) => skip(&[], &format!("no C compiler: {e}")),
        }
        None
    }

    /// Standard output of the tool, none if libseccomp refuses a rule.
    fn ask(&self, args: &[&str], input: &str) -> Option<String> {
        let mut child =
            Command::new(&self.tool).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let done = child.wait_with_output().unwrap();
        if done.status.code() == Some(3) {
            return None;
        }
        assert!(done.status.success(), "oracle {args:?}: {}", done.status);
        Some(String::from_utf8(done.stdout).unwrap())
    }

    fn known(&self, profile: &LinuxSeccomp) -> BTreeSet<String> {
        let names: Vec<&str> = entries(profile).flat_map(|e| e.names()).map(String::as_str).collect();
        self.ask(&["names"], &names.join("\n")).unwrap().lines().map(str::to_owned).collect()
    }

    /// libseccomp's program and the microseconds it took.
    fn build(&self, profile: &LinuxSeccomp, abis: &[Arch], level: u32) -> Option<(Vec<sock_filter>, f64)> {
        let out = self.dir.path().join("program");
        let level = level.to_string();
        let us = self.ask(&["build", &level, out.to_str().unwrap()], &lines(profile, abis))?;
        let bytes = std::fs::read(&out).unwrap();
        let program = bytes.chunks(8).map(|i| sock_filter {
            code: u16::from_ne_bytes([i[0], i[1]]),
            jt: i[2],
            jf: i[3],
            k: u32::from_ne_bytes(i[4..8].try_into().unwrap()),
        });
        Some((program.collect(), us.trim().parse().unwrap()))
    }

    /// Fastest and median microseconds of seccomp(2), or what stands in the way.
    fn install(&self, program: &[sock_filter]) -> String {
        let file = self.dir.path().join("install");
        let mut bytes = Vec::new();
        for i in program {
            bytes.extend(i.code.to_ne_bytes());
            bytes.extend([i.jt, i.jf]);
            bytes.extend(i.k.to_ne_bytes());
        }
        std::fs::write(&file, bytes).unwrap();
        self.ask(&["install", file.to_str().unwrap(), "100"], "").unwrap().trim().replace(' ', " / ")
    }
}

fn entries(profile: &LinuxSeccomp) -> impl Iterator<Item = &LinuxSyscall> {
    profile.syscalls().iter().flatten()
}

/// The profile as the tool reads it, by the rules of runc: defaults are skipped, repeated indices are OR.
fn lines(profile: &LinuxSeccomp, abis: &[Arch]) -> String {
    let default = profile.default_action().as_u32(profile.default_errno_ret());
    let mut text = format!("default {default}\n");
    for abi in abis {
        let _ = writeln!(text, "arch {}", *abi as u32);
    }
    for entry in entries(profile) {
        let action = entry.action().as_u32(entry.errno_ret());
        let args = entry.args().as_deref().unwrap_or_default();
        let twice = args.iter().any(|a| args.iter().filter(|b| a.index() == b.index()).count() > 1);
        let groups = if twice { args.chunks(1).collect() } else { vec![args] };
        for name in entry.names().iter().filter(|_| action != default) {
            for group in &groups {
                let _ = write!(text, "rule {action} {name} {}", group.len());
                for arg in *group {
                    let (op, two) = (arg.op() as u32, arg.value_two().unwrap_or(0));
                    let _ = write!(text, " {} {op} {} {two}", arg.index(), arg.value());
                }
                text.push('\n');
            }
        }
    }
    text
}

/// Words to put into arguments: around every operand of the profile.
fn words(profile: &LinuxSeccomp) -> Vec<u64> {
    let mut words = BTreeSet::from([0, 1, 21, 0x1_0015, u64::MAX, 0xffff_ffff]);
    for arg in entries(profile).flat_map(|e| e.args().iter().flatten()) {
        for value in [arg.value(), arg.value_two().unwrap_or(0), arg.value_two().unwrap_or(0) & arg.value()] {
            words.extend([value, value.wrapping_add(1), value.wrapping_sub(1), value ^ (1 << 32), !value]);
        }
    }
    words.into_iter().collect()
}

#[derive(Debug, Default)]
struct Count {
    tuples: u64,
    /// Above the newest named call: ENOSYS, where libseccomp has no such stub.
    stub: u64,
    /// The kernel ignores the upper half of ipc's first argument, libseccomp does not.
    ipc: u64,
    /// The evaluator says what our program says.
    theirs_wrong: u64,
    ours_wrong: u64,
    first: Option<String>,
    steps: usize,
    their_steps: usize,
}

impl Count {
    fn add(&mut self, case: &Case<'_>, weight: u64) {
        self.tuples += weight;
        if case.ours == case.theirs {
            return;
        }
        let judged = case.judge();
        let show =
            || format!("{:x?} ours {:#x} theirs {:#x} judged {judged:#x}", case.call, case.ours, case.theirs);
        if judged != case.ours {
            self.ours_wrong += weight;
            self.first = Some(show());
        } else if case.ours == ENOSYS && case.theirs == case.default() {
            self.stub += weight;
        } else if (case.call.arch, case.call.nr) == (I386, 117) && case.call.args[0] > 0xffff {
            self.ipc += weight;
        } else {
            self.theirs_wrong += weight;
            self.first.get_or_insert_with(show);
        }
    }
}

/// One call, and what the programs say.
struct Case<'a> {
    profile: &'a LinuxSeccomp,
    machine: &'a Machine,
    call: Call,
    ours: u32,
    theirs: u32,
}

impl Case<'_> {
    fn default(&self) -> u32 {
        self.profile.default_action().as_u32(self.profile.default_errno_ret())
    }

    fn judge(&self) -> u32 {
        let Call { nr, arch, args } = self.call;
        let Some(column) = self.machine.column(arch, nr) else { return 0 };
        let base = if column.name == "x32" { X32_BIT } else { 0 };
        let number = |name: &str| column.numbers.get(name).map(|number| number + base);
        let inner = |name: &str| tables::multiplexer(name).filter(|_| column.name == "x86");
        let abi = evaluator::Abi { number: &number, narrow: column.narrow, inner: &inner };
        evaluator::evaluate(self.profile, &abi, nr, &args)
    }
}

/// Runs both programs over everything.
fn compare(
    profile: &LinuxSeccomp,
    ours: &[sock_filter],
    theirs: &[sock_filter],
    machine: &Machine,
    vectors: &[[u64; 6]],
    count: &mut Count,
) {
    let mut numbers: Vec<u32> = (0..600).chain([700, 1000, 1099]).collect();
    numbers.extend(numbers.clone().iter().map(|number| X32_BIT + number));
    numbers.extend([X32_BIT - 1, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, u32::MAX]);
    numbers.extend(0xf_0000..0xf_0008);
    for arch in [X86_64, I386, AARCH64, ARM, 0] {
        for &nr in &numbers {
            for (i, args) in vectors.iter().enumerate() {
                let call = Call { nr, arch, args: *args };
                let (a, b) = (run(ours, &call), run(theirs, &call));
                if i == 0 && arch == machine.native && nr < 470 {
                    count.steps += a.steps;
                    count.their_steps += b.steps;
                }
                // Neither looked at an argument: the same for all of them.
                let alike = !a.arguments && !b.arguments;
                let case = Case { profile, machine, call, ours: a.action, theirs: b.action };
                count.add(&case, if alike { vectors.len() as u64 } else { 1 });
                if alike {
                    break;
                }
            }
        }
    }
}

/// The ABIs of a machine that a profile lists.
struct Machine {
    native: u32,
    abis: Vec<Arch>,
    columns: Vec<Column>,
}

struct Column {
    abi: Arch,
    name: &'static str,
    narrow: bool,
    numbers: BTreeMap<String, u32>,
}

impl Machine {
    fn new(abis: &[Arch]) -> Machine {
        let column = |abi: &Arch| {
            let (name, narrow) = match abi {
                Arch::ScmpArchX86_64 => ("x86_64", false),
                Arch::ScmpArchX32 => ("x32", true),
                Arch::ScmpArchX86 => ("x86", true),
                Arch::ScmpArchAarch64 => ("aarch64", false),
                _ => ("arm", true),
            };
            Column { abi: *abi, name, narrow, numbers: tables::numbers(name) }
        };
        let native = if abis[0] == Arch::ScmpArchX86_64 { X86_64 } else { AARCH64 };
        Machine { native, abis: abis.to_vec(), columns: abis.iter().map(column).collect() }
    }

    /// The listed ABI that a call comes by.
    fn column(&self, arch: u32, nr: u32) -> Option<&Column> {
        let abi = match arch {
            X86_64 if nr < X32_BIT || nr == u32::MAX => Arch::ScmpArchX86_64,
            X86_64 => Arch::ScmpArchX32,
            I386 => Arch::ScmpArchX86,
            AARCH64 => Arch::ScmpArchAarch64,
            ARM => Arch::ScmpArchArm,
            _ => return None,
        };
        self.columns.iter().find(|column| column.abi == abi)
    }

    fn native(&self) -> Arch {
        self.abis[0]
    }
}

/// The profile with the names that libseccomp knows too.
fn restricted(profile: &LinuxSeccomp, known: &BTreeSet<String>) -> LinuxSeccomp {
    let mut profile = profile.clone();
    let mut syscalls: Vec<LinuxSyscall> = entries(&profile).cloned().collect();
    for entry in &mut syscalls {
        entry.set_names(entry.names().iter().filter(|name| known.contains(*name)).cloned().collect());
    }
    syscalls.retain(|entry| !entry.names().is_empty());
    profile.set_syscalls(Some(syscalls));
    profile
}

fn compiled(profile: &LinuxSeccomp, native: Arch) -> Vec<sock_filter> {
    plan(profile, native, &mut Vec::new()).map_err(|e| e.to_string()).unwrap().unwrap().program
}

/// Median microseconds of our compiler, in the profile that the test was built with.
fn compile_time(profile: &LinuxSeccomp, native: Arch) -> f64 {
    let mut times: Vec<f64> = (0..50)
        .map(|_| {
            let start = Instant::now();
            let _program = compiled(profile, native);
            start.elapsed().as_nanos() as f64 / 1000.0
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

#[test]
fn docker_profile() {
    let Some(oracle) = Oracle::new() else { return };
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("integration/seccomp/profiles/docker.json");
    let whole: LinuxSeccomp = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let mut profile = restricted(&whole, &oracle.known(&whole));
    let words = words(&profile);
    let mut vectors = Vec::new();
    for a in &words {
        for b in words.iter().step_by(7) {
            vectors.push([*a, *b, *a, *b, *b, *a]);
        }
    }
    let (x86_64, x32, x86) = (Arch::ScmpArchX86_64, Arch::ScmpArchX32, Arch::ScmpArchX86);
    let (aarch64, arm) = (Arch::ScmpArchAarch64, Arch::ScmpArchArm);
    let machines = [
        Machine::new(&[x86_64, x86, x32]),
        Machine::new(&[x86_64]),
        Machine::new(&[x86_64, x86]),
        Machine::new(&[x86_64, x32]),
        Machine::new(&[aarch64, arm]),
    ];
    for machine in &machines {
        profile.set_architectures(Some(machine.abis.clone()));
        let ours = compiled(&profile, machine.native());
        println!("{:?}", machine.abis);
        println!(
            "  ours: {} instructions, compile {:.1} us, install {} us",
            ours.len(),
            compile_time(&profile, machine.native()),
            oracle.install(&ours),
        );
        for level in [1, 2] {
            let (theirs, us) = oracle.build(&profile, &machine.abis, level).unwrap();
            let mut count = Count::default();
            compare(&profile, &ours, &theirs, machine, &vectors, &mut count);
            println!(
                "  libseccomp level {level}: {} instructions, compile {us:.1} us, install {} us",
                theirs.len(),
                oracle.install(&theirs),
            );
            println!(
                "    {} tuples: {} different, {} more by the ENOSYS stub, {} by ipc's version; \
                 mean instructions run {:.1}, theirs {:.1}",
                count.tuples,
                count.ours_wrong + count.theirs_wrong,
                count.stub,
                count.ipc,
                count.steps as f64 / 470.0,
                count.their_steps as f64 / 470.0
            );
            assert_eq!(count.ours_wrong + count.theirs_wrong, 0, "{:?}", count.first);
        }
    }
}

/// xorshift64*: the same profiles in every run.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() >> 33) as usize % n
    }

    fn word(&mut self) -> u64 {
        let words = [0, 1, 2, 3, 40, 0xff, 0x7e02_0000, 0xffff_ffff, 0x1_0000_0000, 0x5_0000_0001, u64::MAX];
        if self.below(4) == 0 { self.next() } else { words[self.below(words.len())] }
    }
}

/// A profile within what libseccomp and we agree on: one action for all entries of a name, see `rules`.
fn random(dice: &mut Dice, names: &[String]) -> serde_json::Value {
    let action = |dice: &mut Dice| ACTIONS[dice.below(ACTIONS.len())].to_string();
    let default = loop {
        let default = action(dice);
        if default != "SCMP_ACT_NOTIFY" {
            break default;
        }
    };
    let mut syscalls = Vec::new();
    for _ in 0..dice.below(40) {
        let name = &names[dice.below(names.len())];
        let act = if name == "write" { "SCMP_ACT_LOG".into() } else { action(dice) };
        if syscalls.iter().any(|s: &serde_json::Value| s["names"][0] == **name) {
            continue;
        }
        // One to three alternatives of one condition set each.
        for _ in 0..=dice.below(3) {
            let args: Vec<_> = (0..dice.below(3))
                .map(|_| {
                    let op = OPERATORS[dice.below(OPERATORS.len())];
                    json!({"index": dice.below(6), "value": dice.word(), "valueTwo": dice.word(), "op": op})
                })
                .collect();
            syscalls.push(json!({"names": [name], "action": act, "args": args}));
        }
    }
    json!({"defaultAction": default, "syscalls": syscalls, "listenerPath": "/run/agent"})
}

#[test]
fn random_profiles() {
    let Some(oracle) = Oracle::new() else { return };
    let profiles: usize = std::env::var("ORACLE_PROFILES").ok().and_then(|n| n.parse().ok()).unwrap_or(40);
    let all: Vec<String> = tables::names();
    let known = oracle.ask(&["names"], &all.join("\n")).unwrap();
    // An alias that libseccomp has not for ARM.
    let names: Vec<String> = known.lines().filter(|n| *n != "sync_file_range2").map(str::to_owned).collect();
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let (mut count, mut refused, mut equal) = (Count::default(), 0, 0);
    for turn in 0..profiles {
        let json = random(&mut dice, &names);
        let mut profile: LinuxSeccomp = serde_json::from_value(json.clone()).unwrap();
        let machine = match turn % 4 {
            0 => Machine::new(&[Arch::ScmpArchX86_64]),
            1 => Machine::new(&[Arch::ScmpArchX86_64, Arch::ScmpArchX86]),
            2 => Machine::new(&[Arch::ScmpArchX86_64, Arch::ScmpArchX86, Arch::ScmpArchX32]),
            _ => Machine::new(&[Arch::ScmpArchAarch64, Arch::ScmpArchArm]),
        };
        profile.set_architectures(Some(machine.abis.clone()));
        let words = words(&profile);
        let vectors: Vec<[u64; 6]> =
            (0..60).map(|_| std::array::from_fn(|_| words[dice.below(words.len())])).collect();
        let ours = compiled(&profile, machine.native());
        let before = count.theirs_wrong;
        for level in [1, 2] {
            match oracle.build(&profile, &machine.abis, level) {
                Some((theirs, _)) => compare(&profile, &ours, &theirs, &machine, &vectors, &mut count),
                None => refused += 1,
            }
            assert_eq!(count.ours_wrong, 0, "{:?}\n{json}", count.first);
        }
        equal += usize::from(count.theirs_wrong == before);
        if let Some(first) = count.first.take() {
            println!("profile {turn}: libseccomp is wrong: {first}");
        }
    }
    println!(
        "{profiles} random profiles: {equal} without difference, {refused} builds refused by libseccomp; \
         {} tuples: ours wrong {}, libseccomp wrong {}, {} by the ENOSYS stub, {} by ipc's version",
        count.tuples, count.ours_wrong, count.theirs_wrong, count.stub, count.ipc
    );
}

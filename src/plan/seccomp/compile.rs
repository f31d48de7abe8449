//! From rules to the filter program: per ABI the call numbers become ranges of one outcome each, the ranges
//! a balanced tree of comparisons.
//!
//! Pure. A tree costs about seven comparisons for any call, where a list costs hundreds; and the kernel
//! simulates the filter for every number when it is installed, so a tree also installs faster.

use seccompiler::sock_filter;

use super::abi::{Abi, X32_BIT};
use super::emit::{ARCH, Emitter, NR, Target, code};
use super::rules::{Condition, Rule, Rules, Test, Verdict, verdict};

/// What is done with a call that comes by an ABI that the profile does not list; libseccomp's default.
const FOREIGN: u32 = libc::SECCOMP_RET_KILL_THREAD;

/// What is compiled.
pub(super) struct Profile<'a> {
    pub rules: &'a Rules,
    /// SECCOMP_RET_* word of the default action.
    pub default: u32,
    /// The listed ABIs in the order of [`super::abi::family`], the native one first.
    pub abis: &'a [Abi],
}

/// The outcome of a range of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaf {
    Always(u32),
    /// Index into [`Compiler::decisions`].
    Decide(usize),
}

/// First numbers of ranges, ascending, and what is done from there up to the next.
type Ranges = Vec<(u32, Leaf)>;

/// Rules that look at arguments, shared by all calls that have the same ones.
struct Decision<'a> {
    rules: Vec<&'a Rule>,
    wide: bool,
    /// Where its code stands, once written.
    at: Option<Target>,
}

/// The calls of one ABI.
struct Calls<'a> {
    abi: Abi,
    /// Sorted by number, within a number in the order of the profile.
    rules: Vec<(u32, &'a Rule)>,
    /// The highest number that the profile names.
    newest: Option<u32>,
}

struct Compiler<'a> {
    decisions: Vec<Decision<'a>>,
    emitter: Emitter,
    default: u32,
    unknown: u32,
}

/// Compiles a profile. The caller checks the length.
pub(super) fn compile(profile: &Profile<'_>) -> Vec<sock_filter> {
    let within: Vec<_> = profile.abis.iter().map(|abi| multiplexed(profile.rules, abi)).collect();
    let mut compiler = Compiler {
        decisions: Vec::new(),
        emitter: Emitter::default(),
        default: profile.default,
        unknown: unknown(profile.default),
    };
    let mut trees: Vec<(u32, Ranges)> = Vec::new();
    for (abi, within) in profile.abis.iter().zip(&within) {
        let ranges = compiler.ranges(&calls(profile.rules, abi, within));
        match trees.last_mut() {
            // x32 shares the audit word of x86_64 and continues its numbers.
            Some((audit, below)) if *audit == abi.audit => join(below, ranges),
            _ => trees.push((abi.audit, ranges)),
        }
        let x32 = profile.abis.iter().any(|other| other.audit == abi.audit && other.base != 0);
        if abi.arch == oci_spec::runtime::Arch::ScmpArchX86_64
            && !x32
            && let Some((_, ranges)) = trees.last_mut()
        {
            join(ranges, vec![(X32_BIT, Leaf::Always(FOREIGN))]);
        }
    }
    let start = compiler.program(&trees);
    compiler.emitter.finish(start)
}

/// The outcome of numbers above the newest call that the profile names in an ABI: its author could not know
/// them, and programs fall back on ENOSYS where they give up on EPERM. A default that lets calls happen, or
/// hands them to a tracer, needs no such help.
fn unknown(default: u32) -> u32 {
    match default & libc::SECCOMP_RET_ACTION_FULL {
        libc::SECCOMP_RET_ALLOW | libc::SECCOMP_RET_LOG | libc::SECCOMP_RET_TRACE => default,
        _ => libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs(),
    }
}

/// Rules for the calls that can also be reached through socketcall and ipc. The arguments of the inner call
/// lie in memory, which a filter cannot read: as with libseccomp the first one gives way to the number of
/// the inner call.
fn multiplexed(rules: &Rules, abi: &Abi) -> Vec<(u32, Rule)> {
    let mut within = Vec::new();
    for (row, range) in &rules.calls {
        let Some(outer) = abi.multiplexed(*row) else { continue };
        let inner = Test::Masked { mask: outer.mask, value: outer.call };
        for rule in rules.rules.get(range.clone()).unwrap_or_default() {
            let mut conditions = vec![Condition { index: 0, test: inner }];
            conditions.extend(rule.conditions.iter().filter(|condition| condition.index != 0));
            within.push((outer.number, Rule { conditions, ..rule.clone() }));
        }
    }
    within
}

fn calls<'a>(rules: &'a Rules, abi: &Abi, within: &'a [(u32, Rule)]) -> Calls<'a> {
    let mut list = Vec::with_capacity(rules.calls.len() + within.len());
    for (row, range) in &rules.calls {
        let Some(number) = abi.number(*row) else { continue };
        list.extend(rules.rules.get(range.clone()).unwrap_or_default().iter().map(|rule| (number, rule)));
    }
    list.extend(within.iter().map(|(number, rule)| (*number, rule)));
    // Alternatives of one entry may change places: they have the same action.
    list.sort_unstable_by_key(|(number, rule)| (u128::from(*number) << 64) | rule.entry as u128);
    let numbers = rules.named.iter().filter_map(|row| abi.number(*row));
    Calls { abi: *abi, rules: list, newest: numbers.filter(|number| abi.grows(*number)).max() }
}

/// Puts the ranges of x32 into those of x86_64. -1 stays native: a tracer writes it to have a call skipped,
/// and it is no call of x32 although it has the bit.
fn join(native: &mut Ranges, x32: Ranges) {
    let beyond = native.last().map(|(_, leaf)| *leaf);
    for (number, leaf) in x32 {
        extend(native, number, leaf);
    }
    if let Some(leaf) = beyond {
        extend(native, u32::MAX, leaf);
    }
}

/// Begins a range, unless the one before has the same outcome.
fn extend(ranges: &mut Ranges, number: u32, leaf: Leaf) {
    if ranges.last().is_none_or(|(_, before)| *before != leaf) {
        ranges.push((number, leaf));
    }
}

impl<'a> Compiler<'a> {
    /// The ranges of one ABI, from its base up.
    fn ranges(&mut self, calls: &Calls<'a>) -> Ranges {
        let mut ranges = Ranges::new();
        let mut next = calls.abi.base;
        for same in calls.rules.chunk_by(|(a, _), (b, _)| a == b) {
            let Some((number, _)) = same.first() else { continue };
            self.gap(&mut ranges, next, Some(*number), calls.newest);
            let leaf = match verdict(same.iter().map(|(_, rule)| *rule)) {
                Verdict::Always(action) => Leaf::Always(action),
                Verdict::First(rules) => self.decide(rules, calls.abi.wide),
            };
            extend(&mut ranges, *number, leaf);
            next = number.saturating_add(1);
        }
        self.gap(&mut ranges, next, None, calls.newest);
        ranges
    }

    /// Numbers without a rule: from `first` up to `end`.
    fn gap(&self, ranges: &mut Ranges, first: u32, end: Option<u32>, newest: Option<u32>) {
        let beyond = newest.map(|newest| newest.saturating_add(1));
        if end.is_some_and(|end| first >= end) {
            return;
        }
        if beyond.is_none_or(|beyond| first < beyond) {
            extend(ranges, first, Leaf::Always(self.default));
        }
        if let Some(beyond) = beyond.map(|beyond| beyond.max(first))
            && end.is_none_or(|end| beyond < end)
        {
            extend(ranges, beyond, Leaf::Always(self.unknown));
        }
    }

    fn decide(&mut self, rules: Vec<&'a Rule>, wide: bool) -> Leaf {
        let same = |a: &[&Rule], b: &[&Rule]| {
            let pair = |(a, b): (&&Rule, &&Rule)| a.action == b.action && a.conditions == b.conditions;
            a.len() == b.len() && a.iter().zip(b).all(pair)
        };
        let known = self.decisions.iter().position(|d| d.wide == wide && same(&d.rules, &rules));
        Leaf::Decide(known.unwrap_or_else(|| {
            self.decisions.push(Decision { rules, wide, at: None });
            self.decisions.len() - 1
        }))
    }

    fn program(&mut self, trees: &[(u32, Ranges)]) -> Target {
        let mut start = Target::Return(FOREIGN);
        let mut starts = Vec::with_capacity(trees.len());
        // The last one first, as everything is written from the end: the native tree is the nearest.
        for (audit, ranges) in trees.iter().rev() {
            let tree = self.tree(ranges);
            starts.push((*audit, self.emitter.load(NR, tree)));
        }
        for (audit, tree) in starts {
            start = self.emitter.jump(code::IF_EQUAL, audit, tree, start);
        }
        self.emitter.load(ARCH, start)
    }

    /// A balanced tree over the ranges; the number is in the accumulator.
    fn tree(&mut self, ranges: &[(u32, Leaf)]) -> Target {
        if let [(_, leaf)] = ranges {
            return self.leaf(*leaf);
        }
        if ranges.len() <= 5
            && let Some(target) = self.holes(ranges)
        {
            return target;
        }
        let (below, above) = ranges.split_at(ranges.len() / 2);
        let Some((number, _)) = above.first() else { return Target::Return(self.default) };
        let above = self.tree(above);
        let below = self.tree(below);
        self.emitter.jump(code::IF_GREATER_EQUAL, *number, above, below)
    }

    /// Single numbers within one range: an equality each is shorter than two bounds.
    fn holes(&mut self, ranges: &[(u32, Leaf)]) -> Option<Target> {
        let (_, around) = ranges.first()?;
        let mut holes = Vec::new();
        for part in ranges.get(1..)?.chunks(2) {
            let [(number, hole), (after, leaf)] = part else { return None };
            if leaf != around || number.checked_add(1) != Some(*after) {
                return None;
            }
            holes.push((*number, *hole));
        }
        let mut target = self.leaf(*around);
        for (number, hole) in holes {
            let hole = self.leaf(hole);
            target = self.emitter.jump(code::IF_EQUAL, number, hole, target);
        }
        Some(target)
    }

    fn leaf(&mut self, leaf: Leaf) -> Target {
        match leaf {
            Leaf::Always(action) => Target::Return(action),
            Leaf::Decide(index) => {
                let Some(decision) = self.decisions.get_mut(index) else {
                    return Target::Return(self.default);
                };
                *decision
                    .at
                    .get_or_insert_with(|| self.emitter.first(&decision.rules, decision.wide, self.default))
            }
        }
    }
}

//! From the entries of `linux.seccomp.syscalls` to rules: one action, one set of conditions, one call.
//!
//! Pure. Checks every entry, also those whose names mean nothing here; every problem is reported with its
//! JSON path. What a filter of several entries for one call means is decided here and in `compile`.

use oci_spec::runtime::{LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompOperator, LinuxSyscall};

use super::abi;
use crate::error::{Error, Result};

/// Highest errno the kernel hands out (include/linux/err.h): it clamps what is above.
const MAX_ERRNO: u32 = 4095;

/// A comparison of one argument. Operands are unsigned (the kernel's seccomp_data has u64 arguments).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Test {
    Equal(u64),
    NotEqual(u64),
    Greater(u64),
    GreaterEqual(u64),
    Less(u64),
    LessEqual(u64),
    /// `argument & mask == value`; the value is already masked.
    Masked {
        mask: u64,
        value: u64,
    },
}

/// A comparison and the argument it is about, 0..=5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Condition {
    pub index: u8,
    pub test: Test,
}

/// What one entry asks for, whatever its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    /// All of them must hold, sorted; empty = always.
    pub conditions: Vec<Condition>,
    /// SECCOMP_RET_* word.
    pub action: u32,
    /// Index of the entry in the profile, for messages.
    pub entry: usize,
}

/// The checked entries.
#[derive(Debug, Default)]
pub(super) struct Rules {
    pub rules: Vec<Rule>,
    /// (row of the number table, range of `rules`), in the order of the profile.
    pub calls: Vec<(usize, std::ops::Range<usize>)>,
    /// Rows that the profile names at all: these the author knew.
    pub named: Vec<usize>,
    /// Names that no architecture knows, each once.
    pub unknown: Vec<String>,
}

/// Reads the entries. Rules that repeat the default action are left out: they change nothing, and as rules
/// they would shadow others.
pub(super) fn read(entries: &[LinuxSyscall], default: u32, problems: &mut Vec<Error>) -> Rules {
    let mut rules = Rules::default();
    for (entry, syscall) in entries.iter().enumerate() {
        let path = format!("linux.seccomp.syscalls[{entry}]");
        if syscall.names().is_empty() {
            problems.push(Error::field(format!("{path}.names"), "is empty"));
        }
        let conditions = conditions(&path, syscall.args().as_deref().unwrap_or_default(), problems);
        let action = match action(syscall.action(), syscall.errno_ret(), &format!("{path}.errnoRet")) {
            Ok(action) => action,
            Err(problem) => {
                problems.push(problem);
                continue;
            }
        };
        let first = rules.rules.len();
        if action != default {
            rules.rules.extend(conditions.into_iter().map(|conditions| Rule { conditions, action, entry }));
        }
        let all = first..rules.rules.len();
        for (i, name) in syscall.names().iter().enumerate() {
            // The number of the listener is reported through a write, which would wait for the listener.
            if syscall.action() == LinuxSeccompAction::ScmpActNotify && name == "write" {
                problems.push(Error::field(format!("{path}.names[{i}]"), "write cannot be SCMP_ACT_NOTIFY"));
            }
            match abi::row(name) {
                Some(row) => {
                    rules.named.push(row);
                    if !all.is_empty() {
                        rules.calls.push((row, all.clone()));
                    }
                }
                None if rules.unknown.contains(name) => {}
                None => rules.unknown.push(name.clone()),
            }
        }
    }
    rules
}

/// The SECCOMP_RET_* word of an action. `field` is the path of the errno that goes with it.
pub(super) fn action(action: LinuxSeccompAction, errno: Option<u32>, field: &str) -> Result<u32> {
    let (takes, most) = match action {
        LinuxSeccompAction::ScmpActErrno => (true, MAX_ERRNO),
        // The tracer reads all 16 bits of SECCOMP_RET_DATA.
        LinuxSeccompAction::ScmpActTrace => (true, 0xffff),
        _ => (false, 0),
    };
    match errno {
        // Spec: "When the action doesn't support an errno, the runtime MUST print and error and fail."
        Some(_) if !takes => Err(Error::field(field, format_args!("{action} takes no errno"))),
        Some(errno) if errno > most => Err(Error::field(field, format_args!("{errno} is above {most}"))),
        _ => Ok(action.as_u32(errno)),
    }
}

/// The alternatives of one entry: conditions are ANDed, but when two are about the same argument each
/// becomes a rule of its own. The spec is silent; all runtimes do so and profiles rely on it.
fn conditions(path: &str, args: &[LinuxSeccompArg], problems: &mut Vec<Error>) -> Vec<Vec<Condition>> {
    let mut conditions = Vec::with_capacity(args.len());
    for (i, arg) in args.iter().enumerate() {
        match u8::try_from(arg.index()) {
            Ok(index @ 0..=5) => conditions.push(Condition { index, test: test(arg) }),
            _ => problems.push(Error::field(
                format!("{path}.args[{i}].index"),
                format_args!("{} is not an argument index (0 to 5)", arg.index()),
            )),
        }
    }
    let repeated = |c: &Condition| conditions.iter().filter(|other| other.index == c.index).count() > 1;
    if conditions.iter().any(repeated) {
        return conditions.into_iter().map(|c| vec![c]).collect();
    }
    conditions.sort_unstable();
    vec![conditions]
}

fn test(arg: &LinuxSeccompArg) -> Test {
    let value = arg.value();
    match arg.op() {
        LinuxSeccompOperator::ScmpCmpNe => Test::NotEqual(value),
        LinuxSeccompOperator::ScmpCmpLt => Test::Less(value),
        LinuxSeccompOperator::ScmpCmpLe => Test::LessEqual(value),
        LinuxSeccompOperator::ScmpCmpEq => Test::Equal(value),
        LinuxSeccompOperator::ScmpCmpGe => Test::GreaterEqual(value),
        LinuxSeccompOperator::ScmpCmpGt => Test::Greater(value),
        // `value` is the mask and `valueTwo` the datum, which libseccomp masks too.
        LinuxSeccompOperator::ScmpCmpMaskedEq => {
            Test::Masked { mask: value, value: arg.value_two().unwrap_or(0) & value }
        }
    }
}

/// What decides about one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict<'a> {
    Always(u32),
    /// The first rule whose conditions hold; the default action if none does.
    First(Vec<&'a Rule>),
}

/// Orders the rules of one call, given in the order of the profile. The spec is silent on conflicts. As
/// with libseccomp an unconditional rule wins wherever it stands, the first of several; otherwise the order
/// of the profile decides.
pub(super) fn verdict<'a>(rules: impl Iterator<Item = &'a Rule> + Clone) -> Verdict<'a> {
    if let Some(always) = rules.clone().find(|rule| rule.conditions.is_empty()) {
        return Verdict::Always(always.action);
    }
    let mut first: Vec<&Rule> = Vec::new();
    for rule in rules {
        // A second rule of the same conditions never gets its turn.
        if !first.iter().any(|earlier| earlier.conditions == rule.conditions) {
            first.push(rule);
        }
    }
    Verdict::First(first)
}

impl Rules {
    /// Entries that say the same conditions of the same call with another action: libseccomp refuses them
    /// too, as it cannot be known which one was meant.
    pub fn contradictions(&self) -> Vec<Error> {
        let rules_of = |range: &std::ops::Range<usize>| self.rules.get(range.clone()).unwrap_or_default();
        let decides = |range| rules_of(range).iter().any(|rule| !rule.conditions.is_empty());
        let mut rows: Vec<usize> =
            self.calls.iter().filter(|(_, range)| decides(range)).map(|(row, _)| *row).collect();
        rows.sort_unstable();
        let mut calls: Vec<(usize, &Rule)> = Vec::new();
        for (row, range) in &self.calls {
            if rows.binary_search(row).is_ok() {
                calls.extend(rules_of(range).iter().map(|rule| (*row, rule)));
            }
        }
        calls.sort_by_key(|(row, _)| *row);
        calls.chunk_by(|(a, _), (b, _)| a == b).filter_map(contradiction).collect()
    }
}

fn contradiction(same: &[(usize, &Rule)]) -> Option<Error> {
    if same.iter().any(|(_, rule)| rule.conditions.is_empty()) {
        return None;
    }
    same.iter().enumerate().find_map(|(i, (row, rule))| {
        let (_, earlier) = same
            .get(..i)?
            .iter()
            .find(|(_, earlier)| earlier.conditions == rule.conditions && earlier.action != rule.action)?;
        Some(Error::field(
            format_args!("linux.seccomp.syscalls[{}]", rule.entry),
            format_args!(
                "contradicts syscalls[{}]: the same conditions on {}, another action",
                earlier.entry,
                abi::name(*row)
            ),
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(json: &str) -> LinuxSyscall {
        serde_json::from_str(json).unwrap()
    }

    fn problems(json: &str) -> Vec<String> {
        let mut problems = Vec::new();
        read(&[entry(json)], 0x0005_0001, &mut problems);
        problems.iter().map(Error::to_string).collect()
    }

    #[test]
    fn faults_name_their_place() {
        assert_eq!(
            problems(r#"{"names":[],"action":"SCMP_ACT_ALLOW"}"#),
            ["linux.seccomp.syscalls[0].names: is empty"]
        );
        assert_eq!(
            problems(r#"{"names":["read"],"action":"SCMP_ACT_ALLOW","errnoRet":1}"#),
            ["linux.seccomp.syscalls[0].errnoRet: SCMP_ACT_ALLOW takes no errno"]
        );
        assert_eq!(
            problems(r#"{"names":["read"],"action":"SCMP_ACT_ERRNO","errnoRet":4096}"#),
            ["linux.seccomp.syscalls[0].errnoRet: 4096 is above 4095"]
        );
        assert_eq!(
            problems(
                r#"{"names":["x"],"action":"SCMP_ACT_ALLOW","args":[
                    {"index":5,"value":1,"op":"SCMP_CMP_EQ"},{"index":6,"value":1,"op":"SCMP_CMP_EQ"}]}"#
            ),
            ["linux.seccomp.syscalls[0].args[1].index: 6 is not an argument index (0 to 5)"]
        );
        assert_eq!(
            problems(r#"{"names":["read","write"],"action":"SCMP_ACT_NOTIFY"}"#),
            ["linux.seccomp.syscalls[0].names[1]: write cannot be SCMP_ACT_NOTIFY"]
        );
    }

    #[test]
    fn words_of_all_actions() {
        let word = |json: &str, errno| action(serde_json::from_str(json).unwrap(), errno, "f").ok();
        assert_eq!(word(r#""SCMP_ACT_KILL""#, None), Some(libc::SECCOMP_RET_KILL_THREAD));
        assert_eq!(word(r#""SCMP_ACT_KILL_THREAD""#, None), Some(libc::SECCOMP_RET_KILL_THREAD));
        assert_eq!(word(r#""SCMP_ACT_KILL_PROCESS""#, None), Some(libc::SECCOMP_RET_KILL_PROCESS));
        assert_eq!(word(r#""SCMP_ACT_TRAP""#, None), Some(libc::SECCOMP_RET_TRAP));
        assert_eq!(word(r#""SCMP_ACT_ERRNO""#, None), Some(libc::SECCOMP_RET_ERRNO | 1));
        assert_eq!(word(r#""SCMP_ACT_ERRNO""#, Some(0)), Some(libc::SECCOMP_RET_ERRNO));
        assert_eq!(word(r#""SCMP_ACT_TRACE""#, None), Some(libc::SECCOMP_RET_TRACE | 1));
        assert_eq!(word(r#""SCMP_ACT_TRACE""#, Some(0xffff)), Some(libc::SECCOMP_RET_TRACE | 0xffff));
        assert_eq!(word(r#""SCMP_ACT_TRACE""#, Some(0x1_0000)), None);
        assert_eq!(word(r#""SCMP_ACT_LOG""#, None), Some(libc::SECCOMP_RET_LOG));
        assert_eq!(word(r#""SCMP_ACT_NOTIFY""#, None), Some(libc::SECCOMP_RET_USER_NOTIF));
        assert_eq!(word(r#""SCMP_ACT_ALLOW""#, None), Some(libc::SECCOMP_RET_ALLOW));
        assert_eq!(word(r#""SCMP_ACT_KILL""#, Some(1)), None);
    }

    #[test]
    fn same_index_twice_is_or_for_every_condition() {
        let e = entry(
            r#"{"names":["read"],"action":"SCMP_ACT_ALLOW","args":[
                {"index":1,"value":7,"op":"SCMP_CMP_NE"},
                {"index":0,"value":1,"op":"SCMP_CMP_EQ"},{"index":0,"value":2,"op":"SCMP_CMP_EQ"}]}"#,
        );
        let rules = read(&[e], 0, &mut Vec::new());
        let sizes: Vec<usize> = rules.rules.iter().map(|rule| rule.conditions.len()).collect();
        assert_eq!(sizes, [1, 1, 1]);
    }

    #[test]
    fn unconditional_wins_else_the_order() {
        let rule = |value: Option<u64>, action| Rule {
            conditions: value.map(|v| Condition { index: 0, test: Test::Equal(v) }).into_iter().collect(),
            action,
            entry: 0,
        };
        let (a, b, c, d) = (rule(Some(1), 10), rule(Some(1), 11), rule(None, 12), rule(None, 13));
        assert_eq!(verdict([&a, &c, &d].into_iter()), Verdict::Always(12));
        assert_eq!(verdict([&a, &b].into_iter()), Verdict::First(vec![&a]));
        assert!(contradiction(&[(0, &a), (0, &c), (0, &b)]).is_none());
        let row = abi::row("read").unwrap();
        assert_eq!(
            contradiction(&[(row, &a), (row, &b)]).map(|e| e.to_string()),
            Some(
                "linux.seccomp.syscalls[0]: contradicts syscalls[0]: the same conditions on read, another \
                 action"
                    .into()
            )
        );
    }
}

//! Compiled profiles run in the interpreter: one test per rule of the specification and of libseccomp.

use std::collections::BTreeMap;

use serde_json::json;

use super::interpreter::{Call, run};
use super::*;

const X86_64: u32 = 0xc000_003e;
const I386: u32 = 0x4000_0003;
const AARCH64: u32 = 0xc000_00b7;
const ARM: u32 = 0x4000_0028;
const X32_BIT: u32 = 0x4000_0000;

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const KILL: u32 = libc::SECCOMP_RET_KILL_THREAD;
const EPERM: u32 = errno(libc::EPERM);
const ENOSYS: u32 = errno(libc::ENOSYS);

const fn errno(number: i32) -> u32 {
    libc::SECCOMP_RET_ERRNO | number as u32
}

fn profile(json: serde_json::Value) -> LinuxSeccomp {
    serde_json::from_value(json).unwrap()
}

fn compiled(json: serde_json::Value) -> SeccompPlan {
    plan(&profile(json), Arch::ScmpArchX86_64, &mut Vec::new()).unwrap().unwrap()
}

fn fault(json: serde_json::Value) -> String {
    plan(&profile(json), Arch::ScmpArchX86_64, &mut Vec::new()).unwrap_err().to_string()
}

fn act(program: &[sock_filter], arch: u32, nr: u32, args: &[u64]) -> u32 {
    let mut call = Call { nr, arch, args: [0; 6] };
    call.args[..args.len()].copy_from_slice(args);
    run(program, &call).action
}

#[test]
fn unlisted_abis_are_killed() {
    let p = compiled(json!({"defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["chmod"], "action": "SCMP_ACT_ERRNO"}]}))
    .program;
    assert_eq!(act(&p, X86_64, 90, &[]), EPERM);
    assert_eq!(act(&p, X86_64, 91, &[]), ALLOW);
    assert_eq!(act(&p, I386, 91, &[]), KILL);
    assert_eq!(act(&p, AARCH64, 91, &[]), KILL);
    // x32 has the audit word of x86_64.
    assert_eq!(act(&p, X86_64, X32_BIT | 91, &[]), KILL);
    assert_eq!(act(&p, X86_64, 0x3fff_ffff, &[]), ALLOW);
    assert_eq!(act(&p, X86_64, 0x7fff_ffff, &[]), KILL);
}

#[test]
fn minus_one_is_not_x32() {
    for architectures in [json!([]), json!(["SCMP_ARCH_X32"])] {
        let p = compiled(json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": architectures,
            "syscalls": [{"names": ["chmod"], "action": "SCMP_ACT_KILL"}]}))
        .program;
        assert_eq!(act(&p, X86_64, u32::MAX, &[]), ALLOW);
        let p = compiled(json!({"defaultAction": "SCMP_ACT_ERRNO", "architectures": architectures,
            "syscalls": [{"names": ["chmod"], "action": "SCMP_ACT_ALLOW"}]}))
        .program;
        assert_eq!(act(&p, X86_64, u32::MAX, &[]), ENOSYS);
    }
}

#[test]
fn masked_equal_masks_both_sides() {
    let p = compiled(json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["clone"],
        "action": "SCMP_ACT_ERRNO",
        "args": [{"index": 0, "value": 0xff0_u64, "valueTwo": 0x1234_u64, "op": "SCMP_CMP_MASKED_EQ"}]}]}))
    .program;
    assert_eq!(act(&p, X86_64, 56, &[0x230]), EPERM);
    assert_eq!(act(&p, X86_64, 56, &[0xffff_ffff_ffff_f23f]), EPERM);
    assert_eq!(act(&p, X86_64, 56, &[0x1234]), EPERM);
    assert_eq!(act(&p, X86_64, 56, &[0x240]), ALLOW);
}

#[test]
fn narrow_abis_compare_the_low_word() {
    let p = compiled(json!({"defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"], "syscalls": [{"names": ["socket"],
        "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": 40, "op": "SCMP_CMP_EQ"}]}]}))
    .program;
    let high = 0x1_0000_0028;
    assert_eq!(act(&p, X86_64, X32_BIT | 41, &[high]), EPERM);
    assert_eq!(act(&p, I386, 359, &[high]), EPERM);
    assert_eq!(act(&p, X86_64, 41, &[high]), ALLOW);
    assert_eq!(act(&p, X86_64, 41, &[40]), EPERM);
}

#[test]
fn every_operator_in_64_bits() {
    let edges = [0, 1, 2, 0xffff_fffe, 0xffff_ffff, 0x1_0000_0000, 0x1_0000_0001, 0x5_0000_0005, u64::MAX];
    for value in edges {
        for (op, holds) in [
            ("SCMP_CMP_NE", (|a, b| a != b) as fn(u64, u64) -> bool),
            ("SCMP_CMP_LT", |a, b| a < b),
            ("SCMP_CMP_LE", |a, b| a <= b),
            ("SCMP_CMP_EQ", |a, b| a == b),
            ("SCMP_CMP_GE", |a, b| a >= b),
            ("SCMP_CMP_GT", |a, b| a > b),
        ] {
            let p = compiled(json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X32"],
                "syscalls": [{"names": ["dup"], "action": "SCMP_ACT_LOG",
                "args": [{"index": 5, "value": value, "op": op}]}]}))
            .program;
            for argument in edges {
                let args = [7, 7, 7, 7, 7, argument];
                let wanted = |holds| if holds { libc::SECCOMP_RET_LOG } else { ALLOW };
                assert_eq!(
                    act(&p, X86_64, 32, &args),
                    wanted(holds(argument, value)),
                    "{argument} {op} {value}"
                );
                let (a, v) = (argument & 0xffff_ffff, value & 0xffff_ffff);
                assert_eq!(act(&p, X86_64, X32_BIT | 32, &args), wanted(holds(a, v)), "x32: {a} {op} {v}");
            }
        }
    }
}

#[test]
fn conditions_are_and_but_or_on_one_argument() {
    let p = compiled(json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
        {"names": ["dup2"], "action": "SCMP_ACT_ALLOW", "args": [
            {"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}, {"index": 1, "value": 2, "op": "SCMP_CMP_EQ"}]},
        {"names": ["dup3"], "action": "SCMP_ACT_ALLOW", "args": [
            {"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}, {"index": 0, "value": 2, "op": "SCMP_CMP_EQ"}]}]}))
    .program;
    let [dup2, dup3] = [33, 292];
    assert_eq!(act(&p, X86_64, dup2, &[1, 2]), ALLOW);
    assert_eq!(act(&p, X86_64, dup2, &[1, 3]), EPERM);
    assert_eq!(act(&p, X86_64, dup3, &[1, 9]), ALLOW);
    assert_eq!(act(&p, X86_64, dup3, &[2, 9]), ALLOW);
    assert_eq!(act(&p, X86_64, dup3, &[3, 9]), EPERM);
}

#[test]
fn i386_multiplexers() {
    let p = compiled(json!({"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86"],
        "syscalls": [{"names": ["bind", "accept", "semop", "shmat", "sendmmsg"], "action": "SCMP_ACT_ALLOW"}]}))
    .program;
    let [socketcall, ipc] = [102, 117];
    for (call, wanted) in [(1, EPERM), (2, ALLOW), (3, EPERM), (5, ALLOW), (20, ALLOW), (21, EPERM)] {
        assert_eq!(act(&p, I386, socketcall, &[call]), wanted, "socketcall {call}");
    }
    for (call, wanted) in [(1, ALLOW), (2, EPERM), (21, ALLOW), (0x1_0015, ALLOW), (0x1_0016, EPERM)] {
        assert_eq!(act(&p, I386, ipc, &[call]), wanted, "ipc {call:#x}");
    }
    for (direct, wanted) in [(359, EPERM), (361, ALLOW), (397, ALLOW), (398, ENOSYS), (345, ALLOW)] {
        assert_eq!(act(&p, I386, direct, &[]), wanted, "direct {direct}");
    }
    // The native ABI has no multiplexer: 102 is getuid there.
    assert_eq!(act(&p, X86_64, socketcall, &[2]), EPERM);
}

#[test]
fn conditions_of_a_multiplexed_call() {
    let p = compiled(json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86"],
        "syscalls": [{"names": ["socket"], "action": "SCMP_ACT_ERRNO",
                      "args": [{"index": 0, "value": 40, "op": "SCMP_CMP_EQ"}]}]}))
    .program;
    assert_eq!(act(&p, I386, 359, &[40]), EPERM);
    assert_eq!(act(&p, I386, 359, &[2]), ALLOW);
    // The family lies in memory: every socket by this way, as with libseccomp.
    assert_eq!(act(&p, I386, 102, &[1]), EPERM);
    assert_eq!(act(&p, I386, 102, &[40]), ALLOW);
}

#[test]
fn conflicts() {
    let entry = |action, value: Option<u64>| match value {
        Some(value) => json!({"names": ["dup"], "action": action,
            "args": [{"index": 0, "value": value, "op": "SCMP_CMP_GE"}]}),
        None => json!({"names": ["dup"], "action": action}),
    };
    let dup = |entries: Vec<serde_json::Value>, argument| {
        let p = compiled(json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": entries})).program;
        act(&p, X86_64, 32, &[argument])
    };
    let (log, trap, kill) = ("SCMP_ACT_LOG", "SCMP_ACT_TRAP", "SCMP_ACT_KILL");
    let (allow, eperm) = ("SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO");
    // Unconditional wins wherever it stands, the first of two.
    assert_eq!(dup(vec![entry(log, Some(3)), entry(allow, None), entry(kill, None)], 5), ALLOW);
    // Otherwise the order decides.
    assert_eq!(dup(vec![entry(log, Some(3)), entry(trap, Some(5))], 7), libc::SECCOMP_RET_LOG);
    assert_eq!(dup(vec![entry(trap, Some(5)), entry(log, Some(3))], 7), libc::SECCOMP_RET_TRAP);
    assert_eq!(dup(vec![entry(trap, Some(5)), entry(log, Some(3))], 4), libc::SECCOMP_RET_LOG);
    // A rule that repeats the default is no rule.
    assert_eq!(dup(vec![entry(eperm, None), entry(log, Some(3))], 4), libc::SECCOMP_RET_LOG);
    assert_eq!(dup(vec![entry(log, Some(3)), entry(log, Some(3))], 4), libc::SECCOMP_RET_LOG);
    assert_eq!(
        fault(json!({"defaultAction": "SCMP_ACT_ERRNO",
            "syscalls": [entry(log, Some(3)), entry(trap, Some(5)), entry(trap, Some(3))]})),
        "linux.seccomp.syscalls[2]: contradicts syscalls[0]: the same conditions on dup, another action"
    );
}

#[test]
fn enosys_above_the_newest_named_call() {
    let of = |default, more: &str| {
        let mut json = json!({"defaultAction": default,
            "architectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"], "syscalls": [
                {"names": ["statx", more], "action": "SCMP_ACT_TRAP"},
                // Names the newest without having a rule of its own.
                {"names": ["io_pgetevents"], "action": default}]});
        if default == "SCMP_ACT_ERRNO" {
            json["defaultErrnoRet"] = json!(13);
            json["syscalls"][1]["errnoRet"] = json!(13);
        }
        compiled(json).program
    };
    let p = of("SCMP_ACT_ERRNO", "statx");
    let eacces = errno(libc::EACCES);
    assert_eq!(act(&p, X86_64, 332, &[]), libc::SECCOMP_RET_TRAP);
    assert_eq!(act(&p, X86_64, 331, &[]), eacces);
    assert_eq!(act(&p, X86_64, 333, &[]), eacces);
    assert_eq!(act(&p, X86_64, 334, &[]), ENOSYS);
    assert_eq!(act(&p, X86_64, X32_BIT - 1, &[]), ENOSYS);
    assert_eq!(act(&p, X86_64, X32_BIT | 333, &[]), eacces);
    assert_eq!(act(&p, X86_64, X32_BIT | 334, &[]), ENOSYS);
    assert_eq!(act(&p, I386, 385, &[]), eacces);
    assert_eq!(act(&p, I386, 386, &[]), ENOSYS);
    assert_eq!(act(&p, I386, u32::MAX, &[]), ENOSYS);
    // x32 numbers some calls from 512 up.
    let p = of("SCMP_ACT_KILL_PROCESS", "waitid");
    assert_eq!(act(&p, X86_64, X32_BIT | 400, &[]), libc::SECCOMP_RET_KILL_PROCESS);
    assert_eq!(act(&p, X86_64, X32_BIT | 530, &[]), ENOSYS);
    for (default, word) in [
        ("SCMP_ACT_ALLOW", ALLOW),
        ("SCMP_ACT_LOG", libc::SECCOMP_RET_LOG),
        ("SCMP_ACT_TRACE", libc::SECCOMP_RET_TRACE | 1),
    ] {
        assert_eq!(act(&of(default, "statx"), X86_64, 999, &[]), word, "{default}");
    }
    // Nothing named: nothing is newer.
    let p = compiled(json!({"defaultAction": "SCMP_ACT_ERRNO"})).program;
    assert_eq!(act(&p, X86_64, 999, &[]), EPERM);
}

#[test]
fn aarch64_with_arm() {
    let json = json!({"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_ARM"],
        "syscalls": [{"names": ["newfstatat", "clone3", "set_tls"], "action": "SCMP_ACT_ALLOW"}]});
    let p = plan(&profile(json), Arch::ScmpArchAarch64, &mut Vec::new()).unwrap().unwrap().program;
    assert_eq!(act(&p, AARCH64, 79, &[]), ALLOW);
    assert_eq!(act(&p, AARCH64, 80, &[]), EPERM);
    assert_eq!(act(&p, AARCH64, 436, &[]), ENOSYS);
    assert_eq!(act(&p, ARM, 435, &[]), ALLOW);
    assert_eq!(act(&p, ARM, 436, &[]), ENOSYS);
    assert_eq!(act(&p, ARM, 0xf_0005, &[]), ALLOW);
    assert_eq!(act(&p, X86_64, 435, &[]), KILL);
    // No x32 here: the bit is just a large number.
    assert_eq!(act(&p, AARCH64, X32_BIT | 79, &[]), ENOSYS);
}

#[test]
fn unsupported_machine_is_an_error() {
    let e = plan(&profile(json!({"defaultAction": "SCMP_ACT_LOG"})), Arch::ScmpArchSh, &mut Vec::new());
    assert_eq!(e.unwrap_err().to_string(), "linux.seccomp: is not supported on SCMP_ARCH_SH");
}

#[test]
fn every_architecture_is_accepted() {
    let names: Vec<String> = ARCHITECTURES.iter().map(Arch::to_string).collect();
    let p = compiled(json!({"defaultAction": "SCMP_ACT_LOG", "architectures": names})).program;
    assert_eq!(act(&p, I386, 1, &[]), libc::SECCOMP_RET_LOG);
    assert_eq!(act(&p, AARCH64, 1, &[]), KILL);
    let p = compiled(json!({"defaultAction": "SCMP_ACT_LOG", "architectures": ["SCMP_ARCH_NATIVE"]})).program;
    assert_eq!(act(&p, X86_64, 1, &[]), libc::SECCOMP_RET_LOG);
    assert_eq!(act(&p, I386, 1, &[]), KILL);
}

#[test]
fn notify_and_its_listener() {
    let entry = json!([{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]);
    let p = compiled(json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": entry,
        "flags": ["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],
        "listenerPath": "/run/agent", "listenerMetadata": "m"}));
    assert_eq!(act(&p.program, X86_64, 83, &[]), libc::SECCOMP_RET_USER_NOTIF);
    assert!(p.notify && !p.flags_default);
    assert_eq!(p.listener, Some(Listener { path: "/run/agent".into(), metadata: "m".into() }));
    assert_eq!(p.flags, 1 | 8 | 16 | 32);

    let p = compiled(json!({"defaultAction": "SCMP_ACT_LOG", "listenerPath": "/run/agent"}));
    assert_eq!((p.notify, p.listener, p.flags, p.flags_default), (false, None, 4, true));

    let log = "SCMP_ACT_LOG";
    assert_eq!(
        fault(json!({"defaultAction": log, "syscalls": entry})),
        "linux.seccomp.syscalls[0].action: SCMP_ACT_NOTIFY needs linux.seccomp.listenerPath"
    );
    assert_eq!(
        fault(json!({"defaultAction": log, "listenerMetadata": "m"})),
        "linux.seccomp.listenerMetadata: is set without listenerPath"
    );
    assert_eq!(
        fault(json!({"defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": "/s"})),
        "linux.seccomp.defaultAction: cannot be SCMP_ACT_NOTIFY"
    );
}

#[test]
fn flags() {
    let of = |list: serde_json::Value| {
        let mut warnings = Vec::new();
        let json = json!({"defaultAction": "SCMP_ACT_LOG", "flags": list});
        let p = plan(&profile(json), NATIVE, &mut warnings).unwrap().unwrap();
        (p.flags, p.flags_default, warnings.len())
    };
    assert_eq!(of(json!([])), (0, false, 0));
    assert_eq!(of(json!(null)), (4, true, 0));
    assert_eq!(of(json!(["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_LOG"])), (2, false, 0));
    assert_eq!(of(json!(["SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_TSYNC"])), (5, false, 0));
    assert_eq!(of(json!(["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"])), (0, false, 1));
}

#[test]
fn several_problems_are_one_error() {
    assert_eq!(
        fault(json!({"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1, "syscalls": [
            {"names": [], "action": "SCMP_ACT_KILL"}]})),
        "linux.seccomp.defaultErrnoRet: SCMP_ACT_ALLOW takes no errno; \
         linux.seccomp.syscalls[0].names: is empty"
    );
}

#[test]
fn unknown_names_are_one_warning() {
    let mut warnings = Vec::new();
    let json = json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
        {"names": ["read", "nope", "s390_pci_mmio_read"], "action": "SCMP_ACT_ALLOW"},
        {"names": ["nope", "never"], "action": "SCMP_ACT_ALLOW"}]});
    plan(&profile(json), NATIVE, &mut warnings).unwrap();
    assert_eq!(warnings, ["linux.seccomp.syscalls: unknown system calls are ignored: nope, never"]);
}

#[test]
fn a_profile_that_says_nothing() {
    let of = |json| plan(&profile(json), NATIVE, &mut Vec::new()).unwrap();
    assert_eq!(of(json!({"defaultAction": "SCMP_ACT_ALLOW"})), None);
    assert!(of(json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86"]})).is_some());
    assert!(of(json!({"defaultAction": "SCMP_ACT_KILL"})).is_some());
}

/// Every other call of the table, each with a decision of its own: trees and decisions far apart.
fn long(values: u64) -> serde_json::Value {
    let mut syscalls = Vec::new();
    for (i, call) in syscalls::x86_64::Sysno::iter().enumerate().filter(|(i, _)| i % 2 == 0) {
        let mut args = Vec::new();
        for v in 0..values {
            args.push(json!({"index": i % 6, "value": v * 7 + i as u64, "op": "SCMP_CMP_GT"}));
        }
        syscalls.push(json!({"names": [call.name()], "action": "SCMP_ACT_ERRNO", "errnoRet": i + 2,
            "args": args}));
    }
    syscalls.push(json!({"names": ["file_setattr"], "action": "SCMP_ACT_LOG"}));
    json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": syscalls})
}

#[test]
fn far_jumps() {
    let p = compiled(long(2)).program;
    assert!(p.len() > 1000);
    assert!(p.iter().any(|i| i.code == emit::code::JUMP), "no stepping stone in {} instructions", p.len());
    for (i, call) in syscalls::x86_64::Sysno::iter().enumerate() {
        let mut args = [0; 6];
        let wanted = errno(i32::try_from(i + 2).unwrap());
        args[i % 6] = i as u64 + 1;
        let action = act(&p, X86_64, call.id() as u32, &args);
        assert_eq!(action == wanted, i % 2 == 0, "{call}");
        args[i % 6] = i as u64;
        assert_eq!(act(&p, X86_64, call.id() as u32, &args), EPERM, "{call}");
    }
}

#[test]
fn too_long_is_an_error() {
    let text = fault(long(8));
    assert!(text.starts_with("linux.seccomp.syscalls: need "), "{text}");
    assert!(text.ends_with(" instructions, the kernel takes 4096"), "{text}");
}

#[test]
fn agrees_with_seccompiler() {
    use seccompiler::{
        SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    };
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    let mut syscalls = Vec::new();
    let ops = [
        (SeccompCmpOp::Ne, "SCMP_CMP_NE"),
        (SeccompCmpOp::Lt, "SCMP_CMP_LT"),
        (SeccompCmpOp::Le, "SCMP_CMP_LE"),
        (SeccompCmpOp::Eq, "SCMP_CMP_EQ"),
        (SeccompCmpOp::Ge, "SCMP_CMP_GE"),
        (SeccompCmpOp::Gt, "SCMP_CMP_GT"),
        (SeccompCmpOp::MaskedEq(0xf0_0000_00f0), "SCMP_CMP_MASKED_EQ"),
    ];
    let datum = 0x10_0000_0010;
    for (i, call) in syscalls::x86_64::Sysno::iter().enumerate().filter(|(i, _)| i % 3 != 0) {
        let (op, name) = &ops[i % ops.len()];
        let index = u8::try_from(i % 6).unwrap();
        let condition = SeccompCondition::new(index, SeccompCmpArgLen::Qword, op.clone(), datum).unwrap();
        let rule = SeccompRule::new(vec![condition]).unwrap();
        rules.insert(call.id().into(), if i % 3 == 1 { vec![] } else { vec![rule] });
        let (value, two) =
            if let SeccompCmpOp::MaskedEq(mask) = op { (*mask, Some(datum)) } else { (datum, None) };
        let args = json!([{"index": index, "value": value, "valueTwo": two, "op": name}]);
        let args = if i % 3 == 1 { json!([]) } else { args };
        syscalls
            .push(json!({"names": [call.name()], "action": "SCMP_ACT_ERRNO", "errnoRet": 5, "args": args}));
    }
    let theirs: seccompiler::BpfProgram = SeccompFilter::new(
        rules,
        SeccompAction::Allow,
        SeccompAction::Errno(5),
        seccompiler::TargetArch::x86_64,
    )
    .unwrap()
    .try_into()
    .unwrap();
    let ours = compiled(json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": syscalls})).program;
    for nr in 0..1000 {
        for value in [0, datum - 1, datum, datum + 1, 0x10, 0xf_ffff_ffff, 0x1f_0000_001f, u64::MAX] {
            assert_eq!(
                act(&ours, X86_64, nr, &[value; 6]),
                act(&theirs, X86_64, nr, &[value; 6]),
                "{nr} {value}"
            );
        }
    }
}

#[test]
fn serialized_as_numbers() {
    let p = compiled(json!({"defaultAction": "SCMP_ACT_KILL_PROCESS", "architectures": ["SCMP_ARCH_X86"]}));
    let json = serde_json::to_value(&p).unwrap();
    assert_eq!(json["program"][0], json!([0x20, 0, 0, 4]));
    assert_eq!(json["flags"], 4);
}

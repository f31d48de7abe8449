//! Random profiles against `evaluator`, with the numbers of the `syscalls` crate.

use proptest::prelude::{Just, Strategy, any};
use proptest::sample::select;
use serde_json::json;

use super::interpreter::{Call, run};
use super::*;

const X86_64: u32 = 0xc000_003e;
const I386: u32 = 0x4000_0003;
const AARCH64: u32 = 0xc000_00b7;
const X32_BIT: u32 = 0x4000_0000;

const KILL: u32 = libc::SECCOMP_RET_KILL_THREAD;

fn profile(json: serde_json::Value) -> LinuxSeccomp {
    serde_json::from_value(json).unwrap()
}

/// The verdict for a machine of x86_64.
fn reference(profile: &LinuxSeccomp, arch: u32, nr: u32, args: &[u64; 6]) -> u32 {
    let listed = |arch| profile.architectures().iter().flatten().any(|a| *a == arch);
    // Numbers without the bit above it are no calls at all; libseccomp takes them for x32 as well.
    let x32 = arch == X86_64 && nr >= X32_BIT && nr != u32::MAX;
    if (x32 && !listed(Arch::ScmpArchX32))
        || (arch == I386 && !listed(Arch::ScmpArchX86))
        || ![X86_64, I386].contains(&arch)
    {
        return KILL;
    }
    let number = |name: &str| -> Option<u32> {
        let native = || name.parse::<syscalls::x86_64::Sysno>().ok().map(|n| n.id() as u32);
        match (arch, x32) {
            (I386, _) => name.parse::<syscalls::x86::Sysno>().ok().map(|n| n.id() as u32),
            (_, true) => match name {
                "ioctl" => Some(X32_BIT | 514),
                "preadv2" => Some(X32_BIT | 546),
                _ => native().map(|n| n | X32_BIT),
            },
            _ => native(),
        }
    };
    let abi = evaluator::Abi { number: &number, narrow: x32 || arch == I386, inner: &|_| None };
    evaluator::evaluate(profile, &abi, nr, args)
}

const NAMES: [&str; 10] =
    ["read", "write", "open", "close", "ioctl", "preadv2", "getpid", "clone3", "statx", "file_setattr"];

fn any_value() -> impl Strategy<Value = u64> {
    let edges = vec![0, 1, 2, 3, 0xffff_ffff, 0x1_0000_0000, 0x1_0000_0001, 0xffff_ffff_0000_0000, u64::MAX];
    proptest::prop_oneof![3 => select(edges), 1 => any::<u64>()]
}

fn any_action() -> impl Strategy<Value = (LinuxSeccompAction, Option<u32>)> {
    let with = |action| (Just(action), proptest::option::of(0..4096u32));
    proptest::prop_oneof![
        select(ACTIONS.to_vec())
            .prop_filter("needs a listener", |a| *a != LinuxSeccompAction::ScmpActNotify)
            .prop_map(|action| (action, None)),
        with(LinuxSeccompAction::ScmpActErrno),
        with(LinuxSeccompAction::ScmpActTrace),
    ]
}

fn any_profile() -> impl Strategy<Value = LinuxSeccomp> {
    let arg = (0..3usize, any_value(), proptest::option::of(any_value()), select(OPERATORS.to_vec()))
        .prop_map(
            |(index, value, two, op)| json!({"index": index, "value": value, "valueTwo": two, "op": op}),
        );
    let entry = (
        proptest::collection::vec(select(NAMES.to_vec()), 1..5),
        any_action(),
        proptest::collection::vec(arg, 0..4),
    )
        .prop_map(|(names, (action, errno), args)| {
            json!({"names": names, "action": action, "errnoRet": errno, "args": args})
        });
    let architectures = select(vec![
        json!(null),
        json!(["SCMP_ARCH_X86"]),
        json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X32"]),
        json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_ARM"]),
    ]);
    (any_action(), architectures, proptest::collection::vec(entry, 0..12)).prop_map(
        |((action, errno), architectures, syscalls)| {
            profile(json!({"defaultAction": action, "defaultErrnoRet": errno, "architectures": architectures,
                "syscalls": syscalls}))
        },
    )
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..Default::default() })]
    #[test]
    fn random_profiles(profile in any_profile(), values in proptest::collection::vec(any_value(), 12)) {
        let ours = match plan(&profile, Arch::ScmpArchX86_64, &mut Vec::new()) {
            Ok(Some(plan)) => plan.program,
            Ok(None) => return Ok(()),
            Err(e) => {
                proptest::prop_assert!(e.to_string().contains("contradicts"), "{e}");
                return Ok(());
            }
        };
        let mut numbers: Vec<u32> = (0..6).chain(14..20).chain([39, 327, 328, 332, 333, 434, 435, 436, 468, 469, 470]).collect();
        numbers.extend([383, 384, 378, 54, X32_BIT - 1, X32_BIT, X32_BIT + 514, X32_BIT + 546, X32_BIT + 547, u32::MAX - 1, u32::MAX]);
        numbers.extend([X32_BIT + 1, X32_BIT + 39, X32_BIT + 16, X32_BIT + 469, 0x7fff_ffff, 0x8000_0000]);
        for arch in [X86_64, I386, AARCH64, 0] {
            for nr in &numbers {
                for args in values.windows(6).step_by(2) {
                    let args: [u64; 6] = args.try_into().unwrap();
                    // The multiplexers and x32's own numbers have tests of their own.
                    if *nr == X32_BIT + 16 { continue; }
                    let wanted = reference(&profile, arch, *nr, &args);
                    let got = run(&ours, &Call { nr: *nr, arch, args }).action;
                    proptest::prop_assert_eq!(got, wanted, "{:#x} {:#x} {:?}", arch, nr, args);
                }
            }
        }
    }
}

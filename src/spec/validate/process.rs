//! The rules of the `process` object, of the container's own and of one that `exec` brings. Pure.

use super::super::field::Field;
use super::super::{Mended, mapping_of, names};
use super::{Problems, namespace, variable};
use oci_spec::runtime::{
    Linux, LinuxIdMapping, LinuxNamespaceType, LinuxSchedulerPolicy, Process, Scheduler, User,
};

/// More supplementary groups than setgroups(2) takes.
const GIDS_MAX: usize = 65536;
/// setresuid(2) and its kin take -1 as "leave it": the caller's identity would be kept.
const NO_ID: u32 = u32::MAX;

pub(super) fn check(process: &Process, mended: &Mended, linux: Option<&Linux>, problems: &mut Problems) {
    arguments(process, problems);
    for (i, text) in process.env().iter().flatten().enumerate() {
        variable(|| Field::new("process.env").item(i), text, problems);
    }
    let cwd = process.cwd();
    if !cwd.is_absolute() {
        problems.add("process.cwd", format_args!("{cwd:?} is not an absolute path"));
    } else if super::has_nul(cwd) {
        problems.add("process.cwd", "holds a NUL byte");
    }
    console(process, problems);
    user(process.user(), linux, problems);
    rlimits(process, problems);
    if let Some(adj) = process.oom_score_adj().filter(|adj| !(-1000..=1000).contains(adj)) {
        problems.add("process.oomScoreAdj", format_args!("{adj} is not between -1000 and 1000"));
    }
    if let Some(label) = process.apparmor_profile().as_ref().filter(|label| label.contains('\0')) {
        problems.add("process.apparmorProfile", format_args!("{label:?} holds a NUL byte"));
    }
    if let Some(label) = process.selinux_label().as_ref().filter(|label| label.contains('\0')) {
        problems.add("process.selinuxLabel", format_args!("{label:?} holds a NUL byte"));
    }
    if let Some(scheduler) = process.scheduler() {
        scheduling(scheduler, mended, problems);
    }
    if let Some(io) = process.io_priority()
        && !(0..=7).contains(&io.priority())
    {
        problems.add("process.ioPriority.priority", format_args!("{} is not between 0 and 7", io.priority()));
    }
    if let Some(affinity) = process.exec_cpu_affinity() {
        cpu_list(affinity.initial(), "process.execCPUAffinity.initial", problems);
        cpu_list(affinity.cpu_affinity_final(), "process.execCPUAffinity.final", problems);
    }
}

fn arguments(process: &Process, problems: &mut Problems) {
    match process.args() {
        Some(args) if !args.is_empty() => {
            for (i, arg) in args.iter().enumerate().filter(|(_, arg)| arg.contains('\0')) {
                problems.add(Field::new("process.args").item(i), format_args!("{arg:?} holds a NUL byte"));
            }
        }
        _ => problems.add("process.args", "must hold at least one entry"),
    }
}

fn console(process: &Process, problems: &mut Problems) {
    let Some(size) = process.console_size().filter(|_| process.terminal() == Some(true)) else { return };
    for (field, cells) in [("height", size.height()), ("width", size.width())] {
        // struct winsize has 16 bits for each.
        if cells > u64::from(u16::MAX) {
            problems
                .add(Field::new("process.consoleSize").member(field), format_args!("{cells} is above 65535"));
        }
    }
}

fn user(user: &User, linux: Option<&Linux>, problems: &mut Problems) {
    let field = Field::new("process.user");
    if let Some(umask) = user.umask().filter(|umask| *umask > 0o777) {
        problems.add(field.member("umask"), format_args!("{umask} (0{umask:o}) is above 0777"));
    }
    let gids = user.additional_gids().as_deref().unwrap_or_default();
    if gids.len() > GIDS_MAX {
        let count = gids.len();
        problems.add(
            field.member("additionalGids"),
            format_args!("{count} groups, at most {GIDS_MAX} are possible"),
        );
    }
    let (uids_mapped, gids_mapped) = mappings_of_user_namespace(linux);
    id(&field.member("uid"), user.uid(), uids_mapped, "cannot setuid to unmapped uid", problems);
    id(&field.member("gid"), user.gid(), gids_mapped, "cannot setgid to unmapped gid", problems);
    // Tens of thousands of them are possible: one message is enough.
    let bad = |gid: u32| gid == NO_ID || gids_mapped.is_some_and(|maps| !is_mapped(gid, maps));
    if let Some(i) = gids.iter().take(GIDS_MAX).position(|gid| bad(*gid)) {
        let field = field.member("additionalGids").item(i);
        id(&field, gids[i], gids_mapped, "cannot set unmapped additional gid", problems);
    }
}

type Mappings<'a> = Option<&'a [LinuxIdMapping]>;

/// The mappings, when the container gets a user namespace with these; a joined one may have others.
fn mappings_of_user_namespace(linux: Option<&Linux>) -> (Mappings<'_>, Mappings<'_>) {
    let Some(linux) = linux else { return (None, None) };
    let new = namespace(Some(linux), LinuxNamespaceType::User).is_some_and(|user| user.path().is_none());
    let given =
        |maps: &'_ Option<Vec<LinuxIdMapping>>| new && maps.as_ref().is_some_and(|maps| !maps.is_empty());
    let uids = linux.uid_mappings().as_deref().filter(|_| given(linux.uid_mappings()));
    let gids = linux.gid_mappings().as_deref().filter(|_| given(linux.gid_mappings()));
    (uids, gids)
}

fn is_mapped(id: u32, mappings: &[LinuxIdMapping]) -> bool {
    mapping_of(id, mappings).is_some()
}

fn id(field: &Field, id: u32, mappings: Mappings<'_>, unmapped: &str, problems: &mut Problems) {
    if id == NO_ID {
        problems.add(field, format_args!("{id} is not an id"));
    } else if mappings.is_some_and(|mappings| !is_mapped(id, mappings)) {
        problems.add(field, format_args!("{unmapped} {id}"));
    }
}

fn rlimits(process: &Process, problems: &mut Problems) {
    let field = Field::new("process.rlimits");
    let limits = process.rlimits().as_deref().unwrap_or_default();
    for (i, limit) in limits.iter().enumerate() {
        if limits[..i].iter().any(|before| before.typ() == limit.typ()) {
            problems.add(field.item(i).member("type"), format_args!("{} is listed twice", limit.typ()));
        }
        if limit.soft() > limit.hard() {
            let (soft, hard) = (limit.soft(), limit.hard());
            problems.add(field.item(i).member("soft"), format_args!("{soft} is above the hard limit {hard}"));
        }
    }
}

/// sched_setattr(2) and the rules of the specification.
fn scheduling(scheduler: &Scheduler, mended: &Mended, problems: &mut Problems) {
    use LinuxSchedulerPolicy::{SchedBatch, SchedDeadline, SchedFifo, SchedOther, SchedRr};
    let field = Field::new("process.scheduler");
    let policy = *scheduler.policy();
    let nice = scheduler.nice().unwrap_or(0);
    if matches!(policy, SchedOther | SchedBatch) {
        if !(-20..=19).contains(&nice) {
            problems.add(field.member("nice"), format_args!("{nice} is not between -20 and 19"));
        }
    } else if nice != 0 {
        problems.add(field.member("nice"), format_args!("has no meaning with {policy}"));
    }
    let priority = scheduler.priority().unwrap_or(0);
    if matches!(policy, SchedFifo | SchedRr) {
        if !(1..=99).contains(&priority) {
            problems.add(
                field.member("priority"),
                format_args!("{policy} needs one from 1 to 99, not {priority}"),
            );
        }
    } else if priority != 0 {
        problems.add(field.member("priority"), format_args!("has no meaning with {policy}"));
    }
    let times = [
        ("runtime", scheduler.runtime()),
        ("deadline", scheduler.deadline()),
        ("period", scheduler.period()),
    ];
    for (member, time) in times {
        let time = time.unwrap_or(0);
        if policy != SchedDeadline && time != 0 {
            problems.add(field.member(member), format_args!("has no meaning with {policy}"));
        } else if policy == SchedDeadline && time == 0 && member != "period" {
            problems.add(field.member(member), "SCHED_DEADLINE needs one above 0");
        }
    }
    if policy == SchedDeadline {
        deadline_order(scheduler, &field, problems);
    }
    for (i, flag) in mended.scheduler_flags.iter().enumerate() {
        if names::scheduler_flag(flag).is_none() {
            problems.add(field.member("flags").item(i), format_args!("unknown value {flag:?}"));
        }
    }
}

/// sched(7): runtime <= deadline <= period; an absent period is the deadline.
fn deadline_order(scheduler: &Scheduler, field: &Field, problems: &mut Problems) {
    let deadline = scheduler.deadline().unwrap_or(0);
    let period = match scheduler.period() {
        None | Some(0) => deadline,
        Some(period) => *period,
    };
    if deadline != 0 && scheduler.runtime().unwrap_or(0) > deadline {
        problems.add(field.member("runtime"), "is longer than the deadline");
    }
    if deadline > period {
        problems.add(field.member("deadline"), "is longer than the period");
    }
}

/// `0-3,7`: blanks and empty items are gone by now.
fn cpu_list(list: &Option<String>, field: &str, problems: &mut Problems) {
    let range = |item: &str| {
        let (first, last) = item.split_once('-').unwrap_or((item, item));
        matches!((first.parse::<u16>(), last.parse::<u16>()), (Ok(first), Ok(last)) if first <= last)
    };
    if let Some(list) = list.as_ref().filter(|list| !list.split(',').all(range)) {
        problems.add(field, format_args!("invalid CPU list {list:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::parse_process;
    use super::super::tests::{rows, table};
    use super::super::validate_process;
    use serde_json::{Value, json};

    #[test]
    fn process_members() {
        rows(
            "process.args",
            &[
                (json!(null), "process.args: must hold at least one entry"),
                (json!([]), "process.args: must hold at least one entry"),
                (json!(["sh", "a\0b"]), "process.args[1]: \"a\\0b\" holds a NUL byte"),
            ],
        );
        rows(
            "process.cwd",
            &[
                (json!("rel"), "process.cwd: \"rel\" is not an absolute path"),
                (json!(""), "process.cwd: \"\" is not an absolute path"),
                (json!("/a\0"), "process.cwd: holds a NUL byte"),
            ],
        );
        rows(
            "process.env",
            &[
                (json!(["A=b", "C=", "D==x"]), ""),
                (json!(["A=b", "SECRET"]), "process.env[1]: has no \"=\""),
                (json!(["=x"]), "process.env[0]: has no name before the \"=\""),
                (json!(["A=\0"]), "process.env[0]: holds a NUL byte"),
            ],
        );
        rows(
            "process.oomScoreAdj",
            &[
                (json!(-1000), ""),
                (json!(1000), ""),
                (json!(-1001), "process.oomScoreAdj: -1001 is not between -1000 and 1000"),
                (json!(1001), "process.oomScoreAdj: 1001 is not between -1000 and 1000"),
            ],
        );
        rows(
            "process.rlimits",
            &[
                (
                    json!([{"type": "RLIMIT_CPU", "soft": 1, "hard": 1}, {"type": "RLIMIT_CORE", "soft": 0, "hard": 0}]),
                    "",
                ),
                (
                    json!([{"type": "RLIMIT_CPU", "soft": 1, "hard": 1}, {"type": "RLIMIT_CPU", "soft": 1, "hard": 1}]),
                    "process.rlimits[1].type: RLIMIT_CPU is listed twice",
                ),
                (
                    json!([{"type": "RLIMIT_CPU", "soft": 2, "hard": 1}]),
                    "process.rlimits[0].soft: 2 is above the hard limit 1",
                ),
                (json!([{"type": "RLIMIT_CPU", "hard": 1}]), "process.rlimits[0].soft: is missing"),
            ],
        );
        rows(
            "process.apparmorProfile",
            &[(json!("a\0"), "process.apparmorProfile: \"a\\0\" holds a NUL byte")],
        );
        rows("process.selinuxLabel", &[(json!("a\0"), "process.selinuxLabel: \"a\\0\" holds a NUL byte")]);
        rows(
            "process.ioPriority",
            &[
                (json!({"class": "IOPRIO_CLASS_RT", "priority": 7}), ""),
                (json!({"class": "IOPRIO_CLASS_IDLE"}), ""),
                // ioprio_set(2) takes a level for it, and knows no difference.
                (json!({"class": "IOPRIO_CLASS_IDLE", "priority": 4}), ""),
                (json!({"priority": 1}), "process.ioPriority.class: is missing"),
                (
                    json!({"class": "IOPRIO_CLASS_BE", "priority": 8}),
                    "process.ioPriority.priority: 8 is not between 0 and 7",
                ),
                (
                    json!({"class": "IOPRIO_CLASS_BE", "priority": -1}),
                    "process.ioPriority.priority: -1 is not between 0 and 7",
                ),
            ],
        );
        rows(
            "process.execCPUAffinity",
            &[
                (json!({"initial": "0-3, 7", "final": ""}), ""),
                (json!({"initial": "3-0"}), "process.execCPUAffinity.initial: invalid CPU list \"3-0\""),
                (json!({"final": "70000"}), "process.execCPUAffinity.final: invalid CPU list \"70000\""),
            ],
        );
        table(&[
            (
                &[
                    ("process.terminal", json!(true)),
                    ("process.consoleSize", json!({"height": 65536, "width": 65535})),
                ],
                &["process.consoleSize.height: 65536 is above 65535"],
            ),
            (&[("process.consoleSize", json!({"height": 65536, "width": 1}))], &[]),
        ]);
    }

    #[test]
    fn user() {
        rows(
            "process.user",
            &[
                (json!({"uid": 4_294_967_294_u32, "gid": 5, "umask": 0o777, "additionalGids": [1, 2]}), ""),
                (json!({"uid": u32::MAX}), "process.user.uid: 4294967295 is not an id"),
                (json!({"gid": u32::MAX}), "process.user.gid: 4294967295 is not an id"),
                (
                    json!({"additionalGids": [1, u32::MAX, u32::MAX]}),
                    "process.user.additionalGids[1]: 4294967295 is not an id",
                ),
                (json!({"umask": 512}), "process.user.umask: 512 (01000) is above 0777"),
                (
                    json!({"additionalGids": vec![1; 65537]}),
                    "process.user.additionalGids: 65537 groups, at most 65536 are possible",
                ),
            ],
        );
        let maps = json!([{"containerID": 0, "hostID": 1000, "size": 10}]);
        let user_namespace = |path: Value| {
            [
                ("linux.namespaces", json!([{"type": "mount"}, {"type": "user", "path": path}])),
                ("linux.uidMappings", maps.clone()),
                ("linux.gidMappings", maps.clone()),
                ("process.user", json!({"uid": 10, "gid": 11, "additionalGids": [9, 10]})),
            ]
        };
        table(&[
            (
                &user_namespace(json!(null)),
                &[
                    "process.user.uid: cannot setuid to unmapped uid 10",
                    "process.user.gid: cannot setgid to unmapped gid 11",
                    "process.user.additionalGids[1]: cannot set unmapped additional gid 10",
                ],
            ),
            // What a namespace that is joined maps is not known here.
            (&user_namespace(json!("/proc/1/ns/user")), &[]),
        ]);
    }

    #[test]
    fn scheduler() {
        let not =
            |member: &str, policy: &str| format!("process.scheduler.{member}: has no meaning with {policy}");
        rows(
            "process.scheduler",
            &[
                (json!({"policy": "SCHED_OTHER", "nice": -20, "flags": ["SCHED_FLAG_RESET_ON_FORK"]}), ""),
                (
                    json!({"policy": "SCHED_BATCH", "nice": 20}),
                    "process.scheduler.nice: 20 is not between -20 and 19",
                ),
                (json!({"policy": "SCHED_FIFO", "priority": 1}), ""),
                (
                    json!({"policy": "SCHED_FIFO"}),
                    "process.scheduler.priority: SCHED_FIFO needs one from 1 to 99, not 0",
                ),
                (
                    json!({"policy": "SCHED_RR", "priority": 100}),
                    "process.scheduler.priority: SCHED_RR needs one from 1 to 99, not 100",
                ),
                (json!({"policy": "SCHED_OTHER", "priority": 1}), &not("priority", "SCHED_OTHER")),
                (json!({"policy": "SCHED_RR", "priority": 1, "nice": 1}), &not("nice", "SCHED_RR")),
                (json!({"policy": "SCHED_IDLE", "runtime": 1}), &not("runtime", "SCHED_IDLE")),
                (json!({"policy": "SCHED_OTHER", "period": 1}), &not("period", "SCHED_OTHER")),
                (json!({"policy": "SCHED_DEADLINE", "runtime": 10, "deadline": 20, "period": 20}), ""),
                (json!({"policy": "SCHED_DEADLINE", "runtime": 10, "deadline": 20}), ""),
                (
                    json!({"policy": "SCHED_DEADLINE", "runtime": 10, "period": 20}),
                    "process.scheduler.deadline: SCHED_DEADLINE needs one above 0",
                ),
                (
                    json!({"policy": "SCHED_DEADLINE", "runtime": 30, "deadline": 20}),
                    "process.scheduler.runtime: is longer than the deadline",
                ),
                (
                    json!({"policy": "SCHED_DEADLINE", "runtime": 1, "deadline": 20, "period": 10}),
                    "process.scheduler.deadline: is longer than the period",
                ),
            ],
        );
    }

    #[test]
    fn a_joining_process_is_checked_alike() {
        let part = parse_process("p.json", br#"{"cwd":"x","args":["sh"],"user":{"uid":0}}"#).unwrap();
        let faults: Vec<_> =
            validate_process(&part.value, &part.mended, None).iter().map(ToString::to_string).collect();
        assert_eq!(faults, ["process.cwd: \"x\" is not an absolute path"]);
    }
}

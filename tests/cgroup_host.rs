//! Real cgroups on the host that runs the tests: made, entered, limited, frozen, killed, removed.
//!
//! Needs root and skips with the reason without it. A child re-runs this binary, makes the container's
//! cgroups, enters them and prints the record; the test then works from that record alone.

#![allow(clippy::unwrap_used)]

mod skip;

use orlop::cgroup::{self, Freezer, Manager};
use orlop::host;
use orlop::plan::cgroup::facts::{CgroupFacts, HostHierarchy, Layout, Version};
use orlop::plan::cgroup::{self as plan, CgroupPlan, CgroupRecord, Driver, Wanted};
use skip::skip;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A user without rights.
const NOBODY: u32 = 65534;

const LIMITS: &str = r#"{
    "memory": {"limit": 67108864, "swap": 134217728, "reservation": 33554432},
    "cpu": {"shares": 512, "quota": 50000, "period": 100000, "cpus": "0", "mems": "0"},
    "devices": [{"allow": false, "access": "rwm"}]
}"#;

/// The part of the tests that may be skipped: None with a printed reason.
fn host_facts() -> Option<CgroupFacts> {
    if !rustix::process::geteuid().is_root() {
        skip(&["root"], "needs root");
        return None;
    }
    let facts = host::cgroup::facts().unwrap();
    if facts.hierarchies.is_empty() {
        skip(&[], "no cgroup file system is mounted");
        return None;
    }
    let writable = |h: &HostHierarchy| rustix::fs::access(&h.mount, rustix::fs::Access::WRITE_OK).is_ok();
    if !facts.hierarchies.iter().all(writable) {
        skip(&[], "the cgroup mounts are read-only");
        return None;
    }
    Some(facts)
}

/// A host that has only the cgroup2 tree, wherever it is mounted here.
fn only_v2(facts: &CgroupFacts) -> Option<CgroupFacts> {
    let tree = facts.hierarchies.iter().find(|h| h.version == Version::V2);
    if tree.is_none() {
        skip(&["cgroup2"], "no cgroup2 mount");
    }
    Some(CgroupFacts { layout: Layout::V2, hierarchies: vec![tree?.clone()], manager: None })
}

fn has(facts: &CgroupFacts, controller: &str) -> bool {
    facts.hierarchies.iter().any(|h| h.controllers.iter().any(|c| c == controller))
}

fn planned(name: &str, resources: &str, facts: &CgroupFacts) -> CgroupPlan {
    let resources = serde_json::from_str(resources).unwrap();
    let path = format!("/orlop-test-{}-{name}/c", std::process::id());
    let wanted = Wanted {
        id: "c",
        cgroups_path: Some(&path),
        driver: Driver::Cgroupfs,
        resources: Some(&resources),
        pids_limit: has(facts, "pids").then_some(20),
        hugepage_limits: &[],
        devices: &[],
        cgroupns: true,
        rootless: false,
        in_user_namespace: false,
        delegates: &[],
        asker: None,
        annotations: None,
    };
    plan::plan(&wanted, facts, &mut vec![]).unwrap()
}

/// Removes what the test made, parents included, and says whether nothing is left.
struct Cleaner(CgroupRecord);

impl Drop for Cleaner {
    fn drop(&mut self) {
        let manager = Manager::open(&self.0);
        let ended = manager.kill_all().and_then(|()| manager.remove());
        for dir in dirs(&self.0) {
            let parent = dir.parent().unwrap();
            if parent.exists() {
                std::fs::remove_dir(parent).unwrap();
            }
        }
        if !std::thread::panicking() {
            ended.unwrap();
        }
    }
}

fn create(plan: &CgroupPlan) -> orlop::error::Result<cgroup::Cgroups> {
    cgroup::create(plan, &mut plan.record())
}

fn dirs(record: &CgroupRecord) -> Vec<PathBuf> {
    record.hierarchies.iter().map(|h| h.mount.join(&h.path[1..])).collect()
}

fn dir(record: &CgroupRecord, controller: &str) -> PathBuf {
    let at = record.hierarchies.iter().position(|h| h.controllers.iter().any(|c| c == controller));
    dirs(record).swap_remove(at.unwrap())
}

fn read(dir: &std::path::Path, file: &str) -> String {
    std::fs::read_to_string(dir.join(file)).unwrap().trim().to_owned()
}

/// The child's part: create, enter, apply, run the script.
#[test]
fn child() {
    let Ok(task) = std::env::var("ORLOP_CGROUP_TEST") else { return };
    let (layout, resources) = task.split_once('|').unwrap();
    let mut facts = host::cgroup::facts().unwrap();
    if layout == "v2" {
        facts = only_v2(&facts).unwrap();
    }
    let plan = planned("child", resources, &facts);
    let mut cgroups = create(&plan).unwrap();
    assert_eq!(cgroups.clone_into().is_some(), layout == "v2");
    cgroups.enter_self().unwrap();
    cgroups.apply(&plan).unwrap();
    println!("record={}", serde_json::to_string(cgroups.record()).unwrap());
    let script = std::env::var("ORLOP_CGROUP_SCRIPT").unwrap();
    let mut shell = Command::new("sh").args(["-c", &script]).spawn().unwrap();
    println!("shell={}", shell.id());
    shell.wait().unwrap();
}

struct Container {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
    cleaner: Cleaner,
    shell: i32,
}

impl Container {
    fn run(layout: &str, resources: &str, script: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["child", "--exact", "--nocapture", "--test-threads=1"])
            .env("ORLOP_CGROUP_TEST", format!("{layout}|{resources}"))
            .env("ORLOP_CGROUP_SCRIPT", script)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let record = value(&mut lines, "record=");
        let cleaner = Cleaner(serde_json::from_str(&record).unwrap());
        let shell = value(&mut lines, "shell=").parse().unwrap();
        Self { child, lines, cleaner, shell }
    }

    fn record(&self) -> &CgroupRecord {
        &self.cleaner.0
    }

    fn manager(&self) -> Manager<'_> {
        Manager::open(self.record())
    }

    fn line(&mut self, start: &str) -> String {
        value(&mut self.lines, start)
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // Its end is the cleaner's business; this only collects it.
        let _ = Manager::open(self.record()).kill_all();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn value(lines: &mut impl BufRead, start: &str) -> String {
    let mut line = String::new();
    loop {
        line.clear();
        assert_ne!(lines.read_line(&mut line).unwrap(), 0, "the child ended before {start}");
        if let Some(at) = line.find(start) {
            return line[at + start.len()..].trim().to_owned();
        }
    }
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn process_state(pid: i32) -> char {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").map_or('-', |(_, rest)| rest.chars().next().unwrap())
}

#[test]
fn v1_limits_entry_freeze_kill_remove() {
    let Some(facts) = host_facts() else { return };
    let controllers = ["memory", "pids", "cpu", "cpuset", "devices", "freezer"];
    if !controllers.iter().all(|c| has(&facts, c)) || facts.layout == Layout::V2 {
        let needs = controllers.map(|c| format!("cgroup1:{c}"));
        return skip(&needs.each_ref().map(String::as_str), "needs the v1 controllers");
    }
    let mut container = Container::run(
        "host",
        LIMITS,
        "echo hello > /dev/null && echo null=ok; (exec 3< /dev/kmsg) 2>/dev/null && echo kmsg=ok || echo kmsg=no; \
         sleep 100 & sleep 100; wait",
    );
    assert_eq!(container.line("null="), "ok");
    assert_eq!(container.line("kmsg="), "no");
    let record = container.record();
    assert_eq!(read(&dir(record, "memory"), "memory.limit_in_bytes"), "67108864");
    assert_eq!(read(&dir(record, "memory"), "memory.memsw.limit_in_bytes"), "134217728");
    assert_eq!(read(&dir(record, "memory"), "memory.soft_limit_in_bytes"), "33554432");
    assert_eq!(read(&dir(record, "cpu"), "cpu.shares"), "512");
    assert_eq!(read(&dir(record, "cpu"), "cpu.cfs_quota_us"), "50000");
    assert_eq!(read(&dir(record, "cpuset"), "cpuset.cpus"), "0");
    assert_eq!(read(&dir(record, "pids"), "pids.max"), "20");
    assert!(read(&dir(record, "devices"), "devices.list").contains("c 136:* rwm"));
    for dir in dirs(record) {
        assert!(read(&dir, "cgroup.procs").lines().any(|l| l == container.shell.to_string()), "{dir:?}");
    }
    let manager = container.manager();
    assert_eq!(manager.memory_limit().unwrap(), Some(64 << 20));
    assert_eq!(manager.oom_kills().unwrap(), 0);
    wait_until("two sleeps run", || manager.processes().unwrap().len() >= 3);

    assert_eq!(manager.state().unwrap(), Freezer::Thawed);
    manager.freeze().unwrap();
    assert_eq!(manager.state().unwrap(), Freezer::Frozen);
    // A frozen container can be killed and does not stay frozen.
    manager.kill_all().unwrap();
    assert!(manager.processes().unwrap().is_empty());
    assert_eq!(manager.state().unwrap(), Freezer::Thawed);
    // What a payload leaves behind.
    let pids = dir(record, "pids");
    let deep: PathBuf = std::iter::repeat_n("d", 50).collect();
    std::fs::create_dir_all(pids.join(deep)).unwrap();
    std::fs::create_dir_all(pids.join("a/b/c")).unwrap();
    std::fs::create_dir_all(pids.join("a/d")).unwrap();
    manager.remove().unwrap();
    assert!(dirs(record).iter().all(|d| !d.exists()));
    manager.remove().unwrap();
    assert!(manager.processes().unwrap().is_empty());
    assert_eq!(manager.state().unwrap(), Freezer::Thawed);
}

#[test]
fn update_grows_and_shrinks_and_rolls_back() {
    let Some(facts) = host_facts() else { return };
    if facts.layout == Layout::V2 || !has(&facts, "memory") {
        return skip(&["cgroup1:memory"], "needs the v1 memory controller");
    }
    let container = Container::run("host", LIMITS, "sleep 100");
    let record = container.record();
    let update = |json: &str| {
        let resources = serde_json::from_str(json).unwrap();
        cgroup::update(record, &plan::update(record, &resources, None, &[], &mut vec![])?)
    };
    let memory = dir(record, "memory");
    let both = || (read(&memory, "memory.limit_in_bytes"), read(&memory, "memory.memsw.limit_in_bytes"));
    update(r#"{"memory":{"limit":268435456,"swap":268435456}}"#).unwrap();
    assert_eq!(both(), ("268435456".into(), "268435456".into()));
    update(r#"{"memory":{"limit":33554432,"swap":67108864},"cpu":{"quota":20000,"period":10000}}"#).unwrap();
    assert_eq!(both(), ("33554432".into(), "67108864".into()));
    let cpu = dir(record, "cpu");
    assert_eq!(read(&cpu, "cpu.cfs_quota_us"), "20000");
    update(r#"{"cpu":{"quota":5000,"burst":5000}}"#).unwrap();
    update(r#"{"cpu":{"quota":9000,"burst":9000}}"#).unwrap();
    update(r#"{"cpu":{"quota":1000,"burst":1000}}"#).unwrap();
    assert_eq!(read(&cpu, "cpu.cfs_burst_us"), "1000");
    // 4 KiB cannot hold what runs; the shares written before come back.
    let e = update(r#"{"cpu":{"shares":2048},"memory":{"limit":4096}}"#).unwrap_err().to_string();
    assert!(e.contains("unable to set memory limit to 4096 (current usage: "), "{e}");
    assert_eq!(read(&cpu, "cpu.shares"), "512");
    update(r#"{"memory":{"limit":-1}}"#).unwrap();
    assert_eq!(container.manager().memory_limit().unwrap(), None);
}

#[test]
fn v2_device_program_freeze_kill() {
    let Some(facts) = host_facts() else { return };
    if only_v2(&facts).is_none() {
        return;
    }
    let mut container = Container::run(
        "v2",
        r#"{"devices": []}"#,
        "while :; do echo hello > /dev/null && echo null=ok; \
         (exec 3< /dev/kmsg) 2>/dev/null && echo kmsg=ok || echo kmsg=no; sleep 0.05; done",
    );
    assert_eq!(container.line("null="), "ok");
    assert_eq!(container.line("kmsg="), "no");
    let manager = container.manager();
    assert!(manager.processes().unwrap().contains(&container.shell));
    manager.freeze().unwrap();
    assert_eq!(manager.state().unwrap(), Freezer::Frozen);
    manager.thaw().unwrap();
    assert_eq!(manager.state().unwrap(), Freezer::Thawed);
    manager.freeze().unwrap();
    manager.kill_all().unwrap();
    wait_until("the shell has ended", || matches!(process_state(container.shell), '-' | 'Z' | 'X'));
    assert!(manager.processes().unwrap().is_empty());
}

#[test]
fn a_second_device_program_replaces_the_first() {
    let Some(facts) = host_facts().and_then(|f| only_v2(&f)) else { return };
    let first = planned("replace", r#"{"devices": []}"#, &facts);
    let mut cgroups = create(&first).unwrap();
    let _cleaner = Cleaner(cgroups.record().clone());
    cgroups.apply(&first).unwrap();
    let tree = dirs(cgroups.record()).remove(0);
    let tree = std::fs::File::open(tree).unwrap();
    let attached = || orlop::sys::bpf::prog_query(std::os::fd::AsFd::as_fd(&tree)).unwrap();
    let before = attached();
    assert_eq!(before.len(), 1);
    // A later create finds the empty cgroup and the old program on it.
    let second = planned("replace", r#"{"devices": [{"allow": true, "access": "rwm"}]}"#, &facts);
    let mut again = create(&second).unwrap();
    again.apply(&second).unwrap();
    let after = attached();
    assert_eq!(after.len(), 1);
    assert_ne!(before, after);
}

#[test]
fn device_rules_may_fail_where_they_are_optional() {
    let Some(facts) = host_facts().and_then(|f| only_v2(&f)) else { return };
    let mut plan = planned("optional", "{}", &facts);
    let mut cgroups = create(&plan).unwrap();
    let _cleaner = Cleaner(cgroups.record().clone());
    for optional in [false, true] {
        let devices = plan.devices.as_mut().unwrap();
        // EINVAL, as from a kernel that has no such programs.
        devices.enforce = plan::device_rules::Enforce::Program(vec![]);
        devices.optional = optional;
        assert_eq!(cgroups.apply(&plan).is_ok(), optional);
    }
}

#[test]
fn an_inhabited_or_frozen_target_is_refused_and_left_alone() {
    let Some(facts) = host_facts() else { return };
    let plan = planned("busy", "{}", &facts);
    let made = create(&plan).unwrap();
    let cleaner = Cleaner(made.record().clone());
    let dirs = dirs(&cleaner.0);
    let mut sleeper = Command::new("sleep").arg("100").spawn().unwrap();
    std::fs::create_dir_all(dirs[0].join("sub/deep/er")).unwrap();
    std::fs::write(dirs[0].join("sub/deep/cgroup.procs"), sleeper.id().to_string()).unwrap();
    let e = create(&plan).err().unwrap().to_string();
    assert!(e.contains("container's cgroup is not empty: 1 process(es) found"), "{e}");
    assert!(dirs.iter().all(|d| d.exists()));

    // The record as it was before creation kills nobody and leaves what it cannot empty.
    let stranger = plan.record();
    Manager::open(&stranger).kill_all().unwrap();
    assert!(sleeper.try_wait().unwrap().is_none());
    // With our own record the holder is named.
    let e = Manager::open(&cleaner.0).remove().unwrap_err().to_string();
    assert!(e.contains(&format!("held by pid {} (S)", sleeper.id())), "{e}");
    std::fs::write(
        dirs[0].parent().unwrap().parent().unwrap().join("cgroup.procs"),
        sleeper.id().to_string(),
    )
    .unwrap();
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();

    let frozen = create(&plan).unwrap();
    let manager = Manager::open(frozen.record());
    manager.freeze().unwrap();
    let e = create(&plan).err().unwrap().to_string();
    assert!(e.contains("container's cgroup unexpectedly frozen"), "{e}");
    manager.thaw().unwrap();
}

#[test]
fn a_failed_create_leaves_nothing() {
    let Some(facts) = host_facts() else { return };
    let mut plan = planned("fail", "{}", &facts);
    let impossible = plan::CgroupWrite {
        hierarchy: 0,
        file: "no.such.file".into(),
        value: "1".into(),
        field: "linux.resources.test".into(),
        need: plan::Need::Required,
        instead: None,
        repeat: false,
    };
    plan.before_entry.push(impossible);
    let e = create(&plan).err().unwrap().to_string();
    assert!(e.contains("linux.resources.test") && e.contains("no such file"), "{e}");
    assert!(dirs(&plan.record()).iter().all(|d| !d.parent().unwrap().exists()));
}

#[test]
fn a_plain_directory_is_no_hierarchy() {
    let tmp = tempfile::tempdir().unwrap();
    let fake = HostHierarchy {
        version: Version::V1,
        controllers: vec!["devices".into()],
        mount: tmp.path().into(),
        own: "/".into(),
    };
    let facts = CgroupFacts { layout: Layout::V1, hierarchies: vec![fake], manager: None };
    let e = create(&planned("fake", "{}", &facts)).err().unwrap().to_string();
    assert!(e.contains("find a cgroup file system"), "{e}");
    assert_eq!(std::fs::read_dir(tmp.path()).unwrap().count(), 0);
}

#[test]
fn disabled_touches_nothing() {
    let plan = CgroupPlan { driver: Driver::Disabled, ..CgroupPlan::default() };
    let mut cgroups = create(&plan).unwrap();
    cgroups.enter_self().unwrap();
    cgroups.apply(&plan).unwrap();
    let manager = Manager::open(cgroups.record());
    manager.kill_all().unwrap();
    manager.remove().unwrap();
    assert!(manager.freeze().is_err());
    assert_eq!(manager.state().unwrap(), Freezer::Thawed);
}

/// The unprivileged half of the next test.
#[test]
fn rootless_child() {
    if std::env::var_os("ORLOP_CGROUP_ROOTLESS").is_none() {
        return;
    }
    let facts = host::cgroup::facts().unwrap();
    let wanted = Wanted {
        id: "orlop-test-rootless",
        cgroups_path: None,
        driver: Driver::Cgroupfs,
        resources: None,
        pids_limit: None,
        hugepage_limits: &[],
        devices: &[],
        cgroupns: true,
        rootless: true,
        in_user_namespace: false,
        delegates: &[],
        asker: None,
        annotations: None,
    };
    let free = plan::plan(&wanted, &facts, &mut vec![]).unwrap();
    let mut cgroups = create(&free).unwrap();
    cgroups.enter_self().unwrap();
    cgroups.apply(&free).unwrap();
    Manager::open(cgroups.record()).kill_all().unwrap();
    Manager::open(cgroups.record()).remove().unwrap();
    let limited = Wanted { pids_limit: Some(5), ..wanted };
    let e = create(&plan::plan(&limited, &facts, &mut vec![]).unwrap()).err().unwrap().to_string();
    assert!(e.contains("rootless needs no limits + no cgrouppath"), "{e}");
    println!("rootless=done");
}

#[test]
fn rootless_without_rights_runs_without_cgroups() {
    if host_facts().is_none() {
        return;
    }
    as_nobody("rootless_child", "ORLOP_CGROUP_ROOTLESS", "1", "rootless=done");
}

/// Runs one test of this binary as another user; it must say `word`.
fn as_nobody(test: &str, variable: &str, value: &str, word: &str) {
    use std::os::unix::process::CommandExt;
    // A copy that the user can reach.
    let copy = std::env::temp_dir().join(format!("orlop-test-{}-{test}", std::process::id()));
    // By a child: what another thread forks meanwhile would hold our copy open for writing, and so from being run.
    let copied = Command::new("cp").arg(std::env::current_exe().unwrap()).arg(&copy).status().unwrap();
    assert!(copied.success());
    let out = Command::new(&copy)
        .args([test, "--exact", "--nocapture"])
        .env(variable, value)
        .current_dir("/")
        .uid(NOBODY)
        .gid(NOBODY)
        .output();
    std::fs::remove_file(&copy).unwrap();
    let out = out.unwrap();
    let text = String::from_utf8_lossy(&out.stdout);
    assert!(text.contains(word), "{text} {}", String::from_utf8_lossy(&out.stderr));
}

/// The unprivileged half of the next test: in a cgroup that is this user's.
#[test]
fn delegating_child() {
    use std::os::unix::fs::MetadataExt;
    let Ok(path) = std::env::var("ORLOP_CGROUP_DELEGATED") else { return };
    let facts = only_v2(&host::cgroup::facts().unwrap()).unwrap();
    for (delegate, instead) in [
        (vec![100_005, NOBODY], Some("65534, the container's root, has it")),
        (vec![100_005], Some("cannot manage it")),
        (vec![NOBODY], None),
    ] {
        let mut plan = planned("delegate", "{}", &facts);
        plan.hierarchies[0].path = format!("{path}/c");
        plan.rootless = true;
        plan.may_skip = true;
        plan.delegate = delegate;
        let cgroups = create(&plan).unwrap();
        assert_eq!(cgroups.warnings.len(), usize::from(instead.is_some()), "{:?}", cgroups.warnings);
        assert!(cgroups.warnings.iter().all(|warning| warning.contains(instead.unwrap())));
        // It was made, not left out.
        assert_eq!(std::fs::metadata(&dirs(cgroups.record())[0]).unwrap().uid(), NOBODY);
        Manager::open(cgroups.record()).remove().unwrap();
    }
    println!("delegated=done");
}

#[test]
fn what_cannot_be_given_away_is_kept() {
    let Some(facts) = host_facts().and_then(|f| only_v2(&f)) else { return };
    let path = format!("/orlop-test-{}-nobody", std::process::id());
    let dir = facts.hierarchies[0].mount.join(&path[1..]);
    std::fs::create_dir(&dir).unwrap();
    std::os::unix::fs::chown(&dir, Some(NOBODY), None).unwrap();
    let done = std::panic::catch_unwind(|| {
        as_nobody("delegating_child", "ORLOP_CGROUP_DELEGATED", &path, "delegated=done");
    });
    std::fs::remove_dir(&dir).unwrap();
    done.unwrap();
}

#[test]
fn what_lies_below_a_threaded_cgroup_becomes_threaded() {
    let Some(facts) = host_facts().and_then(|f| only_v2(&f)) else { return };
    let mut plan = planned("threaded", "{}", &facts);
    let top = dirs(&plan.record())[0].parent().unwrap().to_path_buf();
    std::fs::create_dir_all(top.join("t")).unwrap();
    std::fs::write(top.join("t/cgroup.type"), "threaded").unwrap();
    plan.hierarchies[0].path = plan.hierarchies[0].path.replace("/c", "/t/x/y");
    plan.domain = true;
    let refused = create(&plan).err().unwrap().to_string();
    assert!(refused.contains("threaded"), "{refused}");
    assert!(!top.join("t/x").exists());
    plan.domain = false;
    let cgroups = create(&plan).unwrap();
    for dir in ["t/x", "t/x/y"] {
        assert_eq!(read(&top.join(dir), "cgroup.type"), "threaded");
    }
    Manager::open(cgroups.record()).remove().unwrap();
    for dir in ["t/x", "t", ""] {
        std::fs::remove_dir(top.join(dir)).unwrap();
    }
}

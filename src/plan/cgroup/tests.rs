//! Values per file on v1, v2 and hybrid hosts.

use super::facts::{self, HostHierarchy};
use super::unit::Property;
use super::value::Value;
use super::{CgroupPlan, Driver, Layout, Need, Version, Wanted, plan, properties};
use crate::plan::cgroup::facts::CgroupFacts;
use oci_spec::runtime::LinuxResources;
use std::collections::HashMap;

const V1: [&str; 12] = [
    "cpu,cpuacct",
    "cpuset",
    "memory",
    "devices",
    "freezer",
    "blkio",
    "pids",
    "hugetlb",
    "net_cls",
    "net_prio",
    "rdma",
    "name=systemd",
];
const V2: &str = "cpuset,cpu,io,memory,hugetlb,pids,rdma,misc";

fn hierarchy(version: Version, controllers: &str, mount: &str, own: &str) -> HostHierarchy {
    let controllers = controllers.split(',').filter(|c| !c.is_empty()).map(String::from).collect();
    HostHierarchy { version, controllers, mount: mount.into(), own: own.into() }
}

fn v1_host() -> CgroupFacts {
    let of = |c: &&str| {
        let own = if *c == "memory" { "/box/own" } else { "/" };
        hierarchy(Version::V1, c, &format!("/sys/fs/cgroup/{c}"), own)
    };
    CgroupFacts { layout: Layout::V1, hierarchies: V1.iter().map(of).collect(), manager: None }
}

fn v2_host() -> CgroupFacts {
    let tree = hierarchy(Version::V2, V2, "/sys/fs/cgroup", "/user.slice/a.scope");
    CgroupFacts { layout: Layout::V2, hierarchies: vec![tree], manager: None }
}

fn hybrid_host() -> CgroupFacts {
    let mut facts = v1_host();
    facts.layout = Layout::Hybrid;
    facts.hierarchies.retain(|h| h.controllers != ["hugetlb"]);
    facts.hierarchies.push(hierarchy(Version::V2, "hugetlb", "/sys/fs/cgroup/unified", "/"));
    facts
}

fn wanted(resources: Option<&LinuxResources>) -> Wanted<'_> {
    Wanted {
        id: "c1",
        cgroups_path: Some("/t/c1"),
        driver: Driver::Cgroupfs,
        resources,
        pids_limit: None,
        hugepage_limits: &[],
        devices: &[],
        cgroupns: true,
        rootless: false,
        in_user_namespace: false,
        delegates: &[],
        asker: None,
        annotations: None,
    }
}

fn planned(json: &str, facts: &CgroupFacts) -> Result<CgroupPlan, String> {
    let resources: LinuxResources = serde_json::from_str(json).unwrap();
    let mut warnings = vec![];
    let out = plan(&wanted(Some(&resources)), facts, &mut warnings).map_err(|e| e.to_string());
    assert!(out.is_err() || warnings.is_empty(), "{warnings:?}");
    out
}

/// `file=value` of each write; a trailing `?` says that the file may be missing, `|f=v` what else is tried.
fn writes(json: &str, facts: &CgroupFacts) -> Vec<String> {
    let plan = planned(json, facts).unwrap();
    plan.before_entry
        .iter()
        .chain(&plan.writes)
        .map(|w| {
            let may = if w.need == Need::IfPresent { "?" } else { "" };
            let instead = w.instead.iter().map(|(f, v)| format!("|{f}={v}")).collect::<String>();
            format!("{}={}{may}{instead}", w.file, w.value)
        })
        .collect()
}

fn problem(json: &str, facts: &CgroupFacts) -> String {
    planned(json, facts).unwrap_err()
}

#[test]
fn cpu() {
    let json =
        r#"{"cpu":{"shares":1024,"quota":50000,"period":100000,"burst":1000,"cpus":"0-1","mems":"0"}}"#;
    assert_eq!(
        writes(json, &v1_host()),
        [
            "cpu.shares=1024",
            "cpu.cfs_burst_us=1000",
            "cpu.cfs_period_us=100000",
            "cpu.cfs_quota_us=50000",
            "cpuset.cpus=0-1|cpus=0-1",
            "cpuset.mems=0|mems=0"
        ]
    );
    assert_eq!(
        writes(json, &v2_host()),
        ["cpu.weight=100", "cpu.max.burst=1000", "cpu.max=50000 100000", "cpuset.cpus=0-1", "cpuset.mems=0"]
    );
    assert_eq!(writes(r#"{"cpu":{"quota":-1}}"#, &v2_host()), ["cpu.max=max"]);
    assert_eq!(writes(r#"{"cpu":{"period":5000}}"#, &v2_host()), ["cpu.max=max 5000"]);
    assert_eq!(writes(r#"{"cpu":{"idle":1,"shares":512}}"#, &v2_host()), ["cpu.idle=1"]);
    assert_eq!(writes(r#"{"cpu":{"idle":0,"shares":512}}"#, &v2_host()), ["cpu.idle=0?", "cpu.weight=59"]);
    assert_eq!(writes(r#"{"cpu":{"idle":1,"shares":512}}"#, &v1_host()), ["cpu.idle=1"]);
    let zeroes = r#"{"cpu":{"shares":0,"quota":0,"period":0,"cpus":"","realtimeRuntime":0},
        "memory":{"limit":0,"swap":0,"reservation":0}, "blockIO":{"weight":0,"leafWeight":0}}"#;
    assert!(writes(zeroes, &v1_host()).is_empty() && writes(zeroes, &v2_host()).is_empty());
}

#[test]
fn shares_out_of_the_kernels_range_are_warned_of() {
    for (shares, taken) in [(1, 2), (2, 2), (262_144, 262_144), (262_145, 262_144)] {
        let json = format!(r#"{{"cpu":{{"shares":{shares}}}}}"#);
        let resources: LinuxResources = serde_json::from_str(&json).unwrap();
        let mut warnings = vec![];
        let plan = plan(&wanted(Some(&resources)), &v1_host(), &mut warnings).unwrap();
        assert_eq!(plan.writes[0].value, taken.to_string());
        assert_eq!(warnings.iter().any(|w| w.contains("cpu.shares")), shares != taken, "{warnings:?}");
    }
}

#[test]
fn realtime_goes_before_entry() {
    let json = r#"{"cpu":{"realtimeRuntime":950000,"realtimePeriod":1000000}}"#;
    let plan = planned(json, &v1_host()).unwrap();
    assert_eq!((plan.before_entry.len(), plan.writes.len()), (2, 0));
    assert_eq!(plan.before_entry[0].file, "cpu.rt_period_us");
    assert!(problem(json, &v2_host()).starts_with("linux.resources.cpu.realtimeRuntime: has no equivalent"));
}

#[test]
fn memory() {
    let json = r#"{"memory":{"limit":1000,"swap":1500,"reservation":500}}"#;
    assert_eq!(
        writes(json, &v1_host()),
        ["memory.limit_in_bytes=1000", "memory.memsw.limit_in_bytes=1500", "memory.soft_limit_in_bytes=500"]
    );
    assert!(planned(json, &v1_host()).unwrap().writes[..2].iter().all(|w| w.repeat));
    assert_eq!(writes(json, &v2_host()), ["memory.swap.max=500", "memory.max=1000", "memory.low=500"]);
    let unlimited = r#"{"memory":{"limit":-1}}"#;
    assert_eq!(
        writes(unlimited, &v1_host()),
        ["memory.limit_in_bytes=-1", "memory.memsw.limit_in_bytes=-1?"]
    );
    assert_eq!(writes(unlimited, &v2_host()), ["memory.swap.max=max?", "memory.max=max"]);
    assert_eq!(
        problem(r#"{"memory":{"limit":2000,"swap":1500}}"#, &v2_host()),
        "linux.resources.memory.swap: memory+swap limit should be >= memory limit"
    );
    assert!(problem(r#"{"memory":{"limit":-2}}"#, &v1_host()).contains("memory.limit: is below -1"));
    let rest = r#"{"memory":{"swappiness":60,"disableOOMKiller":true,"useHierarchy":true}}"#;
    assert_eq!(writes(rest, &v1_host()), ["memory.oom_control=1", "memory.swappiness=60"]);
    let both = problem(rest, &v2_host());
    assert!(
        both.contains("memory.swappiness: has no") && both.contains("disableOOMKiller: has no"),
        "{both}"
    );
    assert!(problem(r#"{"memory":{"swappiness":101}}"#, &v1_host()).contains("range 0 to 100"));
    let check = planned(r#"{"memory":{"limit":4096,"checkBeforeUpdate":true}}"#, &v2_host()).unwrap();
    assert_eq!(check.memory_check.unwrap().limit, 4096);
    assert!(check.domain);
    for (resources, domain) in [
        (r#"{"cpu":{"quota":5000,"cpus":"0"},"pids":{"limit":5}}"#, false),
        (r#"{"blockIO":{"weight":500}}"#, true),
        (r#"{"cpu":{"quota":5000},"memory":{"limit":4096}}"#, true),
    ] {
        assert_eq!(planned(resources, &v2_host()).unwrap().domain, domain, "{resources}");
    }
}

#[test]
fn kernel_memory_is_a_warning() {
    let resources: LinuxResources =
        serde_json::from_str(r#"{"memory":{"kernel":1048576,"kernelTCP":0}}"#).unwrap();
    let mut warnings = vec![];
    let plan = plan(&wanted(Some(&resources)), &v2_host(), &mut warnings).unwrap();
    assert!(plan.writes.is_empty());
    assert!(warnings.len() == 1 && warnings[0].contains("memory.kernel is ignored"), "{warnings:?}");
}

#[test]
fn block_io() {
    let json = r#"{"blockIO":{"weight":500,"weightDevice":[{"major":8,"minor":0,"weight":100}],
        "throttleReadBpsDevice":[{"major":8,"minor":0,"rate":1000}],
        "throttleWriteIOPSDevice":[{"major":8,"minor":16,"rate":0}]}}"#;
    assert_eq!(
        writes(json, &v1_host()),
        [
            "blkio.weight=500|blkio.bfq.weight=500",
            "blkio.weight_device=8:0 100|blkio.bfq.weight_device=8:0 100",
            "blkio.throttle.read_bps_device=8:0 1000",
            "blkio.throttle.write_iops_device=8:16 0"
        ]
    );
    assert_eq!(
        writes(json, &v2_host()),
        [
            "io.bfq.weight=500|io.weight=4950",
            "io.bfq.weight=8:0 100|io.weight=8:0 910",
            "io.max=8:0 rbps=1000",
            "io.max=8:16 wiops=max"
        ]
    );
    assert!(
        problem(r#"{"blockIO":{"leafWeight":10}}"#, &v2_host()).contains("leafWeight: has no equivalent")
    );
}

#[test]
fn network_and_rdma() {
    let net = r#"{"network":{"classID":1048577,"priorities":[{"name":"eth0","priority":5}]}}"#;
    assert_eq!(writes(net, &v1_host()), ["net_cls.classid=1048577", "net_prio.ifpriomap=eth0 5"]);
    assert!(problem(net, &v2_host()).contains("linux.resources.network.classID: the net_cls"));
    let rdma = r#"{"rdma":{"mlx5_1":{"hcaHandles":3,"hcaObjects":10000},"a":{}}}"#;
    for host in [v1_host(), v2_host()] {
        assert_eq!(writes(rdma, &host), ["rdma.max=mlx5_1 hca_handle=3 hca_object=10000"]);
    }
}

#[test]
fn pids_and_hugepages() {
    let limits = [("2MB".to_owned(), 0), ("1GB".to_owned(), u64::MAX)];
    for (facts, knob, at) in
        [(v1_host(), "limit_in_bytes", 7), (v2_host(), "max", 0), (hybrid_host(), "max", 11)]
    {
        let wanted = Wanted { pids_limit: Some(0), hugepage_limits: &limits, ..wanted(None) };
        let plan = plan(&wanted, &facts, &mut vec![]).unwrap();
        let all: Vec<_> = plan.writes.iter().map(|w| format!("{}={}", w.file, w.value)).collect();
        assert_eq!(all[0], "pids.max=1");
        assert_eq!(all[1..3], [format!("hugetlb.2MB.{knob}=0"), format!("hugetlb.2MB.rsvd.{knob}=0")]);
        assert_eq!(plan.writes[1].hierarchy, at);
        assert_eq!(plan.writes[2].need, Need::IfPresent);
        assert_eq!(all[3], format!("hugetlb.1GB.{knob}={}", u64::MAX));
        let enabled: &[&str] = match facts.layout {
            Layout::V1 => &[],
            Layout::Hybrid => &["hugetlb"],
            _ => &["cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma", "misc"],
        };
        assert_eq!(plan.enable, enabled);
        let limited: &[&str] = match facts.layout {
            Layout::V2 => &["hugetlb", "pids"],
            _ => enabled,
        };
        assert_eq!(plan.limited, limited);
    }
    for size in ["2M", "MB", "02MB", "2mb", "../2MB"] {
        let limits = [(size.to_owned(), 1)];
        let wanted = Wanted { hugepage_limits: &limits, ..wanted(None) };
        assert!(plan(&wanted, &v1_host(), &mut vec![]).is_err(), "{size}");
    }
}

#[test]
fn unified() {
    let json = r#"{"memory":{"limit":100},"unified":{"memory.high":"50","io.max":"8:0 rbps=1\n8:16 rbps=2\n",
        "cgroup.max.depth":"3"}}"#;
    assert_eq!(
        writes(json, &v2_host()),
        ["memory.max=100", "cgroup.max.depth=3", "io.max=8:0 rbps=1", "io.max=8:16 rbps=2", "memory.high=50"]
    );
    let v1 = problem(r#"{"unified":{"memory.high":"50"}}"#, &v1_host());
    assert!(v1.ends_with("invalid configuration: cannot use unified on cgroup v1"), "{v1}");
    assert_eq!(writes(r#"{"unified":{"hugetlb.2MB.max":"0"}}"#, &hybrid_host()), ["hugetlb.2MB.max=0"]);
    let missing = problem(r#"{"unified":{"foo.bar":"1"}}"#, &v2_host());
    assert!(missing.contains(r#"unified resource "foo.bar" can't be set: controller "foo" not available"#));
    for key in ["memory", ".high", "memory.", "../memory.high", "memory./x"] {
        let json = format!("{{\"unified\":{{\"{key}\":\"1\"}}}}");
        assert!(planned(&json, &v2_host()).is_err(), "{key}");
    }
}

#[test]
fn a_missing_controller_is_an_error_only_for_a_limit() {
    let mut facts = v2_host();
    facts.hierarchies[0].controllers = vec!["cpu".into()];
    assert_eq!(
        problem(r#"{"memory":{"limit":100}}"#, &facts),
        "linux.resources.memory.limit: the memory cgroup controller is not available on this host"
    );
    assert!(writes(r#"{"memory":{"limit":-1},"cpu":{"shares":0}}"#, &facts).is_empty());
    let unlimited = Wanted { pids_limit: Some(-1), ..wanted(None) };
    assert!(plan(&unlimited, &facts, &mut vec![]).unwrap().writes.is_empty());
}

#[test]
fn paths() {
    let paths = |path: Option<&str>, facts: &CgroupFacts| {
        let wanted = Wanted { cgroups_path: path, ..wanted(None) };
        let plan = plan(&wanted, facts, &mut vec![]).unwrap();
        plan.hierarchies.into_iter().map(|h| h.path).collect::<Vec<_>>()
    };
    assert!(paths(Some("/a/b"), &v1_host()).iter().all(|p| p == "/a/b"));
    // v1: the runtime's own cgroup, which differs between hierarchies.
    let relative = paths(Some("a"), &v1_host());
    assert_eq!((relative[0].as_str(), relative[2].as_str()), ("/a", "/box/own/a"));
    assert_eq!(paths(None, &v1_host())[2], "/box/own/c1");
    assert_eq!(paths(Some(""), &hybrid_host())[11], "/c1");
    // v2: beside the runtime's own cgroup.
    assert_eq!(paths(Some("a"), &v2_host()), ["/user.slice/a"]);
    assert_eq!(paths(None, &v2_host()), ["/user.slice/c1"]);
    assert_eq!(paths(Some("/../../x"), &v2_host()), ["/x"]);
    for bad in ["/", "/..", "/a\n", "/a\0b"] {
        let wanted = Wanted { cgroups_path: Some(bad), ..wanted(None) };
        assert!(plan(&wanted, &v2_host(), &mut vec![]).is_err(), "{bad:?}");
    }
}

#[test]
fn drivers() {
    // A plain path is none of systemd's.
    let systemd = Wanted { driver: Driver::Systemd, ..wanted(None) };
    let refusal = plan(&systemd, &managed(), &mut vec![]).unwrap_err().to_string();
    assert!(refusal.contains("slice:prefix:name"), "{refusal}");
    let mut warnings = vec![];
    let disabled = Wanted { driver: Driver::Disabled, pids_limit: Some(5), ..wanted(None) };
    let none = plan(&disabled, &v1_host(), &mut warnings).unwrap();
    assert!(none.hierarchies.is_empty() && none.writes.is_empty() && none.devices.is_none());
    assert_eq!(warnings.len(), 1);
    assert!(plan(&wanted(None), &CgroupFacts::default(), &mut vec![]).is_err());
    let rootless = Wanted { rootless: true, cgroups_path: None, ..wanted(None) };
    let skipping = plan(&rootless, &CgroupFacts::default(), &mut vec![]).unwrap();
    assert!(skipping.may_skip && skipping.devices.is_none());
    assert!(!plan(&Wanted { rootless: true, ..wanted(None) }, &v2_host(), &mut vec![]).unwrap().may_skip);
}

#[test]
fn a_device_node_without_a_rule_is_warned_about() {
    let fuse = serde_json::from_str(
        r#"[{"path":"/dev/fuse","type":"c","major":10,"minor":229},
        {"path":"/dev/null","type":"c","major":1,"minor":3}]"#,
    );
    let devices: Vec<oci_spec::runtime::LinuxDevice> = fuse.unwrap();
    let mut warnings = vec![];
    let plan = plan(&Wanted { devices: &devices, ..wanted(None) }, &hybrid_host(), &mut warnings).unwrap();
    assert!(warnings.len() == 1 && warnings[0].contains("/dev/fuse"), "{warnings:?}");
    assert_eq!(plan.devices.unwrap().hierarchy, 3);
}

#[test]
fn record_and_delegation() {
    let plan =
        plan(&Wanted { delegates: &[100_005, 100_000], ..wanted(None) }, &v2_host(), &mut vec![]).unwrap();
    assert_eq!(plan.delegate, [100_005, 100_000]);
    let text = serde_json::to_string(&plan.record()).unwrap();
    assert_eq!(serde_json::from_str::<super::CgroupRecord>(&text).unwrap(), plan.record());
    assert!(!plan.record().made);
}

fn managed() -> CgroupFacts {
    CgroupFacts { manager: Some(facts::ManagerFacts::default()), ..v2_host() }
}

#[test]
fn a_unit_has_the_limits_as_properties() {
    let json = r#"{"memory": {"limit": 1000000}, "cpu": {"shares": 1024, "quota": 20000, "period": 100000, "cpus": "0-1"},
        "unified": {"memory.oom.group": "1"}, "devices": [{"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rw"}]}"#;
    let resources: LinuxResources = serde_json::from_str(json).unwrap();
    let annotations =
        HashMap::from([("org.systemd.property.CollectMode".into(), "'inactive-or-failed'".into())]);
    let wanted = Wanted {
        driver: Driver::Systemd,
        cgroups_path: Some("a-b.slice:cri:x"),
        pids_limit: Some(0),
        annotations: Some(&annotations),
        ..wanted(Some(&resources))
    };
    let plan = plan(&wanted, &managed(), &mut vec![]).unwrap();
    let unit = plan.unit.as_ref().unwrap();
    assert_eq!(unit.unit.name, "cri-x.scope");
    assert_eq!(plan.hierarchies[0].path, "/a.slice/a-b.slice/cri-x.scope");
    assert_eq!(unit.control_group.as_deref(), Some("/a.slice/a-b.slice/cri-x.scope"));
    let start: Vec<&str> = unit.start.iter().map(|property| property.name.as_str()).collect();
    assert!(
        start.contains(&"Delegate") && start.contains(&"IOAccounting") && start.contains(&"CollectMode"),
        "{start:?}"
    );
    let number = |name: &str| unit.limits.iter().find(|p| p.name == name).and_then(|p| p.value.number());
    let numbers =
        ["MemoryMax", "CPUWeight", "CPUQuotaPerSecUSec", "CPUQuotaPeriodUSec", "TasksMax"].map(number);
    assert_eq!(numbers, [1_000_000, 100, 200_000, 100_000, 1].map(Some));
    let has = |name: &str, value: &Value| unit.limits.iter().any(|p| p.name == name && p.value == *value);
    // Systemd takes it for a scope that begins, and from nobody later.
    assert!(unit.start.iter().any(|p| p.name == "OOMPolicy" && p.value == Value::text("kill")));
    assert!(!unit.limits.iter().any(|p| p.name == "OOMPolicy"));
    assert!(has("AllowedCPUs", &Value::Array("y".into(), vec![Value::Byte(3)])));
    assert!(has("DevicePolicy", &Value::text("strict")));
    let allowed = unit.limits.iter().rfind(|p| p.name == "DeviceAllow").unwrap();
    let Value::Array(_, entries) = &allowed.value else { panic!("{allowed:?}") };
    assert!(
        entries.contains(&Value::Tuple(vec![Value::text("/dev/char/10:229"), Value::text("rw")])),
        "{entries:?}"
    );
    assert!(entries.contains(&Value::Tuple(vec![Value::text("char-*"), Value::text("m")])), "{entries:?}");
}

#[test]
fn a_unit_without_a_path_is_named_after_the_container() {
    let wanted = Wanted { driver: Driver::Systemd, cgroups_path: None, ..wanted(None) };
    let plan = plan(&wanted, &managed(), &mut vec![]).unwrap();
    assert_eq!(plan.hierarchies[0].path, "/system.slice/orlop-c1.scope");
    let bare = Wanted { cgroups_path: Some("a.slice::x"), ..wanted };
    let plan = super::plan(&bare, &managed(), &mut vec![]).unwrap();
    assert_eq!(plan.hierarchies[0].path, "/a.slice/-x.scope", "as with the other runtimes");
    let slice = Wanted { cgroups_path: Some("::pod.slice"), ..bare };
    let plan = super::plan(&slice, &managed(), &mut vec![]).unwrap();
    assert_eq!(plan.hierarchies[0].path, "/system.slice/pod.slice");
    assert!(plan.unit.unwrap().start.iter().any(|p| p.name == "Wants"));
    let resources = serde_json::from_str(r#"{"unified": {"memory.oom.group": "1"}}"#).unwrap();
    let slice = Wanted { resources: Some(&resources), ..slice };
    let unit = super::plan(&slice, &managed(), &mut vec![]).unwrap().unit.unwrap();
    assert!(!unit.start.iter().chain(&unit.limits).any(|p| p.name == "OOMPolicy"));
}

#[test]
fn a_unit_has_one_path_below_the_manager() {
    let wanted = Wanted { driver: Driver::Systemd, cgroups_path: None, ..wanted(None) };
    let root = "/top".to_owned();
    let manager = Some(facts::ManagerFacts { root, ..facts::ManagerFacts::default() });
    let plan = plan(&wanted, &CgroupFacts { manager, ..hybrid_host() }, &mut vec![]).unwrap();
    assert!(plan.hierarchies.iter().all(|h| h.path == "/top/system.slice/orlop-c1.scope"), "{plan:?}");
}

#[test]
fn a_weight_is_told_for_the_file_that_there_is() {
    let resources = serde_json::from_str(r#"{"blockIO": {"weight": 200}}"#).unwrap();
    let wanted = Wanted { driver: Driver::Systemd, cgroups_path: None, ..wanted(Some(&resources)) };
    let mut plan = plan(&wanted, &managed(), &mut vec![]).unwrap();
    let weight = |list: &[Property]| list.iter().find(|p| p.name == "IOWeight").unwrap().value.clone();
    assert_eq!(weight(&plan.unit.as_ref().unwrap().limits), Value::Uint64(1920));
    plan.writes[0].instead = None;
    assert_eq!(weight(&properties(&plan.record(), &plan.writes)), Value::Uint64(1200), "for bfq");
}

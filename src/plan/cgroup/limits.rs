//! Collects the limits of linux.resources: finds the hierarchy of each controller and lets v1.rs or
//! v2.rs write down the files.
//!
//! PURE. All problems are collected, so that a configuration is complained about once. A value of 0
//! means unset everywhere except in pids, hugepages, cpu.burst and cpu.idle (docker update sends 0 for what it leaves
//! alone).

use super::facts::Version;
use super::{CgroupWrite, Hierarchy, MemoryCheck, Need, convert, v1, v2};
use crate::error::Error;
use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxNetwork, LinuxRdma, LinuxResources};
use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};

/// The growing list of writes. `used` names the v2 controllers they need.
pub(super) struct Limits<'a> {
    hierarchies: &'a [Hierarchy],
    v2_controllers: &'a [String],
    pub before_entry: Vec<CgroupWrite>,
    pub writes: Vec<CgroupWrite>,
    pub memory_check: Option<MemoryCheck>,
    pub used: BTreeSet<String>,
    pub warnings: &'a mut Vec<String>,
    pub errors: Vec<Error>,
}

impl<'a> Limits<'a> {
    pub fn new(
        hierarchies: &'a [Hierarchy],
        v2_controllers: &'a [String],
        warnings: &'a mut Vec<String>,
    ) -> Self {
        Self {
            hierarchies,
            v2_controllers,
            before_entry: vec![],
            writes: vec![],
            memory_check: None,
            used: BTreeSet::new(),
            warnings,
            errors: vec![],
        }
    }

    /// All limits in the order of the files to write.
    pub fn collect(
        &mut self,
        resources: Option<&LinuxResources>,
        pids_limit: Option<i64>,
        hugepage_limits: &[(String, u64)],
    ) {
        if let Some(r) = resources {
            r.cpu().iter().for_each(|cpu| self.cpu(cpu));
            r.memory().iter().for_each(|memory| self.memory(memory));
            r.block_io().iter().for_each(|block_io| self.block_io(block_io));
        }
        if let Some(limit) = pids_limit {
            self.pids(limit);
        }
        self.hugepages(hugepage_limits);
        if let Some(r) = resources {
            r.network().iter().for_each(|network| self.network(network));
            r.rdma().iter().for_each(|rdma| self.rdma(rdma));
            // Last, for it overrides what the typed fields said.
            r.unified().iter().for_each(|unified| self.unified(unified));
        }
    }

    /// The hierarchy of a controller, by its v1 and v2 name: v1 first, for a controller is in one place.
    fn find(&self, v1: &str, v2: &str) -> Option<(usize, Version)> {
        let on_v1 = self.hierarchies.iter().position(|h| h.controllers.iter().any(|c| c == v1));
        if let Some(at) = on_v1 {
            return Some((at, Version::V1));
        }
        self.unified_with(v2).map(|at| (at, Version::V2))
    }

    fn unified_with(&self, controller: &str) -> Option<usize> {
        self.v2_controllers.iter().any(|c| c == controller).then(|| self.unified_tree())?
    }

    pub fn unified_tree(&self) -> Option<usize> {
        self.hierarchies.iter().position(|h| h.version == Version::V2)
    }

    /// The place of a controller that `fields` ask something of. A missing controller is an error of
    /// each field whose value is a real limit; "unlimited" is what the host already gives.
    fn place(&mut self, v1: &str, v2: &str, fields: &[(&str, Ask)]) -> Option<(usize, Version)> {
        if fields.iter().all(|(_, ask)| *ask == Ask::Nothing) {
            return None;
        }
        let found = self.find(v1, v2);
        match found {
            Some((_, Version::V2)) => {
                self.used.insert(v2.to_owned());
            }
            Some((_, Version::V1)) => {}
            None => {
                for (field, _) in fields.iter().filter(|(_, ask)| *ask == Ask::Limit) {
                    let e = Error::field(
                        format_args!("linux.resources.{field}"),
                        format_args!("the {v2} cgroup controller is not available on this host"),
                    );
                    self.errors.push(e);
                }
            }
        }
        found
    }

    fn cpu(&mut self, cpu: &LinuxCpu) {
        let fields = [
            ("cpu.shares", ask(cpu.shares())),
            ("cpu.period", ask(cpu.period())),
            ("cpu.quota", signed(cpu.quota())),
            ("cpu.burst", if cpu.burst().is_some() { Ask::Limit } else { Ask::Nothing }),
            ("cpu.idle", if cpu.idle().is_some() { Ask::Unlimited } else { Ask::Nothing }),
            ("cpu.realtimeRuntime", signed(cpu.realtime_runtime())),
            ("cpu.realtimePeriod", ask(cpu.realtime_period())),
        ];
        match self.place("cpu", "cpu", &fields) {
            Some((at, Version::V1)) => v1::cpu(self, at, cpu),
            Some((at, Version::V2)) => v2::cpu(self, at, cpu),
            None => {}
        }
        let sets = [("cpus", cpu.cpus()), ("mems", cpu.mems())];
        for (name, value) in sets {
            let Some(value) = value.as_ref().filter(|v| !v.is_empty()) else { continue };
            let field = format!("cpu.{name}");
            if let Some((at, version)) = self.place("cpuset", "cpuset", &[(&field, Ask::Limit)]) {
                let mut write =
                    write(at, format!("cpuset.{name}"), value.clone(), format!("linux.resources.{field}"));
                // A v1 hierarchy mounted with noprefix has bare names.
                write.instead = (version == Version::V1).then(|| (name.into(), value.clone()));
                self.writes.push(write);
            }
        }
    }

    fn memory(&mut self, memory: &LinuxMemory) {
        let kernel = [("kernel", memory.kernel()), ("kernelTCP", memory.kernel_tcp())];
        for (name, _) in kernel.iter().filter(|(_, v)| v.is_some_and(|v| v != 0)) {
            self.warnings.push(format!(
                "linux.resources.memory.{name} is ignored: the kernel no longer limits kernel memory by itself"
            ));
        }
        let fields = [
            ("memory.limit", signed(memory.limit())),
            ("memory.reservation", signed(memory.reservation())),
            ("memory.swap", signed(memory.swap())),
            ("memory.swappiness", if memory.swappiness().is_some() { Ask::Limit } else { Ask::Nothing }),
            ("memory.disableOOMKiller", ask(memory.disable_oom_killer().map(u64::from))),
        ];
        for (field, value) in
            [("limit", memory.limit()), ("reservation", memory.reservation()), ("swap", memory.swap())]
        {
            if value.is_some_and(|v| v < -1) {
                self.errors.push(Error::field(format_args!("linux.resources.memory.{field}"), "is below -1"));
                return;
            }
        }
        match self.place("memory", "memory", &fields) {
            Some((at, Version::V1)) => v1::memory(self, at, memory),
            Some((at, Version::V2)) => v2::memory(self, at, memory),
            None => {}
        }
    }

    fn block_io(&mut self, io: &LinuxBlockIo) {
        let list = |empty: bool| if empty { Ask::Nothing } else { Ask::Limit };
        let fields = [
            ("blockIO.weight", ask(io.weight().map(u64::from))),
            ("blockIO.leafWeight", ask(io.leaf_weight().map(u64::from))),
            ("blockIO.weightDevice", list(io.weight_device().as_ref().is_none_or(Vec::is_empty))),
            ("blockIO.throttleReadBpsDevice", list(is_empty(io.throttle_read_bps_device()))),
            ("blockIO.throttleWriteBpsDevice", list(is_empty(io.throttle_write_bps_device()))),
            ("blockIO.throttleReadIOPSDevice", list(is_empty(io.throttle_read_iops_device()))),
            ("blockIO.throttleWriteIOPSDevice", list(is_empty(io.throttle_write_iops_device()))),
        ];
        match self.place("blkio", "io", &fields) {
            Some((at, Version::V1)) => v1::block_io(self, at, io),
            Some((at, Version::V2)) => v2::block_io(self, at, io),
            None => {}
        }
    }

    fn pids(&mut self, limit: i64) {
        let wish = if limit < 0 { Ask::Unlimited } else { Ask::Limit };
        if let Some((at, _)) = self.place("pids", "pids", &[("pids.limit", wish)]) {
            self.writes.push(write(at, "pids.max", convert::pids_max(limit), "linux.resources.pids.limit"));
        }
    }

    fn hugepages(&mut self, limits: &[(String, u64)]) {
        for (i, (size, limit)) in limits.iter().enumerate() {
            let field = format!("hugepageLimits[{i}]");
            if !is_page_size(size) {
                self.errors.push(Error::field(
                    format_args!("linux.resources.{field}.pageSize"),
                    format_args!("{size:?} is not of the form 64KB, 2MB, 1GB"),
                ));
                continue;
            }
            let Some((at, version)) = self.place("hugetlb", "hugetlb", &[(&field, Ask::Limit)]) else {
                continue;
            };
            let knob = if version == Version::V1 { "limit_in_bytes" } else { "max" };
            let field = format!("linux.resources.{field}");
            self.writes.push(write(at, format!("hugetlb.{size}.{knob}"), limit.to_string(), field.clone()));
            // Reservations count separately since 5.7; without this one a mmap would pass the limit and
            // die of SIGBUS at the first touch.
            let mut rsvd = write(at, format!("hugetlb.{size}.rsvd.{knob}"), limit.to_string(), field);
            rsvd.need = Need::IfPresent;
            self.writes.push(rsvd);
        }
    }

    fn network(&mut self, network: &LinuxNetwork) {
        if let Some(class) = network.class_id().filter(|c| *c != 0)
            && let Some((at, _)) = self.place("net_cls", "net_cls", &[("network.classID", Ask::Limit)])
        {
            self.writes.push(write(
                at,
                "net_cls.classid",
                class.to_string(),
                "linux.resources.network.classID",
            ));
        }
        let priorities = network.priorities().as_deref().unwrap_or_default();
        for (i, priority) in priorities.iter().enumerate() {
            let field = format!("network.priorities[{i}]");
            if let Some((at, _)) = self.place("net_prio", "net_prio", &[(&field, Ask::Limit)]) {
                let value = format!("{} {}", priority.name(), priority.priority());
                self.writes.push(write(at, "net_prio.ifpriomap", value, format!("linux.resources.{field}")));
            }
        }
    }

    fn rdma(&mut self, rdma: &HashMap<String, LinuxRdma>) {
        let mut devices: Vec<_> = rdma.iter().collect();
        devices.sort_by_key(|(name, _)| *name);
        for (name, limit) in devices {
            let mut value = name.clone();
            for (key, number) in [("hca_handle", limit.hca_handles()), ("hca_object", limit.hca_objects())] {
                if let Some(number) = number {
                    value.push_str(&format!(" {key}={number}"));
                }
            }
            if value == *name {
                continue;
            }
            let field = format!("rdma.{name}");
            if let Some((at, _)) = self.place("rdma", "rdma", &[(&field, Ask::Limit)]) {
                self.writes.push(write(at, "rdma.max", value, format!("linux.resources.{field}")));
            }
        }
    }

    fn unified(&mut self, unified: &HashMap<String, String>) {
        let mut entries: Vec<_> = unified.iter().collect();
        entries.sort();
        for (key, value) in entries {
            let field = format!("linux.resources.unified[{key:?}]");
            let controller = match key.split_once('.') {
                Some((controller, rest)) if !controller.is_empty() && !rest.is_empty() => controller,
                _ => {
                    self.errors.push(Error::field(field, "is not of the form CONTROLLER.PARAMETER"));
                    continue;
                }
            };
            if key.contains('/') {
                self.errors.push(Error::field(field, "must be a file name without a slash"));
                continue;
            }
            let at = match controller {
                "cgroup" => self.unified_tree(),
                name => self.unified_with(name),
            };
            let Some(at) = at else {
                let only_v2 = self.hierarchies.iter().all(|h| h.version == Version::V2);
                let problem = if only_v2 {
                    format!("unified resource {key:?} can't be set: controller {controller:?} not available")
                } else {
                    "invalid configuration: cannot use unified on cgroup v1".into()
                };
                self.errors.push(Error::field(field, problem));
                continue;
            };
            if controller != "cgroup" {
                self.used.insert(controller.to_owned());
            }
            // Files like io.max take one line per write.
            for line in value.lines().filter(|l| !l.is_empty()) {
                self.writes.push(write(at, key.clone(), line.to_owned(), field.clone()));
            }
        }
    }
}

/// What a field asks of its controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    Nothing,
    /// No limit, or the default: a host without the controller gives just that.
    Unlimited,
    Limit,
}

fn ask(value: Option<u64>) -> Ask {
    if value.unwrap_or(0) == 0 { Ask::Nothing } else { Ask::Limit }
}

fn signed(value: Option<i64>) -> Ask {
    match value.unwrap_or(0) {
        0 => Ask::Nothing,
        ..0 => Ask::Unlimited,
        _ => Ask::Limit,
    }
}

fn is_empty<T>(list: &Option<Vec<T>>) -> bool {
    list.as_ref().is_none_or(Vec::is_empty)
}

/// `64KB`, `2MB`, `1GB`: the names of the hugetlb files.
fn is_page_size(size: &str) -> bool {
    let digits =
        size.strip_suffix("KB").or_else(|| size.strip_suffix("MB")).or_else(|| size.strip_suffix("GB"));
    digits.is_some_and(|d| !d.is_empty() && !d.starts_with('0') && d.bytes().all(|b| b.is_ascii_digit()))
}

/// A required write without alternatives.
pub(super) fn write(
    hierarchy: usize,
    file: impl Into<Cow<'static, str>>,
    value: impl Into<String>,
    field: impl Into<Cow<'static, str>>,
) -> CgroupWrite {
    CgroupWrite {
        hierarchy,
        file: file.into(),
        value: value.into(),
        field: field.into(),
        need: Need::Required,
        instead: None,
        repeat: false,
    }
}

//! Which required numbers are absent: oci-spec reads an absent one as 0, which is a value of its own (host id 0, a
//! rate of 0).
//!
//! Only a document in which one of them reads as 0 is looked at a second time, and only at their presence. Pure.

use oci_spec::runtime::{LinuxBlockIo, LinuxIdMapping, PosixRlimit, Process, Spec};
use serde::Deserialize;

/// Whether a 0 was read where an absent member is read as 0 too.
pub(super) fn has_zero(spec: &Spec) -> bool {
    let linux = spec.linux().as_ref();
    let resources = linux.and_then(|linux| linux.resources().as_ref());
    let mounts = spec.mounts().iter().flatten();
    spec.process().as_ref().is_some_and(zero_in_process)
        || mounts
            .map(|m| [m.uid_mappings(), m.gid_mappings()])
            .any(|maps| maps.iter().any(|maps| zero_id(maps)))
        || linux.is_some_and(|linux| {
            zero_id(linux.uid_mappings())
                || zero_id(linux.gid_mappings())
                || linux.devices().iter().flatten().any(|device| device.major() == 0 || device.minor() == 0)
        })
        || resources.is_some_and(|r| {
            r.pids().is_some_and(|pids| pids.limit() == 0)
                || r.hugepage_limits().iter().flatten().any(|limit| limit.limit() == 0)
                || r.block_io().as_ref().is_some_and(zero_in_block_io)
                || r.network()
                    .iter()
                    .flat_map(|n| n.priorities().iter().flatten())
                    .any(|one| one.priority() == 0)
        })
}

fn zero_in_process(process: &Process) -> bool {
    let zero_rlimit = |limit: &PosixRlimit| limit.soft() == 0 || limit.hard() == 0;
    process.rlimits().iter().flatten().any(zero_rlimit)
        || process.io_priority().is_some()
        || process.console_size().is_some_and(|size| size.height() == 0 || size.width() == 0)
}

fn zero_id(maps: &Option<Vec<LinuxIdMapping>>) -> bool {
    maps.iter().flatten().any(|map| map.container_id() == 0 || map.host_id() == 0)
}

fn zero_in_block_io(block: &LinuxBlockIo) -> bool {
    let throttles = [
        block.throttle_read_bps_device(),
        block.throttle_write_bps_device(),
        block.throttle_read_iops_device(),
        block.throttle_write_iops_device(),
    ];
    block.weight_device().iter().flatten().any(|device| device.major() == 0 || device.minor() == 0)
        || throttles
            .into_iter()
            .flat_map(|devices| devices.iter().flatten())
            .any(|device| device.major() == 0 || device.minor() == 0 || device.rate() == 0)
}

/// Presence of the members whose absence the types do not show; everything else of the document is skipped.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Look {
    process: Option<LookProcess>,
    mounts: Option<Vec<LookMount>>,
    linux: Option<LookLinux>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct LookProcess {
    terminal: Option<bool>,
    console_size: Option<LookSize>,
    rlimits: Option<Vec<LookRlimit>>,
    io_priority: Option<LookIoPriority>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct LookSize {
    height: Option<u64>,
    width: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct LookRlimit {
    soft: Option<u64>,
    hard: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct LookIoPriority {
    class: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct LookLinux {
    uid_mappings: Mappings,
    gid_mappings: Mappings,
    resources: Option<LookResources>,
    devices: Option<Vec<LookDevice>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct LookMount {
    uid_mappings: Mappings,
    gid_mappings: Mappings,
}

type Mappings = Option<Vec<LookMapping>>;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct LookMapping {
    #[serde(rename = "containerID")]
    container_id: Option<u32>,
    #[serde(rename = "hostID")]
    host_id: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct LookDevice {
    #[serde(rename = "type")]
    typ: Option<String>,
    major: Option<i64>,
    minor: Option<i64>,
    rate: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct LookResources {
    pids: Option<LookPids>,
    hugepage_limits: Option<Vec<LookHugepage>>,
    #[serde(rename = "blockIO")]
    block_io: Option<LookBlockIo>,
    network: Option<LookNetwork>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct LookPids {
    limit: Option<i64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct LookHugepage {
    limit: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct LookBlockIo {
    weight_device: Option<Vec<LookDevice>>,
    throttle_read_bps_device: Option<Vec<LookDevice>>,
    throttle_write_bps_device: Option<Vec<LookDevice>>,
    #[serde(rename = "throttleReadIOPSDevice")]
    throttle_read_iops_device: Option<Vec<LookDevice>>,
    #[serde(rename = "throttleWriteIOPSDevice")]
    throttle_write_iops_device: Option<Vec<LookDevice>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct LookNetwork {
    priorities: Option<Vec<LookPriority>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct LookPriority {
    priority: Option<u32>,
}

/// The fields found missing so far.
#[derive(Default)]
struct Missing(Vec<String>);

impl Missing {
    fn of(&mut self, above: &str, members: &[(&str, bool)]) {
        let absent = members.iter().filter(|(_, present)| !present);
        self.0.extend(absent.map(|(member, _)| format!("{above}.{member}")));
    }

    fn of_maps(&mut self, above: &str, uids: &Mappings, gids: &Mappings) {
        for (name, maps) in [("uidMappings", uids), ("gidMappings", gids)] {
            for (i, map) in maps.iter().flatten().enumerate() {
                let members =
                    [("containerID", map.container_id.is_some()), ("hostID", map.host_id.is_some())];
                self.of(&format!("{above}.{name}[{i}]"), &members);
            }
        }
    }

    fn of_process(&mut self, process: &LookProcess) {
        for (i, limit) in process.rlimits.iter().flatten().enumerate() {
            let members = [("soft", limit.soft.is_some()), ("hard", limit.hard.is_some())];
            self.of(&format!("process.rlimits[{i}]"), &members);
        }
        if let Some(priority) = &process.io_priority {
            self.of("process.ioPriority", &[("class", priority.class.is_some())]);
        }
        // Without a terminal it is to be ignored, whatever is in it.
        if let (Some(size), Some(true)) = (&process.console_size, process.terminal) {
            let members = [("height", size.height.is_some()), ("width", size.width.is_some())];
            self.of("process.consoleSize", &members);
        }
    }

    fn of_resources(&mut self, resources: &LookResources) {
        for (i, limit) in resources.hugepage_limits.iter().flatten().enumerate() {
            self.of(&format!("linux.resources.hugepageLimits[{i}]"), &[("limit", limit.limit.is_some())]);
        }
        let priorities = resources.network.iter().flat_map(|network| network.priorities.iter().flatten());
        for (i, one) in priorities.enumerate() {
            self.of(
                &format!("linux.resources.network.priorities[{i}]"),
                &[("priority", one.priority.is_some())],
            );
        }
        let Some(block) = &resources.block_io else { return };
        for (name, devices) in [
            ("weightDevice", &block.weight_device),
            ("throttleReadBpsDevice", &block.throttle_read_bps_device),
            ("throttleWriteBpsDevice", &block.throttle_write_bps_device),
            ("throttleReadIOPSDevice", &block.throttle_read_iops_device),
            ("throttleWriteIOPSDevice", &block.throttle_write_iops_device),
        ] {
            for (i, device) in devices.iter().flatten().enumerate() {
                let rate = device.rate.is_some() || name == "weightDevice";
                let members =
                    [("major", device.major.is_some()), ("minor", device.minor.is_some()), ("rate", rate)];
                self.of(&format!("linux.resources.blockIO.{name}[{i}]"), &members);
            }
        }
    }
}

impl Look {
    /// The required members that are not there, by their path.
    pub(super) fn missing(&self) -> Vec<String> {
        let mut missing = Missing::default();
        if let Some(process) = &self.process {
            missing.of_process(process);
        }
        for (i, mount) in self.mounts.iter().flatten().enumerate() {
            missing.of_maps(&format!("mounts[{i}]"), &mount.uid_mappings, &mount.gid_mappings);
        }
        let Some(linux) = &self.linux else { return missing.0 };
        missing.of_maps("linux", &linux.uid_mappings, &linux.gid_mappings);
        if let Some(resources) = &linux.resources {
            missing.of_resources(resources);
        }
        for (i, device) in linux.devices.iter().flatten().enumerate() {
            // Only a FIFO has no numbers.
            if device.typ.as_deref() != Some("p") {
                let members = [("major", device.major.is_some()), ("minor", device.minor.is_some())];
                missing.of(&format!("linux.devices[{i}]"), &members);
            }
        }
        missing.0
    }

    /// linux.resources.pids.limit, if it is there.
    pub(super) fn pids_limit(&self) -> Option<i64> {
        self.linux.as_ref()?.resources.as_ref()?.pids.as_ref()?.limit
    }
}

#[cfg(test)]
mod tests {
    use super::super::read::document;

    fn missing(text: &str) -> Vec<String> {
        document(text.as_bytes(), "config.json").unwrap_or_else(|e| panic!("{text}: {e}")).mended.missing
    }

    fn process(members: &str) -> String {
        format!(r#"{{"ociVersion":"1.3.0","process":{{"cwd":"/","user":{{}},{members}}}}}"#)
    }

    fn linux(members: &str) -> String {
        format!(r#"{{"ociVersion":"1.3.0","linux":{{{members}}}}}"#)
    }

    fn resources(members: &str) -> String {
        linux(&format!(r#""resources":{{{members}}}"#))
    }

    #[test]
    fn required_numbers_are_not_zero_when_absent() {
        let rlimits =
            process(r#""rlimits":[{"type":"RLIMIT_CORE","soft":0,"hard":0},{"type":"RLIMIT_CPU","soft":1}]"#);
        assert_eq!(missing(&rlimits), ["process.rlimits[1].hard"]);
        assert_eq!(missing(&process(r#""ioPriority":{"priority":3}"#)), ["process.ioPriority.class"]);
        assert!(missing(&process(r#""ioPriority":{"class":"IOPRIO_CLASS_BE"}"#)).is_empty());
        let hugepages = resources(r#""hugepageLimits":[{"pageSize":"2MB"},{"pageSize":"1GB","limit":0}]"#);
        assert_eq!(missing(&hugepages), ["linux.resources.hugepageLimits[0].limit"]);
    }

    #[test]
    fn a_console_size_is_whole_where_it_counts() {
        let size = |terminal| process(&format!(r#""terminal":{terminal},"consoleSize":{{"height":5}}"#));
        assert_eq!(missing(&size(true)), ["process.consoleSize.width"]);
        assert!(missing(&size(false)).is_empty());
    }

    #[test]
    fn an_absent_host_id_is_not_root() {
        let maps =
            r#"[{"containerID":0,"hostID":0,"size":1},{"containerID":1,"size":1},{"hostID":2,"size":1}]"#;
        assert_eq!(
            missing(&linux(&format!(r#""uidMappings":{maps},"gidMappings":{maps}"#))),
            [
                "linux.uidMappings[1].hostID",
                "linux.uidMappings[2].containerID",
                "linux.gidMappings[1].hostID",
                "linux.gidMappings[2].containerID"
            ]
        );
        let mount =
            format!(r#"{{"mounts":[{{"destination":"/"}},{{"destination":"/x","gidMappings":{maps}}}]}}"#);
        assert_eq!(
            missing(&mount),
            ["mounts[1].gidMappings[1].hostID", "mounts[1].gidMappings[2].containerID"]
        );
    }

    #[test]
    fn an_absent_rate_is_not_zero() {
        let block = resources(
            r#""blockIO":{"weightDevice":[{"major":0,"weight":5}],"throttleReadIOPSDevice":[
                {"major":8,"minor":0,"rate":0},{"major":8,"minor":0}],"throttleWriteBpsDevice":[{"minor":1,"rate":1}]}"#,
        );
        assert_eq!(
            missing(&block),
            [
                "linux.resources.blockIO.weightDevice[0].minor",
                "linux.resources.blockIO.throttleWriteBpsDevice[0].major",
                "linux.resources.blockIO.throttleReadIOPSDevice[1].rate"
            ]
        );
        let network = resources(r#""network":{"priorities":[{"name":"a","priority":0},{"name":"b"}]}"#);
        assert_eq!(missing(&network), ["linux.resources.network.priorities[1].priority"]);
    }
}

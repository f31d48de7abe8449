//! The rules of linux.resources that need no knowledge of the host: conversions between cgroup versions and
//! everything that depends on present values are judged by the plan. Pure.

use super::super::Mended;
use super::super::field::Field;
use super::Problems;
use oci_spec::runtime::{LinuxBlockIo, LinuxDeviceCgroup, LinuxDeviceType, LinuxMemory, LinuxResources};
use std::collections::BTreeMap;

pub(super) fn check(resources: &LinuxResources, mended: &Mended, problems: &mut Problems) {
    let field = Field::new("linux.resources");
    for (i, rule) in resources.devices().iter().flatten().enumerate() {
        device_rule(&field.member("devices").item(i), rule, problems);
    }
    if let Some(memory) = resources.memory() {
        check_memory(&field.member("memory"), memory, problems);
    }
    if let Some(cpu) = resources.cpu() {
        let field = field.member("cpu");
        if let Some(idle) = cpu.idle().filter(|idle| !(0..=1).contains(idle)) {
            problems.add(field.member("idle"), format_args!("{idle} is neither 0 nor 1"));
        }
        for (member, list) in [("cpus", cpu.cpus()), ("mems", cpu.mems())] {
            if let Some(list) = list.as_ref().filter(|list| list.contains(['\0', '\n'])) {
                problems.add(field.member(member), format_args!("{list:?} is not a list"));
            }
        }
    }
    if let Some(block) = resources.block_io() {
        check_block_io(&field.member("blockIO"), block, problems);
    }
    hugepages(&field.member("hugepageLimits"), mended, problems);
    for (i, one) in resources.network().iter().flat_map(|n| n.priorities().iter().flatten()).enumerate() {
        if !is_word(one.name()) {
            let field = field.member("network").member("priorities").item(i).member("name");
            problems.add(field, format_args!("{:?} is not the name of an interface", one.name()));
        }
    }
    for (name, limits) in resources.rdma().iter().flatten().collect::<BTreeMap<_, _>>() {
        let field = field.member("rdma").key(name);
        if !is_word(name) {
            problems.add(field, "is not the name of a device");
        } else if limits.hca_handles().is_none() && limits.hca_objects().is_none() {
            problems.add(field, "has neither hcaHandles nor hcaObjects");
        }
    }
    for (key, value) in resources.unified().iter().flatten().collect::<BTreeMap<_, _>>() {
        unified(&field.member("unified").key(key), key, value, problems);
    }
}

/// Something that can be written as one word of a line in a cgroup file.
fn is_word(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c == '\0')
}

fn device_rule(field: &Field, rule: &LinuxDeviceCgroup, problems: &mut Problems) {
    match rule.access().as_deref().unwrap_or_default() {
        "" => problems.add(field.member("access"), "is empty, it needs letters of rwm"),
        access if !access.chars().all(|letter| "rwm".contains(letter)) => {
            problems.add(field.member("access"), format_args!("{access:?} has other letters than rwm"));
        }
        _ => {}
    }
    if let Some(kind @ (LinuxDeviceType::U | LinuxDeviceType::P)) = rule.typ() {
        problems.add(field.member("type"), format_args!("{:?} is none of a, b, c", kind.as_str()));
    }
    for (member, number) in [("major", rule.major()), ("minor", rule.minor())] {
        // -1 is how old callers write "any".
        if let Some(number) = number.filter(|number| !(-1..=i64::from(u32::MAX)).contains(number)) {
            problems.add(field.member(member), format_args!("{number} is not a device number"));
        }
    }
}

fn check_memory(field: &Field, memory: &LinuxMemory, problems: &mut Problems) {
    let limits = [("limit", memory.limit()), ("reservation", memory.reservation()), ("swap", memory.swap())];
    for (member, bytes) in limits {
        if let Some(bytes) = bytes.filter(|bytes| *bytes < -1) {
            problems.add(field.member(member), format_args!("{bytes} is neither a size nor -1 for no limit"));
        }
    }
    // u64::MAX is the -1 of older callers: as it is.
    let swappiness = memory.swappiness().filter(|swappiness| *swappiness != u64::MAX);
    if let Some(swappiness) = swappiness.filter(|swappiness| *swappiness > 100) {
        problems.add(field.member("swappiness"), format_args!("{swappiness} is above 100"));
    }
}

fn check_block_io(field: &Field, block: &LinuxBlockIo, problems: &mut Problems) {
    weight(field, "weight", block.weight(), problems);
    weight(field, "leafWeight", block.leaf_weight(), problems);
    for (i, device) in block.weight_device().iter().flatten().enumerate() {
        let field = field.member("weightDevice").item(i);
        numbers(&field, device.major(), device.minor(), problems);
        weight(&field, "weight", device.weight(), problems);
        weight(&field, "leafWeight", device.leaf_weight(), problems);
        if device.weight().is_none() && device.leaf_weight().is_none() {
            problems.add(field, "has neither weight nor leafWeight");
        }
    }
    let throttles = [
        ("throttleReadBpsDevice", block.throttle_read_bps_device()),
        ("throttleWriteBpsDevice", block.throttle_write_bps_device()),
        ("throttleReadIOPSDevice", block.throttle_read_iops_device()),
        ("throttleWriteIOPSDevice", block.throttle_write_iops_device()),
    ];
    for (member, devices) in throttles {
        for (i, device) in devices.iter().flatten().enumerate() {
            numbers(&field.member(member).item(i), device.major(), device.minor(), problems);
        }
    }
}

const WEIGHT_MAX: u16 = 1000;

/// The lower end differs (10 for cfq, 1 for bfq), and 0 is "not set" to every caller: only the upper is a rule.
fn weight(field: &Field, member: &str, weight: Option<u16>, problems: &mut Problems) {
    if let Some(weight) = weight.filter(|weight| *weight > WEIGHT_MAX) {
        problems.add(field.member(member), format_args!("{weight} is above {WEIGHT_MAX}"));
    }
}

fn numbers(field: &Field, major: i64, minor: i64, problems: &mut Problems) {
    for (member, number) in [("major", major), ("minor", minor)] {
        if u32::try_from(number).is_err() {
            problems.add(field.member(member), format_args!("{number} is not a device number"));
        }
    }
}

/// `64KB`, `2MB`, `1GB`: the words of the hugetlb file names.
fn is_page_size(word: &str) -> bool {
    let digits = word.trim_end_matches(|c: char| !c.is_ascii_digit());
    let digits_ok =
        digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.is_empty() && !digits.starts_with('0');
    digits_ok && matches!(&word[digits.len()..], "KB" | "MB" | "GB")
}

fn hugepages(field: &Field, mended: &Mended, problems: &mut Problems) {
    for (i, (size, _)) in mended.hugepage_limits.iter().enumerate() {
        let field = field.item(i).member("pageSize");
        if !is_page_size(size) {
            problems.add(field, format_args!("{size:?} is not a size such as 64KB, 2MB or 1GB"));
        } else if mended.hugepage_limits[..i].iter().any(|(before, _)| before == size) {
            problems.add(field, format_args!("{size:?} is listed twice"));
        }
    }
}

/// `CONTROLLER.PARAMETER`, a file of the container's own cgroup.
fn unified(field: &Field, key: &str, value: &str, problems: &mut Problems) {
    if key.contains(['/', '\0']) {
        problems.add(field, "must be a file name without a path");
    } else if !matches!(key.split_once('.'), Some((controller, parameter)) if !controller.is_empty() && !parameter.is_empty())
    {
        problems.add(field, "must have the form CONTROLLER.PARAMETER");
    }
    if value.contains('\0') {
        problems.add(field, "the value holds a NUL byte");
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::rows;
    use serde_json::json;

    #[test]
    fn device_rules() {
        rows(
            "linux.resources.devices",
            &[
                (
                    json!([{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": -1, "minor": 3, "access": "r"}]),
                    "",
                ),
                (
                    json!([{"allow": true}]),
                    "linux.resources.devices[0].access: is empty, it needs letters of rwm",
                ),
                (
                    json!([{"allow": true, "access": ""}]),
                    "linux.resources.devices[0].access: is empty, it needs letters of rwm",
                ),
                (
                    json!([{"allow": true, "access": "rx"}]),
                    "linux.resources.devices[0].access: \"rx\" has other letters than rwm",
                ),
                (
                    json!([{"allow": true, "type": "u", "access": "r"}]),
                    "linux.resources.devices[0].type: \"u\" is none of a, b, c",
                ),
                (
                    json!([{"allow": true, "major": -2, "access": "r"}]),
                    "linux.resources.devices[0].major: -2 is not a device number",
                ),
                (
                    json!([{"allow": true, "minor": 4_294_967_296_i64, "access": "r"}]),
                    "linux.resources.devices[0].minor: 4294967296 is not a device number",
                ),
            ],
        );
    }

    #[test]
    fn limits() {
        rows(
            "linux.resources.memory",
            &[
                (
                    json!({"limit": -1, "reservation": 0, "swap": 5, "swappiness": 100, "disableOOMKiller": true}),
                    "",
                ),
                (
                    json!({"limit": -2}),
                    "linux.resources.memory.limit: -2 is neither a size nor -1 for no limit",
                ),
                (
                    json!({"swap": i64::MIN}),
                    "linux.resources.memory.swap: -9223372036854775808 is neither a size nor -1 for no limit",
                ),
                (json!({"swappiness": u64::MAX}), ""),
                (json!({"swappiness": 101}), "linux.resources.memory.swappiness: 101 is above 100"),
            ],
        );
        rows(
            "linux.resources.cpu",
            &[
                (
                    json!({"shares": 0, "quota": -1, "period": 100_000, "idle": 1, "cpus": "0-1", "mems": ""}),
                    "",
                ),
                (json!({"idle": 2}), "linux.resources.cpu.idle: 2 is neither 0 nor 1"),
                (json!({"cpus": "0\n1"}), "linux.resources.cpu.cpus: \"0\\n1\" is not a list"),
            ],
        );
        rows(
            "linux.resources.blockIO",
            &[
                (json!({"weight": 1000, "leafWeight": 0}), ""),
                (json!({"weight": 1001}), "linux.resources.blockIO.weight: 1001 is above 1000"),
                (
                    json!({"weightDevice": [{"major": 8, "minor": 0, "weight": 1001}]}),
                    "linux.resources.blockIO.weightDevice[0].weight: 1001 is above 1000",
                ),
                (
                    json!({"weightDevice": [{"major": 8, "minor": 0}]}),
                    "linux.resources.blockIO.weightDevice[0]: has neither weight nor leafWeight",
                ),
                (
                    json!({"weightDevice": [{"major": -8, "minor": 0, "leafWeight": 0}]}),
                    "linux.resources.blockIO.weightDevice[0].major: -8 is not a device number",
                ),
                (
                    json!({"throttleReadIOPSDevice": [{"major": 8, "minor": -1, "rate": 1}]}),
                    "linux.resources.blockIO.throttleReadIOPSDevice[0].minor: -1 is not a device number",
                ),
            ],
        );
        rows("linux.resources.pids", &[(json!({"limit": -1}), ""), (json!({}), "")]);
        for bad in ["", "MB", "02MB", "2mb", "64kB", "2MB ", "2TB", "-2MB", "2 MB"] {
            let expected = format!(
                "linux.resources.hugepageLimits[0].pageSize: {bad:?} is not a size such as 64KB, 2MB or 1GB"
            );
            rows("linux.resources.hugepageLimits", &[(json!([{"pageSize": bad, "limit": 1}]), &expected)]);
        }
        rows(
            "linux.resources.hugepageLimits",
            &[
                (json!([{"pageSize": "64KB", "limit": 1}, {"pageSize": "2MB", "limit": u64::MAX}]), ""),
                (json!([{"pageSize": "2MB"}]), "linux.resources.hugepageLimits[0].limit: is missing"),
                (
                    json!([{"pageSize": "2MB", "limit": 1}, {"pageSize": "2MB", "limit": 1}]),
                    "linux.resources.hugepageLimits[1].pageSize: \"2MB\" is listed twice",
                ),
            ],
        );
    }

    #[test]
    fn named_resources() {
        rows(
            "linux.resources.network",
            &[
                (json!({"classID": 1, "priorities": [{"name": "eth0", "priority": 1}]}), ""),
                (
                    json!({"priorities": [{"name": "a b", "priority": 1}]}),
                    "linux.resources.network.priorities[0].name: \"a b\" is not the name of an interface",
                ),
            ],
        );
        rows(
            "linux.resources.rdma",
            &[
                (json!({"mlx5_1": {"hcaHandles": 3}}), ""),
                (json!({"a\nb": {}}), "linux.resources.rdma[\"a\\nb\"]: is not the name of a device"),
                (json!({"a": {}}), "linux.resources.rdma[\"a\"]: has neither hcaHandles nor hcaObjects"),
            ],
        );
        rows(
            "linux.resources.unified",
            &[
                (
                    json!({"memory.high": "1", "io.max": "8:0 rbps=1\n8:16 rbps=1", "hugetlb.2MB.max": "0"}),
                    "",
                ),
                (
                    json!({"a/b.c": "1"}),
                    "linux.resources.unified[\"a/b.c\"]: must be a file name without a path",
                ),
                (
                    json!({"memory": "1"}),
                    "linux.resources.unified[\"memory\"]: must have the form CONTROLLER.PARAMETER",
                ),
                (
                    json!({".high": "1"}),
                    "linux.resources.unified[\".high\"]: must have the form CONTROLLER.PARAMETER",
                ),
                (
                    json!({"memory.high": "\0"}),
                    "linux.resources.unified[\"memory.high\"]: the value holds a NUL byte",
                ),
            ],
        );
    }
}

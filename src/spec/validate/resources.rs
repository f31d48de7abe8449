//! The rules of linux.resources that need no knowledge of the host: conversions between cgroup versions and
//! everything that depends on present values are judged by the plan. Pure.

use super::super::Mended;
use super::super::field::Field;
use super::Problems;
use oci_spec::runtime::{LinuxBlockIo, LinuxDeviceCgroup, LinuxDeviceType, LinuxMemory, LinuxResources};

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
    for name in sorted(resources.rdma().iter().flatten().map(|(name, _)| name)) {
        if !is_word(name) {
            problems.add(field.member("rdma").key(name), "is not the name of a device");
        }
    }
    for (key, value) in resources.unified().iter().flatten().collect::<std::collections::BTreeMap<_, _>>() {
        unified(&field.member("unified").key(key), key, value, problems);
    }
}

fn sorted<'a>(names: impl Iterator<Item = &'a String>) -> Vec<&'a String> {
    let mut names: Vec<_> = names.collect();
    names.sort_unstable();
    names
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
    if let Some(swappiness) = memory.swappiness().filter(|swappiness| *swappiness > 100) {
        problems.add(field.member("swappiness"), format_args!("{swappiness} is above 100"));
    }
}

const WEIGHT_MAX: u16 = 1000;

fn check_block_io(field: &Field, block: &LinuxBlockIo, problems: &mut Problems) {
    let mut weight = |field: &Field, member: &str, weight: Option<u16>| {
        // The lower end differs: 10 for cfq, 1 for bfq; 0 is "not set" to every caller.
        if let Some(weight) = weight.filter(|weight| *weight > WEIGHT_MAX) {
            problems.add(field.member(member), format_args!("{weight} is above {WEIGHT_MAX}"));
        }
    };
    weight(field, "weight", block.weight());
    weight(field, "leafWeight", block.leaf_weight());
    for (i, device) in block.weight_device().iter().flatten().enumerate() {
        let field = field.member("weightDevice").item(i);
        weight(&field, "weight", device.weight());
        weight(&field, "leafWeight", device.leaf_weight());
    }
    let numbers = |member: &'static str, major: i64, minor: i64, i: usize, problems: &mut Problems| {
        for (part, number) in [("major", major), ("minor", minor)] {
            if u32::try_from(number).is_err() {
                let field = field.member(member).item(i).member(part);
                problems.add(field, format_args!("{number} is not a device number"));
            }
        }
    };
    for (i, device) in block.weight_device().iter().flatten().enumerate() {
        numbers("weightDevice", device.major(), device.minor(), i, problems);
    }
    let throttles = [
        ("throttleReadBpsDevice", block.throttle_read_bps_device()),
        ("throttleWriteBpsDevice", block.throttle_write_bps_device()),
        ("throttleReadIOPSDevice", block.throttle_read_iops_device()),
        ("throttleWriteIOPSDevice", block.throttle_write_iops_device()),
    ];
    for (member, devices) in throttles {
        for (i, device) in devices.iter().flatten().enumerate() {
            numbers(member, device.major(), device.minor(), i, problems);
        }
    }
}

/// `64KB`, `2MB`, `1GB`: the words of the hugetlb file names.
fn is_page_size(word: &str) -> bool {
    let digits = word.trim_end_matches(|c: char| !c.is_ascii_digit());
    let digits_ok = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.is_empty() && !digits.starts_with('0');
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

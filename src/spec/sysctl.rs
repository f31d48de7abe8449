//! The keys of `linux.sysctl`: their file below /proc/sys and the namespace they belong to.
//!
//! A key is dotted or slashed as in sysctl(8): the first separator decides, and the other character is then
//! a part of the names (`net.ipv4.conf.eno2/100.rp_filter` is the interface `eno2.100`). Pure.

use oci_spec::runtime::LinuxNamespaceType;

/// The path below /proc/sys, without a leading slash; None for a key that has empty names or would climb
/// (`net.//.kernel.core_pattern` has the name `..`).
pub fn path(key: &str) -> Option<String> {
    let slashed = key.find(['.', '/']).is_some_and(|at| key.as_bytes()[at] == b'/');
    let path: String = match slashed {
        true => key.to_owned(),
        false => key.chars().map(swap_separators).collect(),
    };
    let bad = |name: &str| matches!(name, "" | "." | "..") || name.contains('\0');
    if path.split('/').any(bad) { None } else { Some(path) }
}

fn swap_separators(character: char) -> char {
    match character {
        '.' => '/',
        '/' => '.',
        other => other,
    }
}

const IPC_KEYS: [&str; 8] = [
    "kernel/msgmax",
    "kernel/msgmnb",
    "kernel/msgmni",
    "kernel/sem",
    "kernel/shmall",
    "kernel/shmmax",
    "kernel/shmmni",
    "kernel/shm_rmid_forced",
];

/// The namespace whose setting the file of [`path`] is; None when it belongs to the whole host.
pub fn namespace(path: &str) -> Option<LinuxNamespaceType> {
    if path.starts_with("net/") {
        Some(LinuxNamespaceType::Network)
    } else if path.starts_with("fs/mqueue/") || IPC_KEYS.contains(&path) {
        Some(LinuxNamespaceType::Ipc)
    } else if path.starts_with("user/") {
        Some(LinuxNamespaceType::User)
    } else if matches!(path, "kernel/domainname" | "kernel/hostname") {
        Some(LinuxNamespaceType::Uts)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_paths() {
        let cases: &[(&str, Option<&str>)] = &[
            ("net.core.somaxconn", Some("net/core/somaxconn")),
            ("net/core/somaxconn", Some("net/core/somaxconn")),
            ("net/ipv4/conf/eno2.100/rp_filter", Some("net/ipv4/conf/eno2.100/rp_filter")),
            ("net.ipv4.conf.eno2/100.rp_filter", Some("net/ipv4/conf/eno2.100/rp_filter")),
            ("single", Some("single")),
            ("", None),
            ("net..core", None),
            (".net", None),
            ("net.", None),
            ("/net/core", None),
            ("net/../kernel/core_pattern", None),
            ("net.//.kernel.core_pattern", None),
            ("net./.x", None),
            ("net.a\0b", None),
        ];
        for (key, expected) in cases {
            assert_eq!(path(key).as_deref(), *expected, "{key:?}");
        }
    }

    #[test]
    fn owners() {
        let cases: &[(&str, Option<LinuxNamespaceType>)] = &[
            ("net/core/somaxconn", Some(LinuxNamespaceType::Network)),
            ("fs/mqueue/msg_max", Some(LinuxNamespaceType::Ipc)),
            ("kernel/shm_rmid_forced", Some(LinuxNamespaceType::Ipc)),
            ("kernel/domainname", Some(LinuxNamespaceType::Uts)),
            ("user/max_user_namespaces", Some(LinuxNamespaceType::User)),
            ("kernel/core_pattern", None),
            ("kernel/semx", None),
            ("network/x", None),
            ("net", None),
            ("fs/file-max", None),
        ];
        for (path, expected) in cases {
            assert_eq!(namespace(path), *expected, "{path}");
        }
    }
}

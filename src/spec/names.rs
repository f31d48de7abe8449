//! Words of config.json and of the command line against the kernel's numbers: capabilities, signals, flags of
//! scheduling; and the form of a container id.
//!
//! Numbers are those of the x86_64 and aarch64 ABI (asm-generic), which agree. Everything is parsed as a whole
//! or refused: `kill c1 9x` must not become signal 9. Pure.

use crate::error::{Error, Result};

/// The number of a capability (capabilities(7)). The case and a missing `CAP_` do not matter: oci-spec reads
/// config.json that leniently, and the command line must not differ from it.
pub fn capability(name: &str) -> Option<u8> {
    let upper = name.to_uppercase();
    let mut bare = upper.as_str();
    while let Some(rest) = bare.strip_prefix("CAP_") {
        bare = rest;
    }
    caps::to_canonical(bare).parse::<caps::Capability>().ok().map(|known| known.index())
}

/// The names of all capabilities known here, in the order of their numbers: `capabilities()[7]` is CAP_SETUID.
pub fn capabilities() -> Vec<String> {
    let mut all: Vec<_> = caps::all().into_iter().collect();
    all.sort_by_key(caps::Capability::index);
    all.iter().map(ToString::to_string).collect()
}

/// First and last real-time signal as glibc counts them: it keeps the kernel's 32 and 33 to itself.
const SIGRTMIN: i32 = 34;
const SIGRTMAX: i32 = 64;

#[rustfmt::skip]
const SIGNALS: &[(&str, i32)] = &[
    ("HUP", 1), ("INT", 2), ("QUIT", 3), ("ILL", 4), ("TRAP", 5), ("ABRT", 6), ("IOT", 6), ("BUS", 7),
    ("FPE", 8), ("KILL", 9), ("USR1", 10), ("SEGV", 11), ("USR2", 12), ("PIPE", 13), ("ALRM", 14),
    ("TERM", 15), ("STKFLT", 16), ("CHLD", 17), ("CLD", 17), ("CONT", 18), ("STOP", 19), ("TSTP", 20),
    ("TTIN", 21), ("TTOU", 22), ("URG", 23), ("XCPU", 24), ("XFSZ", 25), ("VTALRM", 26), ("PROF", 27),
    ("WINCH", 28), ("IO", 29), ("POLL", 29), ("PWR", 30), ("SYS", 31),
];

/// A signal as callers write it: a number from 1 to 64, or a name in any case, with or without `SIG`, `RTMIN+n`
/// and `RTMAX-n` included. Real-time names count as glibc does (RTMIN = 34).
pub fn parse_signal(text: &str) -> Result<i32> {
    signal_number(text).ok_or_else(|| Error::new(format!("unknown signal {text:?}")))
}

fn signal_number(text: &str) -> Option<i32> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return strict_number(text).filter(|number| (1..=SIGRTMAX).contains(number));
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let real_time = if let Some(offset) = name.strip_prefix("RTMIN") {
        SIGRTMIN.checked_add(real_time_offset(offset, '+')?)?
    } else if let Some(offset) = name.strip_prefix("RTMAX") {
        SIGRTMAX - real_time_offset(offset, '-')?
    } else {
        return SIGNALS.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
    };
    (SIGRTMIN..=SIGRTMAX).contains(&real_time).then_some(real_time)
}

/// `""` is 0, `"+3"` is 3.
fn real_time_offset(text: &str, sign: char) -> Option<i32> {
    if text.is_empty() { Some(0) } else { strict_number(text.strip_prefix(sign)?) }
}

/// Digits only: `str::parse` would take a sign.
fn strict_number(text: &str) -> Option<i32> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// linux/sched.h, the flags that runtime-spec 1.3 lists.
const SCHEDULER_FLAGS: &[(&str, u64)] = &[
    ("SCHED_FLAG_RESET_ON_FORK", 0x01),
    ("SCHED_FLAG_RECLAIM", 0x02),
    ("SCHED_FLAG_DL_OVERRUN", 0x04),
    ("SCHED_FLAG_KEEP_POLICY", 0x08),
    ("SCHED_FLAG_KEEP_PARAMS", 0x10),
    ("SCHED_FLAG_UTIL_CLAMP_MIN", 0x20),
    ("SCHED_FLAG_UTIL_CLAMP_MAX", 0x40),
];

/// The bit of a scheduling flag, for `sched_attr.sched_flags`.
pub fn scheduler_flag(name: &str) -> Option<u64> {
    SCHEDULER_FLAGS.iter().find(|(known, _)| *known == name).map(|(_, bit)| *bit)
}

/// The longest container id: it is a directory name (NAME_MAX).
const ID_MAX: usize = 255;

/// Whether `id` may name a container: `[A-Za-z0-9_+-][A-Za-z0-9_+.-]*`, at most 255 bytes. A leading dot is
/// kept for ourselves and keeps `.` and `..` out.
pub fn check_container_id(id: &str) -> Result<()> {
    if id.is_empty() {
        return Err(Error::new("container id cannot be empty"));
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_+.-".contains(&byte);
    if id.len() > ID_MAX || id.starts_with('.') || !id.bytes().all(allowed) {
        let shown: String = id.chars().take(64).collect();
        let more = if shown.len() < id.len() { "…" } else { "" };
        return Err(Error::new(format!("invalid container ID format: {shown:?}{more}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capability_names_and_numbers() {
        let cases: &[(&str, Option<u8>)] = &[
            ("CAP_CHOWN", Some(0)),
            ("CAP_SYS_ADMIN", Some(21)),
            ("CAP_CHECKPOINT_RESTORE", Some(40)),
            ("sys_admin", Some(21)),
            ("CAP_CAP_SYS_ADMIN", Some(21)),
            ("CAP_FOO", None),
            ("", None),
            ("CAP_", None),
            (" CAP_CHOWN", None),
        ];
        for (name, number) in cases {
            assert_eq!(capability(name), *number, "{name}");
        }
        let all = capabilities();
        assert_eq!(all.len(), 41);
        for (number, name) in all.iter().enumerate() {
            assert_eq!(capability(name).map(usize::from), Some(number), "{name}");
        }
    }

    #[test]
    fn signals() {
        let good: &[(&str, i32)] = &[
            ("SIGTERM", 15),
            ("term", 15),
            ("Term", 15),
            ("9", 9),
            ("64", 64),
            ("1", 1),
            ("KILL", 9),
            ("SIGRTMIN", 34),
            ("RTMIN+3", 37),
            ("SIGRTMIN+30", 64),
            ("sigrtmax", 64),
            ("SIGRTMAX-1", 63),
            ("RTMAX-30", 34),
            ("SIGIOT", 6),
            ("POLL", 29),
            ("SIGWINCH", 28),
        ];
        for (text, number) in good {
            assert_eq!(parse_signal(text).unwrap(), *number, "{text}");
        }
        let bad = "0 65 -9 +9 9x SIG SIGSIGTERM BOGUS RTMIN+ RTMIN+31 RTMIN-1 RTMAX+1 RTMAX-31 RTMIN+-3 RTMIN++3 \
            RTMAX--1 RTMIN+99999999999 99999999999 SIG9 1e1";
        for text in bad.split_whitespace().chain(["", " 9", "9 ", "TERM\n"]) {
            let error = parse_signal(text).unwrap_err().to_string();
            assert_eq!(error, format!("unknown signal {text:?}"));
        }
    }

    #[test]
    fn numbers_agree_with_the_headers() {
        let signals: &[(&str, i32)] = &[
            ("SIGHUP", libc::SIGHUP),
            ("SIGBUS", libc::SIGBUS),
            ("SIGSTKFLT", libc::SIGSTKFLT),
            ("SIGCHLD", libc::SIGCHLD),
            ("SIGSTOP", libc::SIGSTOP),
            ("SIGURG", libc::SIGURG),
            ("SIGIO", libc::SIGIO),
            ("SIGPWR", libc::SIGPWR),
            ("SIGSYS", libc::SIGSYS),
            ("SIGRTMIN", libc::SIGRTMIN()),
            ("SIGRTMAX", libc::SIGRTMAX()),
        ];
        for (name, number) in signals {
            assert_eq!(parse_signal(name).unwrap(), *number, "{name}");
        }
        assert_eq!(scheduler_flag("SCHED_FLAG_DL_OVERRUN"), Some(4));
        assert_eq!(scheduler_flag("SCHED_RESET_ON_FORK"), None);
    }

    #[test]
    fn container_ids() {
        for id in ["a", "c1", "A-b_c+d.e", "-x", "+", "_", "a..b", &"x".repeat(255)] {
            assert!(check_container_id(id).is_ok(), "{id}");
        }
        assert_eq!(check_container_id("").unwrap_err().to_string(), "container id cannot be empty");
        for id in [".", "..", ".trash", "a/b", "a b", "a\nb", "a:b", "é", "a\0"] {
            let error = check_container_id(id).unwrap_err().to_string();
            assert_eq!(error, format!("invalid container ID format: {id:?}"));
        }
        let long = check_container_id(&"x".repeat(256)).unwrap_err().to_string();
        assert_eq!(long, format!("invalid container ID format: \"{}\"…", "x".repeat(64)));
    }
}

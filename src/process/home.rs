//! HOME of a process whose environment has none: from the container's /etc/passwd. Runs in init, on a
//! descriptor that was opened inside the container's root (O_NONBLOCK: the image may put a FIFO there).
//!
//! The file is hostile: only a regular one of a file system that holds data is read, and of it no more than the first
//! mebibyte.

use std::os::fd::BorrowedFd;

use rustix::fs::FileType;

use crate::error::{Call, Result};
use crate::sys::mount::fstatfs;
use crate::sys::path;

/// No passwd file of an image is longer; an endless one must not hold init.
const LONGEST: usize = 1 << 20;
/// PATH_MAX without its NUL. A longer one is no directory's name, and would fill the room that execve has for all variables.
const LONGEST_HOME: usize = 4095;
/// procfs, sysfs, debugfs, tracefs (linux/magic.h): regular files in which the kernel answers to who reads, and we have
/// rights that the program has not. Reading /proc/kmsg takes the lines away from the host.
const ANSWERS: [u64; 4] = [0x9fa0, 0x6265_6572, 0x6462_6720, 0x7472_6163];

/// Whether `file`, which may be opened with O_PATH, is one that can be read without harm.
pub fn holds_data(file: BorrowedFd<'_>) -> Result<bool> {
    Ok(path::kind(file)? == FileType::RegularFile && !ANSWERS.contains(&fstatfs(file)?.0))
}

/// The home directory of `uid`, `/` when the file has no usable entry for it.
pub fn read(passwd: BorrowedFd<'_>, uid: u32) -> Result<String> {
    // Once more: between the look and the open the container may have put something else there.
    if !holds_data(passwd)? {
        return Ok("/".into());
    }
    let mut text = Vec::new();
    let mut block = [0; 4096];
    while text.len() < LONGEST {
        let length = rustix::io::retry_on_intr(|| rustix::io::read(passwd, &mut block)).call("read")?;
        if length == 0 {
            break;
        }
        text.extend_from_slice(block.get(..length).unwrap_or_default());
    }
    Ok(home_of(&text, uid).unwrap_or("/").to_owned())
}

/// The sixth field of the first line whose third is `uid` (passwd(5)); None when it is empty, too long or not text.
pub fn home_of(passwd: &[u8], uid: u32) -> Option<&str> {
    passwd.split(|byte| *byte == b'\n').find_map(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        let number = std::str::from_utf8(fields.nth(2)?).ok()?;
        if number.starts_with('+') || number.parse() != Ok(uid) {
            return None;
        }
        let home = std::str::from_utf8(fields.nth(2)?).ok()?;
        Some(home).filter(|home| (1..=LONGEST_HOME).contains(&home.len()) && !home.contains(char::is_control))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Seek, Write};
    use std::os::fd::AsFd;

    #[test]
    fn lines_of_every_kind() {
        let passwd = b"# comment\n\nroot:x:0:0:root:/root:/bin/sh\nbad:x:1\nempty:x:2:2:::/bin/sh\n\
            a:x:+3:3::/plus:\nb:x:3:3::/home/b\nb2:x:3:3::/home/b2:\n+::::::\nc:x:4:4:\xff:/c:\nd:x:5:5::/\xff:\n";
        for (uid, home) in [
            (0, Some("/root")),
            (1, None),
            (2, None),
            (3, Some("/home/b")),
            (4, Some("/c")),
            (5, None),
            (6, None),
        ] {
            assert_eq!(home_of(passwd, uid), home, "{uid}");
        }
        assert_eq!(home_of(b"", 0), None);
        for (home, fine) in [
            ("/".repeat(4095), true),
            ("/".repeat(4096), false),
            ("/\x1b[2J".into(), false),
            ("/\u{9b}".into(), false),
        ] {
            assert_eq!(home_of(format!("r:x:0:0::{home}:/\n").as_bytes(), 0).is_some(), fine, "{home:?}");
        }
    }

    #[test]
    fn only_regular_files_and_only_their_beginning() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"root:x:0:0::/root:\n").unwrap();
        file.write_all(&vec![b'\n'; 2 << 20]).unwrap();
        file.write_all(b"late:x:7:7::/late:\n").unwrap();
        file.rewind().unwrap();
        assert_eq!(read(file.as_fd(), 0).unwrap(), "/root");
        file.rewind().unwrap();
        assert_eq!(read(file.as_fd(), 7).unwrap(), "/");
        let (r, _w) = rustix::pipe::pipe().unwrap();
        assert_eq!(read(r.as_fd(), 0).unwrap(), "/");
        for (name, fine) in
            [("/proc/self/maps", false), ("/sys/kernel/uevent_seqnum", false), ("/etc/passwd", true)]
        {
            if let Ok(file) = std::fs::File::open(name) {
                assert_eq!(holds_data(file.as_fd()).unwrap(), fine, "{name}");
            }
        }
    }
}

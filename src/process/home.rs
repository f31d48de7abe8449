//! HOME of a process whose environment has none: from the container's /etc/passwd. Runs in init, on a
//! descriptor that was opened inside the container's root (O_NONBLOCK: the image may put a FIFO there).
//!
//! The file is hostile: only a regular one is read, and of it no more than the first mebibyte.

use std::os::fd::BorrowedFd;

use rustix::fs::FileType;

use crate::error::{Call, Result};

/// No passwd file of an image is longer; an endless one must not hold init.
const LONGEST: usize = 1 << 20;

/// The home directory of `uid`, `/` when the file has no usable entry for it.
pub fn read(passwd: BorrowedFd<'_>, uid: u32) -> Result<String> {
    let stat = rustix::fs::fstat(passwd).call("fstat")?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
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

/// The sixth field of the first line whose third is `uid` (passwd(5)); None when it is empty or not text.
pub fn home_of(passwd: &[u8], uid: u32) -> Option<&str> {
    passwd.split(|byte| *byte == b'\n').find_map(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        let number = std::str::from_utf8(fields.nth(2)?).ok()?;
        if number.starts_with('+') || number.parse() != Ok(uid) {
            return None;
        }
        let home = std::str::from_utf8(fields.nth(2)?).ok()?;
        Some(home).filter(|home| !home.is_empty() && !home.contains('\0'))
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
    }
}

//! Before a join that a process of the container can watch with the rights to act: the runtime changes to an
//! image of itself that cannot be written (sys/own_image.rs says why). Runs in the runtime, before anything
//! else is done or read.

use crate::error::{Doing, Error, Result};
use crate::plan::fds::FIRST;
use crate::sys::own_image;
use crate::sys::process::{keep_on_exec, set_name};
use std::path::Path;

/// As [`change_image`], for where nobody is known that could act on our image: what stands in the way of a protected one
/// (a kernel or a filter around us that knows neither overlays nor memfds) is a warning.
pub fn try_change_image(inherited: u32, paths: &[Option<&Path>]) -> Option<String> {
    let refused = change_image(inherited, paths).err()?;
    Some(format!(
        "{refused}: who has joined the container's pid namespace with CAP_SYS_PTRACE sees the host's binary"
    ))
}

/// Returns in the protected image, where the command begins anew; `inherited` descriptors of the caller's go
/// along, and those that one of `paths` names.
pub fn change_image(inherited: u32, paths: &[Option<&Path>]) -> Result<()> {
    if own_image::is_protected()? {
        // execveat leaves the number of a descriptor for a name.
        set_name(c"orlop");
        return Ok(());
    }
    let go = || {
        for number in FIRST..FIRST + inherited {
            keep_on_exec(i32::try_from(number).map_err(|_| Error::sys("fcntl", libc::EBADF))?)?;
        }
        for number in paths.iter().flatten().filter_map(|path| descriptor(path)) {
            // One that is not open is said to be missing when it is read.
            let _ = keep_on_exec(number);
        }
        own_image::run_again()
    };
    let Err(e) = go();
    Err(e).doing("run from a read-only copy of orlop")
}

/// `-p <(jq … process.json)` of a shell: a descriptor by its name.
fn descriptor(path: &Path) -> Option<i32> {
    let number = ["/dev/fd", "/proc/self/fd"].iter().find_map(|dir| path.strip_prefix(dir).ok())?;
    number.to_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_have_names() {
        for (path, number) in [
            ("/dev/fd/63", Some(63)),
            ("/proc/self/fd/5", Some(5)),
            ("/dev/fd/x", None),
            ("/dev/fd/6/7", None),
            ("p.json", None),
        ] {
            assert_eq!(descriptor(Path::new(path)), number, "{path}");
        }
    }
}

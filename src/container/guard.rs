//! Before a join that a process of the container can watch with the rights to act: the runtime changes to an
//! image of itself that cannot be written (sys/own_image.rs says why). Runs in the runtime, before anything
//! else is done or read.

use crate::error::{Doing, Error, Result};
use crate::plan::fds::FIRST;
use crate::sys::own_image;
use crate::sys::process::{keep_on_exec, set_name};

/// Returns in the protected image, where the command begins anew; `inherited` descriptors of the caller's go
/// along.
pub fn change_image(inherited: u32) -> Result<()> {
    if own_image::is_protected()? {
        // execveat leaves the number of a descriptor for a name.
        set_name(c"orlop");
        return Ok(());
    }
    let go = || {
        for number in FIRST..FIRST + inherited {
            keep_on_exec(i32::try_from(number).map_err(|_| Error::sys("fcntl", libc::EBADF))?)?;
        }
        own_image::run_again()
    };
    let Err(e) = go();
    Err(e).doing("run from a read-only copy of orlop")
}

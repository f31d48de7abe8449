//! The configuration that a container was made with, as its state directory keeps it.

use crate::error::{Doing, Result};
use crate::spec::{self, Bundle};
use crate::state::{Entry, store};

/// As it was at create. It goes with the container, which may be deleted at this moment.
pub fn config(entry: &Entry) -> Result<Bundle> {
    match spec::load(entry.path(), Some(&entry.path().join(store::CONFIG))) {
        Err(_) if !entry.is_named()? => Err(store::no_container()),
        config => config.doing("read the container's configuration"),
    }
}

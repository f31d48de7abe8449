//! A bundle made from nothing: busybox (static) with a few names, the guest program, a handful of directories.

use super::config::default_config;
use super::{guest, runtime};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

pub struct Bundle {
    /// The id that tests use for the container of this bundle; its cgroupsPath is `/ID`.
    pub id: String,
    pub dir: PathBuf,
    pub config: RefCell<Value>,
}

const APPLETS: [&str; 24] = [
    "sh", "cat", "sleep", "true", "false", "echo", "ls", "id", "mount", "umount", "stat", "touch", "env",
    "pwd", "kill", "mkdir", "rm", "ln", "hostname", "head", "wc", "dd", "ip", "readlink",
];

impl Bundle {
    pub fn new(dir: PathBuf, id: String) -> Self {
        let rootfs = dir.join("rootfs");
        for sub in ["bin", "etc", "dev", "proc", "sys", "tmp", "root", "home/user", "run", "mnt"] {
            std::fs::create_dir_all(rootfs.join(sub)).expect("make the rootfs");
        }
        open_up(&dir);
        for (path, mode) in [("tmp", 0o1777), ("root", 0o700)] {
            std::fs::set_permissions(rootfs.join(path), PermissionsExt::from_mode(mode)).expect("chmod");
        }
        std::fs::copy(guest::path(), rootfs.join("guest")).expect("copy the guest");
        let busybox = runtime::in_path("busybox").expect("busybox (static) in PATH");
        std::fs::copy(busybox, rootfs.join("bin/busybox")).expect("copy busybox");
        for name in APPLETS {
            symlink("busybox", rootfs.join("bin").join(name)).expect("link an applet");
        }
        let passwd = "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh\n";
        std::fs::write(rootfs.join("etc/passwd"), passwd).expect("passwd");
        let config = RefCell::new(default_config(&id));
        Self { id, dir, config }
    }

    pub fn rootfs(&self) -> PathBuf {
        self.dir.join("rootfs")
    }

    /// A path in the rootfs, by its name in the container.
    pub fn host(&self, inside: &str) -> PathBuf {
        self.rootfs().join(inside.trim_start_matches('/'))
    }

    pub fn edit(&self, change: impl FnOnce(&mut Value)) -> &Self {
        change(&mut self.config.borrow_mut());
        self
    }

    /// Sets the value at a JSON pointer without its leading slash; objects on the way are made, array indices
    /// must exist.
    pub fn set(&self, pointer: &str, value: Value) -> &Self {
        let mut config = self.config.borrow_mut();
        let mut place = &mut *config;
        for part in pointer.split('/') {
            place = match part.parse::<usize>() {
                Ok(index) if place.is_array() => &mut place[index],
                _ => &mut place[part],
            };
        }
        *place = value;
        drop(config);
        self
    }

    pub fn remove(&self, pointer: &str) -> &Self {
        let mut config = self.config.borrow_mut();
        let (above, key) = pointer.rsplit_once('/').map_or(("", pointer), |(a, k)| (a, k));
        let above = if above.is_empty() { String::new() } else { format!("/{above}") };
        if let Some(object) = config.pointer_mut(&above).and_then(Value::as_object_mut) {
            object.remove(key);
        }
        drop(config);
        self
    }

    pub fn args(&self, args: &[&str]) -> &Self {
        self.set("process/args", json!(args))
    }

    pub fn shell(&self, script: &str) -> &Self {
        self.args(&["/bin/sh", "-c", script])
    }

    pub fn add(&self, list: &str, item: Value) -> &Self {
        let pointer = format!("/{list}");
        let present = self.config.borrow().pointer(&pointer).is_some_and(Value::is_array);
        if !present {
            self.set(list, json!([]));
        }
        let mut config = self.config.borrow_mut();
        let array = config.pointer_mut(&pointer).and_then(Value::as_array_mut).expect("an array");
        array.push(item);
        drop(config);
        self
    }

    pub fn mount(&self, mount: Value) -> &Self {
        self.add("mounts", mount)
    }

    /// A user namespace with 0..1000 and on mapped to `base`…, the rootfs given to its root.
    pub fn userns(&self, base: u32) -> &Self {
        self.edit(|c| super::namespaced(c, "user", None));
        let map = json!([{ "containerID": 0, "hostID": base, "size": 65536 }]);
        self.set("linux/uidMappings", map.clone()).set("linux/gidMappings", map);
        chown_all(&self.rootfs(), base);
        self
    }

    pub fn write(&self) {
        let text = serde_json::to_string_pretty(&*self.config.borrow()).expect("JSON");
        std::fs::write(self.dir.join("config.json"), text).expect("write config.json");
    }

    pub fn write_raw(&self, text: &str) {
        std::fs::write(self.dir.join("config.json"), text).expect("write config.json");
    }
}

/// The container's users must get through to the rootfs, whatever the umask.
fn open_up(dir: &Path) {
    for entry in [dir.to_owned(), dir.join("rootfs")] {
        std::fs::set_permissions(entry, PermissionsExt::from_mode(0o755)).expect("chmod");
    }
}

pub fn chown_all(path: &Path, owner: u32) {
    std::os::unix::fs::lchown(path, Some(owner), Some(owner)).expect("chown");
    if path.symlink_metadata().is_ok_and(|m| m.is_dir()) {
        for entry in std::fs::read_dir(path).expect("read the rootfs").flatten() {
            chown_all(&entry.path(), owner);
        }
    }
}

//! The options of one `mounts[]` entry, sorted into what the kernel wants to hear.
//!
//! One table maps every option word of runtime-spec 1.3 (config.md "Linux mount options": the MUST, SHOULD and
//! MAY rows) to its effect; a word that is not in it belongs to the file system and goes into `data`. Options
//! are taken in order and the last of two contrary words wins. Pure; no option is ever refused here, what makes
//! no sense together is the business of `spec::validate`.

use libc::{
    MS_DIRSYNC, MS_I_VERSION, MS_LAZYTIME, MS_MANDLOCK, MS_NOATIME, MS_NODEV, MS_NODIRATIME, MS_NOEXEC,
    MS_NOSUID, MS_NOSYMFOLLOW, MS_PRIVATE, MS_RDONLY, MS_REC, MS_RELATIME, MS_REMOUNT, MS_SHARED, MS_SILENT,
    MS_SLAVE, MS_STRICTATIME, MS_SYNCHRONOUS, MS_UNBINDABLE,
};
use serde::Serialize;

// mount_setattr(2), linux/mount.h. The three access-time settings are one field of several bits, not flags.
pub const MOUNT_ATTR_RDONLY: u64 = 0x01;
pub const MOUNT_ATTR_NOSUID: u64 = 0x02;
pub const MOUNT_ATTR_NODEV: u64 = 0x04;
pub const MOUNT_ATTR_NOEXEC: u64 = 0x08;
/// The mask of the access-time field; the kernel refuses an `attr_clr` that holds only a part of it.
pub const MOUNT_ATTR_ATIME_MASK: u64 = 0x70;
pub const MOUNT_ATTR_RELATIME: u64 = 0x00;
pub const MOUNT_ATTR_NOATIME: u64 = 0x10;
pub const MOUNT_ATTR_STRICTATIME: u64 = 0x20;
pub const MOUNT_ATTR_NODIRATIME: u64 = 0x80;
pub const MOUNT_ATTR_NOSYMFOLLOW: u64 = 0x0020_0000;

/// Whether the entry binds an existing tree instead of mounting a file system.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Bind {
    #[default]
    No,
    /// The source mount alone.
    Bind,
    /// The source with everything mounted below it.
    Rbind,
}

/// Whether ids are translated on the mount (`mount_setattr` with MOUNT_ATTR_IDMAP).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Idmap {
    #[default]
    No,
    /// The mount alone.
    Idmap,
    /// With everything below it.
    Ridmap,
}

/// The options of one mount. `MS_BIND` and `MS_REC` never appear in `set`: see `bind`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct MountOptions {
    /// MS_* flags asked for, of the mount itself (mount(2)). MS_REMOUNT is among them when `remount` was given.
    pub set: u64,
    /// MS_* flags explicitly taken away (`rw`, `suid`, `atime`, …): never in `set`. A bind mount keeps the flags
    /// of its source unless they are in here.
    pub clear: u64,
    /// MOUNT_ATTR_* to set on the whole tree (mount_setattr(2) with AT_RECURSIVE, Linux 5.12).
    pub rec_set: u64,
    /// MOUNT_ATTR_* to clear on the whole tree; holds all of [`MOUNT_ATTR_ATIME_MASK`] or nothing of it.
    pub rec_clear: u64,
    /// MS_SHARED, MS_SLAVE, MS_PRIVATE or MS_UNBINDABLE, with MS_REC for the r-forms, in the order given. Each
    /// is a mount(2) call of its own after the mount: the kernel takes one per call.
    pub propagation: Vec<u64>,
    pub bind: Bind,
    pub idmap: Idmap,
    /// Copy what is below the mount point into the new tmpfs first.
    pub tmpcopyup: bool,
    /// crun's: a source that is a symbolic link is copied, not followed.
    pub copy_symlink: bool,
    /// Every unknown option, in order, to be joined with commas (spec: "pass to the file system"). One entry may
    /// itself hold several, separated by commas.
    pub data: Vec<String>,
}

/// What one option word does.
#[derive(Debug, Clone, Copy)]
enum Effect {
    /// `defaults`: the words it stands for are what a mount has anyway.
    Nothing,
    Set(u64),
    Clear(u64),
    RecSet(u64),
    RecClear(u64),
    /// An access-time setting of the whole tree.
    RecAtime(u64),
    /// Takes that access-time setting away from the whole tree, which leaves relatime, the kernel's default.
    RecNotAtime(u64),
    Propagation(u64),
    Bind(Bind),
    Idmap(Idmap),
    CopySymlink,
    Tmpcopyup,
}

use Effect::{Clear, Nothing, Propagation, RecAtime, RecClear, RecNotAtime, RecSet, Set, Tmpcopyup};

/// Sorted by name, so that a lookup is a binary search and `features` can print it as it is.
#[rustfmt::skip]
const TABLE: &[(&str, Effect)] = &[
    ("async", Clear(MS_SYNCHRONOUS)),
    ("atime", Clear(MS_NOATIME)),
    ("bind", Effect::Bind(Bind::Bind)),
    ("copy-symlink", Effect::CopySymlink),
    ("defaults", Nothing),
    ("dev", Clear(MS_NODEV)),
    ("diratime", Clear(MS_NODIRATIME)),
    ("dirsync", Set(MS_DIRSYNC)),
    ("exec", Clear(MS_NOEXEC)),
    ("idmap", Effect::Idmap(Idmap::Idmap)),
    ("iversion", Set(MS_I_VERSION)),
    ("lazytime", Set(MS_LAZYTIME)),
    ("loud", Clear(MS_SILENT)),
    ("mand", Set(MS_MANDLOCK)),
    ("noatime", Set(MS_NOATIME)),
    ("nodev", Set(MS_NODEV)),
    ("nodiratime", Set(MS_NODIRATIME)),
    ("noexec", Set(MS_NOEXEC)),
    ("noiversion", Clear(MS_I_VERSION)),
    ("nolazytime", Clear(MS_LAZYTIME)),
    ("nomand", Clear(MS_MANDLOCK)),
    ("norelatime", Clear(MS_RELATIME)),
    ("nostrictatime", Clear(MS_STRICTATIME)),
    ("nosuid", Set(MS_NOSUID)),
    ("nosymfollow", Set(MS_NOSYMFOLLOW)),
    ("private", Propagation(MS_PRIVATE)),
    ("ratime", RecNotAtime(MOUNT_ATTR_NOATIME)),
    ("rbind", Effect::Bind(Bind::Rbind)),
    ("rdev", RecClear(MOUNT_ATTR_NODEV)),
    ("rdiratime", RecClear(MOUNT_ATTR_NODIRATIME)),
    ("relatime", Set(MS_RELATIME)),
    ("remount", Set(MS_REMOUNT)),
    ("rexec", RecClear(MOUNT_ATTR_NOEXEC)),
    ("ridmap", Effect::Idmap(Idmap::Ridmap)),
    ("rnoatime", RecAtime(MOUNT_ATTR_NOATIME)),
    ("rnodev", RecSet(MOUNT_ATTR_NODEV)),
    ("rnodiratime", RecSet(MOUNT_ATTR_NODIRATIME)),
    ("rnoexec", RecSet(MOUNT_ATTR_NOEXEC)),
    // relatime is the value 0 of the access-time field: there is no other setting that "not relatime" could mean.
    ("rnorelatime", Nothing),
    ("rnostrictatime", RecNotAtime(MOUNT_ATTR_STRICTATIME)),
    ("rnosuid", RecSet(MOUNT_ATTR_NOSUID)),
    ("rnosymfollow", RecSet(MOUNT_ATTR_NOSYMFOLLOW)),
    ("ro", Set(MS_RDONLY)),
    ("rprivate", Propagation(MS_PRIVATE | MS_REC)),
    ("rrelatime", RecAtime(MOUNT_ATTR_RELATIME)),
    ("rro", RecSet(MOUNT_ATTR_RDONLY)),
    ("rrw", RecClear(MOUNT_ATTR_RDONLY)),
    ("rshared", Propagation(MS_SHARED | MS_REC)),
    ("rslave", Propagation(MS_SLAVE | MS_REC)),
    ("rstrictatime", RecAtime(MOUNT_ATTR_STRICTATIME)),
    ("rsuid", RecClear(MOUNT_ATTR_NOSUID)),
    ("rsymfollow", RecClear(MOUNT_ATTR_NOSYMFOLLOW)),
    ("runbindable", Propagation(MS_UNBINDABLE | MS_REC)),
    ("rw", Clear(MS_RDONLY)),
    ("shared", Propagation(MS_SHARED)),
    ("silent", Set(MS_SILENT)),
    ("slave", Propagation(MS_SLAVE)),
    ("strictatime", Set(MS_STRICTATIME)),
    ("suid", Clear(MS_NOSUID)),
    ("symfollow", Clear(MS_NOSYMFOLLOW)),
    ("sync", Set(MS_SYNCHRONOUS)),
    ("tmpcopyup", Tmpcopyup),
    ("unbindable", Propagation(MS_UNBINDABLE)),
];

/// The option words that are understood here, sorted; file system data is not among them.
pub fn known() -> Vec<&'static str> {
    TABLE.iter().map(|(word, _)| *word).collect()
}

/// Sorts the options of one mount. Empty words are dropped: the kernel ignores them in data as well.
pub fn parse(options: &[String]) -> MountOptions {
    let mut parsed = MountOptions::default();
    for word in options {
        match TABLE.binary_search_by(|(known, _)| (*known).cmp(word)) {
            Ok(row) => parsed.apply(TABLE[row].1),
            Err(_) if word.is_empty() => {}
            Err(_) => parsed.data.push(word.clone()),
        }
    }
    parsed
}

impl MountOptions {
    fn apply(&mut self, effect: Effect) {
        match effect {
            Effect::Nothing => {}
            Effect::Set(flag) => {
                self.set |= flag;
                self.clear &= !flag;
            }
            Effect::Clear(flag) => {
                self.set &= !flag;
                self.clear |= flag;
            }
            Effect::RecSet(attr) => {
                self.rec_set |= attr;
                self.rec_clear &= !attr;
            }
            Effect::RecClear(attr) => {
                self.rec_set &= !attr;
                self.rec_clear |= attr;
            }
            // mount_setattr(2): a new access-time setting needs the whole mask in attr_clr.
            Effect::RecAtime(value) => {
                self.rec_set = self.rec_set & !MOUNT_ATTR_ATIME_MASK | value;
                self.rec_clear |= MOUNT_ATTR_ATIME_MASK;
            }
            Effect::RecNotAtime(value) => {
                if self.rec_set & MOUNT_ATTR_ATIME_MASK == value {
                    self.rec_set &= !MOUNT_ATTR_ATIME_MASK;
                }
                self.rec_clear |= MOUNT_ATTR_ATIME_MASK;
            }
            Effect::Propagation(kind) => self.propagation.push(kind),
            Effect::Bind(bind) => self.bind = bind,
            Effect::Idmap(idmap) => self.idmap = idmap,
            Effect::CopySymlink => self.copy_symlink = true,
            Effect::Tmpcopyup => self.tmpcopyup = true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(words: &str) -> MountOptions {
        parse(&words.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn table_is_sorted_and_has_no_word_twice() {
        assert!(TABLE.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }

    #[test]
    fn every_option_of_the_specification_is_known() {
        // config.md, "Linux mount options", in its own order.
        let listed = "async atime bind defaults dev diratime dirsync exec iversion lazytime loud noatime nodev \
            nodiratime noexec noiversion nolazytime norelatime nostrictatime nosuid nosymfollow private ratime \
            rbind rdev rdiratime relatime remount rexec rnoatime rnodiratime rnoexec rnorelatime rnostrictatime \
            rnosuid rnosymfollow rnodev ro rprivate rrelatime rro rrw rshared rslave rstrictatime rsuid \
            rsymfollow runbindable rw shared silent slave strictatime suid symfollow sync tmpcopyup unbindable \
            idmap ridmap mand nomand";
        let known = known();
        for word in listed.split_whitespace() {
            assert!(known.contains(&word), "{word}");
            assert!(of(word).data.is_empty(), "{word}");
        }
        // crun's.
        assert!(of("copy-symlink").copy_symlink);
        assert_eq!(known.len(), listed.split_whitespace().count() + 1);
    }

    #[test]
    fn flags_of_the_mount() {
        let cases: &[(&str, u64, u64)] = &[
            ("", 0, 0),
            ("defaults", 0, 0),
            ("ro", MS_RDONLY, 0),
            ("rw", 0, MS_RDONLY),
            ("ro rw", 0, MS_RDONLY),
            ("rw ro", MS_RDONLY, 0),
            ("nosuid noexec nodev", MS_NOSUID | MS_NOEXEC | MS_NODEV, 0),
            ("suid exec dev", 0, MS_NOSUID | MS_NOEXEC | MS_NODEV),
            ("sync dirsync mand silent", MS_SYNCHRONOUS | MS_DIRSYNC | MS_MANDLOCK | MS_SILENT, 0),
            ("async nomand loud", 0, MS_SYNCHRONOUS | MS_MANDLOCK | MS_SILENT),
            ("iversion lazytime", MS_I_VERSION | MS_LAZYTIME, 0),
            ("noiversion nolazytime", 0, MS_I_VERSION | MS_LAZYTIME),
            (
                "noatime nodiratime relatime strictatime",
                MS_NOATIME | MS_NODIRATIME | MS_RELATIME | MS_STRICTATIME,
                0,
            ),
            (
                "atime diratime norelatime nostrictatime",
                0,
                MS_NOATIME | MS_NODIRATIME | MS_RELATIME | MS_STRICTATIME,
            ),
            ("nosymfollow", MS_NOSYMFOLLOW, 0),
            ("symfollow", 0, MS_NOSYMFOLLOW),
            ("remount", MS_REMOUNT, 0),
        ];
        for (words, set, clear) in cases {
            let parsed = of(words);
            assert_eq!((parsed.set, parsed.clear), (*set, *clear), "{words}");
        }
    }

    #[test]
    fn attributes_of_the_tree() {
        let cases: &[(&str, u64, u64)] = &[
            ("rro", MOUNT_ATTR_RDONLY, 0),
            ("rrw", 0, MOUNT_ATTR_RDONLY),
            ("rro rrw", 0, MOUNT_ATTR_RDONLY),
            ("rnosuid rnodev rnoexec", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC, 0),
            ("rsuid rdev rexec", 0, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC),
            ("rnodiratime rnosymfollow", MOUNT_ATTR_NODIRATIME | MOUNT_ATTR_NOSYMFOLLOW, 0),
            ("rdiratime rsymfollow", 0, MOUNT_ATTR_NODIRATIME | MOUNT_ATTR_NOSYMFOLLOW),
            ("rnoatime", MOUNT_ATTR_NOATIME, MOUNT_ATTR_ATIME_MASK),
            ("rstrictatime", MOUNT_ATTR_STRICTATIME, MOUNT_ATTR_ATIME_MASK),
            ("rrelatime", MOUNT_ATTR_RELATIME, MOUNT_ATTR_ATIME_MASK),
            ("rnoatime rstrictatime", MOUNT_ATTR_STRICTATIME, MOUNT_ATTR_ATIME_MASK),
            ("rnoatime ratime", 0, MOUNT_ATTR_ATIME_MASK),
            ("rstrictatime ratime", MOUNT_ATTR_STRICTATIME, MOUNT_ATTR_ATIME_MASK),
            ("rnostrictatime", 0, MOUNT_ATTR_ATIME_MASK),
            ("rnorelatime", 0, 0),
        ];
        for (words, set, clear) in cases {
            let parsed = of(words);
            assert_eq!((parsed.rec_set, parsed.rec_clear), (*set, *clear), "{words}");
            assert_eq!((parsed.set, parsed.clear), (0, 0), "{words}");
        }
    }

    #[test]
    fn the_rest() {
        let parsed = of("rbind ro rslave shared idmap size=64k mode=755 tmpcopyup");
        assert_eq!(parsed.bind, Bind::Rbind);
        assert_eq!(parsed.idmap, Idmap::Idmap);
        assert_eq!(parsed.propagation, [MS_SLAVE | MS_REC, MS_SHARED]);
        assert_eq!(parsed.set, MS_RDONLY);
        assert_eq!(parsed.data, ["size=64k", "mode=755"]);
        assert!(parsed.tmpcopyup);
        assert_eq!(of("bind").bind, Bind::Bind);
        assert_eq!(of("ridmap").idmap, Idmap::Ridmap);
        // Option words are case-sensitive, and a prefix is not the word.
        assert_eq!(of("RO rox").data, ["RO", "rox"]);
        assert_eq!(parse(&[String::new()]), MountOptions::default());
    }
}

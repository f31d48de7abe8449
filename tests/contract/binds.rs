//! Bind mounts: sources, flags, recursion, propagation, idmaps (contract §2.2).

use super::mounts::{bind, has, host_dir, is_mounted, mount_line};
use crate::contract;
use crate::harness::leftovers;
use crate::harness::test::map;
use crate::harness::{Test, of};
use nix::mount::MsFlags;
use serde_json::json;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

#[test]
fn a_bind_mount_shows_the_source_both_ways() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        let dir = host_dir(t);
        bind(&b, &dir, "/d", &["bind"]);
        let r = t.report(&b, &["read:/d/file", "create:/d/new"]);
        assert_eq!(of(&r["probes"], "read:~1d~1file/text"), "from the host\n");
        assert_eq!(of(&r["probes"], "create:~1d~1new/errno"), 0);
        assert!(dir.join("new").exists());
    });
}

#[test]
fn a_bind_mount_without_the_type_word_works() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        let dir = host_dir(t);
        b.mount(json!({ "destination": "/d", "source": dir, "options": ["rbind", "ro"] }));
        b.mount(json!({ "destination": "/e", "type": "none", "source": dir, "options": ["bind"] }));
        let r = t.report(&b, &["read:/d/file", "create:/d/new", "read:/e/file"]);
        assert_eq!(of(&r["probes"], "create:~1d~1new/errno"), libc::EROFS);
        assert_eq!(of(&r["probes"], "read:~1e~1file/errno"), 0);
    });
}

#[test]
fn a_relative_bind_source_belongs_to_the_bundle() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        std::fs::create_dir(b.dir.join("data")).unwrap();
        std::fs::write(b.dir.join("data/file"), "mine").unwrap();
        bind(&b, Path::new("data"), "/d", &["bind"]);
        let r = t.report(&b, &["read:/d/file"]);
        assert_eq!(of(&r["probes"], "read:~1d~1file/text"), "mine");
    });
}

/// podman's `--mount type=bind,no-dereference`.
#[test]
fn a_link_can_be_copied_instead_of_followed() {
    contract!(Root)
        .differs("runc", "takes the option for data")
        .differs("crun", "1.8.1 follows it all the same")
        .run(|t| {
            let b = t.bundle();
            let dir = host_dir(t);
            std::os::unix::fs::symlink("file", dir.join("link")).unwrap();
            bind(&b, &dir.join("link"), "/new/link", &["bind", "copy-symlink"]);
            bind(&b, &dir, "/d", &["bind", "copy-symlink"]);
            let r = t.report(&b, &["readlink:/new/link", "read:/d/file"]);
            assert_eq!(of(&r["probes"], "readlink:~1new~1link/target"), "file");
            assert_eq!(of(&r["probes"], "read:~1d~1file/text"), "from the host\n");
        });
}

#[test]
fn a_file_is_bound_onto_a_file() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        let dir = host_dir(t);
        bind(&b, &dir.join("file"), "/new/deep/name", &["bind", "ro"]);
        let r = t.report(&b, &["read:/new/deep/name", "open-w:/new/deep/name", "stat:/new/deep"]);
        assert_eq!(of(&r["probes"], "read:~1new~1deep~1name/text"), "from the host\n");
        assert_eq!(of(&r["probes"], "open-w:~1new~1deep~1name/errno"), libc::EROFS);
        assert_eq!(of(&r["probes"], "stat:~1new~1deep/mode"), 0o755);
    });
}

#[test]
fn bind_flags_are_set() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        bind(&b, &host_dir(t), "/d", &["bind", "ro", "nosuid", "nodev", "noexec", "noatime"]);
        let (options, ..) = mount_line(&t.report(&b, &[]), "/d");
        for option in ["ro", "nosuid", "nodev", "noexec", "noatime"] {
            assert!(has(&options, option), "{options}");
        }
    });
}

#[test]
fn a_bind_mount_without_flags_keeps_those_of_the_source() {
    contract!(Root).differs("crun", "loses some of them").run(|t| {
        let b = t.bundle();
        let source = t.fresh_dir("source");
        t.mount("tmpfs", &source, "tmpfs", MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC | MsFlags::MS_NOATIME, "");
        bind(&b, &source, "/d", &["bind"]);
        let (options, ..) = mount_line(&t.report(&b, &[]), "/d");
        for option in ["nosuid", "noexec", "noatime"] {
            assert!(has(&options, option), "{options}");
        }
    });
}

#[test]
fn cleared_flags_are_cleared() {
    contract!(Root).differs("runc", "1.1.5 remounts for set flags only").run(|t| {
        let b = t.bundle();
        let source = t.fresh_dir("source");
        t.mount("tmpfs", &source, "tmpfs", MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC | MsFlags::MS_RDONLY, "");
        bind(&b, &source, "/d", &["bind", "suid", "exec", "rw"]);
        let (options, ..) = mount_line(&t.report(&b, &[]), "/d");
        for option in ["nosuid", "noexec", "ro"] {
            assert!(!has(&options, option), "{options}");
        }
    });
}

/// `docker run -v /dev/urandom:/dev/random`, `--privileged -v /dev/null:/dev/kmsg`: whose device is at that place is the
/// caller's choice.
#[test]
fn a_mount_on_the_path_of_a_device_stays() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.add("linux/devices", json!({ "path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11 }));
        bind(&b, Path::new("/dev/urandom"), "/dev/random", &["bind"]);
        bind(&b, Path::new("/dev/null"), "/dev/kmsg", &["bind"]);
        b.shell("exec stat -c %t:%T /dev/random /dev/kmsg");
        assert_eq!(t.run(&b).ok().stdout, "1:9\n1:3\n");
    });
}

/// Without MS_BIND the same words would reconfigure the file system, which here is the host's.
#[test]
fn bind_and_remount_leave_the_file_system_as_it_is() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        let (writable, closed) = (t.fresh_dir("writable"), t.fresh_dir("closed"));
        t.mount("tmpfs", &writable, "tmpfs", MsFlags::empty(), "mode=755");
        t.mount("tmpfs", &closed, "tmpfs", MsFlags::MS_RDONLY, "mode=755");
        bind(&b, &writable, "/d", &["rbind"]);
        bind(&b, &writable, "/d", &["bind", "remount", "ro", "noexec"]);
        bind(&b, &closed, "/e", &["bind"]);
        bind(&b, &closed, "/e", &["remount", "bind", "nosuid"]);
        let r = t.report(&b, &["create:/d/x", "create:/e/x"]);
        let (options, .., of_fs) = mount_line(&r, "/d");
        assert!(has(&options, "ro") && has(&options, "noexec") && has(&of_fs, "rw"), "{options} {of_fs}");
        for path in ["~1d", "~1e"] {
            assert_eq!(of(&r["probes"], &format!("create:{path}~1x/errno")), libc::EROFS, "{path}");
        }
        let (options, .., of_fs) = mount_line(&r, "/e");
        assert!(has(&options, "rw") && has(&options, "nosuid") && has(&of_fs, "ro"), "{options} {of_fs}");
        std::fs::write(writable.join("x"), "").unwrap();
    });
}

/// The `fields` of `bind` apply to the mount, not to what lies below it; `rro` and the like do.
#[test]
fn rbind_ro_leaves_submounts_writable() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        let source = tree(t);
        bind(&b, &source, "/d", &["rbind", "ro"]);
        let r = t.report(&b, &["create:/d/x", "create:/d/sub/x"]);
        assert_eq!(of(&r["probes"], "create:~1d~1x/errno"), libc::EROFS);
        assert_eq!(of(&r["probes"], "create:~1d~1sub~1x/errno"), 0);
    });
}

/// A directory with a tmpfs below it at `sub`.
fn tree(t: &Test) -> std::path::PathBuf {
    let source = host_dir(t);
    std::fs::create_dir(source.join("sub")).unwrap();
    t.mount("tmpfs", &source.join("sub"), "tmpfs", MsFlags::empty(), "mode=755");
    source
}

#[test]
fn bind_leaves_submounts_out() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        let source = tree(t);
        bind(&b, &source, "/plain", &["bind"]);
        bind(&b, &source, "/deep", &["rbind"]);
        let r = t.report(&b, &[]);
        assert!(!is_mounted(&r, "/plain/sub"));
        assert!(is_mounted(&r, "/deep/sub"));
    });
}

#[test]
fn recursive_attributes_reach_submounts() {
    contract!(Root, MountSetattr).run(|t| {
        let b = t.bundle();
        let source = tree(t);
        bind(&b, &source, "/d", &["rbind", "rro", "rnosuid", "rnoexec", "rnodev"]);
        let r = t.report(&b, &["create:/d/sub/x"]);
        assert_eq!(of(&r["probes"], "create:~1d~1sub~1x/errno"), libc::EROFS);
        for at in ["/d", "/d/sub"] {
            let (options, ..) = mount_line(&r, at);
            for option in ["ro", "nosuid", "noexec", "nodev"] {
                assert!(has(&options, option), "{at}: {options}");
            }
        }
    });
}

#[test]
fn recursive_access_times_are_set() {
    contract!(Root, MountSetattr)
        .differs("crun", "1.8.1 does not clear the other access times and gets EINVAL")
        .run(|t| {
            let b = t.bundle();
            let source = tree(t);
            bind(&b, &source, "/d", &["rbind", "rnoatime"]);
            bind(&b, &source, "/e", &["rbind", "rnodiratime"]);
            let r = t.report(&b, &[]);
            assert!(has(&mount_line(&r, "/d/sub").0, "noatime"));
            assert!(has(&mount_line(&r, "/e/sub").0, "nodiratime"));
        });
}

#[test]
fn recursive_attributes_can_be_cleared() {
    contract!(Root, MountSetattr).run(|t| {
        let b = t.bundle();
        let source = host_dir(t);
        std::fs::create_dir(source.join("sub")).unwrap();
        t.mount("tmpfs", &source.join("sub"), "tmpfs", MsFlags::MS_RDONLY | MsFlags::MS_NOSUID, "mode=755");
        bind(&b, &source, "/d", &["rbind", "rrw", "rsuid"]);
        let (options, ..) = mount_line(&t.report(&b, &[]), "/d/sub");
        assert!(has(&options, "rw") && !has(&options, "nosuid"), "{options}");
    });
}

#[test]
fn propagation_options_are_set() {
    contract!(Root)
        .differs("crun", "its last step makes everything private unless rootfsPropagation is given")
        .run(|t| {
            let b = t.bundle();
            let source = host_dir(t);
            for kind in ["shared", "slave", "private", "unbindable"] {
                bind(&b, &source, &format!("/{kind}"), &["bind", kind]);
            }
            let r = t.report(&b, &[]);
            assert!(mount_line(&r, "/shared").1.contains("shared:"));
            assert!(mount_line(&r, "/slave").1.contains("master:"));
            assert!(!mount_line(&r, "/private").1.contains(':'));
            assert!(mount_line(&r, "/unbindable").1.contains("unbindable"));
        });
}

#[test]
fn recursive_propagation_reaches_submounts() {
    contract!(Root)
        .differs("crun", "its last step makes everything private unless rootfsPropagation is given")
        .run(|t| {
            let b = t.bundle();
            let source = tree(t);
            bind(&b, &source, "/rshared", &["rbind", "rshared"]);
            bind(&b, &source, "/rslave", &["rbind", "rslave"]);
            bind(&b, &source, "/both", &["rbind", "rslave", "rshared"]);
            let r = t.report(&b, &[]);
            assert!(mount_line(&r, "/rshared/sub").1.contains("shared:"));
            assert!(mount_line(&r, "/rslave/sub").1.contains("master:"));
            let both = mount_line(&r, "/both/sub").1;
            assert!(both.contains("shared:") && both.contains("master:"), "{both}");
        });
}

/// A slave sees what the host mounts later.
#[test]
fn a_slave_bind_sees_later_host_mounts() {
    contract!(Root).differs("crun", "makes everything private unless rootfsPropagation is given").run(|t| {
        let b = t.bundle();
        let source = t.fresh_dir("source");
        t.mount("tmpfs", &source, "tmpfs", MsFlags::empty(), "mode=755");
        nix::mount::mount(None::<&str>, &source, None::<&str>, MsFlags::MS_SHARED, None::<&str>).unwrap();
        std::fs::create_dir(source.join("later")).unwrap();
        bind(&b, &source, "/d", &["rbind", "rslave"]);
        b.shell("while ! test -e /go; do sleep 0.05; done; exec /guest report");
        let out = t.create(&b).ok();
        t.start(&b).ok();
        t.mount("tmpfs", &source.join("later"), "tmpfs", MsFlags::empty(), "");
        std::fs::write(b.host("/go"), "").unwrap();
        t.wait_status(&b.id, "stopped");
        let r = crate::harness::test::parse_report(&out.stdout_now());
        assert!(is_mounted(&r, "/d/later"));
    });
}

#[test]
fn a_missing_bind_source_is_named() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        bind(&b, Path::new("/no/such/source"), "/d", &["bind"]);
        t.create(&b)
            .exits(1)
            .fails_naming(&["no such file or directory"])
            .fails_naming(&["/no/such/source"])
            .one_line();
        t.nothing_left(&b.id);
    });
}

#[test]
fn data_on_a_bind_mount_is_an_error() {
    contract!(Root).differs("runc", "1.1.5 ignores it").differs("crun", "ignores it").run(|t| {
        let b = t.bundle();
        bind(&b, &host_dir(t), "/d", &["bind", "mode=755"]);
        let text = "bind mounts cannot have any filesystem-specific options applied";
        t.create(&b).exits(1).fails_with(text).one_line();
        t.nothing_left(&b.id);
    });
}

/// mappings of a mount: root outside is 1000 inside and the other way round.
#[test]
fn an_idmapped_bind_mount_shifts_owners() {
    contract!(Root, Idmap).differs("runc", "1.1.5 cannot").run(|t| {
        let b = t.bundle();
        let dir = host_dir(t);
        b.userns(100_000);
        b.mount(json!({
            "destination": "/d", "type": "bind", "source": dir, "options": ["bind"],
            "uidMappings": [map(0, 100_000, 65536)], "gidMappings": [map(0, 100_000, 65536)]
        }));
        let r = t.report(&b, &["stat:/d/file", "create:/d/new"]);
        assert_eq!(of(&r["probes"], "stat:~1d~1file/uid"), 0);
        assert_eq!(of(&r["probes"], "create:~1d~1new/errno"), 0);
        assert_eq!(std::fs::metadata(dir.join("new")).unwrap().uid(), 0);
    });
}

#[test]
fn the_idmap_option_takes_the_containers_mapping() {
    contract!(Root, Idmap).differs("runc", "1.1.5 cannot").run(|t| {
        let b = t.bundle();
        let dir = host_dir(t);
        b.userns(100_000);
        bind(&b, &dir, "/d", &["bind", "idmap"]);
        let r = t.report(&b, &["stat:/d/file", "create:/d/new"]);
        assert_eq!(of(&r["probes"], "stat:~1d~1file/uid"), 0);
        assert_eq!(std::fs::metadata(dir.join("new")).unwrap().uid(), 0);
    });
}

/// "If there are no uidMappings and gidMappings specified and the container isn't using user namespaces, an error MUST be
/// returned": with them it need not use any.
#[test]
fn mappings_of_a_mount_need_no_user_namespace() {
    contract!(Root, Idmap).differs("runc", "1.1.5 ignores them").run(|t| {
        let b = t.bundle();
        let dir = host_dir(t);
        b.mount(json!({
            "destination": "/d", "type": "bind", "source": dir, "options": ["bind", "idmap"],
            "uidMappings": [map(0, 1000, 1)], "gidMappings": [map(0, 1000, 1)]
        }));
        let r = t.report(&b, &["stat:/d/file"]);
        assert_eq!(of(&r["probes"], "stat:~1d~1file/uid"), 1000);
    });
}

/// Podman's `-v SRC:DST:idmap=…`: ids of the file system, of the host, and with `@` of the container.
#[test]
fn the_idmap_option_has_mappings_of_its_own() {
    contract!(Root, Idmap).differs("runc", "1.1.5 cannot").run(|t| {
        for (option, owner) in
            [("idmap=uids=0-100005-1;gids=0-100007-1", 5), ("idmap=uids=@0-6-1;gids=@0-6-1", 6)]
        {
            let b = t.bundle();
            b.userns(100_000);
            bind(&b, &host_dir(t), "/d", &["bind", option]);
            let r = t.report(&b, &["stat:/d/file"]);
            assert_eq!(of(&r["probes"], "stat:~1d~1file/uid"), owner, "{option}");
        }
        let b = t.bundle();
        b.userns(100_000);
        bind(&b, &host_dir(t), "/d", &["bind", "idmap=uids=0-1"]);
        t.create(&b).fails_with("0-1");
        t.nothing_left(&b.id);
    });
}

/// Its tree is cloned on the host, where mounts are shared: what the container mounts below it is not the host's.
#[test]
fn mounts_below_an_idmapped_bind_stay_in_the_container() {
    contract!(Root, Idmap).differs("crun", "1.8.1 leaves the tree a peer of the host's mount").run(|t| {
        let b = t.bundle();
        let dir = host_dir(t);
        std::fs::create_dir(dir.join("below")).unwrap();
        b.userns(100_000);
        b.mount(json!({
            "destination": "/d", "type": "bind", "source": dir, "options": ["bind"],
            "uidMappings": [map(0, 100_000, 65536)], "gidMappings": [map(0, 100_000, 65536)]
        }));
        b.mount(json!({ "destination": "/d/below", "type": "tmpfs", "source": "t" }));
        b.args(&["/bin/sleep", "1000"]);
        t.create(&b).ok();
        t.start(&b).ok();
        let below = dir.join("below").display().to_string();
        let there: Vec<_> = leftovers::mountinfo().into_iter().filter(|line| line.contains(&below)).collect();
        assert!(there.is_empty(), "{there:?}");
    });
}

//! AppArmor profiles and SELinux labels where the kernel has them switched on (contract §2.1, §2.2). The test machine's
//! part `lsm` asks for more: files that a profile denies, stacks, keyrings, enforcing policies.

use crate::contract;
use crate::harness::exec::{report, words};
use crate::harness::{Test, of};
use serde_json::json;
use std::io::Write;
use std::process::{Command, Stdio};

/// A profile in the kernel, gone with the value.
struct Profile(String);

impl Profile {
    fn load(t: &Test) -> Self {
        let profile = Self(format!("contract-{}", t.id()));
        profile.parse("--replace");
        profile
    }

    fn parse(&self, what: &str) {
        let rules = "file, capability, network, signal, deny /etc/passwd r,";
        let text = format!("profile {} flags=(attach_disconnected,mediate_deleted) {{ {rules} }}\n", self.0);
        let mut parser = Command::new("apparmor_parser");
        let mut parser = parser.args([what, "--skip-cache"]).stdin(Stdio::piped()).spawn().unwrap();
        parser.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        assert!(parser.wait().unwrap().success());
    }
}

impl Drop for Profile {
    fn drop(&mut self) {
        self.parse("--remove");
    }
}

const PROBES: [&str; 2] = ["read:/proc/self/attr/current", "read:/etc/passwd"];

#[test]
fn a_profile_is_in_force_in_init_and_in_exec() {
    contract!(Root, Apparmor, Tool("apparmor_parser")).run(|t| {
        let profile = Profile::load(t);
        let b = t.bundle();
        std::fs::write(b.host("/etc/passwd"), "root:x:0:0::/:/bin/sh\n").unwrap();
        b.set("process/apparmorProfile", json!(profile.0));
        let enforced = format!("{} (enforce)\n", profile.0);
        let seen = t.report(&b, &PROBES);
        assert_eq!(of(&seen["probes"], "read:~1proc~1self~1attr~1current/text"), enforced.as_str());
        assert_eq!(of(&seen["probes"], "read:~1etc~1passwd/errno"), libc::EACCES);

        let b = t.running();
        std::fs::write(b.host("/etc/passwd"), "root:x:0:0::/:/bin/sh\n").unwrap();
        let seen = report(t, &b, &["--apparmor", &profile.0], &PROBES);
        assert_eq!(of(&seen["probes"], "read:~1proc~1self~1attr~1current/text"), enforced.as_str());
        assert_eq!(of(&seen["probes"], "read:~1etc~1passwd/errno"), libc::EACCES);
        let seen = report(t, &b, &["--apparmor", "unconfined"], &PROBES);
        assert_eq!(of(&seen["probes"], "read:~1etc~1passwd/errno"), 0);
    });
}

#[test]
fn an_unknown_profile_fails_at_create_and_in_exec() {
    contract!(Root, Apparmor).run(|t| {
        let b = t.bundle();
        b.set("process/apparmorProfile", json!("contract-missing"));
        t.create(&b).fails().one_line();
        t.nothing_left(&b.id);
        let b = t.running();
        t.rt(&words(&b, &["--apparmor", "contract-missing"], &["/guest", "report"])).fails().one_line();
        assert_eq!(t.status(&b.id), "running");
    });
}

#[test]
fn a_label_is_in_force_in_init_and_in_exec() {
    contract!(Root, Selinux).run(|t| {
        let label = |categories: &str| format!("system_u:system_r:unconfined_t:s0:{categories}");
        let b = t.bundle();
        b.set("process/selinuxLabel", json!(label("c1,c2")));
        t.create(&b).ok();
        t.start(&b).ok();
        let current = |pid: i32| {
            let text = std::fs::read_to_string(format!("/proc/{pid}/attr/current")).unwrap();
            text.trim_end_matches(['\0', '\n']).to_owned()
        };
        assert_eq!(current(t.pid(&b.id)), label("c1,c2"));
        let seen = report(t, &b, &["--process-label", &label("c3")], &PROBES);
        let text = of(&seen["probes"], "read:~1proc~1self~1attr~1current/text").as_str().unwrap();
        assert_eq!(text.trim_end_matches('\0'), label("c3"));
    });
}

#[test]
fn an_unknown_label_fails_at_create() {
    contract!(Root, Selinux).run(|t| {
        for pointer in ["process/selinuxLabel", "linux/mountLabel"] {
            let b = t.bundle();
            b.set(pointer, json!("no:such:label:s0"));
            t.create(&b).fails().one_line();
            t.nothing_left(&b.id);
        }
    });
}

#[test]
fn a_mount_label_without_selinux_fails() {
    contract!(Root).differs("crun", "ignores it").run(|t| {
        if crate::harness::needs::Need::Selinux.probe().is_ok() {
            return;
        }
        let b = t.bundle();
        b.mount(json!({ "destination": "/tmp", "type": "tmpfs", "source": "tmpfs" }));
        b.set("linux/mountLabel", json!("system_u:object_r:tmp_t:s0"));
        t.create(&b).fails().one_line();
        t.nothing_left(&b.id);
    });
}

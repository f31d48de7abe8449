//! A process of the container works against those who join it, start it, or come after it: it stops them, speaks for
//! them, holds what they wait for, and uses up what the kernel grants its user (contract §5; T19).

use crate::contract;
use crate::harness::exec::{end, report, words};
use crate::harness::socket::Receiving;
use crate::harness::test::{slow, wait_file, wait_until};
use crate::harness::{Bundle, Test, call};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::json;
use std::time::Duration;

/// A container whose processes have these capabilities, with `guest ARGS` in it.
fn lying_in_wait(t: &Test, caps: &[&str], args: &[&str]) -> (Bundle, call::Running) {
    let b = t.bundle();
    b.args(&["/guest", "pause"]);
    for set in ["bounding", "effective", "permitted"] {
        b.set(&format!("process/capabilities/{set}"), json!(caps));
    }
    t.create(&b).ok();
    t.start(&b).ok();
    let guest = t.call(&words(&b, &[], &[&["/guest"], args].concat())).spawn();
    wait_file(&b.host("/waiting"));
    (b, guest)
}

/// Who has taken the channel of a process that joins may say what it likes: no other process of the host becomes it, which
/// the runtime would limit, move and, in the end, kill.
#[test]
fn nobody_in_the_container_can_name_a_process_of_the_host() {
    contract!(Root, PidfdGetfd).ours_only("speaks our own language").seconds(120).run(|t| {
        let mut victim = std::process::Command::new("/bin/sleep").arg("1000").spawn().unwrap();
        let number = victim.id().to_string();
        let (b, guest) = lying_in_wait(t, &["CAP_SYS_PTRACE", "CAP_KILL"], &["ambush", "usurp", &number]);
        let (mut caught, mut ended) = (0, None);
        for _ in 0..60 {
            let _ = std::fs::remove_file(b.host("/caught"));
            let mut exec = t.call(&words(&b, &[], &["/bin/true"])).spawn();
            if !wait_until(slow(3), || exec.has_ended()) {
                exec.signal(nix::sys::signal::Signal::SIGKILL);
            }
            exec.wait();
            caught += u32::from(b.host("/caught").exists());
            ended = ended.or(victim.try_wait().unwrap());
        }
        assert!(caught > 0, "nobody was caught");
        let _ = victim.kill();
        let _ = victim.wait();
        assert_eq!(ended, None, "a process of the host was killed");
        std::fs::write(b.host("/stop"), "").unwrap();
        guest.wait_for(slow(60)).ok();
    });
}

/// It takes no capability to stop a process of one's own user. Who is stopped goes on, or fails with a word.
#[test]
fn who_stops_what_joins_does_not_hold_up_the_runtime() {
    contract!(Root).ours_only("the peers wait for ever").seconds(120).run(|t| {
        let (b, guest) = lying_in_wait(t, &[], &["ambush", "once"]);
        let mut tries = 0..200;
        while tries.next().is_some_and(|n| n < 10) || !b.host("/caught").exists() {
            assert!(!tries.is_empty(), "nobody was caught");
            t.rt(&words(&b, &[], &["/bin/true"])).ok();
        }
        std::fs::write(b.host("/stop"), "").unwrap();
        guest.wait_for(slow(60)).ok();
        let (b, guest) = lying_in_wait(t, &["CAP_SYS_PTRACE", "CAP_KILL"], &["ambush", "trace"]);
        // Now and then one gets away.
        let exec = || t.call(&words(&b, &[], &["/bin/true"])).spawn().wait_for(slow(40));
        let failed = (0..20).map(|_| exec()).find(|out| out.code != 0).expect("all of them got away");
        failed.fails_with("a process of the container has stopped it").one_line();
        std::fs::write(b.host("/stop"), "").unwrap();
        guest.wait_for(slow(60)).ok();
        t.rt(&words(&b, &[], &["/bin/true"])).ok();
    });
}

/// The end-of-file by which an execve is seen does not come where somebody has a copy of the descriptor.
#[test]
fn a_copy_of_the_channel_does_not_hold_up_the_runtime() {
    contract!(Root, PidfdGetfd).ours_only("the peers' channels are other ones").run(|t| {
        let (b, guest) = lying_in_wait(t, &["CAP_SYS_PTRACE", "CAP_KILL"], &["ambush", "copy"]);
        let mut tries = 0..60;
        while tries.next().is_some_and(|n| n < 10) || !b.host("/caught").exists() {
            assert!(!tries.is_empty(), "nobody was caught");
            t.rt(&words(&b, &["--detach"], &["/bin/sleep", "1000"])).ok();
            t.rt(&words(&b, &[], &["/bin/sh", "-c", "exit 3"])).exits(3);
            t.rt(&words(&b, &[], &["/bin/no-such"])).exits(255).fails_with("no such file or directory");
        }
        std::fs::write(b.host("/stop"), "").unwrap();
        guest.wait_for(slow(30)).ok();
        end(t, &b);
    });
}

/// Who is in a created container may hold init's end of the start gate, or read what is said there.
#[test]
fn neither_a_copy_of_the_start_gate_nor_a_thief_holds_up_start() {
    contract!(Root).ours_only("the peers' gates are other ones").seconds(120).run(|t| {
        let rob = |how: &str| {
            let b = t.bundle();
            b.args(&["/guest", "pause"]);
            for set in ["bounding", "effective", "permitted"] {
                b.set(&format!("process/capabilities/{set}"), json!(["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE"]));
            }
            t.create(&b).ok();
            let guest = t.call(&words(&b, &[], &["/guest", "gate", how])).spawn();
            wait_file(&b.host("/waiting"));
            t.start(&b).ok();
            assert_eq!(t.status(&b.id), "running", "{how}");
            let caught = wait_until(Duration::from_millis(200), || b.host("/caught").exists());
            t.rt(&["delete", "--force", &b.id]).ok();
            guest.wait();
            caught
        };
        assert!(rob("copy"));
        // Init may be quicker.
        assert!((0..20).any(|_| rob("thief")), "nobody stole anything");
    });
}

/// The kernel counts descriptors in flight by user, and a container's root is one: its own processes must not keep us from
/// joining it, or from making its neighbours.
#[test]
fn descriptors_in_flight_keep_nobody_out() {
    contract!(Root, Userns, PidfdGetfd)
        .ours_only("the peers send descriptors, too, or as root of the host")
        .run(|t| {
            // The limit is the sender's.
            let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
            setrlimit(Resource::RLIMIT_NOFILE, 256, most).unwrap();
            let b = t.bundle();
            b.userns(700_000).args(&["/guest", "flood"]);
            t.create(&b).ok();
            t.start(&b).ok();
            let refused = || std::fs::read_to_string(b.host("/caught")).is_ok_and(|errno| errno == "109");
            assert!(wait_until(slow(10), refused), "ETOOMANYREFS");
            let other = |terminal: bool| {
                let b = t.bundle();
                b.userns(700_000).args(&["/guest", "pause"]).set("process/terminal", json!(terminal));
                b
            };
            t.rt(&words(&b, &[], &["/bin/true"])).ok();
            t.run(other(false).args(&["/bin/true"])).ok();
            for create in [true, false] {
                let path = t.fresh("console");
                let receiving = Receiving::at(&path);
                let socket = path.to_str().unwrap();
                match create {
                    true => t.call_create(&other(true), &["--console-socket", socket]).run().ok(),
                    false => {
                        let options = ["--tty", "--detach", "--console-socket", socket];
                        t.rt(&words(&b, &options, &["/bin/sleep", "1000"])).ok()
                    }
                };
                assert_eq!(receiving.take().fds.len(), 1);
            }
            end(t, &b);
        });
}

/// The kernel counts keys by user, too.
#[test]
fn used_up_keys_keep_nobody_out_and_show_nobody_ours() {
    contract!(Root, Userns).ours_only("the peers fail").run(|t| {
        let b = t.bundle();
        b.userns(900_000).args(&["/guest", "keys"]);
        t.create(&b).ok();
        t.start(&b).ok();
        assert!(wait_until(Duration::from_secs(10), || b.host("/caught").exists()));
        let keyring = |r: &serde_json::Value| r["keyring"].as_str().unwrap_or_default().to_owned();
        let joined = report(t, &b, &[], &[]);
        assert!(keyring(&joined).starts_with("keyring;"), "{}", joined["keyring"]);
        assert!(keyring(&joined).ends_with(";_ses"), "{}", joined["keyring"]);
        let other = t.bundle();
        other.userns(900_000);
        let created = t.report(&other, &[]);
        assert!(keyring(&created).ends_with(";_ses"), "{}", created["keyring"]);
    });
}

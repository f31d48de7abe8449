//! Long runs: what one cycle leaves is small, what 200 leave is seen (security.md F7).

use crate::contract;
use crate::harness::leftovers;
use crate::harness::test::wait_until;
use std::time::Duration;

fn keys() -> usize {
    std::fs::read_to_string("/proc/keys").unwrap_or_default().lines().count()
}

/// Those that the kernel has yet to free are counted, too.
fn cgroup_count() -> u64 {
    let text = std::fs::read_to_string("/proc/cgroups").unwrap_or_default();
    text.lines().filter_map(|l| l.split_whitespace().nth(2)?.parse::<u64>().ok()).sum()
}

#[test]
fn two_hundred_cycles_leave_nothing() {
    contract!(Root).seconds(300).run(|t| {
        let b = t.bundle();
        b.args(&["/bin/true"]);
        let cycle = || {
            t.create(&b).ok();
            t.start(&b).ok();
            t.rt(&["delete", "--force", &b.id]).ok();
            leftovers::reap();
        };
        cycle();
        let mounts = leftovers::mountinfo().len();
        let fds = std::fs::read_dir("/proc/self/fd").unwrap().count();
        let (groups, keyrings) = (cgroup_count(), keys());
        for _ in 0..200 {
            cycle();
        }
        assert_eq!(leftovers::mountinfo().len(), mounts);
        assert_eq!(std::fs::read_dir("/proc/self/fd").unwrap().count(), fds);
        assert_eq!(leftovers::children(), Vec::<i32>::new());
        t.nothing_left(&b.id);
        let names: Vec<_> = std::fs::read_dir(&t.root).unwrap().flatten().map(|e| e.file_name()).collect();
        assert!(names.len() < 3, "{names:?}");
        // Others work on this host too: what grows by one per cycle is ours.
        let freed = wait_until(Duration::from_secs(10), || cgroup_count() < groups + 100);
        assert!(freed, "{groups} cgroups became {}", cgroup_count());
        let freed = wait_until(Duration::from_secs(10), || keys() < keyrings + 100);
        assert!(freed, "{keyrings} keys became {}", keys());
    });
}

#[test]
fn fifty_failing_creates_leave_nothing() {
    contract!(Root).seconds(120).run(|t| {
        let b = t.bundle();
        b.args(&["/no/such/program"]);
        for _ in 0..50 {
            t.create(&b).exits(1);
        }
        t.nothing_left(&b.id);
    });
}

#[test]
fn ten_containers_at_once_work() {
    contract!(Root).seconds(120).run(|t| {
        let bundles: Vec<_> = (0..10).map(|_| t.bundle()).collect();
        let calls: Vec<_> = bundles.iter().map(|b| t.call_create(b, &[]).spawn()).collect();
        for call in calls {
            call.wait().ok();
        }
        let calls: Vec<_> = bundles.iter().map(|b| t.call(&["start", &b.id]).spawn()).collect();
        for call in calls {
            call.wait().ok();
        }
        let calls: Vec<_> = bundles.iter().map(|b| t.call(&["delete", "--force", &b.id]).spawn()).collect();
        for call in calls {
            call.wait().ok();
        }
        for b in &bundles {
            t.nothing_left(&b.id);
        }
    });
}

/// A create that is killed leaves at most what `delete --force` takes away.
#[test]
fn a_killed_create_is_cleaned_by_delete_force() {
    contract!(Root)
        .wavers("runc", "leaves cgroups at some points")
        .seconds(120)
        .differs("crun", "leaves processes and cgroups at most points")
        .run(|t| {
            for n in 0..20 {
                let b = t.bundle();
                let call = t.call_create(&b, &[]).spawn();
                std::thread::sleep(std::time::Duration::from_micros(700 * n));
                call.signal(nix::sys::signal::Signal::SIGKILL);
                call.wait();
                t.rt(&["delete", "--force", &b.id]).ok();
                t.nothing_left(&b.id);
            }
        });
}

//! What an update of memory on cgroup v2 keeps of the limits that are there. PURE.
//!
//! The configuration has memory, and memory and swap together; the files have memory, and swap. One of the two asked for
//! alone changes both files, for what is not asked for stays: as v1's files have it, and runc, which merges an update
//! into the configuration it has saved. Engines send only what is changed.

use oci_spec::runtime::{LinuxMemory, LinuxResources};

/// The limits that the files have; None = no limit, or no such file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Held {
    /// memory.max.
    pub limit: Option<i64>,
    /// memory.swap.max.
    pub swap: Option<i64>,
}

const SWAP_FILE: &str = "memory.swap.max";

/// The memory section of `asked` with what it leaves out. `stored`: the resources that the container was made with.
pub fn memory(asked: &LinuxResources, stored: Option<&LinuxResources>, held: Held) -> Option<LinuxMemory> {
    let mut memory = (*asked.memory())?;
    let (limit, swap) = (memory.limit().unwrap_or(0), memory.swap().unwrap_or(0));
    let before = stored.and_then(|stored| *stored.memory());
    if memory.check_before_update().is_none() && limit != 0 {
        memory.set_check_before_update(before.and_then(|before| before.check_before_update()));
    }
    if limit == 0 && swap > 0 {
        memory.set_limit(held.limit.or(memory.limit()));
    }
    if limit > 0 && swap == 0 && !names_file(asked) {
        let is_together = stored.is_some_and(|stored| !names_file(stored))
            && before.and_then(|before| before.swap()).is_some_and(|swap| swap > 0);
        memory.set_swap(together(held, limit, is_together).or(memory.swap()));
    }
    Some(memory)
}

fn names_file(resources: &LinuxResources) -> bool {
    resources.unified().as_ref().is_some_and(|unified| unified.contains_key(SWAP_FILE))
}

/// Memory and swap together, to stay. Where nobody has said it so (`is_together`), swap may have been limited by itself:
/// forbidden by the kubelet, or by unified. That is no reason to refuse a limit.
fn together(held: Held, limit: i64, is_together: bool) -> Option<i64> {
    let swap = held.swap?;
    let total = held.limit?.checked_add(swap)?;
    (is_together || swap > 0 && limit <= total).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resources(json: &str) -> LinuxResources {
        serde_json::from_str(json).unwrap()
    }

    /// Limit and swap.
    fn kept(asked: &str, stored: &str, limit: Option<i64>, swap: Option<i64>) -> (Option<i64>, Option<i64>) {
        let memory = memory(&resources(asked), Some(&resources(stored)), Held { limit, swap }).unwrap();
        (memory.limit(), memory.swap())
    }

    #[test]
    fn swap_alone_is_above_the_limit_that_is_there() {
        let asked = r#"{"memory":{"limit":0,"swap":200}}"#;
        assert_eq!(kept(asked, "{}", Some(64), None), (Some(64), Some(200)));
        assert_eq!(kept(asked, "{}", None, None), (Some(0), Some(200)), "which is refused");
        assert_eq!(kept(r#"{"memory":{"swap":-1}}"#, "{}", Some(64), None), (None, Some(-1)));
    }

    #[test]
    fn a_limit_alone_leaves_the_total() {
        let (asked, both) = (r#"{"memory":{"limit":100}}"#, r#"{"memory":{"limit":64,"swap":128}}"#);
        assert_eq!(kept(asked, both, Some(64), Some(64)), (Some(100), Some(128)));
        // As runc has it: memory+swap limit should be >= memory limit.
        assert_eq!(kept(asked, both, Some(32), Some(32)), (Some(100), Some(64)));
        assert_eq!(kept(asked, both, None, Some(64)), (Some(100), None));
        assert_eq!(kept(asked, both, Some(64), None), (Some(100), None));
        assert_eq!(kept(r#"{"memory":{"limit":-1}}"#, both, Some(64), Some(64)), (Some(-1), None));
        assert_eq!(kept(r#"{"memory":{"limit":100,"swap":300}}"#, both, Some(64), Some(64)).1, Some(300));
    }

    #[test]
    fn swap_that_was_limited_by_itself_stays_as_it_is() {
        let asked = r#"{"memory":{"limit":100}}"#;
        let own = r#"{"memory":{"limit":64,"swap":64},"unified":{"memory.swap.max":"0"}}"#;
        assert_eq!(kept(asked, own, Some(64), Some(0)), (Some(100), None));
        assert_eq!(kept(asked, "{}", Some(64), Some(0)), (Some(100), None));
        assert_eq!(kept(asked, "{}", Some(64), Some(16)), (Some(100), None));
        assert_eq!(kept(asked, "{}", Some(64), Some(64)), (Some(100), Some(128)), "by an earlier update");
        let both = r#"{"memory":{"limit":100},"unified":{"memory.swap.max":"5"}}"#;
        assert_eq!(kept(both, "{}", Some(64), Some(64)), (Some(100), None));
    }

    #[test]
    fn the_check_stays() {
        let check = |asked: &str, stored: &str| {
            memory(&resources(asked), Some(&resources(stored)), Held::default())
                .unwrap()
                .check_before_update()
        };
        let stored = r#"{"memory":{"checkBeforeUpdate":true}}"#;
        assert_eq!(check(r#"{"memory":{"limit":100}}"#, stored), Some(true));
        assert_eq!(check(r#"{"memory":{"limit":100,"checkBeforeUpdate":false}}"#, stored), Some(false));
        assert_eq!(check(r#"{"memory":{"limit":100}}"#, "{}"), None);
        assert_eq!(memory(&resources("{}"), None, Held::default()), None);
    }
}

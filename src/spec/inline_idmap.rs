//! `idmap=uids=0-1000-10#10-2000-5;gids=…` among the options of a mount: Podman's and crun's way to say its mappings,
//! turned into `uidMappings`, `gidMappings` and the option of the spec. Pure.

use super::mapping_of;
use crate::error::{Error, Result};
use oci_spec::runtime::{LinuxIdMapping, LinuxIdMappingBuilder, Mount, Spec};

/// Each range is `[@]FROM-TO-SIZE`: ids of the file system, ids of the host; with `@` TO is an id of the container.
pub(super) fn take(spec: &mut Spec) -> Result<()> {
    let Some(mut mounts) = spec.mounts_mut().take() else { return Ok(()) };
    let linux = spec.linux().as_ref();
    let uids = linux.and_then(|linux| linux.uid_mappings().as_deref()).unwrap_or_default();
    let gids = linux.and_then(|linux| linux.gid_mappings().as_deref()).unwrap_or_default();
    for (index, mount) in mounts.iter_mut().enumerate() {
        take_one(mount, uids, gids).map_err(|e| e.at(format!("mounts[{index}].options")))?;
    }
    spec.set_mounts(Some(mounts));
    Ok(())
}

fn take_one(mount: &mut Mount, uids: &[LinuxIdMapping], gids: &[LinuxIdMapping]) -> Result<()> {
    let mut said = Vec::new();
    for option in mount.options_mut().iter_mut().flatten() {
        let words = option.clone();
        let Some((word, ranges)) =
            words.split_once('=').filter(|(word, _)| matches!(*word, "idmap" | "ridmap"))
        else {
            continue;
        };
        for part in ranges.split(';').filter(|part| !part.is_empty()) {
            said.push(match part.split_once('=') {
                Some(("uids", text)) => (true, parse(text, uids, option)?),
                Some(("gids", text)) => (false, parse(text, gids, option)?),
                _ => return Err(wrong(option, "only uids= and gids= can be said")),
            });
        }
        word.clone_into(option);
    }
    for (is_uids, mappings) in said {
        match is_uids {
            true => mount.set_uid_mappings(Some(mappings)),
            false => mount.set_gid_mappings(Some(mappings)),
        };
    }
    Ok(())
}

fn parse(text: &str, container: &[LinuxIdMapping], option: &str) -> Result<Vec<LinuxIdMapping>> {
    text.split('#').map(|range| mapping(range, container, option)).collect()
}

fn mapping(range: &str, container: &[LinuxIdMapping], option: &str) -> Result<LinuxIdMapping> {
    let (relative, numbers) = match range.strip_prefix('@') {
        Some(numbers) => (true, numbers),
        None => (false, range),
    };
    let parsed: Option<Vec<u32>> = numbers.split('-').map(|number| number.parse().ok()).collect();
    let Some([from, to, size]) = parsed.as_deref().and_then(|numbers| <[u32; 3]>::try_from(numbers).ok())
    else {
        return Err(wrong(option, "a range is FROM-TO-SIZE"));
    };
    let host = match relative {
        true => {
            host_id(container, to).ok_or_else(|| wrong(option, "@ needs an id that the container maps"))?
        }
        false => to,
    };
    // The type has no setters of its own.
    let mapping = LinuxIdMappingBuilder::default().container_id(from).host_id(host).size(size);
    mapping.build().map_err(|e| wrong(option, &e.to_string()))
}

fn host_id(container: &[LinuxIdMapping], id: u32) -> Option<u32> {
    let map = mapping_of(id, container)?;
    map.host_id().checked_add(id - map.container_id())
}

fn wrong(option: &str, why: &str) -> Error {
    Error::new(format!("{option:?}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn taken(option: &str) -> Result<(Value, Value, Value)> {
        let mut spec: Spec = serde_json::from_value(json!({
            "ociVersion": "1.2.0", "root": {"path": "r"},
            "mounts": [{"destination": "/d", "source": "/s", "options": ["bind", option]}],
            "linux": {"uidMappings": [{"containerID": 0, "hostID": 1000, "size": 10}]}
        }))
        .unwrap();
        take(&mut spec)?;
        let mount = serde_json::to_value(spec.mounts().as_ref().unwrap()).unwrap()[0].clone();
        let part = |name: &str| mount.get(name).cloned().unwrap_or_default();
        Ok((part("options")[1].clone(), part("uidMappings"), part("gidMappings")))
    }

    #[test]
    fn ranges_become_mappings() {
        let map = |from: u32, to: u32, size: u32| json!({"containerID": from, "hostID": to, "size": size});
        assert_eq!(
            taken("idmap=uids=0-1-10#10-11-10;gids=0-100-10").unwrap(),
            (json!("idmap"), json!([map(0, 1, 10), map(10, 11, 10)]), json!([map(0, 100, 10)]))
        );
        assert_eq!(
            taken("ridmap=uids=@5-3-1;gids=7-7-7").unwrap(),
            (json!("ridmap"), json!([map(5, 1003, 1)]), json!([map(7, 7, 7)]))
        );
        assert_eq!(taken("idmap=").unwrap(), (json!("idmap"), json!(null), json!(null)));
        assert_eq!(taken("size=idmap=5").unwrap().0, json!("size=idmap=5"));
    }

    #[test]
    fn faults_name_the_option() {
        for (option, why) in [
            ("idmap=uids=0-1", "a range is FROM-TO-SIZE"),
            ("idmap=uids=0-1-x", "a range is FROM-TO-SIZE"),
            ("idmap=pids=0-1-2", "only uids= and gids= can be said"),
            ("idmap=uids=@0-99-1", "@ needs an id that the container maps"),
        ] {
            let e = taken(option).unwrap_err().to_string();
            assert!(e.contains(why) && e.contains("mounts[0].options") && e.contains(option), "{e}");
        }
    }
}

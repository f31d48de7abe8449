//! The configuration that tests start from, and small questions to JSON values.

use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// A root container with new pid, ipc, uts, mount and network namespaces, the usual mounts and docker's
/// capabilities; the one mount that is missing is /sys/fs/cgroup.
pub fn default_config(id: &str) -> Value {
    let caps = json!([
        "CAP_CHOWN",
        "CAP_DAC_OVERRIDE",
        "CAP_FSETID",
        "CAP_FOWNER",
        "CAP_MKNOD",
        "CAP_NET_RAW",
        "CAP_SETGID",
        "CAP_SETUID",
        "CAP_SETFCAP",
        "CAP_SETPCAP",
        "CAP_NET_BIND_SERVICE",
        "CAP_SYS_CHROOT",
        "CAP_KILL",
        "CAP_AUDIT_WRITE"
    ]);
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": { "uid": 0, "gid": 0 },
            "args": ["/guest", "pause"],
            "env": ["PATH=/bin:/usr/bin"],
            "cwd": "/",
            "capabilities": { "bounding": caps, "effective": caps, "permitted": caps },
            "noNewPrivileges": true
        },
        "root": { "path": "rootfs", "readonly": false },
        "hostname": "contract",
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc" },
            { "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
              "options": ["nosuid", "strictatime", "mode=755", "size=65536k"] },
            { "destination": "/dev/pts", "type": "devpts", "source": "devpts",
              "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"] },
            { "destination": "/dev/shm", "type": "tmpfs", "source": "shm",
              "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"] },
            { "destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
              "options": ["nosuid", "noexec", "nodev"] },
            { "destination": "/sys", "type": "sysfs", "source": "sysfs",
              "options": ["nosuid", "noexec", "nodev", "ro"] }
        ],
        "linux": {
            "cgroupsPath": format!("/{id}"),
            "resources": { "devices": [{ "allow": false, "access": "rwm" }] },
            "namespaces": [
                { "type": "pid" }, { "type": "network" }, { "type": "ipc" }, { "type": "uts" }, { "type": "mount" }
            ]
        }
    })
}

/// The value at a JSON pointer without its leading slash: `of(&report, "status/CapEff")`. Panics when absent.
pub fn of<'a>(value: &'a Value, pointer: &str) -> &'a Value {
    let found = value.pointer(&format!("/{pointer}"));
    found.unwrap_or_else(|| panic!("no {pointer} in {value}"))
}

/// Whether bit `bit` is in the capability set `set` (`CapEff`, …) of a guest report.
pub fn has_cap(report: &Value, set: &str, bit: u32) -> bool {
    let hex = of(report, &format!("status/{set}")).as_str().unwrap_or("0");
    u64::from_str_radix(hex, 16).unwrap_or(0) >> bit & 1 == 1
}

/// Removes the namespace of that type from the config, adds it, or makes it one joined by path.
pub fn namespaced(config: &mut Value, kind: &str, path: Option<&str>) {
    without_namespace(config, kind);
    let entry = match path {
        Some(path) => json!({ "type": kind, "path": path }),
        None => json!({ "type": kind }),
    };
    if let Some(list) = config["linux"]["namespaces"].as_array_mut() {
        list.push(entry);
    }
}

pub fn without_namespace(config: &mut Value, kind: &str) {
    if let Some(list) = config["linux"]["namespaces"].as_array_mut() {
        list.retain(|n| n["type"] != kind);
    }
}

pub fn without_mount(config: &mut Value, destination: &str) {
    if let Some(list) = config["mounts"].as_array_mut() {
        list.retain(|m| m["destination"] != destination);
    }
}

/// Where the JSON schemas of the specification are: beside the repository.
pub fn schema_dir() -> Result<PathBuf, String> {
    let repo = Path::new(env!("CARGO_MANIFEST_DIR"));
    let named = std::env::var_os("CONTRACT_SCHEMAS").map(PathBuf::from);
    let places = ["../shared/spec-schema", "../../shared/spec-schema"].map(|p| repo.join(p));
    let dir = named.into_iter().chain(places).find(|p| p.join("config-schema.json").exists());
    let dir = dir.ok_or("no ../shared/spec-schema beside the repository")?;
    let probe =
        std::process::Command::new("python3").args(["-W", "ignore", "-c", "import jsonschema"]).output();
    match probe {
        Ok(done) if done.status.success() => Ok(dir),
        _ => Err("no python3 with jsonschema".into()),
    }
}

const CHECK: &str = "
import json, pathlib, sys
import jsonschema
schema = pathlib.Path(sys.argv[1])
resolver = jsonschema.RefResolver(schema.resolve().as_uri(), json.loads(schema.read_text()))
jsonschema.Draft4Validator(resolver.referrer, resolver=resolver).validate(json.load(sys.stdin))
";

/// Validates `text` against a schema file of the specification (`state-schema.json`).
pub fn validates(text: &str, schema: &str) {
    let path = schema_dir().expect("Need::Schema").join(schema);
    let mut command = std::process::Command::new("python3");
    command.args(["-W", "ignore", "-c", CHECK]).arg(path);
    command.stdin(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let mut child = command.spawn().expect("python3");
    std::io::Write::write_all(child.stdin.as_mut().expect("stdin"), text.as_bytes()).expect("write");
    drop(child.stdin.take());
    let done = child.wait_with_output().expect("python3");
    assert!(done.status.success(), "{schema}: {}\n{text}", String::from_utf8_lossy(&done.stderr));
}

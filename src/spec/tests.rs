//! Tests over the whole of `spec`: reading files, the schemas and examples of runtime-spec, and documents that
//! no one has thought of.

use super::*;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

fn parse_text(text: &[u8]) -> Result<Bundle> {
    parse(Path::new("/b"), Path::new("/b/config.json"), text.to_vec())
}

fn faults(text: &[u8]) -> Vec<String> {
    match parse_text(text) {
        Ok(bundle) => validate(&bundle).iter().map(ToString::to_string).collect(),
        Err(e) => vec![e.to_string()],
    }
}

#[test]
fn load_finds_and_bounds_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let error = |config: Option<&Path>| load(dir.path(), config).unwrap_err().to_string();
    assert_eq!(error(None), "JSON specification file config.json not found");
    let other = dir.path().join("other.json");
    assert_eq!(error(Some(&other)), "JSON specification file other.json not found");

    std::fs::write(dir.path().join("config.json"), br#"{"ociVersion":"1.0.0","root":{"path":"a"}}"#).unwrap();
    std::fs::write(&other, br#"{"ociVersion":"1.0.0","root":{"path":"b"}}"#).unwrap();
    let bundle = load(dir.path(), None).unwrap();
    assert!(bundle.dir.is_absolute());
    assert_eq!(bundle.config, bundle.dir.join("config.json"));
    assert_eq!(bundle.raw.len(), 42);
    let other_bundle = load(dir.path(), Some(&other)).unwrap();
    assert_eq!(other_bundle.spec.root().as_ref().unwrap().path(), Path::new("b"));

    let mut full = br#"{"ociVersion":"1.0.0"}"#.to_vec();
    full.resize(CONFIG_MAX_BYTES as usize, b' ');
    std::fs::write(&other, &full).unwrap();
    assert!(load(dir.path(), Some(&other)).is_ok());
    full.push(b' ');
    std::fs::write(&other, &full).unwrap();
    assert_eq!(error(Some(&other)), format!("{}: longer than 8 MiB, the most that is read", other.display()));

    let missing = load(&dir.path().join("none"), None).unwrap_err().to_string();
    let path = dir.path().join("none");
    assert_eq!(missing, format!("open the bundle: no such file or directory ({}, realpath)", path.display()));
    let directory = load(dir.path(), Some(dir.path())).unwrap_err().to_string();
    assert_eq!(directory, format!("read {}: is a directory (read)", dir.path().display()));
}

#[test]
fn parts_of_a_configuration() {
    let resources =
        parse_resources("-", br#"{"pids":{"limit":0},"hugepageLimits":[{"pageSize":"2MB","limit":1}]}"#);
    let resources = resources.unwrap();
    assert_eq!(resources.mended.pids_limit, Some(0));
    assert_eq!(resources.mended.hugepage_limits, [("2MB".to_owned(), 1)]);
    let process =
        parse_process("p", br#"{"cwd":"/","args":["x"],"capabilities":{"bounding":["CAP_X"]}}"#).unwrap();
    assert_eq!(
        process.warnings,
        [
            "process.user: missing, taken as 0:0",
            "process.capabilities.bounding: unknown capability CAP_X ignored",
        ]
    );
    let error = |text: &str| parse_resources("r.json", text.as_bytes()).unwrap_err().to_string();
    assert!(
        error(r#"{"cpu":{"shares":-1}}"#)
            .starts_with("linux.resources.cpu.shares: invalid value: integer `-1`")
    );
    assert_eq!(error("null"), "r.json: no resources object");
    assert_eq!(error("[]"), "r.json: invalid type: array, expected an object");
}

/// The schemas of runtime-spec 1.3, where they are at hand.
fn schema_folder() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let found =
        root.ancestors().skip(1).take(2).map(|dir| dir.join("shared/spec-schema")).find(|dir| dir.is_dir());
    if found.is_none() {
        crate::skip::skip(&[], "no folder ../shared/spec-schema");
    }
    found
}

/// The examples of a folder below test/, by name.
fn examples(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let read = |path: PathBuf| (file_name(&path), std::fs::read(&path).unwrap());
    let mut examples: Vec<_> = entries.map(read).collect();
    examples.sort();
    examples
}

#[test]
fn examples_of_the_specification() {
    let Some(schema) = schema_folder() else { return };
    for (name, text) in examples(&schema.join("test/config/good")) {
        let expected: &[&str] = match name.as_str() {
            "linux-netdevice.json" => &["linux.netDevices: not supported yet"],
            // Older than the specification it is in.
            "spec-example.json" => &["ociVersion: version \"0.5.0-dev\" is not supported, only 1.x is"],
            // Of another platform: it has no root filesystem in our sense.
            "freebsd-minimal.json" | "freebsd-example.json" | "zos-example.json" => continue,
            _ => &[],
        };
        let found = faults(&text);
        assert_eq!(found, expected, "{name}");
    }
    for (name, text) in examples(&schema.join("test/config/bad")) {
        let found = faults(&text);
        // Sections of other platforms are not looked at.
        assert_eq!(found.is_empty(), name.starts_with("freebsd"), "{name}: {found:?}");
    }
}

#[test]
fn our_documents_fit_the_schemas() {
    let Some(schema) = schema_folder() else { return };
    for (rootless, cgroup2) in [(None, true), (Some((1000, 1000)), false)] {
        let text = template::document(rootless, cgroup2).unwrap();
        let found = Schema::read(&schema).check("config-schema.json", &text);
        assert!(found.is_empty(), "{found:?}");
    }
    let build = features::Build {
        version: "0.1.0",
        seccomp_archs: &[oci_spec::runtime::Arch::ScmpArchX86_64],
        seccomp_known_flags: &features::SECCOMP_FLAGS,
        seccomp_supported_flags: &features::SECCOMP_FLAGS,
        ..Default::default()
    };
    let found = Schema::read(&schema).check("features-schema.json", &features::document(&build).unwrap());
    assert!(found.is_empty(), "{found:?}");
    // The check itself must be able to fail.
    assert!(!Schema::read(&schema).check("features-schema.json", "{}").is_empty());
    assert!(
        !Schema::read(&schema)
            .check("config-schema.json", r#"{"ociVersion":"1.3.0","mounts":[{}]}"#)
            .is_empty()
    );
}

/// A judge by JSON schema draft 4, as much of it as the schemas of runtime-spec use; patterns are not matched.
struct Schema(Map<String, Value>);

impl Schema {
    fn read(folder: &Path) -> Self {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let files = entries.filter(|path| path.extension().is_some_and(|ext| ext == "json"));
        Self(
            files
                .map(|path| {
                    (file_name(&path), serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap())
                })
                .collect(),
        )
    }

    fn check(&self, file: &str, text: &str) -> Vec<String> {
        let mut found = Vec::new();
        self.judge(file, &self.0[file], &serde_json::from_str(text).unwrap(), "", &mut found);
        found
    }

    fn judge(&self, file: &str, rule: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
        if let Some(reference) = rule["$ref"].as_str() {
            let (other, pointer) = reference.split_once('#').unwrap();
            let other = if other.is_empty() { file } else { other };
            let pointer = if pointer.starts_with('/') { pointer.to_owned() } else { format!("/{pointer}") };
            return self.judge(other, self.0[other].pointer(&pointer).unwrap(), value, at, found);
        }
        let type_fits = match rule["type"].as_str() {
            Some("object") => value.is_object(),
            Some("array") => value.is_array(),
            Some("string") => value.is_string(),
            Some("boolean") => value.is_boolean(),
            Some("integer") => value.is_i64() || value.is_u64(),
            _ => true,
        };
        let in_range = |number: f64| {
            rule["minimum"].as_f64().is_none_or(|min| number >= min)
                && rule["maximum"].as_f64().is_none_or(|max| number <= max)
        };
        let known = rule["enum"].as_array().is_none_or(|words| words.contains(value));
        if !type_fits || !known || !value.as_f64().is_none_or(in_range) {
            found.push(format!("{at}: {value} is not {rule}"));
        }
        for name in rule["required"].as_array().into_iter().flatten() {
            if value.get(name.as_str().unwrap()).is_none() {
                found.push(format!("{at}: {name} is missing"));
            }
        }
        for part in rule["allOf"].as_array().into_iter().chain(rule["anyOf"].as_array()).flatten() {
            self.judge(file, part, value, at, found);
        }
        for (i, item) in value.as_array().into_iter().flatten().enumerate() {
            self.judge(file, &rule["items"], item, &format!("{at}[{i}]"), found);
        }
        for (name, member) in value.as_object().into_iter().flatten() {
            let any = rule["patternProperties"].as_object().and_then(|patterns| patterns.values().next());
            let rule = rule["properties"].get(name).or(any).or(rule.get("additionalProperties"));
            self.judge(file, rule.unwrap_or(&Value::Null), member, &format!("{at}.{name}"), found);
        }
    }
}

/// A document that has most of the members there are.
fn rich() -> Value {
    let map = json!([{"containerID": 0, "hostID": 1000, "size": 10}]);
    let hook = json!([{"path": "/x", "args": ["x"], "env": ["A=b"], "timeout": 5}]);
    json!({
        "ociVersion": "1.3.0", "hostname": "h", "domainname": "d", "annotations": {"a": "b"},
        "root": {"path": "r", "readonly": true},
        "process": {
            "terminal": true, "consoleSize": {"height": 1, "width": 1}, "cwd": "/", "args": ["a"], "env": ["A=b"],
            "user": {"uid": 0, "gid": 0, "umask": 18, "additionalGids": [1]},
            "capabilities": {"bounding": ["CAP_KILL", "CAP_FOO"], "ambient": []},
            "rlimits": [{"type": "RLIMIT_CORE", "soft": 0, "hard": 0}], "oomScoreAdj": 1, "noNewPrivileges": true,
            "scheduler": {"policy": "SCHED_DEADLINE", "runtime": 1, "deadline": 2, "period": 3, "flags": ["SCHED_FLAG_DL_OVERRUN"]},
            "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 3}, "execCPUAffinity": {"initial": "0-1", "final": ""}
        },
        "mounts": [{"destination": "/x", "type": "none", "source": "/y", "options": ["rbind", "ro", "idmap"], "uidMappings": map, "gidMappings": map}],
        "hooks": {"prestart": hook, "poststop": hook},
        "linux": {
            "namespaces": [{"type": "mount"}, {"type": "user"}, {"type": "time"}, {"type": "uts"}, {"type": "network", "path": "/x"}],
            "uidMappings": map, "gidMappings": map, "timeOffsets": {"monotonic": {"secs": 1, "nanosecs": 2}},
            "devices": [{"type": "c", "path": "/dev/x", "major": 1, "minor": 2, "fileMode": 438, "uid": 0, "gid": 0}],
            "sysctl": {"net.core.x": "1"}, "cgroupsPath": "/c", "rootfsPropagation": "rslave", "mountLabel": "l",
            "maskedPaths": ["/a"], "readonlyPaths": ["/b"], "personality": {"domain": "LINUX32"},
            "seccomp": {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1, "architectures": ["SCMP_ARCH_X86_64"], "flags": [],
                "syscalls": [{"names": ["a"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 1, "valueTwo": 2, "op": "SCMP_CMP_MASKED_EQ"}]}]},
            "resources": {
                "devices": [{"allow": true, "type": "c", "major": 1, "minor": 3, "access": "rwm"}],
                "memory": {"limit": 1, "swap": 2, "swappiness": 5}, "cpu": {"shares": 2, "cpus": "0", "idle": 0}, "pids": {"limit": 0},
                "blockIO": {"weight": 10, "weightDevice": [{"major": 8, "minor": 0, "weight": 5}], "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1}]},
                "hugepageLimits": [{"pageSize": "2MB", "limit": 5}], "network": {"classID": 1, "priorities": [{"name": "e", "priority": 1}]},
                "rdma": {"m": {"hcaHandles": 1}}, "unified": {"memory.high": "1"}
            }
        }
    })
}

/// Puts something else where the `target`th value is, counted as they are written.
fn replace(value: &mut Value, target: &mut usize, by: &Value) {
    if *target == 0 {
        *value = by.clone();
    }
    *target = target.wrapping_sub(1);
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| replace(item, target, by)),
        Value::Object(members) => members.values_mut().for_each(|member| replace(member, target, by)),
        _ => {}
    }
}

fn odd_value() -> impl Strategy<Value = Value> {
    let numbers = prop_oneof![
        Just(json!(0)),
        Just(json!(-1)),
        Just(json!(u32::MAX)),
        Just(json!(u64::MAX)),
        Just(json!(i64::MIN)),
        Just(json!(i64::MAX)),
        Just(json!(1.5)),
        Just(json!(4_294_967_296_u64)),
    ];
    let words = prop_oneof![
        Just(""),
        Just("/"),
        Just("."),
        Just("\0"),
        Just("="),
        Just("é/…"),
        Just("CAP_"),
        Just("RTMIN+"),
        Just("../.."),
        Just("1-"),
    ];
    prop_oneof![
        numbers,
        words.prop_map(|word| json!(word)),
        Just(Value::Null),
        Just(json!([])),
        Just(json!({})),
        Just(json!([null])),
        Just(json!({"": ""})),
        Just(json!(true)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn odd_values_never_panic(changes in prop::collection::vec((0_usize..250, odd_value()), 1..4)) {
        let mut document = rich();
        for (mut target, value) in changes {
            replace(&mut document, &mut target, &value);
        }
        let text = document.to_string();
        for fault in faults(text.as_bytes()) {
            prop_assert!(!fault.contains('\n') && !fault.contains('\0'), "{fault:?}");
        }
    }

    #[test]
    fn odd_bytes_never_panic(changes in prop::collection::vec((0_usize..4000, any::<u8>()), 1..6), length in 0_usize..4000) {
        let mut text = rich().to_string().into_bytes();
        for (at, byte) in changes {
            if let Some(place) = text.get_mut(at) {
                *place = byte;
            }
        }
        text.truncate(length.max(text.len() / 2));
        faults(&text);
    }

    #[test]
    fn words_never_panic(word in "\\PC{0,12}") {
        let _ = names::parse_signal(&word);
        let _ = names::check_container_id(&word);
        names::capability(&word);
        sysctl::path(&word);
        mount_options::parse(&[word]);
    }
}

#[test]
fn the_rich_document_is_sound() {
    assert_eq!(faults(rich().to_string().as_bytes()), [""; 0]);
    let mut count = 1_000_000;
    replace(&mut rich(), &mut count, &Value::Null);
    // The range of the random targets covers the document.
    assert!((150..250).contains(&(1_000_000 - count)), "{}", 1_000_000 - count);
}

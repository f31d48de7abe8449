//! Keeps differences.md true: it is made from the marks in these sources (`UPDATE=1` writes it anew).

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

const HEAD: &str = "# Where the peers differ\n\n\
    Made from the `differs`, `wavers` and `ours_only` marks in the tests by `UPDATE=1 cargo test --test contract \
    differences`; a test fails when this file is older than the marks. Every test listed here was run against runc \
    1.1.5 and crun 1.8.1 and failed there as it says (`wavers`: now and then); a peer that passes a test with such a \
    mark fails the suite, so no row outlives its cause.\n";

/// A row: test, runtime, kind of mark, reason.
type Row = (String, String, &'static str, String);

fn rows() -> Vec<Row> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/contract");
    let mut rows = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|e| e == "rs") && !path.ends_with("differences.rs") {
            let module = path.file_stem().unwrap().to_string_lossy().into_owned();
            marks(&module, &std::fs::read_to_string(&path).unwrap(), &mut rows);
        }
    }
    rows.sort();
    rows
}

fn marks(module: &str, text: &str, rows: &mut Vec<Row>) {
    for part in text.split("#[test]\nfn ").skip(1) {
        let name = part.split('(').next().unwrap();
        let head = part.split(".run(").next().unwrap();
        for kind in ["differs", "wavers", "ours_only"] {
            for call in head.split(&format!(".{kind}(")).skip(1) {
                let mut words = strings(call).into_iter();
                let runtime = if kind == "ours_only" { "peers".into() } else { words.next().unwrap() };
                rows.push((
                    format!("{module}::{name}"),
                    runtime,
                    kind,
                    words.next().unwrap_or_else(|| panic!("{name}: {call}")),
                ));
            }
        }
    }
}

/// The string literals at the beginning of an argument list.
fn strings(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = text;
    while found.len() < 2 {
        let Some((_, after)) = rest.split_once('"') else { break };
        let Some((inner, left)) = after.split_once('"') else { break };
        found.push(inner.to_owned());
        rest = left;
    }
    found
}

fn table() -> String {
    let mut by_runtime: BTreeMap<String, Vec<Row>> = BTreeMap::new();
    for row in rows() {
        by_runtime.entry(row.1.clone()).or_default().push(row);
    }
    let mut out = HEAD.to_owned();
    for (runtime, rows) in by_runtime {
        let title = if runtime == "peers" { "asked of orlop alone" } else { &runtime };
        write!(out, "\n## {title} ({})\n\n| test | | reason |\n|---|---|---|\n", rows.len()).unwrap();
        for (test, _, kind, why) in rows {
            let kind = if kind == "wavers" { "now and then" } else { "" };
            writeln!(out, "| {test} | {kind} | {why} |").unwrap();
        }
    }
    out
}

#[test]
fn differences_md_follows_the_marks() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/contract/differences.md");
    let made = table();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        there == made,
        "differences.md is not what the marks say: UPDATE=1 cargo test --test contract differences"
    );
}

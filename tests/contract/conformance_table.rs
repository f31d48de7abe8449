//! Keeps CONFORMANCE.md true: every test that it names exists, and every sentence has a test or a reason.

use std::collections::BTreeSet;
use std::path::Path;

/// The tests of the sources, as `module::test`.
fn tests() -> BTreeSet<String> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/contract");
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.extension().is_none_or(|e| e != "rs") {
            continue;
        }
        let module = path.file_stem().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        for part in text.split("#[test]\nfn ").skip(1) {
            found.insert(format!("{module}::{}", part.split('(').next().unwrap()));
        }
    }
    found
}

/// Rows of the tables: sentence and what stands for it.
fn rows(text: &str) -> Vec<(&str, &str)> {
    let lines = text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| sentence"));
    lines
        .map(|line| {
            let inner = line.trim_start_matches("| ").trim_end_matches('|').trim_end();
            inner.rsplit_once(" | ").unwrap_or_else(|| panic!("not a row: {line}"))
        })
        .collect()
}

#[test]
fn conformance_md_names_tests_that_exist() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/contract/CONFORMANCE.md");
    let text = std::fs::read_to_string(path).unwrap();
    let known = tests();
    let mut named = BTreeSet::new();
    for (sentence, stands) in rows(&text) {
        let words: Vec<&str> =
            stands.split('`').skip(1).step_by(2).filter(|word| word.contains("::")).collect();
        for word in &words {
            assert!(known.contains(*word), "{word} (for: {sentence}) is no test");
            named.insert((*word).to_owned());
        }
        assert!(!words.is_empty() || stands.starts_with("–"), "neither a test nor a reason: {sentence}");
    }
    let unnamed: Vec<_> =
        known.iter().filter(|test| test.starts_with("conformance_") && !named.contains(*test)).collect();
    assert!(
        unnamed.iter().all(|test| test.starts_with("conformance_table::")),
        "stand for no sentence: {unnamed:?}"
    );
}

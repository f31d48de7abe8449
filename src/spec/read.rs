//! JSON text → oci-spec's types, and a refusal in our words with the JSON path.
//!
//! The common document is read once, straight into the types. Only when that fails, or when the types cannot
//! tell what was written, the text becomes a `Value`, is mended and read again; this costs some 100 µs. Pure.

use super::Mended;
use super::look::{Look, has_zero};
use super::{inline_idmap, mend};
use crate::error::{Error, Result};
use oci_spec::runtime::Spec;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// Objects and arrays inside each other: more is no configuration but an attempt on the stack.
const DEPTH_MAX: usize = 64;

/// What one text says.
#[derive(Debug)]
pub(super) struct Document {
    pub spec: Spec,
    pub mended: Mended,
    pub warnings: Vec<String>,
}

/// Reads a whole config.json; `file` is the name in messages.
pub(super) fn document(raw: &[u8], file: &str) -> Result<Document> {
    if deeper_than(raw, DEPTH_MAX) {
        return Err(Error::new(format!("{file}: nested deeper than {DEPTH_MAX} levels")));
    }
    must_be_object(raw, file)?;
    match serde_json::from_slice::<Spec>(raw) {
        Ok(spec) if mend::is_doubtful(&spec) => second_reading(raw, file),
        Ok(mut spec) => {
            let look = if has_zero(&spec) { look_at(raw, file)? } else { Look::default() };
            let mut mended = Mended::default();
            mend::fill(&mut spec, &mut mended, &look);
            inline_idmap::take(&mut spec)?;
            Ok(Document { spec, mended, warnings: Vec::new() })
        }
        // The second reading would take the last of two members without a word.
        Err(e) if e.to_string().starts_with("duplicate field") => Err(refusal_of_text(raw, file)),
        Err(_) => second_reading(raw, file),
    }
}

/// Reads a part of config.json by wrapping it into the rest: the paths in messages come out right.
pub(super) fn part(raw: &[u8], before: &str, after: &str, file: &str) -> Result<Document> {
    // On its own first: the text must be one value, not one that closes the wrapping early.
    serde_json::from_slice::<&RawValue>(raw).map_err(|e| syntax_error(&e, file))?;
    must_be_object(raw, file)?;
    document(&[before.as_bytes(), raw, after.as_bytes()].concat(), file)
}

/// The types would take an array, its items being the members in their order.
fn must_be_object(raw: &[u8], file: &str) -> Result<()> {
    match raw.trim_ascii_start().first() {
        Some(b'[') => Err(Error::new(format!("{file}: invalid type: array, expected an object"))),
        _ => Ok(()),
    }
}

fn look_at(raw: &[u8], file: &str) -> Result<Look> {
    serde_json::from_slice(raw).map_err(|e| syntax_error(&e, file))
}

fn second_reading(raw: &[u8], file: &str) -> Result<Document> {
    let mut value: Value = serde_json::from_slice(raw).map_err(|e| syntax_error(&e, file))?;
    let mut mended = Mended::default();
    let mut warnings = Vec::new();
    mend::value(&mut value, &mut mended, &mut warnings)?;
    let mut spec: Spec =
        serde_path_to_error::deserialize(&value).map_err(|e| refusal(&e, position_in_text(raw, &e), file))?;
    // Every member of the look has been read with the same type just now.
    let look = Look::deserialize(&value).unwrap_or_default();
    mend::fill(&mut spec, &mut mended, &look);
    inline_idmap::take(&mut spec)?;
    Ok(Document { spec, mended, warnings })
}

type PathError = serde_path_to_error::Error<serde_json::Error>;

fn read_text(raw: &[u8]) -> Option<PathError> {
    let mut text = serde_json::Deserializer::from_slice(raw);
    serde_path_to_error::deserialize::<_, Spec>(&mut text).err()
}

/// Line and column of a fault that was found in the mended value, if the text has its first fault there too.
fn position_in_text(raw: &[u8], found: &PathError) -> Option<(usize, usize)> {
    let in_text = read_text(raw)?;
    let same = in_text.path().to_string() == found.path().to_string();
    same.then(|| (in_text.inner().line(), in_text.inner().column()))
}

fn refusal_of_text(raw: &[u8], file: &str) -> Error {
    match read_text(raw) {
        Some(e) => refusal(&e, Some((e.inner().line(), e.inner().column())), file),
        None => Error::new(format!("{file}: duplicate field")),
    }
}

fn syntax_error(e: &serde_json::Error, file: &str) -> Error {
    let what = without_position(&e.to_string());
    Error::new(format!("{file}: not valid JSON: {what} (line {} column {})", e.line(), e.column()))
}

/// serde_json ends its messages with ` at line 1 column 2`.
fn without_position(message: &str) -> String {
    match message.rsplit_once(" at line ") {
        Some((what, _)) => what.to_owned(),
        None => message.to_owned(),
    }
}

/// `process.rlimits[0].type: unknown value "RLIMIT_FOO"`.
fn refusal(e: &PathError, position: Option<(usize, usize)>, file: &str) -> Error {
    let mut path = e.path().to_string();
    if path == "." {
        path.clear();
    }
    let message = without_position(&e.inner().to_string());
    let (path, what) = in_our_words(path, &message);
    let path = if path.is_empty() { file.to_owned() } else { path };
    let place = match position {
        Some((line, column)) if line > 0 => format!(" ({file} line {line} column {column})"),
        _ => String::new(),
    };
    Error::new(format!("{path}: {what}{place}"))
}

/// The name between the first pair of backticks.
fn quoted(message: &str) -> &str {
    message.split('`').nth(1).unwrap_or_default()
}

fn in_our_words(path: String, message: &str) -> (String, String) {
    let member = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    if message.starts_with("missing field") {
        return (member(quoted(message)), "is missing".to_owned());
    }
    if message.starts_with("duplicate field") {
        return (member(quoted(message)), "is there twice".to_owned());
    }
    if message.starts_with("unknown variant") {
        return (path, format!("unknown value {:?}", quoted(message)));
    }
    // The only check of contents that oci-spec makes.
    if let Some(list) = message.strip_prefix("Invalid execCPUAffinity format: ") {
        return (path, format!("invalid CPU list {list:?}"));
    }
    (path, without_types_of_rust(message))
}

/// `invalid type: map, expected a sequence` means nothing to the author of a configuration.
fn without_types_of_rust(message: &str) -> String {
    let Some((found, expected)) = message.rsplit_once(", expected ") else { return shortened(message) };
    let found = match found {
        "invalid type: map" => "invalid type: object",
        "invalid type: sequence" => "invalid type: array",
        other => other,
    };
    let expected = match expected {
        "a map" => "an object",
        "a sequence" => "an array",
        other if other.starts_with("struct ") => "an object",
        other => other,
    };
    format!("{}, expected {expected}", shortened(found))
}

/// A message repeats the value, which may be as long as the file.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(200) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Whether brackets nest deeper than `max`. Text that is not JSON may be counted wrongly; the parser refuses it.
fn deeper_than(raw: &[u8], max: usize) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in raw {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                if depth > max {
                    return true;
                }
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        document(text.as_bytes(), "config.json").unwrap_err().to_string()
    }

    #[test]
    fn faults_are_named_by_their_path() {
        let cases: &[(&str, &str)] = &[
            (
                r#"{"process":{"cwd":"/","user":{},"rlimits":[{"type":"RLIMIT_FOO","soft":1,"hard":1}]}}"#,
                "process.rlimits[0].type: unknown value \"RLIMIT_FOO\" (config.json line 1 column 63)",
            ),
            (
                "{\"linux\":{\"resources\":{\"cpu\":\n {\"shares\":\"x\"}}}}",
                "linux.resources.cpu.shares: invalid type: string \"x\", expected u64 (config.json line 2 column 14)",
            ),
            (r#"{"process":{"user":{}}}"#, "process.cwd: is missing (config.json line 1 column 22)"),
            (
                r#"{"linux":{"namespaces":[{}]}}"#,
                "linux.namespaces[0].type: is missing (config.json line 1 column 26)",
            ),
            (
                r#"{"linux":{"namespaces":[{"type":"net"}]}}"#,
                "linux.namespaces[0].type: unknown value \"net\" (config.json line 1 column 37)",
            ),
            (
                r#"{"root":{"path":"a"},"root":{"path":"b"}}"#,
                "root: is there twice (config.json line 1 column 27)",
            ),
            (
                r#"{"linux":{"seccomp":{"defaultAction":"SCMP_ACT_FOO"}}}"#,
                "linux.seccomp.defaultAction: unknown value \"SCMP_ACT_FOO\" (config.json line 1 column 51)",
            ),
            (
                r#"{"linux":{"resources":{"blockIO":{"weight":65536}}}}"#,
                "linux.resources.blockIO.weight: invalid value: integer `65536`, expected u16 (config.json line 1 column 48)",
            ),
            (
                r#"{"mounts":{}}"#,
                "mounts: invalid type: object, expected an array (config.json line 1 column 10)",
            ),
            (
                r#"{"hooks":"x"}"#,
                "hooks: invalid type: string \"x\", expected an object (config.json line 1 column 12)",
            ),
            (
                r#"{"annotations":{"a":1}}"#,
                "annotations.a: invalid type: integer `1`, expected a string (config.json line 1 column 21)",
            ),
            (" []", "config.json: invalid type: array, expected an object"),
            ("7", "config.json: invalid type: integer `7`, expected an object (config.json line 1 column 1)"),
            ("", "config.json: not valid JSON: EOF while parsing a value (line 1 column 0)"),
            ("{\"a\":1,\n}", "config.json: not valid JSON: trailing comma (line 2 column 1)"),
            ("{} {}", "config.json: not valid JSON: trailing characters (line 1 column 4)"),
            (
                "{\"ociVersion\":\"\u{1}\"}",
                "config.json: not valid JSON: control character (\\u0000-\\u001F) found while parsing a string (line 1 column 16)",
            ),
        ];
        let wrong: Vec<_> = cases.iter().filter(|(text, expected)| error(text) != *expected).collect();
        let said: Vec<_> = wrong.iter().map(|(text, _)| error(text)).collect();
        assert!(wrong.is_empty(), "{wrong:#?}\n{said:#?}");
    }

    #[test]
    fn faults_in_a_mended_document_keep_their_path() {
        let text =
            r#"{"process":{"cwd":"/","user":{},"capabilities":{"bounding":["CAP_FOO"]},"oomScoreAdj":"x"}}"#;
        assert_eq!(error(text), "process.oomScoreAdj: invalid type: string \"x\", expected i32");
    }

    #[test]
    fn unknown_members_are_ignored() {
        let text = r#"{"ociVersion":"1.3.0","future":{"a":[1,{"b":null}]},"root":{"path":"r","new":1}}"#;
        let read = document(text.as_bytes(), "config.json").unwrap();
        assert_eq!(read.spec.version(), "1.3.0");
    }

    #[test]
    fn depth_is_bounded() {
        let nested =
            |levels: usize| format!("{{\"x\":{}{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1));
        assert!(document(nested(64).as_bytes(), "config.json").is_ok());
        assert_eq!(error(&nested(65)), "config.json: nested deeper than 64 levels");
        assert_eq!(error(&"[".repeat(1 << 20)), "config.json: nested deeper than 64 levels");
        // Brackets in strings do not count, nor does an escaped quote end one.
        let text = format!("{{\"hostname\":\"\\\"{}\"}}", "[".repeat(200));
        assert!(document(text.as_bytes(), "config.json").is_ok());
    }

    #[test]
    fn a_part_must_be_one_value() {
        let read = |text: &str| part(text.as_bytes(), "{\"process\":", "}", "p.json");
        assert!(read(r#"{"cwd":"/","user":{}}"#).is_ok());
        let error = read(r#"{"cwd":"/","user":{}},"root":{"path":"x"}"#).unwrap_err().to_string();
        assert_eq!(error, "p.json: not valid JSON: trailing characters (line 1 column 22)");
    }
}

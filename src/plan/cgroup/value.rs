//! Values of systemd's properties: what D-Bus can carry, and the text form that annotations use. PURE.
//!
//! `org.systemd.property.NAME: TEXT` (as crun and runc read it) has TEXT in the GVariant text format: `true`, `'s'`,
//! `7` (an int32), `uint64 7`, `['a', 'b']`, `@as []`, `('a', uint32 1)`.

use crate::error::{Error, Result};
use serde::Serialize;

/// A D-Bus value (D-Bus specification, "Type system"), without the kinds that no property of a unit has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Value {
    Bool(bool),
    Byte(u8),
    Int16(i16),
    Uint16(u16),
    Int32(i32),
    Uint32(u32),
    Int64(i64),
    Uint64(u64),
    Text(String),
    /// The signature of an element, and the elements.
    Array(String, Vec<Value>),
    Tuple(Vec<Value>),
    Variant(Box<Value>),
}

impl Value {
    pub fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    /// The D-Bus signature of the value.
    pub fn signature(&self) -> String {
        match self {
            Self::Bool(_) => "b".into(),
            Self::Byte(_) => "y".into(),
            Self::Int16(_) => "n".into(),
            Self::Uint16(_) => "q".into(),
            Self::Int32(_) => "i".into(),
            Self::Uint32(_) => "u".into(),
            Self::Int64(_) => "x".into(),
            Self::Uint64(_) => "t".into(),
            Self::Text(_) => "s".into(),
            Self::Variant(_) => "v".into(),
            Self::Array(element, _) => format!("a{element}"),
            Self::Tuple(fields) => format!("({})", fields.iter().map(Self::signature).collect::<String>()),
        }
    }

    /// The number in it, whatever its width.
    pub fn number(&self) -> Option<i128> {
        Some(match self {
            Self::Byte(n) => (*n).into(),
            Self::Int16(n) => (*n).into(),
            Self::Uint16(n) => (*n).into(),
            Self::Int32(n) => (*n).into(),
            Self::Uint32(n) => (*n).into(),
            Self::Int64(n) => (*n).into(),
            Self::Uint64(n) => (*n).into(),
            _ => return None,
        })
    }
}

/// How deep arrays and tuples may be nested; D-Bus allows 32.
const DEPTH: usize = 8;

/// Reads the text form.
pub fn parse(text: &str) -> Result<Value> {
    let mut reader = Reader { rest: text };
    let value = reader.value(DEPTH)?;
    reader.space();
    if reader.rest.is_empty() { Ok(value) } else { Err(reader.unexpected()) }
}

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n']);
    }

    fn unexpected(&self) -> Error {
        match self.rest.chars().next() {
            Some(_) => Error::new(format!("{:?} is not a value in GVariant text format", self.rest)),
            None => Error::new("the value ends too early"),
        }
    }

    fn take(&mut self, wanted: char) -> bool {
        self.space();
        match self.rest.strip_prefix(wanted) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// Letters, digits, sign.
    fn word(&mut self) -> &'a str {
        self.space();
        let end = self.rest.find(|c: char| !(c.is_ascii_alphanumeric() || "+-_.".contains(c)));
        let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        word
    }

    fn value(&mut self, depth: usize) -> Result<Value> {
        if depth == 0 {
            return Err(Error::new("the value is nested too deeply"));
        }
        self.space();
        match self.rest.chars().next() {
            Some('\'' | '"') => self.quoted().map(Value::Text),
            Some('[') => self.array(None, depth),
            Some('(') => self.tuple(depth),
            Some('@') => self.typed(depth),
            Some(_) => self.scalar(),
            None => Err(self.unexpected()),
        }
    }

    /// `@as [...]`: the type of an array, which an empty one cannot show.
    fn typed(&mut self, depth: usize) -> Result<Value> {
        self.take('@');
        let end = self.rest.find(' ').ok_or_else(|| self.unexpected())?;
        let (signature, rest) = self.rest.split_at(end);
        self.rest = rest;
        self.space();
        match signature.strip_prefix('a') {
            Some(element) if self.rest.starts_with('[') => self.array(Some(element), depth),
            _ => Err(Error::new(format!("@{signature}: only arrays are given a type this way"))),
        }
    }

    fn array(&mut self, element: Option<&str>, depth: usize) -> Result<Value> {
        self.take('[');
        let values = self.list(']', depth)?;
        let shown = values.first().map(Value::signature);
        let element = match (element, shown) {
            (Some(element), _) => element.to_owned(),
            (None, Some(shown)) => shown,
            (None, None) => return Err(Error::new("an empty array needs its type: @as []")),
        };
        match values.iter().find(|value| value.signature() != element) {
            None => Ok(Value::Array(element, values)),
            Some(other) => {
                Err(Error::new(format!("an array of {element} has a value of type {}", other.signature())))
            }
        }
    }

    fn tuple(&mut self, depth: usize) -> Result<Value> {
        self.take('(');
        Ok(Value::Tuple(self.list(')', depth)?))
    }

    fn list(&mut self, end: char, depth: usize) -> Result<Vec<Value>> {
        let mut values = Vec::new();
        while !self.take(end) {
            if !values.is_empty() && !self.take(',') {
                return Err(self.unexpected());
            }
            // `(1,)` is a tuple of one.
            if !values.is_empty() && self.take(end) {
                break;
            }
            values.push(self.value(depth - 1)?);
        }
        Ok(values)
    }

    fn quoted(&mut self) -> Result<String> {
        let mut chars = self.rest.char_indices();
        let quote = chars.next().map(|(_, c)| c);
        let mut out = String::new();
        while let Some((at, c)) = chars.next() {
            match c {
                c if Some(c) == quote => {
                    self.rest = &self.rest[at + c.len_utf8()..];
                    return Ok(out);
                }
                '\\' => match chars.next() {
                    Some((_, 'n')) => out.push('\n'),
                    Some((_, 't')) => out.push('\t'),
                    Some((_, c @ ('\\' | '\'' | '"'))) => out.push(c),
                    _ => return Err(Error::new("unknown escape in a quoted string")),
                },
                c => out.push(c),
            }
        }
        Err(Error::new("a quoted string has no end"))
    }

    fn scalar(&mut self) -> Result<Value> {
        let before = self.rest;
        let word = self.word();
        let unexpected = |rest: &str| Reader { rest }.unexpected();
        match word {
            "true" => return Ok(Value::Bool(true)),
            "false" => return Ok(Value::Bool(false)),
            "string" | "objectpath" => {
                self.space();
                return self.quoted().map(Value::Text);
            }
            "" => return Err(unexpected(before)),
            _ => {}
        }
        let typed = word.starts_with(|c: char| c.is_ascii_alphabetic());
        let kind = if typed { word } else { "int32" };
        let digits = if typed { self.word() } else { word };
        let number = number(digits).ok_or_else(|| unexpected(before))?;
        let value = match kind {
            "byte" => number.try_into().map(Value::Byte),
            "int16" => number.try_into().map(Value::Int16),
            "uint16" => number.try_into().map(Value::Uint16),
            "int32" => number.try_into().map(Value::Int32),
            "uint32" => number.try_into().map(Value::Uint32),
            "int64" => number.try_into().map(Value::Int64),
            "uint64" => number.try_into().map(Value::Uint64),
            _ => return Err(unexpected(before)),
        };
        value.map_err(|_| Error::new(format!("{digits} is out of the range of {kind}")))
    }
}

fn number(digits: &str) -> Option<i128> {
    match digits.strip_prefix("0x") {
        Some(hex) => i128::from_str_radix(hex, 16).ok(),
        None => digits.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_form_is_read() {
        use Value::*;
        for (text, value, signature) in [
            ("true", Bool(true), "b"),
            (" false ", Bool(false), "b"),
            ("7", Int32(7), "i"),
            ("-7", Int32(-7), "i"),
            ("uint64 123456789", Uint64(123_456_789), "t"),
            ("byte 0x1f", Byte(31), "y"),
            ("'a \\'b\\''", Text("a 'b'".into()), "s"),
            ("\"x\"", Text("x".into()), "s"),
            ("['a', 'b']", Array("s".into(), vec![Text("a".into()), Text("b".into())]), "as"),
            ("@as []", Array("s".into(), vec![]), "as"),
            ("@at [uint64 1]", Array("t".into(), vec![Uint64(1)]), "at"),
            (
                "[('/dev/null', 'rw')]",
                Array("(ss)".into(), vec![Tuple(vec![Text("/dev/null".into()), Text("rw".into())])]),
                "a(ss)",
            ),
            ("(uint32 1,)", Tuple(vec![Uint32(1)]), "(u)"),
        ] {
            let got = parse(text).unwrap();
            assert_eq!((&got, got.signature().as_str()), (&value, signature), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "nonsense",
            "'open",
            "[1",
            "[1 2]",
            "[]",
            "[1, 'a']",
            "@as [1]",
            "@s 'a'",
            "300000000000",
            "byte 256",
            "uint32 -1",
            "uint64",
            "1 2",
            "{'a': 1}",
            "[[[[[[[[[[1]]]]]]]]]]",
            "'\\q'",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}

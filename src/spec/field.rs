//! The place in config.json that a message is about, as a reader would write it: `mounts[3].options`,
//! `linux.sysctl["net.core.somaxconn"]`. Pure.

use std::fmt;

/// A path from the top of config.json. Cheap enough to be made for every element that is looked at only once
/// there is a problem: keep it out of loops that find none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field(String);

impl Field {
    pub fn new(path: impl Into<String>) -> Self {
        Self(path.into())
    }

    /// The member `name` of this object.
    pub fn member(&self, name: &str) -> Self {
        if self.0.is_empty() { Self(name.to_owned()) } else { Self(format!("{}.{name}", self.0)) }
    }

    /// Element number `index` of this array, counted from 0.
    pub fn item(&self, index: usize) -> Self {
        Self(format!("{}[{index}]", self.0))
    }

    /// The entry `key` of a map whose keys are free text.
    pub fn key(&self, key: &str) -> Self {
        Self(format!("{}[{key:?}]", self.0))
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_like_a_path() {
        assert_eq!(Field::new("mounts").item(3).member("options").to_string(), "mounts[3].options");
        assert_eq!(Field::new("linux.sysctl").key("a.b").to_string(), "linux.sysctl[\"a.b\"]");
        assert_eq!(Field::new("").member("process").to_string(), "process");
    }
}

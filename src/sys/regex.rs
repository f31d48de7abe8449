//! Extended regular expressions of POSIX, by libc's regcomp(3): what crun's `--regex` takes. No system call; it is here
//! because the C interface takes pointers.

use crate::error::{Error, Result};
use std::ffi::CString;
use std::mem::MaybeUninit;

/// A compiled expression.
pub struct Regex(libc::regex_t);

impl Regex {
    pub fn new(pattern: &str) -> Result<Self> {
        let refused = || Error::new(format!("{pattern:?}: not a regular expression"));
        let text = CString::new(pattern).map_err(|_| refused())?;
        let mut regex = MaybeUninit::uninit();
        // SAFETY: regcomp fills `regex` when it returns 0; `text` is NUL-terminated and outlives the call.
        let answer =
            unsafe { libc::regcomp(regex.as_mut_ptr(), text.as_ptr(), libc::REG_EXTENDED | libc::REG_NOSUB) };
        if answer != 0 {
            return Err(refused());
        }
        // SAFETY: regcomp has filled it.
        Ok(Self(unsafe { regex.assume_init() }))
    }

    /// Whether a part of `text` matches.
    pub fn matches(&self, text: &str) -> bool {
        let Ok(text) = CString::new(text) else { return false };
        // SAFETY: the expression is compiled; without places (nmatch 0) nothing is written; `text` ends with NUL.
        unsafe { libc::regexec(&raw const self.0, text.as_ptr(), 0, std::ptr::null_mut(), 0) == 0 }
    }
}

impl Drop for Regex {
    fn drop(&mut self) {
        // SAFETY: compiled by regcomp and not used again.
        unsafe { libc::regfree(&raw mut self.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extended_expressions_match_anywhere() {
        let regex = Regex::new("^web-(a|b)+$").unwrap();
        assert!(regex.matches("web-ab") && !regex.matches("web-") && !regex.matches("my-web-a"));
        assert!(Regex::new("eb").unwrap().matches("web"));
        assert!(Regex::new("(").is_err());
    }
}

//! The name of a path.

use std::fmt;
use std::sync::Arc;

/// The name of a path: 1 or more of `[A-Za-z0-9._~-]`, `/` between. It goes into URLs as it is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PathName(Arc<str>);

/// Why a text is no path name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PathNameError {
    #[error("a path name is 1 to {MAX} characters long")]
    Length,
    #[error("a path name has only letters, digits and . _ ~ - , with / between")]
    Character,
    #[error("a path name has no empty part, and no part that is . or ..")]
    Part,
}

/// Longest path name in bytes.
const MAX: usize = 200;

impl PathName {
    /// Checks a name.
    ///
    /// # Errors
    /// When it is empty or too long, has other characters, or has a part that is empty, `.` or `..`.
    pub fn parse(name: &str) -> Result<Self, PathNameError> {
        if name.is_empty() || name.len() > MAX {
            return Err(PathNameError::Length);
        }
        if !name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._~-/".contains(&b))
        {
            return Err(PathNameError::Character);
        }
        if name.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(PathNameError::Part);
        }
        Ok(Self(name.into()))
    }
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
    /// The same text, for those who keep it as long as they live: it is in memory once.
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

impl fmt::Display for PathName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_urls_carry_unescaped() {
        for good in ["webcam", "cam-1.front_door~x", "floor/2/hall", "A"] {
            assert_eq!(PathName::parse(good).unwrap().as_str(), good);
        }
        for (bad, why) in [
            ("", PathNameError::Length),
            (&"x".repeat(201), PathNameError::Length),
            ("a b", PathNameError::Character),
            ("café", PathNameError::Character),
            ("a?b", PathNameError::Character),
            ("/a", PathNameError::Part),
            ("a/", PathNameError::Part),
            ("a//b", PathNameError::Part),
            ("a/../b", PathNameError::Part),
        ] {
            assert_eq!(PathName::parse(bad), Err(why), "{bad}");
        }
    }
}

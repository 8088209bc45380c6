//! Paths within a package.
//!
//! A package is unpacked on any system and served by name, so a path must mean the same file
//! everywhere: relative, `/` between parts, nothing that a system interprets, and no two paths
//! that a file system without case holds for one.

use std::collections::BTreeMap;

use crate::limits::{DEPTH_MAX, PART_BYTES_MAX, PATH_BYTES_MAX};

/// A path that a package must not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    #[error("`{0}` is absolute")]
    Absolute(String),
    #[error("`{0}` leaves the package, or has an empty part")]
    Escapes(String),
    #[error("`{0}` has a character that a path in a package must not have")]
    Character(String),
    #[error(
        "`{0}` is too long: {PATH_BYTES_MAX} bytes, {PART_BYTES_MAX} in a part, {DEPTH_MAX} parts"
    )]
    TooLong(String),
    #[error("a path is not UTF-8: `{0}`")]
    NotText(String),
    #[error("`{0}` is there twice")]
    Duplicate(String),
    #[error("`{0}` and `{1}` differ in case only")]
    Twins(String, String),
    #[error("`{0}` is a file and a directory")]
    FileAndDirectory(String),
}

/// # Errors
/// When the path is not one that means the same file everywhere.
pub(crate) fn check(path: &str) -> Result<(), PathError> {
    // For messages; what is refused may be long and ugly.
    let shown = || path.chars().take(200).map(visible).collect::<String>();
    if path.len() > PATH_BYTES_MAX {
        return Err(PathError::TooLong(shown()));
    }
    if path.starts_with('/') {
        return Err(PathError::Absolute(shown()));
    }
    // `:` is a drive or a stream on some systems, `\` a separator.
    if path.chars().any(|c| {
        c.is_control()
            || matches!(c, '\\' | ':' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    }) {
        return Err(PathError::Character(shown()));
    }
    let mut depth = 0;
    for part in path.split('/') {
        depth += 1;
        if part.is_empty() || part == "." || part == ".." {
            return Err(PathError::Escapes(shown()));
        }
        if part.len() > PART_BYTES_MAX || depth > DEPTH_MAX {
            return Err(PathError::TooLong(shown()));
        }
        // Some systems drop these at the end, which would make twins.
        if part.ends_with(['.', ' ']) {
            return Err(PathError::Character(shown()));
        }
    }
    Ok(())
}

fn visible(c: char) -> char {
    if c.is_control() { '\u{fffd}' } else { c }
}

/// The paths seen so far, and no two that are one file somewhere.
#[derive(Debug, Default)]
pub(crate) struct Paths {
    /// By folded form: the path as it is written, and whether it is a directory.
    seen: BTreeMap<String, (String, bool)>,
}

impl Paths {
    /// # Errors
    /// When the path is not allowed, or not beside the others.
    pub(crate) fn insert(&mut self, path: &str) -> Result<(), PathError> {
        check(path)?;
        for (at, _) in path.match_indices('/') {
            let Some((directory, _)) = path.split_at_checked(at) else {
                continue;
            };
            let entry = self
                .seen
                .entry(directory.to_lowercase())
                .or_insert_with(|| (directory.to_owned(), true));
            if !entry.1 {
                return Err(PathError::FileAndDirectory(entry.0.clone()));
            }
        }
        match self
            .seen
            .insert(path.to_lowercase(), (path.to_owned(), false))
        {
            None => Ok(()),
            Some((other, true)) => Err(PathError::FileAndDirectory(other)),
            Some((other, false)) if other == path => Err(PathError::Duplicate(other)),
            Some((other, false)) => Err(PathError::Twins(other, path.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_paths_are_allowed() {
        for path in [
            "bindery.toml",
            "cases/one/case.toml",
            ".hidden",
            "a b/c-d_e.f",
            "données/π.txt",
        ] {
            assert_eq!(check(path), Ok(()), "{path}");
        }
    }

    #[test]
    fn others_are_refused() {
        let absolute = |path: &str| Err(PathError::Absolute(path.to_owned()));
        let escapes = |path: &str| Err(PathError::Escapes(path.to_owned()));
        assert_eq!(check("/etc/passwd"), absolute("/etc/passwd"));
        for path in ["..", "../x", "a/../b", "a//b", "a/", ".", "./a", ""] {
            assert_eq!(check(path), escapes(path));
        }
        for path in ["a\\b", "C:x", "a\0b", "a\nb", "a.", "a /b", "x\u{202e}y"] {
            assert!(
                matches!(check(path), Err(PathError::Character(_))),
                "{path:?}"
            );
        }
        let long = "a".repeat(PART_BYTES_MAX + 1);
        let deep = vec!["a"; DEPTH_MAX + 1].join("/");
        let whole = format!("{}/{}", "a".repeat(PART_BYTES_MAX), "b".repeat(60));
        for path in [long, deep, whole] {
            assert!(matches!(check(&path), Err(PathError::TooLong(_))), "{path}");
        }
    }

    #[test]
    fn one_file_on_some_system_is_one_file() {
        let insert = |paths: &[&str]| {
            let mut seen = Paths::default();
            paths.iter().try_for_each(|path| seen.insert(path))
        };
        assert_eq!(insert(&["a/x", "a/y", "b"]), Ok(()));
        assert_eq!(insert(&["a", "a"]), Err(PathError::Duplicate("a".into())));
        assert!(matches!(
            insert(&["Ä/x", "ä/X"]),
            Err(PathError::Twins(_, _))
        ));
        for paths in [&["a", "A/b"], &["A/b", "a"]] {
            assert!(matches!(insert(paths), Err(PathError::FileAndDirectory(_))));
        }
    }
}

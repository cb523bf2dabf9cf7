//! The operations of a script, and what can be wrong with one.

use std::path::{Component, Path};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::errno;
use crate::disk::stays_inside;
use crate::limits::PASS_MS_MAX;

/// One line of a script. Paths are relative to the tree and stay in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase", deny_unknown_fields)]
pub enum Operation {
    /// Gives a file this content in place; makes it, and the directories above it, if they are missing.
    Write {
        /// Which file.
        path: String,
        /// Its content, if that is UTF-8.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<String>,
        /// Its content otherwise.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        base64: Option<String>,
    },
    /// Appends to a file; makes it, and the directories above it, if they are missing.
    Append {
        /// Which file.
        path: String,
        /// What is appended, if that is UTF-8.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<String>,
        /// What is appended otherwise.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        base64: Option<String>,
    },
    /// Gives a file or directory another name, in place of a file that has it.
    Rename {
        /// The name that it has.
        from: String,
        /// The name that it gets.
        to: String,
    },
    /// Gives a file this size.
    Truncate {
        /// Which file.
        path: String,
        /// In bytes; what is added are NULs.
        size: u64,
    },
    /// Removes a file, a symlink, or a directory with all in it.
    Remove {
        /// Which.
        path: String,
    },
    /// Makes a directory.
    Mkdir {
        /// Where.
        path: String,
    },
    /// Changes permissions.
    Chmod {
        /// Of what.
        path: String,
        /// The permissions, as an octal number up to 7777.
        mode: String,
    },
    /// Makes a symlink.
    Symlink {
        /// Where.
        path: String,
        /// Where it leads to; `..` stands before names only.
        target: String,
    },
    /// Gives a file a second name.
    Hardlink {
        /// The name that it has.
        from: String,
        /// The name that it gets beside that.
        to: String,
    },
    /// Two seconds pass, the source takes one whole pass, and what it found is committed.
    Look,
    /// Time passes.
    Pass {
        /// Milliseconds, at most [`PASS_MS_MAX`].
        ms: u64,
    },
    /// Looks at this path end with this error, until it is named again with null.
    Fail {
        /// A file or a directory; `.` is the tree.
        path: String,
        /// The name of the error, such as `EACCES`.
        // As null it is a word of its own, so it must not be missing by mistake.
        #[serde(deserialize_with = "Option::deserialize")]
        errno: Option<String>,
    },
    /// The capture stops well, and a new one starts from its state.
    Restart,
    /// Everything in memory is lost, and a new capture starts from what is on disk.
    Crash,
}

impl Operation {
    /// Gives a file this content.
    pub fn write(path: impl Into<String>, bytes: &[u8]) -> Self {
        let (path, (text, base64)) = (path.into(), forms(bytes));
        Self::Write { path, text, base64 }
    }

    /// Appends these bytes to a file.
    pub fn append(path: impl Into<String>, bytes: &[u8]) -> Self {
        let (path, (text, base64)) = (path.into(), forms(bytes));
        Self::Append { path, text, base64 }
    }

    /// Reads a line of a script.
    pub(super) fn parse(line: &[u8]) -> Result<Self, String> {
        let operation: Self = serde_json::from_slice(line).map_err(|error| super::json_cause(&error))?;
        if matches!(operation, Self::Look | Self::Restart | Self::Crash) {
            // serde does not look at what else an operation without keys brings.
            let keys: serde_json::Map<_, _> = serde_json::from_slice(line).map_err(|error| error.to_string())?;
            if let Some(key) = keys.keys().find(|key| *key != "op") {
                return Err(format!("unknown field `{key}`, the operation has none"));
            }
        }
        operation.check()?;
        Ok(operation)
    }

    /// Says what is wrong with it, before anything is played.
    pub fn check(&self) -> Result<(), String> {
        match self {
            Self::Write { path, text, base64 } | Self::Append { path, text, base64 } => {
                entry(path)?;
                content(text.as_deref(), base64.as_deref()).map(drop)
            }
            Self::Rename { from, to } | Self::Hardlink { from, to } => entry(from).and_then(|()| entry(to)),
            Self::Truncate { path, .. } | Self::Remove { path } | Self::Mkdir { path } => entry(path),
            Self::Chmod { path, mode } => {
                stays(path)?;
                octal(mode).map(drop)
            }
            Self::Symlink { path, target } => {
                entry(path)?;
                points_inside(path, target)
            }
            Self::Pass { ms } if *ms > PASS_MS_MAX => Err(format!("{ms} ms are more than {PASS_MS_MAX}")),
            Self::Fail { path, errno } => {
                stays(path)?;
                errno.as_deref().map_or(Ok(()), |name| errno::named(name).map(drop))
            }
            Self::Look | Self::Pass { .. } | Self::Restart | Self::Crash => Ok(()),
        }
    }
}

/// Bytes as `text` or, when they are not UTF-8, as `base64`.
fn forms(bytes: &[u8]) -> (Option<String>, Option<String>) {
    match str::from_utf8(bytes) {
        Ok(text) => (Some(text.to_owned()), None),
        Err(_) => (None, Some(STANDARD.encode(bytes))),
    }
}

/// The bytes that `text` or `base64` stand for.
pub(super) fn content(text: Option<&str>, base64: Option<&str>) -> Result<Vec<u8>, String> {
    match (text, base64) {
        (Some(text), None) => Ok(text.as_bytes().to_owned()),
        (None, Some(base64)) => STANDARD.decode(base64).map_err(|error| format!("bad base64: {error}")),
        (None, None) => Err("neither `text` nor `base64` is given".into()),
        (Some(_), Some(_)) => Err("both `text` and `base64` are given".into()),
    }
}

/// The permissions that an octal number stands for.
pub(super) fn octal(mode: &str) -> Result<u32, String> {
    let digits = !mode.is_empty() && mode.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    let parsed = u32::from_str_radix(mode, 8).ok();
    parsed
        .filter(|mode| digits && *mode <= 0o7777)
        .ok_or_else(|| format!("`{mode}` is no octal mode up to 7777"))
}

/// Whether a path stays in the tree, with no `..` in it, since what stands before one may be a symlink.
pub(super) fn stays(path: &str) -> Result<(), String> {
    if path.is_empty() || path.contains('\0') {
        return Err(format!("{path:?} is no path"));
    }
    let has_parent = Path::new(path).components().any(|part| part == Component::ParentDir);
    if has_parent || !stays_inside(Path::new(path)) {
        return Err(format!(
            "`{path}` leaves the tree, or is no name that a filesystem takes"
        ));
    }
    Ok(())
}

/// The same for what must be something in the tree, not the tree itself.
fn entry(path: &str) -> Result<(), String> {
    stays(path)?;
    if Path::new(path).file_name().is_none() {
        return Err(format!("`{path}` is the tree itself"));
    }
    Ok(())
}

/// Whether a symlink's target is in the tree. A `..` behind a name is refused, because the name may be a
/// symlink itself.
fn points_inside(link: &str, target: &str) -> Result<(), String> {
    let leaves = || format!("the target `{target}` leaves the tree");
    if target.is_empty() || target.contains('\0') {
        return Err(format!("{target:?} is no target"));
    }
    let normal = |part: &Component<'_>| matches!(part, Component::Normal(_));
    let mut depth = Path::new(link).components().filter(normal).count() - 1;
    let mut descended = false;
    for part in Path::new(target).components() {
        match part {
            Component::Normal(_) => descended = true,
            Component::CurDir => {}
            Component::ParentDir if descended => return Err(format!("the target `{target}` has `..` behind a name")),
            Component::ParentDir => depth = depth.checked_sub(1).ok_or_else(leaves)?,
            Component::RootDir | Component::Prefix(_) => return Err(leaves()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let operations = [
            Operation::write("a/b.jsonl", b"x\n"),
            Operation::append("b", b"\xff\0"),
            Operation::Symlink {
                path: "a/l".into(),
                target: "../b".into(),
            },
            Operation::Fail {
                path: ".".into(),
                errno: None,
            },
            Operation::Look,
        ];
        for operation in operations {
            let line = serde_json::to_vec(&operation).unwrap();
            assert_eq!(Operation::parse(&line), Ok(operation));
        }
    }

    #[test]
    fn a_symlink_stays_in_the_tree_whatever_its_names_are() {
        for (link, target, well) in [
            ("l", "a", true),
            ("l", ".", true),
            ("d/l", "..", true),
            ("d/./l", "../x/y", true),
            ("l", "..", false),
            ("d/l", "../../x", false),
            ("l", "a/../b", false),
            ("l", "/etc", false),
            ("l", "", false),
        ] {
            assert_eq!(points_inside(link, target).is_ok(), well, "{link} -> {target}");
        }
    }
}

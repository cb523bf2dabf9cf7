//! What is never opened, by patterns.

use std::ffi::OsStr;
use std::path::Path;

use globset::GlobSet;

use super::globs;
use super::roots::Root;
use super::scope::resolve;
use crate::error::{Error, ErrorKind};
use crate::show::Shown;

/// Files and directories that are left alone, with everything below them: neither opened nor listed.
///
/// A pattern without `/` goes by the name of a file or directory anywhere below a root; one that begins with `/` or
/// `~/` by the whole path; any other one by the path below a root.
#[derive(Debug, Clone, Default)]
pub struct Exclude {
    below: GlobSet,
    whole: GlobSet,
    /// For paths whose root nobody knows: the ones of `below`, at any depth.
    anywhere: GlobSet,
    /// The patterns of `below` and of `anywhere`, and those of `whole`, as they were written.
    written_below: Vec<String>,
    written_whole: Vec<String>,
}

impl Exclude {
    /// These patterns; `user_home` is what `~` stands for.
    ///
    /// Fails as [`crate::error::ErrorKind::Usage`] when one of them is no pattern, or needs a home that there is not.
    pub fn new(patterns: &[String], user_home: Option<&OsStr>) -> Result<Self, Error> {
        let (mut below, mut whole) = (Vec::new(), Vec::new());
        let (mut written_below, mut written_whole) = (Vec::new(), Vec::new());
        for pattern in patterns {
            // What is below is meant, and the directory itself goes with it.
            let top = pattern.trim_end_matches("/**").trim_end_matches('/');
            if let Some(why) = names_nothing(top) {
                return Err(globs::no_pattern(pattern, why).hint(HOW));
            }
            if let Some(rest) = top.strip_prefix("~/") {
                let home = user_home.and_then(OsStr::to_str).ok_or_else(|| {
                    globs::no_pattern(pattern, "HOME is not set, or is not UTF-8").hint("write the whole path")
                })?;
                whole.push(format!("{}/{rest}", globset::escape(home.trim_end_matches('/'))));
                written_whole.push(pattern.clone());
            } else if top.starts_with('/') {
                whole.push(top.to_owned());
                written_whole.push(pattern.clone());
            } else if top.is_empty() {
                return Err(globs::no_pattern(pattern, "it names nothing"));
            } else {
                below.push(top.to_owned());
                written_below.push(pattern.clone());
            }
        }
        for (pattern, written) in whole.clone().iter().zip(written_whole.clone()) {
            if let Some(elsewhere) = without_symlinks(pattern) {
                whole.push(elsewhere);
                written_whole.push(written);
            }
        }
        let anywhere = below.iter().map(|pattern| format!("**/{pattern}")).collect::<Vec<_>>();
        Ok(Self {
            below: globs::set(below.iter().map(String::as_str))?,
            whole: globs::set(whole.iter().map(String::as_str))?,
            anywhere: globs::set(anywhere.iter().map(String::as_str))?,
            written_below,
            written_whole,
        })
    }

    /// Fails as [`ErrorKind::Usage`] when a root that somebody named is excluded itself, and says by which pattern.
    ///
    /// The names of the root and of the directories above it count, but not of those above `user_home`.
    pub fn refuse(&self, root: &Root, user_home: Option<&OsStr>) -> Result<(), Error> {
        let home = user_home.filter(|home| !home.is_empty()).map(Path::new);
        let homes = [home.map(Path::to_owned), home.and_then(|home| resolve(home).ok())];
        let below_home = |path: &Path| {
            let mut homes = homes.iter().flatten();
            let below = homes.find_map(|home| path.strip_prefix(home).ok());
            below.or(path.strip_prefix("/").ok()).unwrap_or(path).to_owned()
        };
        let named = std::path::absolute(&root.spec.path).unwrap_or_default();
        let paths = [&root.resolved, &named];
        let by = paths.into_iter().find_map(|path| {
            let whole = first(&self.whole, path, &self.written_whole);
            whole.or_else(|| first(&self.anywhere, &below_home(path), &self.written_below))
        });
        match by {
            None => Ok(()),
            Some(pattern) => Err(Error::new(ErrorKind::Usage, "the root is excluded:")
                .at(&root.spec.path)
                .because(format!("the pattern `{}` covers it", Shown::text(pattern)))
                .hint("take the root or the pattern away; a pattern that is a path, such as ~/logs/private, covers that path alone")),
        }
    }

    /// Whether nothing is.
    pub fn is_empty(&self) -> bool {
        self.below.is_empty() && self.whole.is_empty()
    }

    /// Whether this path below a root is, by itself or with a directory above it.
    pub fn covers(&self, root: &Root, relative: &Path) -> bool {
        let below = || relative.ancestors().any(|part| self.below.is_match(part));
        let named = || std::path::absolute(&root.spec.path).unwrap_or_default();
        !self.is_empty()
            && (below() || self.has_whole(&root.resolved.join(relative)) || self.has_whole(&named().join(relative)))
    }

    /// The same for a path whose directory is not covered.
    pub fn covers_itself(&self, root: &Root, relative: &Path) -> bool {
        let whole = || {
            let named = std::path::absolute(&root.spec.path).unwrap_or_default();
            self.whole.is_match(root.resolved.join(relative)) || self.whole.is_match(named.join(relative))
        };
        !self.is_empty() && (self.below.is_match(relative) || (!self.whole.is_empty() && whole()))
    }

    /// Whether an absolute path is, whatever its root is: with one that might be, it counts as one that is.
    pub fn may_cover(&self, path: &Path) -> bool {
        let relative = path.strip_prefix("/").unwrap_or(path);
        !self.is_empty() && (self.has_whole(path) || relative.ancestors().any(|part| self.anywhere.is_match(part)))
    }

    fn has_whole(&self, path: &Path) -> bool {
        path.ancestors().any(|part| self.whole.is_match(part))
    }
}

/// How patterns are written.
const HOW: &str = "write a name, such as -work-secret, a path below a root, or a whole path, such as ~/logs/private";

/// Why a pattern cannot match any path, if it cannot. Who writes one has something private, and must not find out later.
fn names_nothing(pattern: &str) -> Option<&'static str> {
    let begins = |start: &str| pattern.starts_with(start);
    if pattern.trim() != pattern {
        Some("a space at its beginning or end is part of it")
    } else if begins("!") {
        Some("nothing is taken out of what is excluded")
    } else if begins("$") {
        Some("variables do not count in it")
    } else if begins("~") && !begins("~/") {
        Some("`~` stands for HOME only before `/`")
    } else if pattern.split('/').any(|part| part == "." || part == "..") {
        Some("no path that it goes by holds `.` or `..`")
    } else {
        None
    }
}

/// The first pattern that matches a path or a directory above it.
fn first<'a>(set: &GlobSet, path: &Path, written: &'a [String]) -> Option<&'a str> {
    let found = path.ancestors().find_map(|part| set.matches(part).first().copied());
    written.get(found?).map(String::as_str)
}

/// The same pattern for where its beginning really is, if symlinks lead there. Logs are known by such paths.
fn without_symlinks(pattern: &str) -> Option<String> {
    let special = pattern.find(['*', '?', '[', '{', '\\']).unwrap_or(pattern.len());
    // What is escaped or special ends what can be looked up.
    let end = if special == pattern.len() {
        special
    } else {
        pattern[..special].rfind('/')?
    };
    let (plain, rest) = pattern.split_at(end);
    let resolved = resolve(Path::new(plain)).ok()?;
    let resolved = resolved.to_str().filter(|resolved| *resolved != plain)?;
    Some(format!("{}{rest}", globset::escape(resolved)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::roots::{Place, RootSpec};

    fn root(named: &str, resolved: &str) -> Root {
        Root {
            spec: RootSpec::new(named),
            resolved: resolved.into(),
            place: Some(Place {
                directory: resolved.into(),
                only: None,
            }),
        }
    }

    fn covered(pattern: &str, relative: &str) -> bool {
        let exclude = Exclude::new(&[pattern.to_owned()], Some(OsStr::new("/home/me"))).unwrap();
        let root = root("/home/me/.claude/projects", "/home/me/dots/claude/projects");
        exclude.covers(&root, Path::new(relative))
    }

    #[test]
    fn a_directory_that_is_excluded_takes_everything_below_it_along() {
        for pattern in [
            "-work-secret",
            "*secret*",
            "-work-secret/",
            "-work-secret/**",
            "**/-work-secret/**",
            "/home/me/.claude/projects/-work-secret",
            "~/.claude/projects/-work-*",
            "~/dots/claude/projects/-work-secret/**",
            "~/.claude",
        ] {
            assert!(covered(pattern, "-work-secret"), "{pattern}");
            assert!(covered(pattern, "-work-secret/a/subagents/b.jsonl"), "{pattern}");
        }
        for pattern in ["secret", "/-work-secret", "a/subagents", "~/.codex", "-work-secret/x"] {
            assert!(!covered(pattern, "-work-secret/a/subagents/b.jsonl"), "{pattern}");
        }
        assert!(covered("-work-secret/a", "-work-secret/a/subagents/b.jsonl"));
        assert!(covered("b.jsonl", "-work-secret/a/subagents/b.jsonl"));
    }

    #[test]
    fn where_the_root_is_not_known_a_pattern_counts_at_any_depth() {
        let exclude = Exclude::new(
            &["secret/a".into(), "b*".into(), "~/x".into()],
            Some(OsStr::new("/home/me")),
        )
        .unwrap();
        for path in [
            "/r/secret/a/f.jsonl",
            "/r/b.jsonl",
            "/r/bb/f.jsonl",
            "/home/me/x/f.jsonl",
        ] {
            assert!(exclude.may_cover(Path::new(path)), "{path}");
        }
        for path in ["/r/secret/f.jsonl", "/r/x/f.jsonl"] {
            assert!(!exclude.may_cover(Path::new(path)), "{path}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_an_error() {
        for bad in ["[", "/", "**"] {
            let made = Exclude::new(&[bad.to_owned()], Some(OsStr::new("/home/me")));
            assert_eq!(made.is_err(), bad != "**", "{bad}");
        }
        assert!(Exclude::new(&["~/x".to_owned()], None).is_err());
        for never in [
            "./secret",
            "secret/.",
            "a/../secret",
            " secret",
            "secret ",
            "!secret",
            "$HOME/secret",
            "~",
            "~me/secret",
        ] {
            let made = Exclude::new(&[never.to_owned()], Some(OsStr::new("/home/me")));
            assert_eq!(made.unwrap_err().kind(), ErrorKind::Usage, "{never}");
        }
    }
}

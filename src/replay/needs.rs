//! What a script needs of the filesystem that it is played on.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::files::temporary;
use crate::error::Error;
use crate::source::kind::SourceKind;
use crate::source::notify;
use crate::source::tree::{OsTree, Tree};

/// Something that not every filesystem has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Need {
    /// The inode number of a file that was removed is given to the next one.
    InodeReuse,
    /// Files have a time of birth that can be relied on.
    BirthTimes,
    /// They have none.
    NoBirthTimes,
}

impl Need {
    fn lacking(self, directory: &Path) -> Result<Option<&'static str>, Error> {
        let failed = |cause| Error::io("cannot find out what the filesystem can do, in", directory, cause);
        let (met, why) = match self {
            Self::InodeReuse => (
                inodes_are_reused(directory).map_err(failed)?,
                "this filesystem does not give inode numbers away again at once",
            ),
            Self::BirthTimes => (
                files_have_births(directory).map_err(failed)?,
                "this filesystem keeps no time of birth that can be relied on",
            ),
            Self::NoBirthTimes => (
                !files_have_births(directory).map_err(failed)?,
                "this filesystem keeps times of birth",
            ),
        };
        Ok((!met).then_some(why))
    }
}

/// Why the temporary directory cannot play what has these needs with such a source; None when it can.
pub(super) fn lacking(needs: &[Need], kind: SourceKind) -> Result<Option<String>, Error> {
    if needs.is_empty() && kind != SourceKind::Notify {
        return Ok(None);
    }
    let probe = temporary()?;
    for need in needs {
        if let Some(why) = need.lacking(probe.path())? {
            return Ok(Some(why.into()));
        }
    }
    match kind {
        SourceKind::Notify => blindness(probe.path()),
        SourceKind::Auto | SourceKind::Poll => Ok(None),
    }
}

/// Why changes in a directory come untold, if they do: then what is told is no fence there.
fn blindness(directory: &Path) -> Result<Option<String>, Error> {
    let failed = |cause| Error::io("cannot find out whether changes are told in", directory, cause);
    let directory = fs::File::open(directory).map_err(failed)?;
    let notifier = notify::notifier().map_err(failed)?;
    let why = notifier.blindness(directory.as_fd());
    Ok(why.map(|why| format!("changes in the temporary directory come untold: {why}")))
}

fn inodes_are_reused(directory: &Path) -> std::io::Result<bool> {
    let path = directory.join("probe");
    let make = || {
        fs::write(&path, "")?;
        let inode = fs::symlink_metadata(&path)?.ino();
        fs::remove_file(&path)?;
        std::io::Result::Ok(inode)
    };
    Ok(make()? == make()?)
}

/// Asks as the source does, which believes no birth on overlayfs.
fn files_have_births(directory: &Path) -> std::io::Result<bool> {
    let tree = OsTree::default();
    let top = tree.open_root(&directory.canonicalize()?)?;
    Ok(tree.stat(top.as_fd(), Path::new(""))?.identity.btime.is_some())
}

/// One need, or several: `"needs": "inode-reuse"` is short for a list of one.
pub(super) mod one_or_more {
    use serde::de::value::{SeqAccessDeserializer, StrDeserializer};
    use serde::de::{Error, SeqAccess, Visitor};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Need;

    pub(in super::super) fn serialize<S: Serializer>(needs: &[Need], serializer: S) -> Result<S::Ok, S::Error> {
        match needs {
            [one] => one.serialize(serializer),
            several => several.serialize(serializer),
        }
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Need>, D::Error> {
        deserializer.deserialize_any(OneOrMore)
    }

    struct OneOrMore;

    impl<'de> Visitor<'de> for OneOrMore {
        type Value = Vec<Need>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a need or a list of needs")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Vec<Need>, E> {
            Need::deserialize(StrDeserializer::new(text)).map(|need| vec![need])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Vec<Need>, A::Error> {
            Vec::deserialize(SeqAccessDeserializer::new(list))
        }
    }
}

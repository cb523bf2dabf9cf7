//! Which config file is read.

use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind};
use crate::home::user_home;
use crate::show::Shown;

/// The name of the config file.
const NAME: &str = "tailspool.toml";

/// Where the settings of a user are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In this file.
    File(PathBuf),
    /// Nowhere; this file would be read.
    Missing(PathBuf),
    /// Nowhere, and there is no place where they could be: neither HOME nor `XDG_CONFIG_HOME` names one.
    Nowhere,
    /// No file is to be read.
    Ignored,
}

/// Finds the file: the one that is asked for, else that of `$TAILSPOOL_CONFIG`, else the one in the platform's config
/// directory. What is empty asks for nothing.
///
/// Fails as [`ErrorKind::Usage`] when the config directory holds two.
pub fn find(asked: Option<&Path>) -> Result<Place, Error> {
    let named = |path: &PathBuf| !path.as_os_str().is_empty();
    let asked = asked.map(Path::to_owned).filter(named);
    let env = || std::env::var_os("TAILSPOOL_CONFIG").map(PathBuf::from).filter(named);
    match (asked.or_else(env), config_dir()) {
        (Some(path), _) => Ok(Place::File(path)),
        (None, Some(directory)) => find_in(&directory),
        (None, None) => Ok(Place::Nowhere),
    }
}

fn config_dir() -> Option<PathBuf> {
    let is_named = std::env::var_os("XDG_CONFIG_HOME").is_some_and(|path| Path::new(&path).is_absolute());
    dirs::config_dir().filter(|_| is_named || user_home().is_some())
}

fn find_in(directory: &Path) -> Result<Place, Error> {
    let (own, beside) = (directory.join("tailspool").join(NAME), directory.join(NAME));
    match (is_there(&own)?, is_there(&beside)?) {
        (true, true) => {
            let (own, beside) = (Shown::path(&own), Shown::path(&beside));
            Err(
                Error::new(ErrorKind::Usage, format!("two config files: {own} and {beside}"))
                    .hint("keep one of them, or name the one that counts with --config FILE"),
            )
        }
        (false, true) => Ok(Place::File(beside)),
        (true, false) => Ok(Place::File(own)),
        (false, false) => Ok(Place::Missing(own)),
    }
}

/// Whether something is there. A symlink to nothing is something: what it should say is missing.
fn is_there(path: &Path) -> Result<bool, Error> {
    match std::fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(false),
        Err(cause) => Err(Error::io("cannot look for the config file", path, cause).kind_set(ErrorKind::Usage)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_file_in_the_config_directory_is_found_two_are_an_error_and_none_says_where_it_would_be() {
        let temp = tempfile::tempdir().unwrap();
        let (own, beside) = (temp.path().join("tailspool").join(NAME), temp.path().join(NAME));
        let found = || find_in(temp.path());
        assert_eq!(found().unwrap(), Place::Missing(own.clone()));
        std::fs::write(&beside, "").unwrap();
        assert_eq!(found().unwrap(), Place::File(beside.clone()));
        std::fs::create_dir(temp.path().join("tailspool")).unwrap();
        std::os::unix::fs::symlink("nothing", &own).unwrap();
        let both = found().unwrap_err();
        assert_eq!(both.kind(), ErrorKind::Usage);
        for path in [&own, &beside] {
            assert!(both.to_string().contains(path.to_str().unwrap()), "{both}");
        }
        std::fs::remove_file(&beside).unwrap();
        assert_eq!(found().unwrap(), Place::File(own));
    }
}

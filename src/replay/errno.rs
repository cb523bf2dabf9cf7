//! The names of what can go wrong with a look.

use rustix::io::Errno;

/// What an open, a listing or a read of a log can end with.
const KNOWN: [(&str, Errno); 18] = [
    ("EACCES", Errno::ACCESS),
    ("EBUSY", Errno::BUSY),
    ("EINTR", Errno::INTR),
    ("EINVAL", Errno::INVAL),
    ("EIO", Errno::IO),
    ("EISDIR", Errno::ISDIR),
    ("ELOOP", Errno::LOOP),
    ("EMFILE", Errno::MFILE),
    ("ENAMETOOLONG", Errno::NAMETOOLONG),
    ("ENFILE", Errno::NFILE),
    ("ENODEV", Errno::NODEV),
    ("ENOENT", Errno::NOENT),
    ("ENOMEM", Errno::NOMEM),
    ("ENOTDIR", Errno::NOTDIR),
    ("ENXIO", Errno::NXIO),
    ("EPERM", Errno::PERM),
    ("ESTALE", Errno::STALE),
    ("ETIMEDOUT", Errno::TIMEDOUT),
];

/// The error with this name.
pub(super) fn named(name: &str) -> Result<Errno, String> {
    let found = KNOWN.iter().find(|(known, _)| *known == name);
    found.map(|(_, errno)| *errno).ok_or_else(|| {
        let names: Vec<_> = KNOWN.iter().map(|(known, _)| *known).collect();
        format!(
            "`{name}` is no errno that a look ends with; there are {}",
            names.join(", ")
        )
    })
}

/// The name of an error, `EIO` for one that no script can name.
pub fn name_of(error: &std::io::Error) -> &'static str {
    let code = error.raw_os_error();
    let found = KNOWN.iter().find(|(_, errno)| Some(errno.raw_os_error()) == code);
    found.map_or("EIO", |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_that_of_its_error() {
        for (name, errno) in KNOWN {
            assert_eq!(named(name), Ok(errno));
            assert_eq!(name_of(&errno.into()), name);
        }
        assert!(named("EVERYTHING").is_err());
        assert_eq!(name_of(&Errno::XDEV.into()), "EIO");
    }
}

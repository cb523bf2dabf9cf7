//! Reading the config file.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::document::{Document, Entry, entries};
use super::keys::{KEYS, ROOT_KEYS};
use super::layer::{Given, Layer};
use super::value::{at_least_one, bytes_or_unit, commit_pace, duration};
use crate::error::{Error, ErrorKind};
use crate::limits::CONFIG_BYTES_MAX;
use crate::source::exclude::Exclude;
use crate::source::globs;
use crate::source::roots::RootSpec;

/// A config file that was read.
#[derive(Debug, Clone)]
pub struct ConfigFile {
    /// Where it is.
    pub path: Arc<Path>,
    /// What it says.
    pub layer: Layer,
}

impl ConfigFile {
    /// Reads a file; `user_home` is what `~` stands for in it.
    ///
    /// Fails as [`ErrorKind::Usage`], with file and line wherever there is a line.
    pub fn read(path: &Path, user_home: Option<&OsStr>) -> Result<Self, Error> {
        let failed = |cause| Error::io("cannot read the config file", path, cause).kind_set(ErrorKind::Usage);
        let bytes = bytes(path).map_err(failed)?;
        let directory = std::path::absolute(path).map_err(failed)?;
        let mut document = Document {
            path: path.into(),
            directory: directory.parent().unwrap_or(&directory).to_owned(),
            text: "",
            user_home,
        };
        document.text = match str::from_utf8(&bytes) {
            Ok(text) => text,
            Err(error) => {
                let good = &bytes[..error.valid_up_to()];
                let text = String::from_utf8_lossy(good);
                let document = Document {
                    text: &text,
                    ..document
                };
                let what = "the config file is not UTF-8 here:";
                return Err(document.error(good.len(), what).because(error));
            }
        };
        Ok(Self {
            layer: document.layer()?,
            path: document.path,
        })
    }
}

/// What the file holds, if that is not too much.
fn bytes(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    if file.metadata()?.is_dir() {
        return Err(io::Error::other("it is a directory"));
    }
    let mut bytes = Vec::new();
    file.take(CONFIG_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > CONFIG_BYTES_MAX {
        return Err(io::Error::other(format!(
            "it is larger than {CONFIG_BYTES_MAX} bytes, and no config file is"
        )));
    }
    Ok(bytes)
}

impl Document<'_> {
    fn layer(&self) -> Result<Layer, Error> {
        let table = DeTable::parse(self.text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            self.error(at, "no valid TOML:").because(error.message().to_owned())
        })?;
        let mut layer = Layer::default();
        for entry in entries(table.get_ref()) {
            self.take(entry, &mut layer)?;
        }
        Ok(layer)
    }

    fn take(&self, entry: Entry<'_>, layer: &mut Layer) -> Result<(), Error> {
        match entry.key {
            "home" => layer.home = Some(self.place(entry)?),
            "roots" => layer.roots = self.each(entry, Self::root)?,
            "scope" => layer.scope = self.each(entry, Self::place)?,
            "exclude" => layer.exclude = self.each(entry, Self::exclude)?,
            "glob" => layer.glob = Some(self.given(entry.at, self.globs(entry)?)),
            "from" => layer.from = Some(self.choice(entry)?),
            "max-files" => layer.max_files = Some(self.number(entry, false, at_least_one)?),
            "source" => layer.source = Some(self.choice(entry)?),
            "interval" => layer.interval = Some(self.read(entry, duration)?),
            "sweep-interval" => layer.sweep_interval = Some(self.read(entry, duration)?),
            "commit-interval" => layer.commit_interval = Some(self.read(entry, commit_pace)?),
            "max-pending-records" => layer.max_pending_records = Some(self.number(entry, false, at_least_one)?),
            "max-pending-bytes" => layer.max_pending_bytes = Some(self.number(entry, true, bytes_or_unit)?),
            "on-full" => layer.on_full = Some(self.choice(entry)?),
            "layout" => layer.layout = Some(self.choice(entry)?),
            "agents" => layer.agents = Some(self.bool(entry)?),
            "allow-network-home" => layer.allow_network_home = Some(self.bool(entry)?),
            _ => return Err(self.unknown(entry, &KEYS, "")),
        }
        Ok(())
    }

    fn each<T>(
        &self,
        entry: Entry<'_>,
        read: impl Fn(&Self, Entry<'_>) -> Result<Given<T>, Error>,
    ) -> Result<Vec<Given<T>>, Error> {
        let list = self.list(entry)?.into_iter();
        list.map(|entry| read(self, entry)).collect()
    }

    /// Each pattern by itself, so that the error names its line.
    fn globs(&self, entry: Entry<'_>) -> Result<Vec<String>, Error> {
        let mut patterns = Vec::new();
        for entry in self.list(entry)? {
            let pattern = self.text(entry)?.to_owned();
            globs::compile(std::slice::from_ref(&pattern)).map_err(|why| self.wrong(entry, why))?;
            patterns.push(pattern);
        }
        if patterns.is_empty() {
            return Err(self.wrong(entry, "without a pattern nothing is a log"));
        }
        Ok(patterns)
    }

    fn exclude(&self, entry: Entry<'_>) -> Result<Given<String>, Error> {
        let pattern = self.text(entry)?.to_owned();
        Exclude::new(std::slice::from_ref(&pattern), self.user_home).map_err(|why| {
            let hint = why.hint_text().map(str::to_owned);
            let error = self.wrong(entry, why);
            match hint {
                Some(hint) => error.hint(hint),
                None => error,
            }
        })?;
        Ok(self.given(entry.at, pattern))
    }

    /// A path, or a table that says more of it.
    fn root(&self, entry: Entry<'_>) -> Result<Given<RootSpec>, Error> {
        let DeValue::Table(table) = entry.value.get_ref() else {
            return Ok(self.place(entry)?.map(RootSpec::new));
        };
        let mut spec = RootSpec::new("");
        for entry in entries(table) {
            match entry.key {
                "path" => spec.path = self.place(entry)?.value,
                "agent" => spec.agent = Some(self.agent(entry)?.into()),
                "glob" => spec.globs = Some(self.globs(entry)?),
                key if KEYS.contains(&key) => {
                    let error = self.unknown(entry, &ROOT_KEYS, " of a root");
                    return Err(error.hint(format!(
                        "write `{key}` above the first [[roots]]: what follows that is of a root"
                    )));
                }
                _ => return Err(self.unknown(entry, &ROOT_KEYS, " of a root")),
            }
        }
        if spec.path.as_os_str().is_empty() {
            return Err(self.wrong(entry, "a root has a path"));
        }
        Ok(self.given(entry.at, spec))
    }

    fn agent<'e>(&self, entry: Entry<'e>) -> Result<&'e str, Error> {
        match self.text(entry)? {
            "" => Err(self.wrong(entry, "the name of an agent is not empty")),
            agent => Ok(agent),
        }
    }
}

//! A TOML document, its places, and its values as what a key wants.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::ValueEnum;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::nearest;
use super::layer::{Given, Origin};
use crate::error::{Error, ErrorKind};
use crate::show::Shown;

/// What stands around the values: the text, where it is from, and what `~` and relative paths mean in it.
pub(super) struct Document<'a> {
    /// The file.
    pub(super) path: Arc<Path>,
    /// Its directory, absolute.
    pub(super) directory: PathBuf,
    pub(super) text: &'a str,
    /// What `~` stands for.
    pub(super) user_home: Option<&'a OsStr>,
}

/// A key, where it stands, and its value.
#[derive(Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) key: &'a str,
    pub(super) at: usize,
    pub(super) value: &'a Spanned<DeValue<'a>>,
}

impl<'a> Entry<'a> {
    /// The same key with one of the values in it.
    pub(super) fn with(self, value: &'a Spanned<DeValue<'a>>) -> Self {
        let at = value.span().start;
        Self { at, value, ..self }
    }
}

/// The entries of a table, in the order of the file.
pub(super) fn entries<'a>(table: &'a DeTable<'a>) -> Vec<Entry<'a>> {
    let mut entries: Vec<_> = table
        .iter()
        .map(|(key, value)| Entry {
            key: key.get_ref(),
            at: key.span().start,
            value,
        })
        .collect();
    entries.sort_by_key(|entry| entry.at);
    entries
}

/// How a value of this key is written.
fn example(key: &str) -> &'static str {
    match key {
        "roots" => "write an array: roots = [\"~/.claude/projects\"]",
        "scope" => "write an array: scope = [\"/data/logs\"]",
        "exclude" => "write an array: exclude = [\"-work-secret\", \"~/.claude/projects/private-*\"]",
        "glob" => "write an array: glob = [\"*.jsonl\"]",
        "agent" => "write a text: agent = \"claude\"",
        "path" => "write a text: path = \"~/.claude/projects\"",
        "home" => "write a text: home = \"~/.local/state/tailspool\"",
        "interval" => "write a text: interval = \"2s\"",
        "sweep-interval" => "write a text: sweep-interval = \"5m\"",
        "commit-interval" => "write a text: commit-interval = \"auto\", or a time: commit-interval = \"100ms\"",
        "from" => "write a text: from = \"end\"",
        "source" => "write a text: source = \"poll\"",
        "on-full" => "write a text: on-full = \"drop-oldest\"",
        "layout" => "write a text: layout = \"record\"",
        "max-files" => "write a number: max-files = 1000",
        "max-pending-records" => "write a number: max-pending-records = 100000",
        "max-pending-bytes" => "write a number of bytes, or a text: max-pending-bytes = \"2 GiB\"",
        "agents" => "write true or false: agents = true",
        _ => "write true or false: allow-network-home = true",
    }
}

impl Document<'_> {
    /// The line of a place, from 1.
    pub(super) fn line(&self, at: usize) -> usize {
        let before = &self.text.as_bytes()[..at.min(self.text.len())];
        1 + memchr::memchr_iter(b'\n', before).count()
    }

    /// A value of this file.
    pub(super) fn given<T>(&self, at: usize, value: T) -> Given<T> {
        let (path, line) = (Arc::clone(&self.path), self.line(at));
        Given::new(value, Origin::File { path, line })
    }

    /// An error that names the place.
    pub(super) fn error(&self, at: usize, what: &str) -> Error {
        let (path, line) = (Shown::path(&self.path), self.line(at));
        Error::new(ErrorKind::Usage, format!("{path}:{line}: {what}"))
    }

    /// An error about the value of a key.
    pub(super) fn wrong(&self, entry: Entry<'_>, why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        let error = self.error(entry.at, &format!("`{}`:", entry.key));
        error.because(why).hint(example(entry.key))
    }

    fn wrong_type(&self, entry: Entry<'_>, wanted: &str) -> Error {
        let found = entry.value.get_ref().type_str();
        self.wrong(entry, format!("{wanted} is wanted, and it is {found}"))
    }

    /// The error of a key that there is not.
    pub(super) fn unknown(&self, entry: Entry<'_>, known: &[&str], of: &str) -> Error {
        let error = self.error(entry.at, &format!("there is no key `{}`{of}", entry.key));
        error.hint(match nearest(entry.key, known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("the keys are {}", known.join(", ")),
        })
    }

    pub(super) fn text<'e>(&self, entry: Entry<'e>) -> Result<&'e str, Error> {
        let text = entry.value.get_ref().as_str();
        text.ok_or_else(|| self.wrong_type(entry, "a text"))
    }

    pub(super) fn list<'e>(&self, entry: Entry<'e>) -> Result<Vec<Entry<'e>>, Error> {
        let list = entry.value.get_ref().as_array();
        let list = list.ok_or_else(|| self.wrong_type(entry, "an array"))?;
        Ok(list.iter().map(|value| entry.with(value)).collect())
    }

    pub(super) fn bool(&self, entry: Entry<'_>) -> Result<Given<bool>, Error> {
        let found = entry.value.get_ref().as_bool();
        let found = found.ok_or_else(|| self.wrong_type(entry, "true or false"))?;
        Ok(self.given(entry.at, found))
    }

    /// A text, read as on the command line.
    pub(super) fn read<T>(
        &self,
        entry: Entry<'_>,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Given<T>, Error> {
        let value = read(self.text(entry)?).map_err(|why| self.wrong(entry, why))?;
        Ok(self.given(entry.at, value))
    }

    /// A number, read as on the command line; a text too if `or_text`.
    pub(super) fn number(
        &self,
        entry: Entry<'_>,
        or_text: bool,
        read: impl Fn(&str) -> Result<u64, String>,
    ) -> Result<Given<u64>, Error> {
        let text: Cow<'_, str> = match entry.value.get_ref() {
            DeValue::Integer(number) => match u64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => number.to_string().into(),
                Err(_) => number.as_str().into(),
            },
            DeValue::String(text) if or_text => text.as_ref().into(),
            _ if or_text => return Err(self.wrong_type(entry, "a number or a text")),
            _ => return Err(self.wrong_type(entry, "a number")),
        };
        let value = read(&text).map_err(|why| self.wrong(entry, why))?;
        Ok(self.given(entry.at, value))
    }

    /// One of some words.
    pub(super) fn choice<T: ValueEnum>(&self, entry: Entry<'_>) -> Result<Given<T>, Error> {
        let text = self.text(entry)?;
        if let Ok(value) = T::from_str(text, false) {
            return Ok(self.given(entry.at, value));
        }
        let values = T::value_variants().iter().filter_map(ValueEnum::to_possible_value);
        let values: Vec<_> = values.map(|value| value.get_name().to_owned()).collect();
        let names: Vec<_> = values.iter().map(String::as_str).collect();
        let error = self.wrong(entry, format!("`{text}` is none of {}", names.join(", ")));
        Err(match nearest(text, &names) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error,
        })
    }

    /// A path: `~/` at its start is `$HOME`, and a relative one is below the directory of the file.
    pub(super) fn place(&self, entry: Entry<'_>) -> Result<Given<PathBuf>, Error> {
        let text = self.text(entry)?;
        if text.is_empty() || text.contains('\0') {
            return Err(self.wrong(entry, "a path is not empty and holds no NUL"));
        }
        let path = match text.strip_prefix('~') {
            None => self.directory.join(text),
            Some(rest) if rest.is_empty() || rest.starts_with('/') => {
                let home = self
                    .user_home
                    .ok_or_else(|| self.wrong(entry, "`~` stands for HOME, which is not set"))?;
                Path::new(home).join(rest.trim_start_matches('/'))
            }
            Some(_) => {
                return Err(self
                    .wrong(entry, "`~` stands for HOME only at the start of a path and before `/`")
                    .hint(format!("write the whole path, or `./{text}` for a name that begins so")));
            }
        };
        Ok(self.given(entry.at, path))
    }
}

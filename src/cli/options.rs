//! The options that are settings too, and what is in force with them.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueHint;

use super::Common;
use crate::capture::CommitPace;
use crate::config::{Begin, Given, Layer, Settings, at_least_one, bytes_or_unit, commit_pace, duration};
use crate::error::Error;
use crate::home::user_home;
use crate::queue::depth::OnFull;
use crate::queue::outgoing::Layout;
use crate::source::exclude::Exclude;
use crate::source::kind::SourceKind;
use crate::source::roots::RootSpec;
use crate::source::scope::Scope;

/// What may be looked at: for every command that opens logs.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct LookArgs {
    /// Let logs lie in DIR too, beside $HOME and the scopes of the config file. Can be given more than once
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, help_heading = "Which logs")]
    scope: Vec<PathBuf>,
    /// Never open what this pattern names, with everything below it, nor what the config file excludes. A pattern
    /// without `/` goes by the name of a file or directory, one that begins with `/` or `~/` by the whole path, another
    /// one by the path below ROOT. Can be given more than once
    #[arg(
        long,
        value_name = "PATTERN",
        allow_hyphen_values = true,
        help_heading = "Which logs"
    )]
    exclude: Vec<String>,
}

impl LookArgs {
    fn into_layer(self) -> Layer {
        Layer {
            scope: self.scope.into_iter().map(Given::asked).collect(),
            exclude: self.exclude.into_iter().map(Given::asked).collect(),
            ..Layer::default()
        }
    }

    /// What the file and the command line say together.
    pub(super) fn settings(&self, common: &Common) -> Result<Settings, Error> {
        common.settings(self.clone().into_layer())
    }
}

/// The settings of `watch`.
#[derive(Debug, clap::Args)]
pub(super) struct SettingsArgs {
    /// Directories with logs below them, or single log files. One that is not there yet is waited for [default: the
    /// `roots` of the config file, else the directories of the known agents]
    #[arg(value_name = "ROOT", value_hint = ValueHint::AnyPath)]
    roots: Vec<PathBuf>,
    /// Watch the directories of the known agents, as `discover` finds them, beside ROOT too [default: true without ROOT
    /// and without `roots` in the config file, else false]
    #[arg(long, value_name = "YES", num_args = 0..=1, require_equals = true, default_missing_value = "true",
        help_heading = "Which logs")]
    agents: Option<bool>,
    #[command(flatten)]
    look: LookArgs,
    /// Which files are logs: a pattern without `/` goes by the name, another by the path below ROOT; what one that begins
    /// with `!` names is left out. Can be given more than once [default: *.jsonl, and what fits each known agent]
    #[arg(long, value_name = "PATTERN", help_heading = "Which logs")]
    glob: Vec<String>,
    /// Watch at most N files of each ROOT, the first ones by path; the others are left alone [default: no limit]
    #[arg(long, value_name = "N", value_parser = at_least_one, help_heading = "Which logs")]
    max_files: Option<u64>,
    /// Where files begin that are found by the first look at a ROOT which this home never saw: at their start, or
    /// behind their last newline [default: start]
    #[arg(long, value_name = "WHERE", help_heading = "Which of their lines")]
    from: Option<Begin>,
    /// What finds the changes [default: auto]
    #[arg(long, value_name = "SOURCE", help_heading = "When are they seen, and when durable")]
    source: Option<SourceKind>,
    /// Where walks find the changes: time between two of them, as a number and a unit (500ms, 2s, 1m), at most 24h. Files
    /// that changed in the last minute are looked at every 100 ms [default: 2s]
    #[arg(long, value_name = "TIME", value_parser = duration, help_heading = "When are they seen, and when durable")]
    interval: Option<Duration>,
    /// Where the system tells of changes: time between two walks that look for what it did not tell, as above
    /// [default: 5m]
    #[arg(long, value_name = "TIME", value_parser = duration, help_heading = "When are they seen, and when durable")]
    sweep_interval: Option<Duration>,
    /// Least time between two commits, as above, unless a batch is full (8 MiB or 8192 records); or auto: none, and up to
    /// 100 ms while a backlog is read or as unread files pile up in the queue, from 256 to 4096 [default: auto]
    #[arg(long, value_name = "TIME", value_parser = commit_pace, help_heading = "When are they seen, and when durable")]
    commit_interval: Option<CommitPace>,
    /// Stop reading while this many records are pending [default: no limit but the disk, which counts as full when less
    /// than 1 GiB or 5 % of it is free, whichever is less]
    #[arg(long, value_name = "N", value_parser = at_least_one, help_heading = "How much may wait")]
    max_pending_records: Option<u64>,
    /// Stop reading while this much is pending, in bytes or with a unit (2GiB, 500MiB); passed by one record at most
    /// [default: no limit but the disk]
    #[arg(long, value_name = "SIZE", value_parser = bytes_or_unit, help_heading = "How much may wait")]
    max_pending_bytes: Option<u64>,
    /// When the queue is full: stop reading until there is room, or drop the oldest records, in steps of about 100,
    /// each noted in pending/.overflow-audit.log. Never the newest file, nor one that a reader holds [default: wait]
    #[arg(long, value_name = "WHAT", help_heading = "How much may wait")]
    on_full: Option<OnFull>,
    /// How records lie in the queue: all of a commit in one file, or each in a file of its own, for programs that read
    /// one record a file [default: batch]
    #[arg(long, value_name = "LAYOUT", help_heading = "Where is it kept")]
    layout: Option<Layout>,
    /// Take a home on a network filesystem, where locks and renames are not to be relied on [default: false]
    #[arg(long, value_name = "YES", num_args = 0..=1, require_equals = true, default_missing_value = "true",
        help_heading = "Where is it kept")]
    allow_network_home: Option<bool>,
}

impl SettingsArgs {
    fn into_layer(self) -> Layer {
        let glob = Some(self.glob).filter(|globs| !globs.is_empty());
        Layer {
            roots: self.roots.into_iter().map(RootSpec::new).map(Given::asked).collect(),
            glob: glob.map(Given::asked),
            from: self.from.map(Given::asked),
            max_files: self.max_files.map(Given::asked),
            source: self.source.map(Given::asked),
            interval: self.interval.map(Given::asked),
            sweep_interval: self.sweep_interval.map(Given::asked),
            commit_interval: self.commit_interval.map(Given::asked),
            max_pending_records: self.max_pending_records.map(Given::asked),
            max_pending_bytes: self.max_pending_bytes.map(Given::asked),
            on_full: self.on_full.map(Given::asked),
            layout: self.layout.map(Given::asked),
            agents: self.agents.map(Given::asked),
            allow_network_home: self.allow_network_home.map(Given::asked),
            ..self.look.into_layer()
        }
    }

    /// What the file and the command line say together.
    pub(super) fn settings(self, common: &Common) -> Result<Settings, Error> {
        common.settings(self.into_layer())
    }
}

/// The scope that is in force.
pub(super) fn scope_in_force(settings: &Settings) -> Result<Scope, Error> {
    Scope::new(std::env::var_os("HOME").as_deref(), &settings.scopes())
}

/// What is excluded.
pub(super) fn exclude_in_force(settings: &Settings) -> Result<Exclude, Error> {
    let home = user_home();
    Exclude::new(&settings.excludes(), home.as_deref().map(OsStr::new))
}

//! `status.json`: what a running watcher says of itself to other processes.

use std::path::Path;
use std::time::Instant;

use serde::Serialize;

use super::engine::{Board, Glance};
use crate::cursors;
use crate::disk::Disk;
use crate::home::{STATUS, STATUS_TMP};
use crate::limits::STATUS_EVERY;
use crate::status::{RootStatus, UnknownPath, WatcherStatus};

/// Writes `status.json` when it would say something new, at most once a second, and at the end.
pub(super) struct StatusFile<'a> {
    disk: &'a dyn Disk,
    last: Option<Instant>,
    text: Vec<u8>,
}

impl<'a> StatusFile<'a> {
    pub(super) fn on(disk: &'a dyn Disk) -> Self {
        Self {
            disk,
            last: None,
            text: Vec::new(),
        }
    }

    fn write(&mut self, status: &impl Serialize) -> std::io::Result<()> {
        let mut text = serde_json::to_vec(status)?;
        text.push(b'\n');
        if text == self.text {
            return Ok(());
        }
        let temporary = Path::new(STATUS_TMP);
        cursors::remove(self.disk, temporary)?;
        self.disk.create(temporary)?.write_at(&text, 0)?;
        self.disk.rename(temporary, Path::new(STATUS))?;
        self.text = text;
        Ok(())
    }
}

impl Board for StatusFile<'_> {
    fn update(&mut self, glance: &Glance<'_>) -> Option<Instant> {
        let is_early = |last: Instant| glance.now.duration_since(last) < STATUS_EVERY;
        if let Some(last) = self.last.filter(|last| !glance.ended && is_early(*last)) {
            return Some(last + STATUS_EVERY);
        }
        self.last = Some(glance.now);
        let overview = glance.source.overview();
        let roots = overview.roots.iter().map(RootStatus::from);
        let status = WatcherStatus {
            pid: std::process::id(),
            roots: roots.collect(),
            backlog_bytes: overview.backlog_bytes + glance.consumer.uncommitted_bytes(),
            queue_full: glance.consumer.queue_full().is_some(),
            queue_full_why: glance.consumer.queue_full().map(str::to_owned),
            at_work: overview.at_work,
            unknown: overview.unknown,
            unknown_first: overview.unknown_first.iter().map(UnknownPath::from).collect(),
            symlinks: overview.symlinks,
            stopped: glance.ended,
        };
        if let Err(error) = self.write(&status) {
            log::debug!("{STATUS} was not written: {error}");
        }
        None
    }
}

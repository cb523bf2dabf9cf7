//! The open batch: what was taken and is not committed yet.

use std::sync::Arc;

use jiff::Timestamp;
use ulid::Ulid;

use super::encoder::Encoder;
use super::entries::{At, settled_entry};
use super::rooms::Rooms;
use super::stretch::Stretch;
use super::text::Text;
use crate::clock::Clock;
use crate::error::Error;
use crate::event::Event;
use crate::limits::{CWD_LINES_MAX, IDLE_ROOM_BYTES};
use crate::pure::cwd::cwd;
use crate::pure::entry::{Captured, Entry};
use crate::pure::fold::Noted;
use crate::pure::identity::Evidence;
use crate::pure::lines::{Line, Lines};
use crate::pure::name::Batch;
use crate::pure::record::{Ending, Envelopes, LogFile, SettledTail, appended_at, path_to_text};
use crate::pure::ulids::Ulids;
use crate::queue::outgoing::Layout;
use crate::source::{Block, LongLine};

/// Records, ledger lines and events of the next commit.
#[derive(Default)]
pub(super) struct OpenBatch {
    pub(super) text: Text,
    pub(super) records: u32,
    pub(super) entries: Vec<Entry>,
    pub(super) events: Vec<Event>,
    /// What files showed of which everything was taken by then.
    pub(super) noted: Vec<Noted>,
    first: Option<Ulid>,
    run: Option<Run>,
    layout: Layout,
}

/// Consecutive lines of one file, being collected.
pub(super) struct Run {
    pub(super) file: Arc<LogFile>,
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) line: Option<u64>,
    pub(super) lines: u64,
    pub(super) blank: u64,
    pub(super) settled: Option<Ulid>,
    pub(super) first: Option<Ulid>,
    pub(super) last: Option<Ulid>,
    pub(super) hasher: blake3::Hasher,
    pub(super) evidence: Option<Evidence>,
    pub(super) mtime: Timestamp,
    /// The working directory: what its first lines said of it, where nobody knows it yet.
    cwd: Option<String>,
    asks_cwd: bool,
    envelopes: Arc<Envelopes>,
}

impl Run {
    pub(super) fn begin(file: &Arc<LogFile>, offset: u64, number: Option<u64>) -> Self {
        Self {
            file: Arc::clone(file),
            from: offset,
            to: offset,
            line: number,
            lines: 0,
            blank: 0,
            settled: None,
            first: None,
            last: None,
            hasher: blake3::Hasher::new(),
            evidence: None,
            mtime: Timestamp::UNIX_EPOCH,
            cwd: None,
            asks_cwd: false,
            envelopes: Arc::new(Envelopes::of(file)),
        }
    }

    /// `more`: records that come with the line, itself one of them, beside those that are counted.
    fn look_for_cwd(&mut self, line: &[u8], more: u64) {
        if self.asks_cwd && self.cwd.is_none() && self.lines + more <= CWD_LINES_MAX {
            self.cwd = cwd(line);
        }
    }

    /// The ledger line of the run; None when it holds nothing. `batch` is the first ULID of its batch.
    pub(super) fn entry(self, batch: Option<Ulid>) -> Option<Entry> {
        let evidence = self.evidence?;
        let (path, path_base64) = path_to_text(&self.file.path);
        Some(Entry::Captured(Captured {
            file_id: self.file.file_id,
            epoch: self.file.epoch,
            session_id: self.file.session_id().into_owned(),
            path,
            path_base64,
            device: self.file.identity.device,
            inode: self.file.identity.inode,
            btime: self.file.identity.btime,
            batch: batch.filter(|_| self.lines > 0),
            first: self.first,
            last: self.last,
            from: self.from,
            to: self.to,
            line: self.line,
            lines: self.lines,
            blank: self.blank,
            settled: self.settled,
            blake3: self.hasher.finalize().to_hex().to_string(),
            head: evidence.head,
            guard: evidence.guard,
            mtime: Some(self.mtime),
            cwd: self.cwd,
        }))
    }
}

/// When lines were accepted; their records and their events say the same.
pub(super) struct Stamp {
    pub(super) at: Timestamp,
    /// As `appended_at`.
    text: Arc<str>,
    unix_ms: u64,
}

impl Stamp {
    pub(super) fn now(clock: &dyn Clock) -> Self {
        let at = clock.utc();
        Self {
            at,
            text: appended_at(at).into(),
            unix_ms: clock.unix_ms(),
        }
    }
}

impl OpenBatch {
    pub(super) fn of(layout: Layout, rooms: Rooms) -> Self {
        Self {
            layout,
            text: Text::new(rooms),
            ..Self::default()
        }
    }

    /// What the ledger calls the batch by; nothing where each record has a file of its own.
    fn named_by(&self) -> Option<Ulid> {
        self.first.filter(|_| self.layout == Layout::Batch)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.run.is_none()
    }

    /// Whether anything of a file is in it.
    pub(super) fn is_about(&self, file_id: Ulid) -> bool {
        let told = self.entries.iter().any(|entry| entry.files().contains(&Some(file_id)));
        told || self.run.as_ref().is_some_and(|run| run.file.file_id == file_id)
    }

    /// The name of the batch; None when there is no record in it.
    pub(super) fn batch(&self) -> Option<Batch> {
        let records = self.records.into();
        self.first.map(|first| Batch { first, records })
    }

    /// Bytes of the logs that it covers.
    pub(super) fn source_bytes(&self) -> u64 {
        let committed = self.entries.iter().map(|entry| match entry {
            Entry::Captured(run) => run.to - run.from,
            _ => 0,
        });
        committed.sum::<u64>() + self.run.as_ref().map_or(0, |run| run.to - run.from)
    }

    /// Whether a line at `offset` goes on with the run.
    pub(super) fn continues(&self, file: &Arc<LogFile>, offset: u64) -> bool {
        let goes_on = |run: &Run| run.to == offset && Arc::ptr_eq(&run.file, file);
        self.run.as_ref().is_some_and(goes_on)
    }

    /// `asks_cwd`: nobody knows yet where the file's session works.
    pub(super) fn begin_run(&mut self, file: &Arc<LogFile>, offset: u64, number: Option<u64>, asks_cwd: bool) {
        self.close_run();
        let mut run = Run::begin(file, offset, number);
        run.asks_cwd = asks_cwd;
        self.run = Some(run);
    }

    /// Adds a line to the run; its record, unless the line is blank.
    pub(super) fn push(&mut self, line: &Line<'_>, stamp: &Stamp, replaces: Option<Ulid>, ulids: &mut Ulids) {
        let Some(run) = &mut self.run else { return };
        run.to = line.end();
        if line.bytes.is_empty() {
            run.blank += 1;
            return;
        }
        let ulid = match run.last {
            Some(_) => ulids.following(),
            None => ulids.fresh(stamp.unix_ms),
        };
        run.first.get_or_insert(ulid);
        run.last = Some(ulid);
        run.lines += 1;
        run.look_for_cwd(line.bytes, 0);
        self.first.get_or_insert(ulid);
        self.records += 1;
        let ending = Ending {
            terminated: true,
            replaces,
        };
        run.envelopes.push(self.text.end(), ulid, &stamp.text, line, ending);
    }

    /// Adds lines of `rest` to the run, as many as the batch may have records; returns how many bytes they take.
    pub(super) fn push_stretch(
        &mut self,
        rest: &mut Lines<'_>,
        stamp: &Stamp,
        records_max: u32,
        ulids: &mut Ulids,
        encoder: &mut Encoder,
    ) -> usize {
        let Some(run) = &mut self.run else { return 0 };
        let (before, mut records, mut blank) = (rest.clone(), 0, 0);
        while records < records_max
            && let Some(line) = rest.next()
        {
            if line.bytes.is_empty() {
                blank += 1;
                continue;
            }
            records += 1;
            run.look_for_cwd(line.bytes, u64::from(records));
        }
        let length = before.bytes.len() - rest.bytes.len();
        (run.to, run.blank) = (rest.offset, run.blank + blank);
        if records > 0 {
            let first = match run.last {
                Some(_) => ulids.following(),
                None => ulids.fresh(stamp.unix_ms),
            };
            run.first.get_or_insert(first);
            run.last = Some(ulids.skip(records - 1));
            run.lines += u64::from(records);
            self.first.get_or_insert(first);
            self.records += records;
            let stretch = Stretch {
                bytes: &before.bytes[..length],
                offset: before.offset,
                number: before.number,
                first,
                records,
                envelopes: Arc::clone(&run.envelopes),
                appended_at: Arc::clone(&stamp.text),
            };
            self.text.push(&stretch, encoder);
        }
        length
    }

    /// Adds a line to the run that was captured before it had its newline.
    pub(super) fn push_known(&mut self, line: &Line<'_>, known: Ulid) {
        if let Some(run) = &mut self.run {
            run.to = line.end();
            run.settled = Some(known);
        }
    }

    /// Adds the record of a line without a newline.
    pub(super) fn push_settled(
        &mut self,
        tail: &dyn LongLine,
        line: &Line<'_>,
        stamp: &Stamp,
        replaces: Option<Ulid>,
        ulids: &mut Ulids,
    ) -> SettledTail {
        self.close_run();
        let ulid = ulids.fresh(stamp.unix_ms);
        self.first.get_or_insert(ulid);
        self.records += 1;
        let ending = Ending {
            terminated: false,
            replaces,
        };
        Envelopes::of(tail.file()).push(self.text.end(), ulid, &stamp.text, line, ending);
        let settled = SettledTail {
            ulid,
            length: line.bytes.len() as u64,
            hash: blake3::hash(line.bytes),
        };
        let entry = settled_entry(tail.file(), &settled, &At::of(tail), self.named_by(), replaces);
        self.entries.push(entry);
        settled
    }

    /// Hashes the bytes `from..to` of the block's lines, which were added line by line.
    pub(super) fn extend_run(&mut self, block: &Block<'_>, from: usize, to: usize) {
        let Some(run) = &mut self.run else { return };
        if from < to {
            run.hasher.update(&block.bytes[block.lead + from..block.lead + to]);
            (run.evidence, run.mtime) = (block.evidence_after(to), block.mtime);
        }
    }

    /// Hashes a line that was added, its newline left out.
    pub(super) fn extend_run_by(&mut self, line: &[u8], evidence: Evidence, mtime: Timestamp) {
        let Some(run) = &mut self.run else { return };
        run.hasher.update(line);
        run.hasher.update(b"\n");
        (run.evidence, run.mtime) = (Some(evidence), mtime);
    }

    pub(super) fn close_run(&mut self) {
        let named_by = self.named_by();
        let entry = self.run.take().and_then(|run| run.entry(named_by));
        self.entries.extend(entry);
    }

    /// Gives back the room that a backlog took. What was added is committed.
    pub(super) fn give_room_back(&mut self) {
        self.text.rest();
        self.entries.shrink_to(IDLE_ROOM_BYTES / size_of::<Entry>());
        self.events.shrink_to(IDLE_ROOM_BYTES / size_of::<Event>());
        self.noted.shrink_to(IDLE_ROOM_BYTES / size_of::<Noted>());
    }

    /// This batch, which could not be committed, with what came after it.
    pub(super) fn joined(mut self, mut next: Self) -> Result<Self, Error> {
        let named_by = self.named_by().or(next.named_by());
        for entry in &mut next.entries {
            match entry {
                Entry::Captured(run) if run.batch.is_some() => run.batch = named_by,
                Entry::Settled(settled) if settled.batch.is_some() => settled.batch = named_by,
                _ => {}
            }
        }
        self.text = self.text.joined(next.text)?;
        self.entries.append(&mut next.entries);
        self.events.append(&mut next.events);
        self.noted.append(&mut next.noted);
        self.records += next.records;
        self.first = self.first.or(next.first);
        self.run = next.run;
        Ok(self)
    }

    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.entries.clear();
        self.events.clear();
        self.noted.clear();
        self.records = 0;
        (self.first, self.run) = (None, None);
    }
}

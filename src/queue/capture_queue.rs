//! The capture queue as a program sees it that appends records, or reads them.

mod room;

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use serde::Serialize;
use ulid::Ulid;

use super::append::{NotAppended, put};
use super::claim::remove_orphans;
use super::depth::{Depth, OnFull, QueueLimits, list};
use super::drain::{DrainReport, HandlerError, Overseer, ingest};
use super::dropper::Dropper;
use super::noting::Noting;
use super::outgoing::Layout;
use super::prune::Pruned;
use super::sharing::Sharing;
use crate::clock::{Clock, SystemClock};
use crate::disk::{Disk, OsDisk, is_full};
use crate::error::{Error, ErrorKind};
use crate::home::{PENDING, pending};
use crate::limits::{APPEND_BATCH_BYTES, BATCH_RECORDS, ENVELOPE_IN_MEMORY_BYTES, SHARED_RECORD_BYTES_MAX};
use crate::provenance::Deliveries;
use crate::pure::name::{Batch, named_by, parse_ulid, single};
use crate::pure::record::{Envelope, appended_at, push_foreign};
use crate::pure::ulids::{Ulids, system_random};

/// How a queue behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueOptions {
    /// When it is full, beside its disk being so.
    pub limits: QueueLimits,
    /// What happens then. With [`OnFull::Wait`] an append fails as [`ErrorKind::QueueFull`], and nothing is dropped.
    pub on_full: OnFull,
    /// Whether appends of several threads that come at the same time may share a batch, which is many times as fast, or
    /// each record has a file of its own, for readers that know no batches.
    pub layout: Layout,
    /// What this program is called where deliveries are written down.
    pub reader: String,
}

impl Default for QueueOptions {
    fn default() -> Self {
        Self {
            limits: QueueLimits::default(),
            on_full: OnFull::default(),
            layout: Layout::default(),
            reader: "ingest".into(),
        }
    }
}

/// A file of the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// Its name in `pending/`.
    pub name: OsString,
    /// The ULID in its name; None when another program chose a name that has none.
    pub first: Option<Ulid>,
    /// Records, by its name.
    pub records: u64,
    /// Bytes.
    pub bytes: u64,
}

/// A capture queue.
///
/// Any number of threads and processes may append and read at once, those of the older one-record-a-file layout
/// among them. What `append` or `append_batch` returned is durable, and is handed out at least once, with the same
/// ULID each time. Within one queue object, ULIDs rise in the order in which they are given out; no order is promised
/// between processes. Every call blocks until the disk is done; none waits for room, nor for a reader.
///
/// After a failed sync the object takes nothing more ([`ErrorKind::Latched`]); open the queue anew when the disk is
/// well. Dropping it waits for the deliveries to be written down, 2 s at most.
pub struct CaptureQueue {
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    options: QueueOptions,
    state: Mutex<State>,
    /// Single appends, each a JSON object.
    sharing: Sharing<Vec<u8>, Result<Ulid, Error>>,
    /// Begun by the first reading.
    deliveries: OnceLock<Option<Deliveries>>,
}

struct State {
    ulids: Ulids,
    /// Counted along; others change it too, so it is listed anew where it matters.
    depth: Depth,
    listed_at: Instant,
    dropper: Dropper,
    latched: bool,
}

impl CaptureQueue {
    /// Opens the queue of a home, and makes both if they are not there.
    pub fn open(home: &Path, options: QueueOptions) -> Result<Self, Error> {
        let disk = Arc::new(OsDisk::create(home)?);
        Self::on(disk, Arc::new(SystemClock), system_random(), options)
    }

    /// Opens the queue on a disk and a clock of the caller's choice; `random` gives the random parts of ULIDs.
    pub fn on(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        random: Box<dyn FnMut() -> u128 + Send>,
        options: QueueOptions,
    ) -> Result<Self, Error> {
        if options.limits.records_max == Some(0) || options.limits.bytes_max == Some(0) {
            let what = "a queue that may hold nothing makes no sense";
            return Err(Error::new(ErrorKind::Usage, what).hint("the limits must be positive"));
        }
        let made = disk
            .create_dir(Path::new(PENDING))
            .and_then(|()| disk.sync_dir(Path::new("")));
        made.map_err(|cause| Error::io("cannot prepare the queue", disk.show(Path::new(PENDING)), cause))?;
        remove_orphans(&*disk)?;
        let state = State {
            ulids: Ulids::above(Ulid::nil(), random),
            depth: list(&*disk)?.depth(),
            listed_at: clock.now(),
            dropper: Dropper::default(),
            latched: false,
        };
        Ok(Self {
            disk,
            clock,
            options,
            state: Mutex::new(state),
            sharing: Sharing::new(),
            deliveries: OnceLock::new(),
        })
    }

    /// Appends one record, which must be a JSON object, and returns its ULID. It has a file of its own, unless other
    /// threads append at the same time and the layout lets them share one.
    ///
    /// Fails as [`ErrorKind::Usage`] for anything else and for more than 8 MiB, as [`ErrorKind::QueueFull`] when
    /// there is no room, as [`ErrorKind::Latched`] after a failed sync. After an error nothing of it is in the
    /// queue, unless the error says otherwise.
    pub fn append(&self, record: &impl Serialize) -> Result<Ulid, Error> {
        let object = object(record)?;
        if self.options.layout == Layout::Record || object.len() > SHARED_RECORD_BYTES_MAX {
            return self.append_alone(object);
        }
        let (mut records, mut bytes) = (1, object.len());
        let takes = |next: &Vec<u8>| {
            (records, bytes) = (records + 1, bytes + next.len());
            records <= BATCH_RECORDS && bytes <= APPEND_BATCH_BYTES
        };
        let result = self.sharing.join(object, takes, |objects| self.append_shared(objects));
        result.unwrap_or_else(|| {
            Err(Error::new(ErrorKind::Failed, "cannot append to the queue")
                .at(self.disk.show(Path::new(PENDING)))
                .because("the thread that wrote for this one panicked")
                .hint("the record may be in the queue, or not"))
        })
    }

    fn append_alone(&self, object: Vec<u8>) -> Result<Ulid, Error> {
        let first = self.ulids(1)?;
        let envelope = self.envelopes(first, &[object])?;
        let name = single(first);
        self.put(first, &name, 1, envelope.strip_suffix(b"\n").unwrap_or(&envelope))?;
        Ok(first)
    }

    /// What came of each of these records.
    fn append_shared(&self, objects: Vec<Vec<u8>>) -> Vec<Result<Ulid, Error>> {
        let alone = |objects: Vec<Vec<u8>>| objects.into_iter().map(|object| self.append_alone(object)).collect();
        if objects.len() == 1 {
            return alone(objects);
        }
        match self.append_objects(&objects) {
            Ok(first) => (0..objects.len() as u128).map(|n| Ok(Ulid(first.0 + n))).collect(),
            Err(error) if error.kind() == ErrorKind::Latched => objects.iter().map(|_| Err(error.copied())).collect(),
            // What is too much for all of them may do for some.
            Err(_) => alone(objects),
        }
    }

    /// Appends a batch; returns its first ULID, which the others follow.
    fn append_objects(&self, objects: &[Vec<u8>]) -> Result<Ulid, Error> {
        let records = objects.len() as u64;
        let first = self.ulids(records)?;
        let envelopes = self.envelopes(first, objects)?;
        self.put(first, &Batch { first, records }.name(), records, &envelopes)?;
        Ok(first)
    }

    /// Appends records, each a JSON object, as one batch, and returns their ULIDs, which are consecutive. All become
    /// visible together, or none does. Programs that know only one record a file do not see a batch.
    ///
    /// At most 8,192 records of 64 MiB together; an empty slice does nothing. Fails as [`CaptureQueue::append`] does.
    pub fn append_batch(&self, records: &[impl Serialize]) -> Result<Vec<Ulid>, Error> {
        if records.is_empty() {
            return Ok(Vec::new());
        }
        let objects: Vec<_> = records.iter().map(object).collect::<Result<_, _>>()?;
        let (count, bytes) = (objects.len() as u64, objects.iter().map(Vec::len).sum::<usize>());
        if count > BATCH_RECORDS.into() || bytes > APPEND_BATCH_BYTES {
            return Err(Error::new(ErrorKind::Usage, "the batch is too large")
                .because(format!("it has {count} records of {bytes} bytes"))
                .hint("append at most 8192 records of 64 MiB together at a time"));
        }
        let first = self.append_objects(&objects)?;
        Ok((0..count).map(|n| Ulid(first.0 + u128::from(n))).collect())
    }

    /// Calls `handler` with each envelope that is pending now, oldest first; what it takes is removed, and who took
    /// it is written down in `provenance/deliveries.jsonl`, off the path of this call. See [`ingest`].
    pub fn ingest_pending(
        &self,
        mut handler: impl FnMut(&Envelope<'_>) -> Result<(), HandlerError>,
    ) -> Result<DrainReport, Error> {
        let deliveries = self.deliveries.get_or_init(|| {
            let opened = Deliveries::open(Arc::clone(&self.disk));
            opened
                .inspect_err(
                    |error| log::warn!(code = "provenance.refused"; "deliveries are not written down: {error}"),
                )
                .ok()
        });
        match deliveries {
            Some(deliveries) => {
                let (reader, clock) = (self.options.reader.as_str(), &*self.clock);
                self.ingest_watched(
                    &mut handler,
                    &mut Noting {
                        deliveries,
                        reader,
                        clock,
                    },
                )
            }
            None => self.ingest_watched(&mut handler, &mut ()),
        }
    }

    /// As [`CaptureQueue::ingest_pending`], with an overseer of the caller's own in the place of the deliveries.
    pub fn ingest_watched(
        &self,
        handler: &mut dyn FnMut(&Envelope<'_>) -> Result<(), HandlerError>,
        overseer: &mut dyn Overseer,
    ) -> Result<DrainReport, Error> {
        ingest(&*self.disk, handler, overseer)
    }

    /// What is pending now, oldest first.
    pub fn list_pending(&self) -> Result<Vec<Pending>, Error> {
        let files = list(&*self.disk)?.files.into_iter();
        let pending = files.map(|(name, (kind, meta))| Pending {
            first: named_by(&name).and_then(|text| parse_ulid(&text)),
            records: kind.readable_records().unwrap_or(0),
            bytes: meta.size,
            name,
        });
        Ok(pending.collect())
    }

    /// How many records are pending now, by the names of their files.
    pub fn pending_count(&self) -> Result<u64, Error> {
        Ok(list(&*self.disk)?.depth().records)
    }

    /// Drops the oldest files until at most `target` records are pending, each record noted in
    /// `.overflow-audit.log` first. The newest file stays, and so does whatever a reader holds.
    pub fn prune_oldest(&self, target: u64) -> Result<Pruned, Error> {
        let mut state = self.state();
        let excess = |depth: Depth| depth.records.saturating_sub(target);
        let pruned = state.dropper.drop_oldest(&*self.disk, &*self.clock, None, &excess)?;
        self.pruned(&mut state, &pruned);
        Ok(pruned)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Consecutive ULIDs, if there is room for their records; the first one.
    fn ulids(&self, count: u64) -> Result<Ulid, Error> {
        let mut state = self.state();
        if state.latched {
            return Err(
                Error::new(ErrorKind::Latched, "the queue takes nothing after a failed write")
                    .at(self.disk.show(Path::new(PENDING)))
                    .hint("open it anew when the disk is well"),
            );
        }
        self.look_for_room(&mut state, count)?;
        let first = state.ulids.fresh(self.clock.unix_ms());
        for _ in 1..count {
            state.ulids.following();
        }
        Ok(first)
    }

    /// The envelopes, a line each.
    fn envelopes(&self, first: Ulid, objects: &[Vec<u8>]) -> Result<Vec<u8>, Error> {
        let at = appended_at(self.clock.utc());
        let mut out = Vec::with_capacity(objects.iter().map(|object| object.len() + 120).sum());
        for (n, object) in (0..).zip(objects) {
            let start = out.len();
            push_foreign(&mut out, Ulid(first.0 + n), &at, object);
            if out.len() - start > ENVELOPE_IN_MEMORY_BYTES {
                return Err(Error::new(ErrorKind::Usage, "the record is too large")
                    .because(format!("its envelope has {} bytes", out.len() - start))
                    .hint("a record may have 8 MiB with its envelope"));
            }
        }
        Ok(out)
    }

    /// Puts a file into the queue, and makes room behind it if that is wanted.
    fn put(&self, first: Ulid, name: &str, records: u64, bytes: &[u8]) -> Result<(), Error> {
        // A record that is being written has this name in the older layout too; the watcher's start leaves it alone.
        let temporary = single(first) + ".tmp";
        let mut done = put(&*self.disk, &temporary, name, bytes);
        if let (Err(NotAppended::Clean(cause)), OnFull::DropOldest) = (&done, self.options.on_full)
            && is_full(cause)
        {
            self.drop_for_disk(&mut self.state(), true)?;
            done = put(&*self.disk, &temporary, name, bytes);
        }
        let mut state = self.state();
        match done {
            Ok(()) => {
                state.depth.add(records, bytes.len() as u64);
                state.dropper.written();
                self.drop_excess(&mut state, OsStr::new(name));
                Ok(())
            }
            Err(NotAppended::Clean(cause)) if is_full(&cause) => Err(self.full(cause)),
            Err(NotAppended::Clean(cause)) => Err(Error::io("cannot append to the queue", self.show(name), cause)),
            Err(NotAppended::Final(cause)) => {
                state.latched = true;
                Err(Error::new(ErrorKind::Latched, "cannot append to the queue")
                    .at(self.show(name))
                    .because(cause)
                    .hint("open the queue anew when the disk is well"))
            }
        }
    }

    fn show(&self, name: &str) -> std::path::PathBuf {
        self.disk.show(&pending(name))
    }
}

/// A record as compact JSON; anything but an object is refused.
fn object(record: &impl Serialize) -> Result<Vec<u8>, Error> {
    let refused = |why: HandlerError| {
        Error::new(ErrorKind::Usage, "a record must be a JSON object")
            .because(why)
            .hint("nothing was appended")
    };
    let json = serde_json::to_vec(record).map_err(|error| refused(error.into()))?;
    match json.first() {
        Some(b'{') => Ok(json),
        _ => Err(refused("it is something else".into())),
    }
}

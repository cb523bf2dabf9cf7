//! What a ledger line says of a file, in words.

use ulid::Ulid;

use crate::pure::entry::Entry;
use crate::pure::step::Reason;

/// What a ledger line says of a file.
pub(super) fn what(entry: &Entry, id: Ulid) -> String {
    let offset = |offset: Option<u64>| offset.map_or("unknown".into(), |offset: u64| offset.to_string());
    match entry {
        Entry::New(new) => match new.continues {
            Some(at) => format!("it goes on at {} from byte {at}", new.path),
            None => format!("it begins at {}", new.path),
        },
        Entry::Rotate(rotate) if rotate.file_id != id => {
            format!("another file stands at {}", rotate.path)
        }
        Entry::Rotate(rotate) => match rotate.continues {
            Some(at) => format!(
                "another inode at {} repeats it, and goes on from byte {at}",
                rotate.path
            ),
            None => format!("it begins at {}, in place of another file", rotate.path),
        },
        Entry::Truncate(cut) => {
            let why = match cut.reason {
                Reason::Shrank => "it shrank",
                Reason::Rewritten => "it was rewritten",
            };
            let from = cut.kept_from.map(|from| format!(" and all from {from}"));
            let kept = format!("the first {} bytes{} still stand", cut.kept, from.unwrap_or_default());
            format!("{why} below byte {}: {kept}", cut.was)
        }
        Entry::Delete(delete) => format!("{} is empty; {} bytes were captured", delete.path, delete.offset),
        Entry::Closed(closed) => {
            let unread = offset(closed.unread);
            format!(
                "following it ended at byte {}; bytes never read: {unread}",
                closed.offset
            )
        }
        Entry::Linked(linked) => format!("{} shows it too", linked.path),
        Entry::Skipped(skipped) => format!("its first {} bytes were left out", skipped.offset),
        Entry::Settled(settled) => format!(
            "its last line, at byte {}, was captured without its newline as {}",
            settled.offset, settled.ulid
        ),
        Entry::Captured(run) if run.settled.is_some() => {
            format!("the last line got its newline: bytes {} to {}", run.from, run.to)
        }
        Entry::Captured(run) => format!("other bytes were captured there: {} to {}", run.from, run.to),
        Entry::Root(root) => format!("a first pass over {}", root.path),
        Entry::Dropped(dropped) => format!("{} and what follows it were dropped from the queue", dropped.first),
        Entry::Compacted(compacted) => format!("{} took in other batches of the queue", compacted.target),
    }
}

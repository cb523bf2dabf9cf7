//! Asking about many names of one directory by two threads: a system call for each takes most of the time of a start.

use std::ffi::OsStr;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread::Builder;

use super::{EachStat, Stat};
use crate::cores;
use crate::limits::{STATS_AT_ONCE, STATS_BY_TWO_FROM};

/// What was found of the names from a place on.
type Piece = (usize, Vec<io::Result<Stat>>);

/// Calls `each` for each name with what `stat` says, which two threads ask, a piece of the names at a time.
pub(super) fn by_two(names: &[&OsStr], stat: &(dyn Fn(&OsStr) -> io::Result<Stat> + Sync), each: &mut EachStat<'_>) {
    // The place of the first name that nobody has begun with.
    let next = AtomicUsize::new(0);
    let ask = || -> Option<Piece> {
        let begin = next.fetch_add(STATS_AT_ONCE, Ordering::Relaxed);
        let piece = names.get(begin..names.len().min(begin + STATS_AT_ONCE))?;
        (!piece.is_empty()).then(|| (begin, piece.iter().map(|name| stat(name)).collect()))
    };
    let ask = &ask;
    std::thread::scope(|scope| {
        let (found, theirs) = channel::<Piece>();
        // Whoever tells takes all that is found.
        let help = move || while ask().is_some_and(|piece| found.send(piece).is_ok()) {};
        if names.len() >= STATS_BY_TWO_FROM && cores::has_second() {
            // Without it all is asked here.
            let _ = Builder::new().name("stat".into()).spawn_scoped(scope, help);
        } else {
            drop(help);
        }
        let mut tell = |(begin, all): Piece| {
            for (place, one) in (begin..).zip(all) {
                each(place, one);
            }
        };
        while let Some(ours) = ask() {
            tell(ours);
            theirs.try_iter().for_each(&mut tell);
        }
        theirs.into_iter().for_each(tell);
    });
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    #[test]
    fn each_name_is_asked_once_and_told_at_its_place() {
        for count in [0, 1, STATS_AT_ONCE, STATS_BY_TWO_FROM, 10 * STATS_BY_TWO_FROM + 7] {
            let names: Vec<OsString> = (0..count).map(|number| number.to_string().into()).collect();
            let names: Vec<&OsStr> = names.iter().map(OsString::as_os_str).collect();
            let asked = AtomicUsize::new(0);
            let stat = |name: &OsStr| {
                asked.fetch_add(1, Ordering::Relaxed);
                Err(io::Error::other(name.to_str().unwrap()))
            };
            let mut told = vec![0; count];
            by_two(&names, &stat, &mut |place, found| {
                assert_eq!(found.unwrap_err().to_string(), place.to_string());
                told[place] += 1;
            });
            assert_eq!(told, vec![1; count]);
            assert_eq!(asked.into_inner(), count);
        }
    }
}

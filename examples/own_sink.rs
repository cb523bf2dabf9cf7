//! Takes the lines of the logs below a directory without a home: `cargo run --example own_sink -- LOGS`. Without LOGS
//! it takes those of the known agents.
//!
//! Nothing is kept: the next run reads everything again. A line is taken when the sink says so, and one that it
//! refuses is offered again; here the sink takes a rest after every hundredth line.

#![allow(clippy::print_stdout, reason = "an example may talk")]

use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tailspool::Watcher;
use tailspool::event::{Detail, Event};
use tailspool::source::Verdict;
use tailspool::watcher::each_event;

/// Lines and bytes of one session.
type Figures = (u64, u64);

fn main() -> Result<(), Box<dyn Error>> {
    let logs = std::env::args_os().nth(1).map(PathBuf::from);
    let sessions = Arc::new(Mutex::new(BTreeMap::<String, Figures>::new()));

    let into = Arc::clone(&sessions);
    let mut until_rest = 100;
    let sink = each_event(move |event: Event| {
        if until_rest == 0 {
            until_rest = 100;
            return Ok(Verdict::Refused);
        }
        if let Detail::Append { length, .. } = event.detail {
            until_rest -= 1;
            let mut sessions = into.lock().unwrap_or_else(PoisonError::into_inner);
            let (lines, bytes) = sessions.entry(event.session_id).or_default();
            *lines += 1;
            *bytes += length;
        }
        Ok(Verdict::Taken)
    });
    let watcher = match logs {
        Some(logs) => Watcher::builder().scope(&logs).root(logs),
        None => Watcher::builder().known_agents(),
    };
    let watcher = watcher.sink(sink).once(true).spawn()?;
    let outcome = watcher.wait()?;

    for (session, (lines, bytes)) in &*sessions.lock().unwrap_or_else(PoisonError::into_inner) {
        println!("{}: {lines} lines, {bytes} bytes", session.escape_debug());
    }
    println!("{} lines in all", outcome.captured.lines);
    Ok(())
}

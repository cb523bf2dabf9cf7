//! Captures the logs below a directory into a home, as a program that embeds the library does it:
//! `cargo run --example embed -- LOGS [HOME]`. Without HOME it takes a temporary one.
//!
//! Prints each event as a JSON line, and ends when everything that was there is captured.

#![allow(clippy::print_stdout, reason = "an example may talk")]

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use crossbeam_channel::RecvTimeoutError;
use tailspool::Watcher;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let logs = arguments.next().ok_or("usage: embed LOGS [HOME]")?;
    let temporary = tempfile::tempdir()?;
    let home = arguments.next().unwrap_or_else(|| temporary.path().join("home"));

    let watcher = Watcher::builder()
        // Whoever embeds the library says what may be opened: here, the directory itself.
        .scope(&logs)
        .root(logs)
        .home(home)
        .events(1024)
        .spawn()?;
    let events = watcher.events();
    loop {
        match events.recv_timeout(Duration::from_millis(50)) {
            Ok(event) => println!("{}", serde_json::to_string(&event)?),
            // A program of more use would go on until it is closed.
            Err(RecvTimeoutError::Timeout) if watcher.status().caught_up => break,
            Err(RecvTimeoutError::Timeout) => {}
            // An error has ended it; `stop` says which.
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    let outcome = watcher.stop()?;
    println!(
        "{} lines of {} files captured",
        outcome.captured.lines,
        outcome.captured.files.len()
    );
    Ok(())
}

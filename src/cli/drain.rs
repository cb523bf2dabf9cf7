//! `tailspool drain`.

use std::io::{self, BufWriter, StdoutLock, Write};

use super::{Common, Exit, print_error};
use crate::disk::sync_output;
use crate::error::Error;
use crate::limits::PIECE_BYTES;
use crate::queue::drain::{DrainOptions, Format, Output, drain};

/// Options of `drain`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// What to print of each record
    #[arg(long, value_enum, default_value = "envelope")]
    format: Format,
    /// Hand out this many records at most [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max: Option<u64>,
    /// Print the same, but leave everything in the queue
    #[arg(long)]
    peek: bool,
}

struct Stdout(BufWriter<StdoutLock<'static>>);

impl Output for Stdout {
    fn writer(&mut self) -> &mut dyn Write {
        &mut self.0
    }

    fn settle(&mut self) -> io::Result<()> {
        self.0.flush()?;
        // Standard output has a buffer of its own below ours.
        self.0.get_mut().flush()?;
        sync_output(self.0.get_ref())
    }
}

/// Drains.
pub(super) fn run(common: &Common, args: &Args) -> Result<Exit, Error> {
    let Some(disk) = common.existing_home()? else {
        return Ok(Exit::Well);
    };
    let options = DrainOptions {
        format: args.format,
        records_max: args.max.unwrap_or(u64::MAX),
        peek: args.peek,
    };
    let mut output = Stdout(BufWriter::with_capacity(PIECE_BYTES, io::stdout().lock()));
    let report = drain(&disk, options, &mut output)?;
    log::info!(
        "{} records handed out, {} batches held by others",
        report.records,
        report.held
    );
    // What could not be written is with nobody, and is still in the queue.
    let (_, _unwritten) = output.0.into_parts();
    for failure in &report.failures {
        print_error(failure);
    }
    Ok(if report.failures.is_empty() {
        Exit::Well
    } else {
        Exit::Failed
    })
}

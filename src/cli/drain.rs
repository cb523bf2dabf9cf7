//! `tailspool drain`.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::sync::Arc;
use std::time::Duration;

use clap::ValueHint;
use rustix::fs::{OFlags, fcntl_getfl};

use super::watch::signals;
use super::{Common, Exit, talk};
use crate::clock::SystemClock;
use crate::disk::{Disk, OsDisk, sync_output};
use crate::error::{Error, ErrorKind};
use crate::limits::{PIECE_BYTES, READER_CHARS_MAX};
use crate::provenance::Deliveries;
use crate::queue::drain::{DrainOptions, DrainReport, Format, Output, Securing, drain};
use crate::queue::exec::Exec;
use crate::queue::follow::{Following, follow};
use crate::queue::news::HomeNews;
use crate::queue::noting::Noting;

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
    /// Instead of printing, run CMD with sh, once a batch, with the batch on its standard input. Exit 0 removes the
    /// batch from the queue; anything else leaves it there
    #[arg(long, value_name = "CMD", conflicts_with = "peek", value_hint = ValueHint::CommandString)]
    exec: Option<String>,
    /// Go on as records come, until Ctrl-C or SIGTERM. A batch that fails is tried again after 60, 120, and then
    /// always 240 s
    #[arg(long, conflicts_with = "peek")]
    follow: bool,
}

/// Standard output as the file it is: `std::io::Stdout` takes EBADF for success, and what went there would
/// be acknowledged and lost.
struct Stdout {
    writer: BufWriter<File>,
    is_file: bool,
}

impl Stdout {
    fn open() -> Result<Self, Error> {
        let failed = |cause: io::Error| {
            Error::new(ErrorKind::Failed, "cannot write to standard output")
                .because(cause)
                .hint("nothing was drained; send the output to a file or a pipe, or to >/dev/null to throw the records away")
        };
        let output = io::stdout().as_fd().try_clone_to_owned().map_err(failed)?;
        if is_stand_in(&output).map_err(failed)? {
            return Err(failed(io::Error::other(
                "it is closed, or is /dev/null opened for reading and writing, which looks the same",
            )));
        }
        let output = File::from(output);
        let is_file = output.metadata().map_err(failed)?.is_file();
        Ok(Self {
            writer: BufWriter::with_capacity(PIECE_BYTES, output),
            is_file,
        })
    }
}

/// Whether this is the `/dev/null` that Rust's runtime puts in the place of a closed standard output. It opens
/// it for reading and writing, where a shell's `>/dev/null`, which is meant, opens it for writing only.
fn is_stand_in(output: &OwnedFd) -> io::Result<bool> {
    let null = match std::fs::metadata("/dev/null") {
        Ok(null) => null.rdev(),
        Err(_) => return Ok(false),
    };
    let found = File::from(output.try_clone()?).metadata()?;
    let both = fcntl_getfl(output)? & OFlags::ACCMODE == OFlags::RDWR;
    Ok(both && found.file_type().is_char_device() && found.rdev() == null)
}

impl Output for Stdout {
    fn writer(&mut self) -> &mut dyn Write {
        &mut self.writer
    }

    fn settle(&mut self) -> io::Result<()> {
        self.writer.flush()
    }

    fn needs_securing(&self) -> bool {
        self.is_file
    }

    fn secure(&mut self) -> io::Result<()> {
        sync_output(self.writer.get_ref())
    }

    fn securing(&self) -> Option<Securing> {
        let output = self.writer.get_ref().try_clone().ok()?;
        Some(Box::new(move || sync_output(output)))
    }
}

/// Who gets the records.
enum Destination {
    Stdout(Stdout),
    Exec(Exec),
}

fn no_temporary_file(cause: io::Error) -> Error {
    Error::io("cannot make a temporary file in", std::env::temp_dir(), cause)
        .hint("a batch is written there before the command gets it; name another directory with TMPDIR")
}

impl Destination {
    fn open(args: &Args) -> Result<Self, Error> {
        Ok(match &args.exec {
            Some(command) => Self::Exec(Exec::new(command).map_err(no_temporary_file)?),
            None => Self::Stdout(Stdout::open()?),
        })
    }

    fn get(&mut self) -> &mut dyn Output {
        match self {
            Self::Stdout(output) => output,
            Self::Exec(output) => output,
        }
    }

    /// What could not be written is with nobody, and is still in the queue: it is thrown away.
    fn close(self) {
        if let Self::Stdout(output) = self {
            drop(output.writer.into_parts());
        }
    }
}

/// Drains, and writes down who got what.
fn noted(
    home: &Arc<OsDisk>,
    args: &Args,
    options: DrainOptions,
    output: &mut dyn Output,
) -> Result<DrainReport, Error> {
    let failed = |cause| Error::new(ErrorKind::Failed, "cannot start a thread").because(cause);
    let deliveries = Deliveries::open(Arc::<OsDisk>::clone(home)).map_err(failed)?;
    let reader = match &args.exec {
        Some(command) => format!("exec: {}", command.chars().take(READER_CHARS_MAX).collect::<String>()),
        None => "stdout".into(),
    };
    let mut overseer = Noting {
        deliveries: &deliveries,
        reader: &reader,
        clock: &SystemClock,
    };
    if !args.follow {
        let report = drain(&**home, options, output, &mut overseer)?;
        if report.records == 0 {
            // What earlier drains left to be written down is not waited for.
            let _ = deliveries.stop(Duration::ZERO);
        }
        return Ok(report);
    }
    let mut news = HomeNews::new(home, signals()?);
    let mut following = Following {
        output,
        overseer: &mut overseer,
        news: &mut news,
        tell: &mut talk::error,
    };
    let report = follow(&**home, &SystemClock, options, &mut following)?;
    if news.is_lost() {
        return Err(Error::new(ErrorKind::Failed, "the home was removed or replaced:")
            .at(home.show("".as_ref()))
            .hint("start again; nothing of what is there now was read"));
    }
    Ok(report)
}

/// Drains.
pub(super) fn run(common: &Common, args: &Args) -> Result<Exit, Error> {
    let home = Arc::new(if args.follow {
        // What will be captured there some day is waited for.
        OsDisk::create(&common.home()?)?
    } else if let Some(disk) = common.existing_home()? {
        disk
    } else {
        return Ok(Exit::Well);
    });
    let options = DrainOptions {
        format: args.format,
        records_max: args.max.unwrap_or(u64::MAX),
        peek: args.peek,
    };
    let mut output = Destination::open(args)?;
    let report = if args.peek {
        drain(&*home, options, output.get(), &mut ())?
    } else {
        noted(&home, args, options, output.get())?
    };
    log::info!(
        "{} records handed out, {} batches held by others",
        report.records,
        report.held
    );
    output.close();
    if !args.follow && report.records == 0 && report.held == 0 && report.failures.is_empty() && !report.stopped {
        common.say(format_args!("nothing is waiting"));
    }
    for failure in &report.failures {
        talk::error(failure);
    }
    Ok(if report.failures.is_empty() && !report.broken {
        Exit::Well
    } else {
        Exit::Failed
    })
}

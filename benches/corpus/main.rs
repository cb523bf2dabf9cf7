//! Makes a corpus of session logs, and checks what was captured of one.
//!
//!     corpus --out DIR --mebibytes 1024 --seed 1
//!     corpus --check DIR.manifest.jsonl --home HOME
//!     tailspool drain --peek --format envelope | corpus --check DIR.manifest.jsonl

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example may talk")]

#[path = "mod.rs"]
mod corpus;

use std::error::Error;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use corpus::check::Check;
use corpus::make::{make, manifest_path};
use corpus::manifest::Manifest;

/// Makes a corpus of session logs, the same from the same arguments, with a manifest beside it; or compares what was
/// captured of one with its manifest.
#[derive(Parser)]
struct Options {
    /// Where the corpus is made; must not exist
    #[arg(long, value_name = "DIR", required_unless_present_any = ["check", "short_lines"])]
    out: Option<PathBuf>,
    /// Size of the corpus in MiB; no file is larger than a quarter of it
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u64).range(4..=1 << 20))]
    mebibytes: u64,
    /// The same seed gives the same bytes
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Writes no corpus, but one log of lines of 15 bytes
    #[arg(long, value_name = "FILE", conflicts_with = "out")]
    short_lines: Option<PathBuf>,
    /// Compares with this manifest; exits 1 unless every line was captured once, as it is, in order
    #[arg(long, value_name = "MANIFEST", conflicts_with_all = ["out", "short_lines"])]
    check: Option<PathBuf>,
    /// The home whose queue is compared; default envelopes on standard input
    #[arg(long, value_name = "DIR", requires = "check")]
    home: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<bool, Box<dyn Error>> {
    if let Some(manifest) = &options.check {
        return check(manifest, options.home.as_deref());
    }
    if let Some(path) = &options.short_lines {
        println!("{}", short_lines(path, options.mebibytes)?);
    } else if let Some(out) = &options.out {
        let manifest = make(out, options.mebibytes, options.seed)?;
        manifest.save(&manifest_path(out))?;
        println!("{}", serde_json::to_string(&manifest.about)?);
    }
    Ok(true)
}

fn check(path: &Path, home: Option<&Path>) -> Result<bool, Box<dyn Error>> {
    let manifest = Manifest::load(path)?;
    let name = path.to_str().and_then(|name| name.strip_suffix(".manifest.jsonl"));
    let root = name.ok_or("the manifest is DIR.manifest.jsonl, beside the corpus DIR")?;
    let mut check = Check::new(&manifest, std::fs::canonicalize(root)?);
    match home {
        Some(home) => check.home(home)?,
        None => check.envelopes(&mut io::stdin().lock())?,
    }
    let verdict = check.finish();
    println!("{}", serde_json::to_string(&verdict)?);
    Ok(verdict.is_good())
}

/// Numbered lines of 15 bytes with their newlines; returns how many.
fn short_lines(path: &Path, mebibytes: u64) -> io::Result<u64> {
    let count = (mebibytes << 20) / 15;
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
    for number in 0..count {
        writeln!(out, "{{\"n\":{:08}}}", 10_000_000 + number % 90_000_000)?;
    }
    out.flush()?;
    Ok(count)
}

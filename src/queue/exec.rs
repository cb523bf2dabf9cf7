//! A command as the reader: each batch on the standard input of one run of it, and its exit code is the answer.

use std::fs::File;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::process::{Command, ExitStatus};

use super::drain::Output;
use crate::limits::PIECE_BYTES;

/// Runs `sh -c COMMAND` once a batch. Exit 0 acknowledges it, whether or not the command read all of its input.
///
/// The batch is written into a temporary file without a name first, which is then the standard input. So a command
/// that does not read, or leaves its input to a child, holds nothing up, and one that runs on when we are killed has
/// the whole batch and not the beginning of it.
pub struct Exec {
    command: String,
    input: BufWriter<File>,
}

impl Exec {
    /// Runs this. Fails when no temporary file can be made.
    pub fn new(command: impl Into<String>) -> io::Result<Self> {
        Ok(Self {
            command: command.into(),
            input: fresh()?,
        })
    }
}

fn fresh() -> io::Result<BufWriter<File>> {
    Ok(BufWriter::with_capacity(PIECE_BYTES, tempfile::tempfile()?))
}

impl Output for Exec {
    fn begin(&mut self) -> io::Result<()> {
        // The last command may have children that read the last file still.
        let (_, _unwritten) = std::mem::replace(&mut self.input, fresh()?).into_parts();
        Ok(())
    }

    fn writer(&mut self) -> &mut dyn Write {
        &mut self.input
    }

    fn settle(&mut self) -> io::Result<()> {
        self.input.flush()?;
        let mut file = self.input.get_ref().try_clone()?;
        file.seek(SeekFrom::Start(0))?;
        let status = Command::new("sh").arg("-c").arg(&self.command).stdin(file).status()?;
        if status.success() { Ok(()) } else { Err(failed(status)) }
    }

    fn operation(&self) -> &'static str {
        "the command did not take the batch"
    }

    fn broke_off(&mut self) -> bool {
        true
    }
}

fn failed(status: ExitStatus) -> io::Error {
    // It says `exit status: 1` or `signal: 9 (SIGKILL)`.
    io::Error::other(format!("the command ended with {status}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(command: &str, bytes: &[u8]) -> io::Result<()> {
        let mut exec = Exec::new(command)?;
        exec.begin()?;
        exec.writer().write_all(bytes)?;
        exec.settle()
    }

    #[test]
    fn the_exit_code_decides_and_not_how_much_was_read() {
        let large = vec![b'x'; 4 * 1024 * 1024];
        run("test $(wc -c) = 4194304", &large).unwrap();
        run("exec <&-; exit 0", &large).unwrap();
        run("head -c 1 >/dev/null", &large).unwrap();
        // A child that holds the input and does not read it holds nothing up.
        run("exec 3<&0; sleep 60 <&3 & exit 0", &large).unwrap();
        for (command, says) in [
            ("cat >/dev/null; exit 3", "exit status: 3"),
            ("exec <&-; exit 7", "exit status: 7"),
            ("kill -9 $$", "signal: 9"),
        ] {
            let error = run(command, &large).unwrap_err().to_string();
            assert!(error.contains(says), "{command}: {error}");
        }
    }

    #[test]
    fn a_command_never_sees_half_a_batch_nor_the_one_before() {
        let temp = tempfile::tempdir().unwrap();
        let out = temp.path().join("out");
        let mut exec = Exec::new(format!("cat >> {}", out.display())).unwrap();
        for (batch, whole) in [("a long one\n", true), ("half", false), ("last\n", true)] {
            exec.begin().unwrap();
            exec.writer().write_all(batch.as_bytes()).unwrap();
            if whole {
                exec.settle().unwrap();
            } else {
                assert!(exec.broke_off(), "the next batch can be tried");
            }
        }
        assert_eq!(std::fs::read_to_string(out).unwrap(), "a long one\nlast\n");
    }
}

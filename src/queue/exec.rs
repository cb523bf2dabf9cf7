//! A command as the reader: each batch on the standard input of one run of it, and its exit code is the answer.

use std::io::{self, BufWriter, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};

use super::drain::Output;
use crate::limits::PIECE_BYTES;

/// Runs `sh -c COMMAND` once a batch. Exit 0 acknowledges it, whether or not the command read all of its input.
pub struct Exec {
    command: String,
    child: Option<Child>,
    input: Input,
}

impl Exec {
    /// Runs this.
    pub fn new(command: impl Into<String>) -> Self {
        Self {
            command: command.into(),
            child: None,
            input: Input(None),
        }
    }
}

impl Output for Exec {
    fn begin(&mut self) -> io::Result<()> {
        let mut shell = Command::new("sh");
        let mut child = shell.arg("-c").arg(&self.command).stdin(Stdio::piped()).spawn()?;
        let pipe = child.stdin.take();
        self.input = Input(pipe.map(|pipe| BufWriter::with_capacity(PIECE_BYTES, pipe)));
        self.child = Some(child);
        Ok(())
    }

    fn writer(&mut self) -> &mut dyn Write {
        &mut self.input
    }

    fn settle(&mut self) -> io::Result<()> {
        self.input.flush()?;
        // The end of its input; until then it may wait for more.
        self.input = Input(None);
        let Some(mut child) = self.child.take() else {
            return Err(io::Error::other("the command does not run"));
        };
        let status = child.wait()?;
        if status.success() { Ok(()) } else { Err(failed(status)) }
    }

    fn operation(&self) -> &'static str {
        "the command did not take the batch"
    }

    fn broke_off(&mut self) -> bool {
        // What it was given ends in the middle of a record: it must not take that for the whole.
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        self.input = Input(None);
        true
    }
}

impl Drop for Exec {
    fn drop(&mut self) {
        self.broke_off();
    }
}

fn failed(status: ExitStatus) -> io::Error {
    // It says `exit status: 1` or `signal: 9 (SIGKILL)`.
    io::Error::other(format!("the command ended with {status}"))
}

/// The pipe to the command; None once it takes no more.
struct Input(Option<BufWriter<ChildStdin>>);

impl Input {
    /// A command that has closed its input decides with its exit code.
    fn or_closed<T>(&mut self, result: io::Result<T>, closed: T) -> io::Result<T> {
        match result {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                // What is buffered would be written once more when it is dropped.
                if let Some(writer) = self.0.take() {
                    drop(writer.into_parts());
                }
                Ok(closed)
            }
            other => other,
        }
    }
}

impl Write for Input {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.0.as_mut().map_or(Ok(bytes.len()), |pipe| pipe.write(bytes));
        self.or_closed(written, bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.0.as_mut().map_or(Ok(()), Write::flush);
        self.or_closed(flushed, ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(command: &str, bytes: &[u8]) -> io::Result<()> {
        let mut exec = Exec::new(command);
        exec.begin()?;
        exec.writer().write_all(bytes)?;
        exec.settle()
    }

    #[test]
    fn the_exit_code_decides_and_not_how_much_was_read() {
        let large = vec![b'x'; 4 * 1024 * 1024];
        run("cat >/dev/null", &large).unwrap();
        run("exec <&-; exit 0", &large).unwrap();
        run("head -c 1 >/dev/null", &large).unwrap();
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
    fn a_command_that_was_given_half_a_batch_is_killed() {
        let temp = tempfile::tempdir().unwrap();
        let end = temp.path().join("end");
        let mut exec = Exec::new(format!("cat >/dev/null; touch {}", end.display()));
        exec.begin().unwrap();
        exec.writer().write_all(b"half").unwrap();
        assert!(exec.broke_off(), "the next batch can be tried");
        assert!(!end.exists());
    }
}

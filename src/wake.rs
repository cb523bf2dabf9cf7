//! Asking a thread to stop, and the one wait of that thread: for being asked, for descriptors, and for the time.
//!
//! It is a descriptor rather than a channel, so that one `poll` waits for it beside what the kernel has to tell.

use std::io::{self, PipeReader, PipeWriter, Write, pipe};
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::limits::{TIME_MAX, WAIT_AGAIN};

/// Makes the two ends: one to ask a thread to stop, one for that thread to wait on.
pub fn stop_pair() -> io::Result<(Stopper, StopSignal)> {
    let (reader, writer) = pipe()?;
    let stopped = Arc::new(AtomicBool::new(false));
    let asking = Asking {
        stopped: Arc::clone(&stopped),
        writer,
    };
    Ok((Stopper(Arc::new(asking)), StopSignal { stopped, reader }))
}

/// Asks a thread to stop. Dropping the last clone asks too: nobody is left who could.
#[derive(Debug, Clone)]
pub struct Stopper(Arc<Asking>);

impl Stopper {
    /// Asks. What was asked once stays so; it never blocks.
    pub fn stop(&self) {
        self.0.stop();
    }
}

#[derive(Debug)]
struct Asking {
    stopped: Arc<AtomicBool>,
    writer: PipeWriter,
}

impl Asking {
    fn stop(&self) {
        // One byte in all: there is always room for it. Nobody reads it, so that the wait ends from now on.
        if !self.stopped.swap(true, Ordering::SeqCst) {
            // It fails when the other end is gone, and then nobody waits.
            let _ = (&self.writer).write_all(b"!");
        }
    }
}

impl Drop for Asking {
    /// The byte, and not the closing alone: a process that is just being started may still hold the pipe.
    fn drop(&mut self) {
        self.stop();
    }
}

/// What the thread waits on.
#[derive(Debug)]
pub struct StopSignal {
    stopped: Arc<AtomicBool>,
    reader: PipeReader,
}

/// A descriptor that is waited for, beside the stop.
#[derive(Debug, Clone, Copy)]
pub struct Awaited<'a> {
    fd: BorrowedFd<'a>,
    interest: PollFlags,
}

impl<'a> Awaited<'a> {
    /// Until it can be read.
    pub fn readable(fd: BorrowedFd<'a>) -> Self {
        Self {
            fd,
            interest: PollFlags::IN,
        }
    }

    /// Until it has something exceptional to tell, as `/proc/self/mountinfo` has when a mount comes or goes.
    pub fn urgent(fd: BorrowedFd<'a>) -> Self {
        Self {
            fd,
            interest: PollFlags::PRI,
        }
    }
}

/// Why a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Woken {
    /// It is time to stop; whatever else there is comes second.
    Stopped,
    /// One of the descriptors shows what it was waited for, an error, or that its other end is gone: the first one that
    /// does, by its place among them.
    Ready(usize),
    /// The time has passed.
    TimedOut,
}

impl StopSignal {
    /// Whether it is time to stop. Makes no system call.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    /// Sleeps until it is time to stop, one of `others` is ready, or `timeout` has passed; None is for ever.
    ///
    /// One call of `ppoll`, or none if it is time to stop already, or if there is nothing to wait for. A signal handler
    /// that runs meanwhile does not end it. With a timeout of zero, what is ready by now is found.
    pub fn wait(&self, others: &[Awaited<'_>], timeout: Option<Duration>) -> Woken {
        // A time that is too long for the clock is for ever.
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut left = timeout.filter(|_| deadline.is_some());
        loop {
            if self.is_stopped() {
                return Woken::Stopped;
            }
            if left == Some(Duration::ZERO) && others.is_empty() {
                return Woken::TimedOut;
            }
            match self.ready(others, left) {
                Ok(Some(_)) if self.is_stopped() => return Woken::Stopped,
                Ok(Some(place)) => return Woken::Ready(place),
                Ok(None) | Err(Errno::INTR) => {}
                // No memory, or too many descriptors for the limits of the process.
                Err(_) => std::thread::sleep(left.unwrap_or(WAIT_AGAIN).min(WAIT_AGAIN)),
            }
            left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return Woken::TimedOut;
            }
        }
    }

    /// Which of `others` came first within `timeout`; also something when it was the stop.
    fn ready(&self, others: &[Awaited<'_>], timeout: Option<Duration>) -> Result<Option<usize>, Errno> {
        let mut entries = Vec::with_capacity(others.len() + 1);
        entries.push(PollFd::new(&self.reader, PollFlags::IN));
        entries.extend(
            others
                .iter()
                .map(|other| PollFd::from_borrowed_fd(other.fd, other.interest)),
        );
        // Some systems count the milliseconds in 32 bits.
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout.min(TIME_MAX)).ok());
        poll(&mut entries, timeout.as_ref())?;
        let first = entries.iter().position(|entry| !entry.revents().is_empty());
        Ok(first.map(|place| place.saturating_sub(1)))
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::thread;

    use super::*;

    const SHORT: Duration = Duration::from_millis(20);

    #[test]
    fn a_stop_ends_a_wait_for_ever_and_all_later_ones() {
        let (stopper, signal) = stop_pair().unwrap();
        let asked = thread::spawn(move || {
            stopper.clone().stop();
            stopper.stop();
            stopper
        });
        assert_eq!(signal.wait(&[], None), Woken::Stopped);
        let _stopper = asked.join().unwrap();
        assert!(signal.is_stopped());
        assert_eq!(signal.wait(&[], Some(Duration::ZERO)), Woken::Stopped);
        assert_eq!(signal.ready(&[], None), Ok(Some(0)), "the descriptor says it too");
    }

    #[test]
    fn dropping_the_last_stopper_is_a_stop_and_dropping_another_is_none() {
        let (stopper, signal) = stop_pair().unwrap();
        drop(stopper.clone());
        assert!(!signal.is_stopped());
        assert_eq!(signal.wait(&[], Some(Duration::ZERO)), Woken::TimedOut);
        let last = thread::spawn(move || drop(stopper));
        assert_eq!(signal.wait(&[], None), Woken::Stopped);
        last.join().unwrap();
    }

    #[test]
    fn asking_when_nobody_waits_any_more_is_no_error() {
        let (stopper, signal) = stop_pair().unwrap();
        drop(signal);
        stopper.stop();
    }

    #[test]
    fn a_descriptor_that_can_be_read_ends_a_wait_and_the_stop_comes_first() {
        let (stopper, signal) = stop_pair().unwrap();
        let (reader, mut writer) = pipe().unwrap();
        let others = [Awaited::urgent(reader.as_fd()), Awaited::readable(reader.as_fd())];
        assert_eq!(signal.wait(&others, Some(Duration::ZERO)), Woken::TimedOut);
        writer.write_all(b"news").unwrap();
        assert_eq!(signal.wait(&others, None), Woken::Ready(1));
        assert_eq!(signal.wait(&others, Some(Duration::ZERO)), Woken::Ready(1));
        assert_eq!(
            signal.wait(&others[..1], Some(SHORT)),
            Woken::TimedOut,
            "bytes are not urgent"
        );
        stopper.stop();
        assert_eq!(signal.wait(&others, None), Woken::Stopped);
    }

    #[test]
    fn a_closed_end_is_ready_whatever_was_waited_for() {
        let (_stopper, signal) = stop_pair().unwrap();
        let (reader, writer) = pipe().unwrap();
        drop(writer);
        for other in [Awaited::readable(reader.as_fd()), Awaited::urgent(reader.as_fd())] {
            assert_eq!(signal.wait(&[other], None), Woken::Ready(0));
        }
    }

    #[test]
    fn no_wait_ends_before_its_time_and_none_is_too_long() {
        let (stopper, signal) = stop_pair().unwrap();
        let deadline = Instant::now() + SHORT;
        assert_eq!(signal.wait(&[], Some(SHORT)), Woken::TimedOut);
        assert!(Instant::now() >= deadline);
        assert_eq!(signal.ready(&[], Some(SHORT)), Ok(None));
        stopper.stop();
        assert_eq!(signal.wait(&[], Some(Duration::MAX)), Woken::Stopped);
    }
}

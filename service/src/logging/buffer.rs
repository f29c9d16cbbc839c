//! Log lines gathered in memory and written together by one thread.
//!
//! Waking a thread for each line cost a fifth of the CPU of a small read: two system calls, two context switches. So
//! lines wait here for up to [`GATHER`], and an idle process does not wake at all. A line that warns is written at once.

use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Bytes of lines that may wait; when full, further lines are dropped and counted.
const MOST_BYTES: usize = 8 << 20;
/// Bytes from which the writer does not wait for more.
const ENOUGH_BYTES: usize = 256 << 10;
/// How long a line may wait for others.
const GATHER: Duration = Duration::from_millis(100);

/// The lines that wait. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Buffer(Arc<Shared>);

#[derive(Default)]
struct Shared {
    lines: Mutex<Lines>,
    /// Told when the first line comes, when enough have come, and when one must not wait.
    filled: Condvar,
    /// Told when everything that had come is written.
    written: Condvar,
}

#[derive(Default)]
struct Lines {
    bytes: Vec<u8>,
    dropped: u64,
    urgent: bool,
    /// The writer has taken lines that are not yet written.
    writing: bool,
}

impl Buffer {
    /// Adds one whole line.
    pub(super) fn push(&self, line: &[u8], urgent: bool) {
        let mut lines = self.lock();
        if lines.bytes.len() + line.len() > MOST_BYTES {
            lines.dropped += 1;
            return;
        }
        let before = lines.bytes.len();
        lines.bytes.extend_from_slice(line);
        lines.urgent |= urgent;
        let wake = before == 0 || urgent || (before < ENOUGH_BYTES && lines.bytes.len() >= ENOUGH_BYTES);
        drop(lines);
        if wake {
            self.0.filled.notify_one();
        }
    }

    /// Waits until all lines that came before are written, at most so long.
    pub(super) fn flush(&self, patience: Duration) {
        let mut lines = self.lock();
        lines.urgent = true;
        self.0.filled.notify_one();
        let waited = self
            .0
            .written
            .wait_timeout_while(lines, patience, |lines| lines.writing || !lines.bytes.is_empty());
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// Writes lines for ever.
    pub(super) fn write_to(&self, mut sink: Box<dyn Write + Send>) {
        let mut batch = Vec::new();
        loop {
            let dropped = self.take(&mut batch);
            if dropped > 0 {
                let words = format!("{dropped} log lines dropped: the log could not keep up\n");
                batch.extend_from_slice(words.as_bytes());
            }
            // A log that cannot be written must not stop the server; there is nowhere to tell it.
            let _ = sink.write_all(&batch);
            batch.clear();
            batch.shrink_to(ENOUGH_BYTES);
            self.lock().writing = false;
            self.0.written.notify_all();
        }
    }

    /// Waits for lines and takes them all; how many were dropped since the last time.
    fn take(&self, batch: &mut Vec<u8>) -> u64 {
        let lines = self
            .0
            .filled
            .wait_while(self.lock(), |lines| lines.bytes.is_empty());
        let lines = lines.unwrap_or_else(PoisonError::into_inner);
        let gathered = self.0.filled.wait_timeout_while(lines, GATHER, |lines| {
            !lines.urgent && lines.bytes.len() < ENOUGH_BYTES
        });
        let mut lines = gathered.unwrap_or_else(PoisonError::into_inner).0;
        std::mem::swap(&mut lines.bytes, batch);
        lines.urgent = false;
        lines.writing = true;
        std::mem::take(&mut lines.dropped)
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        // Nothing runs under the lock that could leave a line half added.
        self.0.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Sender, channel};

    /// A sink that hands over each write.
    struct Writes(Sender<Vec<u8>>);

    impl Write for Writes {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.send(bytes.to_vec()).map_err(std::io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_come_out_whole_in_order_and_together() {
        let buffer = Buffer::default();
        for number in 0..1_000 {
            buffer.push(format!("{number}\n").as_bytes(), false);
        }
        let (sender, writes) = channel();
        let writer = buffer.clone();
        std::thread::spawn(move || writer.write_to(Box::new(Writes(sender))));
        buffer.flush(Duration::from_secs(60));
        let wanted: String = (0..1_000).map(|number| format!("{number}\n")).collect();
        assert_eq!(writes.try_recv().unwrap(), wanted.as_bytes());
        assert!(writes.try_recv().is_err(), "one write for all of them");
        buffer.push(b"a warning\n", true);
        assert_eq!(writes.recv().unwrap(), b"a warning\n");
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let buffer = Buffer::default();
        let line = vec![b'x'; MOST_BYTES / 2];
        for _ in 0..5 {
            buffer.push(&line, false);
        }
        let (sender, writes) = channel();
        let writer = buffer.clone();
        std::thread::spawn(move || writer.write_to(Box::new(Writes(sender))));
        buffer.flush(Duration::from_secs(60));
        let mut all = Vec::new();
        while let Ok(write) = writes.try_recv() {
            all.extend(write);
        }
        assert!(all.ends_with(b"x3 log lines dropped: the log could not keep up\n"));
        assert!(all.len() < MOST_BYTES + 100);
    }
}

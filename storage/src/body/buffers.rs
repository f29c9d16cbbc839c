//! Buffers that pieces of bodies are read into, used again while the processor's caches still hold them.
//!
//! A piece is read by a thread of its device and sent, then let go, by another thread. An allocator gives each thread blocks of
//! its own, so that pieces of many files, on many devices, would pass through memory that no cache holds: a third of what
//! sending them costs. Here the buffer that was let go last is the next to be read into, whoever reads.

use bytes::Bytes;
use std::sync::{Mutex, PoisonError};

/// Shorter pieces do not gain by it, bytes.
const LEAST_BYTES: usize = 128 << 10;
/// What may lie here unused, bytes, for the whole process.
const MOST_KEPT_BYTES: usize = 8 << 20;

static SPARE: Mutex<Spare> = Mutex::new(Spare {
    buffers: Vec::new(),
    bytes: 0,
});

struct Spare {
    buffers: Vec<Vec<u8>>,
    bytes: usize,
}

impl Spare {
    fn take(&mut self, length: usize) -> Option<Vec<u8>> {
        let at = self
            .buffers
            .iter()
            .rposition(|buffer| buffer.capacity() == length)?;
        self.bytes -= length;
        Some(self.buffers.remove(at))
    }

    /// Those let go longest ago make room.
    fn keep(&mut self, mut buffer: Vec<u8>) {
        buffer.clear();
        self.bytes += buffer.capacity();
        self.buffers.push(buffer);
        while self.bytes > MOST_KEPT_BYTES && !self.buffers.is_empty() {
            self.bytes -= self.buffers.remove(0).capacity();
        }
    }
}

fn with_spare<T>(work: impl FnOnce(&mut Spare) -> T) -> T {
    work(&mut SPARE.lock().unwrap_or_else(PoisonError::into_inner))
}

/// An empty buffer with room for so many bytes.
pub(crate) fn take(length: usize) -> Vec<u8> {
    let spare = (length >= LEAST_BYTES)
        .then(|| with_spare(|spare| spare.take(length)))
        .flatten();
    spare.unwrap_or_else(|| Vec::with_capacity(length))
}

/// The bytes of a buffer, which comes back here when the last of their readers has let go of them.
pub(crate) fn share(buffer: Vec<u8>) -> Bytes {
    if buffer.capacity() < LEAST_BYTES {
        return Bytes::from(buffer);
    }
    Bytes::from_owner(Shared(buffer))
}

struct Shared(Vec<u8>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.0);
        with_spare(|spare| spare.keep(buffer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_to_go_is_the_first_to_come_back() {
        let mut spare = Spare {
            buffers: Vec::new(),
            bytes: 0,
        };
        let filled = |length: usize, with: u8| vec![with; length];
        let (first, second) = (filled(LEAST_BYTES, 1), filled(LEAST_BYTES, 2));
        let second_at = second.as_ptr();
        spare.keep(first);
        spare.keep(second);
        spare.keep(filled(LEAST_BYTES + 1, 3));
        let again = spare.take(LEAST_BYTES).unwrap();
        assert_eq!((again.as_ptr(), again.len()), (second_at, 0));
        assert!(spare.take(LEAST_BYTES).is_some());
        assert!(spare.take(LEAST_BYTES).is_none());
        assert_eq!(spare.bytes, LEAST_BYTES + 1);
    }

    #[test]
    fn what_lies_unused_is_bounded() {
        let mut spare = Spare {
            buffers: Vec::new(),
            bytes: 0,
        };
        for _ in 0..MOST_KEPT_BYTES / LEAST_BYTES + 5 {
            spare.keep(Vec::with_capacity(LEAST_BYTES));
        }
        assert_eq!(spare.bytes, MOST_KEPT_BYTES);
        assert_eq!(spare.buffers.len(), MOST_KEPT_BYTES / LEAST_BYTES);
        spare.keep(Vec::with_capacity(2 * MOST_KEPT_BYTES));
        assert_eq!((spare.bytes, spare.buffers.len()), (0, 0));
    }

    #[test]
    fn bytes_are_what_was_read() {
        let mut buffer = take(LEAST_BYTES);
        buffer.extend(std::iter::repeat_n(7, LEAST_BYTES));
        let bytes = share(buffer);
        let part = bytes.slice(5..9);
        drop(bytes);
        assert_eq!(part, [7; 4][..]);
    }
}

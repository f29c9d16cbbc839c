//! Slows down large objects of many segments: each costs the cluster a request, however few bytes it gives.
//!
//! See `rate_limit_after_segment`, `rate_limit_segments_per_sec` and `rate_limit_under_size` in Swift's SLO and DLO
//! middleware.

use super::Piece;
use std::time::Duration;
use tokio::time::Instant;

/// Seconds' worth of segments that an idle while earns.
const BURST_SECONDS: u32 = 5;

/// What an operator set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Objects smaller than this many bytes count; `None`: all do.
    pub under_size: Option<u64>,
    /// Segments that come at full speed.
    pub after_segment: u64,
    /// 0: no limit.
    pub segments_per_sec: u32,
}

/// Counts the segments of one answer.
#[derive(Debug)]
pub struct Pacer {
    limit: RateLimit,
    free: u64,
    /// When the next segment may go.
    due: Option<Instant>,
}

impl Pacer {
    pub fn new(limit: RateLimit) -> Self {
        Pacer {
            limit,
            free: limit.after_segment,
            due: None,
        }
    }

    /// How long a piece has to wait at this moment.
    pub fn delay(&mut self, piece: &Piece, now: Instant) -> Duration {
        let counts = match piece {
            Piece::Data(_) => false,
            Piece::Object(piece) => self.limit.under_size.is_none_or(|size| piece.size < size),
        };
        if !counts || self.limit.segments_per_sec == 0 {
            return Duration::ZERO;
        }
        if self.free > 0 {
            self.free -= 1;
            return Duration::ZERO;
        }
        let step = Duration::from_secs(1) / self.limit.segments_per_sec;
        let earliest = now
            .checked_sub(Duration::from_secs(1) * BURST_SECONDS)
            .unwrap_or(now);
        let due = self.due.map_or(now, |due| due.max(earliest));
        self.due = Some(due + step);
        due.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::segments::ObjectPiece;
    use bytes::Bytes;
    use martlet_protocol::name::Target;
    use martlet_protocol::range::ByteRange;

    fn object(size: u64) -> Piece {
        let Ok(Target::Object(path)) = Target::parse("a/c/o") else {
            panic!()
        };
        Piece::Object(ObjectPiece {
            path: path.into(),
            etag: None,
            size,
            range: ByteRange { start: 0, end: size },
        })
    }

    fn limit(under_size: Option<u64>, after_segment: u64, segments_per_sec: u32) -> RateLimit {
        RateLimit {
            under_size,
            after_segment,
            segments_per_sec,
        }
    }

    #[test]
    fn small_segments_wait_after_the_first_few() {
        let start = Instant::now();
        let mut pacer = Pacer::new(limit(Some(100), 2, 2));
        let data = Piece::Data(Bytes::from_static(b"data"));
        let halves = |halves: u32| Duration::from_millis(500) * halves;
        for (piece, expected) in [
            (&object(5), 0),
            (&object(5), 0),
            (&object(5), 0),
            (&object(5), 1),
            (&object(100), 0),
            (&data, 0),
            (&object(99), 2),
        ] {
            assert_eq!(pacer.delay(piece, start), halves(expected));
        }
        // A pause earns a burst, but not for ever.
        let later = start + Duration::from_secs(3600);
        let waits: Vec<Duration> = (0..12).map(|_| pacer.delay(&object(5), later)).collect();
        assert_eq!(waits[..11], [Duration::ZERO; 11]);
        assert_eq!(waits[11], halves(1));
    }

    #[test]
    fn no_limit_means_no_wait() {
        let now = Instant::now();
        let mut pacer = Pacer::new(limit(None, 0, 0));
        assert_eq!(pacer.delay(&object(1), now), Duration::ZERO);
        let mut all_count = Pacer::new(limit(None, 0, 1));
        assert_eq!(all_count.delay(&object(1 << 40), now), Duration::ZERO);
        assert_eq!(all_count.delay(&object(1 << 40), now), Duration::from_secs(1));
    }
}

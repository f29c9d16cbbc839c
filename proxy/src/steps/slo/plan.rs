//! Which bytes of which segment make up a range of a large object. Pure.

use martlet_protocol::range::ByteRange;

/// A run of bytes of one segment, counted from where the segment's visible bytes begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    pub index: usize,
    pub range: ByteRange,
}

/// The slices of a window over segments of these lengths, in order, none empty.
///
/// Segment `i` covers `[s, s + length)` of the whole, where `s` is the sum of the lengths before it; its slice is the
/// window cut to that interval and shifted by `s`. Intervals of different segments are disjoint and cover the whole, so
/// the slices' lengths sum to the window's, cut to the whole.
pub fn slices(lengths: impl Iterator<Item = u64>, window: ByteRange) -> impl Iterator<Item = Slice> {
    let mut position: u64 = 0;
    lengths
        .enumerate()
        .map_while(move |(index, length)| {
            let (start, end) = (position, position.saturating_add(length));
            position = end;
            (start < window.end).then(|| Slice {
                index,
                range: ByteRange {
                    start: window.start.clamp(start, end) - start,
                    end: window.end.clamp(start, end) - start,
                },
            })
        })
        .filter(|slice| !slice.range.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng, rngs::StdRng};

    fn cut(lengths: &[u64], start: u64, end: u64) -> Vec<(usize, u64, u64)> {
        slices(lengths.iter().copied(), ByteRange { start, end })
            .map(|slice| (slice.index, slice.range.start, slice.range.end))
            .collect()
    }

    #[test]
    fn windows_over_segments() {
        assert_eq!(cut(&[3, 4, 5], 0, 12), [(0, 0, 3), (1, 0, 4), (2, 0, 5)]);
        assert_eq!(cut(&[3, 4, 5], 2, 8), [(0, 2, 3), (1, 0, 4), (2, 0, 1)]);
        assert_eq!(cut(&[3, 4, 5], 3, 7), [(1, 0, 4)]);
        assert_eq!(cut(&[3, 0, 5], 2, 4), [(0, 2, 3), (2, 0, 1)]);
        assert_eq!(cut(&[3, 4], 7, 9), []);
        assert_eq!(cut(&[3, 4], 6, u64::MAX), [(1, 3, 4)]);
        assert_eq!(cut(&[], 0, 5), []);
        assert_eq!(cut(&[u64::MAX, 9], 5, 6), [(0, 5, 6)]);
    }

    #[test]
    fn joined_slices_are_the_window() {
        let mut random = StdRng::seed_from_u64(7);
        for _ in 0..2_000 {
            let lengths: Vec<u64> = (0..random.random_range(0..12))
                .map(|_| random.random_range(0..20))
                .collect();
            // Each byte of the whole, as (segment, offset in it).
            let whole: Vec<(usize, u64)> = lengths
                .iter()
                .enumerate()
                .flat_map(|(i, length)| (0..*length).map(move |at| (i, at)))
                .collect();
            let start = random.random_range(0..=whole.len() as u64);
            let end = random.random_range(start..=whole.len() as u64 + 3);
            let found: Vec<(usize, u64)> = cut(&lengths, start, end)
                .into_iter()
                .flat_map(|(i, from, to)| (from..to).map(move |at| (i, at)))
                .collect();
            let expected = &whole[start as usize..(end as usize).min(whole.len())];
            assert_eq!(found, expected, "{lengths:?} {start}..{end}");
        }
    }
}

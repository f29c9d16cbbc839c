//! Random numbers that stay the same for a seed in every release of Martlet, which no library promises.

use md5::{Digest, Md5};

/// The seed that an operator's word stands for: the number that it is, else one that only the word decides.
pub fn seed_of(word: &str) -> u64 {
    word.trim().parse().unwrap_or_else(|_| {
        let [a, b, c, d, e, f, g, h, ..] = <[u8; 16]>::from(Md5::digest(word.as_bytes()));
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    })
}

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
#[derive(Clone)]
pub(super) struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

//! Writes tar archives, entry by entry.

use bytes::Bytes;

const BLOCK: usize = 512;

/// An archive under way.
#[derive(Default)]
pub struct Tar(Vec<u8>);

impl Tar {
    pub fn new() -> Tar {
        Tar::default()
    }

    /// Adds a regular file.
    pub fn file(self, name: &str, content: &[u8]) -> Tar {
        self.entry(name.as_bytes(), b'0', content)
    }

    /// Adds an entry of any kind, its name as it stands.
    pub fn entry(mut self, name: &[u8], kind: u8, content: &[u8]) -> Tar {
        let mut block = [0; BLOCK];
        block[..name.len()].copy_from_slice(name);
        block[100..108].copy_from_slice(b"0000644\0");
        block[124..136].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
        block[148..156].fill(b' ');
        block[156] = kind;
        block[257..265].copy_from_slice(b"ustar\x0000");
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.extend_from_slice(&block);
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(BLOCK), 0);
        self
    }

    /// Adds words about the next entry, as `(key, value)`.
    pub fn words(self, pairs: &[(&str, &str)]) -> Tar {
        let mut records = String::new();
        for (key, value) in pairs {
            let bare = format!(" {key}={value}\n");
            let mut length = bare.len();
            while format!("{length}{bare}").len() != length {
                length = format!("{length}{bare}").len();
            }
            records.push_str(&format!("{length}{bare}"));
        }
        self.entry(b"PaxHeaders", b'x', records.as_bytes())
    }

    /// The archive, with the two blocks of zeros at its end.
    pub fn finish(mut self) -> Bytes {
        self.0.resize(self.0.len() + 2 * BLOCK, 0);
        self.0.resize(self.0.len().next_multiple_of(20 * BLOCK), 0);
        Bytes::from(self.0)
    }
}

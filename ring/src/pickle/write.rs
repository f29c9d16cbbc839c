//! Writes pickles of protocol 2, which every Python that Swift ever ran on reads.

/// A pickle under way. Values are written in the order in which they stand; containers are opened and closed.
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub fn new() -> Writer {
        Writer(vec![0x80, 2])
    }

    /// Ends the pickle.
    pub fn finish(mut self) -> Vec<u8> {
        self.0.push(b'.');
        self.0
    }

    pub fn none(&mut self) {
        self.0.push(b'N');
    }

    pub fn bool(&mut self, truth: bool) {
        self.0.push(if truth { 0x88 } else { 0x89 });
    }

    pub fn int(&mut self, number: u64) {
        if let Ok(number) = u8::try_from(number) {
            self.0.extend([b'K', number]);
        } else if let Ok(number) = u16::try_from(number) {
            self.0.push(b'M');
            self.0.extend(number.to_le_bytes());
        } else if let Ok(number) = i32::try_from(number) {
            self.0.push(b'J');
            self.0.extend(number.to_le_bytes());
        } else {
            self.0.extend([0x8a, 8]);
            self.0
                .extend(i64::try_from(number).unwrap_or(i64::MAX).to_le_bytes());
        }
    }

    pub fn float(&mut self, number: f64) {
        self.0.push(b'G');
        self.0.extend(number.to_be_bytes());
    }

    /// Names and remarks of devices; none is anywhere near the 4 GiB that would not fit.
    pub fn text(&mut self, text: &str) {
        self.0.push(b'X');
        self.0.extend((text.len() as u32).to_le_bytes());
        self.0.extend(text.as_bytes());
    }

    pub fn open_dict(&mut self) {
        self.0.extend(b"}(");
    }

    pub fn close_dict(&mut self) {
        self.0.push(b'u');
    }

    pub fn open_list(&mut self) {
        self.0.extend(b"](");
    }

    pub fn close_list(&mut self) {
        self.0.push(b'e');
    }

    pub fn open_tuple(&mut self) {
        self.0.push(b'(');
    }

    pub fn close_tuple(&mut self) {
        self.0.push(b't');
    }

    /// An `array.array` of a type code: `B`, `H` or `I`.
    pub fn array(&mut self, type_code: char, numbers: impl Iterator<Item = u32>) {
        self.0.extend(b"carray\narray\n");
        self.text(type_code.encode_utf8(&mut [0; 4]));
        self.open_list();
        for number in numbers {
            self.int(number.into());
        }
        self.close_list();
        self.0.extend([0x86, b'R']);
    }

    /// Remembers the value that was written last.
    pub fn remember(&mut self, index: u32) {
        self.0.push(b'r');
        self.0.extend(index.to_le_bytes());
    }

    /// Writes a remembered value once more: the same object to Python.
    pub fn recall(&mut self, index: u32) {
        self.0.push(b'j');
        self.0.extend(index.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Value, read};
    use super::*;

    #[test]
    fn numbers_read_back() {
        for number in [0u64, 255, 256, 65_535, 65_536, 1 << 31, (1 << 32) - 1] {
            let mut writer = Writer::new();
            writer.int(number);
            let written = writer.finish();
            assert_eq!(read(&written).unwrap().root, Value::Int(number as i64));
        }
    }
}

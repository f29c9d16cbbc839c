//! The list of what to delete: one quoted name a line, read as it comes. Pure.

use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_encode};

/// What stays as it is in a quoted path, as in Swift.
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/');

/// Quotes a name that need not be text.
pub fn quote(name: &[u8]) -> String {
    percent_encode(name, PATH).to_string()
}

/// Why a list was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListProblem {
    TooMany,
    /// A line longer than any name could be, quoted.
    LongLine,
}

/// Gathers names, decoded; they need not be text.
pub struct Names {
    names: Vec<Vec<u8>>,
    line: Vec<u8>,
    max_names: usize,
    max_line: usize,
}

impl Names {
    pub fn new(max_names: usize, max_line: usize) -> Self {
        Names {
            names: Vec::new(),
            line: Vec::new(),
            max_names,
            max_line,
        }
    }

    pub fn read(&mut self, chunk: &Bytes) -> Result<(), ListProblem> {
        let mut lines = chunk.split(|byte| *byte == b'\n').peekable();
        while let Some(piece) = lines.next() {
            if self.line.len() + piece.len() > self.max_line {
                return Err(ListProblem::LongLine);
            }
            self.line.extend_from_slice(piece);
            if lines.peek().is_some() {
                self.end_line()?;
            }
        }
        Ok(())
    }

    /// All names, without the empty ones.
    pub fn finish(mut self) -> Result<Vec<Vec<u8>>, ListProblem> {
        if !self.line.trim_ascii().is_empty() {
            self.end_line()?;
        }
        self.names.retain(|name| !name.is_empty());
        Ok(self.names)
    }

    fn end_line(&mut self) -> Result<(), ListProblem> {
        let name = percent_decode(self.line.trim_ascii()).collect();
        self.line.clear();
        self.names.push(name);
        if self.names.len() > self.max_names {
            return Err(ListProblem::TooMany);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(chunks: &[&str], max_names: usize) -> Result<Vec<String>, ListProblem> {
        let mut names = Names::new(max_names, 20);
        for chunk in chunks {
            names.read(&Bytes::copy_from_slice(chunk.as_bytes()))?;
        }
        let names = names.finish()?;
        Ok(names
            .iter()
            .map(|name| String::from_utf8_lossy(name).into_owned())
            .collect())
    }

    #[test]
    fn lists_are_read_in_any_pieces() {
        let expected = Ok(vec!["/c/f".to_owned(), "c/a b".to_owned(), "/c".to_owned()]);
        for chunks in [
            &["/c/f\nc/a%20b\n/c"][..],
            &["/c/f\n", "c/a%20b\n", "/c\n"],
            &["/c", "/f\r\nc/a%2", "0b\n\n  \n /c \n\n"],
        ] {
            assert_eq!(read(chunks, 10), expected, "{chunks:?}");
        }
        assert_eq!(read(&[""], 10), Ok(Vec::new()));
        assert_eq!(read(&["\n \n"], 10), Ok(Vec::new()));
    }

    #[test]
    fn lists_are_bounded() {
        assert_eq!(read(&["a\nb\nc"], 3).unwrap().len(), 3);
        assert_eq!(read(&["a\nb\nc\nd"], 3), Err(ListProblem::TooMany));
        // Empty lines count: they cost a client nothing to leave out.
        assert_eq!(read(&["a\n\n\n\nb"], 3), Err(ListProblem::TooMany));
        assert_eq!(
            read(&["0123456789", "01234567890"], 3),
            Err(ListProblem::LongLine)
        );
        assert_eq!(read(&["0123456789", "0123456789"], 3).unwrap().len(), 1);
    }

    #[test]
    fn names_that_are_no_text_can_be_told() {
        let mut names = Names::new(3, 20);
        names.read(&Bytes::from_static(b"c/%ff\xe2%98%83")).unwrap();
        let names = names.finish().unwrap();
        assert_eq!(names, [b"c/\xff\xe2\x98\x83".to_vec()]);
        assert_eq!(quote(&names[0]), "c/%FF%E2%98%83");
    }
}

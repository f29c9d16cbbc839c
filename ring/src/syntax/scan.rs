//! Takes a text apart from its front.

use super::SyntaxError;
use super::address::normalize_ip;

pub(super) struct Scan<'a> {
    whole: &'a str,
    rest: &'a str,
}

impl<'a> Scan<'a> {
    pub fn new(text: &'a str) -> Self {
        Scan {
            whole: text,
            rest: text,
        }
    }

    pub fn rest(&self) -> &'a str {
        self.rest
    }

    pub fn whole(&self) -> &'a str {
        self.whole
    }

    /// Takes the prefix, when it stands next.
    pub fn skip(&mut self, prefix: char) -> bool {
        match self.rest.strip_prefix(prefix) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    pub fn take_while(&mut self, keep: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|letter| !keep(letter)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    pub fn take_rest(&mut self) -> &'a str {
        std::mem::take(&mut self.rest)
    }

    /// A whole number behind a prefix.
    pub fn number<N: std::str::FromStr>(&mut self, prefix: char) -> Result<Option<N>, SyntaxError> {
        if !self.skip(prefix) {
            return Ok(None);
        }
        let digits = self.take_while(|letter| letter.is_ascii_digit());
        match digits.parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(SyntaxError(format!(
                "Invalid number {digits:?} after {prefix:?} in {:?}",
                self.whole
            ))),
        }
    }

    /// An address of digits and dots, or of anything in brackets.
    pub fn ip(&mut self) -> Result<Option<String>, SyntaxError> {
        let ip = if self.skip('[') {
            let ip = self.take_while(|letter| letter != ']');
            self.skip(']');
            ip
        } else if self.rest.starts_with(|letter: char| letter.is_ascii_digit()) {
            self.take_while(|letter| letter.is_ascii_digit() || letter == '.')
        } else {
            return Ok(None);
        };
        normalize_ip(ip).map(Some)
    }
}

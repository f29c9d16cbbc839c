//! Writes an XML document into a string; text is always escaped, elements are always closed.

use super::NAMESPACE;
use std::fmt::Write;

/// A document in the making.
pub struct Xml {
    text: String,
}

impl Default for Xml {
    fn default() -> Self {
        Xml::new()
    }
}

impl Xml {
    /// An empty document with its declaration.
    pub fn new() -> Self {
        Xml {
            text: String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"),
        }
    }

    /// A document of one root element in S3's namespace.
    pub fn document(root: &str, fill: impl FnOnce(&mut Xml)) -> String {
        let mut xml = Xml::new();
        xml.root(root, fill);
        xml.finish()
    }

    /// Adds a root element in S3's namespace.
    pub fn root(&mut self, name: &str, fill: impl FnOnce(&mut Xml)) {
        let _ = write!(self.text, "<{name} xmlns=\"{NAMESPACE}\">");
        fill(self);
        let _ = write!(self.text, "</{name}>");
    }

    /// Adds an element with children.
    pub fn within(&mut self, name: &str, fill: impl FnOnce(&mut Xml)) {
        let _ = write!(self.text, "<{name}>");
        fill(self);
        let _ = write!(self.text, "</{name}>");
    }

    /// Adds an element that carries an `xsi:type`, as grantees do.
    pub fn typed(&mut self, name: &str, kind: &str, fill: impl FnOnce(&mut Xml)) {
        let _ = write!(
            self.text,
            "<{name} xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"{kind}\">"
        );
        fill(self);
        let _ = write!(self.text, "</{name}>");
    }

    /// Adds an element with text.
    pub fn leaf(&mut self, name: &str, value: &str) {
        let _ = write!(self.text, "<{name}>");
        escape_into(&mut self.text, value);
        let _ = write!(self.text, "</{name}>");
    }

    /// Adds text to the open element.
    pub fn text(&mut self, value: &str) {
        escape_into(&mut self.text, value);
    }

    /// Adds an element with a number.
    pub fn number(&mut self, name: &str, value: u64) {
        let _ = write!(self.text, "<{name}>{value}</{name}>");
    }

    /// Adds an element that says `true` or `false`.
    pub fn flag(&mut self, name: &str, value: bool) {
        let _ = write!(self.text, "<{name}>{value}</{name}>");
    }

    /// The text.
    pub fn finish(self) -> String {
        self.text
    }
}

/// Control characters become character references, as S3 writes them, though XML 1.0 knows only some of them;
/// clients ask for `encoding-type=url` to be safe from those.
fn escape_into(text: &mut String, value: &str) {
    for character in value.chars() {
        match character {
            '&' => text.push_str("&amp;"),
            '<' => text.push_str("&lt;"),
            '>' => text.push_str("&gt;"),
            '"' => text.push_str("&quot;"),
            '\u{0}'..='\u{1f}' | '\u{7f}' | '\u{fffe}' | '\u{ffff}' => {
                let _ = write!(text, "&#x{:x};", u32::from(character));
            }
            _ => text.push(character),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_nest_and_text_is_escaped() {
        let text = Xml::document("Root", |xml| {
            xml.within("Inner", |xml| {
                xml.leaf("Key", "a<b>&\"\u{1}\n");
                xml.number("Size", 7);
                xml.flag("IsTruncated", false);
            });
        });
        assert!(text.ends_with(
            "<Root xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Inner><Key>a&lt;b&gt;&amp;&quot;&#x1;&#xa;</Key>\
             <Size>7</Size><IsTruncated>false</IsTruncated></Inner></Root>"
        ));
    }
}

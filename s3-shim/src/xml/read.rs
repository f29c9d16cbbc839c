//! Reads a small XML document into a tree. A document type is passed over and none of the entities it declares is ever
//! looked up: a reference to one stands for nothing, as in Swift's s3api. Depth and element count are bounded. So a
//! hostile body costs no more than its own bytes.

use quick_xml::Reader;
use quick_xml::events::{BytesRef, BytesStart, Event};

/// Deepest nesting; S3's deepest request document has five levels.
const MAX_DEPTH: usize = 12;
/// Most elements; a `Delete` of 1,000 keys and a completion of 10,000 parts stay well under it.
const MAX_ELEMENTS: usize = 60_000;

/// The document is not well-formed, or past the limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotXml;

/// An element: its local name, its text, its children.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Element {
    pub name: String,
    /// The `xsi:type` of a grantee; other elements have none.
    pub kind: Option<String>,
    pub text: String,
    pub children: Vec<Element>,
}

impl Element {
    /// The first child of a name.
    pub fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The text of the first child of a name, without the white space around it.
    pub fn child_text(&self, name: &str) -> Option<&str> {
        self.child(name).map(|child| child.text.trim())
    }

    /// All children of a name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Element> {
        self.children.iter().filter(move |child| child.name == name)
    }
}

/// Parses a document and returns its root.
pub fn parse(bytes: &[u8]) -> Result<Element, NotXml> {
    let text = std::str::from_utf8(bytes).map_err(|_| NotXml)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader::from_str(text);
    let mut open: Vec<Element> = Vec::new();
    let mut root: Option<Element> = None;
    let mut seen = 0usize;
    let mut has_document_type = false;
    loop {
        match reader.read_event().map_err(|_| NotXml)? {
            Event::Start(start) => {
                begin(&mut seen, open.len(), root.is_some())?;
                open.push(element_of(&start)?);
            }
            Event::Empty(start) => {
                begin(&mut seen, open.len(), root.is_some())?;
                close(element_of(&start)?, &mut open, &mut root);
            }
            Event::End(_) => {
                let element = open.pop().ok_or(NotXml)?;
                close(element, &mut open, &mut root);
            }
            Event::Text(text) => {
                let text: &str = &text;
                match open.last_mut() {
                    Some(element) => element.text.push_str(text),
                    None if text.trim().is_empty() => {}
                    None => return Err(NotXml),
                }
            }
            Event::CData(text) => {
                let text: &str = &text;
                open.last_mut().ok_or(NotXml)?.text.push_str(text);
            }
            Event::GeneralRef(reference) => {
                let text = &mut open.last_mut().ok_or(NotXml)?.text;
                match resolve(&reference)? {
                    Some(character) => text.push(character),
                    None if has_document_type => {}
                    None => return Err(NotXml),
                }
            }
            Event::Decl(_) | Event::Comment(_) => {}
            Event::DocType(_) if seen == 0 && !has_document_type => has_document_type = true,
            Event::DocType(_) | Event::PI(_) => return Err(NotXml),
            Event::Eof => break,
        }
    }
    if !open.is_empty() {
        return Err(NotXml);
    }
    root.ok_or(NotXml)
}

fn begin(seen: &mut usize, depth: usize, root_is_closed: bool) -> Result<(), NotXml> {
    *seen += 1;
    if *seen > MAX_ELEMENTS || depth >= MAX_DEPTH || root_is_closed {
        return Err(NotXml);
    }
    Ok(())
}

fn element_of(start: &BytesStart<'_>) -> Result<Element, NotXml> {
    let mut element = Element {
        name: start.local_name().as_ref().to_owned(),
        ..Element::default()
    };
    if element.name == "Grantee" {
        for attribute in start.attributes() {
            let attribute = attribute.map_err(|_| NotXml)?;
            if attribute.key.local_name().as_ref() == "type" {
                element.kind = Some(attribute.value.into_owned());
            }
        }
    }
    Ok(element)
}

fn close(element: Element, open: &mut [Element], root: &mut Option<Element>) {
    match open.last_mut() {
        Some(parent) => parent.children.push(element),
        None => *root = Some(element),
    }
}

/// The character a reference stands for; `None` for an entity that XML itself does not have.
fn resolve(reference: &BytesRef<'_>) -> Result<Option<char>, NotXml> {
    if let Some(character) = reference.resolve_char_ref().map_err(|_| NotXml)? {
        return if character == '\0' {
            Err(NotXml)
        } else {
            Ok(Some(character))
        };
    }
    let name: &str = reference;
    Ok(match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_becomes_a_tree() {
        let root = parse(
            b"<?xml version=\"1.0\"?>\n<Delete xmlns=\"x\"><!-- c --><Quiet>true</Quiet><Object><Key>a&amp;b&#x41; c</Key></Object>\
              <Object><Key><![CDATA[<raw>]]></Key></Object><Empty/></Delete>\n",
        )
        .unwrap();
        assert_eq!(root.name, "Delete");
        assert_eq!(root.child_text("Quiet"), Some("true"));
        let keys: Vec<_> = root
            .all("Object")
            .filter_map(|object| object.child_text("Key"))
            .collect();
        assert_eq!(keys, ["a&bA c", "<raw>"]);
        assert_eq!(root.child("Empty").map(|empty| empty.text.as_str()), Some(""));
    }

    #[test]
    fn a_prefix_of_a_namespace_is_not_part_of_the_name() {
        let root = parse(b"<s3:Delete xmlns:s3=\"x\"><s3:Quiet>1</s3:Quiet></s3:Delete>").unwrap();
        assert_eq!(root.name, "Delete");
        assert_eq!(root.child_text("Quiet"), Some("1"));
    }

    #[test]
    fn entities_of_a_document_type_stand_for_nothing() {
        let text = |document: &str| parse(document.as_bytes()).unwrap().text;
        assert_eq!(
            text("<!DOCTYPE d [<!ENTITY x SYSTEM \"file:///etc/passwd\"> ]>\n<d>a&x;b</d>"),
            "ab"
        );
        let billion = "<!DOCTYPE z [<!ENTITY a \"lol\"><!ENTITY b \"&a;&a;\">]><z>&b;&amp;</z>";
        assert_eq!(text(billion), "&");
    }

    #[test]
    fn grantees_have_a_kind() {
        let root = parse(b"<Grant><Grantee xmlns:xsi=\"x\" xsi:type=\"Group\"/></Grant>").unwrap();
        let grantee = root.child("Grantee").unwrap();
        assert_eq!(grantee.kind.as_deref(), Some("Group"));
    }

    #[test]
    fn hostile_documents_are_refused() {
        for bad in [
            &b""[..],
            b"   ",
            b"text",
            b"<a>",
            b"<a></b>",
            b"</a>",
            b"<a/><b/>",
            b"<a>&unknown;</a>",
            b"<a>&#0;</a>",
            b"<a>&#xD800;</a>",
            b"<a>\xff</a>",
            b"<a/>tail",
            b"<?php x ?><a/>",
            b"<a",
            b"<a><![CDATA[x</a>",
            b"<a><!DOCTYPE a><b/></a>",
            b"<!DOCTYPE a><!DOCTYPE a><a/>",
            b"<!DOCTYPE a [<!ENTITY x \"y\"><a>&x;</a>",
            b"<Grantee a=\"1\" a=\"2\"/>",
        ] {
            assert!(parse(bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
        assert!(parse("<a>".repeat(100_000).as_bytes()).is_err());
        let many = format!("<a>{}</a>", "<b/>".repeat(MAX_ELEMENTS));
        assert!(parse(many.as_bytes()).is_err());
    }
}

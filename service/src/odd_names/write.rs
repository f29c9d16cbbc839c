//! Puts odd names into what is written, in the place of their marks. Pure.

/// A name and the mark that stands for it, each as a line begins with it.
#[derive(Debug)]
pub struct Marked {
    pub mark: Vec<u8>,
    pub name: Vec<u8>,
}

/// Whether a name can stand in a head without being taken for anything else.
pub fn is_safe(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| matches!(byte, b'!'..=b'~') && byte != b':')
}

/// Puts the names in whose marks are there, in whatever case; the others are kept for what is written next.
pub fn replace(out: &mut Vec<u8>, marked: &mut Vec<Marked>) {
    marked.retain(|one| {
        let found = out
            .windows(one.mark.len())
            .position(|window| window.eq_ignore_ascii_case(&one.mark));
        if let Some(at) = found {
            out.splice(at..at + one.mark.len(), one.name.iter().copied());
        }
        found.is_none()
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_take_the_place_of_their_marks() {
        let marked = |mark: &str, name: &str| Marked {
            mark: mark.as_bytes().to_vec(),
            name: name.as_bytes().to_vec(),
        };
        let mut all = vec![marked("\r\nm-0:", "\r\na(:"), marked("\r\nm-1:", "\r\nb(:")];
        let mut out = b"200\r\nM-0: 1\r\nx: 2\r\n\r\n".to_vec();
        replace(&mut out, &mut all);
        assert_eq!(out, b"200\r\na(: 1\r\nx: 2\r\n\r\n");
        assert_eq!(all.len(), 1);
    }

    #[test]
    fn no_name_breaks_a_head() {
        assert!(is_safe("x-amz-meta-("));
        for bad in ["", "a b", "a:b", "a\r\nb", "ü"] {
            assert!(!is_safe(bad), "{bad}");
        }
    }
}

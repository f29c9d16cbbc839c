//! POSIX extended headers: words about an entry, in records of `LENGTH KEY=VALUE`. Pure.

use super::TarError;
use std::collections::BTreeMap;

/// What extended headers say that matters here; all else they may say is passed over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pax {
    pub path: Option<Vec<u8>>,
    pub size: Option<u64>,
    /// Whether the content has holes that are left out.
    pub is_sparse: bool,
    /// Headers of the object: from the extended attributes `user.mime_type` and `user.meta.*`. Names are lower case.
    pub headers: BTreeMap<String, Vec<u8>>,
}

/// Bytes of headers kept from one archive's global words: more is no archive of ours.
const MAX_KEPT_BYTES: usize = 1 << 20;

impl Pax {
    /// Reads records on top of what is known; later ones win.
    pub fn read(&mut self, mut records: &[u8]) -> Result<(), TarError> {
        const BAD: TarError = TarError::Invalid("invalid extended header");
        while !records.is_empty() && records[0] != 0 {
            let space = records
                .iter()
                .take(20)
                .position(|byte| *byte == b' ')
                .ok_or(BAD)?;
            let length: usize = std::str::from_utf8(&records[..space])
                .ok()
                .and_then(|digits| digits.parse().ok())
                .ok_or(BAD)?;
            if length <= space + 1 || length > records.len() || records[length - 1] != b'\n' {
                return Err(BAD);
            }
            let record = &records[space + 1..length - 1];
            records = &records[length..];
            let equals = record.iter().position(|byte| *byte == b'=').ok_or(BAD)?;
            let key = String::from_utf8_lossy(&record[..equals]);
            self.take(&key, &record[equals + 1..])?;
        }
        let kept: usize = self
            .headers
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum();
        if kept > MAX_KEPT_BYTES {
            return Err(TarError::Invalid("extended headers are too large"));
        }
        Ok(())
    }

    fn take(&mut self, key: &str, value: &[u8]) -> Result<(), TarError> {
        match key {
            "path" => self.path = Some(value.to_vec()),
            "size" => {
                let size = std::str::from_utf8(value)
                    .ok()
                    .and_then(|digits| digits.parse().ok());
                self.size = Some(size.ok_or(TarError::Invalid("invalid extended header"))?);
            }
            _ if key.starts_with("GNU.sparse.") => self.is_sparse = true,
            _ => {
                if let Some(name) = header_of(key) {
                    self.headers.insert(name, value.to_vec());
                }
            }
        }
        Ok(())
    }
}

/// The object's header that an extended attribute becomes, as GNU tar or BSD tar name it.
fn header_of(key: &str) -> Option<String> {
    let attribute = key
        .strip_prefix("SCHILY.xattr.user.")
        .or_else(|| key.strip_prefix("LIBARCHIVE.xattr.user."))?;
    if attribute == "mime_type" {
        return Some("content-type".into());
    }
    let name = attribute.strip_prefix("meta.")?;
    Some(format!("x-object-meta-{}", name.to_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    pub fn record(key: &str, value: &str) -> Vec<u8> {
        let bare = format!(" {key}={value}\n");
        let mut length = bare.len();
        while format!("{length}{bare}").len() != length {
            length = format!("{length}{bare}").len();
        }
        format!("{length}{bare}").into_bytes()
    }

    #[test]
    fn records_are_read_and_later_ones_win() {
        let mut pax = Pax::default();
        let mut bytes = Vec::new();
        for (key, value) in [
            ("path", "a/ü=b"),
            ("size", "12345678901"),
            ("mtime", "1.5"),
            ("SCHILY.xattr.user.mime_type", "application/python-setup"),
            ("SCHILY.xattr.user.meta.Lunch", "burger and fries"),
            ("LIBARCHIVE.xattr.user.meta.dinner", "baked ziti"),
            ("SCHILY.xattr.user.stuff", "whee"),
            ("SCHILY.xattr.security.selinux", "x"),
        ] {
            bytes.extend(record(key, value));
        }
        pax.read(&bytes).unwrap();
        assert_eq!(pax.path.as_deref(), Some("a/ü=b".as_bytes()));
        assert_eq!(pax.size, Some(12_345_678_901));
        let shown: Vec<(&str, &[u8])> = pax.headers.iter().map(|(n, v)| (n.as_str(), &v[..])).collect();
        assert_eq!(
            shown,
            [
                ("content-type", &b"application/python-setup"[..]),
                ("x-object-meta-dinner", b"baked ziti"),
                ("x-object-meta-lunch", b"burger and fries"),
            ]
        );
        assert!(!pax.is_sparse);
        pax.read(&record("path", "c")).unwrap();
        pax.read(&record("GNU.sparse.major", "1")).unwrap();
        assert_eq!((pax.path.as_deref(), pax.is_sparse), (Some(&b"c"[..]), true));
    }

    #[test]
    fn broken_records_are_refused() {
        for bad in [
            &b"x"[..],
            b"10 path",
            b"99 path=a\n",
            b"0 path=a\n",
            b"2 \n",
            b"-1 path=a\n",
            b"9 path=a\nx",
            b"8 path=a",
            b"9 pathaa\n",
            b"12 size=abc\n",
            b"99999999999999999999999999 a=b\n",
        ] {
            assert!(
                Pax::default().read(bad).is_err(),
                "{:?}",
                String::from_utf8_lossy(bad)
            );
        }
        // Zeros fill up the last block.
        assert!(Pax::default().read(b"\0\0\0").is_ok());
    }

    #[test]
    fn words_do_not_pile_up() {
        let mut pax = Pax::default();
        let outcome = (0..100).try_for_each(|at| {
            pax.read(&record(
                &format!("SCHILY.xattr.user.meta.{at}"),
                &"v".repeat(20_000),
            ))
        });
        assert_eq!(outcome, Err(TarError::Invalid("extended headers are too large")));
    }
}

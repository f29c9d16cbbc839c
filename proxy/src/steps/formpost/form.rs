//! The fields of a form, and whether they allow a file: what its page said, signed with a key.

use crate::grant::Scope;
use crate::steps::tempurl::keys::Keys;
use crate::steps::tempurl::signature::{Digest, Signature};
use http::HeaderMap;
use martlet_service::headers;
use std::collections::BTreeMap;

/// Fields of one form; those that mean something are ten.
const MAX_FIELDS: usize = 100;
/// Bytes of a field's value; what is longer is cut, as in Swift.
pub const MAX_VALUE_BYTES: usize = 4_096;

/// Why a form is refused, in Swift's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    Invalid(&'static str),
    Unauthorized(&'static str),
    /// Too few servers answered to know the keys.
    Unknown,
}

/// What came before the file. Fields after it say nothing of it.
#[derive(Clone, Debug, Default)]
pub struct Fields(BTreeMap<String, String>);

/// What a file may be.
#[derive(Debug)]
pub struct Ticket {
    pub scope: Scope,
    pub max_file_size: u64,
    /// Headers that the form asks for.
    pub headers: HeaderMap,
}

impl Fields {
    /// Values end in the line end that some clients add.
    pub fn set(&mut self, name: &str, value: &[u8]) -> Result<(), Problem> {
        let name = name.to_lowercase();
        if self.0.len() >= MAX_FIELDS && !self.0.contains_key(&name) {
            return Err(Problem::Invalid("too many fields"));
        }
        let value = match std::str::from_utf8(value) {
            Ok(value) => value,
            // Cut in the middle of a letter.
            Err(error) if error.error_len().is_none() && value.len() == MAX_VALUE_BYTES => {
                std::str::from_utf8(&value[..error.valid_up_to()]).unwrap_or_default()
            }
            Err(_) => return Err(Problem::Invalid("a field is not UTF-8")),
        };
        self.0
            .insert(name, value.trim_end_matches(['\r', '\n']).to_owned());
        Ok(())
    }

    /// Empty is as good as absent.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    fn number(&self, name: &str, problem: &'static str) -> Result<i64, Problem> {
        match self.get(name) {
            None => Ok(0),
            Some(text) => integer(text).ok_or(Problem::Invalid(problem)),
        }
    }

    /// Whether one more file may come after so many.
    pub fn allows_another_file(&self, files: i64) -> Result<bool, Problem> {
        Ok(files < self.number("max_file_count", "max_file_count not an integer")?)
    }

    /// Judges the form for a file. `path` is the decoded path the form was sent to.
    pub fn check(
        &self,
        path: &str,
        now_secs: u64,
        allowed: &[Digest],
        keys: &Keys,
    ) -> Result<Ticket, Problem> {
        let max_file_size = self.number("max_file_size", "max_file_size not an integer")?;
        let headers = self.expiry_headers()?;
        let expires = self.number("expires", "expired not an integer")?;
        if u64::try_from(expires).unwrap_or(0) < now_secs {
            return Err(Problem::Unauthorized("form expired"));
        }
        let wrong = Problem::Unauthorized("invalid signature");
        let signature = Signature::parse(self.get("signature").unwrap_or(""))
            .filter(|signature| allowed.contains(&signature.digest))
            .ok_or(wrong.clone())?;
        let message = self.message(path);
        match keys.find(|key| signature.is_of(key, &message)) {
            Some(scope) => Ok(Ticket {
                scope: scope.clone(),
                max_file_size: u64::try_from(max_file_size).unwrap_or(0),
                headers,
            }),
            None if keys.is_complete => Err(wrong),
            None => Err(Problem::Unknown),
        }
    }

    /// What must have been signed.
    fn message(&self, path: &str) -> String {
        let text = |name: &str, absent: &'static str| self.get(name).unwrap_or(absent).to_owned();
        let parts = [
            path.to_owned(),
            text("redirect", ""),
            text("max_file_size", "0"),
            text("max_file_count", "0"),
            text("expires", "0"),
        ];
        parts.join("\n")
    }

    fn expiry_headers(&self) -> Result<HeaderMap, Problem> {
        let mut map = HeaderMap::new();
        for (field, header, problem) in [
            (
                "x_delete_at",
                "x-delete-at",
                "x_delete_at not an integer: Unix timestamp required.",
            ),
            (
                "x_delete_after",
                "x-delete-after",
                "x_delete_after not an integer: Number of seconds required.",
            ),
        ] {
            if let Some(text) = self.0.get(field) {
                let number = integer(text).ok_or(Problem::Invalid(problem))?;
                headers::set(&mut map, header, &number.to_string());
            }
        }
        Ok(map)
    }
}

fn integer(text: &str) -> Option<i64> {
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hmac::{Hmac, KeyInit, Mac};

    fn signed(message: &str) -> String {
        let mut mac = <Hmac<sha2::Sha256> as KeyInit>::new_from_slice(b"key").unwrap();
        mac.update(message.as_bytes());
        hex::encode(mac.finalize().into_bytes())
    }

    fn fields(pairs: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::default();
        for (name, value) in pairs {
            fields.set(name, value.as_bytes()).unwrap();
        }
        fields
    }

    fn check(pairs: &[(&str, &str)], keys: &[&str]) -> Result<u64, Problem> {
        let keys = Keys::of_account("a", keys);
        let allowed = [Digest::Sha256];
        let ticket = fields(pairs).check("/v1/a/c/p", 50, &allowed, &keys)?;
        Ok(ticket.max_file_size)
    }

    #[test]
    fn a_form_is_judged_by_its_signature() {
        let signature = signed("/v1/a/c/p\nhttp://r\n10\n2\n60");
        let good = |changed: Option<(&'static str, &'static str)>| {
            let mut pairs = vec![
                ("redirect", "http://r"),
                ("max_file_size", "10"),
                ("max_file_count", "2"),
                ("expires", "60"),
                ("signature", signature.as_str()),
            ];
            pairs.extend(changed);
            check(&pairs, &["other", "key"])
        };
        let wrong = || Err(Problem::Unauthorized("invalid signature"));
        assert_eq!(good(None), Ok(10));
        assert_eq!(good(Some(("Redirect", "http://r\r\n"))), Ok(10));
        for (name, value) in [
            ("redirect", "http://s"),
            ("redirect", ""),
            ("max_file_size", "11"),
            ("max_file_count", "3"),
            ("expires", "61"),
            ("expires", " 60"),
            ("signature", ""),
            ("signature", "junk"),
            ("signature", "sha512:AAAA"),
        ] {
            assert_eq!(good(Some((name, value))), wrong(), "{name} {value}");
        }
        for (name, value, words) in [
            ("max_file_size", "ten", "max_file_size not an integer"),
            ("expires", "soon", "expired not an integer"),
            (
                "x_delete_at",
                "2.5",
                "x_delete_at not an integer: Unix timestamp required.",
            ),
            (
                "x_delete_at",
                "",
                "x_delete_at not an integer: Unix timestamp required.",
            ),
            (
                "x_delete_after",
                "x",
                "x_delete_after not an integer: Number of seconds required.",
            ),
        ] {
            assert_eq!(good(Some((name, value))), Err(Problem::Invalid(words)), "{name}");
        }
        for value in ["49", "-60", ""] {
            assert_eq!(
                good(Some(("expires", value))),
                Err(Problem::Unauthorized("form expired"))
            );
        }
        // Nothing is signed by no key, or by an empty form.
        let pairs = [("expires", "60"), ("signature", signature.as_str())];
        assert_eq!(check(&pairs, &[]), wrong());
        let absent = signed("/v1/a/c/p\n\n0\n0\n60");
        assert_eq!(
            check(&[("expires", "60"), ("signature", &absent)], &["key"]),
            Ok(0)
        );
    }

    #[test]
    fn files_are_counted() {
        assert_eq!(
            fields(&[("max_file_count", "2")]).allows_another_file(1),
            Ok(true)
        );
        assert_eq!(
            fields(&[("max_file_count", "2")]).allows_another_file(2),
            Ok(false)
        );
        assert_eq!(fields(&[]).allows_another_file(0), Ok(false));
        assert!(
            fields(&[("max_file_count", "two")])
                .allows_another_file(0)
                .is_err()
        );
    }

    #[test]
    fn fields_are_bounded_text() {
        let mut fields = Fields::default();
        assert!(fields.set("a", b"\xff").is_err());
        let mut long = vec![b'a'; MAX_VALUE_BYTES - 1];
        long.push(0xc3);
        fields.set("a", &long).unwrap();
        assert_eq!(fields.get("a").map(str::len), Some(MAX_VALUE_BYTES - 1));
        for number in 1..MAX_FIELDS {
            fields.set(&number.to_string(), b"v").unwrap();
        }
        assert!(fields.set("more", b"v").is_err());
        assert!(fields.set("a", b"w").is_ok());
        assert_eq!(fields.get("a"), Some("w"));
    }

    #[test]
    fn files_may_be_asked_to_end() {
        let map = fields(&[("x_delete_at", " 70 "), ("x_delete_after", "9")]);
        let map = map.expiry_headers().unwrap();
        assert_eq!(
            (map["x-delete-at"].as_bytes(), map["x-delete-after"].as_bytes()),
            (&b"70"[..], &b"9"[..])
        );
    }
}

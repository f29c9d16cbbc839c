//! Listings: a range scan that skips what stands behind a delimiter by seeking.

use super::{Device, Shared};
use crate::codec::{keys, row as row_codec};
use crate::commit::containers::ContainerKey;
use crate::container::{Row, Space};
use crate::error::StorageError;
use crate::index::{Family, ReadFailure};
use martlet_protocol::hash::PathHash;
use martlet_protocol::listing::ListingQuery;
use martlet_protocol::row::ListingEntry;
use std::sync::Arc;

impl Device {
    /// A page of a listing, in order of names (backwards when reversed). With `with_deleted`, deleted rows stand among
    /// the others and do not count towards the limit.
    pub async fn list(
        &self,
        space: Space,
        hash: PathHash,
        query: &ListingQuery,
        with_deleted: bool,
    ) -> Result<Vec<ListingEntry<Row>>, StorageError> {
        let at = ContainerKey::new(space, hash)?;
        let shared = self.shared.clone();
        let range = Range::of(query);
        self.shared
            .readers
            .run(move || shared.list(at, &range, with_deleted))
            .await
    }
}

/// A query in the terms of the scan.
struct Range {
    limit: usize,
    prefix: String,
    delimiter: Option<String>,
    /// Only rows directly below the prefix; their folders are not shown (`path`).
    path: Option<String>,
    /// Names must be greater. A subdir of just this name is known to the client.
    above: Option<String>,
    /// Names must be smaller.
    below: Option<String>,
    reverse: bool,
}

impl Range {
    fn of(query: &ListingQuery) -> Range {
        let (prefix, delimiter) = match &query.path {
            None => (query.prefix.clone().unwrap_or_default(), query.delimiter.clone()),
            Some(path) => {
                let folder = path.trim_end_matches('/');
                let prefix = if path.is_empty() {
                    String::new()
                } else {
                    format!("{folder}/")
                };
                (prefix, Some("/".to_owned()))
            }
        };
        // Empty counts as not given.
        let given = |name: &Option<String>| name.clone().filter(|name| !name.is_empty());
        let (above, below) = match query.reverse {
            false => (given(&query.marker), given(&query.end_marker)),
            true => (given(&query.end_marker), given(&query.marker)),
        };
        Range {
            limit: query.limit,
            prefix,
            delimiter: delimiter.filter(|delimiter| !delimiter.is_empty()),
            path: query.path.clone(),
            above,
            below,
            reverse: query.reverse,
        }
    }

    /// The name up to and with the first delimiter after the prefix.
    fn folder<'a>(&self, name: &'a str) -> Option<&'a str> {
        let delimiter = self.delimiter.as_deref()?;
        let rest = name.get(self.prefix.len()..)?;
        let at = rest.find(delimiter)?;
        Some(&name[..self.prefix.len() + at + delimiter.len()])
    }
}

/// What is to be done with a row.
enum Verdict {
    Show,
    Pass,
    /// It stands for its folder, which is `..end` of its name; the rest of the folder is skipped.
    Folder {
        end: usize,
        shown: bool,
    },
}

impl Range {
    fn judge(&self, row: &Row, with_deleted: bool) -> Verdict {
        let name = row.name();
        let folder = self.folder(name);
        if self.path.is_some() {
            return match folder {
                // The folder's own row, `a/b/` below `a/`, is shown; what is deeper is not.
                Some(folder) if folder.len() < name.len() => Verdict::Folder {
                    end: folder.len(),
                    shown: false,
                },
                _ if self.prefix == name => Verdict::Pass,
                _ if row.deleted() && !with_deleted => Verdict::Pass,
                _ => Verdict::Show,
            };
        }
        match folder {
            // A folder is there as long as one live row is in it.
            Some(_) if row.deleted() => Verdict::Pass,
            Some(folder) => Verdict::Folder {
                end: folder.len(),
                shown: self.above.as_deref() != Some(folder),
            },
            None if row.deleted() && !with_deleted => Verdict::Pass,
            None => Verdict::Show,
        }
    }
}

impl Shared {
    fn list(
        self: &Arc<Self>,
        at: ContainerKey,
        range: &Range,
        with_deleted: bool,
    ) -> Result<Vec<ListingEntry<Row>>, StorageError> {
        let mut found = Vec::new();
        if range.limit == 0 {
            return Ok(found);
        }
        let key = |name: &str| keys::row(&at.bytes, name);
        // Bounds of the scan: within the container, the prefix and the markers.
        let mut lower = key(&range.prefix);
        let mut upper = keys::after(&lower);
        if let Some(above) = &range.above {
            let past = [key(above).as_slice(), b"\0"].concat();
            lower = lower.max(past);
        }
        if let Some(below) = range.below.as_deref().map(key) {
            upper = Some(upper.map_or(below.clone(), |upper| upper.min(below)));
        }
        if upper.as_ref().is_some_and(|upper| *upper <= lower) {
            return Ok(found);
        }
        let mut rows = self.index.scan(Family::Rows, &lower, upper.as_deref());
        if range.reverse {
            rows.seek_to_last();
        } else {
            rows.seek_to_first();
        }
        let mut live = 0;
        while let Some((row_key, value)) = rows.item() {
            let Ok(row) = row_codec::decode(row_key, value) else {
                return Err(self.seen(ReadFailure::Damaged(Family::Rows, row_key.to_vec())));
            };
            match range.judge(&row, with_deleted) {
                Verdict::Pass => step(&mut rows, range.reverse),
                Verdict::Show => {
                    live += usize::from(!row.deleted());
                    found.push(ListingEntry::Row(row));
                    step(&mut rows, range.reverse);
                }
                Verdict::Folder { end, shown } => {
                    let folder = row.name()[..end].to_owned();
                    let folder_key = key(&folder);
                    if range.reverse && !shown && range.path.is_some() {
                        // The folder's own row sorts first and comes last: stop just before it, not past it.
                        rows.seek_for_prev([folder_key.as_slice(), b"\0"].concat());
                        if rows.key() == Some(row_key_of(&row, &at).as_slice()) {
                            rows.prev();
                        }
                    } else if range.reverse {
                        rows.seek_for_prev(&folder_key);
                        if rows.key() == Some(folder_key.as_slice()) {
                            rows.prev();
                        }
                    } else {
                        match keys::after(&folder_key) {
                            Some(past) => rows.seek(past),
                            None => break,
                        }
                    }
                    if shown {
                        live += 1;
                        found.push(ListingEntry::Subdir(folder));
                    }
                }
            }
            if live == range.limit {
                break;
            }
        }
        rows.status()?;
        Ok(found)
    }
}

fn row_key_of(row: &Row, at: &ContainerKey) -> Vec<u8> {
    keys::row(&at.bytes, row.name())
}

fn step(rows: &mut rocksdb::DBRawIterator<'_>, reverse: bool) {
    if reverse {
        rows.prev();
    } else {
        rows.next();
    }
}

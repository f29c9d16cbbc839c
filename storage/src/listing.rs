//! Pages of listings: range scans over a container's rows, common prefixes skipped by seeking.
//!
//! Names order by their bytes, as in Swift. `marker` and `end_marker` bound the page exclusively (their sides swap when
//! reversed); a common prefix equal to the bound the scan starts from (Swift: the lower one) is not told again; `path`
//! lists one pseudo-folder without its sub-folders.

use crate::codec::{keys, row as row_codec};
use crate::container::Row;
use crate::index::{Family, Index, ReadFailure};
use martlet_protocol::listing::ListingQuery;
use martlet_protocol::row::ListingEntry;
use rocksdb::DBRawIterator;

/// A row key without its name.
type Container = [u8; 17];

/// What a query means for a scan.
struct Plan {
    /// First key, and the first key past the end.
    lower: Vec<u8>,
    upper: Option<Vec<u8>>,
    /// Bytes of the prefix: the delimiter is looked for behind them.
    prefix_bytes: usize,
    delimiter: Option<Vec<u8>>,
    /// Names of one pseudo-folder only; its own name is not one of them.
    folder: Option<Vec<u8>>,
    /// A common prefix that is not told: the client has it.
    known: Option<Vec<u8>>,
}

impl Plan {
    fn new(container: &Container, query: &ListingQuery) -> Self {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let (low, high) = if query.reverse {
            (given(&query.end_marker), given(&query.marker))
        } else {
            (given(&query.marker), given(&query.end_marker))
        };
        let (prefix, delimiter, folder) = match &query.path {
            Some(path) if path.is_empty() => (String::new(), Some("/".to_owned()), Some(String::new())),
            Some(path) => {
                let folder = format!("{}/", path.trim_end_matches('/'));
                (folder.clone(), Some("/".to_owned()), Some(folder))
            }
            None => (
                given(&query.prefix).unwrap_or_default(),
                given(&query.delimiter),
                None,
            ),
        };
        let key = |name: &str| keys::row(container, name);
        let mut lower = key(&prefix);
        if let Some(low) = &low {
            let after = [key(low), vec![0]].concat();
            lower = lower.max(after);
        }
        let mut upper = keys::after(&key(&prefix));
        if let Some(high) = &high {
            let high = key(high);
            upper = Some(upper.map_or(high.clone(), |upper| upper.min(high)));
        }
        Plan {
            lower,
            upper,
            prefix_bytes: prefix.len(),
            delimiter: delimiter.map(String::into_bytes),
            folder: folder.map(String::into_bytes),
            known: low.map(String::into_bytes),
        }
    }

    /// The part of a name up to the end of the first delimiter behind the prefix.
    fn common<'a>(&self, name: &'a [u8]) -> Option<&'a [u8]> {
        let delimiter = self.delimiter.as_deref()?;
        let rest = name.get(self.prefix_bytes..)?;
        let at = rest.windows(delimiter.len()).position(|part| part == delimiter)?;
        Some(&name[..self.prefix_bytes + at + delimiter.len()])
    }
}

/// One page. Living entries count towards the limit; with `with_deleted`, deleted rows on the way are given too.
pub(crate) fn page(
    index: &Index,
    container: &Container,
    query: &ListingQuery,
    with_deleted: bool,
) -> Result<Vec<ListingEntry<Row>>, ReadFailure> {
    let plan = Plan::new(container, query);
    let mut found = Vec::new();
    let mut living = 0;
    if query.limit == 0 || plan.upper.as_ref().is_some_and(|upper| *upper <= plan.lower) {
        return Ok(found);
    }
    let mut rows = index.scan(Family::Rows, &plan.lower, plan.upper.as_deref());
    if query.reverse {
        rows.seek_to_last();
    } else {
        rows.seek_to_first();
    }
    while let Some((key, value)) = rows.item() {
        let name = &key[container.len().min(key.len())..];
        let common = plan.common(name).map(<[u8]>::to_vec);
        match (&plan.folder, common) {
            (Some(folder), _) if name == folder.as_slice() => step(&mut rows, query.reverse),
            (Some(_), Some(common)) if name.len() > common.len() => {
                skip(&mut rows, container, &common, query.reverse);
            }
            (None, Some(common)) => {
                let told = plan.known.as_deref() == Some(common.as_slice());
                if !told && has_living(&mut rows, container, &common, query.reverse)? {
                    found.push(ListingEntry::Subdir(text(&common)));
                    living += 1;
                }
                skip(&mut rows, container, &common, query.reverse);
            }
            _ => {
                let row = decode(key, value)?;
                let counts = !row.deleted();
                if counts || with_deleted {
                    found.push(ListingEntry::Row(row));
                }
                living += usize::from(counts);
                step(&mut rows, query.reverse);
            }
        }
        if living >= query.limit {
            return Ok(found);
        }
    }
    rows.status()?;
    Ok(found)
}

/// So many rows after the marker, deleted ones too.
pub(crate) fn raw(index: &Index, container: &Container, query: &ListingQuery) -> Result<Vec<Row>, ReadFailure> {
    let plan = Plan::new(container, query);
    let mut found = Vec::new();
    let mut rows = index.scan(Family::Rows, &plan.lower, plan.upper.as_deref());
    rows.seek_to_first();
    while found.len() < query.limit {
        let Some((key, value)) = rows.item() else {
            rows.status()?;
            break;
        };
        found.push(decode(key, value)?);
        rows.next();
    }
    Ok(found)
}

fn decode(key: &[u8], value: &[u8]) -> Result<Row, ReadFailure> {
    row_codec::decode(key, value).map_err(|_| ReadFailure::Damaged(Family::Rows, key.to_vec()))
}

fn step(rows: &mut DBRawIterator<'_>, reverse: bool) {
    if reverse {
        rows.prev();
    } else {
        rows.next();
    }
}

/// Seeks past all names that begin with `common`.
fn skip(rows: &mut DBRawIterator<'_>, container: &Container, common: &[u8], reverse: bool) {
    let first = [container.as_slice(), common].concat();
    if reverse {
        rows.seek_for_prev(&first);
        // The name that is exactly the common prefix belongs to it.
        if rows.key() == Some(first.as_slice()) {
            rows.prev();
        }
    } else if let Some(after) = keys::after(&first) {
        rows.seek(after);
    }
}

/// Some row that begins with `common`, from here on, is not deleted.
fn has_living(
    rows: &mut DBRawIterator<'_>,
    container: &Container,
    common: &[u8],
    reverse: bool,
) -> Result<bool, ReadFailure> {
    while let Some((key, value)) = rows.item() {
        if !key[container.len().min(key.len())..].starts_with(common) {
            return Ok(false);
        }
        if !decode(key, value)?.deleted() {
            return Ok(true);
        }
        step(rows, reverse);
    }
    Ok(false)
}

/// A delimiter may not cut a character: both it and the name are UTF-8, so that the cut falls between characters.
fn text(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

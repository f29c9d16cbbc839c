//! Merges the listings of a majority of replicas: newest row wins, deleted rows hide older live ones.
//!
//! A replica's page shows every row it has up to the page's last name; past that it says nothing. So only names up to
//! the smallest last name of the full pages are certain; what is missing then is asked for again from there.
//! A subdir stands for live rows that are not shown themselves, so one that some replica does not see is in doubt:
//! the rows may have been deleted since. The reader settles such doubts by looking inside.

use martlet_protocol::row::{ContainerRow, ListingEntry, ObjectRow};
use std::collections::HashSet;

/// A row of a listing, as replicas hold it.
pub trait Row: Clone {
    fn name(&self) -> &str;
    fn is_deleted(&self) -> bool;
    /// Newest wins; the order of the two does not matter.
    fn merged(self, other: Self) -> Self;
}

impl Row for ObjectRow {
    fn name(&self) -> &str {
        &self.name
    }
    fn is_deleted(&self) -> bool {
        self.deleted
    }
    fn merged(self, other: Self) -> Self {
        self.merge(other)
    }
}

impl Row for ContainerRow {
    fn name(&self) -> &str {
        &self.name
    }
    fn is_deleted(&self) -> bool {
        self.deleted()
    }
    fn merged(self, other: Self) -> Self {
        self.merge(other)
    }
}

/// What one replica answered: entries in listing order, deleted rows among them.
#[derive(Clone, Debug)]
pub struct Page<T> {
    pub entries: Vec<ListingEntry<T>>,
}

fn entry_name<T: Row>(entry: &ListingEntry<T>) -> &str {
    match entry {
        ListingEntry::Row(row) => row.name(),
        ListingEntry::Subdir(name) => name,
    }
}

/// What to ask every replica next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    pub marker: Option<String>,
    pub limit: usize,
}

/// Pages smaller than this are not asked for: after a disagreement a few entries more are cheaper than another round.
const MIN_PAGE: usize = 50;

/// A merged listing in the making. Ask what it [`wants`](Merge::wants), [feed](Merge::feed) it the pages, settle its
/// [doubts](Merge::doubts), until it wants nothing.
#[derive(Debug)]
pub struct Merge<T> {
    limit: usize,
    reverse: bool,
    max_page: usize,
    marker: Option<String>,
    /// Entries sure to be in the listing or in doubt, in order.
    entries: Vec<ListingEntry<T>>,
    /// Subdirs among them that not every replica showed.
    in_doubt: HashSet<String>,
    asked: usize,
    reached_end: bool,
}

impl<T: Row> Merge<T> {
    /// `max_page` is the most entries a replica gives at once.
    pub fn new(limit: usize, marker: Option<String>, reverse: bool, max_page: usize) -> Self {
        Merge {
            limit,
            reverse,
            max_page,
            marker,
            entries: Vec::new(),
            in_doubt: HashSet::new(),
            asked: 0,
            reached_end: false,
        }
    }

    /// The next question, or `None` when the listing is complete.
    pub fn wants(&mut self) -> Option<Ask> {
        if self.asked > 0 && (self.reached_end || self.entries.len() >= self.limit) {
            return None;
        }
        let missing = self.limit - self.entries.len();
        let first = self.asked == 0;
        self.asked = if first { missing } else { missing.max(MIN_PAGE) }
            .min(self.max_page)
            .max(1);
        Some(Ask {
            marker: self.marker.clone(),
            limit: self.asked,
        })
    }

    /// Takes the pages that answer the last question.
    pub fn feed(&mut self, pages: Vec<Page<T>>) {
        let asked = self.asked;
        let is_full = |page: &Page<T>| {
            let live = |entry: &&ListingEntry<T>| match entry {
                ListingEntry::Row(row) => !row.is_deleted(),
                ListingEntry::Subdir(_) => true,
            };
            page.entries.iter().filter(live).count() >= asked
        };
        let ends = pages.iter().filter(|page| is_full(page));
        let ends = ends.filter_map(|page| page.entries.last().map(|entry| entry_name(entry).to_owned()));
        let horizon = if self.reverse { ends.max() } else { ends.min() };
        let count = pages.len();
        let mut all: Vec<ListingEntry<T>> = pages.into_iter().flat_map(|page| page.entries).collect();
        all.retain(|entry| {
            let name = entry_name(entry);
            let is_certain = horizon.as_deref().is_none_or(|horizon| match self.reverse {
                false => name <= horizon,
                true => name >= horizon,
            });
            // A replica that repeats the subdir it was asked to go on after says nothing new.
            let is_new = self.marker.as_deref().is_none_or(|marker| match self.reverse {
                false => name > marker,
                true => name < marker,
            });
            is_certain && is_new
        });
        // The pages are runs in order already, which this sort only weaves together.
        all.sort_by(|a, b| match self.reverse {
            false => entry_name(a).cmp(entry_name(b)),
            true => entry_name(b).cmp(entry_name(a)),
        });
        let mut found: Vec<ListingEntry<T>> = Vec::with_capacity(all.len() / count.max(1) + 1);
        let mut woven = all.into_iter().peekable();
        while let Some(first) = woven.next() {
            let (mut row, mut subdir, mut seen) = (None, None, 0);
            let mut next = Some(first);
            while let Some(entry) = next {
                match entry {
                    ListingEntry::Row(other) => {
                        row = Some(match row.take() {
                            Some(known) => T::merged(known, other),
                            None => other,
                        });
                    }
                    ListingEntry::Subdir(name) => {
                        seen += 1;
                        subdir = Some(name);
                    }
                }
                let known = row.as_ref().map(Row::name).or(subdir.as_deref()).unwrap_or("");
                next = woven.next_if(|entry| entry_name(entry) == known);
            }
            found.extend(row.filter(|row| !row.is_deleted()).map(ListingEntry::Row));
            if let Some(name) = subdir {
                if seen < count {
                    self.in_doubt.insert(name.clone());
                }
                found.push(ListingEntry::Subdir(name));
            }
        }
        self.entries.extend(found);
        match horizon {
            Some(horizon) if self.marker.as_ref() != Some(&horizon) => self.marker = Some(horizon),
            // Nothing lies beyond, or nothing beyond can be reached.
            Some(_) | None => self.reached_end = true,
        }
    }

    /// Subdirs that must be looked into before the next step, those that would be shown.
    pub fn doubts(&self) -> Vec<String> {
        let shown = self.entries.iter().take(self.limit);
        let doubtful = shown.filter_map(|entry| match entry {
            ListingEntry::Subdir(name) if self.in_doubt.contains(name) => Some(name.clone()),
            ListingEntry::Subdir(_) | ListingEntry::Row(_) => None,
        });
        doubtful.collect()
    }

    /// What looking into a subdir showed.
    pub fn settle(&mut self, subdir: &str, holds_something: bool) {
        self.in_doubt.remove(subdir);
        if !holds_something {
            self.entries
                .retain(|entry| !matches!(entry, ListingEntry::Subdir(name) if name == subdir));
        }
    }

    /// The listing.
    pub fn finish(mut self) -> Vec<ListingEntry<T>> {
        self.entries.truncate(self.limit);
        self.entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use martlet_protocol::policy::PolicyIndex;
    use martlet_protocol::timestamp::Timestamp;
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};
    use std::collections::BTreeMap;

    fn row(name: &str, at: u64, deleted: bool) -> ObjectRow {
        ObjectRow {
            name: name.into(),
            timestamp: Timestamp::from_secs(at),
            deleted,
            size: at,
            content_type: "a/b".into(),
            etag: format!("e{at}"),
            content_type_timestamp: Timestamp::from_secs(at),
            meta_timestamp: Timestamp::from_secs(at),
            policy: PolicyIndex(0),
            version: None,
        }
    }

    type Replica = BTreeMap<String, ObjectRow>;

    /// What a container server answers: rows in order, deleted ones too, up to the limit-th live entry.
    fn page(replica: &Replica, ask: &Ask, delimiter: Option<char>, reverse: bool) -> Page<ObjectRow> {
        let mut entries: Vec<ListingEntry<ObjectRow>> = Vec::new();
        let mut live = 0;
        let rows: Vec<&ObjectRow> = if reverse {
            replica.values().rev().collect()
        } else {
            replica.values().collect()
        };
        for row in rows {
            let cut = delimiter.and_then(|delimiter| row.name.find(delimiter));
            let name = cut.map_or(row.name.clone(), |cut| row.name[..=cut].to_owned());
            let past = |marker: &String| if reverse { name < *marker } else { name > *marker };
            if live >= ask.limit || !ask.marker.as_ref().is_none_or(past) {
                continue;
            }
            if cut.is_none() {
                live += usize::from(!row.deleted);
                entries.push(ListingEntry::Row(row.clone()));
            } else if !row.deleted && entries.last() != Some(&ListingEntry::Subdir(name.clone())) {
                live += 1;
                entries.push(ListingEntry::Subdir(name));
            }
        }
        Page { entries }
    }

    fn list(replicas: &[Replica], limit: usize, delimiter: Option<char>, reverse: bool) -> Vec<String> {
        let mut merge = Merge::new(limit, None, reverse, 7);
        let mut rounds = 0;
        while let Some(ask) = merge.wants() {
            rounds += 1;
            assert!(rounds < 200, "no progress");
            merge.feed(
                replicas
                    .iter()
                    .map(|replica| page(replica, &ask, delimiter, reverse))
                    .collect(),
            );
            loop {
                let doubts = merge.doubts();
                if doubts.is_empty() {
                    break;
                }
                for doubt in doubts {
                    let inside = truth(replicas).into_iter().any(|name| name.starts_with(&doubt));
                    merge.settle(&doubt, inside);
                }
            }
        }
        merge
            .finish()
            .iter()
            .map(|entry| entry_name(entry).to_owned())
            .collect()
    }

    /// Live names of all replicas taken together.
    fn truth(replicas: &[Replica]) -> Vec<String> {
        let mut all: Replica = BTreeMap::new();
        for row in replicas.iter().flat_map(|replica| replica.values()) {
            let merged = match all.remove(&row.name) {
                Some(known) => known.merge(row.clone()),
                None => row.clone(),
            };
            all.insert(row.name.clone(), merged);
        }
        all.into_values()
            .filter(|row| !row.deleted)
            .map(|row| row.name)
            .collect()
    }

    fn model(replicas: &[Replica], limit: usize, delimiter: Option<char>, reverse: bool) -> Vec<String> {
        let cut = |name: String| match delimiter.and_then(|delimiter| name.find(delimiter)) {
            Some(at) => name[..=at].to_owned(),
            None => name,
        };
        let mut names: Vec<String> = truth(replicas).into_iter().map(cut).collect();
        names.sort();
        names.dedup();
        if reverse {
            names.reverse();
        }
        names.truncate(limit);
        names
    }

    fn replica(rows: &[(&str, u64, bool)]) -> Replica {
        rows.iter()
            .map(|(name, at, deleted)| ((*name).to_owned(), row(name, *at, *deleted)))
            .collect()
    }

    #[test]
    fn a_deletion_known_to_one_hides_the_row_of_the_other() {
        let stale = replica(&[("a", 1, false), ("b", 1, false), ("c", 1, false)]);
        let current = replica(&[("a", 2, true), ("b", 1, false), ("c", 2, true), ("d", 3, false)]);
        assert_eq!(
            list(&[stale.clone(), current.clone()], 10, None, false),
            ["b", "d"]
        );
        assert_eq!(list(&[current, stale], 2, None, true), ["d", "b"]);
    }

    #[test]
    fn a_page_that_ends_early_makes_no_later_name_certain() {
        // The first replica's page ends at b; the second's rows past it must wait for what the first has between.
        let first = replica(&[("a", 1, false), ("b", 1, false), ("c", 2, true), ("d", 1, false)]);
        let second = replica(&[("c", 1, false), ("d", 1, false), ("e", 1, false)]);
        assert_eq!(list(&[first, second], 2, None, false), ["a", "b"]);
        let first = replica(&[("a", 2, true), ("b", 1, false), ("d", 1, false)]);
        let second = replica(&[("a", 1, false), ("b", 1, false), ("d", 1, false)]);
        assert_eq!(list(&[first, second], 2, None, false), ["b", "d"]);
    }

    #[test]
    fn a_subdir_whose_rows_are_all_deleted_is_not_shown() {
        let stale = replica(&[("p/1", 1, false), ("q/1", 1, false)]);
        let current = replica(&[("p/1", 2, true), ("q/1", 1, false), ("q/2", 1, false)]);
        assert_eq!(list(&[stale, current], 10, Some('/'), false), ["q/"]);
    }

    #[test]
    fn any_replicas_list_as_one() {
        let mut random = StdRng::seed_from_u64(7);
        for round in 0..3_000 {
            let mut replicas = vec![Replica::new(); 3];
            for _ in 0..random.random_range(0..40) {
                let length = random.random_range(1..5);
                let name: String = (0..length)
                    .map(|_| ['a', 'b', '/'][random.random_range(0..3)])
                    .collect();
                let new = row(&name, random.random_range(1..9), random.random_bool(0.4));
                for replica in &mut replicas {
                    if random.random_bool(0.6) {
                        let merged = match replica.remove(&name) {
                            Some(known) => known.merge(new.clone()),
                            None => new.clone(),
                        };
                        replica.insert(name.clone(), merged);
                    }
                }
            }
            let delimiter = random.random_bool(0.5).then_some('/');
            let (limit, reverse) = (random.random_range(1..20), random.random_bool(0.5));
            let mut shown = list(&replicas, limit, delimiter, reverse);
            let mut expected = model(&replicas, limit, delimiter, reverse);
            // A subdir that every replica shows, each by rows that another knows to be deleted, is believed.
            let live = truth(&replicas);
            let phantom =
                |name: &String| name.ends_with('/') && !live.iter().any(|row| row.starts_with(name));
            if delimiter.is_some() && shown.iter().any(phantom) {
                shown.retain(|name| !phantom(name));
                expected.truncate(shown.len());
            }
            assert_eq!(
                shown, expected,
                "round {round}: {replicas:?} limit {limit} reverse {reverse}"
            );
        }
    }
}

//! Listings, beside Swift's rules told the slow way.

use crate::support::*;
use martlet_protocol::listing::ListingQuery;
use martlet_protocol::row::ListingEntry;
use martlet_storage::*;
use std::collections::BTreeMap;

/// Swift's listing rules, told the slow way.
fn expected(names: &BTreeMap<String, bool>, query: &ListingQuery) -> Vec<String> {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let (low, high) = match query.reverse {
        false => (given(&query.marker), given(&query.end_marker)),
        true => (given(&query.end_marker), given(&query.marker)),
    };
    let (prefix, delimiter) = match &query.path {
        Some(path) if path.is_empty() => (String::new(), Some("/".to_owned())),
        Some(path) => (format!("{}/", path.trim_end_matches('/')), Some("/".to_owned())),
        None => (given(&query.prefix).unwrap_or_default(), given(&query.delimiter)),
    };
    let mut found: Vec<String> = Vec::new();
    for (name, deleted) in names {
        let outside =
            low.as_ref().is_some_and(|low| name <= low) || high.as_ref().is_some_and(|high| name >= high);
        if *deleted || outside || !name.starts_with(&prefix) {
            continue;
        }
        let end = delimiter.as_ref().and_then(|delimiter| {
            let at = name[prefix.len()..].find(delimiter.as_str())?;
            Some(prefix.len() + at + delimiter.len())
        });
        match (end, &query.path) {
            (_, Some(_)) if *name == prefix => {}
            (Some(end), Some(_)) if name.len() > end => {}
            (Some(end), None) => {
                let common = format!("D {}", &name[..end]);
                if low.as_deref() != Some(&name[..end]) && !found.contains(&common) {
                    found.push(common);
                }
            }
            _ => found.push(format!("R {name}")),
        }
    }
    if query.reverse {
        found.reverse();
    }
    found.truncate(query.limit);
    found
}

#[test]
fn listings_equal_the_model() {
    let mut random = Random(99);
    let parts = ["a", "b", "/", "--", "ü", "aa", "/b"];
    let mut names = BTreeMap::new();
    let mut rows = Vec::new();
    for _ in 0..150 {
        let count = random.below(5) + 1;
        let name: String = (0..count).map(|_| parts[random.below(7) as usize]).collect();
        let row = row(&mut random, name.clone());
        if let std::collections::btree_map::Entry::Vacant(place) = names.entry(name) {
            place.insert(row.deleted);
            rows.push(Row::Object(row));
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let device = open(folder.path());
    run(async {
        device
            .put_rows(Space::Containers, hash(9), rows, Some(create()), |_| None)
            .await
            .unwrap();
        for turn in 0..3000 {
            let mut text = |chance: u64| {
                (random.below(chance) == 0).then(|| {
                    (0..random.below(4))
                        .map(|_| parts[random.below(7) as usize])
                        .collect::<String>()
                })
            };
            let mut query = ListingQuery {
                limit: 0,
                marker: text(2),
                end_marker: text(3),
                prefix: text(2),
                delimiter: text(2),
                path: text(5),
                reverse: false,
            };
            query.limit = 1 + random.below(30) as usize;
            query.reverse = random.below(2) == 0;
            let page = device
                .list(Space::Containers, hash(9), &query, false)
                .await
                .unwrap();
            let told: Vec<String> = page
                .iter()
                .map(|entry| match entry {
                    ListingEntry::Row(row) => format!("R {}", row.name()),
                    ListingEntry::Subdir(name) => format!("D {name}"),
                })
                .collect();
            assert_eq!(told, expected(&names, &query), "turn {turn}: {query:?}");
        }
        device.close().await;
    });
}

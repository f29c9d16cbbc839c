//! The value of a container or account record, with the sum over its rows.

use super::{Damaged, Decoded, Decoder, Encoder};
use martlet_protocol::policy::PolicyIndex;
use martlet_protocol::record::{ContainerRecord, PolicyStat};
use std::collections::BTreeMap;

const VERSION: u8 = 1;

/// A container record as the index keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredContainer {
    pub(crate) record: ContainerRecord,
    /// XOR of the fingerprints of all rows, deleted ones included.
    pub(crate) rows_digest: [u8; 16],
}

impl StoredContainer {
    pub(crate) fn encode(&self, key: &[u8]) -> Vec<u8> {
        let record = &self.record;
        let mut out = Encoder::new(VERSION, 256);
        out.text(&record.account);
        out.text(&record.container);
        out.timestamp(record.created_at);
        out.timestamp(record.put_timestamp);
        out.timestamp(record.delete_timestamp);
        out.timestamp(record.status_changed_at);
        out.number(u64::from(record.policy.0));
        out.number(record.metadata.len() as u64);
        for (name, (value, at)) in &record.metadata {
            out.text(name);
            out.text(value);
            out.timestamp(*at);
        }
        out.number(record.stats.len() as u64);
        for (policy, stat) in &record.stats {
            out.number(u64::from(policy.0));
            out.signed(stat.count);
            out.signed(stat.bytes);
            out.signed(stat.inner);
        }
        out.raw(&self.rows_digest);
        out.seal(key)
    }

    pub(crate) fn decode(key: &[u8], value: &[u8]) -> Decoded<Self> {
        let mut from = Decoder::open(key, value, VERSION)?;
        let mut record = ContainerRecord {
            account: from.text()?,
            container: from.text()?,
            created_at: from.timestamp()?,
            put_timestamp: from.timestamp()?,
            delete_timestamp: from.timestamp()?,
            status_changed_at: from.timestamp()?,
            policy: policy(&mut from)?,
            metadata: BTreeMap::new(),
            stats: BTreeMap::new(),
        };
        for _ in 0..from.count()? {
            let (name, value, at) = (from.text()?, from.text()?, from.timestamp()?);
            record.metadata.insert(name, (value, at));
        }
        for _ in 0..from.count()? {
            let policy = policy(&mut from)?;
            let stat = PolicyStat {
                count: from.signed()?,
                bytes: from.signed()?,
                inner: from.signed()?,
            };
            record.stats.insert(policy, stat);
        }
        let rows_digest = from.raw()?;
        from.end()?;
        Ok(StoredContainer { record, rows_digest })
    }
}

pub(super) fn policy(from: &mut Decoder<'_>) -> Decoded<PolicyIndex> {
    let index = u16::try_from(from.number()?).map_err(|_| Damaged)?;
    Ok(PolicyIndex(index))
}

#[cfg(test)]
mod tests {
    use super::*;
    use martlet_protocol::timestamp::Timestamp;

    #[test]
    fn records_read_back() {
        let at = Timestamp::from_secs(5);
        let stat = PolicyStat {
            count: -1,
            bytes: i64::MAX,
            inner: 3,
        };
        let stored = StoredContainer {
            record: ContainerRecord {
                account: "AUTH_a".into(),
                container: "c".into(),
                created_at: at,
                put_timestamp: at.next(),
                delete_timestamp: Timestamp::ZERO,
                status_changed_at: at,
                policy: PolicyIndex(2),
                metadata: BTreeMap::from([("x-container-meta-a".into(), ("v".into(), at))]),
                stats: BTreeMap::from([(PolicyIndex(2), stat)]),
            },
            rows_digest: [3; 16],
        };
        let value = stored.encode(b"k");
        assert_eq!(StoredContainer::decode(b"k", &value), Ok(stored));
    }
}

//! Index keys: big-endian, so that ranges mean something.

use crate::container::Space;
use martlet_protocol::hash::PathHash;
use martlet_protocol::policy::PolicyIndex;
use martlet_protocol::timestamp::Timestamp;

/// Three bytes that begin the keys of changes and digests: kind, policy.
pub(crate) type SpaceKey = [u8; 3];

const OBJECTS: u8 = 1;
const CONTAINERS: u8 = 2;
const ACCOUNTS: u8 = 3;

pub(crate) fn space(space: Space) -> SpaceKey {
    match space {
        Space::Objects(policy) => {
            let [high, low] = policy.0.to_be_bytes();
            [OBJECTS, high, low]
        }
        Space::Containers => [CONTAINERS, 0, 0],
        Space::Accounts => [ACCOUNTS, 0, 0],
    }
}

/// policy, path hash
pub(crate) fn object(policy: PolicyIndex, hash: PathHash) -> [u8; 18] {
    let mut key = [0; 18];
    key[..2].copy_from_slice(&policy.0.to_be_bytes());
    key[2..].copy_from_slice(&hash.0);
    key
}

/// What the key of an object and the keys of its versions begin with.
pub(crate) fn beside(object: &[u8; 18]) -> &[u8] {
    &object[..10]
}

pub(crate) fn read_object(key: &[u8]) -> Option<(PolicyIndex, PathHash)> {
    let key: &[u8; 18] = key.try_into().ok()?;
    let (policy, hash) = key.split_first_chunk::<2>()?;
    Some((
        PolicyIndex(u16::from_be_bytes(*policy)),
        PathHash(hash.try_into().ok()?),
    ))
}

/// policy, path hash, timestamp of the data
pub(crate) fn body(policy: PolicyIndex, hash: PathHash, timestamp: Timestamp) -> [u8; 34] {
    let mut key = [0; 34];
    key[..18].copy_from_slice(&object(policy, hash));
    key[18..26].copy_from_slice(&timestamp.raw().to_be_bytes());
    key[26..].copy_from_slice(&timestamp.offset().to_be_bytes());
    key
}

/// kind, hash; also what the keys of its rows begin with. `None` for a space of objects.
pub(crate) fn container(space: Space, hash: PathHash) -> Option<[u8; 17]> {
    let mut key = [0; 17];
    key[0] = match space {
        Space::Objects(_) => return None,
        Space::Containers => CONTAINERS,
        Space::Accounts => ACCOUNTS,
    };
    key[1..].copy_from_slice(&hash.0);
    Some(key)
}

pub(crate) fn read_container(key: &[u8]) -> Option<(Space, PathHash)> {
    let key: &[u8; 17] = key.try_into().ok()?;
    let space = match key[0] {
        CONTAINERS => Space::Containers,
        ACCOUNTS => Space::Accounts,
        _ => return None,
    };
    Some((space, PathHash(key[1..].try_into().ok()?)))
}

/// container key, name
pub(crate) fn row(container: &[u8; 17], name: &str) -> Vec<u8> {
    [container.as_slice(), name.as_bytes()].concat()
}

/// second, policy, path hash
pub(crate) fn expiry(secs: u64, policy: PolicyIndex, hash: PathHash) -> [u8; 26] {
    let mut key = [0; 26];
    key[..8].copy_from_slice(&secs.to_be_bytes());
    key[8..].copy_from_slice(&object(policy, hash));
    key
}

pub(crate) fn read_expiry(key: &[u8]) -> Option<(u64, PolicyIndex, PathHash)> {
    let (secs, rest) = key.split_first_chunk::<8>()?;
    let (policy, hash) = read_object(rest)?;
    Some((u64::from_be_bytes(*secs), policy, hash))
}

/// space, second, hash, name of the row (empty: the record itself)
pub(crate) fn grave(space: SpaceKey, secs: u64, hash: PathHash, name: &str) -> Vec<u8> {
    [&space[..], &secs.to_be_bytes(), &hash.0, name.as_bytes()].concat()
}

pub(crate) fn read_grave(key: &[u8]) -> Option<(Space, u64, PathHash, &str)> {
    let (space, rest) = key.split_first_chunk::<3>()?;
    let (secs, rest) = rest.split_first_chunk::<8>()?;
    let (hash, name) = rest.split_first_chunk::<16>()?;
    let space = match space[0] {
        OBJECTS => Space::Objects(PolicyIndex(u16::from_be_bytes([space[1], space[2]]))),
        CONTAINERS => Space::Containers,
        ACCOUNTS => Space::Accounts,
        _ => return None,
    };
    let name = std::str::from_utf8(name).ok()?;
    Some((space, u64::from_be_bytes(*secs), PathHash(*hash), name))
}

/// hash of the container, name of the row (empty: any row may be one)
pub(crate) fn stray(hash: PathHash, name: &str) -> Vec<u8> {
    [&hash.0, name.as_bytes()].concat()
}

pub(crate) fn read_stray(key: &[u8]) -> Option<(PathHash, &str)> {
    let (hash, name) = key.split_first_chunk::<16>()?;
    Some((PathHash(*hash), std::str::from_utf8(name).ok()?))
}

/// What stands behind the hash of a container in the keys of its log of what is to be sent to another cluster.
const SYNC_ENTRY: u8 = 1;
const SYNC_NAME: u8 = 2;

/// hash of the container: how far its synchronization has got. Sorts before the container's other keys of the family.
pub(crate) fn sync_state(hash: PathHash) -> [u8; 16] {
    hash.0
}

/// hash of the container, 1, sequence
pub(crate) fn sync_entry(hash: PathHash, sequence: u64) -> [u8; 25] {
    let mut key = [SYNC_ENTRY; 25];
    key[..16].copy_from_slice(&hash.0);
    key[17..].copy_from_slice(&sequence.to_be_bytes());
    key
}

pub(crate) fn read_sync_entry(key: &[u8]) -> Option<u64> {
    let key: &[u8; 25] = key.try_into().ok()?;
    let sequence = key[17..].try_into().ok()?;
    (key[16] == SYNC_ENTRY).then(|| u64::from_be_bytes(sequence))
}

/// hash of the container, 2, name of the row
pub(crate) fn sync_name(hash: PathHash, name: &str) -> Vec<u8> {
    [&hash.0, &[SYNC_NAME][..], name.as_bytes()].concat()
}

/// space, sequence
pub(crate) fn change(space: SpaceKey, sequence: u64) -> [u8; 11] {
    let mut key = [0; 11];
    key[..3].copy_from_slice(&space);
    key[3..].copy_from_slice(&sequence.to_be_bytes());
    key
}

/// space, first 16 bits of the hash
pub(crate) fn digest(space: SpaceKey, prefix: u16) -> [u8; 5] {
    let [high, low] = prefix.to_be_bytes();
    [space[0], space[1], space[2], high, low]
}

/// coalesced or not, sequence or hash
pub(crate) fn outbox(coalesced: bool, key: [u8; 16]) -> [u8; 17] {
    let mut full = [u8::from(coalesced); 17];
    full[1..].copy_from_slice(&key);
    full
}

/// The outbox key of a queued update.
pub(crate) fn outbox_sequence(sequence: u64) -> [u8; 16] {
    u128::from(sequence).to_be_bytes()
}

/// A body file that no record names any more and that is to be unlinked.
pub(crate) fn garbage(file: [u8; 16]) -> [u8; 17] {
    let mut key = [b'g'; 17];
    key[1..].copy_from_slice(&file);
    key
}

/// Up to which sequence changes of a space were forgotten.
pub(crate) fn trimmed(space: SpaceKey) -> [u8; 4] {
    [b't', space[0], space[1], space[2]]
}

/// The newest deletion that was forgotten here because all had it.
pub(crate) const RECLAIMED: &[u8] = b"reclaimed";
/// The moment up to which this device has learnt of every deletion.
pub(crate) const CAUGHT_UP: &[u8] = b"caught-up";

/// Where a worker that goes round and round has got to.
pub(crate) fn place(worker: &str) -> Vec<u8> {
    [b"w", worker.as_bytes()].concat()
}

/// Sequence and counts of the device.
pub(crate) const COUNTERS: &[u8] = b"counters";

/// The smallest key that is larger than every key beginning with `prefix`; `None` when there is none.
pub(crate) fn after(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut key = prefix[..=last].to_vec();
    key[last] += 1;
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_read_back() {
        let (policy, hash) = (PolicyIndex(258), PathHash([7; 16]));
        assert_eq!(read_stray(&stray(hash, "é")), Some((hash, "é")));
        assert_eq!(read_stray(&[1; 15]), None);
        assert_eq!(read_sync_entry(&sync_entry(hash, 300)), Some(300));
        assert_eq!(read_sync_entry(&sync_name(hash, "a name of8")), None);
        assert_eq!(read_object(&object(policy, hash)), Some((policy, hash)));
        assert_eq!(read_expiry(&expiry(99, policy, hash)), Some((99, policy, hash)));
        for each in [Space::Objects(policy), Space::Containers, Space::Accounts] {
            let key = grave(space(each), 12, hash, "n");
            assert_eq!(read_grave(&key), Some((each, 12, hash, "n")));
            let key = container(each, hash);
            assert_eq!(
                key.and_then(|key| read_container(&key)),
                key.map(|_| (each, hash))
            );
        }
        for bad in [&[][..], &[1], &[9; 17], &[0; 40]] {
            assert_eq!((read_object(bad), read_container(bad)), (None, None));
            assert_eq!(read_grave(&bad[..bad.len().min(20)]), None);
        }
    }

    #[test]
    fn the_key_after_a_prefix_bounds_it() {
        assert_eq!(after(b"ab"), Some(b"ac".to_vec()));
        assert_eq!(after(b"a\xff"), Some(b"b".to_vec()));
        assert_eq!(after(b"\xff\xff"), None);
        assert_eq!(after(b""), None);
    }
}

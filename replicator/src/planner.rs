//! Decides what a device pulls from a peer, what it pushes home, and what it may let go. Pure: no I/O, no clock.
//!
//! A round for one device and one space (objects of a policy, containers, or accounts) goes like this:
//!
//! 1. *Pull.* Each other device of the ring is asked for its digests: one sum per 16-bit hash prefix, equal when all
//!    records below it are equal. [`scope`] says which prefixes need comparing at all, [`mismatched`] which of them
//!    differ. For these the versions are exchanged, and [`pulls`] names the hashes of which others have another copy, and
//!    who has it. What is fetched is merged newest-wins, so fetching a copy that turns out to be older does no harm.
//! 2. *Push.* Prefixes of partitions that this device holds without being a primary ([`misplaced`]) are handoff copies.
//!    [`pushes`] says which primaries lack which of them, the rarest copies first. A copy is let go only when every
//!    primary has confirmed that version or a newer one.
//!
//! A peer that is not a primary is asked too: it may hold the handoff copy of a write that we missed. Why a round may be
//! called complete although a peer did not answer stands at [`allowed_unreachable`].

use martlet_protocol::hash::PathHash;
use martlet_protocol::timestamp::Timestamp;
use martlet_storage::Version;
use std::collections::{BTreeMap, BTreeSet};

/// One prefix of the path hash with the sum over the records below it. A prefix without records is not listed.
pub type Digest = (u16, [u8; 16]);

/// The partitions of one ring for which a device is primary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holdings {
    part_power: u32,
    primary: Vec<bool>,
}

/// How the partitions below one 16-bit prefix relate to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    None,
    /// With more than 2^16 partitions a prefix spans several; the device is primary for some.
    Some,
    All,
}

impl Holdings {
    /// `primary[partition]` says whether the device is one of its primaries. Its length is 2 to the `part_power`.
    pub fn new(part_power: u32, primary: Vec<bool>) -> Self {
        assert!(
            part_power <= 32 && primary.len() as u64 == 1 << part_power,
            "one flag for each partition"
        );
        Holdings { part_power, primary }
    }

    /// A device that the ring does not know: whatever it holds, it holds for others.
    pub fn none(part_power: u32) -> Self {
        Self::new(part_power, vec![false; 1 << part_power])
    }

    /// Whether the device is primary for the partition of this hash.
    pub fn holds(&self, hash: &PathHash) -> bool {
        let first = u64::from(u32::from_be_bytes([hash.0[0], hash.0[1], hash.0[2], hash.0[3]]));
        self.primary[(first >> (32 - self.part_power)) as usize]
    }

    /// Whether the device is primary for none, some or all of the partitions below a prefix.
    pub fn share(&self, prefix: u16) -> Share {
        let below = |power: u32| (u64::from(prefix) << power >> 16) as usize;
        let first = below(self.part_power);
        let count = if self.part_power > 16 {
            1 << (self.part_power - 16)
        } else {
            1
        };
        let held = self.primary[first..first + count]
            .iter()
            .filter(|held| **held)
            .count();
        match held {
            0 => Share::None,
            all if all == count => Share::All,
            _ => Share::Some,
        }
    }

    /// Primary for anything at all.
    pub fn any(&self) -> bool {
        self.primary.contains(&true)
    }
}

/// The state of both change logs at the moment at which everything the peer had was here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// Names one life of the peer's device: a restart, or another disk in its place, changes it.
    pub instance: String,
    pub theirs: u64,
    pub mine: u64,
}

/// What a change log says happened after a sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Since {
    /// These prefixes were touched.
    Touched(BTreeSet<u16>),
    /// The log no longer reaches back that far, or more happened than is worth listing.
    Unknown,
}

/// Which prefixes a comparison must look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    All,
    /// All others were proved equal and were not touched since.
    Only(BTreeSet<u16>),
}

/// Narrows the comparison to what either side touched since the last proof. Both sides count: theirs may be newer, and
/// ours may have been lost (a copy in quarantine).
pub fn scope(mine: Since, theirs: Since) -> Scope {
    match (mine, theirs) {
        (Since::Touched(mut mine), Since::Touched(theirs)) => {
            mine.extend(theirs);
            Scope::Only(mine)
        }
        _ => Scope::All,
    }
}

/// Prefixes below which the peer has something that may be missing here. Both lists are ascending. What only we have is
/// the peer's to pull.
pub fn mismatched(mine: &[Digest], theirs: &[Digest], scope: &Scope, holdings: &Holdings) -> Vec<u16> {
    let mut ours = mine.iter().peekable();
    let mut found = Vec::new();
    for (prefix, sum) in theirs {
        while ours.next_if(|(at, _)| at < prefix).is_some() {}
        let equal = ours
            .peek()
            .is_some_and(|(at, our_sum)| at == prefix && our_sum == sum);
        let wanted = match scope {
            Scope::All => true,
            Scope::Only(prefixes) => prefixes.contains(prefix),
        };
        if !equal && wanted && holdings.share(*prefix) != Share::None {
            found.push(*prefix);
        }
    }
    found
}

/// A record that is missing here, or is another one on other devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pull {
    pub hash: PathHash,
    /// Of the newest body that is to be had.
    pub bytes: u64,
    /// There is no such record here at all.
    pub is_new: bool,
    /// The versions that are to be had, the newest first.
    pub offers: Vec<Offer>,
}

/// One version of a record, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    version: Version,
    /// Places in the list of peers.
    pub peers: Vec<usize>,
}

/// What to fetch: the records of our partitions whose version on some peer differs from ours, also when ours looks newer,
/// because its data may be older while its metadata is newer. Each version is fetched once, whoever has it. All lists
/// are ascending by hash; `None`: this peer was not asked or did not answer. The rarest comes first, so that what is
/// closest to being lost is safe soonest.
pub fn pulls(mine: &[Version], theirs: &[Told<'_>], holdings: &Holdings) -> Vec<Pull> {
    let mut found: BTreeMap<PathHash, Pull> = BTreeMap::new();
    for (place, told) in theirs.iter().enumerate() {
        for version in told.unwrap_or_default() {
            let ours = mine.binary_search_by_key(&version.hash, |our| our.hash);
            let is_equal = ours.is_ok_and(|at| mine[at].fingerprint == version.fingerprint);
            if is_equal || !holdings.holds(&version.hash) {
                continue;
            }
            let pull = found.entry(version.hash).or_insert_with(|| Pull {
                hash: version.hash,
                bytes: 0,
                is_new: ours.is_err(),
                offers: Vec::new(),
            });
            let same = pull
                .offers
                .iter_mut()
                .find(|offer| offer.version.fingerprint == version.fingerprint);
            match same {
                Some(offer) => offer.peers.push(place),
                None => pull.offers.push(Offer {
                    version: *version,
                    peers: vec![place],
                }),
            }
        }
    }
    let mut plan: Vec<Pull> = found.into_values().collect();
    for pull in &mut plan {
        pull.offers
            .sort_by_key(|offer| std::cmp::Reverse(offer.version.newest));
        pull.bytes = pull.offers.first().map_or(0, |offer| offer.version.bytes);
    }
    let copies = |pull: &Pull| pull.offers.iter().map(|offer| offer.peers.len()).sum::<usize>();
    plan.sort_by_key(|pull| (copies(pull), pull.hash));
    plan
}

/// Prefixes below which this device holds records of partitions that are not its own.
pub fn misplaced(mine: &[Digest], holdings: &Holdings) -> Vec<u16> {
    mine.iter()
        .map(|(prefix, _)| *prefix)
        .filter(|prefix| holdings.share(*prefix) != Share::All)
        .collect()
}

/// A handoff copy and the primaries that lack it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    pub hash: PathHash,
    /// The version that was compared; the copy is let go only while it is still this one.
    pub newest: Timestamp,
    /// Of the body.
    pub bytes: u64,
    /// Places, in the list of primaries, of those that have another version or none.
    pub lacking: Vec<usize>,
    /// Primaries that could not be asked: the copy must stay.
    pub silent: usize,
}

/// What the primaries of one partition said about a prefix; `None`: this one could not be asked.
pub type Told<'a> = Option<&'a [Version]>;

/// The handoff copies among `mine` (all of one partition), the rarest first, so that what is closest to being lost is
/// safe soonest. A copy that no primary lacks is in the list with nothing to send: it can be let go.
pub fn pushes(mine: &[Version], primaries: &[Told<'_>]) -> Vec<Push> {
    let mut plan: Vec<Push> = mine
        .iter()
        .map(|version| {
            let mut push = Push {
                hash: version.hash,
                newest: version.newest,
                bytes: version.bytes,
                lacking: Vec::new(),
                silent: 0,
            };
            for (place, told) in primaries.iter().enumerate() {
                match told {
                    None => push.silent += 1,
                    Some(versions) if !has(versions, version) => push.lacking.push(place),
                    Some(_) => {}
                }
            }
            push
        })
        .collect();
    plan.sort_by_key(|push| (std::cmp::Reverse(push.lacking.len() + push.silent), push.hash));
    plan
}

fn has(versions: &[Version], version: &Version) -> bool {
    let found = versions.binary_search_by_key(&version.hash, |other| other.hash);
    found.is_ok_and(|at| versions[at].fingerprint == version.fingerprint)
}

/// Whether a handoff copy may go: every primary, and there is at least one, confirmed that version or a newer one.
pub fn may_let_go(primaries: usize, confirmed: usize) -> bool {
    primaries > 0 && confirmed >= primaries
}

/// How many other devices may be silent in a round that still counts as complete.
///
/// An acknowledged write is on `quorum = replicas / 2 + 1` devices. When at most `quorum - 1` of the others were silent,
/// at least one device that has the write was asked, or it is ours. A device that holds nothing may have been wiped, and
/// with it one of those copies: it needs everyone.
pub fn allowed_unreachable(replicas: usize, holds_anything: bool) -> usize {
    if holds_anything { replicas / 2 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(first: u16, last: u8) -> PathHash {
        let mut bytes = [0; 16];
        bytes[..2].copy_from_slice(&first.to_be_bytes());
        bytes[15] = last;
        PathHash(bytes)
    }

    fn version(first: u16, last: u8, content: u8) -> Version {
        let newest = Timestamp::from_secs(u64::from(content));
        Version {
            hash: hash(first, last),
            newest,
            fingerprint: [content; 16],
            bytes: 100 * u64::from(content),
        }
    }

    fn sum(prefix: u16, content: u8) -> Digest {
        (prefix, [content; 16])
    }

    /// Two partitions: the device is primary for the lower half.
    fn lower_half() -> Holdings {
        Holdings::new(1, vec![true, false])
    }

    #[test]
    fn holdings_follow_the_first_bits() {
        let half = lower_half();
        assert!(half.holds(&hash(0x7fff, 1)) && !half.holds(&hash(0x8000, 1)));
        assert_eq!(
            (half.share(0x7fff), half.share(0x8000)),
            (Share::All, Share::None)
        );

        let mut fine = vec![false; 1 << 17];
        (fine[0], fine[2], fine[3]) = (true, true, true);
        let fine = Holdings::new(17, fine);
        assert_eq!(
            (fine.share(0), fine.share(1), fine.share(2)),
            (Share::Some, Share::All, Share::None)
        );

        let one = Holdings::new(0, vec![true]);
        assert!(one.holds(&hash(0xffff, 255)) && one.share(0xffff) == Share::All);
        assert!(!Holdings::none(4).any() && one.any());
    }

    #[test]
    fn only_differing_prefixes_of_ours_are_compared() {
        let mine = [sum(1, 1), sum(2, 2), sum(5, 5)];
        let theirs = [sum(0, 9), sum(1, 1), sum(2, 9), sum(7, 7), sum(0x9000, 9)];
        let only = |prefixes: &[u16]| Scope::Only(prefixes.iter().copied().collect());
        for (scope, expected) in [
            (Scope::All, vec![0, 2, 7]),
            (only(&[1, 2, 3]), vec![2]),
            (only(&[]), vec![]),
        ] {
            assert_eq!(
                mismatched(&mine, &theirs, &scope, &lower_half()),
                expected,
                "{scope:?}"
            );
        }
        assert_eq!(
            mismatched(&[], &[], &Scope::All, &lower_half()),
            Vec::<u16>::new()
        );
    }

    #[test]
    fn the_scope_is_what_either_side_touched() {
        let touched = |prefixes: &[u16]| Since::Touched(prefixes.iter().copied().collect());
        assert_eq!(scope(touched(&[1]), touched(&[2, 1])), Scope::Only([1, 2].into()));
        assert_eq!(scope(touched(&[]), touched(&[])), Scope::Only(BTreeSet::new()));
        assert_eq!(scope(Since::Unknown, touched(&[2])), Scope::All);
        assert_eq!(scope(touched(&[2]), Since::Unknown), Scope::All);
    }

    #[test]
    fn what_differs_there_is_pulled_and_what_is_only_here_is_not() {
        let mine = [version(1, 1, 1), version(1, 2, 9), version(1, 4, 4)];
        let theirs = [
            version(1, 1, 1),
            version(1, 2, 2),
            version(1, 3, 3),
            version(0x9000, 1, 1),
        ];
        let named = |mine: &[Version], theirs: &[Told<'_>]| -> Vec<_> {
            let plan = pulls(mine, theirs, &lower_half());
            plan.iter()
                .map(|pull| (pull.hash, pull.bytes, pull.is_new))
                .collect()
        };
        let missing = [(hash(1, 2), 200, false), (hash(1, 3), 300, true)];
        assert_eq!(named(&mine, &[Some(&theirs)]), missing);
        assert_eq!(named(&mine, &[None, Some(&theirs), Some(&theirs)]), missing);
        assert_eq!(named(&[], &[Some(&theirs[..1])]), [(hash(1, 1), 100, true)]);
        assert!(named(&mine, &[Some(&[]), None]).is_empty());
    }

    #[test]
    fn a_version_is_asked_of_one_peer_and_the_rarest_comes_first() {
        let first = [version(1, 1, 1), version(1, 2, 2), version(1, 3, 3)];
        let second = [version(1, 1, 1), version(1, 2, 5)];
        let plan = pulls(&[], &[Some(&first), None, Some(&second)], &lower_half());
        let told: Vec<_> = plan
            .iter()
            .map(|pull| {
                let offers: Vec<_> = pull.offers.iter().map(|offer| offer.peers.clone()).collect();
                (pull.hash, pull.bytes, offers)
            })
            .collect();
        assert_eq!(
            told,
            [
                (hash(1, 3), 300, vec![vec![0]]),
                (hash(1, 1), 100, vec![vec![0, 2]]),
                (hash(1, 2), 500, vec![vec![2], vec![0]]),
            ]
        );
    }

    #[test]
    fn handoffs_are_what_is_not_ours() {
        assert_eq!(
            misplaced(&[sum(1, 1), sum(0x8000, 1), sum(0xffff, 1)], &lower_half()),
            [0x8000, 0xffff]
        );
    }

    #[test]
    fn the_rarest_copy_goes_home_first_and_silence_keeps_it() {
        let mine = [version(9, 1, 1), version(9, 2, 2), version(9, 3, 3)];
        let full = [version(9, 1, 1), version(9, 2, 2), version(9, 3, 3)];
        let some = [version(9, 1, 1), version(9, 2, 7)];
        let plan = pushes(&mine, &[Some(&full), Some(&some), Some(&[]), None]);
        let told: Vec<_> = plan
            .iter()
            .map(|push| (push.hash, push.lacking.clone(), push.silent))
            .collect();
        assert_eq!(
            told,
            [
                (hash(9, 2), vec![1, 2], 1),
                (hash(9, 3), vec![1, 2], 1),
                (hash(9, 1), vec![2], 1),
            ]
        );
    }

    #[test]
    fn a_copy_goes_only_when_every_primary_confirmed() {
        for (primaries, confirmed, go) in [
            (3, 3, true),
            (3, 2, false),
            (0, 0, false),
            (1, 1, true),
            (1, 0, false),
        ] {
            assert_eq!(may_let_go(primaries, confirmed), go, "{primaries} {confirmed}");
        }
    }

    #[test]
    fn a_minority_may_be_silent_unless_we_hold_nothing() {
        for (replicas, holds, allowed) in [
            (3, true, 1),
            (3, false, 0),
            (1, true, 0),
            (2, true, 1),
            (5, true, 2),
        ] {
            assert_eq!(
                allowed_unreachable(replicas, holds),
                allowed,
                "{replicas} {holds}"
            );
        }
    }
}

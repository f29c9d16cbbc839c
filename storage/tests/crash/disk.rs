//! What of a device's directory has reached the disk, by the letter of POSIX: the bytes of a file when the file was
//! synced, its name when its folder was. And the directories that a power loss would leave.
//!
//! A name that comes, goes or moves is one change, lost or kept as a whole. What is kept of one folder's changes is the
//! first few, as file systems with a journal do it (RocksDB asks for that much); folders are on their own, but a file
//! has its changes in order too. Bytes past the last sync are lost, kept, or cut anywhere with zeros in the rest.

use crate::facts::{Expected, Facts};
use crate::syscalls::{self, Change, Made};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Of the steps that only RocksDB makes, power is lost at one in so many.
const INDEX_STEPS: usize = 12;

/// What a power loss takes of that which was not synced.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Loss {
    AllUnsynced,
    /// By the throw of a coin, from this seed.
    Some(u64),
}

/// A directory as a power loss left it, and what must be found in it.
pub(crate) struct Image {
    pub(crate) path: PathBuf,
    pub(crate) moment: String,
    pub(crate) expected: Facts,
}

/// The handle of the test; the disk itself is one for the program, as the system's calls are.
pub(crate) struct Disk;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Node {
    Folder,
    File(u64),
}

struct Kept {
    /// Reads what has no name any more.
    reader: File,
    synced_bytes: u64,
}

/// Names that change together: `None` goes.
struct Renaming(Vec<(PathBuf, Option<Node>)>);

struct State {
    root: PathBuf,
    images_folder: PathBuf,
    losses: Vec<Loss>,
    lying: bool,
    expected: Expected,
    files: BTreeMap<u64, Kept>,
    live: BTreeMap<PathBuf, Node>,
    durable: BTreeMap<PathBuf, Node>,
    pending: Vec<Renaming>,
    /// Each step with how often it was seen.
    steps: BTreeMap<String, usize>,
    images: Vec<Image>,
    made: u64,
}

static STATE: Mutex<Option<State>> = Mutex::new(None);

impl Disk {
    /// Watches a device that is at rest: all there is of it is durable.
    pub(crate) fn watch(
        root: &Path,
        images: &Path,
        losses: &[Loss],
        lying: bool,
        expected: Expected,
    ) -> Self {
        let mut state = State {
            root: root.to_owned(),
            images_folder: images.to_owned(),
            losses: losses.to_vec(),
            lying,
            expected,
            files: BTreeMap::new(),
            live: BTreeMap::new(),
            durable: BTreeMap::new(),
            pending: Vec::new(),
            steps: BTreeMap::new(),
            images: Vec::new(),
            made: 0,
        };
        state.take_in(root);
        state.live = state.durable.clone();
        *STATE.lock().unwrap_or_else(PoisonError::into_inner) = Some(state);
        syscalls::watch(Some(root.to_owned()));
        Disk
    }

    /// The images made since the last call.
    pub(crate) fn take_images(&self) -> Vec<Image> {
        let mut state = STATE.lock().unwrap_or_else(PoisonError::into_inner);
        state
            .as_mut()
            .map(|state| std::mem::take(&mut state.images))
            .unwrap_or_default()
    }

    /// Watches no more; the steps that were seen.
    pub(crate) fn end(self) -> BTreeMap<String, usize> {
        syscalls::watch(None);
        let state = STATE.lock().unwrap_or_else(PoisonError::into_inner).take();
        state.map(|state| state.steps).unwrap_or_default()
    }
}

/// A call on the device: power is lost before it, then it is made, and what it did is noted. One at a time.
pub(crate) fn step<T: Copy>(
    name: Option<&'static str>,
    change: Change,
    call: impl FnOnce() -> T,
    succeeded: impl FnOnce(T) -> bool,
) -> T {
    let mut guard = STATE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(state) = guard.as_mut() else {
        return call();
    };
    if let Some(name) = name {
        let times = state.steps.entry(name.to_owned()).or_default();
        *times += 1;
        // RocksDB makes and removes its tables in hundreds of steps, and its own tests look at each.
        if !name.starts_with("index") || *times % INDEX_STEPS == 1 {
            state.lose_power(name);
        }
    }
    let done = call();
    if succeeded(done) {
        state.note(change);
    }
    done
}

impl State {
    fn take_in(&mut self, folder: &Path) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                self.durable.insert(path.clone(), Node::Folder);
                self.take_in(&path);
            } else {
                let node = self.open(&path);
                if let Node::File(number) = node
                    && let Some(kept) = self.files.get_mut(&number)
                {
                    kept.synced_bytes = kept.reader.metadata().unwrap().len();
                }
                self.durable.insert(path, node);
            }
        }
    }

    fn open(&mut self, path: &Path) -> Node {
        let reader = File::open(path).unwrap();
        let number = reader.metadata().unwrap().ino();
        let kept = Kept {
            reader,
            synced_bytes: 0,
        };
        self.files.insert(number, kept);
        Node::File(number)
    }

    fn note(&mut self, change: Change) {
        match change {
            Change::Write => {}
            Change::Create { path, mode } => {
                let node = match mode {
                    Made::Folder => Node::Folder,
                    Made::File => self.open(&path),
                };
                self.rename(vec![(path, Some(node))]);
            }
            Change::Remove { path } => self.rename(vec![(path, None)]),
            Change::Rename { from, to } => {
                let node = self.live.get(&from).copied();
                self.rename(vec![(from, None), (to, node)]);
            }
            Change::Sync { fd } => self.sync(fd),
        }
    }

    fn rename(&mut self, names: Vec<(PathBuf, Option<Node>)>) {
        apply(&mut self.live, &names);
        self.pending.push(Renaming(names));
    }

    fn sync(&mut self, fd: std::ffi::c_int) {
        let path = fs::read_link(format!("/proc/self/fd/{fd}")).unwrap();
        if self.lying {
            return;
        }
        if path.is_dir() {
            let chosen = |names: &Renaming| names.0.iter().any(|(name, _)| name.parent() == Some(&path));
            let wanted: Vec<bool> = self.pending.iter().map(chosen).collect();
            let kept = self.with_what_they_build_on(wanted);
            let pending = std::mem::take(&mut self.pending);
            for (names, kept) in pending.into_iter().zip(kept) {
                match kept {
                    true => apply(&mut self.durable, &names.0),
                    false => self.pending.push(names),
                }
            }
            self.forget_what_is_gone();
        } else {
            let metadata = fs::metadata(format!("/proc/self/fd/{fd}")).unwrap();
            if let Some(kept) = self.files.get_mut(&metadata.ino()) {
                kept.synced_bytes = metadata.len();
            }
        }
    }

    /// Adds each change that a wanted later one builds on.
    fn with_what_they_build_on(&self, mut wanted: Vec<bool>) -> Vec<bool> {
        let mut folders = BTreeSet::new();
        let mut nodes = BTreeSet::new();
        for (at, Renaming(changes)) in self.pending.iter().enumerate().rev() {
            wanted[at] |= changes.iter().any(|(name, node)| {
                // A folder's own name comes before the names in it.
                name.parent().is_some_and(|folder| folders.contains(folder))
                    || folders.contains(name)
                    || node.is_some_and(|node| node != Node::Folder && nodes.contains(&node))
            });
            if wanted[at] {
                folders.extend(
                    changes
                        .iter()
                        .filter_map(|(name, _)| name.parent().map(Path::to_owned)),
                );
                nodes.extend(changes.iter().filter_map(|(_, node)| *node));
            }
        }
        wanted
    }

    fn forget_what_is_gone(&mut self) {
        let named = self.durable.values().chain(self.live.values());
        let pending = self
            .pending
            .iter()
            .flat_map(|names| names.0.iter().filter_map(|(_, node)| node.as_ref()));
        let needed: BTreeSet<Node> = named.chain(pending).copied().collect();
        self.files
            .retain(|number, _| needed.contains(&Node::File(*number)));
    }

    fn lose_power(&mut self, step: &str) {
        for loss in self.losses.clone() {
            self.made += 1;
            let path = self.images_folder.join(self.made.to_string());
            let mut coin = match loss {
                Loss::Some(seed) => Coin(seed.wrapping_mul(0x9e37_79b9) ^ (self.made << 20) | 1),
                _ => Coin(1),
            };
            self.make_image(&path, loss, &mut coin);
            let moment = format!("{loss:?} lost before \"{step}\" (image {})", self.made);
            let expected = self.expected.now();
            self.images.push(Image {
                path,
                moment,
                expected,
            });
        }
    }

    fn make_image(&self, place: &Path, loss: Loss, coin: &mut Coin) {
        let wanted = self.pending.iter().map(|_| match loss {
            Loss::AllUnsynced => false,
            Loss::Some(_) => coin.below(2) == 0,
        });
        let kept = self.with_what_they_build_on(wanted.collect());
        let mut names = self.durable.clone();
        for (Renaming(changes), _) in self.pending.iter().zip(kept).filter(|(_, kept)| *kept) {
            apply(&mut names, changes);
        }
        fs::create_dir(place).unwrap();
        for (name, node) in names {
            let copy = place.join(name.strip_prefix(&self.root).unwrap());
            let number = match node {
                Node::Folder => {
                    // Fails when the folder around it was lost; then it cannot be found either.
                    let _ = fs::create_dir(&copy);
                    continue;
                }
                Node::File(number) => number,
            };
            let Some(file) = self.files.get(&number) else {
                continue;
            };
            let all = file.reader.metadata().unwrap().len();
            let synced = file.synced_bytes.min(all);
            let (bytes, zeros) = match loss {
                Loss::AllUnsynced => (synced, 0),
                Loss::Some(_) => {
                    let bytes = synced + coin.below(all - synced + 1);
                    let zeros = coin.below(2) * coin.below(all - bytes + 1);
                    (bytes, if is_manifest(&name) { 0 } else { zeros })
                }
            };
            let mut content = vec![0; (bytes + zeros) as usize];
            file.reader
                .read_exact_at(&mut content[..bytes as usize], 0)
                .unwrap();
            if copy.parent().is_some_and(Path::is_dir) {
                fs::write(copy, content).unwrap();
            }
        }
    }
}

/// RocksDB takes a manifest that ends early, but refuses one with zeros where a record should be. It trusts that a file
/// grows only by bytes that are there, as ext4 (in its usual mode), XFS and btrfs do it.
fn is_manifest(name: &Path) -> bool {
    let name = name.file_name().unwrap_or_default();
    name.to_string_lossy().starts_with("MANIFEST")
}

fn apply(names: &mut BTreeMap<PathBuf, Node>, changes: &[(PathBuf, Option<Node>)]) {
    for (name, node) in changes {
        match node {
            Some(node) => drop(names.insert(name.clone(), *node)),
            None => drop(names.remove(name)),
        }
    }
}

/// A small generator: the same losses on every run of the same steps.
struct Coin(u64);

impl Coin {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

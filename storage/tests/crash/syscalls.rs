//! Stands before the C library's functions that change a disk, for the whole program: std's and RocksDB's calls come here.
//!
//! Calls on paths outside the watched device go straight on. Calls on it are named as steps, told to the watcher before
//! and after, one at a time, so that the watcher always sees a disk at rest. Failures go through as they are: `errno`
//! is set by the call itself.

use crate::disk;
use std::cell::Cell;
use std::ffi::{CStr, OsStr, c_char, c_int, c_uint, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};

/// Open flags that matter here, the same on every architecture of Linux that Rust's standard library has 64 bits for.
const O_CREAT: c_int = 0o100;
pub(crate) const SIGKILL: c_int = 9;

unsafe extern "C" {
    fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void;
    fn kill(process: c_int, signal: c_int) -> c_int;
    fn getpid() -> c_int;
    fn pause() -> c_int;
}

/// The C library's own function behind the one of the same name here, looked up once.
macro_rules! behind {
    ($name:ident as $kind:ty) => {{
        static FOUND: OnceLock<usize> = OnceLock::new();
        let address = *FOUND.get_or_init(|| {
            // `RTLD_NEXT`: the next library after this program.
            let next = usize::MAX as *mut c_void;
            let name = concat!(stringify!($name), "\0");
            // SAFETY: the name ends in NUL.
            let found = unsafe { dlsym(next, name.as_ptr().cast()) };
            assert!(!found.is_null(), "the C library has no {}", stringify!($name));
            found as usize
        });
        // SAFETY: the C library's function of this name has this signature.
        unsafe { std::mem::transmute::<usize, $kind>(address) }
    }};
}

thread_local! {
    /// This thread works for the watcher: its own calls are nobody's steps.
    static ASIDE: Cell<bool> = const { Cell::new(false) };
}

/// What a call does, as far as a disk cares.
pub(crate) enum Change {
    Create { path: PathBuf, mode: Made },
    Write,
    Sync { fd: c_int },
    Rename { from: PathBuf, to: PathBuf },
    Remove { path: PathBuf },
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Made {
    File,
    Folder,
}

/// The device that is watched, if any.
static ROOT: Mutex<Option<PathBuf>> = Mutex::new(None);
static KILL: OnceLock<(PathBuf, String, u64, String)> = OnceLock::new();
static SEEN: AtomicU64 = AtomicU64::new(0);

/// Sets the device whose calls are told to the watcher.
pub(crate) fn watch(root: Option<PathBuf>) {
    *ROOT.lock().unwrap() = root;
}

/// From now on the process dies at a step: "before" or "after", which time, name.
pub(crate) fn kill_at(device: &Path, when: &str) {
    let mut words = when.splitn(3, ' ');
    let (Some(side), Some(time), Some(step)) = (words.next(), words.next(), words.next()) else {
        panic!("{when} is no moment");
    };
    let moment = (
        device.to_owned(),
        side.to_owned(),
        time.parse().unwrap(),
        step.to_owned(),
    );
    KILL.set(moment).unwrap();
    watch(Some(device.to_owned()));
}

/// Runs without being watched.
pub(crate) fn aside<T>(work: impl FnOnce() -> T) -> T {
    let before = ASIDE.replace(true);
    let done = work();
    ASIDE.set(before);
    done
}

fn root() -> Option<PathBuf> {
    if ASIDE.get() {
        return None;
    }
    ROOT.lock().unwrap().clone()
}

/// The name of a change to something below the device, as told to people.
fn step(change: &Change, below: &Path, folder: bool) -> Option<&'static str> {
    let top = below.components().next().map(|part| part.as_os_str().to_owned());
    let top = top.as_deref().and_then(OsStr::to_str).unwrap_or("");
    let is_log = below.extension() == Some(OsStr::new("log"));
    Some(match (change, top) {
        (
            Change::Create {
                mode: Made::Folder, ..
            },
            _,
        ) => return None,
        (Change::Create { .. }, "incoming") => "body file created",
        (Change::Write, "incoming" | "bodies") => "body written",
        (Change::Sync { .. }, "incoming") if folder => "incoming synced",
        (Change::Sync { .. }, "incoming") => "body synced",
        (Change::Sync { .. }, "bodies") => "bodies synced",
        (Change::Rename { .. }, "incoming") => "body moved to its place",
        (Change::Remove { .. }, "incoming" | "bodies") => "body removed",
        (Change::Write, "index") if is_log => "log written",
        (Change::Sync { .. }, "index") if is_log => "log synced",
        (Change::Create { .. }, "index") => "index file created",
        (Change::Write, "index") => "index written",
        (Change::Sync { .. }, "index") if folder => "index folder synced",
        (Change::Sync { .. }, "index") => "index synced",
        (Change::Rename { .. }, "index") => "index renamed",
        (Change::Remove { .. }, "index") => "index removed",
        _ => return None,
    })
}

fn path_of(fd: c_int) -> Option<PathBuf> {
    aside(|| std::fs::read_link(format!("/proc/self/fd/{fd}"))).ok()
}

/// # Safety
/// As for the C library's functions: a string that ends in NUL.
unsafe fn path_from(text: *const c_char) -> PathBuf {
    // SAFETY: the caller's promise.
    let text = unsafe { CStr::from_ptr(text) };
    PathBuf::from(OsStr::from_bytes(text.to_bytes()))
}

/// Makes the call; if it changes the device, as a step. `succeeded` reads the call's answer.
fn during<T: Copy>(
    change: impl FnOnce() -> Change,
    path: Option<PathBuf>,
    call: impl FnOnce() -> T,
    succeeded: impl FnOnce(T) -> bool,
) -> T {
    let (Some(root), Some(path)) = (root(), path) else {
        return call();
    };
    let Ok(below) = path.strip_prefix(&root) else {
        return call();
    };
    let change = change();
    let folder = aside(|| path.is_dir());
    let name = step(&change, below, folder);
    if let Some((_, side, time, step)) = KILL.get() {
        let now = name == Some(step) && SEEN.fetch_add(1, Ordering::SeqCst) + 1 == *time;
        if now && side == "before" {
            die();
        }
        let done = call();
        if now {
            die();
        }
        return done;
    }
    ASIDE.set(true);
    let done = disk::step(name, change, call, succeeded);
    ASIDE.set(false);
    done
}

fn die() {
    // SAFETY: no memory is involved; the process ends here.
    unsafe {
        kill(getpid(), SIGKILL);
        loop {
            pause();
        }
    }
}

type Open = unsafe extern "C" fn(*const c_char, c_int, ...) -> c_int;
type Write = unsafe extern "C" fn(c_int, *const c_void, usize) -> isize;
type WriteParts = unsafe extern "C" fn(c_int, *const c_void, c_int) -> isize;
type WriteAt = unsafe extern "C" fn(c_int, *const c_void, usize, i64) -> isize;
type Sync = unsafe extern "C" fn(c_int) -> c_int;
type OfName = unsafe extern "C" fn(*const c_char) -> c_int;
type OfNames = unsafe extern "C" fn(*const c_char, *const c_char) -> c_int;
type OfNameAndMode = unsafe extern "C" fn(*const c_char, c_uint) -> c_int;

/// Opens; what was not there before is a creation.
///
/// # Safety
/// As `open(2)`.
unsafe fn open_by(real: Open, path: *const c_char, flags: c_int, mode: c_uint) -> c_int {
    // SAFETY: arguments as the caller gave them.
    let call = || unsafe { real(path, flags, mode) };
    if flags & O_CREAT == 0 {
        return call();
    }
    // SAFETY: the caller's promise.
    let name = unsafe { path_from(path) };
    if aside(|| name.exists()) {
        return call();
    }
    let change = || Change::Create {
        path: name.clone(),
        mode: Made::File,
    };
    during(change, Some(name.clone()), call, |fd| fd >= 0)
}

// The third argument comes as the C library's variadic functions take it, on all 64-bit machines of Linux.

#[unsafe(no_mangle)]
unsafe extern "C" fn open(path: *const c_char, flags: c_int, mode: c_uint) -> c_int {
    let real = behind!(open as Open);
    // SAFETY: the caller's promise.
    unsafe { open_by(real, path, flags, mode) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn open64(path: *const c_char, flags: c_int, mode: c_uint) -> c_int {
    let real = behind!(open64 as Open);
    // SAFETY: the caller's promise.
    unsafe { open_by(real, path, flags, mode) }
}

/// A write, however it is called.
fn writing(fd: c_int, call: impl FnOnce() -> isize) -> isize {
    let path = root().and_then(|_| path_of(fd));
    during(|| Change::Write, path, call, |count| count >= 0)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn write(fd: c_int, bytes: *const c_void, count: usize) -> isize {
    let real = behind!(write as Write);
    // SAFETY: arguments as the caller gave them.
    writing(fd, || unsafe { real(fd, bytes, count) })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn writev(fd: c_int, parts: *const c_void, count: c_int) -> isize {
    let real = behind!(writev as WriteParts);
    // SAFETY: arguments as the caller gave them.
    writing(fd, || unsafe { real(fd, parts, count) })
}

fn sync(fd: c_int, real: Sync) -> c_int {
    let path = root().and_then(|_| path_of(fd));
    // SAFETY: a file descriptor is all there is.
    during(
        || Change::Sync { fd },
        path,
        || unsafe { real(fd) },
        |done| done == 0,
    )
}

#[unsafe(no_mangle)]
extern "C" fn fsync(fd: c_int) -> c_int {
    sync(fd, behind!(fsync as Sync))
}

#[unsafe(no_mangle)]
extern "C" fn fdatasync(fd: c_int) -> c_int {
    sync(fd, behind!(fdatasync as Sync))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn rename(from: *const c_char, to: *const c_char) -> c_int {
    let real = behind!(rename as OfNames);
    // SAFETY: the caller's promise.
    let (old, new) = unsafe { (path_from(from), path_from(to)) };
    let change = || Change::Rename {
        from: old.clone(),
        to: new.clone(),
    };
    // SAFETY: arguments as the caller gave them.
    during(
        change,
        Some(old.clone()),
        || unsafe { real(from, to) },
        |done| done == 0,
    )
}

#[unsafe(no_mangle)]
unsafe extern "C" fn unlink(path: *const c_char) -> c_int {
    let real = behind!(unlink as OfName);
    // SAFETY: the caller's promise.
    let name = unsafe { path_from(path) };
    let change = || Change::Remove { path: name.clone() };
    // SAFETY: arguments as the caller gave them.
    during(
        change,
        Some(name.clone()),
        || unsafe { real(path) },
        |done| done == 0,
    )
}

#[unsafe(no_mangle)]
unsafe extern "C" fn mkdir(path: *const c_char, mode: c_uint) -> c_int {
    let real = behind!(mkdir as OfNameAndMode);
    // SAFETY: the caller's promise.
    let name = unsafe { path_from(path) };
    let change = || Change::Create {
        path: name.clone(),
        mode: Made::Folder,
    };
    // SAFETY: arguments as the caller gave them.
    during(
        change,
        Some(name.clone()),
        || unsafe { real(path, mode) },
        |done| done == 0,
    )
}

/// Nothing of ours writes in place: what would, is not understood by `disk.rs`, and must not go unseen.
fn refuse_in_place(fd: c_int) {
    if let (Some(root), Some(path)) = (root(), path_of(fd))
        && path.starts_with(&root)
    {
        eprintln!("{} is written in place", path.display());
        std::process::abort();
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pwrite(fd: c_int, bytes: *const c_void, count: usize, at: i64) -> isize {
    refuse_in_place(fd);
    let real = behind!(pwrite as WriteAt);
    // SAFETY: arguments as the caller gave them.
    unsafe { real(fd, bytes, count, at) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pwrite64(fd: c_int, bytes: *const c_void, count: usize, at: i64) -> isize {
    refuse_in_place(fd);
    let real = behind!(pwrite64 as WriteAt);
    // SAFETY: arguments as the caller gave them.
    unsafe { real(fd, bytes, count, at) }
}

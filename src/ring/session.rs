//! One run of the command line: its files, its terminal, its time.

use martlet_ring::builder::{Builder, BuilderError};
use martlet_ring::file::{self, FormatVersion};
use martlet_ring::{Device, RingParts};
use std::fmt::Display;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufRead, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Largest file that is read: a pickle's limit, which is above a ring's.
const MAX_FILE_BYTES: u64 = 1 << 30;

/// How long another command may hold the folder, as in `swift-ring-builder-safe`.
const LOCK_TIMEOUT: Duration = Duration::from_secs(15);

/// How a command ended, as scripts see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Success = 0,
    Warning = 1,
    Error = 2,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// What went wrong, in words for the operator; nothing was saved.
#[derive(Debug)]
pub struct Failure {
    pub text: String,
    /// The command line itself is wrong, which is said apart from what scripts read.
    pub is_usage: bool,
}

impl Failure {
    pub fn said(text: impl Into<String>) -> Failure {
        Failure {
            text: text.into(),
            is_usage: false,
        }
    }

    /// An option that does not exist, or lacks what it needs.
    pub fn usage(text: impl Display) -> Failure {
        Failure {
            text: format!("martlet ring: error: {text}"),
            is_usage: true,
        }
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Failure {
        Failure::said(error.to_string())
    }
}

/// The two files that a builder's name stands for.
#[derive(Default)]
pub struct Paths {
    pub builder: PathBuf,
    pub ring: PathBuf,
}

impl Paths {
    /// Either file may be named, or the builder by any name.
    pub fn of(given: &str) -> Paths {
        let (builder, stem) = match given.strip_suffix(".ring.gz") {
            Some(stem) => (format!("{stem}.builder"), stem),
            None => (given.to_owned(), given.strip_suffix(".builder").unwrap_or(given)),
        };
        Paths {
            builder: builder.into(),
            ring: format!("{stem}.ring.gz").into(),
        }
    }
}

pub struct Session {
    pub paths: Paths,
    pub now_secs: u64,
    builder: Option<Builder>,
    out: Box<dyn Write>,
    input: Box<dyn BufRead>,
}

impl Session {
    pub fn of_this_process() -> Session {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Session {
            paths: Paths::default(),
            now_secs: now.as_secs(),
            builder: None,
            out: Box::new(io::BufWriter::new(io::stdout())),
            input: Box::new(io::stdin().lock()),
        }
    }

    /// Writes one line. Whoever reads may have gone, which is no failure of the command.
    pub fn say(&mut self, line: impl Display) {
        let _ = writeln!(self.out, "{line}");
    }

    /// Writes one line apart from what scripts read.
    pub fn warn(&mut self, line: impl Display) {
        self.flush();
        let _ = writeln!(io::stderr(), "{line}");
    }

    pub fn flush(&mut self) {
        let _ = self.out.flush();
    }

    /// Whether the answer is `y`; the end of input is another answer.
    pub fn ask(&mut self, question: &str) -> bool {
        let _ = write!(self.out, "{question}");
        self.flush();
        let mut answer = String::new();
        let read = (&mut self.input).take(1024).read_line(&mut answer);
        read.is_ok() && answer.trim_end_matches(['\r', '\n']) == "y"
    }

    /// Reads the builder's file; one that is not there may be what the command expects.
    pub fn load(&mut self, may_be_new: bool) -> Result<(), Failure> {
        let path = self.paths.builder.display();
        let bytes = match read_file(&self.paths.builder) {
            Ok(bytes) => bytes,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => {
                if may_be_new {
                    return Ok(());
                }
                return Err(Failure::said(match error.kind() {
                    ErrorKind::NotFound => format!("Ring Builder file does not exist: {path}"),
                    _ => format!("Ring Builder file cannot be accessed: {path}"),
                }));
            }
            Err(error) => {
                return Err(Failure::said(format!(
                    "Problem occurred while reading builder file: {path}. {error}"
                )));
            }
        };
        match Builder::from_file(&bytes) {
            Ok(builder) => {
                self.builder = Some(builder);
                Ok(())
            }
            Err(BuilderError::Pickle(_)) if super::composer::is_composite(&bytes) => {
                Err(Failure::said(format!(
                    "Ring Builder file is invalid: {path} (it appears to be a composite ring builder file?)"
                )))
            }
            Err(BuilderError::Pickle(error)) => Err(Failure::said(format!(
                "Ring Builder file is invalid: {path}: {error}"
            ))),
            Err(error) => Err(Failure::said(format!(
                "Problem occurred while reading builder file: {path}. {error}"
            ))),
        }
    }

    pub fn builder(&mut self) -> Result<&mut Builder, Failure> {
        let path = &self.paths.builder;
        let missing = || Failure::said(format!("Ring Builder file does not exist: {}", path.display()));
        self.builder.as_mut().ok_or_else(missing)
    }

    /// Puts another builder in the place of the one that was read.
    pub fn set_builder(&mut self, builder: Builder) {
        self.builder = Some(builder);
    }

    /// Saves the builder's file.
    pub fn save_builder(&mut self) -> Result<(), Failure> {
        let path = self.paths.builder.clone();
        self.save_builder_as(&path)
    }

    fn save_builder_as(&mut self, path: &Path) -> Result<(), Failure> {
        let builder = self.builder()?;
        builder.name_if_unnamed(new_id);
        let bytes = builder.to_file();
        write_file(path, &bytes)
    }

    /// Saves the builder's file, and a copy in the folder of backups.
    pub fn save_builder_with_backup(&mut self) -> Result<(), Failure> {
        let backup = self.backup_of(&self.paths.builder)?;
        self.save_builder_as(&backup)?;
        self.save_builder()
    }

    /// Saves the ring's file, and a copy in the folder of backups.
    pub fn save_ring(&mut self, parts: &RingParts, version: FormatVersion) -> Result<(), Failure> {
        let bytes = file::write(parts, version)?;
        let backup = self.backup_of(&self.paths.ring)?;
        write_file(&backup, &bytes)?;
        write_file(&self.paths.ring, &bytes)
    }

    fn backup_of(&self, path: &Path) -> Result<PathBuf, Failure> {
        let folder = folder_of(path).join("backups");
        let fail = |error: io::Error| Failure::said(format!("{}: {error}", folder.display()));
        std::fs::create_dir_all(&folder).map_err(fail)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        Ok(folder.join(format!("{}.{name}", self.now_secs)))
    }
}

/// Keeps other commands off a folder while it lives.
pub struct Lock {
    _file: File,
}

impl Lock {
    /// The file is the one that `swift-ring-builder-safe` locks.
    pub fn of_folder_of(path: &Path) -> Result<Lock, Failure> {
        let lock_path = folder_of(path).join(".lock");
        let fail = |error: io::Error| Failure::said(format!("{}: {error}", lock_path.display()));
        let open = OpenOptions::new().create(true).append(true).open(&lock_path);
        let file = open.map_err(fail)?;
        let deadline = Instant::now() + LOCK_TIMEOUT;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Lock { _file: file }),
                Err(TryLockError::Error(error)) => return Err(fail(error)),
                Err(TryLockError::WouldBlock) if Instant::now() > deadline => {
                    return Err(Failure::said("Ring/builder dir currently locked."));
                }
                Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }
}

/// Reads a file that is not absurdly large.
pub fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(io::Error::other("the file is too large"));
    }
    Ok(bytes)
}

/// Replaces a file in one step, so that a reader or a crash sees the old one or the new one, whole.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let folder = folder_of(path);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = folder.join(format!(".{name}.{}", std::process::id()));
    let write = || -> io::Result<()> {
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)?;
        File::open(folder)?.sync_all()
    };
    write().map_err(|error| {
        // It may not have been made at all.
        let _ = std::fs::remove_file(&temporary);
        Failure::said(format!("{}: {error}", path.display()))
    })
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// A number that nobody foresees. The standard library seeds its hashers from the system.
pub fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::hash::RandomState::new().build_hasher().finish()
}

fn new_id() -> String {
    format!("{:016x}{:016x}", random(), random())
}

/// A device as commands show it.
pub fn shown(device: &Device) -> String {
    format!(
        "d{}r{}z{}-{}:{}R{}:{}/{}_\"{}\"",
        device.id,
        device.region,
        device.zone,
        bracketed(&device.ip),
        device.port,
        bracketed(&device.replication_ip),
        device.replication_port,
        device.device,
        device.meta
    )
}

/// IPv6 addresses stand in brackets before a port.
pub fn bracketed(ip: &str) -> String {
    match ip.contains(':') {
        true => format!("[{ip}]"),
        false => ip.to_owned(),
    }
}

/// A time span as Python shows it: `1 day, 2:03:04`.
pub fn span(secs: u64) -> String {
    let (days, rest) = (secs / 86_400, secs % 86_400);
    let clock = format!("{}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60);
    match days {
        0 => clock,
        1 => format!("1 day, {clock}"),
        days => format!("{days} days, {clock}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_name_stands_for_both_files() {
        for (given, builder, ring) in [
            ("a/object.builder", "a/object.builder", "a/object.ring.gz"),
            ("object.ring.gz", "object.builder", "object.ring.gz"),
            ("object", "object", "object.ring.gz"),
        ] {
            let paths = Paths::of(given);
            assert_eq!(paths.builder, Path::new(builder), "{given}");
            assert_eq!(paths.ring, Path::new(ring), "{given}");
        }
    }

    #[test]
    fn spans_are_shown_as_python_does() {
        assert_eq!(span(0), "0:00:00");
        assert_eq!(span(3_725), "1:02:05");
        assert_eq!(span(86_400), "1 day, 0:00:00");
        assert_eq!(span(200_000), "2 days, 7:33:20");
    }
}

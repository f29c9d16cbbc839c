//! Crash tests: power is lost, or the process killed, at every step of every kind of commit. After a start everything
//! acknowledged is there, each object is the old or the new one whole, no file is left over, and every sum is right.
//!
//! The failpoints are the calls by which a device changes its disk. `syscalls.rs` stands before the C library's
//! functions in this program, RocksDB's calls included, so that nothing of this is in the product. `disk.rs` knows what
//! of it was synced, and makes the directory that a power loss would leave. `story.rs` is what is done to the device,
//! `facts.rs` what must be found afterwards.
//!
//! What it cannot show: faults of a disk that breaks its word (but see the last test, where it must), and file systems
//! that tear a rename or a mkdir in two.

mod disk;
mod facts;
mod story;
mod syscalls;

use disk::{Disk, Loss};
use facts::Expected;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use story::Chapter;

/// Every step that a device's life has. A step that is new belongs here, and one that is gone was gone on purpose.
const STEPS: &[&str] = &[
    "body file created",
    "body written",
    "body synced",
    "incoming synced",
    "log written",
    "log synced",
    "body moved to its place",
    "body removed",
    "bodies synced",
    "index file created",
    "index written",
    "index synced",
    "index folder synced",
    "index renamed",
    "index removed",
];

/// One disk is watched at a time.
static ONE: Mutex<()> = Mutex::new(());

/// Memory is a fair disk here: what is synced is decided by `disk.rs`, not by the machine.
fn folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let place = if memory.is_dir() {
        memory.to_owned()
    } else {
        std::env::temp_dir()
    };
    tempfile::Builder::new()
        .prefix("martlet-crash-")
        .tempdir_in(place)
        .unwrap()
}

/// Plays chapters on a watched disk; at each step power is lost in each way. Answers steps seen and what was wrong.
fn play(chapters: &[Chapter], losses: &[Loss], lying: bool) -> (BTreeMap<String, usize>, Vec<String>, usize) {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = folder();
    let device = folder.path().join("device");
    let images = folder.path().join("images");
    std::fs::create_dir_all(&images).unwrap();
    story::format(&device);
    let expected = Expected::new();
    let disk = Disk::watch(&device, &images, losses, lying, expected.clone());
    let mut wrong = Vec::new();
    let mut looked_at = 0;
    for chapter in chapters {
        chapter.play(&device, &expected, &mut || {
            for image in disk.take_images() {
                looked_at += 1;
                for problem in facts::problems(&image.path, &image.expected) {
                    wrong.push(format!("{chapter:?}, {}: {problem}", image.moment));
                }
                std::fs::remove_dir_all(&image.path).unwrap();
            }
        });
    }
    let steps = disk.end();
    (steps, wrong, looked_at)
}

#[test]
fn power_lost_at_any_step_leaves_old_or_new() {
    let losses = [Loss::AllUnsynced, Loss::Some(1)];
    let (steps, wrong, looked_at) = play(Chapter::ALL, &losses, false);
    assert!(
        wrong.is_empty(),
        "{} wrong of {looked_at}:\n{}",
        wrong.len(),
        first(&wrong)
    );
    let mut seen: Vec<&str> = steps.keys().map(String::as_str).collect();
    let mut known = STEPS.to_vec();
    seen.sort_unstable();
    known.sort_unstable();
    assert_eq!(seen, known, "the steps of a device's life");
    assert!(
        looked_at > 500,
        "{looked_at} images are too few to mean much: {steps:?}"
    );
    println!("{looked_at} crashes, {steps:?}");
}

/// The same process is really killed: locks, threads and half a write with it.
#[test]
fn kill_9_at_every_step_leaves_old_or_new() {
    const CHILD: &str = "MARTLET_CRASH_CHILD";
    const KILL_AT: &str = "MARTLET_CRASH_KILL_AT";
    if let Ok(path) = std::env::var(CHILD) {
        let device = PathBuf::from(path);
        let expected = Expected::told_on_stdout();
        syscalls::kill_at(&device, &std::env::var(KILL_AT).unwrap());
        for chapter in Chapter::ALL {
            chapter.play(&device, &expected, &mut || {});
        }
        std::process::exit(0);
    }
    let mut wrong = Vec::new();
    for step in STEPS {
        // The first time is often special (an empty index); later ones come amid other work.
        for (time, when) in [(1, "before"), (2, "after"), (7, "before")] {
            let folder = folder();
            let device = folder.path().join("device");
            story::format(&device);
            let output = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "kill_9_at_every_step_leaves_old_or_new", "--nocapture"])
                .env(CHILD, &device)
                .env(KILL_AT, format!("{when} {time} {step}"))
                .stdin(Stdio::null())
                .output()
                .unwrap();
            let killed = std::os::unix::process::ExitStatusExt::signal(&output.status);
            let told = Expected::from_told(&String::from_utf8_lossy(&output.stdout));
            if killed != Some(syscalls::SIGKILL) && (time == 1 || output.status.code() != Some(0)) {
                wrong.push(format!(
                    "{when} {time} {step}: the process was not killed but ended with {}",
                    output.status
                ));
            }
            for problem in facts::problems(&device, &told) {
                wrong.push(format!("{when} {time} {step}: {problem}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), first(&wrong));
}

/// The alarm is tested too: a disk that says "synced" and did nothing must be found out.
#[test]
fn a_disk_that_lies_about_syncs_is_found_out() {
    let (_, wrong, _) = play(&[Chapter::Objects], &[Loss::AllUnsynced], true);
    assert!(
        wrong.iter().any(|problem| problem.contains("must be one of")),
        "nothing acknowledged was lost: {}",
        first(&wrong)
    );
}

/// And so must be a file that nothing names.
#[test]
fn a_file_left_over_is_found_out() {
    let folder = folder();
    let device = folder.path().join("device");
    story::format(&device);
    let name = "0123456789abcdef0123456789abcdef";
    std::fs::write(device.join("bodies").join("ef").join(name), b"nobody's").unwrap();
    let problems = facts::problems(&device, &Expected::new().now());
    assert!(
        matches!(&problems[..], [problem] if problem.contains(name)),
        "{problems:?}"
    );
}

fn first(problems: &[String]) -> String {
    problems.iter().take(12).cloned().collect::<Vec<_>>().join("\n")
}

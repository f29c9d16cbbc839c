//! The real `swift` and `aws` clients from PyPI, in the environment that `make deps-test` made.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The `bin` folder of the clients' environment.
fn bin() -> PathBuf {
    let folder = std::env::var_os("MARTLET_TEST_VENV")
        .map(PathBuf::from)
        .unwrap_or_else(|| {
            let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
            let home = || PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".cache");
            cache.unwrap_or_else(home).join("martlet/clients")
        });
    let bin = folder.join("bin");
    assert!(
        bin.join("swift").is_file(),
        "{} has no swift client: run `make deps-test`",
        bin.display()
    );
    bin
}

/// Runs a command of the environment; its standard output. Panics when it fails.
pub fn run(command: &mut Command) -> String {
    let output = command.output().expect("the client starts");
    let (out, errors) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{command:?} failed: {out}{errors}");
    out.into_owned()
}

/// `swift` as `test:tester`, in a working folder.
pub fn swift(url: &str, folder: &Path) -> Command {
    let mut command = Command::new(bin().join("swift"));
    command.current_dir(folder).args([
        "-A",
        &format!("{url}/auth/v1.0"),
        "-U",
        "test:tester",
        "-K",
        "testing",
    ]);
    command
}

/// Runs a command that must fail; what it said of that.
pub fn refused(command: &mut Command) -> String {
    let output = command.output().expect("the client starts");
    assert!(
        !output.status.success(),
        "{command:?} went through: {}",
        String::from_utf8_lossy(&output.stdout)
    );
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// `aws` as `test:tester`, in a working folder, with nothing of the machine's own settings.
pub fn aws(url: &str, folder: &Path) -> Command {
    aws_as(url, folder, "test:tester", "testing")
}

/// `aws` as some user.
pub fn aws_as(url: &str, folder: &Path, user: &str, key: &str) -> Command {
    let mut command = Command::new(bin().join("aws"));
    command
        .current_dir(folder)
        .env("AWS_ACCESS_KEY_ID", user)
        .env("AWS_SECRET_ACCESS_KEY", key)
        .env("AWS_DEFAULT_REGION", "us-east-1")
        .env("AWS_CONFIG_FILE", "/dev/null")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .args(["--endpoint-url", url]);
    command
}

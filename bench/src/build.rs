//! Building what is measured.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::fixture::workspace;

/// Where this program lies: the release folder of the target.
pub(crate) fn release() -> PathBuf {
    let program = std::env::current_exe().expect("this program's path");
    program.parent().expect("its folder").to_owned()
}

/// A release binary: of a function, or of a reference.
pub(crate) fn binary(name: &str) -> PathBuf {
    let folder = if name == "stock" { release().join("../stock/release") } else { release() };
    folder.join(name)
}

/// The release binaries of functions and references; the stock one takes minutes more.
pub(crate) fn binaries(functions: &[String], with_stock: bool) {
    let target = release().join("..");
    // Apart, as cargo builds what both need with the features of both.
    let functions: Vec<&str> = functions.iter().map(String::as_str).collect();
    for packages in [&functions[..], &["references"]].into_iter().filter(|packages| !packages.is_empty()) {
        let mut command = Command::new(env!("CARGO"));
        command.args(["build", "--release", "--locked", "--target-dir"]).arg(&target);
        for package in packages {
            command.args(["--package", package]);
        }
        run(command.current_dir(workspace()));
    }
    if !with_stock {
        return;
    }
    let stock = workspace().join("bench/references/stock/Cargo.toml");
    let mut command = Command::new(env!("CARGO"));
    command.args(["build", "--release", "--locked", "--manifest-path"]).arg(stock);
    // From elsewhere, where the settings of this workspace (`.cargo/config.toml`) do not count, and without those that
    // `cargo run` has handed to this program: the stock way has AWS-LC's own entropy.
    command.env_remove("AWS_LC_SYS_NO_JITTER_ENTROPY");
    run(command.arg("--target-dir").arg(target.join("stock")).current_dir(std::env::temp_dir()));
}

/// The bundle of the Node.js reference, where there is Node.js.
pub(crate) fn node() -> Option<(PathBuf, PathBuf)> {
    let node = find("node")?;
    let folder = workspace().join("bench/references/node");
    run(Command::new("npm").args(["ci", "--silent", "--no-audit", "--no-fund"]).current_dir(&folder));
    run(Command::new("npm").args(["run", "--silent", "build"]).current_dir(&folder));
    Some((node, folder.join("dist/index.mjs")))
}

/// The interpreter with the packages of the Python reference, where there is Python.
pub(crate) fn python() -> Option<(PathBuf, PathBuf)> {
    find("python3")?;
    let folder = workspace().join("bench/references/python");
    let venv = release().join("../bench-python");
    let python = venv.join("bin/python3");
    if !python.exists() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&venv));
    }
    let requirements = folder.join("requirements.txt");
    run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "--requirement"]).arg(requirements));
    Some((python, folder))
}

/// A program with Debian's libargon2, and one with the C sources of the reference implementation built for AVX2.
pub(crate) fn argon2() -> (Option<PathBuf>, Option<PathBuf>) {
    let driver = workspace().join("bench/src/argon2.c");
    let library = release().join("../bench-libargon2");
    let has_library = succeeds(Command::new("cc").arg("-O2").arg(&driver).arg("-o").arg(&library).arg("-largon2"));
    (has_library.then_some(library), sources().and_then(|sources| with_avx2(&driver, &sources)))
}

fn with_avx2(driver: &Path, sources: &Path) -> Option<PathBuf> {
    let program = release().join("../bench-argon2-avx2");
    let mut command = Command::new("cc");
    command.args(["-O3", "-mavx2", "-pthread", "-I"]).arg(sources.join("include")).arg(driver);
    for file in ["argon2.c", "core.c", "encoding.c", "opt.c", "thread.c", "blake2/blake2b.c"] {
        command.arg(sources.join("src").join(file));
    }
    succeeds(command.arg("-o").arg(&program)).then_some(program)
}

/// The reference implementation's sources, which lie in a package of `PyPI`.
fn sources() -> Option<PathBuf> {
    let folder = release().join("../bench-argon2");
    let sources = folder.join("argon2_cffi_bindings-25.1.0/extras/libargon2");
    if !sources.exists() {
        let mut download = Command::new("python3");
        download.args(["-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:", "--dest"]);
        succeeds(download.arg(&folder).arg("argon2-cffi-bindings==25.1.0"));
        let archive = folder.join("argon2_cffi_bindings-25.1.0.tar.gz");
        succeeds(Command::new("tar").arg("-xzf").arg(archive).arg("-C").arg(&folder));
    }
    sources.exists().then_some(sources)
}

/// The size of a file as a deployment package, in bytes.
pub(crate) fn zipped(path: &Path) -> u64 {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().unix_permissions(0o755).compression_level(Some(9));
    archive.start_file("bootstrap", options).expect("an entry");
    archive.write_all(&std::fs::read(path).expect("the binary")).expect("its bytes");
    archive.finish().expect("an archive").into_inner().len() as u64
}

fn find(program: &str) -> Option<PathBuf> {
    let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output().ok()?;
    let path = String::from_utf8(found.stdout).ok()?;
    (!path.trim().is_empty()).then(|| PathBuf::from(path.trim()))
}

fn succeeds(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

fn run(command: &mut Command) {
    let status = command.status().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let arguments: Vec<_> = command.get_args().map(OsStr::to_string_lossy).collect();
    assert!(status.success(), "{} {}", command.get_program().display(), arguments.join(" "));
}

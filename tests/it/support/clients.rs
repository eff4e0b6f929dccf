//! Runtimes of real clients, with their packages installed once into the target directory.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use xxhash_rust::xxh3::xxh3_64;

use super::skip;

/// An interpreter with the packages that the scripts in `tests/clients` need.
#[derive(Clone)]
pub struct Runtime {
    program: PathBuf,
    scripts: PathBuf,
}

impl Runtime {
    /// Runs a script of the runtime's folder to its end; returns what it printed.
    ///
    /// # Panics
    /// When the script fails, with what it said.
    pub fn run(&self, script: &str, arguments: &[&str]) -> String {
        self.run_with(script, arguments, &[])
    }

    /// The same, with variables in its environment.
    pub fn run_with(&self, script: &str, arguments: &[&str], environment: &[(&str, &str)]) -> String {
        let mut command = Command::new(&self.program);
        command.arg(self.scripts.join(script)).args(arguments).envs(environment.iter().copied());
        let output = command.output().expect("it starts");
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{script} failed:\n{stdout}{stderr}");
        stdout.into_owned()
    }

    /// Starts a script of the runtime's folder, and leaves it running.
    pub fn start(&self, script: &str, arguments: &[&OsStr]) -> Child {
        let mut command = Command::new(&self.program);
        command.arg(self.scripts.join(script)).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts")
    }
}

impl Runtime {
    /// A file of a package that is installed for the runtime.
    pub fn package_file(&self, path: &str) -> PathBuf {
        self.scripts.join("node_modules").join(path)
    }
}

/// Python with `tests/clients/requirements.txt`, or `None` with a word when there is no Python.
pub fn python(test: &str) -> Option<Runtime> {
    static PYTHON: OnceLock<Option<Runtime>> = OnceLock::new();
    python_with(&PYTHON, "python", clients_folder(), test)
}

/// Python with PostgreSQL's drivers and tools, or `None` with a word when there is no Python.
pub fn drivers(test: &str) -> Option<Runtime> {
    static DRIVERS: OnceLock<Option<Runtime>> = OnceLock::new();
    python_with(&DRIVERS, "drivers", clients_folder().join("drivers"), test)
}

/// The program `moto_server`, which speaks like S3, or `None` with a word when there is no Python.
pub fn moto(test: &str) -> Option<PathBuf> {
    static MOTO: OnceLock<Option<Runtime>> = OnceLock::new();
    let runtime = python_with(&MOTO, "moto", clients_folder().join("object_stores"), test)?;
    Some(runtime.program.with_file_name("moto_server"))
}

/// Python with mail servers and a web server that encrypt, or `None` with a word when there is no Python.
pub fn receivers(test: &str) -> Option<Runtime> {
    static RECEIVERS: OnceLock<Option<Runtime>> = OnceLock::new();
    python_with(&RECEIVERS, "receivers", clients_folder().join("receivers"), test)
}

fn python_with(cell: &OnceLock<Option<Runtime>>, name: &str, scripts: PathBuf, test: &str) -> Option<Runtime> {
    let runtime = cell.get_or_init(|| {
        runs("python3", "--version").then(|| {
            let requirements = scripts.join("requirements.txt");
            let folder = install_once(name, &requirements, |folder| {
                run(Command::new("python3").args(["-m", "venv"]).arg(folder));
                let pip = folder.join("bin").join("pip");
                run(Command::new(pip)
                    .args(["install", "--quiet", "--disable-pip-version-check", "-r"])
                    .arg(&requirements));
            });
            Runtime { program: folder.join("bin").join("python"), scripts }
        })
    });
    found(runtime, test, "python3 is not installed")
}

/// Node with `tests/clients/node/package.json`, or `None` with a word when there is no Node.
pub fn node(test: &str) -> Option<Runtime> {
    static NODE: OnceLock<Option<Runtime>> = OnceLock::new();
    node_with(&NODE, "node", test)
}

/// Node with Azurite, which speaks like Azure's blob storage, or `None` with a word when there is no Node.
pub fn azurite(test: &str) -> Option<Runtime> {
    static AZURITE: OnceLock<Option<Runtime>> = OnceLock::new();
    node_with(&AZURITE, "azurite", test)
}

/// Node with what drives Chromium and looks through pages, and the path of a Chromium; `None` with a word when one of them is not there.
pub fn browser(test: &str) -> Option<(Runtime, PathBuf)> {
    static BROWSER: OnceLock<Option<Runtime>> = OnceLock::new();
    let Some(chromium) = ["chromium", "chromium-browser", "google-chrome"].into_iter().find_map(on_path) else {
        skip(test, "chromium is not installed");
        return None;
    };
    Some((node_with(&BROWSER, "browser", test)?, chromium))
}

/// The first program of these names, or `None` with a word when there is none.
pub fn program(names: &[&str], test: &str) -> Option<PathBuf> {
    let found = names.iter().copied().find_map(on_path);
    if found.is_none() {
        skip(test, &format!("{} is not installed", names.join(" or ")));
    }
    found
}

/// Where a program of that name lies.
pub(super) fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

fn node_with(cell: &OnceLock<Option<Runtime>>, name: &str, test: &str) -> Option<Runtime> {
    let runtime = cell.get_or_init(|| {
        (runs("node", "--version") && runs("npm", "--version")).then(|| {
            let sources = clients_folder().join(name);
            let package = sources.join("package.json");
            let folder = install_once(name, &package, |folder| {
                std::fs::create_dir_all(folder).expect("a folder");
                std::fs::copy(&package, folder.join("package.json")).expect("a copy");
                run(Command::new("npm").args(["install", "--silent", "--no-audit", "--no-fund"]).current_dir(folder));
            });
            // Node looks for packages beside the script, so the scripts go where the packages are.
            for entry in std::fs::read_dir(sources).expect("readable").flatten() {
                std::fs::copy(entry.path(), folder.join(entry.file_name())).expect("a copy");
            }
            Runtime { program: PathBuf::from("node"), scripts: folder }
        })
    });
    found(runtime, test, "node or npm is not installed")
}

fn found(runtime: &Option<Runtime>, test: &str, why_not: &str) -> Option<Runtime> {
    if runtime.is_none() {
        skip(test, why_not);
    }
    runtime.clone()
}

fn install_once(runtime: &str, manifest: &Path, install: impl FnOnce(&Path)) -> PathBuf {
    install_for(runtime, &std::fs::read(manifest).expect("a readable manifest"), install)
}

/// Installs into a folder named after what is wanted, so that a change of it installs anew.
pub(super) fn install_for(runtime: &str, wanted: &[u8], install: impl FnOnce(&Path)) -> PathBuf {
    let content = xxh3_64(wanted);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{runtime}-{content:016x}"));
    let done = folder.join("installed");
    if !done.exists() {
        let _ = std::fs::remove_dir_all(&folder);
        install(&folder);
        std::fs::write(done, "").expect("a writable folder");
    }
    folder
}

pub(super) fn clients_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join("clients")
}

fn runs(program: &str, argument: &str) -> bool {
    Command::new(program).arg(argument).output().is_ok_and(|output| output.status.success())
}

pub(super) fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}:\n{}", String::from_utf8_lossy(&output.stderr));
}

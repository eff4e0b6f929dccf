//! Clients that are compiled, in Go and Java, and programs out of Debian's packages: built or unpacked once into the target directory.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use super::clients::{clients_folder, install_for, on_path, run};
use super::skip;

/// One is built at a time: tests run beside each other, and ask for the same.
static BUILDING: Mutex<()> = Mutex::new(());

/// A compiled client: a program and the arguments before its own.
pub struct Built {
    program: PathBuf,
    first: Vec<String>,
}

impl Built {
    /// Runs it to its end; returns what it printed.
    ///
    /// # Panics
    /// When it fails, with what it said.
    pub fn run(&self, arguments: &[&str]) -> String {
        self.run_with(arguments, &[])
    }

    /// The same, with variables in its environment.
    pub fn run_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> String {
        let mut command = Command::new(&self.program);
        command.args(&self.first).args(arguments).envs(environment.iter().copied());
        let output = command.output().expect("it starts");
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{command:?} failed:\n{stdout}{stderr}");
        stdout.into_owned()
    }
}

/// The Go program of `tests/clients/go/NAME`, or `None` with a word when there is no Go.
pub fn go(name: &str, test: &str) -> Option<Built> {
    if on_path("go").is_none() {
        skip(test, "go is not installed");
        return None;
    }
    let sources = clients_folder().join("go").join(name);
    let _one = BUILDING.lock();
    let folder = install_for(&format!("go-{name}"), &content(&sources), |folder| {
        std::fs::create_dir_all(folder).expect("a folder");
        let output = folder.join(name);
        run(Command::new("go")
            .args(["build", "-o"])
            .arg(output)
            .arg(".")
            .env("GOFLAGS", "-mod=readonly")
            .current_dir(&sources));
    });
    Some(Built { program: folder.join(name), first: Vec::new() })
}

/// A class of `tests/clients/java`, or `None` with a word when there is no Java or Maven.
pub fn java(class: &str, test: &str) -> Option<Built> {
    if on_path("java").is_none() || on_path("mvn").is_none() {
        skip(test, "java or mvn is not installed");
        return None;
    }
    let sources = clients_folder().join("java");
    let _one = BUILDING.lock();
    let folder = install_for("java", &content(&sources), |folder| {
        // Maven writes beside the manifest.
        copy(&sources, folder);
        let repository = Path::new(env!("CARGO_TARGET_TMPDIR")).join("maven");
        let mut maven = Command::new("mvn");
        maven.args(["--quiet", "--batch-mode", "compile", "dependency:build-classpath", "-Dmdep.outputFile=classpath"]);
        run(maven.arg(format!("-Dmaven.repo.local={}", repository.display())).current_dir(folder));
    });
    let libraries = std::fs::read_to_string(folder.join("classpath")).expect("a class path");
    let path = format!("{}:{}", folder.join("target/classes").display(), libraries.trim());
    Some(Built { program: PathBuf::from("java"), first: vec!["-cp".to_owned(), path, class.to_owned()] })
}

/// A folder with the files of Debian's packages, which are not installed; `None` with a word where there is no apt.
pub fn debian(packages: &[&str], test: &str) -> Option<PathBuf> {
    if on_path("apt-get").is_none() || on_path("dpkg").is_none() {
        skip(test, "there is no apt-get that downloads packages");
        return None;
    }
    let _one = BUILDING.lock();
    Some(install_for("debian", packages.join(" ").as_bytes(), |folder| {
        let archives = folder.join("archives");
        std::fs::create_dir_all(&archives).expect("a folder");
        run(Command::new("apt-get").arg("download").args(packages).current_dir(&archives));
        for archive in std::fs::read_dir(&archives).expect("readable").flatten() {
            run(Command::new("dpkg").arg("-x").arg(archive.path()).arg(folder));
        }
        std::fs::remove_dir_all(archives).expect("removed");
    }))
}

/// All that the files below a folder hold, in the order of their names.
fn content(folder: &Path) -> Vec<u8> {
    files(folder).iter().flat_map(|file| std::fs::read(file).expect("readable")).collect()
}

fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let target = to.join(file.strip_prefix(from).expect("below"));
        std::fs::create_dir_all(target.parent().expect("a folder")).expect("a folder");
        std::fs::copy(&file, target).expect("a copy");
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("readable").flatten() {
        match entry.path() {
            path if path.is_dir() => found.extend(files(&path)),
            path => found.push(path),
        }
    }
    found.sort();
    found
}

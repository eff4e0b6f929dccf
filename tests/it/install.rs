//! How the program is got: completions and manual pages from its own definitions, and the files of `packaging/`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::support::{drivers, program};

const PROGRAM: &str = env!("CARGO_BIN_EXE_spanhouse");

/// Every command, as `spanhouse --help` lists them.
fn commands() -> Vec<String> {
    let help = spanhouse(&["--help"]);
    let listed = help.split("Commands:").nth(1).expect("a list of commands");
    let names = listed.lines().skip(1).take_while(|line| !line.trim().is_empty());
    let names = names.filter_map(|line| line.strip_prefix("  ").filter(|rest| !rest.starts_with(' ')));
    names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help").map(str::to_owned).collect()
}

#[test]
fn completions_name_every_command_and_shells_read_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let commands = commands();
    assert!(commands.len() > 15 && commands.contains(&"serve".to_owned()), "{commands:?}");
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = spanhouse(&["completions", shell]);
        for command in &commands {
            assert!(script.contains(command.as_str()), "{shell} does not know {command}");
        }
        let file = folder.path().join(shell);
        fs::write(&file, script).expect("written");
        if ["bash", "zsh", "fish"].contains(&shell) && on_path(shell) {
            let read = Command::new(shell).arg("-n").arg(&file).output().expect("a shell");
            assert!(read.status.success(), "{shell}: {}", text(&read.stderr));
        }
    }
    let mistaken = Command::new(PROGRAM).args(["completions", "csh"]).output().expect("spanhouse runs");
    assert_eq!(mistaken.status.code(), Some(2));
    assert!(text(&mistaken.stderr).contains("bash, elvish, fish, powershell, zsh"), "{}", text(&mistaken.stderr));
}

#[test]
fn bash_completes_commands_and_flags() {
    if program(&["bash"], "bash_completes_commands_and_flags").is_none() {
        return;
    }
    let ask = "source <(\"$0\" completions bash); COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); \
               _spanhouse spanhouse \"${COMP_WORDS[$COMP_CWORD]}\" \"${COMP_WORDS[$((COMP_CWORD - 1))]}\"; echo \"${COMPREPLY[@]}\"";
    for (words, wanted) in [
        (&["spanhouse", "ser"][..], "serve"),
        (&["spanhouse", "report", "hist"], "history"),
        (&["spanhouse", "serve", "--otlp-g"], "--otlp-grpc"),
        (&["spanhouse", "completions", "fi"], "fish"),
    ] {
        let mut command = Command::new("bash");
        let output = command.args(["--norc", "-c", ask, PROGRAM]).args(words).output().expect("bash runs");
        assert_eq!(text(&output.stdout).trim(), wanted, "{words:?}: {}", text(&output.stderr));
    }
}

#[test]
fn each_command_has_a_manual_page_that_is_well_formed() {
    let folder = tempfile::tempdir().expect("a folder");
    let pages = folder.path().join("man1");
    let _ = spanhouse(&["man", pages.to_str().expect("UTF-8")]);
    let names = |path: &Path| -> Vec<String> {
        let entries = fs::read_dir(path).expect("a folder");
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8")).collect()
    };
    let written = names(&pages);
    for command in commands() {
        assert!(written.contains(&format!("spanhouse-{command}.1")), "{command} has no page among {written:?}");
    }
    for nested in ["spanhouse.1", "spanhouse-report-run.1", "spanhouse-config-check.1"] {
        assert!(written.contains(&nested.to_owned()), "{nested} is not among {written:?}");
    }
    let page = fs::read_to_string(pages.join("spanhouse-serve.1")).expect("a page");
    assert!(page.contains(r"\-\-otlp\-grpc"), "{page}");
    assert_eq!(
        fs::read_to_string(pages.join("spanhouse.1")).expect("a page").trim_end(),
        spanhouse(&["man"]).trim_end()
    );
    if program(&["groff"], "each_command_has_a_manual_page_that_is_well_formed").is_none() {
        return;
    }
    for name in written {
        let mut groff = Command::new("groff");
        let groff =
            groff.args(["-man", "-Tutf8", "-Kutf8", "-ww", "-z"]).arg(pages.join(&name)).output().expect("groff runs");
        let said = text(&groff.stderr);
        // Long words, such as addresses, cannot be broken.
        let wrong: Vec<&str> =
            said.lines().filter(|line| !line.contains("adjust line") && !line.contains("break line")).collect();
        assert!(groff.status.success() && wrong.is_empty(), "{name}: {said}");
    }
}

#[test]
fn what_packaging_names_is_there_and_its_settings_hold() {
    let Some(python) = drivers("what_packaging_names_is_there_and_its_settings_hold") else { return };
    let folder = packaging();
    let said = python.run("packaging_files.py", &[PROGRAM, folder.to_str().expect("UTF-8")]);
    assert!(said.ends_with("packaging\n"), "{said}");
}

#[test]
fn scripts_of_packaging_are_read_by_sh() {
    let output = Command::new("sh").arg("-n").arg(packaging().join("release.sh")).output().expect("a shell");
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[test]
fn systemd_takes_the_unit() {
    if program(&["systemd-analyze"], "systemd_takes_the_unit").is_none() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let unit = fs::read_to_string(packaging().join("spanhouse.service")).expect("a unit");
    // Neither the program nor its pages are installed here.
    let here = unit.replace("/usr/local/bin/spanhouse", PROGRAM).replace("Documentation=man:spanhouse(1)\n", "");
    assert_ne!(unit, here);
    let file = folder.path().join("spanhouse.service");
    fs::write(&file, here).expect("written");
    let verified = Command::new("systemd-analyze").arg("verify").arg(&file).output().expect("systemd-analyze runs");
    let said = text(&verified.stderr);
    assert!(verified.status.success() && !said.contains("spanhouse.service:"), "{said}");
}

#[test]
fn the_lock_file_is_that_of_the_manifest() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let mut cargo = Command::new(env!("CARGO"));
    let locked =
        cargo.args(["metadata", "--locked", "--offline", "--format-version", "1", "--manifest-path"]).arg(manifest);
    let output = locked.stdin(Stdio::null()).output().expect("cargo runs");
    assert!(output.status.success(), "cargo install --locked would fail: {}", text(&output.stderr));
}

fn packaging() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging")
}

fn spanhouse(arguments: &[&str]) -> String {
    let Output { status, stdout, stderr } = Command::new(PROGRAM).args(arguments).output().expect("spanhouse runs");
    assert!(status.success(), "{arguments:?}: {}", text(&stderr));
    text(&stdout)
}

fn on_path(name: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|paths| std::env::split_paths(&paths).any(|path| path.join(name).is_file()))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

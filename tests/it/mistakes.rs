//! What the most likely mistakes of a new user are answered with, in files that a person can read: tests/fixtures/mistakes.
//!
//! A block of such a file is a title, the mistake in lines that begin with `>`, and all that was said. A mistake is a command line of `spanhouse`, `psql`
//! or `curl`, or else a statement at psql; `> file NAME` writes the lines after it, which are further in, to a file first. What differs from run to run
//! has a name in braces. `UPDATE_GOLDENS=1` writes the answers anew, for a person to read: each is to say what is wrong, where, why, and what to do.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use regex::Regex;

use crate::pg::has_psql;
use crate::support::{Server, program};

/// What a command may take that should have failed at once.
const TIMEOUT_SECONDS: &str = "120";

#[test]
fn mistakes_at_psql_are_explained() {
    if has_psql("mistakes_at_psql_are_explained") {
        check("psql");
    }
}

#[test]
fn mistakes_at_the_command_line_are_explained() {
    check("command_line");
}

#[test]
fn mistakes_in_settings_and_reports_are_explained() {
    check("settings_and_reports");
}

#[test]
fn mistakes_of_exporters_are_explained() {
    if program(&["curl"], "mistakes_of_exporters_are_explained").is_some() {
        check("otlp");
    }
}

/// Makes the mistakes of a file and compares what is said.
fn check(family: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/mistakes/{family}.txt"));
    let expected = fs::read_to_string(&path).expect("the file of mistakes");
    let place = Place::new();
    let mut blocks = expected.split("\n== ");
    let mut said = blocks.next().expect("what the file is").trim_end().to_owned() + "\n";
    let blocks: Vec<(&str, Vec<&str>)> = blocks.map(parted).collect();
    let statements: Vec<String> = blocks.iter().filter_map(|(_, mistake)| statement(mistake)).collect();
    let mut answers = place.ask(&statements).into_iter();
    for (title, mistake) in &blocks {
        let answer = match statement(mistake) {
            Some(_) => answers.next().expect("an answer to each"),
            None => place.make(mistake),
        };
        assert!(!answer.is_empty(), "nothing is said to {title}");
        said.push_str(&format!("\n== {title}\n{}\n{answer}\n", mistake.join("\n")));
    }
    if std::env::var_os("UPDATE_GOLDENS").is_some() {
        fs::write(&path, said).expect("written");
        return;
    }
    for (said, expected) in said.split("\n== ").zip(expected.split("\n== ")) {
        assert_eq!(said.trim_end(), expected.trim_end(), "in {family}.txt (UPDATE_GOLDENS=1 writes it anew)");
    }
}

/// A block's title and its mistake.
fn parted(block: &str) -> (&str, Vec<&str>) {
    let (title, rest) = block.split_once('\n').expect("a title");
    (title, rest.lines().take_while(|line| line.starts_with('>')).collect())
}

/// The statement that a mistake is, if it is one.
fn statement(mistake: &[&str]) -> Option<String> {
    let lines: Vec<&str> = mistake.iter().map(|line| line.strip_prefix("> ").unwrap_or("")).collect();
    let first = lines.first().expect("a mistake");
    let commands = ["spanhouse ", "psql ", "curl ", "file ", "PGPASSWORD=", "SPANHOUSE_"];
    (!commands.iter().any(|it| first.starts_with(it))).then(|| lines.join("\n"))
}

/// A server that wants a password, and a folder that a newcomer works in.
struct Place {
    server: Server,
    folder: tempfile::TempDir,
    data: PathBuf,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("data");
        let write = |name: &str, text: &[u8]| fs::write(folder.path().join(name), text).expect("written");
        write("password", b"a secret");
        write("note.txt", b"Not everything is a trace.\n");
        write("other.json", b"{\"name\": \"not a span\"}\n");
        write("no.otlp.gz", b"{\"resourceSpans\": []}");
        let mut added = Command::new(env!("CARGO_BIN_EXE_spanhouse"));
        added.args(["user", "add", "ada", "--password-file", "password", "--data-dir", "data"]);
        let added = added.current_dir(folder.path()).output().expect("spanhouse runs");
        assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
        let server = Server::start_in(&data, &[]);
        let mut made = Command::new(env!("CARGO_BIN_EXE_spanhouse"));
        made.args(["generate", "--traces", "5", "--seed", "7", "--out", "shop.otlp"]).current_dir(folder.path());
        assert!(made.output().expect("spanhouse runs").status.success());
        server.import_grpc(&folder.path().join("shop.otlp"));
        Self { server, folder, data }
    }

    /// Makes a mistake; gives what was said and, of a command that failed, its exit code.
    fn make(&self, mistake: &[&str]) -> String {
        let mut lines = mistake.iter().map(|line| line.strip_prefix("> ").unwrap_or("")).peekable();
        let mut command = String::new();
        while let Some(line) = lines.next() {
            let Some(name) = line.strip_prefix("file ") else {
                command.push_str(line);
                command.push('\n');
                continue;
            };
            let mut text = String::new();
            while let Some(line) = lines.next_if(|line| line.starts_with("  ")) {
                text.push_str(&line[2..]);
                text.push('\n');
            }
            let path = self.folder.path().join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            fs::write(path, text).expect("written");
        }
        let output = self.run(command.trim_end());
        let mut said =
            String::from_utf8(output.stdout).expect("UTF-8") + &String::from_utf8(output.stderr).expect("UTF-8");
        if !command.starts_with("curl ") {
            said = format!("{}\n[exit code {}]", said.trim_end(), output.status.code().expect("an exit code"));
        }
        self.with_names(said.trim_end())
    }

    fn run(&self, command: &str) -> Output {
        let words = words(&self.with_values(command));
        let (variables, words): (Vec<_>, Vec<_>) =
            words.into_iter().partition(|word| word.starts_with("PGPASSWORD=") || word.starts_with("SPANHOUSE_"));
        let mut run = Command::new("timeout");
        run.arg(TIMEOUT_SECONDS);
        match words.first().map(String::as_str) {
            Some("spanhouse") => run.arg(env!("CARGO_BIN_EXE_spanhouse")).args(&words[1..]),
            Some("curl") => {
                run.args(["curl", "--silent", "--show-error", "--write-out", "\n[%{http_code}]"]).args(&words[1..])
            }
            Some("psql") => self.psql(&mut run).args(&words[1..]),
            _ => unreachable!("no command: {command}"),
        };
        for variable in &variables {
            let (name, value) = variable.split_once('=').expect("a variable");
            run.env(name, value);
        }
        run.env("NO_COLOR", "1").env("LC_ALL", "C.UTF-8").current_dir(self.folder.path());
        run.stdin(Stdio::null()).output().expect("it runs")
    }

    /// Asks statements one after the other in one session; gives what psql says to each.
    fn ask(&self, statements: &[String]) -> Vec<String> {
        const NEXT: &str = "-- the next one --\n";
        if statements.is_empty() {
            return Vec::new();
        }
        let mut run = Command::new("timeout");
        self.psql(run.arg(TIMEOUT_SECONDS)).env("PGPASSWORD", "a secret").args(["-U", "ada", "-d", "spanhouse"]);
        for statement in statements {
            run.args(["-c", statement, "-c", &format!("\\warn {}", NEXT.trim_end())]);
        }
        let output = run.stdin(Stdio::null()).output().expect("psql runs");
        let said = String::from_utf8(output.stderr).expect("UTF-8");
        let answers: Vec<String> = said.split(NEXT).map(|answer| self.with_names(answer.trim_end())).collect();
        assert_eq!(answers.len(), statements.len() + 1, "{said}");
        answers[..statements.len()].to_vec()
    }

    fn psql<'a>(&self, run: &'a mut Command) -> &'a mut Command {
        run.args(["psql", "-X", "-w", "-h", "127.0.0.1", "-p", self.server.postgres_port()]);
        run.env_remove("PGPASSWORD").env("PGSSLMODE", "disable")
    }

    /// What the names in braces stand for, the longest values first.
    fn values(&self) -> Vec<(&'static str, String)> {
        let without_scheme = |url: String| url.trim_start_matches("http://").to_owned();
        let port = |url: String| url.rsplit_once(':').expect("a port").1.to_owned();
        vec![
            ("{grpc}", without_scheme(self.server.otlp_grpc_url())),
            ("{http}", without_scheme(self.server.otlp_http_url())),
            ("{postgres}", format!("127.0.0.1:{}", self.server.postgres_port())),
            ("{admin}", without_scheme(self.server.admin_url())),
            ("{grpc port}", port(self.server.otlp_grpc_url())),
            ("{http port}", port(self.server.otlp_http_url())),
            ("{postgres port}", self.server.postgres_port().to_owned()),
            ("{data}", self.data.to_str().expect("UTF-8").to_owned()),
            ("{folder}", self.folder.path().to_str().expect("UTF-8").to_owned()),
        ]
    }

    fn with_values(&self, text: &str) -> String {
        self.values().iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
    }

    fn with_names(&self, text: &str) -> String {
        let text = self.values().iter().fold(text.to_owned(), |text, (name, value)| text.replace(value, name));
        [
            (r"(^|[^'])\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|\+00(:00)?)?", "$1{time}"),
            (r"\b(process|pid) \d+", "$1 {number}"),
            (r"in [\d.]+ s: \d+ spans/s", "in {seconds} s: {rate} spans/s"),
            (r"[ \t]+\n", "\n"),
        ]
        .iter()
        .fold(text, |text, (pattern, name)| {
            Regex::new(pattern).expect("a pattern").replace_all(&text, *name).into_owned()
        })
    }
}

/// The words of a command line; what is in quotes is one.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for key in line.chars() {
        match (quote, key) {
            (Some(open), key) if open == key => quote = None,
            (None, '\'' | '"') => {
                quote = Some(key);
                word.get_or_insert_default();
            }
            (None, key) if key.is_whitespace() => words.extend(word.take()),
            (_, key) => word.get_or_insert_default().push(key),
        }
    }
    words.extend(word);
    words
}

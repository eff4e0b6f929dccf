//! `\report` of the shell: the reports of the folder as questions of the session.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::Result;
use crate::repl::{ReportParameter, ReportQuestion, Reports};
use crate::report::{Clock, FROM, Folder, Report, SystemClock, TO, bind, moment_text};

/// The folder as the shell sees it; it is read each time, as a person edits while asking.
#[derive(Debug)]
pub(in crate::cli) struct ShellReports {
    dir: PathBuf,
}

impl ShellReports {
    /// The reports of a folder, if there is one.
    pub(in crate::cli) fn of(dir: &Path) -> Option<Arc<dyn Reports>> {
        dir.is_dir().then(|| Arc::new(Self { dir: dir.to_owned() }) as Arc<dyn Reports>)
    }
}

impl Reports for ShellReports {
    fn list(&self) -> Vec<ReportQuestion> {
        let now_ms = SystemClock.now_ms();
        Folder::open(&self.dir).reports().iter().map(|report| question(report, now_ms)).collect()
    }

    fn statement(&self, name: &str, values: &[(String, String)]) -> Result<String> {
        let report = Folder::open(&self.dir).find(name)?.report;
        let values = report.values_at(SystemClock.now_ms(), values)?;
        bind(&report, &values)
    }
}

fn question(report: &Report, now_ms: i64) -> ReportQuestion {
    let window = report.window_at(now_ms, None, None).ok().flatten();
    let ends = window.into_iter().flat_map(|(from_ms, to_ms)| {
        let end = |name: &str, ms, purpose: &str| ReportParameter {
            name: name.to_owned(),
            default: Some(moment_text(ms)),
            purpose: purpose.to_owned(),
        };
        [end(FROM, from_ms, "when the window begins"), end(TO, to_ms, "when it ends")]
    });
    let own = report.parameters.iter().map(|known| ReportParameter {
        name: known.name.clone(),
        default: known.default.clone(),
        purpose: known.description.clone(),
    });
    ReportQuestion {
        name: report.name.clone(),
        title: report.title.clone(),
        purpose: report.description.clone(),
        parameters: ends.chain(own).collect(),
    }
}

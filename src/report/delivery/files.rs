//! The files of a delivery to a place of files: those of the run, and its summary.

use bytes::Bytes;

use super::{Message, names};

/// The summary's name. It comes last: who sees it has the others. No output ends like this.
const SUMMARY: &str = "summary.txt";

/// A file under a name that leads nowhere else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named {
    pub name: String,
    pub media_type: &'static str,
    pub bytes: Bytes,
}

/// All files of a message.
pub(super) fn of(message: &Message<'_>) -> Vec<Named> {
    let mut files: Vec<Named> = message
        .artifacts
        .iter()
        .map(|artifact| Named {
            name: names::safe(&artifact.file_name),
            media_type: artifact.media_type,
            bytes: artifact.bytes.clone(),
        })
        .collect();
    let bytes = Bytes::from(message.summary.clone());
    files.push(Named { name: SUMMARY.to_owned(), media_type: "text/markdown; charset=utf-8", bytes });
    files
}

//! What a redaction did.

/// What a redaction did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RedactReport {
    pub spans: u64,
    /// The traces that lost spans; a least number unless `traces_are_all`.
    pub traces: u64,
    pub traces_are_all: bool,
    pub files: Vec<RedactedFile>,
    pub version_before: Option<u64>,
    /// The same as before when there was nothing to take out.
    pub version_after: Option<u64>,
    /// Files that had left the table and were deleted: those of this redaction and older ones.
    pub deleted_files: u64,
    /// Files that have left the table and are still on disk. They may hold redacted spans.
    pub waiting_files: u64,
    /// Files in quarantine. They were not looked into, and may hold such spans.
    pub quarantined_files: u64,
}

/// A file that left the table because it held redacted spans.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedactedFile {
    /// Below the table's root.
    pub path: String,
    pub rows: u64,
    pub redacted_rows: u64,
    /// The file with the rows that stay; `None` when none does.
    pub replaced_by: Option<String>,
}

//! What the terminal can do: colour, width, progress.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often a progress bar is drawn, at most, in times a second.
const DRAWS_PER_SECOND: u8 = 8;

/// Whether to colour what goes to a stream that is a terminal or not.
pub(super) fn color(is_terminal: bool) -> bool {
    is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// The width of the terminal on stdout, in columns.
pub(super) fn width() -> Option<usize> {
    terminal_size::terminal_size_of(std::io::stdout()).map(|(terminal_size::Width(columns), _)| columns.into())
}

/// A bar over `total` steps, on stderr and only when that is a terminal.
pub(super) fn bar(total: u64, template: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(total), target());
    // The templates are constants of ours; should one be wrong, the plain style does.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

fn target() -> ProgressDrawTarget {
    match std::io::stderr().is_terminal() {
        true => ProgressDrawTarget::stderr_with_hz(DRAWS_PER_SECOND),
        false => ProgressDrawTarget::hidden(),
    }
}

//! `\pset` and the commands for single settings: what can be changed while the shell runs.

use super::commands::{on_off, shown_format};
use super::output::Terminal;
use super::pager::Pager;
use super::shell::Shell;
use super::text::{Line, Style, fit};
use super::theme::Theme;
use crate::error::{Error, Result};
use crate::render::{Expanded, Format};
use crate::typed::nearest;

/// What `\pset` takes.
pub const SETTINGS: [&str; 6] = ["format", "null", "pager", "theme", "timing", "x"];

impl Shell {
    /// Lists all settings.
    pub fn say_settings(&self) -> Result<()> {
        let lines: Vec<Line> = SETTINGS
            .iter()
            .map(|name| {
                let mut line = Line::of(Style::Bold, fit(name, 8, ""));
                line.push(Style::Plain, self.setting(name));
                line
            })
            .collect();
        self.say(&lines)
    }

    /// Changes a setting, or tells it.
    pub fn change(&mut self, name: &str, value: Option<&str>) -> Result<()> {
        let name = if name == "expanded" { "x" } else { name };
        if !SETTINGS.contains(&name) {
            let hint = match nearest(name, SETTINGS.into_iter()) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("there are {}", SETTINGS.join(", ")),
            };
            return Err(Error::bad_input(format!("there is no setting {name}")).with_hint(hint));
        }
        match (name, value) {
            (_, None) => self.say_setting(name, &self.setting(name)),
            ("format", Some(value)) => self.set_format(shown_format(value)?),
            ("timing", Some(value)) => self.set_timing(on_off(value, "timing")?),
            ("x", Some("auto")) => self.set_expanded(Expanded::Auto),
            ("x", Some(value)) => self.set_expanded(if on_off(value, "x")? { Expanded::On } else { Expanded::Off }),
            ("null", Some(value)) => {
                self.null = Some(value.to_owned());
                self.say_setting("The text for NULL", &self.setting(name))
            }
            ("pager", Some(value)) => {
                self.pager = Pager::named(value);
                self.say_setting("The pager", self.pager.name())
            }
            (_, Some(value)) => {
                self.theme = value.parse().map_err(|()| {
                    Error::bad_input(format!("theme is one of {}, not \"{value}\"", Theme::NAMES.join(", ")))
                })?;
                self.terminal = Terminal::detect().with_theme(self.theme);
                self.say_setting("The theme", self.theme.name())
            }
        }
    }

    fn setting(&self, name: &str) -> String {
        match name {
            "format" => self.format.name().to_owned(),
            "null" => format!("\"{}\"", self.null.as_deref().unwrap_or("NULL")),
            "pager" => self.pager.name().to_owned(),
            "theme" => self.theme.name().to_owned(),
            "timing" => if self.timing { "on" } else { "off" }.to_owned(),
            _ => expanded_name(self.expanded).to_owned(),
        }
    }

    pub fn set_timing(&mut self, timing: bool) -> Result<()> {
        self.timing = timing;
        self.say_setting("Timing", if timing { "on" } else { "off" })
    }

    pub fn set_expanded(&mut self, expanded: Expanded) -> Result<()> {
        self.expanded = expanded;
        self.say_setting("Expanded display", expanded_name(expanded))
    }

    pub fn set_format(&mut self, format: Format) -> Result<()> {
        self.format = format;
        self.say_setting("Output format", format.name())
    }
}

fn expanded_name(expanded: Expanded) -> &'static str {
    match expanded {
        Expanded::Off => "off",
        Expanded::On => "on",
        Expanded::Auto => "used when a row is too wide",
    }
}

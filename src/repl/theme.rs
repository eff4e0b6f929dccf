//! Whether the terminal is light or dark: as the user says, else as its environment says.
//!
//! A terminal could also be asked (OSC 11), but its answer comes as keys, and one that does not answer would be waited for: nothing is asked.

use std::str::FromStr;

use super::text::Palette;

/// What the user wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Theme {
    /// As the environment says.
    #[default]
    Auto,
    Dark,
    Light,
    None,
}

impl Theme {
    pub const NAMES: [&str; 4] = ["auto", "dark", "light", "none"];

    /// The name that a user types.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Dark => "dark",
            Self::Light => "light",
            Self::None => "none",
        }
    }

    /// The colours for a terminal with these variables. `NO_COLOR` and a dumb terminal take colours away unless the user wants a theme by name.
    pub fn palette(self, variable: impl Fn(&str) -> Option<String>) -> Palette {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        match self {
            Self::None => Palette::Plain,
            Self::Dark => Palette::Dark,
            Self::Light => Palette::Light,
            Self::Auto if set("NO_COLOR").is_some() || set("TERM").is_none_or(|term| term == "dumb") => Palette::Plain,
            Self::Auto if set("COLORFGBG").is_some_and(|colours| is_light(&colours)) => Palette::Light,
            Self::Auto => Palette::Dark,
        }
    }
}

impl FromStr for Theme {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let all = [Self::Auto, Self::Dark, Self::Light, Self::None];
        all.into_iter().find(|theme| theme.name().eq_ignore_ascii_case(text)).ok_or(())
    }
}

/// `COLORFGBG` is `letters;ground` or `letters;more;ground`, in the numbers of the sixteen colours: white and the bright ones are light.
fn is_light(colours: &str) -> bool {
    let ground = colours.rsplit(';').next().and_then(|ground| ground.parse::<u8>().ok());
    ground.is_some_and(|ground| ground == 7 || (9..=15).contains(&ground))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_tells_light_from_dark() {
        type Variables = &'static [(&'static str, &'static str)];
        let cases: [(&str, Variables, Palette); 10] = [
            ("auto", &[("TERM", "xterm")], Palette::Dark),
            ("auto", &[("TERM", "xterm"), ("COLORFGBG", "0;15")], Palette::Light),
            ("auto", &[("TERM", "xterm"), ("COLORFGBG", "0;default;7")], Palette::Light),
            ("auto", &[("TERM", "xterm"), ("COLORFGBG", "15;0")], Palette::Dark),
            ("auto", &[("TERM", "xterm"), ("COLORFGBG", "12;8")], Palette::Dark),
            ("auto", &[("TERM", "xterm"), ("COLORFGBG", "default;default")], Palette::Dark),
            ("auto", &[("TERM", "xterm"), ("NO_COLOR", "1"), ("COLORFGBG", "0;15")], Palette::Plain),
            ("auto", &[("TERM", "dumb")], Palette::Plain),
            ("light", &[("TERM", "xterm"), ("NO_COLOR", "1")], Palette::Light),
            ("none", &[("TERM", "xterm")], Palette::Plain),
        ];
        for (theme, variables, expected) in cases {
            let theme: Theme = theme.parse().expect("a theme");
            let variable = |name: &str| {
                let found = variables.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| (*value).to_owned())
            };
            assert_eq!(theme.palette(variable), expected, "{variables:?}");
        }
    }
}

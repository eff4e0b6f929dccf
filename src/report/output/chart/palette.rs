//! The colours of drawings, each with what takes its place on a dark page.
//!
//! A drawing has the light colours in it, so that it is whole on its own and as a picture. A page turns them by selectors of the very
//! value: no two inks share a light colour. Contrasts with the ground are held by a test: 4.5 for text, 3 for lines and shapes.

use charts_rs::Color;

/// The ground of a drawing on a light page.
pub const LIGHT_GROUND: &str = "#FFFFFF";
/// The ground of a drawing on a dark page; the style sheet of the page has the same.
pub const DARK_GROUND: &str = "#1B1F26";
/// So many lines can be told apart; more are not drawn.
pub const MAX_SERIES: usize = 12;
/// The steps of a heatmap's ramp.
pub const RAMP_STEPS: usize = 7;

/// What a stroke or a filling is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ink {
    Text,
    /// Labels of axes.
    Muted,
    Axis,
    Grid,
    /// The ground itself: what lies around a label.
    Ground,
    /// The filling of a box.
    Panel,
    /// The n-th of [`MAX_SERIES`].
    Series(usize),
    /// The n-th of [`RAMP_STEPS`], from little to much.
    Ramp(usize),
    /// Text on a step of the ramp.
    OnRamp(usize),
    Error,
    /// The filling of what failed.
    ErrorPanel,
    Critical,
    /// What is not on the critical path.
    Beside,
    /// The rest of what has colours.
    Others,
}

const SERIES: [(&str, &str); MAX_SERIES] = [
    ("#1F5FA8", "#7DB3F5"),
    ("#B84A00", "#F5A46B"),
    ("#2B7A3D", "#7FCF93"),
    ("#A3195B", "#F28BB8"),
    ("#6B4FA3", "#B9A3F0"),
    ("#00797A", "#5FCFCF"),
    ("#8A6D00", "#E0C04A"),
    ("#4A5568", "#A9B4C4"),
    ("#0077B6", "#66C7F4"),
    ("#7A3E1D", "#D9A184"),
    ("#C0468C", "#F5A3D3"),
    ("#4F6F00", "#B5D160"),
];

const RAMP: [(&str, &str); RAMP_STEPS] = [
    ("#E3EEF9", "#1F2E40"),
    ("#C3DAF0", "#234463"),
    ("#97C0E4", "#27608C"),
    ("#62A1D3", "#3A8AC2"),
    ("#2B75B2", "#55A0D6"),
    ("#17609F", "#8CC2EA"),
    ("#0B3F70", "#D2E8FA"),
];

impl Ink {
    /// The colour on a light page and the one on a dark page, as `#RRGGBB` in capitals.
    pub const fn colors(self) -> (&'static str, &'static str) {
        match self {
            Self::Text => ("#1A1F29", "#E8EBF0"),
            Self::Muted => ("#566072", "#A8B1C0"),
            Self::Axis => ("#7B8494", "#788396"),
            Self::Grid => ("#E1E5EB", "#323A46"),
            Self::Ground => (LIGHT_GROUND, DARK_GROUND),
            Self::Panel => ("#F1F4F8", "#262C36"),
            Self::Series(at) => SERIES[at % MAX_SERIES],
            Self::Ramp(at) => RAMP[if at < RAMP_STEPS { at } else { RAMP_STEPS - 1 }],
            Self::OnRamp(0..=2) => ("#1A1F2A", "#E8EBF1"),
            Self::OnRamp(3) => ("#1A1F2B", "#0E1116"),
            Self::OnRamp(_) => ("#FEFEFE", "#0E1117"),
            Self::Error => ("#B3202A", "#FF8A8A"),
            Self::ErrorPanel => ("#FCEBEC", "#43232A"),
            Self::Critical => ("#1F5FA9", "#7DB3F6"),
            Self::Beside => ("#C9D6E6", "#3A4759"),
            Self::Others => ("#8A919C", "#7D8794"),
        }
    }

    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        let plain = [Self::Text, Self::Muted, Self::Axis, Self::Grid, Self::Ground, Self::Panel];
        let marks = [Self::Error, Self::ErrorPanel, Self::Critical, Self::Beside, Self::Others];
        let on_ramp = [Self::OnRamp(0), Self::OnRamp(3), Self::OnRamp(4)];
        let series = (0..MAX_SERIES).map(Self::Series);
        plain.into_iter().chain(marks).chain(on_ramp).chain(series).chain((0..RAMP_STEPS).map(Self::Ramp))
    }

    /// The light colour as the crate that draws has it.
    pub fn color(self) -> Color {
        self.colors().0.into()
    }
}

/// The rules that turn the drawings below `scope` into those of a dark page.
pub fn dark_rules(scope: &str) -> String {
    let rule = |ink: Ink| {
        let (light, dark) = ink.colors();
        format!("{scope} [fill=\"{light}\"]{{fill:{dark}}}{scope} [stroke=\"{light}\"]{{stroke:{dark}}}\n")
    };
    Ink::all().map(rule).collect()
}

/// How the n-th line is dashed: with the colour and the mark it is told from the others.
pub fn dash(series: usize) -> Option<&'static str> {
    [None, Some("7,3"), Some("2,3")][series / 4 % 3]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// WCAG 2.2, relative luminance and contrast ratio.
    fn contrast(a: &str, b: &str) -> f64 {
        let luminance = |hex: &str| {
            let channel = |at: usize| {
                let value = f64::from(u8::from_str_radix(&hex[at..at + 2], 16).expect("hex")) / 255.0;
                if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
            };
            0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5)
        };
        let (a, b) = (luminance(a), luminance(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn every_ink_stands_out_from_its_ground() {
        for ink in Ink::all() {
            let least = match ink {
                Ink::Text | Ink::Muted | Ink::Error => 4.5,
                Ink::Series(_) | Ink::Axis | Ink::Critical => 3.0,
                _ => continue,
            };
            let (light, dark) = ink.colors();
            for panel in [Ink::Ground, Ink::Panel, Ink::ErrorPanel] {
                let (on_light, on_dark) = panel.colors();
                assert!(contrast(light, on_light) >= least, "{ink:?} on a light {panel:?}");
                assert!(contrast(dark, on_dark) >= least, "{ink:?} on a dark {panel:?}");
            }
        }
        for step in 0..RAMP_STEPS {
            let (cell, text) = (Ink::Ramp(step).colors(), Ink::OnRamp(step).colors());
            assert!(contrast(cell.0, text.0) >= 4.5 && contrast(cell.1, text.1) >= 4.5, "step {step}");
        }
    }

    #[test]
    fn the_ramp_goes_one_way_on_either_page() {
        for step in 1..RAMP_STEPS {
            let (before, after) = (Ink::Ramp(step - 1).colors(), Ink::Ramp(step).colors());
            assert!(contrast(after.0, LIGHT_GROUND) > contrast(before.0, LIGHT_GROUND), "light {step}");
            assert!(contrast(after.1, DARK_GROUND) > contrast(before.1, DARK_GROUND), "dark {step}");
        }
    }

    #[test]
    fn drawings_lie_on_the_ground_of_their_page() {
        let style = include_str!("../html/style.css");
        for ground in [LIGHT_GROUND, DARK_GROUND] {
            assert!(style.contains(&format!("--card: {};", ground.to_lowercase())), "{ground}");
        }
    }

    #[test]
    fn a_light_colour_names_one_ink() {
        let inks: Vec<Ink> = Ink::all().collect();
        let colors: BTreeSet<&str> = inks.iter().map(|ink| ink.colors().0).collect();
        assert_eq!(colors.len(), inks.len());
        assert!(inks.iter().all(|ink| ink.color().hex() == ink.colors().0), "the crate writes what the rules select");
    }
}

//! From where clients may come without encryption: a setting.

use std::str::FromStr;

/// From where clients may come without encryption.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Plaintext {
    Never,
    /// From this machine.
    #[default]
    Loopback,
    Anywhere,
}

impl FromStr for Plaintext {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "never" => Ok(Self::Never),
            "loopback" => Ok(Self::Loopback),
            "anywhere" => Ok(Self::Anywhere),
            _ => Err(format!("\"{text}\" is none of never, loopback and anywhere")),
        }
    }
}

//! Numbers of things in words.

/// A number of things: `1 record`, `2 records`.
pub fn count(number: u64, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_has_no_s() {
        assert_eq!([count(0, "span"), count(1, "span"), count(2, "span")], ["0 spans", "1 span", "2 spans"]);
    }
}

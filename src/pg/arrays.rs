//! Arrays in PostgreSQL's text form.

/// The elements of `{a,"b c",NULL}`; `None` when it is no array of one dimension.
pub(crate) fn array_elements(text: &str) -> Option<Vec<Option<String>>> {
    let inner = text.trim().strip_prefix('{')?.strip_suffix('}')?;
    let (mut elements, mut chars) = (Vec::new(), inner.chars().peekable());
    if inner.trim().is_empty() {
        return Some(elements);
    }
    loop {
        let (mut element, mut quoted) = (String::new(), false);
        while chars.next_if(|char| char.is_whitespace()).is_some() {}
        if chars.next_if_eq(&'"').is_some() {
            quoted = true;
            loop {
                match chars.next()? {
                    '"' => break,
                    '\\' => element.push(chars.next()?),
                    char => element.push(char),
                }
            }
        }
        let is_last = loop {
            match chars.next() {
                None => break true,
                Some(',') => break false,
                Some(char) if quoted && !char.is_whitespace() => return None,
                Some('{' | '}' | '"') => return None,
                Some('\\') => element.push(chars.next()?),
                Some(char) if !quoted => element.push(char),
                Some(_) => {}
            }
        };
        let element = if quoted { element } else { element.trim_end().to_string() };
        match quoted {
            false if element.is_empty() => return None,
            false if element.eq_ignore_ascii_case("null") => elements.push(None),
            _ => elements.push(Some(element)),
        }
        if is_last {
            return Some(elements);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_are_read_as_postgresql_reads_them() {
        for (text, read) in [
            ("{}", Some(vec![])),
            ("{a,b}", Some(vec![Some("a"), Some("b")])),
            (" { a b , c } ", Some(vec![Some("a b"), Some("c")])),
            (r#"{"a,b","say \"x\"",NULL,"NULL"}"#, Some(vec![Some("a,b"), Some("say \"x\""), None, Some("NULL")])),
            ("{1,{2}}", None),
            ("{a,}", None),
            ("{\"a\",}", None),
            ("{a, \"b\" }", Some(vec![Some("a"), Some("b")])),
            ("{,a}", None),
            ("{\"a", None),
            ("a", None),
        ] {
            let read = read.map(|read| read.into_iter().map(|element| element.map(str::to_string)).collect::<Vec<_>>());
            assert_eq!(array_elements(text), read, "{text}");
        }
    }
}

//! The names that span kinds and status codes go by, here and elsewhere.

/// OTLP's span kinds by number, in the letters that our columns have.
const SPAN_KINDS: [&str; 6] = ["UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER"];
const STATUS_CODES: [&str; 3] = ["UNSET", "OK", "ERROR"];

/// The number of a span kind: `server`, `SERVER`, `Server`, `SPAN_KIND_SERVER`, `2`; an empty text is no kind.
pub(super) fn span_kind(name: &str) -> Option<i32> {
    number(name, "SPAN_KIND_", &SPAN_KINDS)
}

/// The number of a status code: `error`, `ERROR`, `Error`, `STATUS_CODE_ERROR`, `2`; an empty text is none.
pub(super) fn status_code(name: &str) -> Option<i32> {
    number(name, "STATUS_CODE_", &STATUS_CODES)
}

/// The name of a span kind in small letters, as a `span.kind` tag has it; `None` when there is none.
pub(super) fn span_kind_tag(kind: i32) -> Option<String> {
    let name = usize::try_from(kind).ok().filter(|kind| *kind > 0).and_then(|kind| SPAN_KINDS.get(kind))?;
    Some(name.to_ascii_lowercase())
}

/// `OK` or `ERROR`, as an `otel.status_code` tag has it.
pub(super) fn status_tag(code: i32) -> Option<&'static str> {
    usize::try_from(code).ok().filter(|code| *code > 0).and_then(|code| STATUS_CODES.get(code)).copied()
}

fn number(name: &str, prefix: &str, names: &[&str]) -> Option<i32> {
    if name.is_empty() {
        return Some(0);
    }
    let name = name.to_ascii_uppercase();
    let plain = name.strip_prefix(prefix).unwrap_or(&name);
    let place = names.iter().position(|known| *known == plain).and_then(|place| i32::try_from(place).ok());
    place.or_else(|| plain.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_goes_by_many_names() {
        for name in ["server", "SERVER", "Server", "SPAN_KIND_SERVER", "2"] {
            assert_eq!(span_kind(name), Some(2), "{name}");
        }
        assert_eq!((span_kind(""), span_kind("teapot"), status_code("STATUS_CODE_ERROR")), (Some(0), None, Some(2)));
        assert_eq!(
            (span_kind_tag(5).as_deref(), span_kind_tag(0), status_tag(1)),
            (Some("consumer"), None, Some("OK"))
        );
    }
}

//! What a request shows of who sends it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::HeaderMap;
use http::header::{AUTHORIZATION, HeaderName};
use http::request::Parts;

use crate::access::{Credential, Gate, Pass, Peer};
use crate::error::{Error, Kind, Result};

/// What a sender of OTLP/HTTP is told that it may show.
pub(super) const CHALLENGE: &str = "Bearer, Basic realm=\"spanhouse\", charset=\"UTF-8\"";

/// The header by which a sender says whose spans it sends.
pub(super) const TENANT: HeaderName = HeaderName::from_static("x-scope-orgid");

/// Lets a request in, or not.
pub(super) async fn admit(gate: &Gate, parts: &Parts) -> Result<Pass> {
    let peer = parts.extensions.get::<Peer>().ok_or_else(|| Error::internal("a request comes from nowhere"))?;
    let (shown, tenant) = (shown(&parts.headers)?, asked_tenant(&parts.headers)?);
    let credential = match &shown {
        Shown::Nothing => Credential::None,
        Shown::Token(token) => Credential::Token(token),
        Shown::Password(user, password) => Credential::Password { user, password },
    };
    gate.admit_export(peer, credential, tenant).await
}

/// The tenant that the header names, as Mimir, Tempo and their kin have it; gRPC's metadata are headers too.
fn asked_tenant(headers: &HeaderMap) -> Result<Option<&str>> {
    let mut values = headers.get_all(TENANT).iter();
    let value = values.next().map(|value| value.to_str());
    match (value, values.next()) {
        (Some(Ok(name)), None) => Ok(Some(name)),
        (None, _) => Ok(None),
        (Some(_), _) => Err(Error::new(Kind::Denied, "the header X-Scope-OrgID does not name one tenant")),
    }
}

/// What stands in the header `authorization`.
#[derive(Debug, PartialEq, Eq)]
enum Shown {
    Nothing,
    Token(String),
    Password(String, String),
}

fn shown(headers: &HeaderMap) -> Result<Shown> {
    let unreadable = || Error::new(Kind::Unauthenticated, "the header authorization is neither Bearer nor Basic");
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(Shown::Nothing) };
    if values.next().is_some() {
        return Err(Error::new(Kind::Unauthenticated, "the header authorization is there more than once"));
    }
    let (scheme, rest) = value.to_str().ok().and_then(|text| text.split_once(' ')).ok_or_else(unreadable)?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Ok(Shown::Token(rest.to_owned()));
    }
    let decoded = BASE64.decode(rest).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"));
    let text = decoded.and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(unreadable)?;
    let (user, password) = text.split_once(':').ok_or_else(unreadable)?;
    Ok(Shown::Password(user.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_tenant_is_named_once_or_not_at_all() {
        let read = |values: &[&'static [u8]]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(TENANT, HeaderValue::from_bytes(value).expect("a header"));
            }
            asked_tenant(&headers).map(|name| name.map(str::to_owned)).map_err(|error| error.kind)
        };
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&[b"acme"]), Ok(Some("acme".into())));
        assert_eq!(read(&[b""]), Ok(Some(String::new())), "no tenant is called so");
        for wrong in [&[&b"acme"[..], b"acme"][..], &[b"acme", b"zeta"], &[b"\xff"]] {
            assert_eq!(read(wrong), Err(Kind::Denied), "{wrong:?}");
        }
    }

    #[test]
    fn tokens_and_passwords_are_read_and_nothing_else() {
        let read = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(AUTHORIZATION, HeaderValue::from_str(value).expect("a header"));
            }
            shown(&headers).map_err(|error| error.kind)
        };
        assert_eq!(read(&[]), Ok(Shown::Nothing));
        assert_eq!(read(&["Bearer sph_a.b"]), Ok(Shown::Token("sph_a.b".into())));
        assert_eq!(read(&["bearer  x "]), Ok(Shown::Token("x".into())));
        // The example of RFC 7617.
        let aladdin = Shown::Password("Aladdin".into(), "open sesame".into());
        assert_eq!(read(&["Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="]), Ok(aladdin));
        assert_eq!(read(&["BASIC YTpiOmM="]), Ok(Shown::Password("a".into(), "b:c".into())));
        for wrong in [&["Basic ?"][..], &["Basic YQ=="], &["Digest x"], &["sph_a.b"], &[""], &["Bearer a", "Bearer a"]]
        {
            assert_eq!(read(wrong), Err(Kind::Unauthenticated), "{wrong:?}");
        }
    }
}

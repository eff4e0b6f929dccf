//! What a request shows of who sends it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use http::request::Parts;

use crate::access::{Credential, Gate, Pass, Peer};
use crate::error::{Error, Kind, Result};

/// What a sender of OTLP/HTTP is told that it may show.
pub(super) const CHALLENGE: &str = "Bearer, Basic realm=\"spanhouse\", charset=\"UTF-8\"";

/// Lets a request in, or not.
pub(super) async fn admit(gate: &Gate, parts: &Parts) -> Result<Pass> {
    let peer = parts.extensions.get::<Peer>().ok_or_else(|| Error::internal("a request comes from nowhere"))?;
    match shown(&parts.headers)? {
        Shown::Nothing => gate.admit_export(peer, Credential::None).await,
        Shown::Token(token) => gate.admit_export(peer, Credential::Token(&token)).await,
        Shown::Password(user, password) => {
            gate.admit_export(peer, Credential::Password { user: &user, password: &password }).await
        }
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

//! One POST to a receiver: bounded in time and in what is read, and never sent on to another host.

use std::time::Duration;

use bytes::Bytes;
use chrono::DateTime;
use http::header::{CONTENT_TYPE, LOCATION, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Response};
use url::Url;

use super::attempt::{Failure, Retry, RetryPolicy};
use super::secrets::Secrets;

/// Bytes of an answer that are read. Only a refusal is read at all, for its reason.
const MAX_ANSWER_BYTES: usize = 16 << 10;

/// Characters of an answer that an error repeats.
const MOST_REASON: usize = 300;

/// Redirects that are followed on the receiver's own host.
const MOST_REDIRECTS: usize = 3;

const USER_AGENT: &str = concat!("spanhouse/", env!("CARGO_PKG_VERSION"));

/// What is sent.
pub(super) struct Post {
    /// What the receiver is called in errors, such as `the webhook`.
    pub receiver: &'static str,
    pub url: Url,
    pub headers: HeaderMap,
    /// JSON.
    pub body: Bytes,
}

/// Sends, and returns once the receiver took it. Who calls this bounds the time; `trusted` are certificates in PEM beside the system's.
pub(super) async fn post(
    post: Post,
    trusted: &[Vec<u8>],
    tries: &RetryPolicy,
    now_ms: i64,
    secrets: &Secrets<'_>,
) -> Result<(), Failure> {
    let Post { receiver, mut url, mut headers, body } = post;
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let at = format!("{receiver} at {}", url.origin().ascii_serialization());
    let unreachable = |error: reqwest::Error| {
        // The error's own text may hold the URL, and its causes' texts say more.
        let why = causes(&error.without_url());
        Failure::later(format!("{at} cannot be reached: {}", secrets.masked(&why)))
    };
    let client = client(trusted, tries.connect_timeout)
        .map_err(|error| Failure::never(format!("cannot make connections: {}", secrets.masked(&causes(&error)))))?;
    for _ in 0..=MOST_REDIRECTS {
        let request = client.post(url.clone()).headers(headers.clone()).body(body.clone());
        let answer = request.send().await.map_err(&unreachable)?;
        let status = answer.status();
        if status.is_success() {
            // What a receiver says after that it took something is its own affair.
            return Ok(());
        }
        if !status.is_redirection() {
            return Err(refusal(&at, answer, now_ms, secrets).await);
        }
        url = redirected(&at, &url, &answer)?;
    }
    Err(Failure::never(format!("{at} redirects more than {MOST_REDIRECTS} times")))
}

fn client(trusted: &[Vec<u8>], connect_timeout: Duration) -> reqwest::Result<Client> {
    let certificates = trusted.iter().map(|pem| Certificate::from_pem(pem)).collect::<reqwest::Result<Vec<_>>>()?;
    let client = Client::builder()
        .user_agent(USER_AGENT)
        .redirect(Policy::none())
        .connect_timeout(connect_timeout)
        // A connection that was kept for the next report would be dead by then.
        .pool_max_idle_per_host(0)
        // One request needs no second version; and what speaks it logs paths, which may hold a token, on its finest level.
        .http1_only();
    match certificates.is_empty() {
        true => client.build(),
        false => client.tls_certs_merge(certificates).build(),
    }
}

/// Where a redirect leads, when that may be followed.
fn redirected(at: &str, url: &Url, answer: &Response) -> Result<Url, Failure> {
    let status = answer.status();
    if !matches!(status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT) {
        // Any other is followed by a GET, which delivers nothing.
        return Err(Failure::never(format!("{at} answers {status}: give the address that it redirects to")));
    }
    let location = answer.headers().get(LOCATION).and_then(|location| location.to_str().ok());
    match location.and_then(|location| url.join(location).ok()) {
        Some(next) if next.origin() == url.origin() => {
            let mut next = next;
            // Credentials in the address are for the host and not for one of its paths.
            let kept = next.set_username(url.username()).and_then(|()| next.set_password(url.password()));
            kept.map_err(|()| Failure::never(format!("{at} answers {status} with an address that cannot be used")))?;
            Ok(next)
        }
        Some(_) => Err(Failure::never(format!("{at} answers {status} to another host, which is not followed"))),
        None => Err(Failure::never(format!("{at} answers {status} without an address"))),
    }
}

async fn refusal(at: &str, answer: Response, now_ms: i64, secrets: &Secrets<'_>) -> Failure {
    let status = answer.status();
    let asked = retry_after(answer.headers(), now_ms);
    let reason = secrets.masked(&reason(answer).await);
    let colon = if reason.is_empty() { "" } else { ": " };
    let why = format!("{at} answers {status}{colon}{}", clipped(&reason));
    let is_passing = status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429);
    let retry = match (is_passing, asked) {
        (false, _) => Retry::Never,
        (true, None) => Retry::Later,
        (true, Some(asked)) => Retry::After(asked),
    };
    Failure { why, retry }
}

/// The beginning of an answer; as much as comes.
async fn reason(mut answer: Response) -> String {
    let mut read = Vec::new();
    while let Ok(Some(piece)) = answer.chunk().await {
        read.extend_from_slice(&piece[..piece.len().min(MAX_ANSWER_BYTES - read.len())]);
        if read.len() >= MAX_ANSWER_BYTES {
            break;
        }
    }
    String::from_utf8_lossy(&read).into_owned()
}

/// The first characters of a text, in one line.
pub(super) fn clipped(text: &str) -> String {
    let words: Vec<_> =
        text.split(|c: char| c.is_control() || c.is_whitespace()).filter(|word| !word.is_empty()).collect();
    words.join(" ").chars().take(MOST_REASON).collect()
}

/// What `Retry-After` asks for: seconds, or a date.
fn retry_after(headers: &HeaderMap, now_ms: i64) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date_ms = DateTime::parse_from_rfc2822(text).ok()?.timestamp_millis();
    Some(Duration::from_millis(u64::try_from(date_ms.saturating_sub(now_ms)).unwrap_or_default()))
}

/// The texts of an error and its causes, each once; the outermost alone often says nothing.
pub(super) fn causes(error: &dyn std::error::Error) -> String {
    let texts = std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string);
    let mut told: Vec<String> = Vec::new();
    for text in texts {
        if !told.iter().any(|earlier| earlier.contains(&text)) {
            told.push(text);
        }
    }
    clipped(&told.join(": "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receiver_says_when_to_come_again() {
        let asked = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_str(text).expect("a header"));
            // 2015-10-21T07:28:00Z less a minute.
            retry_after(&headers, 1_445_412_480_000 - 60_000)
        };
        assert_eq!(asked("120"), Some(Duration::from_secs(120)));
        assert_eq!(asked("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::from_secs(60)));
        assert_eq!(asked("Wed, 21 Oct 2015 07:20:00 GMT"), Some(Duration::ZERO), "it is past");
        assert_eq!(asked("soon"), None);
        assert_eq!(asked("-1"), None);
        assert_eq!(retry_after(&HeaderMap::new(), 0), None);
    }

    #[test]
    fn an_answer_is_repeated_in_one_short_line() {
        assert_eq!(clipped("<h1>\r\n\tno\u{1b}[0m </h1>"), "<h1> no [0m </h1>");
        assert_eq!(clipped(&"é".repeat(1000)).chars().count(), MOST_REASON);
    }
}

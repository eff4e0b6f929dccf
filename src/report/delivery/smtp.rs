//! A mail on its way: one connection, encrypted as the report says, one copy for all recipients that the server takes.

use std::collections::BTreeMap;
use std::time::Duration;

use lettre::Address;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail as MailFrom, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailParameter};

use super::attempt::Failure;
use super::http::causes;
use super::mail::Mail;
use super::secrets::Secrets;
use crate::report::definition::Tls;

/// A mail server and how it is reached.
pub(super) struct Server<'a> {
    pub host: &'a str,
    pub port: u16,
    pub tls: Tls,
    pub credentials: Option<(String, String)>,
    /// Certificates in PEM that are trusted beside the system's.
    pub trusted: &'a [Vec<u8>],
    pub connect_timeout: Duration,
}

/// What became of each recipient, over all attempts: who has the mail does not get it again.
#[derive(Debug, Default)]
pub(super) struct Recipients {
    have: Vec<Address>,
    /// With the server's reason.
    refused: BTreeMap<String, String>,
}

/// Sends the mail to whoever has it not yet.
pub(super) async fn send(
    server: &Server<'_>,
    mail: &Mail,
    recipients: &mut Recipients,
    secrets: &Secrets<'_>,
) -> Result<(), Failure> {
    let at = format!("the mail server {}:{}", server.host, server.port);
    let failure = |error: Error| failure(&at, &error, secrets);
    let waiting = |recipients: &Recipients| -> Vec<Address> {
        let is_waiting =
            |to: &&Address| !recipients.have.contains(to) && !recipients.refused.contains_key(&to.to_string());
        mail.to.iter().filter(is_waiting).cloned().collect()
    };
    if !waiting(recipients).is_empty() {
        let mut connection = connect(server).await.map_err(failure)?;
        let put_off = hand_over(&mut connection, mail, &waiting(recipients), recipients, secrets).await;
        // The mail is handed over or refused by now; how they part changes nothing.
        let _ = connection.quit().await;
        if let Some(why) = put_off.map_err(failure)? {
            return Err(Failure::later(format!("{at} puts off {why}")));
        }
    }
    if recipients.refused.is_empty() {
        return Ok(());
    }
    let refused: Vec<_> = recipients.refused.iter().map(|(to, why)| format!("{to} ({why})")).collect();
    let others = match recipients.have.len() {
        0 => String::new(),
        have => format!("; {have} of {} recipients have it", mail.to.len()),
    };
    Err(Failure::never(format!("{at} refuses {}{others}", refused.join(", "))))
}

async fn connect(server: &Server<'_>) -> Result<AsyncSmtpConnection, Error> {
    let (place, timeout) = ((server.host, server.port), Some(server.connect_timeout));
    let hello = ClientId::default();
    let mut connection = match server.tls {
        Tls::Wrapped => AsyncSmtpConnection::connect_tokio1(place, timeout, &hello, Some(tls(server)?), None).await?,
        Tls::StartTls => {
            let mut connection = AsyncSmtpConnection::connect_tokio1(place, timeout, &hello, None, None).await?;
            // It fails where the server does not offer it: nothing is sent in the clear.
            connection.starttls(tls(server)?, &hello).await?;
            connection
        }
        Tls::Off => AsyncSmtpConnection::connect_tokio1(place, timeout, &hello, None, None).await?,
    };
    if let Some((user, password)) = &server.credentials {
        connection.auth(DEFAULT_MECHANISMS, &Credentials::new(user.clone(), password.clone())).await?;
    }
    Ok(connection)
}

fn tls(server: &Server<'_>) -> Result<TlsParameters, Error> {
    let mut parameters = TlsParameters::builder(server.host.to_owned());
    for pem in server.trusted {
        parameters = parameters.add_root_certificate(Certificate::from_pem(pem)?);
    }
    parameters.build()
}

/// Hands the mail over for `to`; tells whom the server wants to take it for later, if anybody.
async fn hand_over(
    connection: &mut AsyncSmtpConnection,
    mail: &Mail,
    to: &[Address],
    recipients: &mut Recipients,
    secrets: &Secrets<'_>,
) -> Result<Option<String>, Error> {
    let is_foreign = !mail.from.to_string().is_ascii() || to.iter().any(|to| !to.to_string().is_ascii());
    let knows_foreign = connection.server_info().supports_feature(Extension::SmtpUtfEight);
    // Without it the server says what it makes of such addresses.
    let parameters = if is_foreign && knows_foreign { vec![MailParameter::SmtpUtfEight] } else { Vec::new() };
    connection.command(MailFrom::new(Some(mail.from.clone()), parameters)).await?;
    let (mut taken, mut put_off) = (Vec::new(), Vec::new());
    for to in to {
        match connection.command(Rcpt::new(to.clone(), Vec::new())).await {
            Ok(_) => taken.push(to.clone()),
            Err(error) if error.is_permanent() => {
                recipients.refused.insert(to.to_string(), secrets.masked(&causes(&error)));
            }
            Err(error) if error.is_transient() => put_off.push(format!("{to} ({})", secrets.masked(&causes(&error)))),
            Err(error) => return Err(error),
        }
    }
    if !taken.is_empty() {
        connection.command(Data).await?;
        connection.message(&mail.bytes).await?;
        recipients.have.extend(taken);
    }
    Ok((!put_off.is_empty()).then(|| put_off.join(", ")))
}

fn failure(at: &str, error: &Error, secrets: &Secrets<'_>) -> Failure {
    let why = format!("{at}: {}", secrets.masked(&causes(error)));
    // A certificate that is wrong, or a server without STARTTLS, is so in a minute too.
    match error.is_permanent() || error.is_client() || error.is_tls() {
        true => Failure::never(why),
        false => Failure::later(why),
    }
}

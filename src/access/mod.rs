//! Who may come in: users and their passwords, tokens, certificates, and what becomes of those who try in vain.
//!
//! Knows no protocol and no SQL: a listener hands over what a client showed, and gets back who that is, or an error with its answer.
//! Users and tokens lie in one file of the data directory ([`AccessFile`]), which commands write and a server reads again when it
//! changes; so are the certificates. Each listener asks the one [`Gate`].
//!
//! What is at rest lets nobody in: of a password its SCRAM verifier, of a token its SHA-256.

mod allowance;
mod certificate;
mod doorstep;
mod failures;
mod file;
mod gate;
mod known;
mod peer;
mod plaintext;
mod rights;
mod role;
mod scram;
mod stream;
mod tenant;
mod terms;
mod tls;
mod token;
mod watched;

pub use allowance::Pass;
pub use doorstep::{ConnectionCounts, Guest, Listener};
pub use file::{AccessFile, TokenEntry, UserEntry, not_there, user_name_is_good};
pub use gate::{Credential, Gate, GateSettings, Login, begins_with_tls};
pub use peer::Peer;
pub use plaintext::Plaintext;
pub use rights::{Condition, Granted, Limits, Rights};
pub use role::Role;
pub use scram::{Exchange, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, Verifier};
pub use stream::{ClientCertificate, Stream};
pub use tenant::{DEFAULT_TENANT, TenantEntry, TenantName};
pub use terms::CertificateTerms;
pub use tls::{Protocol, Tls, TlsFiles};
pub use token::{NewToken, token_id_is_good};

//! The other end of a connection, as listeners hand it to the gate.

use std::net::{IpAddr, SocketAddr};

use super::stream::{ClientCertificate, Stream};

/// Who is at the other end of a connection.
#[derive(Debug, Clone)]
pub struct Peer {
    pub address: SocketAddr,
    pub is_encrypted: bool,
    /// What it showed of an authority for clients.
    pub certificate: Option<ClientCertificate>,
}

impl Peer {
    /// The client of a connection.
    pub fn of(stream: &Stream, address: SocketAddr) -> Self {
        Self { address, is_encrypted: stream.is_encrypted(), certificate: stream.client_certificate() }
    }

    /// Whether its certificate says that it is `user`.
    pub(super) fn is_certified_as(&self, user: &str) -> bool {
        self.certificate.as_ref().is_some_and(|certificate| certificate.name.as_deref() == Some(user))
    }

    /// One address a machine, in whichever family it came.
    pub(super) fn ip(&self) -> IpAddr {
        self.address.ip().to_canonical()
    }
}

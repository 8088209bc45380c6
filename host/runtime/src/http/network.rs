//! The way to other machines, as a port: so that a test can say what a name resolves to, and
//! hear of every connection.

use std::{fmt::Debug, io, net::SocketAddr, pin::Pin};

use tokio::net::{TcpStream, lookup_host};

/// What a [`HttpNetwork`] is asked for.
pub type NetworkFuture<'a, T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send + 'a>>;

/// Names and connections.
pub trait HttpNetwork: Debug + Send + Sync {
    /// All addresses of a name.
    fn resolve<'a>(&'a self, name: &'a str, port: u16) -> NetworkFuture<'a, Vec<SocketAddr>>;

    /// A connection to this very address.
    fn connect(&self, address: SocketAddr) -> NetworkFuture<'_, TcpStream>;
}

/// The operating system's.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SystemNetwork;

impl HttpNetwork for SystemNetwork {
    fn resolve<'a>(&'a self, name: &'a str, port: u16) -> NetworkFuture<'a, Vec<SocketAddr>> {
        Box::pin(async move { Ok(lookup_host((name, port)).await?.collect()) })
    }

    fn connect(&self, address: SocketAddr) -> NetworkFuture<'_, TcpStream> {
        Box::pin(TcpStream::connect(address))
    }
}

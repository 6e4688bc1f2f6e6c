//! Listening sockets: one for each worker on the same address, between which the kernel spreads connections.

use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{SocketAddr, TcpListener};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// Binds `count` sockets to one address.
///
/// # Errors
///
/// Whatever the system says, above all that the address is taken. With several sockets the system would let another
/// process that shares its port in the same way pass unnoticed, so the address is first tried without sharing.
pub(crate) fn bind(address: SocketAddr, count: usize) -> io::Result<Vec<TcpListener>> {
    if count <= 1 {
        return Ok(vec![listen(address, false)?]);
    }
    if address.port() != 0 {
        drop(listen(address, false)?);
    }
    let first = listen(address, true)?;
    let address = first.local_addr()?;
    let mut sockets = vec![first];
    for _ in 1..count {
        sockets.push(listen(address, true)?);
    }
    Ok(sockets)
}

fn listen(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shared_among_workers_and_with_nobody_else() {
        let any = "127.0.0.1:0".parse().unwrap();
        let own = bind(any, 3).unwrap();
        let address = own[0].local_addr().unwrap();
        assert!(own.iter().all(|socket| socket.local_addr().unwrap() == address));
        for count in [1, 3] {
            assert_eq!(bind(address, count).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        }
        drop(own);
        bind(address, 2).unwrap();
    }
}

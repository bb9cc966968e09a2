//! Sockets: listeners, datagram batches.

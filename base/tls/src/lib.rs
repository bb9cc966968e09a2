//! One TLS acceptor and one TLS client.

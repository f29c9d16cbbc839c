//! container-server

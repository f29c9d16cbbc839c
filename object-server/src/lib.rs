//! object-server

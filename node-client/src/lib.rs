//! node-client

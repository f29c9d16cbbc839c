//! marker

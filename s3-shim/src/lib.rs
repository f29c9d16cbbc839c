//! s3-shim

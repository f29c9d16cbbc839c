//! Reads a Swift ring file from standard input and writes the same ring as version 1 to standard output.

use std::error::Error;
use std::io::{Read, Write};

fn main() -> Result<(), Box<dyn Error>> {
    let mut file = Vec::new();
    std::io::stdin().read_to_end(&mut file)?;
    let ring = martlet_ring::file::read(&file)?;
    std::io::stdout().write_all(&martlet_ring::file::write_v1(&ring)?)?;
    Ok(())
}

//! The object server as a proxy sees it: requests in, answers out, over a real device in a temporary folder.

mod bodies;
mod container_rows;
mod damage;
mod house;
mod moments;
mod reading;
mod refusals;
mod versions;
mod wire;

//! What a device promises: newest wins, damage is put aside, nothing acknowledged is lost, sums stay exact.

mod damage;
mod listings;
mod objects;
mod outbox;
mod rows;
mod starts;
mod support;
mod versions;

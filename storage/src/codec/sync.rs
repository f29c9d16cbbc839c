//! The value of a container's synchronization state.

use super::{Damaged, Decoded, Decoder, Encoder};
use crate::syncs::SyncState;

const VERSION: u8 = 1;

pub(crate) fn encode(key: &[u8], state: &SyncState) -> Vec<u8> {
    let mut out = Encoder::new(VERSION, 64);
    out.number(state.met);
    match &state.listed_to {
        None => out.byte(0),
        Some(name) => {
            out.byte(1);
            out.text(name);
        }
    }
    out.seal(key)
}

pub(crate) fn decode(key: &[u8], value: &[u8]) -> Decoded<SyncState> {
    let mut from = Decoder::open(key, value, VERSION)?;
    let met = from.number()?;
    let listed_to = match from.byte()? {
        0 => None,
        1 => Some(from.text()?),
        _ => return Err(Damaged),
    };
    from.end()?;
    Ok(SyncState { met, listed_to })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_read_back() {
        for listed_to in [None, Some(String::new()), Some("ä".into())] {
            let state = SyncState {
                met: u64::MAX,
                listed_to,
            };
            assert_eq!(decode(b"k", &encode(b"k", &state)), Ok(state));
        }
    }
}

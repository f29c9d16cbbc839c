//! The value of an outbox entry: which writing of the entry it is, and the update that is owed.

use super::{Damaged, Decoded, Decoder, Encoder};
use martlet_protocol::update::{Update, UpdateOp, UpdateTarget};

const VERSION: u8 = 1;
const COALESCE: u8 = 1;
const DELETE: u8 = 2;
const HAS_OBJECT: u8 = 4;

pub(crate) fn encode(key: &[u8], version: u64, update: &Update) -> Vec<u8> {
    let mut out = Encoder::new(VERSION, 512);
    out.number(version);
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    out.byte(
        flag(update.coalesce, COALESCE)
            | flag(update.op == UpdateOp::Delete, DELETE)
            | flag(update.object.is_some(), HAS_OBJECT),
    );
    out.text(&update.account);
    out.text(&update.container);
    if let Some(object) = &update.object {
        out.text(object);
    }
    out.number(update.targets.len() as u64);
    for target in &update.targets {
        out.text(&target.ip);
        out.number(u64::from(target.port));
        out.text(&target.device);
        out.number(u64::from(target.partition));
    }
    out.pairs(&update.headers);
    out.seal(key)
}

pub(crate) fn decode(key: &[u8], value: &[u8]) -> Decoded<(u64, Update)> {
    let mut from = Decoder::open(key, value, VERSION)?;
    let version = from.number()?;
    let flags = from.byte()?;
    let (account, container) = (from.text()?, from.text()?);
    let object = if flags & HAS_OBJECT != 0 {
        Some(from.text()?)
    } else {
        None
    };
    let count = from.count()?;
    let mut targets = Vec::with_capacity(count);
    for _ in 0..count {
        targets.push(UpdateTarget {
            ip: from.text()?,
            port: u16::try_from(from.number()?).map_err(|_| Damaged)?,
            device: from.text()?,
            partition: u32::try_from(from.number()?).map_err(|_| Damaged)?,
        });
    }
    let headers = from.pairs()?;
    from.end()?;
    let op = if flags & DELETE != 0 {
        UpdateOp::Delete
    } else {
        UpdateOp::Put
    };
    let update = Update {
        account,
        container,
        object,
        op,
        targets,
        headers,
        coalesce: flags & COALESCE != 0,
    };
    Ok((version, update))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn updates_read_back() {
        let target = UpdateTarget {
            ip: "::1".into(),
            port: 65535,
            device: "d1".into(),
            partition: u32::MAX,
        };
        let mut update = Update {
            account: "a".into(),
            container: "c".into(),
            object: Some("o".into()),
            op: UpdateOp::Put,
            targets: vec![target],
            headers: vec![("x-size".into(), "5".into())],
            coalesce: false,
        };
        for turn in 0..2u64 {
            let value = encode(b"k", turn, &update);
            assert_eq!(decode(b"k", &value), Ok((turn, update.clone())));
            update.object = None;
            update.op = UpdateOp::Delete;
            update.coalesce = true;
        }
    }
}

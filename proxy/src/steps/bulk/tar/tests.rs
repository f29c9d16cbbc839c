//! Whole archives, as programs write them and as nobody should.

use super::super::source::Packing;
use super::header::tests::{block, seal};
use super::*;
use martlet_service::Body;
use std::time::Duration;

fn open(bytes: Vec<u8>) -> Archive {
    let pieces: Vec<_> = bytes
        .chunks(700)
        .map(|piece| Ok(Bytes::copy_from_slice(piece)))
        .collect();
    let body = Body::stream(futures_util::stream::iter(pieces));
    Archive::new(Source::new(body, Packing::None, Duration::from_secs(30)))
}

fn file(name: &[u8], kind: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = block(name, &format!("{:o}", content.len()), kind).to_vec();
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    bytes
}

fn archive(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = entries.concat();
    bytes.resize(bytes.len() + 2 * BLOCK, 0);
    bytes
}

async fn content(archive: &mut Archive) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(chunk) = archive.read().await.unwrap() {
        whole.extend_from_slice(&chunk);
    }
    whole
}

#[tokio::test]
async fn entries_come_in_order_with_their_content() {
    let long = vec![b'x'; 1_500];
    let mut archive = open(archive(&[
        file(b"c/one", b'0', b"first"),
        file(b"c/dir/", b'5', b""),
        file(b"c/empty", 0, b""),
        file(b"c/link", b'2', b""),
        file(b"c/long", b'0', &long),
    ]));
    let one = archive.next().await.unwrap().unwrap();
    assert_eq!(
        (&one.name[..], one.size, one.what),
        (&b"c/one"[..], 5, What::File)
    );
    assert_eq!(content(&mut archive).await, b"first");
    assert_eq!(archive.next().await.unwrap().unwrap().what, What::NoFile);
    let empty = archive.next().await.unwrap().unwrap();
    assert_eq!((empty.size, empty.what), (0, What::File));
    assert_eq!(archive.next().await.unwrap().unwrap().what, What::NoFile);
    // What is not read is passed over.
    assert_eq!(archive.next().await.unwrap().unwrap().size, 1_500);
    assert_eq!(archive.next().await.unwrap(), None);
}

#[tokio::test]
async fn long_names_and_words_belong_to_the_next_entry_only() {
    let long_name = [b"c/".to_vec(), vec![b'n'; 300]].concat();
    let stored = [long_name.clone(), vec![0]].concat();
    let mut archive = open(archive(&[
        file(b"././@LongLink", b'L', &stored),
        file(b"c/nnn", b'0', b"gnu"),
        file(
            b"./PaxHeaders/x",
            b'x',
            b"14 path=c/pax\n47 SCHILY.xattr.user.mime_type=application/foo\n",
        ),
        file(b"c/short", b'0', b"posix"),
        file(b"c/plain", b'0', b"plain"),
    ]));
    let gnu = archive.next().await.unwrap().unwrap();
    assert_eq!(gnu.name, long_name);
    let posix = archive.next().await.unwrap().unwrap();
    assert_eq!(posix.name, b"c/pax");
    assert_eq!(
        posix.headers,
        [("content-type".to_owned(), b"application/foo".to_vec())]
    );
    assert_eq!(content(&mut archive).await, b"posix");
    let plain = archive.next().await.unwrap().unwrap();
    assert_eq!((&plain.name[..], plain.headers.len()), (&b"c/plain"[..], 0));
}

#[tokio::test]
async fn global_words_hold_for_all_that_follow() {
    let mut archive = open(archive(&[
        file(b"g", b'g', b"35 SCHILY.xattr.user.meta.a=global\n"),
        file(b"c/one", b'0', b""),
        file(b"x", b'x', b"34 SCHILY.xattr.user.meta.a=local\n"),
        file(b"c/two", b'0', b""),
        file(b"c/three", b'0', b""),
    ]));
    for expected in ["global", "local", "global"] {
        let entry = archive.next().await.unwrap().unwrap();
        assert_eq!(entry.headers[0].1, expected.as_bytes());
    }
}

#[tokio::test]
async fn sparse_files_are_told_apart() {
    let mut holes = block(b"c/holes", "3", b'S');
    holes[482] = 1;
    seal(&mut holes);
    let mut map = [0; BLOCK];
    map[504] = 0;
    let mut stored = vec![0; BLOCK];
    stored[..3].copy_from_slice(b"abc");
    let mut archive = open(archive(&[
        holes.to_vec(),
        map.to_vec(),
        stored,
        file(b"x", b'x', b"22 GNU.sparse.major=1\n"),
        file(b"c/new", b'0', b"map and data"),
        file(b"c/next", b'0', b""),
    ]));
    for expected in [What::SparseFile, What::SparseFile, What::File] {
        assert_eq!(archive.next().await.unwrap().unwrap().what, expected);
    }
}

#[tokio::test]
async fn what_is_no_archive_is_refused() {
    let mut huge = block(b"x", "0", b'x');
    huge[124..136].copy_from_slice(b"\x80\0\0\0\0\0\0\0\x40\0\0\0");
    seal(&mut huge);
    let mut endless = block(b"c/o", "0", b'0');
    endless[124..136].copy_from_slice(b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff");
    seal(&mut endless);
    for (bytes, words) in [
        (vec![], "empty file"),
        (b"hello".to_vec(), "truncated header"),
        (vec![b'x'; 600], "invalid header"),
        (huge.to_vec(), "extended headers are too large"),
        (endless.to_vec(), "invalid header"),
        (file(b"x", b'x', b"junk"), "invalid extended header"),
        (file(b"././@LongLink", b'L', b"name"), "unexpected end of data"),
        (
            file(b"c/o", b'0', &[1; 600])[..1_000].to_vec(),
            "unexpected end of data",
        ),
    ] {
        let mut archive = open(bytes);
        let mut outcome = archive.next().await;
        while let Ok(Some(_)) = outcome {
            outcome = archive.next().await;
        }
        assert_eq!(outcome.map_err(|error| error.to_string()), Err(words.to_owned()));
    }
    // Without the zeros at the end, and with an archive's last block cut short, all is still there.
    let mut cut = open(file(b"c/o", b'0', b"content")[..BLOCK + 7].to_vec());
    assert!(cut.next().await.unwrap().is_some());
    assert_eq!(cut.next().await, Ok(None));
}

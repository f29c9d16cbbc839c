//! The allocator of the process: mimalloc, which halves the price of small frames against glibc's.
//!
//! The crate `mimalloc` asks for every block by size and alignment, and takes a slower way for those that its fast path
//! for alignments does not know: a twentieth of a small read. Blocks that need no more than a word's alignment, nearly
//! all, are asked for by size alone here; mimalloc aligns every block to a word.

use libmimalloc_sys as mi;
use std::alloc::{GlobalAlloc, Layout};
use std::ffi::c_void;

/// What every block of mimalloc is aligned to, bytes.
const WORD: usize = align_of::<*mut c_void>();

pub struct Allocator;

// SAFETY: mimalloc returns blocks of at least the size asked for, aligned to a word or to what was asked, or null; and
// frees and resizes blocks whichever of its functions made them.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: any size and any power of two as alignment may be asked for.
        let block = match layout.align() {
            ..=WORD => unsafe { mi::mi_malloc(layout.size()) },
            align => unsafe { mi::mi_malloc_aligned(layout.size(), align) },
        };
        block.cast()
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as in `alloc`.
        let block = match layout.align() {
            ..=WORD => unsafe { mi::mi_zalloc(layout.size()) },
            align => unsafe { mi::mi_zalloc_aligned(layout.size(), align) },
        };
        block.cast()
    }

    unsafe fn dealloc(&self, block: *mut u8, _layout: Layout) {
        // SAFETY: the caller gives back a block that one of these functions returned.
        unsafe { mi::mi_free(block.cast()) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let block = block.cast::<c_void>();
        // SAFETY: as in `dealloc`; the new block is aligned as in `alloc`.
        let block = match layout.align() {
            ..=WORD => unsafe { mi::mi_realloc(block, size) },
            align => unsafe { mi::mi_realloc_aligned(block, size, align) },
        };
        block.cast()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_aligned_and_keep_what_is_in_them() {
        for align in [1, 2, 4, 8, 16, 64, 4096] {
            for size in [1, 7, 8, 24, 100, 1_000, 1_025, 40_000, 3 << 20] {
                let layout = Layout::from_size_align(size, align).unwrap();
                // SAFETY: the blocks are used within their sizes and given back once.
                unsafe {
                    let zeroed = Allocator.alloc_zeroed(layout);
                    let block = Allocator.alloc(layout);
                    for block in [zeroed, block] {
                        assert!(
                            !block.is_null() && (block as usize).is_multiple_of(align),
                            "{layout:?}"
                        );
                    }
                    assert!(
                        std::slice::from_raw_parts(zeroed, size)
                            .iter()
                            .all(|byte| *byte == 0)
                    );
                    block.write_bytes(7, size);
                    let grown = Allocator.realloc(block, layout, size + 500);
                    assert!((grown as usize).is_multiple_of(align), "{layout:?}");
                    assert!(
                        std::slice::from_raw_parts(grown, size)
                            .iter()
                            .all(|byte| *byte == 7)
                    );
                    let larger = Layout::from_size_align(size + 500, align).unwrap();
                    Allocator.dealloc(grown, larger);
                    Allocator.dealloc(zeroed, layout);
                }
            }
        }
    }
}

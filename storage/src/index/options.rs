//! How RocksDB is set up: what one process may hold in memory over all its devices, and how each family is laid out.

use super::Family;
use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamilyDescriptor, DBCompressionType, DBRecoveryMode, LogLevel, Options,
    WriteBufferManager,
};
use std::sync::OnceLock;

/// Blocks, indexes, filters and blobs of all devices of the process; memtables are charged to it too.
const CACHE_BYTES: usize = 160 << 20;
/// Memtables of all devices of the process; past it the writing device flushes. Writers are never stalled by it.
const MEMTABLE_BYTES: usize = 64 << 20;
/// Log of one device that may wait for replay; past it the oldest memtables are flushed.
const LOG_BYTES: u64 = 96 << 20;
/// Values from this size up in the family of bodies live in blob files.
const MIN_BLOB_BYTES: u64 = 512;

struct Memory {
    cache: Cache,
    memtables: WriteBufferManager,
}

/// One budget for the process: many devices share it.
fn memory() -> &'static Memory {
    static MEMORY: OnceLock<Memory> = OnceLock::new();
    MEMORY.get_or_init(|| {
        let cache = Cache::new_lru_cache(CACHE_BYTES);
        let memtables =
            WriteBufferManager::new_write_buffer_manager_with_cache(MEMTABLE_BYTES, false, cache.clone());
        Memory { cache, memtables }
    })
}

pub(super) fn database(recovery: DBRecoveryMode) -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_write_buffer_manager(&memory().memtables);
    options.set_max_total_wal_size(LOG_BYTES);
    // A torn tail is a write that nobody was told of; damage before the tail refuses to open instead of hiding what
    // came after it (see `salvage`).
    options.set_wal_recovery_mode(recovery);
    options.set_paranoid_checks(true);
    options.set_max_background_jobs(2);
    options.set_max_open_files(1024);
    options.set_bytes_per_sync(1 << 20);
    options.set_keep_log_file_num(2);
    options.set_max_log_file_size(1 << 20);
    options.set_log_level(LogLevel::Warn);
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
    // One committer writes: concurrent memtable inserts and adaptive spinning only cost.
    options.set_allow_concurrent_memtable_write(false);
    options.set_enable_write_thread_adaptive_yield(false);
    options
}

pub(super) fn families() -> Vec<ColumnFamilyDescriptor> {
    let descriptor = |family: Family| ColumnFamilyDescriptor::new(family.name(), layout(family));
    Family::ALL.into_iter().map(descriptor).collect()
}

fn layout(family: Family) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(&memory().cache);
    table.set_cache_index_and_filter_blocks(true);
    table.set_cache_index_and_filter_blocks_with_high_priority(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    table.set_format_version(5);
    let point_reads = matches!(
        family,
        Family::Objects | Family::Bodies | Family::Rows | Family::Containers | Family::Digests
    );
    if point_reads {
        table.set_bloom_filter(10.0, false);
        table.set_optimize_filters_for_memory(true);
    }
    table.set_block_size(match family {
        Family::Rows | Family::Changes => 16 << 10,
        _ => 4 << 10,
    });

    let mut options = Options::default();
    options.set_block_based_table_factory(&table);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_level_compaction_dynamic_level_bytes(true);
    options.set_memtable_whole_key_filtering(point_reads);
    if point_reads {
        options.set_memtable_prefix_bloom_ratio(0.02);
    }
    options.set_write_buffer_size(match family {
        Family::Bodies => 32 << 20,
        Family::Objects | Family::Rows => 16 << 20,
        _ => 8 << 20,
    });
    options.set_target_file_size_base(32 << 20);
    options.set_arena_block_size(256 << 10);
    if family == Family::Bodies {
        options.set_compression_type(DBCompressionType::None);
        options.set_enable_blob_files(true);
        options.set_min_blob_size(MIN_BLOB_BYTES);
        options.set_blob_file_size(128 << 20);
        options.set_blob_compression_type(DBCompressionType::None);
        options.set_enable_blob_gc(true);
        options.set_blob_gc_age_cutoff(0.5);
        options.set_blob_gc_force_threshold(0.5);
        options.set_blob_cache(&memory().cache);
    }
    options
}

//! What the commands are for and what they take.

const COMMANDS: [(&str, &str); 24] = [
    (
        "default",
        "<builder_file>
    Shows the ring, its devices, how balanced they are, and whether the ring
    file is up to date. The flag DEL stands at a device that leaves the ring
    with the next rebalance.",
    ),
    (
        "add",
        "<builder_file> add
    [r<region>]z<zone>-<ip>:<port>[R<r_ip>:<r_port>]/<device_name>[_<meta>]
    <weight> [<device> <weight> ...]
or  --region <region> --zone <zone> --ip <ip or hostname> --port <port>
    --device <device_name> --weight <weight> [--meta <meta>]
    [--replication-ip <r_ip or r_hostname>] [--replication-port <r_port>]
    Adds devices. They get partitions with the next rebalance.",
    ),
    (
        "cancel_increase_partition_power",
        "<builder_file> cancel_increase_partition_power
    Gives up an increase that was prepared and not yet made. It has to be
    finished, too.",
    ),
    (
        "create",
        "<builder_file> create <part_power> <replicas> <min_part_hours>
    Makes a builder of 2^<part_power> partitions. A partition that moved rests
    for <min_part_hours>.",
    ),
    (
        "dispersion",
        "<builder_file> dispersion [<filter>] [--recalculate] [--verbose]
    Shows how many replicas lie closer together than they have to. <filter> is
    a regular expression for the names of tiers: r1, r1z2, r1z2-10.0.0.1,
    r1z2-10.0.0.1/sdb. --verbose shows, for each tier, its replicas, the
    percentage above the maximum, the maximum, and how many partitions have 0,
    1, 2... replicas there.",
    ),
    (
        "finish_increase_partition_power",
        "<builder_file> finish_increase_partition_power
    Ends an increase that was made or given up.",
    ),
    (
        "increase_partition_power",
        "<builder_file> increase_partition_power
    Doubles the number of partitions after that was prepared.",
    ),
    (
        "list_parts",
        "<builder_file> list_parts <search-value> [<search-value> ...]
or  the options of search
    Shows the partitions on matching devices, and how many of their replicas
    are there.",
    ),
    (
        "prepare_increase_partition_power",
        "<builder_file> prepare_increase_partition_power
    Announces that the number of partitions is going to be doubled.",
    ),
    (
        "pretend_min_part_hours_passed",
        "<builder_file> pretend_min_part_hours_passed
    Lets every partition move with the next rebalance. When replication is not
    done with the last one, data may be out of reach until it is.",
    ),
    (
        "rebalance",
        "<builder_file> rebalance [--force] [--seed <seed>] [--debug]
    [--format-version 1|2]
    Assigns partitions to devices and writes the ring file. A change of less
    than 1% is saved only with --force, or when devices were changed.",
    ),
    (
        "remove",
        "<builder_file> remove <search-value> [<search-value> ...] [--yes]
or  the options of search
    Marks devices as gone. The next rebalance places their partitions elsewhere
    at once. To take a device out that works, set its weight to 0 and let it
    drain first.",
    ),
    (
        "search",
        "<builder_file> search <search-value>
or  --id <id> --region <region> --zone <zone> --ip <ip or hostname>
    --port <port> --replication-ip <r_ip or r_hostname>
    --replication-port <r_port> --device <device_name> --meta <meta>
    --weight <weight>
    Shows matching devices.",
    ),
    (
        "set_info",
        "<builder_file> set_info
    <search-value> [<ip>:<port>][R<r_ip>:<r_port>][/<device_name>][_<meta>]
    [<search-value> <change> ...] [--yes]
or  the options of search, and --change-ip, --change-port,
    --change-replication-ip, --change-replication-port, --change-device,
    --change-meta [--yes]
    Changes where devices are found. Only what is given changes. No partition
    moves; write_ring writes the ring file anew.",
    ),
    (
        "set_min_part_hours",
        "<builder_file> set_min_part_hours <hours>
    Sets how long a partition that moved rests: as long as replication takes to
    get around.",
    ),
    (
        "set_overload",
        "<builder_file> set_overload <overload>[%]
    Sets how far a device may be filled above its weight's share for the sake
    of dispersion: 0.1 or 10%.",
    ),
    (
        "set_region",
        "<builder_file> set_region <search-value> <region> [...] [--yes]
or  the options of search, and <region>
    Moves devices to another region. A rebalance brings it into effect.",
    ),
    (
        "set_replicas",
        "<builder_file> set_replicas <replicas>
    Sets the replica count. With a fraction, that part of all partitions has
    one more. A rebalance brings it into effect.",
    ),
    (
        "set_weight",
        "<builder_file> set_weight <search-value> <weight> [...] [--yes]
or  the options of search, and <weight>
    Sets the share of devices. A rebalance brings it into effect.",
    ),
    (
        "set_zone",
        "<builder_file> set_zone <search-value> <zone> [...] [--yes]
or  the options of search, and <zone>
    Moves devices to another zone. A rebalance brings it into effect.",
    ),
    (
        "validate",
        "<builder_file> validate
    Checks that every replica is on a device of its own.",
    ),
    (
        "version",
        "<ring_file> version
    Shows the versions of a ring file.",
    ),
    (
        "write_builder",
        "<ring_file> write_builder [<min_part_hours>]
    Makes a builder from a ring when the builder is lost. What only a builder
    knows is lost.",
    ),
    (
        "write_ring",
        "<builder_file> write_ring [--format-version 1|2] [--dev-id-bytes 2|4]
    Writes the ring file, as rebalance does: after set_info, or a step of a
    partition-power change.",
    ),
];

/// The forms of search values.
pub const SEARCH_VALUES: &str = "\
<search-value> is d<id>r<region>z<zone>-<ip>:<port>R<r_ip>:<r_port>/<device>_<meta>
of which every part may be left out:
    d74              the device with id 74
    r4               devices in region 4
    z1-1.2.3.4       devices in zone 1 with the address 1.2.3.4
    1.2.3.4          devices with the address 1.2.3.4
    [::1]:5678       devices with the address ::1 and port 5678
    :5678            devices with port 5678
    R5.6.7.8         devices with the replication address 5.6.7.8
    R:5678           devices with replication port 5678
    /sdb1            devices named sdb1
    _shiny           devices with \"shiny\" in their remarks";

/// The text on one command.
pub fn of(name: &str) -> String {
    let found = COMMANDS.iter().find(|(command, _)| *command == name);
    found.map_or_else(overview, |(_, text)| format!("martlet ring {text}"))
}

/// The text on all commands.
pub fn overview() -> String {
    let texts: Vec<String> = COMMANDS.iter().map(|(name, _)| of(name)).collect();
    let names: Vec<&str> = COMMANDS.iter().map(|(name, _)| *name).skip(1).collect();
    format!(
        "{}\n\n{SEARCH_VALUES}\n\nCommands: {}\nBeside them: martlet ring composer, martlet ring analyze; -h shows \
         what they take.\nExit codes: 0 = operation successful\n            1 = operation completed with \
         warnings\n            2 = error",
        texts.join("\n\n"),
        names.join(" ")
    )
}

//! What the command line asks of the benchmark.

use std::path::PathBuf;

pub const HELP: &str = "\
cargo bench --bench cluster -- [--quick] [--connections N] [--requests N] [--large N] [--rounds N]
                               [--segments N] [--filter TEXT] [--tsv FILE]
  --connections  keep-alive connections (8)        --requests  small requests of a step and round (4000)
  --large        64 MiB requests of a step (16)    --rounds    rounds, one process and sockets by turns (3)
  --segments     segments of 1 MiB of the object that is read whole and in segments (1000)
  --filter       only steps whose name has TEXT, such as 'swift GET' or 'GET as'; a GET needs its PUT, which then runs unseen
  --tsv          also writes the table there       --quick     a smoke run";

#[derive(Clone, Debug)]
pub struct Options {
    pub connections: usize,
    pub requests: usize,
    pub large_requests: usize,
    pub segments: usize,
    pub rounds: usize,
    pub row_counts: Vec<usize>,
    pub filter: Option<String>,
    pub tsv: Option<PathBuf>,
}

impl Options {
    /// `None`: help was asked for. Cargo's own `--bench` is accepted and means nothing here.
    pub fn parse(arguments: impl Iterator<Item = String>) -> Result<Option<Options>, String> {
        let mut options = Options {
            connections: 8,
            requests: 4000,
            large_requests: 16,
            segments: 1_000,
            rounds: 3,
            row_counts: vec![1_000, 10_000],
            filter: None,
            tsv: None,
        };
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
            match argument.as_str() {
                "--bench" => {}
                "--help" | "-h" => return Ok(None),
                "--quick" => {
                    options.requests = 80;
                    options.large_requests = 2;
                    options.segments = 20;
                    options.rounds = 1;
                    options.row_counts = vec![1_000];
                }
                "--connections" => options.connections = number(&value()?)?,
                "--requests" => options.requests = number(&value()?)?,
                "--large" => options.large_requests = number(&value()?)?,
                "--segments" => options.segments = number(&value()?)?,
                "--rounds" => options.rounds = number(&value()?)?,
                "--filter" => options.filter = Some(value()?),
                "--tsv" => options.tsv = Some(value()?.into()),
                other => return Err(format!("unknown option {other}")),
            }
        }
        Ok(Some(options))
    }

    pub fn wants(&self, name: &str) -> bool {
        self.filter
            .as_ref()
            .is_none_or(|text| name.contains(text.as_str()))
    }
}

fn number(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(format!("{text} is not a number above 0")),
    }
}

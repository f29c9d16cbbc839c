//! What became of a bulk request, counted as it goes, and the report that tells it. Pure.

use crate::steps::answer;
use crate::steps::report::Report;
use http::StatusCode;
use serde_json::json;

/// Counts and failures so far.
#[derive(Debug, Default)]
pub struct Outcome {
    pub done: u64,
    pub not_found: u64,
    pub failures: Vec<(String, String)>,
    /// A storage server was at fault, not the request.
    has_server_error: bool,
}

/// Why a bulk request was given up: what its report says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenUp {
    pub status: StatusCode,
    pub words: String,
}

impl GivenUp {
    pub fn new(status: StatusCode, words: impl Into<String>) -> Self {
        GivenUp {
            status,
            words: words.into(),
        }
    }

    pub fn bad(words: impl Into<String>) -> Self {
        GivenUp::new(StatusCode::BAD_REQUEST, words)
    }
}

impl From<StatusCode> for GivenUp {
    fn from(status: StatusCode) -> Self {
        GivenUp::new(status, "")
    }
}

impl Outcome {
    /// `name` is quoted.
    pub fn fail(&mut self, name: String, status: StatusCode) {
        self.has_server_error |= status.is_server_error();
        self.failures.push((name, answer::line(status)));
    }

    /// What is said when all was tried.
    pub fn status(&self, all_well: StatusCode) -> StatusCode {
        match (self.failures.is_empty(), self.has_server_error) {
            (true, _) => all_well,
            (false, true) => StatusCode::BAD_GATEWAY,
            (false, false) => StatusCode::BAD_REQUEST,
        }
    }

    /// The report of a list of names.
    pub fn of_deletion(self, ended: Result<(), GivenUp>) -> Report {
        let nothing_done = self.failures.is_empty() && self.done + self.not_found == 0;
        let (status, words) = match ended {
            Err(given_up) => (given_up.status, given_up.words),
            Ok(()) if nothing_done => (StatusCode::BAD_REQUEST, "Invalid bulk delete.".to_owned()),
            Ok(()) => (self.status(StatusCode::OK), String::new()),
        };
        let fields = [
            ("Number Deleted", json!(self.done)),
            ("Number Not Found", json!(self.not_found)),
            ("Response Body", json!(words)),
            ("Response Status", json!(answer::line(status))),
        ];
        Report::new(fields, self.failures)
    }

    /// The report of an archive.
    pub fn of_extraction(self, ended: Result<(), GivenUp>) -> Report {
        let nothing_done = self.failures.is_empty() && self.done == 0;
        let (status, words) = match ended {
            Err(given_up) => (given_up.status, given_up.words),
            Ok(()) if nothing_done => (
                StatusCode::BAD_REQUEST,
                "Invalid Tar File: No Valid Files".to_owned(),
            ),
            Ok(()) => (self.status(StatusCode::CREATED), String::new()),
        };
        let fields = [
            ("Number Files Created", json!(self.done)),
            ("Response Body", json!(words)),
            ("Response Status", json!(answer::line(status))),
        ];
        Report::new(fields, self.failures)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(report: &Report) -> (String, String) {
        let field = |wanted: &str| {
            let found = report.fields.iter().find(|(name, _)| *name == wanted);
            found.unwrap().1.as_str().unwrap().to_owned()
        };
        (field("Response Status"), field("Response Body"))
    }

    fn outcome(done: u64, failures: &[u16]) -> Outcome {
        let mut outcome = Outcome {
            done,
            ..Outcome::default()
        };
        for status in failures {
            outcome.fail("c/o".into(), StatusCode::from_u16(*status).unwrap());
        }
        outcome
    }

    #[test]
    fn reports_say_what_became_of_it() {
        for (done, failures, deletion, extraction) in [
            (2, &[][..], "200 OK", "201 Created"),
            (0, &[], "400 Bad Request", "400 Bad Request"),
            (2, &[412], "400 Bad Request", "400 Bad Request"),
            (0, &[401], "400 Bad Request", "400 Bad Request"),
            (2, &[404, 503, 412], "502 Bad Gateway", "502 Bad Gateway"),
        ] {
            assert_eq!(said(&outcome(done, failures).of_deletion(Ok(()))).0, deletion);
            assert_eq!(said(&outcome(done, failures).of_extraction(Ok(()))).0, extraction);
        }
        assert_eq!(
            said(&outcome(0, &[]).of_deletion(Ok(()))).1,
            "Invalid bulk delete."
        );
        assert_eq!(
            said(&outcome(0, &[]).of_extraction(Ok(()))).1,
            "Invalid Tar File: No Valid Files"
        );
        let given_up = GivenUp::bad("Max delete failures exceeded");
        assert_eq!(
            said(&outcome(5, &[503]).of_deletion(Err(given_up))),
            ("400 Bad Request".into(), "Max delete failures exceeded".into())
        );
        let only_missing = Outcome {
            not_found: 1,
            ..Outcome::default()
        };
        assert_eq!(said(&only_missing.of_deletion(Ok(()))).0, "200 OK");
    }
}

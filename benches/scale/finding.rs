//! A figure beside its goal.

/// What a step found. Printed at once, and in the table at the end.
pub struct Finding {
    step: &'static str,
    what: String,
    figure: f64,
    unit: &'static str,
    /// At most; `None`: told, not judged.
    goal: Option<f64>,
}

impl Finding {
    pub fn new(
        step: &'static str,
        what: impl Into<String>,
        figure: f64,
        unit: &'static str,
        goal: Option<f64>,
    ) -> Self {
        let finding = Finding {
            step,
            what: what.into(),
            figure,
            unit,
            goal,
        };
        println!("{}", finding.line());
        finding
    }

    pub fn is_met(&self) -> bool {
        self.goal.is_none_or(|goal| self.figure <= goal)
    }

    pub fn table(findings: &[Finding]) -> String {
        findings.iter().map(|finding| finding.line() + "\n").collect()
    }

    fn line(&self) -> String {
        let goal = match self.goal {
            None => String::new(),
            Some(goal) => {
                let verdict = if self.is_met() { "met" } else { "MISSED" };
                format!("at most {goal} {}: {verdict}", self.unit)
            }
        };
        format!(
            "{:8} {:72} {:>10.2} {:4} {goal}",
            self.step, self.what, self.figure, self.unit
        )
    }
}

/// The value that a share of all lies below, of 0 to 1.
pub fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    values
        .get((last as f64 * share).round() as usize)
        .copied()
        .unwrap_or(0.0)
}

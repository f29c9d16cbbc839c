//! Looks for what must not be in a table before it goes out to nodes.

use super::{Builder, BuilderError, UNASSIGNED};

impl Builder {
    /// Every replica of every partition stands on a device of its own that the builder has.
    pub fn validate(&self) -> Result<(), BuilderError> {
        if self.rows.is_empty() {
            return Err(BuilderError::NotRebalanced);
        }
        let partitions = self.partitions();
        let invalid = |why: String| Err(BuilderError::Invalid(why));
        let last = self.rows.len() - 1;
        for (replica, row) in self.rows.iter().enumerate() {
            if row.len() > partitions || (row.len() < partitions && replica != last) {
                return invalid(format!(
                    "replica {replica} is assigned for {} partitions of {partitions}",
                    row.len()
                ));
            }
        }
        let mut ids = Vec::with_capacity(self.rows.len());
        for partition in 0..partitions {
            ids.clear();
            for (replica, row) in self.rows.iter().enumerate() {
                let Some(id) = row.get(partition).copied() else {
                    continue;
                };
                if id == UNASSIGNED || self.device(id).is_none() {
                    return invalid(format!(
                        "Partition {partition}, replica {replica} was not allocated to a device."
                    ));
                }
                if ids.contains(&id) {
                    return invalid(format!(
                        "The partition {partition} has been assigned to duplicate devices: {id} twice"
                    ));
                }
                ids.push(id);
            }
        }
        Ok(())
    }
}

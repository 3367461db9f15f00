"""Reports: from records to tables, verdicts and documents. They depend on records only."""

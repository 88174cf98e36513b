"""What a study found, for a reader: tables, figures, verdicts, one page."""
